/* SPDX-License-Identifier: MIT */
/*
 * The image library. Building one is work for Debian's own tools, so the builder is a program of
 * its own (tools/image-builder) that this command becomes.
 */
#include "base/util.h"
#include "cli/cli.h"
#include "host/program.h"

#include <errno.h>
#include <libgen.h>
#include <string.h>

/* Beside the program: in a build folder, and where `meson install` puts it. */
static const char *const builder_places[] = {
    "../tools/image-builder/pv-image-build",
    "../libexec/pearvisor/image-builder/pv-image-build",
};

static const char *const verbs[] = {"build", "list", "inspect", "remove", NULL};

static char *find_builder(char *program)
{
    const char *folder = dirname(program);
    for (size_t i = 0; i < PV_ARRAY_SIZE(builder_places); i++) {
        char *path;
        if (asprintf(&path, "%s/%s", folder, builder_places[i]) < 0)
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
        return cli_usage(command, "what to do is missing: build, list, inspect or remove");
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
                   : cli_usage(command, "unknown verb '%s'; use build, list, inspect or remove",
                               argv[1]);
    }

    PV_CLEANUP_FREE char *program = pv_program_path();
    PV_CLEANUP_FREE char *copy = program ? strdup(program) : NULL;
    PV_CLEANUP_FREE char *builder = copy ? find_builder(copy) : NULL;
    if (!builder) {
        cli_error("the image builder is not installed beside %s",
                  program ? program : "this program");
        return CLI_FAILURE;
    }
    setenv("PEARVISOR_PROGRAM", program, 1);
    argv[0] = builder;
    execv(builder, argv);
    cli_error("%s: %s (it needs Python 3)", builder, strerror(errno));
    return CLI_FAILURE;
}

const struct cli_command cli_image = {
    .name = "image",
    .summary = "build, list, inspect and remove guest images",
    .help = "usage: pearvisor image build debian:13|debian:12 [--name NAME]\n"
            "                             [--profile minimal|full|gpu] [--package NAME]...\n"
            "                             [--size SIZE] [--authorized-key FILE] [--force]\n"
            "                             [--mirror URI] [--offline]\n"
            "       pearvisor image list\n"
            "       pearvisor image inspect NAME\n"
            "       pearvisor image remove NAME\n\n"
            "Makes bootable guest images out of Debian packages and keeps them in the library\n"
            "under $PEARVISOR_HOME (default ~/.local/share/pearvisor). 'pearvisor run NAME' boots\n"
            "one. 'pearvisor image VERB --help' has the details.\n",
    .run = run,
};
