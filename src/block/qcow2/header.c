/* SPDX-License-Identifier: MIT */
/* The header and its extensions: what a file claims, checked before anything rests on it. */
#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "block/qcow2/qcow2.h"

#include <errno.h>
#include <string.h>

#define V2_LENGTH        72u
#define V3_LENGTH        104u
#define NAME_MAX_BYTES   1023u
#define CLUSTER_BITS_MIN 9u
#define CLUSTER_BITS_MAX 21u

#define EXTENSION_END            UINT32_C(0)
#define EXTENSION_BACKING_FORMAT UINT32_C(0xe2792aca)
#define EXTENSION_BITMAPS        UINT32_C(0x23852875)
#define EXTENSION_DATA_FILE      UINT32_C(0x44415441)

/* On disk, big-endian. */
struct disk_header {
    uint32_t magic;
    uint32_t version;
    uint64_t backing_offset;
    uint32_t backing_length;
    uint32_t cluster_bits;
    uint64_t size;
    uint32_t crypt_method;
    uint32_t l1_size;
    uint64_t l1_offset;
    uint64_t refcount_table_offset;
    uint32_t refcount_table_clusters;
    uint32_t snapshot_count;
    uint64_t snapshots_offset;
    /* version 3 */
    uint64_t incompatible, compatible, autoclear;
    uint32_t refcount_order;
    uint32_t header_length;
    uint8_t compression_type;
    uint8_t padding[7];
};
_Static_assert(sizeof(struct disk_header) == 112, "Header");
_Static_assert(offsetof(struct disk_header, incompatible) == V2_LENGTH, "Header");

/* ---- Checks ---- */

static int check_features(const struct qcow2_header *h, struct pv_error **err)
{
    const uint64_t known = QCOW2_INCOMPATIBLE_DIRTY | QCOW2_INCOMPATIBLE_CORRUPT |
                           QCOW2_INCOMPATIBLE_DATA_FILE | QCOW2_INCOMPATIBLE_COMPRESSION |
                           QCOW2_INCOMPATIBLE_EXTENDED_L2;
    if (h->incompatible & ~known)
        return pv_error_set(err, ENOTSUP,
                            "qcow2 incompatible feature bit %d is not known; a newer program made "
                            "this image",
                            63 - __builtin_clzll(h->incompatible & ~known));
    if (h->crypt_method == 1 || h->crypt_method == 2)
        return pv_error_set(err, ENOTSUP,
                            "it is encrypted (%s), which is not supported; convert it to an "
                            "unencrypted image",
                            h->crypt_method == 1 ? "AES" : "LUKS");
    if (h->crypt_method)
        return pv_error_set(err, EINVAL, "qcow2 crypt_method %u, want 0", h->crypt_method);
    if (h->compression > QCOW2_ZSTD)
        return pv_error_set(err, ENOTSUP,
                            "qcow2 compression type %u; 0 (zlib) and 1 (zstd) are "
                            "known",
                            h->compression);
    if (h->compression != QCOW2_ZLIB && !(h->incompatible & QCOW2_INCOMPATIBLE_COMPRESSION))
        return pv_error_set(err, EINVAL, "qcow2 compression type set without its feature bit");
    return 0;
}

/* A table of `bytes` at `offset`: aligned, and no file has offsets beyond 2^56. */
static int check_table(const struct qcow2_header *h, const char *what, uint64_t offset,
                       uint64_t bytes, uint64_t most, struct pv_error **err)
{
    if (bytes > most)
        return pv_error_set(err, EFBIG, "qcow2 %s of %llu bytes, at most %llu", what,
                            (unsigned long long)bytes, (unsigned long long)most);
    if (offset & ((UINT64_C(1) << h->cluster_bits) - 1))
        return pv_error_set(err, EINVAL, "qcow2 %s at 0x%llx, not aligned to a cluster", what,
                            (unsigned long long)offset);
    if (!pv_range_ok(offset, bytes, UINT64_C(1) << 56))
        return pv_error_set(err, EINVAL, "qcow2 %s at 0x%llx, beyond any file", what,
                            (unsigned long long)offset);
    return 0;
}

