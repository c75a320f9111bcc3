/* SPDX-License-Identifier: MIT */
#include "base/error.h"
#include "base/util.h"
#include "cli/cli.h"
#include "engine/engine.h"

static int run(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {CLI_HELP_OPTION, {0}};
    int option;
    while ((option = cli_next_option(command, argc, argv, options)) != -1)
        return option == CLI_OPTION_HELP ? CLI_OK : CLI_USAGE;
    if (optind < argc)
        return cli_usage(command, "unexpected argument '%s'", argv[optind]);

    const struct pv_engine_ops *chosen = pv_engine_default();
    for (const struct pv_engine_ops *const *ops = pv_engine_list(); *ops; ops++) {
        if (pv_engine_is_test_only(*ops))
            continue;
        PV_CLEANUP_ERROR struct pv_error *err = NULL;
        bool usable = pv_engine_probe(*ops, &err) >= 0;
        printf("%c %-8s %s%s%s%s\n", *ops == chosen ? '*' : ' ', pv_engine_name(*ops),
               pv_engine_description(*ops),
               usable ? "" : " (not usable here: ", usable ? "" : pv_error_message(err),
               usable ? "" : ")");
    }
    return CLI_OK;
}

const struct cli_command cli_engines = {
    .name = "engines",
    .summary = "list the CPU engines and whether they can be used here",
    .help = "usage: pearvisor engines\n\n"
            "Lists the engines that can execute guest code. The one marked * is used unless\n"
            "'pearvisor run --engine NAME' says otherwise. An engine that cannot be used on this\n"
            "host is listed with the reason.\n",
    .run = run,
};
