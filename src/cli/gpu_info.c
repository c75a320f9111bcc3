/* SPDX-License-Identifier: MIT */
/* gpu-info: the host's GPUs, and what guests will see of them. */
#include "base/buffer.h"
#include "base/error.h"
#include "base/util.h"
#include "cli/cli.h"
#include "gpu/describe.h"

static int run(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {
        {"library", required_argument, NULL, 'l'},
        CLI_HELP_OPTION,
        {0},
    };
    struct pv_buffer text PV_CLEANUP_BUFFER = PV_BUFFER_INIT(1 << 20);
    struct pv_error *err = NULL;
    const char *library = NULL;
    int option;
    while ((option = cli_next_option(command, argc, argv, options)) != -1) {
        if (option == CLI_OPTION_HELP)
            return CLI_OK;
        if (option != 'l')
            return CLI_USAGE;
        library = optarg;
    }
    if (optind < argc)
        return cli_usage(command, "unexpected argument '%s'", argv[optind]);
    if (pv_gpu_describe(&text, library, &err) < 0)
        return cli_fail(&err);
    return fwrite(text.data, 1, text.size, stdout) == text.size ? CLI_OK : CLI_FAILURE;
}

const struct cli_command cli_gpu_info = {
    .name = "gpu-info",
    .summary = "list the host's GPUs and what guests will see of them",
    .help = "usage: pearvisor gpu-info [--library FILE]\n"
            "\n"
            "  --library FILE     the Vulkan loader to use\n",
    .run = run,
};
