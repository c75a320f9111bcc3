/* SPDX-License-Identifier: MIT */
/*
 * `pearvisor image pull`, as a program of its own: the libraries that speak HTTPS are many, and a
 * virtual machine's process needs none of them.
 */
#include "base/error.h"
#include "base/util.h"
#include "fetch/pull.h"
#include "host/program.h"

#include <getopt.h>
#include <libgen.h>
#include <string.h>

static const char help[] =
    "usage: pearvisor image pull IMAGE [--name NAME] [--sum DIGITS] [--force]\n"
    "                            [--catalogue FILE]\n\n"
    "Puts a published disk image for ARM64 into the library. IMAGE is a name of the\n"
    "catalogue (debian:13, ubuntu:24.04, fedora:41 ...), a URL, or a file; raw or qcow2,\n"
    "possibly compressed by xz. It boots by UEFI: 'pearvisor run NAME'.\n\n"
    "  --name NAME       its name in the library (debian:13 would be debian-13)\n"
    "  --sum DIGITS      the SHA256 or SHA512 that it must have; images of the catalogue\n"
    "                    are checked against their publisher's list anyway\n"
    "  --force           replaces an image of that name\n"
    "  --catalogue FILE  looked into first; also $PEARVISOR_HOME/images.json\n\n"
    "What was downloaded when a download breaks off is kept, and the same command goes on\n"
    "there. A checksum that differs removes it.\n";

#define USAGE 2

struct screen {
    bool terminal;
    bool line; /* progress stands on the terminal's last line */
    char stage[64];
};

static void clear_line(struct screen *screen)
{
    if (screen->line)
        fputs("\r\033[K", stderr);
    screen->line = false;
}

static void show_stage(void *opaque, const char *text)
{
    struct screen *screen = opaque;
    clear_line(screen);
    fprintf(stderr, "%s\n", text);
    snprintf(screen->stage, sizeof(screen->stage), "%s", text);
}

static void show_progress(void *opaque, uint64_t done, uint64_t total)
{
    struct screen *screen = opaque;
    if (!screen->terminal)
        return;
    fprintf(stderr, "\r%s: %llu MiB", screen->stage, (unsigned long long)(done / PV_MIB));
    if (total)
        fprintf(stderr, " of %llu (%llu%%)", (unsigned long long)(total / PV_MIB),
                (unsigned long long)(done * 100 / total));
    fputs("\033[K", stderr);
    screen->line = true;
}

/* The library's folder, or `more` beside it; NULL: no place for one. */
static char *home_path(const char *more)
{
    const char *home = getenv("PEARVISOR_HOME"), *data = getenv("XDG_DATA_HOME");
    const char *user = getenv("HOME");
    char *path;
    int len = -1;
    if (home && *home)
        len = asprintf(&path, "%s/%s", home, more);
    else if (data && *data)
        len = asprintf(&path, "%s/pearvisor/%s", data, more);
    else if (user && *user)
        len = asprintf(&path, "%s/.local/share/pearvisor/%s", user, more);
    return len < 0 ? NULL : path;
}

/* The catalogue that belongs to the program: in the source tree, and where it is installed. */
static char *own_catalogue(void)
{
    static const char *const places[] = {"../../../data/images.json",
                                         "../../share/pearvisor/images.json"};
    PV_CLEANUP_FREE char *program = pv_program_path();
    const char *folder = program ? dirname(program) : ".";
    char *path = NULL;
    for (size_t i = 0; i < PV_ARRAY_SIZE(places); i++) {
        free(path);
        if (asprintf(&path, "%s/%s", folder, places[i]) < 0)
            return NULL;
        if (access(path, R_OK) == 0)
            break;
    }
    return path;
}

static int pull(const struct pull *request, const char *catalogue)
{
    struct screen screen = {.terminal = isatty(STDERR_FILENO)};
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    PV_CLEANUP_FREE char *library = home_path("images");
    PV_CLEANUP_FREE char *users = home_path("images.json");
    PV_CLEANUP_FREE char *own = own_catalogue();
    if (!library || !users || !own) {
        fputs("pearvisor: image pull: HOME is not set; set PEARVISOR_HOME\n", stderr);
        return 1;
    }
    const char *catalogues[] = {catalogue, users, own};
    struct pull pull = *request;
    pull.library = library;
    pull.catalogues = catalogues + !catalogue;
    pull.catalogue_count = PV_ARRAY_SIZE(catalogues) - !catalogue;
    pull.stage = show_stage;
    pull.opaque = &screen;
    pull.progress = (struct fetch_progress){show_progress, &screen};
    int ret = fetch_begin(&err);
    if (ret == 0)
        ret = pull_run(&pull, &err);
    clear_line(&screen);
    if (ret < 0)
        fprintf(stderr, "pearvisor: image pull: %s\n", pv_error_message(err));
    return ret < 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"name", required_argument, NULL, 'n'},      {"sum", required_argument, NULL, 's'},
        {"force", no_argument, NULL, 'f'},           {"help", no_argument, NULL, 'h'},
        {"catalogue", required_argument, NULL, 'c'}, {0},
    };
    struct pull request = {0};
    const char *catalogue = NULL;
    int option;
    /* Like the other verbs of `image`, it is told its verb first. */
    if (argc > 1 && !strcmp(argv[1], "pull")) {
        argc--;
        argv++;
    }
    while ((option = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
        switch (option) {
        case 'n': request.name = optarg; break;
        case 's': request.sum = optarg; break;
        case 'f': request.force = true; break;
        case 'c': catalogue = optarg; break;
        case 'h': fputs(help, stdout); return 0;
        default: fputs("use 'pearvisor image pull --help'\n", stderr); return USAGE;
        }
    }
    if (optind + 1 != argc) {
        fprintf(stderr, "pearvisor: image pull: %s; use 'pearvisor image pull --help'\n",
                optind == argc ? "which image?" : "one image at a time");
        return USAGE;
    }
    request.what = argv[optind];
    return pull(&request, catalogue);
}
