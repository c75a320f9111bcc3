/* SPDX-License-Identifier: MIT */
/* control: asks something of a running VM on its control socket (vm/control.h has the protocol). */
#include "base/buffer.h"
#include "base/error.h"
#include "base/util.h"
#include "cli/cli.h"
#include "host/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/socket.h>

#define MAX_ANSWER (4 * 1024 * 1024u)

/* ---- Asking ---- */

/* VERB KEY=VALUE... as a line of JSON, or NULL when memory is short or an argument is no pair. */
static char *make_request(int argc, char **argv, struct pv_error **err)
{
    PV_CLEANUP_FREE char *directory = getcwd(NULL, 0);
    json_t *arguments = json_object();
    char *line = NULL;
    for (int i = 1; i < argc && !*err; i++) {
        const char *equals = strchr(argv[i], '=');
        if (!equals || equals == argv[i]) {
            pv_error_set(err, EINVAL, "'%s': arguments are KEY=VALUE", argv[i]);
        } else {
            PV_CLEANUP_FREE char *key = strndup(argv[i], (size_t)(equals - argv[i]));
            json_t *value = json_string(equals + 1);
            if (!value)
                pv_error_set(err, EINVAL, "'%s': not UTF-8", argv[i]);
            else
                json_object_set_new(arguments, key, value);
        }
    }
    if (!*err) {
        json_t *request = json_pack("{s:s, s:s*, s:O}", "verb", argv[0], "directory", directory,
                                    "arguments", arguments);
        line = json_dumps(request, JSON_COMPACT);
        json_decref(request);
        if (!line)
            pv_error_set(err, EINVAL, "'%s': cannot be said in JSON", argv[0]);
    }
    json_decref(arguments);
    return line;
}

static int write_line(int fd, const char *line)
{
    for (size_t done = 0, len = strlen(line); done <= len;) {
        /* The newline stands where the string has its NUL. */
        ssize_t n = done < len ? send(fd, line + done, len - done, MSG_NOSIGNAL)
                               : send(fd, "\n", 1, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            return -errno;
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static int read_line(int fd, struct pv_buffer *answer)
{
    while (!answer->size || answer->data[answer->size - 1] != '\n') {
        char chunk[4096];
        ssize_t n = recv(fd, chunk, sizeof(chunk), 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ECONNRESET;
        int ret = pv_buffer_append(answer, chunk, (size_t)n);
        if (ret < 0)
            return ret;
    }
    return 0;
}

static int ask(const char *path, const char *request, json_t **answer, struct pv_error **err)
{
    PV_CLEANUP_BUFFER struct pv_buffer line = PV_BUFFER_INIT(MAX_ANSWER);
    PV_CLEANUP_FD int fd = pv_unix_connect(path);
    if (fd < 0)
        return pv_error_errno(err, -fd, "'%s': no VM listens there", path);
    fcntl(fd, F_SETFL, 0); /* blocking from here on */
    int ret = write_line(fd, request);
    if (ret >= 0)
        ret = read_line(fd, &line);
    if (ret < 0)
        return pv_error_errno(err, -ret, "'%s': the VM ended without an answer", path);
    *answer = json_loads(line.data, 0, NULL);
    return *answer ? 0 : pv_error_set(err, EPROTO, "'%s': the answer is not JSON", path);
}

/* ---- Telling ---- */

static void print_value(const json_t *value)
{
    if (json_is_string(value)) {
        fputs(json_string_value(value), stdout);
    } else {
        PV_CLEANUP_FREE char *text = json_dumps(value, JSON_ENCODE_ANY);
        fputs(text ? text : "?", stdout);
    }
}

/* An object of a list is a line; a value by itself is one too. */
static void print_result(json_t *result)
{
    const char *key;
    json_t *value;
    json_object_foreach(result, key, value)
    {
        size_t index;
        json_t *row;
        if (!json_is_array(value)) {
            printf("%s: ", key);
            print_value(value);
            putchar('\n');
        }
        json_array_foreach(value, index, row)
        {
            const char *name, *separator = "";
            json_t *cell;
            json_object_foreach(row, name, cell)
            {
                printf("%s%s=", separator, name);
                print_value(cell);
                separator = " ";
            }
            putchar('\n');
        }
    }
}

static int run(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'}, CLI_HELP_OPTION, {0}};
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    json_t *answer = NULL;
    bool as_json = false;
    int option;
    while ((option = cli_next_option(command, argc, argv, options)) != -1) {
        if (option == CLI_OPTION_HELP || option == '?')
            return option == CLI_OPTION_HELP ? CLI_OK : CLI_USAGE;
        as_json = true;
    }
    if (argc - optind < 2)
        return cli_usage(command, "a control socket and a verb are needed");
    PV_CLEANUP_FREE char *request = make_request(argc - optind - 1, argv + optind + 1, &err);
    if (!request)
        return cli_usage_error(command, &err);
    if (ask(argv[optind], request, &answer, &err) < 0)
        return cli_fail(&err);

    const char *error = json_string_value(json_object_get(answer, "error"));
    json_t *result = json_object_get(answer, "result");
    if (error) {
        cli_error("%s", error);
    } else if (as_json) {
        json_dumpf(result, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        print_result(result);
    }
    json_decref(answer);
    return error ? CLI_FAILURE : CLI_OK;
}

const struct cli_command cli_control = {
    .name = "control",
    .summary = "ask something of a running VM",
    .help = "usage: pearvisor control [--json] SOCKET VERB [KEY=VALUE...]\n\n"
            "Asks a VM that was started with 'pearvisor run --control SOCKET'.\n\n"
            "  status              what it is and does\n"
            "  pause, resume       stop the guest and its clock; go on\n"
            "  power-button        ask the guest to power off\n"
            "  reset               begin anew, whatever the guest is doing\n"
            "  kill                end the VM now\n"
            "  balloon size=SIZE   ask the guest for so much of its memory (run with --balloon)\n"
            "  announce            have the guest tell its networks where it is\n"
            "  devices             its disks and networks\n"
            "  attach disk=FILE [read-only=yes] [id=NAME]\n"
            "  attach net=user|none [forward=tcp|udp:[ADDRESS:]HOSTPORT:GUESTPORT,...] [id=NAME]\n"
            "                      put a device into a free slot; its id is printed\n"
            "  detach id=NAME [timeout=SECONDS]\n"
            "                      ask the guest for it, and wait until it has let go (30 s)\n"
            "  detach id=NAME force=yes\n"
            "                      take it at once; what the guest has not written is lost\n\n"
            "  --json              print the answer as JSON\n",
    .run = run,
};
