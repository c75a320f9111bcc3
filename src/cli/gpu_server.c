/* SPDX-License-Identifier: MIT */
/* gpu-server: a renderer behind a vtest socket, for Vulkan programs outside virtual machines. */
#include "base/error.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/util.h"
#include "cli/cli.h"
#include "gpu/renderer.h"
#include "gpu/vtest.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

static int serve(const char *path, const char *renderer, const struct pv_renderer_config *config)
{
    struct pv_error *err = NULL;
    struct pv_vtest *vtest;
    sigset_t signals;
    int got;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    if (pv_vtest_create(&vtest, path, renderer, config, &err) < 0)
        return cli_fail(&err);
    sigwait(&signals, &got);
    pv_vtest_destroy(vtest);
    return CLI_OK;
}

static uint64_t half_of_memory(void)
{
    return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 2;
}

static int run(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {
        {"vtest", required_argument, NULL, 'v'},
        {"renderer", required_argument, NULL, 'r'},
        {"library", required_argument, NULL, 'l'},
        {"memory", required_argument, NULL, 'm'},
        {"log", required_argument, NULL, 'L'},
        CLI_HELP_OPTION,
        {0},
    };
    uint64_t memory = half_of_memory();
    struct pv_renderer_config config = {0};
    struct pv_error *err = NULL;
    const char *path = NULL, *renderer = pv_renderer_names()[0];
    int option;
    while ((option = cli_next_option(command, argc, argv, options)) != -1) {
        switch (option) {
        case 'v': path = optarg; break;
        case 'r': renderer = optarg; break;
        case 'l': config.vulkan_library = optarg; break;
        case 'm':
            if (pv_parse_size(optarg, "--memory", PV_MIB, UINT64_MAX, &memory, &err) < 0)
                return cli_usage_error(command, &err);
            break;
        case 'L':
            if (pv_log_set_filter(optarg, &err) < 0)
                return cli_usage_error(command, &err);
            break;
        case CLI_OPTION_HELP: return CLI_OK;
        default: return CLI_USAGE;
        }
    }
    if (optind < argc)
        return cli_usage(command, "unexpected argument '%s'", argv[optind]);
    if (!path)
        return cli_usage(command, "--vtest PATH is missing");
    config.context_memory_max = config.host_memory_max = memory;
    return serve(path, renderer, &config);
}

const struct cli_command cli_gpu_server = {
    .name = "gpu-server",
    .summary = "serve the host's GPU at a socket, without a virtual machine",
    .help = "usage: pearvisor gpu-server --vtest PATH [OPTIONS]\n"
            "\n"
            "Vulkan programs use the socket with Mesa's Venus driver (25 or later):\n"
            "  VN_DEBUG=vtest VTEST_SOCKET_NAME=PATH VK_DRIVER_FILES=virtio_icd.json PROGRAM\n"
            "\n"
            "  --vtest PATH       the socket to make; whoever can open it has the GPU\n"
            "  --renderer NAME    venus (default), virgl where its Venus is new enough, or null\n"
            "  --library FILE     the Vulkan loader to use\n"
            "  --memory SIZE      host memory and device memory that one client may have, each\n"
            "                     (default: half of the host's memory)\n"
            "  --log FILTER       what to log, e.g. warn,venus=debug\n",
    .run = run,
};
