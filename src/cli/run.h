/* SPDX-License-Identifier: MIT */
/* What `run` and the VMs of the library have in common: options become a config, and it runs. */
#ifndef PV_CLI_RUN_H
#define PV_CLI_RUN_H

#include "cli/library.h"
#include "vm/config.h"
#include "vm/vm.h"

struct pv_error;

/* Zeroed, then cli_run_init(). Strings that were given must outlive it. */
struct cli_run {
    struct pv_config config;
    struct cli_image image;
    char *append; /* the image's command line with --append behind it */
    bool net_given;
    bool restart_given; /* which is for VMs of the library only */
    bool stats;         /* what the engine counted is printed at the end */
};

void cli_run_init(struct cli_run *run);
void cli_run_finish(struct cli_run *run);

/* Whether `run` has an option --KEY that takes a value. */
bool cli_run_knows(const char *key);

/* As --KEY VALUE on run's command line; `value` may be changed. */
int cli_run_set(struct cli_run *run, const char *key, char *value, struct pv_error **err);

/* After the last option: what was not said, and whether there is anything to run. */
int cli_run_complete(struct cli_run *run, struct pv_error **err);

/* Runs it to its end. `ready` (or NULL) is called when all is made and nothing has run yet.
 * *end says why it ended. */
int cli_run_vm(const struct cli_run *run, void (*ready)(void *opaque), void *opaque,
               enum pv_vm_end *end, struct pv_error **err);

/*
 * Starts VM `name` of the library: from the folder of a snapshot, relative to its own; or
 * (`restore` NULL) from where it was suspended, if it was; or by booting. It runs in a process of
 * its own when this returns.
 */
int cli_start_vm(const char *name, const char *restore, struct pv_error **err);
/* The same, and where it was suspended is given up. */
int cli_boot_vm(const char *name, struct pv_error **err);

#endif
