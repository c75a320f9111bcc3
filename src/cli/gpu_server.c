/* SPDX-License-Identifier: MIT */
/* gpu-server: a renderer behind a vtest socket, for Vulkan programs outside virtual machines. */
#include "cli/gpu_server.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "gpu/renderer.h"
#include "gpu/vtest.h"

static const char usage[] =
    "Usage: pearvisor gpu-server --vtest PATH [--renderer venus|null] [--library FILE]\n"
    "Serves the host's GPU at a vtest socket. Programs use it with Mesa's Venus driver:\n"
    "  VN_DEBUG=vtest VTEST_SOCKET_NAME=PATH VK_DRIVER_FILES=virtio_icd.json PROGRAM\n";

static int serve(const char *path, const char *renderer, const struct pv_renderer_config *config)
{
    struct pv_error *err PV_CLEANUP_ERROR = NULL;
    struct pv_vtest *vtest;
    sigset_t signals;
    int got;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    if (pv_vtest_create(&vtest, path, renderer, config, &err) < 0) {
        fprintf(stderr, "pearvisor gpu-server: %s\n", pv_error_message(err));
        return 1;
    }
    sigwait(&signals, &got);
    pv_vtest_destroy(vtest);
    return 0;
}

int pv_cli_gpu_server(int argc, char **argv)
{
    static const struct option options[] = {
        {"vtest", required_argument, NULL, 'v'},   {"renderer", required_argument, NULL, 'r'},
        {"library", required_argument, NULL, 'l'}, {"log", required_argument, NULL, 'L'},
        {"help", no_argument, NULL, 'h'},          {0},
    };
    struct pv_renderer_config config = {0};
    struct pv_error *err PV_CLEANUP_ERROR = NULL;
    const char *path = NULL, *renderer = "venus";
    int option;
    optind = 1;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'v')
            path = optarg;
        else if (option == 'r')
            renderer = optarg;
        else if (option == 'l')
            config.vulkan_library = optarg;
        else if (option == 'L' && pv_log_set_filter(optarg, &err) == 0)
            continue;
        else if (option == 'h')
            return fputs(usage, stdout) < 0;
        else {
            fprintf(stderr, "%s\n%s", err ? pv_error_message(err) : "", usage);
            return 2;
        }
    }
    if (!path || optind < argc) {
        fputs(usage, stderr);
        return 2;
    }
    return serve(path, renderer, &config);
}