static int check_geometry(const struct qcow2_header *h, struct pv_error **err)
{
    if (h->cluster_bits < CLUSTER_BITS_MIN || h->cluster_bits > CLUSTER_BITS_MAX)
        return pv_error_set(err, EINVAL, "qcow2 cluster_bits %u, want %u to %u", h->cluster_bits,
                            CLUSTER_BITS_MIN, CLUSTER_BITS_MAX);
    if (h->refcount_order > 6)
        return pv_error_set(err, EINVAL, "qcow2 refcount_order %u, want 0 to 6", h->refcount_order);
    const bool extended = h->incompatible & QCOW2_INCOMPATIBLE_EXTENDED_L2;
    if (extended && h->cluster_bits < 14)
        return pv_error_set(err, EINVAL,
                            "qcow2 subclusters in clusters of %u bytes, want 16384 or more",
                            1u << h->cluster_bits);
    const unsigned l2_bits = h->cluster_bits - (extended ? 4 : 3);
    const unsigned covered = h->cluster_bits + l2_bits;
    if (h->size >> 56)
        return pv_error_set(err, EFBIG, "qcow2 disk of %llu bytes, less than 2^56 wanted",
                            (unsigned long long)h->size);
    const uint64_t wanted = (h->size + (UINT64_C(1) << covered) - 1) >> covered;
    int ret =
        check_table(h, "L1 table", h->l1_offset, (uint64_t)h->l1_size * 8, QCOW2_L1_BYTES_MAX, err);
    if (ret < 0)
        return ret;
    if (h->l1_size < wanted)
        return pv_error_set(err, EINVAL, "qcow2 L1 table of %u entries, %llu wanted for its size",
                            h->l1_size, (unsigned long long)wanted);
    if (h->l1_size && !h->l1_offset)
        return pv_error_set(err, EINVAL, "qcow2 L1 table at 0x0");
    if (!h->refcount_table_clusters || !h->refcount_table_offset)
        return pv_error_set(err, EINVAL, "qcow2 image without a refcount table");
    ret = check_table(h, "refcount table", h->refcount_table_offset,
                      (uint64_t)h->refcount_table_clusters << h->cluster_bits,
                      QCOW2_REFTABLE_BYTES_MAX, err);
    if (ret < 0)
        return ret;
    if (h->snapshot_count > QCOW2_SNAPSHOT_MAX)
        return pv_error_set(err, EFBIG, "qcow2 image with %u snapshots, at most %u",
                            h->snapshot_count, QCOW2_SNAPSHOT_MAX);
    return check_table(h, "snapshot table", h->snapshots_offset, 0, 0, err);
}

/* ---- Names and extensions ---- */

static int take_name(char **out, const char *what, const uint8_t *at, size_t len,
                     struct pv_error **err)
{
    if (!len || len > NAME_MAX_BYTES || memchr(at, 0, len))
        return pv_error_set(err, EINVAL, "qcow2 %s of %zu bytes, want 1 to %u without a NUL", what,
                            len, NAME_MAX_BYTES);
    free(*out);
    *out = strndup((const char *)at, len);
    return *out ? 0 : pv_error_set(err, ENOMEM, "out of memory");
}

static int read_extensions(struct qcow2_header *h, const uint8_t *head, size_t at, size_t end,
                           struct pv_error **err)
{
    while (at + 8 <= end) {
        const uint32_t type = pv_be32(head + at), len = pv_be32(head + at + 4);
        at += 8;
        if (type == EXTENSION_END)
            return 0;
        if (len > end - at)
            return pv_error_set(err, EINVAL, "qcow2 header extension 0x%08x of %u bytes, %zu left",
                                type, len, end - at);
        int ret = 0;
        if (type == EXTENSION_BACKING_FORMAT) {
            ret = take_name(&h->backing_format, "backing format", head + at, len, err);
        } else if (type == EXTENSION_DATA_FILE) {
            ret = take_name(&h->data_file, "data file name", head + at, len, err);
        } else if (type == EXTENSION_BITMAPS && len >= 24 &&
                   (h->autoclear & QCOW2_AUTOCLEAR_BITMAPS)) {
            h->bitmap_count = pv_be32(head + at);
            h->bitmap_directory_size = pv_be64(head + at + 8);
            h->bitmap_directory_offset = pv_be64(head + at + 16);
        }
        if (ret < 0)
            return ret;
        at += pv_align_up(len, 8);
    }
    return 0;
}

