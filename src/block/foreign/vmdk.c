/* SPDX-License-Identifier: MIT */
/*
 * VMDK images ("Virtual Disk Format 5.0"): a text that describes the disk as a row of extents, each
 * in a file of its own, or one sparse extent that has the text in it. A sparse extent is a
 * directory of tables of grains; streamOptimized ones are compressed, with the directory's place in
 * a footer.
 */
#include "base/bytes.h"
#include "base/error.h"
#include "base/util.h"
#include "block/foreign/foreign.h"

#include <errno.h>

#define SECTOR         512u
#define TEXT_MAX       (64u * 1024)
#define CAPACITY_MAX   (UINT64_C(64) << 31) /* sectors: 64 TiB */
#define TABLE_ENTRIES  512u
#define GRAIN_MIN      8u /* sectors */
#define GRAIN_MAX      65536u
#define DIRECTORY_LAST UINT64_MAX /* it is at the end: see the footer */

#define FLAG_ZERO_GRAINS (1u << 2)
#define FLAG_COMPRESSED  (1u << 16)

static const char text_magic[] = "# Disk DescriptorFile";

/* ---- Sparse extents ---- */

struct sparse {
    uint32_t flags;
    uint64_t capacity, grain, directory; /* sectors */
    uint64_t text, text_size;
};

static int read_sparse_at(struct pv_foreign *f, unsigned file, uint64_t at, struct sparse *s,
                          struct pv_error **err)
{
    uint8_t h[SECTOR];
    int ret = pv_foreign_load(f, file, h, sizeof(h), at, "header", err);
    if (ret < 0)
        return ret;
    const uint32_t version = pv_le32(h + 4);
    if (memcmp(h, "KDMV", 4) != 0 || version < 1 || version > 3)
        return pv_error_set(err, ENOTSUP, "VMDK sparse extent of version %u, want 1 to 3", version);
    *s = (struct sparse){
        .flags = pv_le32(h + 8),
        .capacity = pv_le64(h + 12),
        .grain = pv_le64(h + 20),
        .text = pv_le64(h + 28),
        .text_size = pv_le64(h + 36),
        .directory = pv_le64(h + 56),
    };
    if (s->grain < GRAIN_MIN || s->grain > GRAIN_MAX || (s->grain & (s->grain - 1)) ||
        pv_le32(h + 44) != TABLE_ENTRIES || s->capacity > CAPACITY_MAX)
        return pv_error_set(
            err, EINVAL, "VMDK sparse extent of %llu sectors in grains of %llu, %u to a table",
            (unsigned long long)s->capacity, (unsigned long long)s->grain, pv_le32(h + 44));
    if ((s->flags & FLAG_COMPRESSED) && pv_le16(h + 77) != 1)
        return pv_error_set(err, ENOTSUP, "VMDK compression %u, want 1 (deflate)", pv_le16(h + 77));
    return 0;
}

static int read_sparse(struct pv_foreign *f, unsigned file, struct sparse *s, struct pv_error **err)
{
    int ret = read_sparse_at(f, file, 0, s, err);
    if (ret < 0 || s->directory != DIRECTORY_LAST)
        return ret;
    const struct sparse first = *s;
    /* The footer is a copy of the header, followed by an end marker. */
    if (f->files[file]->size < 3 * SECTOR)
        return pv_error_set(err, EINVAL, "VMDK sparse extent without its footer");
    ret = read_sparse_at(f, file, f->files[file]->size - 2 * SECTOR, s, err);
    s->text = first.text;
    s->text_size = first.text_size;
    return ret;
}

