/* SPDX-License-Identifier: MIT */
/* control: asks something of a running VM on its control socket (vm/control.h has the protocol). */
#include "base/error.h"
#include "base/util.h"
#include "cli/cli.h"
#include "vm/ask.h"

#include <errno.h>
#include <string.h>

/* KEY=VALUE... as an object, or NULL. */
static json_t *make_arguments(int argc, char **argv, struct pv_error **err)
{
    json_t *arguments = json_object();
    for (int i = 0; i < argc && !*err; i++) {
        const char *equals = strchr(argv[i], '=');
        if (!equals || equals == argv[i]) {
            pv_error_set(err, EINVAL, "'%s': arguments are KEY=VALUE", argv[i]);
            break;
        }
        PV_CLEANUP_FREE char *key = strndup(argv[i], (size_t)(equals - argv[i]));
        if (!key || json_object_set_new(arguments, key, json_string(equals + 1)) < 0)
            pv_error_set(err, EINVAL, "'%s': not UTF-8", argv[i]);
    }
    if (*err) {
        json_decref(arguments);
        return NULL;
    }
    return arguments;
}

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
    json_t *result = NULL;
    bool as_json = false;
    int option;
    while ((option = cli_next_option(command, argc, argv, options)) != -1) {
        if (option == CLI_OPTION_HELP || option == '?')
            return option == CLI_OPTION_HELP ? CLI_OK : CLI_USAGE;
        as_json = true;
    }
    if (argc - optind < 2)
        return cli_usage(command, "a control socket and a verb are needed");
    json_t *arguments = make_arguments(argc - optind - 2, argv + optind + 2, &err);
    if (!arguments)
        return cli_usage_error(command, &err);
    int ret = pv_control_ask(argv[optind], argv[optind + 1], arguments, 0, &result, &err);
    json_decref(arguments);
    if (ret < 0)
        return cli_fail(&err);
    if (as_json) {
        json_dumpf(result, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        print_result(result);
    }
    json_decref(result);
    return CLI_OK;
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
            "                      take it at once; what the guest has not written is lost\n"
            "  snapshot folder=FOLDER [note=TEXT]\n"
            "                      keep the VM as it is now, while it goes on, in a new folder\n"
            "                      (run --restore FOLDER goes on from there)\n\n"
            "  --json              print the answer as JSON\n",
    .run = run,
};
