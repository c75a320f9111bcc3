/* SPDX-License-Identifier: MIT */
/* Which images can be pulled by a short name: data/images.json, and a user's own list like it. */
#ifndef PV_FETCH_CATALOGUE_H
#define PV_FETCH_CATALOGUE_H

struct pv_error;

struct catalogue_entry {
    char *url;
    char *sums;      /* the list that has its checksum, or NULL */
    char *signature; /* of that list, for gpgv; or NULL */
    char *keyring;   /* a file that it is checked with; or NULL */
};

/*
 * Looks `name` up in the files, the first that has it counts; files that are not there do not
 * matter. -ENOENT: none has it, and the message says what there is.
 */
int catalogue_find(struct catalogue_entry *entry, const char *name, const char *const *files,
                   unsigned count, struct pv_error **err);
void catalogue_entry_finish(struct catalogue_entry *entry);

#endif