static void decode(struct qcow2_header *h, const struct disk_header *d)
{
    *h = (struct qcow2_header){
        .version = be32toh(d->version),
        .cluster_bits = be32toh(d->cluster_bits),
        .size = be64toh(d->size),
        .crypt_method = be32toh(d->crypt_method),
        .l1_size = be32toh(d->l1_size),
        .l1_offset = be64toh(d->l1_offset),
        .refcount_table_offset = be64toh(d->refcount_table_offset),
        .refcount_table_clusters = be32toh(d->refcount_table_clusters),
        .snapshot_count = be32toh(d->snapshot_count),
        .snapshots_offset = be64toh(d->snapshots_offset),
        .refcount_order = 4,
        .header_length = V2_LENGTH,
    };
    if (h->version < 3)
        return;
    h->incompatible = be64toh(d->incompatible);
    h->compatible = be64toh(d->compatible);
    h->autoclear = be64toh(d->autoclear);
    h->refcount_order = be32toh(d->refcount_order);
    h->header_length = be32toh(d->header_length);
    if (h->header_length > V3_LENGTH)
        h->compression = d->compression_type;
}

int qcow2_header_read(struct qcow2_header *h, struct pv_block_image *file, struct pv_error **err)
{
    struct disk_header d;
    *h = (struct qcow2_header){0};
    if (file->size < V2_LENGTH)
        return pv_error_set(err, EINVAL, "a qcow2 image cut short: %llu bytes",
                            (unsigned long long)file->size);
    int ret = pv_block_image_read(file, &d, sizeof(d), 0);
    if (ret < 0)
        return pv_error_errno(err, -ret, "reading its header");
    decode(h, &d);
    if (h->version != 2 && h->version != 3)
        return pv_error_set(err, ENOTSUP, "qcow2 version %u, want 2 or 3", h->version);
    ret = check_features(h, err);
    if (ret == 0)
        ret = check_geometry(h, err);
    if (ret < 0)
        return ret;
    const size_t cluster = (size_t)1 << h->cluster_bits;
    if (h->header_length < (h->version == 3 ? V3_LENGTH : V2_LENGTH) || h->header_length % 8 ||
        h->header_length > cluster)
        return pv_error_set(err, EINVAL, "qcow2 header_length %u", h->header_length);

    /* Names and extensions are in the first cluster; where the file ends before it, as zeroes. */
    PV_CLEANUP_FREE uint8_t *head = malloc(cluster);
    if (!head)
        return pv_error_set(err, ENOMEM, "out of memory");
    ret = pv_block_image_read(file, head, cluster, 0);
    if (ret < 0)
        return pv_error_errno(err, -ret, "reading its header");
    const uint64_t backing = be64toh(d.backing_offset);
    const uint32_t backing_length = be32toh(d.backing_length);
    size_t end = cluster;
    if (backing) {
        if (!pv_range_ok(backing, backing_length, cluster) || backing < h->header_length)
            return pv_error_set(err, EINVAL,
                                "qcow2 backing file name at 0x%llx, outside its header",
                                (unsigned long long)backing);
        end = (size_t)backing;
        ret = take_name(&h->backing_file, "backing file name", head + backing, backing_length, err);
        if (ret < 0)
            return ret;
    }
    ret = read_extensions(h, head, h->header_length, end, err);
    if (ret < 0)
        return ret;
    if ((h->incompatible & QCOW2_INCOMPATIBLE_DATA_FILE) && !h->data_file)
        return pv_error_set(err, EINVAL, "qcow2 image whose external data file has no name");
    return 0;
}

void qcow2_header_finish(struct qcow2_header *h)
{
    free(h->backing_file);
    free(h->backing_format);
    free(h->data_file);
}

int qcow2_header_write_features(struct qcow2 *q)
{
    const uint64_t words[3] = {htobe64(q->header.incompatible), htobe64(q->header.compatible),
                               htobe64(q->header.autoclear)};
    return pv_block_image_write(q->file, words, sizeof(words),
                                offsetof(struct disk_header, incompatible));
}

int qcow2_header_write_size(struct qcow2 *q)
{
    struct disk_header d = {
        .size = htobe64(q->header.size),
        .crypt_method = htobe32(q->header.crypt_method),
        .l1_size = htobe32(q->header.l1_size),
        .l1_offset = htobe64(q->header.l1_offset),
    };
    const size_t from = offsetof(struct disk_header, size);
    const size_t to = offsetof(struct disk_header, refcount_table_offset);
    return pv_block_image_write(q->file, (uint8_t *)&d + from, to - from, from);
}

