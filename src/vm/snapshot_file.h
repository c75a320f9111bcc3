/* SPDX-License-Identifier: MIT */
/*
 * A snapshot's folder (docs/internals/snapshots.md):
 *
 *   snapshot.json   what it is of, and which snapshots inside disk images belong to it
 *   state           of CPUs, interrupts, timers and devices (base/record.h), with a checksum
 *   memory          vm/memory_image.h; when `bases` is not 0, only what was changed since
 *   memory.1 ...    what that rests on, and so on: files of other snapshots, by hard links, so that
 *                   those can be deleted
 *
 * It is made as FOLDER.new, and gets its name when all of it is on the medium.
 */
#ifndef PV_VM_SNAPSHOT_FILE_H
#define PV_VM_SNAPSHOT_FILE_H

#include <stddef.h>
#include <stdint.h>

struct pv_address_space;
struct pv_error;
struct pv_memory_load;

#define PV_SNAPSHOT_MAX_DISKS 16u
#define PV_SNAPSHOT_NOTE_MAX  1000u

struct pv_snapshot_info {
    char *note;       /* a person's; may be empty */
    char *engine;     /* that ran it */
    char *tag;        /* the name of the snapshots inside the disk images; empty: there are none */
    char *parent;     /* the name of the one that the VM came from or had last; may be empty */
    unsigned bases;   /* files that its memory rests on */
    uint64_t created; /* seconds since 1970 */
    uint64_t memory;  /* bytes, of the VM */
    unsigned cpus;
    uint64_t pages;    /* with something in them */
    uint64_t pause_us; /* how long the guest stood still */
    char *disks[PV_SNAPSHOT_MAX_DISKS];
    size_t disk_count; /* those that could be written */
};

void pv_snapshot_info_finish(struct pv_snapshot_info *info);
/* Both leave errors that name the folder. Fill is for reading; finish it in any case. */
int pv_snapshot_info_read(struct pv_snapshot_info *info, const char *folder, struct pv_error **err);
int pv_snapshot_info_write(const struct pv_snapshot_info *info, const char *folder,
                           struct pv_error **err);

/* The caller frees *data. */
int pv_snapshot_state_read(void **data, size_t *size, const char *folder, struct pv_error **err);
int pv_snapshot_state_write(const void *data, size_t size, const char *folder,
                            struct pv_error **err);

/*
 * Lets the memory of a snapshot in the making rest on that of the one in `base`, if that is still
 * the one with this tag. Returns how many files that is, or 0 when it cannot.
 */
unsigned pv_snapshot_rest_on(const char *temporary, const char *base, const char *tag);

/* Opens its memory, for `as` or, with NULL, for a look (vm/memory_load.h). */
int pv_snapshot_memory_open(struct pv_memory_load **load, struct pv_address_space *as,
                            const char *folder, struct pv_error **err);

/* Makes FOLDER.new, in the place of one that was never finished; its name is the caller's. */
int pv_snapshot_begin(char **temporary, const char *folder, struct pv_error **err);
int pv_snapshot_commit(const char *temporary, const char *folder, struct pv_error **err);
/* Removes the folder and its files; nothing else may be in it. */
int pv_snapshot_remove(const char *folder, struct pv_error **err);

/* Reads all of it and looks at every checksum. */
int pv_snapshot_verify(const char *folder, struct pv_error **err);

#endif
