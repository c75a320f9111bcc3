/* SPDX-License-Identifier: MIT */
/*
 * ECMA-119 (which is ISO 9660), and Joliet as Microsoft published it: a second descriptor and a
 * second folder, whose names are UCS-2. Numbers there are written twice, in either byte order.
 *
 * Sectors: 16 and 17 the descriptors, 18 their end, 19 to 22 path tables, 23 and 24 the folders,
 * then the files. Primary names are FILE0.DAT and so on; whoever reads those knows no better ones.
 */
#include "block/iso9660.h"

#include "base/buffer.h"
#include "base/error.h"
#include "base/util.h"

#include <errno.h>
#include <string.h>

#define SECTOR     2048u
#define NAME_LIMIT 60u

enum { PRIMARY, JOLIET, TREES };
enum { DESCRIPTORS = 16, TERMINATOR = 18, PATHS = 19, FOLDERS = 23, DATA = 25 };

/* 2000-01-01 in records (9.1.5) and descriptors (8.4.26.1). */
static const uint8_t record_date[7] = {100, 1, 1, 0, 0, 0, 0};
static const uint8_t volume_date[17] = "2000010100000000";

static void put16_both(uint8_t *to, uint16_t value)
{
    to[0] = to[3] = (uint8_t)value;
    to[1] = to[2] = (uint8_t)(value >> 8);
}

static void put32(uint8_t *to, uint32_t value, bool big)
{
    for (unsigned i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> 8 * (big ? 3 - i : i));
}

static void put32_both(uint8_t *to, uint32_t value)
{
    put32(to, value, false);
    put32(to + 4, value, true);
}

/* Text as each tree has it, filled up with blanks; `size` bytes. */
static void put_text(uint8_t *to, unsigned tree, const char *text, size_t size)
{
    const size_t length = strlen(text), step = tree == JOLIET ? 2 : 1;
    for (size_t i = 0; i + step <= size; i += step) {
        const char c = i / step < length ? text[i / step] : ' ';
        if (tree == JOLIET)
            to[i] = 0;
        to[i + step - 1] = (uint8_t)c;
    }
}

/* ---- Folders ---- */

/* A record of a folder (9.1); returns its length. */
static unsigned put_record(uint8_t *to, uint32_t sector, uint32_t size, bool folder,
                           const uint8_t *name, unsigned name_size)
{
    const unsigned length = (33 + name_size + 1) & ~1u;
    memset(to, 0, length);
    to[0] = (uint8_t)length;
    put32_both(to + 2, sector);
    put32_both(to + 10, size);
    memcpy(to + 18, record_date, sizeof(record_date));
    to[25] = folder ? 2 : 0;
    put16_both(to + 28, 1);
    to[32] = (uint8_t)name_size;
    memcpy(to + 33, name, name_size);
    return length;
}

static unsigned put_root(uint8_t *to, unsigned tree, uint8_t name)
{
    return put_record(to, FOLDERS + tree, SECTOR, true, &name, 1);
}

static uint32_t sectors(size_t size)
{
    return (uint32_t)((size + SECTOR - 1) / SECTOR);
}

static void put_folder(uint8_t *to, unsigned tree, const struct pv_iso_file *files, unsigned count)
{
    uint32_t sector = DATA;
    to += put_root(to, tree, 0); /* itself, */
    to += put_root(to, tree, 1); /* and above it */
    for (unsigned i = 0; i < count; i++) {
        uint8_t name[2 * NAME_LIMIT];
        char primary[16];
        snprintf(primary, sizeof(primary), "FILE%u.DAT;1", i);
        const char *text = tree == JOLIET ? files[i].name : primary;
        const size_t size = strlen(text) * (tree == JOLIET ? 2 : 1);
        put_text(name, tree, text, size);
        to += put_record(to, sector, (uint32_t)files[i].size, false, name, (unsigned)size);
        sector += sectors(files[i].size);
    }
}

/* ---- Descriptors ---- */

