/* SPDX-License-Identifier: MIT */
/* The snapshot table ("Snapshots"): entries of any length, each aligned to 8 bytes. */
#include "block/qcow2/qcow2.h"

#include <errno.h>
#include <string.h>

/* A table is kept in memory, and names and extra data are short in all that are in use. */
#define TABLE_BYTES_MAX (UINT64_C(64) << 20)
#define EXTRA_MAX       1024u
/* The 64-bit size of the VM state, and the size of the disk. */
#define EXTRA_KNOWN 16u

struct __attribute__((packed)) disk_snapshot {
    uint64_t l1_offset;
    uint32_t l1_size;
    uint16_t id_size, name_size;
    uint32_t seconds, nanoseconds;
    uint64_t guest_time;
    uint32_t vm_state_size;
    uint32_t extra_size;
};
_Static_assert(sizeof(struct disk_snapshot) == 40, "Snapshots");

static int load_text(struct qcow2 *q, char **out, size_t size, uint64_t *at)
{
    *out = calloc(1, size + 1);
    if (!*out)
        return -ENOMEM;
    int ret = pv_block_image_read(q->file, *out, size, *at);
    *at += size;
    return ret;
}

static int load_entry(struct qcow2 *q, struct qcow2_snapshot *s, uint64_t *at)
{
    struct disk_snapshot d;
    int ret = pv_block_image_read(q->file, &d, sizeof(d), *at);
    if (ret < 0)
        return ret;
    *at += sizeof(d);
    *s = (struct qcow2_snapshot){
        .l1_offset = be64toh(d.l1_offset),
        .l1_size = be32toh(d.l1_size),
        .seconds = be32toh(d.seconds),
        .nanoseconds = be32toh(d.nanoseconds),
        .guest_time = be64toh(d.guest_time),
        .vm_state_size = be32toh(d.vm_state_size),
        .disk_size = q->header.size,
        .extra_size = be32toh(d.extra_size),
    };
    if (s->extra_size > EXTRA_MAX)
        return -EIO;
    char *extra = NULL;
    ret = load_text(q, &extra, s->extra_size, at);
    s->extra = (uint8_t *)extra;
    if (ret == 0 && s->extra_size >= EXTRA_KNOWN) {
        memcpy(&s->disk_size, extra + 8, 8);
        s->disk_size = be64toh(s->disk_size);
    }
    if (ret == 0)
        ret = load_text(q, &s->id, be16toh(d.id_size), at);
    if (ret == 0)
        ret = load_text(q, &s->name, be16toh(d.name_size), at);
    *at = pv_align_up(*at, 8);
    return ret;
}

int qcow2_snapshots_load(struct qcow2 *q, struct qcow2_snapshots *list)
{
    const uint64_t start = q->header.snapshots_offset;
    uint64_t at = start;
    int ret = 0;
    *list = (struct qcow2_snapshots){0};
    if (!q->header.snapshot_count)
        return 0;
    list->all = calloc(q->header.snapshot_count, sizeof(*list->all));
    if (!list->all)
        return -ENOMEM;
    while (list->count < q->header.snapshot_count && ret == 0) {
        ret = load_entry(q, &list->all[list->count++], &at);
        list->bytes = at - start;
        if (ret == 0 && list->bytes > TABLE_BYTES_MAX)
            ret = -EIO;
    }
    return ret;
}

void qcow2_snapshots_finish(struct qcow2_snapshots *list)
{
    for (uint32_t i = 0; i < list->count; i++) {
        free(list->all[i].id);
        free(list->all[i].name);
        free(list->all[i].extra);
    }
    free(list->all);
}

/* ---- Writing ---- */

static size_t entry_size(const struct qcow2_snapshot *s)
{
    const size_t text = strlen(s->id) + strlen(s->name);
    return pv_align_up(sizeof(struct disk_snapshot) + PV_MAX(s->extra_size, EXTRA_KNOWN) + text, 8);
}

static void put_entry(uint8_t *at, const struct qcow2_snapshot *s)
{
    const uint32_t extra_size = PV_MAX(s->extra_size, EXTRA_KNOWN);
    const struct disk_snapshot d = {
        .l1_offset = htobe64(s->l1_offset),
        .l1_size = htobe32(s->l1_size),
        .id_size = htobe16((uint16_t)strlen(s->id)),
        .name_size = htobe16((uint16_t)strlen(s->name)),
        .seconds = htobe32(s->seconds),
        .nanoseconds = htobe32(s->nanoseconds),
        .guest_time = htobe64(s->guest_time),
        .vm_state_size = htobe32(s->vm_state_size),
        .extra_size = htobe32(extra_size),
    };
    memcpy(at, &d, sizeof(d));
    at += sizeof(d);
    if (s->extra_size >= EXTRA_KNOWN) {
        memcpy(at, s->extra, s->extra_size);
    } else {
        const uint64_t known[2] = {htobe64(s->vm_state_size), htobe64(s->disk_size)};
        memcpy(at, known, sizeof(known));
    }
    at += extra_size;
    memcpy(at, s->id, strlen(s->id));
    memcpy(at + strlen(s->id), s->name, strlen(s->name));
}

static int write_table(struct qcow2 *q, const struct qcow2_snapshots *list, uint64_t *offset,
                       uint64_t *bytes)
{
    *bytes = *offset = 0;
    for (uint32_t i = 0; i < list->count; i++)
        *bytes += entry_size(&list->all[i]);
    if (!*bytes)
        return 0;
    if (*bytes > TABLE_BYTES_MAX || list->count > QCOW2_SNAPSHOT_MAX)
        return -EFBIG;
    PV_CLEANUP_FREE uint8_t *table = calloc(1, *bytes);
    if (!table)
        return -ENOMEM;
    uint8_t *at = table;
    for (uint32_t i = 0; i < list->count; i++) {
        put_entry(at, &list->all[i]);
        at += entry_size(&list->all[i]);
    }
    uint64_t first;
    int ret = qcow2_allocate_row(q, qcow2_clusters(q, *bytes), &first);
    *offset = first << q->cluster_bits;
    return ret < 0 ? ret : pv_block_image_write(q->file, table, *bytes, *offset);
}

int qcow2_snapshots_store(struct qcow2 *q, struct qcow2_snapshots *list)
{
    struct qcow2_header *h = &q->header;
    const uint64_t old = h->snapshots_offset >> q->cluster_bits;
    const uint64_t old_clusters = qcow2_clusters(q, list->bytes);
    const uint32_t old_count = h->snapshot_count;
    uint64_t offset, bytes;
    int ret = write_table(q, list, &offset, &bytes);
    if (ret == 0)
        ret = qcow2_metadata_write(q);
    if (ret == 0)
        ret = q->file->ops->flush(q->file);
    if (ret < 0)
        return ret;
    h->snapshots_offset = offset;
    h->snapshot_count = list->count;
    list->bytes = bytes;
    ret = qcow2_header_write_snapshots(q);
    if (ret < 0) {
        h->snapshots_offset = old << q->cluster_bits;
        h->snapshot_count = old_count;
        return ret;
    }
    for (uint64_t i = 0; i < old_clusters && ret == 0; i++)
        ret = qcow2_free_later(q, old + i);
    return ret < 0 ? ret : qcow2_flush_locked(q);
}
