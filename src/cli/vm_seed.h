/* SPDX-License-Identifier: MIT */
/* create's options for cloud-init, whose names begin with "cloud-". */
#ifndef PV_CLI_VM_SEED_H
#define PV_CLI_VM_SEED_H

#include "vm/cloud_seed.h"

#include <stdbool.h>

struct cli_seed {
    bool wanted;
    struct pv_cloud_seed seed;
    char *owned[PV_SEED_LIST_MAX + 2]; /* files' contents that it points into */
    size_t owned_count;
};

bool cli_seed_knows(const char *key);
int cli_seed_set(struct cli_seed *seed, const char *key, const char *value, struct pv_error **err);
/* Makes the CD for VM `name` a file. */
int cli_seed_write(struct cli_seed *seed, const char *name, const char *path,
                   struct pv_error **err);
void cli_seed_finish(struct cli_seed *seed);

#endif
