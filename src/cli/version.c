/* SPDX-License-Identifier: MIT */
#include "version.h"
#include "cli/cli.h"

#include <stdio.h>

static int run(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {CLI_HELP_OPTION, {0}};
    int option;
    while ((option = cli_next_option(command, argc, argv, options)) != -1)
        return option == CLI_OPTION_HELP ? CLI_OK : CLI_USAGE;
    if (optind < argc)
        return cli_usage(command, "unexpected argument '%s'", argv[optind]);
    puts("pearvisor " PV_VERSION);
    return CLI_OK;
}

const struct cli_command cli_version = {
    .name = "version",
    .summary = "print the version",
    .help = "usage: pearvisor version\n\nPrints the version of PearVisor.\n",
    .run = run,
};
