/* SPDX-License-Identifier: MIT */
/* The verbs of `disk` that change images (disk_edit.c), and what they share with the others. */
#ifndef PV_CLI_DISK_H
#define PV_CLI_DISK_H

#include "block/disk.h"

#include <jansson.h>

struct cli_command;

int cli_disk_resize(const struct cli_command *command, int argc, char **argv);
int cli_disk_compact(const struct cli_command *command, int argc, char **argv);
int cli_disk_snapshot(const struct cli_command *command, int argc, char **argv);
int cli_disk_commit(const struct cli_command *command, int argc, char **argv);
int cli_disk_rebase(const struct cli_command *command, int argc, char **argv);
int cli_disk_map(const struct cli_command *command, int argc, char **argv);

/* Per cent on standard error if that is a terminal. */
struct pv_disk_progress cli_disk_progress(void);
/* Prints and takes over `root`, which may be NULL for want of memory. Returns an exit status. */
int cli_disk_print_json(json_t *root);

#endif