static int add_table(struct pv_foreign *f, unsigned file, const struct sparse *s,
                     const uint8_t *table, uint64_t base, uint64_t first, struct pv_error **err)
{
    const uint64_t grain = s->grain * SECTOR, end = base + s->capacity * SECTOR;
    const uint64_t file_size = f->files[file]->size;
    int ret = 0;
    for (unsigned i = 0; i < TABLE_ENTRIES && ret == 0; i++) {
        const uint32_t sector = pv_le32(table + (size_t)i * 4);
        const uint64_t start = base + (first + i) * grain;
        if (!sector || (sector == 1 && (s->flags & FLAG_ZERO_GRAINS)) || start >= end)
            continue;
        struct pv_foreign_piece piece = {
            .start = start,
            .length = PV_MIN(grain, end - start),
            .at = (uint64_t)sector * SECTOR,
            .file = (uint16_t)file,
            .kind = PV_FOREIGN_PLAIN,
        };
        if (s->flags & FLAG_COMPRESSED) {
            /* Deflate makes nothing larger by more than this, and its own header says more. */
            const uint64_t most = grain + grain / 8 + 4096;
            const uint64_t left = file_size > piece.at ? file_size - piece.at : 0;
            piece.kind = PV_FOREIGN_GRAIN;
            piece.packed = (uint32_t)PV_MIN(most, left);
        }
        ret = pv_foreign_add(f, &piece, err);
    }
    return ret;
}

/* Appends a sparse extent's grains from byte `base` of the disk on. */
static int add_sparse(struct pv_foreign *f, unsigned file, const struct sparse *s, uint64_t base,
                      struct pv_error **err)
{
    const uint64_t covered = s->grain * TABLE_ENTRIES;
    const uint64_t tables = (s->capacity + covered - 1) / covered;
    uint8_t table[TABLE_ENTRIES * 4];
    if (s->directory > UINT32_MAX)
        return pv_error_set(err, EINVAL, "VMDK grain directory at sector %llu",
                            (unsigned long long)s->directory);
    if (tables * 4 > f->files[file]->size)
        return pv_error_set(err, EINVAL, "VMDK extent cut short: %llu grain tables wanted",
                            (unsigned long long)tables);
    PV_CLEANUP_FREE uint8_t *directory = malloc((size_t)tables * 4 + 1);
    if (!directory)
        return pv_error_set(err, ENOMEM, "out of memory");
    int ret = pv_foreign_load(f, file, directory, (size_t)tables * 4, s->directory * SECTOR,
                              "grain directory", err);
    for (uint64_t i = 0; i < tables && ret == 0; i++) {
        const uint32_t sector = pv_le32(directory + i * 4);
        if (!sector)
            continue;
        ret = pv_foreign_load(f, file, table, sizeof(table), (uint64_t)sector * SECTOR,
                              "grain table", err);
        if (ret == 0)
            ret = add_table(f, file, s, table, base, i * TABLE_ENTRIES, err);
    }
    return ret;
}

/* ---- The text ---- */

/* An image that only has what differs from another. */
static int check_parent(const char *text, struct pv_error **err)
{
    const char *at = strcasestr(text, "parentCID=");
    if (at && strncasecmp(at + 10, "ffffffff", 8) != 0)
        return pv_error_set(err, ENOTSUP,
                            "VMDK image that rests on another one, its parent; merge them first");
    return 0;
}

static int open_extent(struct pv_foreign *f, const struct pv_block_source *source, const char *name,
                       struct pv_error **err)
{
    if (strchr(name, '/'))
        return pv_error_set(err, EINVAL, "VMDK extent '%s', want a file beside the image", name);
    if (f->file_count == PV_FOREIGN_FILES_MAX)
        return pv_error_set(err, EFBIG, "VMDK image of more than %u files", PV_FOREIGN_FILES_MAX);
    PV_CLEANUP_FREE char *path = pv_block_name_beside(source->path, name);
    if (!path)
        return pv_error_set(err, ENOMEM, "out of memory");
    int ret =
        pv_block_image_open(&f->files[f->file_count], path, true, pv_block_raw.name, source, err);
    if (ret < 0)
        return pv_error_prefix(err, "its extent '%s'", path);
    f->file_count++;
    return 0;
}

