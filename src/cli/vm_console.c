/* SPDX-License-Identifier: MIT */
/* console, logs: what a VM of the library says, and saying something to it. */
#include "base/error.h"
#include "base/util.h"
#include "cli/cli.h"
#include "host/unix_socket.h"
#include "vm/library.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>

#define ESCAPE 0x1d /* Ctrl-] */

static int write_all(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return -errno;
        data += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* ---- console ---- */

/*
 * Typed bytes to the guest. Ctrl-] q leaves, Ctrl-] twice sends one, as on run's console. False at
 * the end.
 */
static bool send_typed(int guest, bool *escaped)
{
    char typed[512], out[2 * sizeof(typed)];
    size_t len = 0;
    ssize_t n = read(STDIN_FILENO, typed, sizeof(typed));
    for (ssize_t i = 0; i < n; i++) {
        if (*escaped && typed[i] == 'q')
            return false;
        if (*escaped && typed[i] != ESCAPE)
            out[len++] = ESCAPE;
        if (*escaped || typed[i] != ESCAPE)
            out[len++] = typed[i];
        *escaped = !*escaped && typed[i] == ESCAPE;
    }
    return n > 0 && write_all(guest, out, len) >= 0;
}

static bool show_output(int guest)
{
    char data[4096];
    ssize_t n = read(guest, data, sizeof(data));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    return n > 0 && write_all(STDOUT_FILENO, data, (size_t)n) >= 0;
}

static void talk(int guest)
{
    struct pollfd fds[] = {{.fd = guest, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
    bool escaped = false;
    for (;;) {
        if (poll(fds, PV_ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
            return;
        if (fds[0].revents && !show_output(guest))
            return;
        if (fds[1].revents && !send_typed(guest, &escaped))
            return;
    }
}

static int console_of(const char *name, struct pv_error **err)
{
    struct termios before, raw;
    int ret = pv_library_enter(name, err);
    if (ret < 0)
        return ret;
    if (!pv_library_is_alive("."))
        return pv_error_set(err, ESRCH, "VM '%s' is not running", name);
    PV_CLEANUP_FD int guest = pv_unix_connect(PV_LIBRARY_CONSOLE);
    if (guest < 0)
        return pv_error_errno(err, -guest, "VM '%s': its console", name);
    fcntl(guest, F_SETFL, 0);
    bool terminal = tcgetattr(STDIN_FILENO, &before) == 0;
    if (terminal) {
        fprintf(stderr, "pearvisor: Ctrl-] q leaves\r\n");
        raw = before;
        cfmakeraw(&raw);
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    talk(guest);
    if (terminal)
        tcsetattr(STDIN_FILENO, TCSANOW, &before);
    return 0;
}

static int console(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {CLI_HELP_OPTION, {0}};
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    int option = cli_next_option(command, argc, argv, options);
    if (option != -1)
        return option == CLI_OPTION_HELP ? CLI_OK : CLI_USAGE;
    if (argc - optind != 1)
        return cli_usage(command, "one VM's name is needed");
    return console_of(argv[optind], &err) < 0 ? cli_fail(&err) : CLI_OK;
}

const struct cli_command cli_console = {
    .name = "console",
    .summary = "connect this terminal to a virtual machine's console",
    .help = "usage: pearvisor console NAME\n\n"
            "One at a time; a second waits for the first. Ctrl-] q leaves, and the VM runs on.\n"
            "Ctrl-] twice sends one.\n",
    .run = console,
};

/* ---- logs ---- */

/* A log is renamed when it is long, and begins anew. */
static bool was_rotated(const char *path, int fd)
{
    struct stat now, mine;
    return stat(path, &now) == 0 && fstat(fd, &mine) == 0 && now.st_ino != mine.st_ino;
}

/* Prints what is there; with `follow`, what comes while the VM runs too. */
static int print_log(const char *path, bool follow, struct pv_error **err)
{
    PV_CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    char data[4096];
    if (fd < 0)
        return errno == ENOENT ? 0 : pv_error_errno(err, errno, "%s", path);
    for (;;) {
        /* Asked before: what it wrote last is then seen below. */
        bool alive = pv_library_is_alive("."), rotated = follow && was_rotated(path, fd);
        ssize_t n = read(fd, data, sizeof(data));
        if (n < 0 && errno != EINTR)
            return pv_error_errno(err, errno, "%s", path);
        if (n > 0 && write_all(STDOUT_FILENO, data, (size_t)n) < 0)
            return 0; /* whoever read this has seen enough */
        if (n == 0 && rotated) {
            close(fd);
            fd = open(path, O_RDONLY | O_CLOEXEC);
            if (fd < 0)
                return pv_error_errno(err, errno, "%s", path);
            continue;
        }
        if (n == 0 && !(follow && alive))
            return 0;
        if (n == 0)
            nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
}

/* The one before it first. */
static int print_logs(const char *path, bool follow, struct pv_error **err)
{
    PV_CLEANUP_FREE char *old = NULL;
    if (asprintf(&old, "%s.1", path) < 0) {
        old = NULL;
        return pv_error_set(err, ENOMEM, "out of memory");
    }
    int ret = print_log(old, false, err);
    return ret < 0 ? ret : print_log(path, follow, err);
}

static int logs(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {
        {"follow", no_argument, NULL, 'f'}, {"vm", no_argument, NULL, 'v'}, CLI_HELP_OPTION, {0}};
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    const char *path = PV_LIBRARY_OUTPUT;
    bool follow = false;
    int option;
    while ((option = cli_next_option(command, argc, argv, options)) != -1) {
        if (option == 'f')
            follow = true;
        else if (option == 'v')
            path = PV_LIBRARY_LOG;
        else
            return option == CLI_OPTION_HELP ? CLI_OK : CLI_USAGE;
    }
    if (argc - optind != 1)
        return cli_usage(command, "one VM's name is needed");
    int ret = pv_library_enter(argv[optind], &err);
    if (ret >= 0)
        ret = print_logs(path, follow, &err);
    return ret < 0 ? cli_fail(&err) : CLI_OK;
}

const struct cli_command cli_logs = {
    .name = "logs",
    .summary = "print what a virtual machine wrote to its console",
    .help = "usage: pearvisor logs [--follow] [--vm] NAME\n\n"
            "  --follow            go on while the VM runs\n"
            "  --vm                what the process that runs it had to say, instead\n",
    .run = logs,
};
