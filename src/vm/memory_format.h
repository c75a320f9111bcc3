/* SPDX-License-Identifier: MIT */
/* The memory's file (docs/internals/snapshots.md), for those who write and who read it. */
#ifndef PV_VM_MEMORY_FORMAT_H
#define PV_VM_MEMORY_FORMAT_H

#include "memory/address_space.h"

#include <stdint.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the memory's file is little-endian");

#define MEMORY_MAGIC   "PVMEMORY"
#define MEMORY_INDEX   "PVINDEX" /* with its zero */
#define MEMORY_VERSION 2u

struct memory_head {
    char magic[8];
    uint32_t version;
    uint32_t page_size;
};

/* Pieces of compressed memory follow, one behind the other; then as many of these, in order. */
struct memory_piece {
    uint64_t address; /* of the chunk */
    uint64_t pages;   /* that it speaks of */
    uint64_t filled;  /* and that are not zero: what is in it, in their order */
    uint32_t size;    /* bytes of the piece */
    uint32_t crc;     /* of these */
};

/* The file's end. */
struct memory_tail {
    char magic[8];
    uint64_t pieces;
    uint64_t filled; /* pages in all of them */
    uint32_t reserved;
    uint32_t crc; /* of all before this, and of the list of pieces */
};

/*
 * Version 1 had no list: before each piece a frame, which its checksum covered too, and behind the
 * last one a frame that said how many there were.
 */
struct memory_frame {
    uint32_t magic;
    uint32_t size;
    uint64_t address; /* of the last: how many came before it */
    uint64_t pages;
    uint64_t filled;
    uint32_t reserved;
    uint32_t crc;
};

#define MEMORY_FRAME     0x52465650u /* "PVFR" */
#define MEMORY_FRAME_END 0x4e455650u /* "PVEN" */

_Static_assert(sizeof(struct memory_head) == 16 && sizeof(struct memory_piece) == 32 &&
                   sizeof(struct memory_tail) == 32 && sizeof(struct memory_frame) == 40,
               "as in the file");

#endif
