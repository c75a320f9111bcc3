/* SPDX-License-Identifier: MIT */
/*
 * What a cloud image is told at its first boot (cloud-init's data source NoCloud): a small CD, with
 * the label CIDATA, that has the files user-data and meta-data.
 */
#ifndef PV_VM_CLOUD_SEED_H
#define PV_VM_CLOUD_SEED_H

#include <stddef.h>

struct pv_buffer;
struct pv_error;

#define PV_SEED_LIST_MAX 32u

struct pv_cloud_seed {
    const char *hostname;
    const char *user;                   /* may become root by sudo without a password; or NULL */
    const char *password_hash;          /* the user's, as in /etc/shadow; NULL: none, only keys */
    const char *timezone;               /* or NULL */
    const char *keys[PV_SEED_LIST_MAX]; /* lines of SSH's authorized_keys */
    size_t key_count;
    const char *packages[PV_SEED_LIST_MAX];
    size_t package_count;
    const char *user_data; /* instead of all of these but the host's name; or NULL */
    /* The guest agent, a static program, which the guest then installs; or NULL. */
    const void *agent;
    size_t agent_size;
};

#define PV_SEED_BYTES_MAX ((size_t)16 << 20)

/* Appends the CD to a buffer. */
int pv_cloud_seed_make(struct pv_buffer *out, const struct pv_cloud_seed *seed,
                       struct pv_error **err);

#endif
