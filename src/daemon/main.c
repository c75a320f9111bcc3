/* SPDX-License-Identifier: MIT */
/* pearvisord: listens, and waits to be told to end. */
#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "daemon/daemon.h"
#include "daemon/remote.h"
#include "host/program.h"
#include "vm/library.h"

#include <getopt.h>
#include <signal.h>
#include <string.h>

static const char help[] =
    "usage: pearvisord [--socket PATH] [--listen ADDRESS:PORT --tls-certificate FILE\n"
    "                  --tls-key FILE --token FILE]\n\n"
    "Offers the library of virtual machines as HTTP and JSON (GET /v1/openapi.json describes it),\n"
    "and starts VMs again whose file says so (restart: on-failure or always). VMs run on when it\n"
    "ends, and are found again.\n\n"
    "  --socket PATH       where it listens, for its user only (default: pearvisord.sock beside\n"
    "                      the VMs, in $PEARVISOR_HOME or ~/.local/share/pearvisor)\n\n"
    "  --listen ADDRESS:PORT   listens there too, by TLS, for those who bring the token\n"
    "  --tls-certificate FILE  the server's certificate, and those above it, in PEM\n"
    "  --tls-key FILE          its private key in PEM, for its user's eyes only\n"
    "  --token FILE            a line of 32 characters or more that clients send as\n"
    "                          'Authorization: Bearer TOKEN'; for its user's eyes only\n\n"
    "SIGTERM and SIGINT end it.\n";

static int fail(struct pv_error **err)
{
    fprintf(stderr, "pearvisord: %s\n", pv_error_message(*err));
    pv_error_free(err);
    return EXIT_FAILURE;
}

/* The folder of VMs is .../vms. */
static char *default_socket(struct pv_error **err)
{
    PV_CLEANUP_FREE char *folder = NULL;
    char *path = NULL;
    if (pv_library_folder(&folder, err) < 0)
        return NULL;
    *strrchr(folder, '/') = '\0';
    return asprintf(&path, "%s/pearvisord.sock", folder) < 0 ? NULL : path;
}

/* pearvisor lies beside pearvisord. */
static char *find_program(void)
{
    PV_CLEANUP_FREE char *own = pv_program_path();
    char *slash = own ? strrchr(own, '/') : NULL, *path = NULL;
    if (!slash)
        return NULL;
    *slash = '\0';
    return asprintf(&path, "%s/pearvisor", own) < 0 ? NULL : path;
}

static int serve(const struct pv_daemon_config *config, struct pv_error **err)
{
    struct pv_daemon *daemon = NULL;
    sigset_t ends;
    int number;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    signal(SIGPIPE, SIG_IGN);
    pthread_sigmask(SIG_BLOCK, &ends, NULL); /* in all threads, as they are made later */
    int ret = pv_daemon_create(&daemon, config, err);
    if (ret < 0)
        return ret;
    fprintf(stderr, "pearvisord: listening at %s\n", config->socket);
    sigwait(&ends, &number);
    pv_daemon_destroy(daemon);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"socket", required_argument, NULL, 's'},
                                            {"listen", required_argument, NULL, 'l'},
                                            {"tls-certificate", required_argument, NULL, 'c'},
                                            {"tls-key", required_argument, NULL, 'k'},
                                            {"token", required_argument, NULL, 't'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    PV_CLEANUP_FREE char *program = find_program();
    PV_CLEANUP_FREE char *own = NULL;
    struct pv_remote_config remote = {0};
    struct pv_daemon_config config = {.program = program};
    int option;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(help, stdout);
            return EXIT_SUCCESS;
        }
        switch (option) {
        case 's': config.socket = optarg; break;
        case 'l': remote.address = optarg; break;
        case 'c': remote.certificate = optarg; break;
        case 'k': remote.key = optarg; break;
        case 't': remote.token = optarg; break;
        default: return 2;
        }
    }
    if (remote.address) {
        config.remote = &remote;
    } else if (remote.certificate || remote.key || remote.token) {
        fprintf(stderr, "pearvisord: --tls-certificate, --tls-key and --token go with --listen\n");
        return 2;
    }
    if (optind < argc) {
        fprintf(stderr, "pearvisord: unexpected argument '%s'\n", argv[optind]);
        return 2;
    }
    if (!config.socket) {
        own = default_socket(&err);
        config.socket = own;
    }
    if (!config.socket || !program) {
        if (!err)
            fprintf(stderr, "pearvisord: out of memory\n");
        return err ? fail(&err) : EXIT_FAILURE;
    }
    return serve(&config, &err) < 0 ? fail(&err) : EXIT_SUCCESS;
}