int qcow2_header_write_snapshots(struct qcow2 *q)
{
    struct disk_header d = {
        .snapshot_count = htobe32(q->header.snapshot_count),
        .snapshots_offset = htobe64(q->header.snapshots_offset),
    };
    const size_t from = offsetof(struct disk_header, snapshot_count);
    const size_t to = offsetof(struct disk_header, incompatible);
    return pv_block_image_write(q->file, (uint8_t *)&d + from, to - from, from);
}

/* ---- Another backing image ---- */

static void put_extension(uint8_t *out, size_t *at, uint32_t type, const void *data, uint32_t len)
{
    const uint32_t head[2] = {htobe32(type), htobe32(len)};
    memcpy(out + *at, head, sizeof(head));
    memcpy(out + *at + sizeof(head), data, len);
    *at += sizeof(head) + pv_align_up(len, 8);
}

/* The extensions of `head` but the backing format; they were checked when the image was opened. */
static size_t copy_extensions(uint8_t *out, const uint8_t *head, size_t at, size_t end)
{
    size_t to = at;
    while (at + 8 <= end) {
        const uint32_t type = pv_be32(head + at), len = pv_be32(head + at + 4);
        at += 8;
        if (type == EXTENSION_END || len > end - at)
            break;
        if (type != EXTENSION_BACKING_FORMAT)
            put_extension(out, &to, type, head + at, len);
        at += pv_align_up(len, 8);
    }
    return to;
}

int qcow2_header_write_backing(struct qcow2 *q, const char *name, const char *format,
                               struct pv_error **err)
{
    struct qcow2_header *h = &q->header;
    const size_t cluster = q->cluster_size;
    const size_t name_size = name ? strlen(name) : 0;
    const size_t format_size = name && format ? strlen(format) : 0;
    if (name_size > NAME_MAX_BYTES || format_size > NAME_MAX_BYTES)
        return pv_error_set(err, ENAMETOOLONG, "backing image's name of %zu bytes, at most %u",
                            PV_MAX(name_size, format_size), NAME_MAX_BYTES);
    /* Room for what turns out not to fit. */
    PV_CLEANUP_FREE uint8_t *old = malloc(cluster);
    PV_CLEANUP_FREE uint8_t *new = calloc(1, cluster + 4 * NAME_MAX_BYTES);
    PV_CLEANUP_FREE char *name_copy = name ? strdup(name) : NULL;
    PV_CLEANUP_FREE char *format_copy = format_size ? strdup(format) : NULL;
    if (!old || !new || (name && !name_copy) || (format_size && !format_copy))
        return pv_error_set(err, ENOMEM, "out of memory");
    int ret = pv_block_image_read(q->file, old, cluster, 0);
    if (ret < 0)
        return pv_error_errno(err, -ret, "reading its header");
    memcpy(new, old, h->header_length);
    struct disk_header d;
    memcpy(&d, old, V2_LENGTH);
    const size_t end = d.backing_offset ? (size_t)be64toh(d.backing_offset) : cluster;
    size_t at = copy_extensions(new, old, h->header_length, PV_MIN(end, cluster));
    if (format_size)
        put_extension(new, &at, EXTENSION_BACKING_FORMAT, format, (uint32_t)format_size);
    at += 8; /* the end of the extensions: zeroes */
    d.backing_offset = htobe64(name ? at : 0);
    d.backing_length = htobe32((uint32_t)name_size);
    memcpy(new, &d, offsetof(struct disk_header, cluster_bits));
    memcpy(new + at, name ? name : "", name_size);
    at += name_size;
    if (at > cluster)
        return pv_error_set(err, ENAMETOOLONG,
                            "the backing image's name does not fit into a cluster of %zu bytes",
                            cluster);
    ret = pv_block_image_write(q->file, new, at, 0);
    if (ret == 0)
        ret = q->file->ops->flush(q->file);
    if (ret < 0)
        return pv_error_errno(err, -ret, "writing its header");
    free(h->backing_file);
    free(h->backing_format);
    h->backing_file = PV_STEAL(name_copy);
    h->backing_format = PV_STEAL(format_copy);
    return 0;
}
