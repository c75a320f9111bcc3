/* SPDX-License-Identifier: MIT */
/* exec, cp, ssh, stats: what the agent in a guest does for its host. */
#include "agent/client.h"
#include "agent/wire.h"
#include "base/error.h"
#include "base/util.h"
#include "cli/cli.h"
#include "host/program.h"
#include "vm/library.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>

/* ---- exec ---- */

/* Exit statuses, as shells have them. */
#define EXEC_UNREACHABLE 126 /* cannot be run: by the guest, or because we cannot get there */
#define EXEC_NOT_FOUND   127

static struct pv_agent_terminal terminal_size(void *opaque)
{
    struct winsize size = {0};
    if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) < 0 || !size.ws_row || !size.ws_col)
        return (struct pv_agent_terminal){24, 80};
    return (struct pv_agent_terminal){size.ws_row, size.ws_col};
}

static int exec_in_raw_mode(int fd, const struct pv_agent_exec *exec, struct pv_error **err)
{
    struct termios before, raw;
    const bool terminal = exec->terminal && tcgetattr(STDIN_FILENO, &before) == 0;
    if (terminal) {
        raw = before;
        cfmakeraw(&raw);
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    int ret = pv_agent_run(fd, exec, err);
    if (terminal)
        tcsetattr(STDIN_FILENO, TCSANOW, &before);
    return ret;
}

static int exec(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {{"tty", no_argument, NULL, 't'},
                                            {"no-input", no_argument, NULL, 'n'},
                                            {"directory", required_argument, NULL, 'd'},
                                            {"env", required_argument, NULL, 'e'},
                                            CLI_HELP_OPTION,
                                            {0}};
    const struct pv_agent_terminal size = terminal_size(NULL);
    struct pv_agent_exec exec = {.output = STDOUT_FILENO, .error = STDERR_FILENO};
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    PV_CLEANUP_FREE const char **environment = calloc((size_t)argc + 1, sizeof(*environment));
    size_t count = 0;
    int option;
    while ((option = cli_next_option(command, argc, argv, options)) != -1) {
        switch (option) {
        case 't': exec.terminal = &size; break;
        case 'n': exec.input = -1; break;
        case 'd': exec.directory = optarg; break;
        case 'e':
            if (!strchr(optarg, '=') || optarg[0] == '=')
                return cli_usage(command, "--env '%s' is not NAME=VALUE", optarg);
            if (environment)
                environment[count++] = optarg;
            break;
        default: return option == CLI_OPTION_HELP ? CLI_OK : CLI_USAGE;
        }
    }
    if (argc - optind < 2)
        return cli_usage(command, "a VM's name and a program are needed");
    const char *name = argv[optind++];
    if (!strcmp(argv[optind], "--"))
        optind++;
    if (optind == argc)
        return cli_usage(command, "a program is needed behind '--'");
    exec.argv = (const char *const *)argv + optind;
    exec.environment = environment;
    exec.size = exec.terminal ? terminal_size : NULL;
    PV_CLEANUP_FD int fd = pv_library_agent(name, &err);
    if (fd < 0) {
        cli_fail(&err);
        return EXEC_UNREACHABLE;
    }
    int ret = exec_in_raw_mode(fd, &exec, &err);
    if (ret < 0) {
        cli_fail(&err);
        return ret == -ENOENT ? EXEC_NOT_FOUND : EXEC_UNREACHABLE;
    }
    return ret;
}

const struct cli_command cli_exec = {
    .name = "exec",
    .summary = "run a program in a guest, through its agent",
    .short_options = "+:ht",
    .help = "usage: pearvisor exec [OPTION...] NAME [--] PROGRAM [ARGUMENT...]\n\n"
            "  -t, --tty           give it a terminal\n"
            "  --no-input          its standard input is at its end\n"
            "  --directory PATH    run it there (default: root's home)\n"
            "  --env NAME=VALUE    add to its environment; repeatable\n\n"
            "The exit status is the program's; 128 + N when signal N killed it; 127 when there is\n"
            "no such program; 126 when it, or the guest's agent, cannot be reached.\n",
    .run = exec,
};

/* ---- cp ---- */

/* NAME:PATH; splits at the colon. False for a path of the host, with a '/' before any colon. */
static bool is_in_guest(char *word, const char **name, const char **path)
{
    char *colon = strchr(word, ':');
    if (!colon || memchr(word, '/', (size_t)(colon - word)))
        return false;
    *colon = '\0';
    *name = word;
    *path = colon + 1;
    return true;
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int copy_in(const char *source, const char *name, const char *path, struct pv_error **err)
{
    struct stat st;
    PV_CLEANUP_FD int file = open(source, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &st) < 0)
        return pv_error_errno(err, errno, "'%s'", source);
    if (S_ISDIR(st.st_mode))
        return pv_error_set(err, EISDIR,
                            "'%s' is a folder; carry it by tar: tar c %s | pearvisor exec %s tar x",
                            source, source, name);
    PV_CLEANUP_FD int fd = pv_library_agent(name, err);
    int ret = fd < 0 ? fd
                     : pv_agent_put(fd, file, *path ? path : "/root/", last_part(source),
                                    st.st_mode, err);
    return ret < 0 ? pv_error_prefix(err, "'%s'", source) : 0;
}

static int copy_out(const char *name, const char *path, const char *target, struct pv_error **err)
{
    struct stat st;
    unsigned mode = 0;
    PV_CLEANUP_FREE char *place = NULL, *temporary = NULL;
    const bool folder = stat(target, &st) == 0 && S_ISDIR(st.st_mode);
    if ((folder ? asprintf(&place, "%s/%s", target, last_part(path))
                : asprintf(&place, "%s", target)) < 0 ||
        asprintf(&temporary, "%s.XXXXXX", place) < 0)
        return pv_error_set(err, ENOMEM, "out of memory");
    PV_CLEANUP_FD int fd = pv_library_agent(name, err);
    if (fd < 0)
        return fd;
    PV_CLEANUP_FD int file = mkstemp(temporary);
    if (file < 0)
        return pv_error_errno(err, errno, "'%s'", place);
    int ret = pv_agent_get(fd, path, file, &mode, err);
    if (ret >= 0 && (fchmod(file, mode & 0777) < 0 || rename(temporary, place) < 0))
        ret = pv_error_errno(err, errno, "'%s'", place);
    if (ret < 0)
        unlink(temporary);
    return ret;
}

static int cp(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {CLI_HELP_OPTION, {0}};
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    const char *name, *path, *ignored;
    int option = cli_next_option(command, argc, argv, options);
    if (option != -1)
        return option == CLI_OPTION_HELP ? CLI_OK : CLI_USAGE;
    if (argc - optind != 2)
        return cli_usage(command, "a file and where to are needed");
    char *source = argv[optind], *target = argv[optind + 1];
    int ret;
    if (is_in_guest(source, &name, &path)) {
        if (is_in_guest(target, &ignored, &ignored))
            return cli_usage(command, "one of both is on the host");
        ret = copy_out(name, path, target, &err);
    } else if (is_in_guest(target, &name, &path)) {
        ret = copy_in(source, name, path, &err);
    } else {
        return cli_usage(command, "one of both is in a guest: NAME:PATH");
    }
    return ret < 0 ? cli_fail(&err) : CLI_OK;
}

const struct cli_command cli_cp = {
    .name = "cp",
    .summary = "copy a file to or from a guest, through its agent",
    .help =
        "usage: pearvisor cp FILE NAME:PATH\n"
        "       pearvisor cp NAME:PATH FILE\n\n"
        "Permissions go along; what arrives is checked, and appears whole or not at all. A host\n"
        "path with a colon is written with a '/' before it.\n",
    .run = cp,
};

/* ---- ssh ---- */

static int pass(int from, int to, bool *open)
{
    char data[16384];
    ssize_t n = read(from, data, sizeof(data));
    if (n < 0 && errno == EINTR)
        return 0;
    *open = n > 0;
    for (ssize_t done = 0; done < n;) {
        ssize_t part = write(to, data + done, (size_t)(n - done));
        if (part < 0 && errno != EINTR && errno != EAGAIN)
            return -errno;
        done += part > 0 ? part : 0;
    }
    return 0;
}

/* What ssh runs to reach a guest: its port 22 on our standard input and output. */
static int be_proxy(const char *name, struct pv_error **err)
{
    bool there = true, back = true;
    const char *words[] = {"connect", "22"};
    PV_CLEANUP_FD int fd = pv_library_agent(name, err);
    PV_CLEANUP_FREE struct pv_agent_frame *answer = malloc(sizeof(*answer));
    if (!answer)
        return pv_error_set(err, ENOMEM, "out of memory");
    int ret = fd < 0 ? fd : pv_agent_ask(fd, words, PV_ARRAY_SIZE(words), answer, err);
    while (ret >= 0 && back) {
        struct pollfd fds[] = {{there ? STDIN_FILENO : -1, POLLIN, 0}, {fd, POLLIN, 0}};
        if (poll(fds, PV_ARRAY_SIZE(fds), -1) < 0)
            continue;
        if (fds[0].revents)
            ret = pass(STDIN_FILENO, fd, &there);
        if (fds[0].revents && !there)
            shutdown(fd, SHUT_WR);
        if (ret >= 0 && fds[1].revents)
            ret = pass(fd, STDOUT_FILENO, &back);
    }
    return ret;
}

static int ssh(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {
        {"proxy", no_argument, NULL, 'p'}, CLI_HELP_OPTION, {0}};
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    PV_CLEANUP_FREE char *proxy = NULL;
    bool is_proxy = false;
    int option;
    while ((option = cli_next_option(command, argc, argv, options)) == 'p')
        is_proxy = true;
    if (option != -1)
        return option == CLI_OPTION_HELP ? CLI_OK : CLI_USAGE;
    if (optind == argc)
        return cli_usage(command, "a VM's name is needed");
    char *target = argv[optind];
    char *at = strrchr(target, '@');
    const char *name = at ? at + 1 : target;
    if (pv_library_check_name(name, &err) < 0)
        return cli_usage_error(command, &err);
    if (is_proxy)
        return be_proxy(name, &err) < 0 ? cli_fail(&err) : CLI_OK;
    PV_CLEANUP_FREE char *program = pv_program_path();
    if (!program || asprintf(&proxy, "ProxyCommand='%s' ssh --proxy %s", program, name) < 0)
        return CLI_FAILURE;
    PV_CLEANUP_FREE const char **line = calloc((size_t)argc + 8, sizeof(*line));
    PV_CLEANUP_FREE char *whole = NULL;
    if (!line || asprintf(&whole, "%s%s", at ? "" : "root@", target) < 0)
        return CLI_FAILURE;
    size_t count = 0;
    line[count++] = "ssh";
    line[count++] = "-o";
    line[count++] = proxy;
    line[count++] = whole;
    for (int i = optind + 1; i < argc; i++)
        line[count++] = argv[i];
    execvp("ssh", (char *const *)line);
    cli_error("ssh cannot be run: %s; install openssh-client", strerror(errno));
    return CLI_FAILURE;
}

const struct cli_command cli_ssh = {
    .name = "ssh",
    .summary = "ssh to a guest without a network, through its agent",
    .short_options = "+:h",
    .help = "usage: pearvisor ssh [USER@]NAME [SSH-ARGUMENT...]\n\n"
            "The guest needs an SSH server, but no address: the connection goes by vsock.\n"
            "USER is root by default.\n",
    .run = ssh,
};