/* 8.4; and 8.5 for the second tree. */
static void put_descriptor(uint8_t *to, unsigned tree, const char *label, uint32_t total)
{
    to[0] = tree == JOLIET ? 2 : 1;
    memcpy(to + 1, "CD001", 5);
    to[6] = 1;
    put_text(to + 8, tree, "", 32);
    put_text(to + 40, tree, label, 32);
    put32_both(to + 80, total);
    if (tree == JOLIET)
        memcpy(to + 88, "%/E", 3); /* UCS-2, level 3 */
    put16_both(to + 120, 1);
    put16_both(to + 124, 1);
    put16_both(to + 128, SECTOR);
    put32_both(to + 132, 10); /* a path table's size */
    put32(to + 140, PATHS + 2 * tree, false);
    put32(to + 148, PATHS + 2 * tree + 1, true);
    put_root(to + 156, tree, 0);
    put_text(to + 190, tree, "", 813 - 190);
    for (unsigned at = 813; at < 881; at += sizeof(volume_date))
        memcpy(to + at, volume_date, sizeof(volume_date));
    memset(to + 847, '0', 16); /* it does not expire */
    to[863] = 0;
    to[881] = 1;
}

/* 9.4: the one folder there is. */
static void put_path(uint8_t *to, unsigned tree, bool big)
{
    to[0] = 1;
    put32(to + 2, FOLDERS + tree, big);
    to[big ? 7 : 6] = 1;
}

static void put_all(uint8_t *image, const char *label, const struct pv_iso_file *files,
                    unsigned count, uint32_t total)
{
    uint32_t sector = DATA;
    for (unsigned tree = 0; tree < TREES; tree++) {
        put_descriptor(image + (size_t)(DESCRIPTORS + tree) * SECTOR, tree, label, total);
        put_path(image + (size_t)(PATHS + 2 * tree) * SECTOR, tree, false);
        put_path(image + (size_t)(PATHS + 2 * tree + 1) * SECTOR, tree, true);
        put_folder(image + (size_t)(FOLDERS + tree) * SECTOR, tree, files, count);
    }
    memcpy(image + (size_t)TERMINATOR * SECTOR,
           "\xff"
           "CD001\x01",
           7);
    for (unsigned i = 0; i < count; i++) {
        if (files[i].size)
            memcpy(image + (size_t)sector * SECTOR, files[i].data, files[i].size);
        sector += sectors(files[i].size);
    }
}

/* ---- The whole ---- */

static bool good_name(const char *name)
{
    if (!*name || strlen(name) > NAME_LIMIT)
        return false;
    for (; *name; name++)
        if (*name <= ' ' || *name > '~' || strchr("*/:;?\\", *name))
            return false;
    return true;
}

int pv_iso9660_make(struct pv_buffer *out, const char *label, const struct pv_iso_file *files,
                    unsigned count, struct pv_error **err)
{
    uint64_t total = DATA;
    if (!*label || strlen(label) > 16)
        return pv_error_set(err, EINVAL, "'%s': a CD's label has 1 to 16 characters", label);
    if (count > PV_ISO_FILES_MAX)
        return pv_error_set(err, EINVAL, "%u files on a CD: at most %u", count, PV_ISO_FILES_MAX);
    for (unsigned i = 0; i < count; i++) {
        if (!good_name(files[i].name))
            return pv_error_set(err, EINVAL, "'%s': not a name on a CD", files[i].name);
        if (files[i].size > UINT32_MAX)
            return pv_error_set(err, E2BIG, "%s: too large for a CD", files[i].name);
        total += sectors(files[i].size);
    }
    const uint64_t size = total * SECTOR;
    int ret = size <= SIZE_MAX ? pv_buffer_reserve(out, (size_t)size) : -E2BIG;
    if (ret < 0)
        return pv_error_set(err, -ret,
                            ret == -E2BIG ? "the files are too large for their CD"
                                          : "out of memory for a CD");
    uint8_t *image = (uint8_t *)out->data + out->size;
    memset(image, 0, (size_t)size);
    put_all(image, label, files, count, (uint32_t)total);
    out->size += (size_t)size;
    return 0;
}