/* `RW 12288 FLAT "name" 0`: appends that extent to the disk. */
static int add_extent(struct pv_foreign *f, const struct pv_block_source *source, const char *line,
                      struct pv_error **err)
{
    char access[16], length[20], kind[16], name[256] = "", start[20] = "0";
    const int fields = sscanf(line, "%15s %19[0-9] %15s \"%255[^\"]\" %19[0-9]", access, length,
                              kind, name, start);
    const unsigned long long sectors = fields < 2 ? 0 : strtoull(length, NULL, 10);
    const unsigned long long offset = strtoull(start, NULL, 10);
    if (fields < 3 || sectors > CAPACITY_MAX || offset > CAPACITY_MAX ||
        f->base.size / SECTOR + sectors > CAPACITY_MAX)
        return pv_error_set(err, EINVAL, "VMDK extent '%.60s'", line);
    const uint64_t base = f->base.size;
    f->base.size += sectors * SECTOR;
    if (!strcmp(kind, "ZERO"))
        return 0;
    const bool flat = !strcmp(kind, "FLAT") || !strcmp(kind, "VMFS");
    if (!flat && strcmp(kind, "SPARSE") != 0)
        return pv_error_set(err, ENOTSUP,
                            "VMDK extent of kind %s; FLAT, VMFS, SPARSE and ZERO can "
                            "be read",
                            kind);
    int ret = open_extent(f, source, name, err);
    if (ret < 0)
        return ret;
    const unsigned file = f->file_count - 1;
    if (flat) {
        const struct pv_foreign_piece piece = {
            .start = base,
            .length = sectors * SECTOR,
            .at = offset * SECTOR,
            .file = (uint16_t)file,
            .kind = PV_FOREIGN_PLAIN,
        };
        return pv_foreign_add(f, &piece, err);
    }
    struct sparse s;
    ret = read_sparse(f, file, &s, err);
    if (ret == 0 && s.capacity != sectors)
        ret = pv_error_set(err, EINVAL, "VMDK extent '%s' of %llu sectors, not %llu", name,
                           (unsigned long long)s.capacity, sectors);
    return ret < 0 ? ret : add_sparse(f, file, &s, base, err);
}

static int fill_from_text(struct pv_foreign *f, const struct pv_block_source *source,
                          struct pv_error **err)
{
    const size_t size = (size_t)PV_MIN(f->files[0]->size, (uint64_t)TEXT_MAX);
    PV_CLEANUP_FREE char *text = calloc(1, size + 1);
    if (!text)
        return pv_error_set(err, ENOMEM, "out of memory");
    int ret = pv_foreign_load(f, 0, text, size, 0, "description", err);
    if (ret == 0)
        ret = check_parent(text, err);
    char *rest = text;
    for (char *line; ret == 0 && (line = strsep(&rest, "\r\n"));)
        if (!strncmp(line, "RW ", 3) || !strncmp(line, "RDONLY ", 7) ||
            !strncmp(line, "NOACCESS ", 9))
            ret = add_extent(f, source, line, err);
    if (ret == 0 && !f->base.size)
        ret = pv_error_set(err, EINVAL, "VMDK description without extents");
    return ret;
}

static int fill_from_extent(struct pv_foreign *f, struct pv_error **err)
{
    struct sparse s;
    char text[4096 + 1] = "";
    int ret = read_sparse(f, 0, &s, err);
    if (ret == 0 && s.text && s.text <= UINT32_MAX && s.text_size) {
        const size_t size = (size_t)PV_MIN(s.text_size * SECTOR, UINT64_C(4096));
        ret = pv_foreign_load(f, 0, text, size, s.text * SECTOR, "description", err);
        if (ret == 0)
            ret = check_parent(text, err);
    }
    if (ret < 0)
        return ret;
    f->base.size = s.capacity * SECTOR;
    return add_sparse(f, 0, &s, 0, err);
}

static int fill(struct pv_foreign *f, const struct pv_block_source *source, struct pv_error **err)
{
    char magic[4];
    int ret = pv_foreign_load(f, 0, magic, sizeof(magic), 0, "header", err);
    if (ret < 0)
        return ret;
    return memcmp(magic, "KDMV", 4) != 0 ? fill_from_text(f, source, err)
                                         : fill_from_extent(f, err);
}

static const struct pv_block_image_ops vmdk_ops = PV_FOREIGN_OPS("vmdk");

static bool vmdk_probe(const struct pv_block_head *head)
{
    const size_t text = sizeof(text_magic) - 1;
    return (head->size >= 4 && !memcmp(head->start, "KDMV", 4)) ||
           (head->size >= text && !memcmp(head->start, text_magic, text));
}

static int vmdk_open(struct pv_block_image **out, const struct pv_block_source *source,
                     struct pv_error **err)
{
    return pv_foreign_open(out, &vmdk_ops, source, fill, err);
}

const struct pv_block_format pv_block_vmdk = {
    .name = "vmdk", .probe = vmdk_probe, .open = vmdk_open};
