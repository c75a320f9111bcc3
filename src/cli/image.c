/* SPDX-License-Identifier: MIT */
/*
 * The image library. Building one is work for Debian's own tools, and pulling one for libraries
 * that no VM's process needs, so these are programs of their own (tools/image-builder, src/fetch)
 * that this command becomes.
 */
#include "base/util.h"
#include "cli/cli.h"
#include "host/program.h"

#include <errno.h>
#include <libgen.h>
#include <string.h>

/* Beside the program: in a build folder, and where `meson install` puts it. */
static const struct helper {
    const char *what, *places[2], *needs;
} builder = {"the image builder",
             {"../tools/image-builder/pv-image-build",
              "../libexec/pearvisor/image-builder/pv-image-build"},
             "it needs Python 3"},
  fetcher = {"what downloads images (libcurl was not there when this was built)",
             {"src/fetch/pearvisor-fetch", "../libexec/pearvisor/pearvisor-fetch"},
             "a program of pearvisor's"};

static const char *const verbs[] = {"build", "pull", "list", "inspect", "remove", NULL};

static char *find_helper(const struct helper *helper, char *program)
{
    const char *folder = dirname(program);
    for (size_t i = 0; i < PV_ARRAY_SIZE(helper->places); i++) {
        char *path;
        if (asprintf(&path, "%s/%s", folder, helper->places[i]) < 0)
            return NULL;
        if (access(path, X_OK) == 0)
            return path;
        free(path);
    }
    return NULL;
}

static int run(const struct cli_command *command, int argc, char **argv)
{
    if (argc < 2)
        return cli_usage(command, "what to do is missing: build, pull, list, inspect or remove");
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
        fputs(command->help, stdout);
        return CLI_OK;
    }
    bool known = false;
    for (size_t i = 0; verbs[i]; i++)
        known |= !strcmp(argv[1], verbs[i]);
    if (!known) {
        const char *nearest = cli_nearest(argv[1], verbs);
        return nearest
                   ? cli_usage(command, "unknown verb '%s'; did you mean '%s'?", argv[1], nearest)
                   : cli_usage(command,
                               "unknown verb '%s'; use build, pull, list, inspect or remove",
                               argv[1]);
    }

    PV_CLEANUP_FREE char *program = pv_program_path();
    PV_CLEANUP_FREE char *copy = program ? strdup(program) : NULL;
    const struct helper *helper = strcmp(argv[1], "pull") ? &builder : &fetcher;
    PV_CLEANUP_FREE char *path = copy ? find_helper(helper, copy) : NULL;
    if (!path) {
        cli_error("%s is not installed beside %s", helper->what,
                  program ? program : "this program");
        return CLI_FAILURE;
    }
    setenv("PEARVISOR_PROGRAM", program, 1);
    argv[0] = path;
    execv(path, argv);
    cli_error("%s: %s (%s)", path, strerror(errno), helper->needs);
    return CLI_FAILURE;
}

const struct cli_command cli_image = {
    .name = "image",
    .summary = "build, pull, list, inspect and remove guest images",
    .help = "usage: pearvisor image build debian:13|debian:12 [--name NAME]\n"
            "                             [--profile minimal|full|gpu] [--package NAME]...\n"
            "                             [--size SIZE] [--authorized-key FILE] [--force]\n"
            "                             [--mirror URI] [--offline]\n"
            "       pearvisor image pull debian:13|ubuntu:24.04|fedora:41|URL|FILE [--name NAME]\n"
            "                            [--sum DIGITS] [--force] [--catalogue FILE]\n"
            "       pearvisor image list\n"
            "       pearvisor image inspect NAME\n"
            "       pearvisor image remove NAME\n\n"
            "Makes bootable guest images out of Debian packages, or takes over published disk\n"
            "images, and keeps them in the library\n"
            "under $PEARVISOR_HOME (default ~/.local/share/pearvisor). 'pearvisor run NAME' boots\n"
            "one. 'pearvisor image VERB --help' has the details.\n",
    .run = run,
};
