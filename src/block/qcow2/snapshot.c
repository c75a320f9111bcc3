/* SPDX-License-Identifier: MIT */
/*
 * Internal snapshots: made, gone back to, deleted.
 *
 * A snapshot is an L1 table of its own whose L2 tables and clusters are shared with the disk and
 * with other snapshots; each of them counts every reference that it leads to. So making one adds
 * one to all refcounts below the L1 table, and takes the copied bits away, which say that a write
 * may go to its place. The order keeps every crash harmless: references are counted, and copied
 * bits gone from the disk, before the header names the table that has them; they are given up after
 * the header names it no more. In between there are leaks at worst.
 */
#include "base/error.h"
#include "block/qcow2/qcow2.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#define NAME_BYTES_MAX 255u

/* ---- All that an L1 table leads to ---- */

struct walk {
    struct qcow2 *q;
    int (*visit)(struct walk *walk, uint64_t cluster); /* once for each reference */
    uint64_t visited, most;                            /* it ends after that many */
};

static int visit_entry(struct walk *w, uint64_t word)
{
    struct qcow2 *q = w->q;
    uint64_t host = word & QCOW2_OFFSET_MASK;
    uint32_t bytes = host ? 1 : 0;
    if (word & QCOW2_COMPRESSED)
        qcow2_packed_place(q, word, &host, &bytes);
    int ret = 0;
    for (uint64_t c = host >> q->cluster_bits;
         bytes && c <= (host + bytes - 1) >> q->cluster_bits && ret == 0; c++) {
        if (w->visited == w->most)
            return -ECANCELED;
        ret = w->visit(w, c);
        w->visited += ret == 0;
    }
    return ret;
}

static int walk_tree(struct walk *w, const uint64_t *l1, uint32_t size)
{
    struct qcow2 *q = w->q;
    assert(l1 || size == 0);
    const size_t step = q->entry_size / 8;
    PV_CLEANUP_FREE uint64_t *copy = malloc(q->cluster_size);
    if (!copy)
        return -ENOMEM;
    int ret = 0;
    for (uint32_t i = 0; i < size && ret == 0; i++) {
        const uint64_t offset = l1[i] & QCOW2_OFFSET_MASK;
        void *table;
        if (!offset)
            continue;
        ret = qcow2_cache_get(&q->l2_cache, offset, false, &table);
        if (ret < 0)
            break;
        memcpy(copy, table, q->cluster_size);
        ret = visit_entry(w, offset);
        for (size_t j = 0; j < q->cluster_size / 8 && ret == 0; j += step)
            ret = visit_entry(w, be64toh(copy[j]));
    }
    return ret;
}

static int count_reference(struct walk *w, uint64_t cluster)
{
    return qcow2_refcount_change(w->q, cluster, 1);
}

static int uncount_reference(struct walk *w, uint64_t cluster)
{
    return qcow2_refcount_change(w->q, cluster, -1);
}

static int drop_reference(struct walk *w, uint64_t cluster)
{
    return qcow2_free_later(w->q, cluster);
}

/* One more reference to all, or none. */
static int add_references(struct qcow2 *q, const uint64_t *l1, uint32_t size)
{
    struct walk add = {.q = q, .visit = count_reference, .most = UINT64_MAX};
    int ret = walk_tree(&add, l1, size);
    if (ret == 0)
        return 0;
    struct walk undo = {.q = q, .visit = uncount_reference, .most = add.visited};
    walk_tree(&undo, l1, size);
    return ret;
}

static int remove_references(struct qcow2 *q, const uint64_t *l1, uint32_t size)
{
    struct walk drop = {.q = q, .visit = drop_reference, .most = UINT64_MAX};
    int ret = walk_tree(&drop, l1, size);
    return ret < 0 ? ret : qcow2_flush_locked(q);
}

static int free_row(struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
    const uint64_t first = offset >> q->cluster_bits;
    int ret = 0;
    for (uint64_t i = 0; i < qcow2_clusters(q, bytes) && ret == 0; i++)
        ret = qcow2_free_later(q, first + i);
    return ret;
}

/* ---- Copied bits ---- */

static int refresh_word(struct qcow2 *q, uint64_t *word)
{
    const uint64_t host = *word & QCOW2_OFFSET_MASK;
    uint64_t refcount;
    if ((*word & QCOW2_COMPRESSED) || !host)
        return 0;
    int ret = qcow2_refcount_get(q, host >> q->cluster_bits, &refcount);
    if (ret == 0)
        *word = refcount == 1 ? *word | QCOW2_COPIED : *word & ~QCOW2_COPIED;
    return ret;
}

/* As the refcounts have them now. Writes L2 tables that may be shared: there all bits go. */
static int refresh_copied(struct qcow2 *q, uint64_t *l1, uint32_t size)
{
    const size_t step = q->entry_size / 8;
    int ret = 0;
    for (uint32_t i = 0; i < size && ret == 0; i++) {
        const uint64_t offset = l1[i] & QCOW2_OFFSET_MASK;
        const uint64_t before = l1[i];
        void *table = NULL;
        if (!offset)
            continue;
        ret = refresh_word(q, &l1[i]);
        if (l1 == q->l1 && l1[i] != before)
            q->l1_dirty = true;
        if (ret == 0)
            ret = qcow2_cache_get(&q->l2_cache, offset, false, &table);
        if (ret < 0)
            break;
        uint64_t *words = table;
        for (size_t j = 0; j < q->cluster_size / 8 && ret == 0; j += step) {
            uint64_t word = be64toh(words[j]);
            const uint64_t old = word;
            ret = refresh_word(q, &word);
            if (ret < 0 || word == old)
                continue;
            words[j] = htobe64(word);
            qcow2_cache_dirty(&q->l2_cache, table);
        }
    }
    return ret;
}

/* ---- What can be done ---- */

/*
 * Walking tables that make no sense would make it worse. Once is enough: from then on they are what
 * we made of them.
 */
static int make_sure(struct qcow2 *q, struct pv_error **err)
{
    struct qcow2_check check;
    int ret = 0;

    if (q->sound && !q->corrupt)
        return 0;
    /* The check looks at the file. */
    if (!q->base.read_only) {
        pthread_mutex_lock(&q->lock);
        ret = qcow2_flush_locked(q);
        pthread_mutex_unlock(&q->lock);
    }
    ret = ret < 0 ? pv_error_errno(err, -ret, "writing it") : qcow2_check(q, false, &check, err);
    if (ret < 0)
        return ret;
    if (check.errors)
        return pv_error_set(err, EIO, "it is damaged (%llu errors); repair it first",
                            (unsigned long long)check.errors);
    q->sound = true;
    return 0;
}

static int prepare(struct qcow2 *q, struct qcow2_snapshots *list, struct pv_error **err)
{
    *list = (struct qcow2_snapshots){0};
    if (q->data != q->file)
        return pv_error_set(err, ENOTSUP,
                            "an image with an external data file can have no snapshots");
    int ret = make_sure(q, err);
    if (ret < 0)
        return ret;
    ret = qcow2_snapshots_load(q, list);
    return ret < 0 ? pv_error_errno(err, -ret, "reading its snapshots") : 0;
}

static struct qcow2_snapshot *find(const struct qcow2_snapshots *list, const char *name)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (!strcmp(list->all[i].name, name))
            return &list->all[i];
    for (uint32_t i = 0; i < list->count; i++)
        if (!strcmp(list->all[i].id, name))
            return &list->all[i];
    return NULL;
}

static int add_entry(struct qcow2 *q, struct qcow2_snapshots *list, const char *name)
{
    struct timespec now;
    unsigned long id = 0;
    for (uint32_t i = 0; i < list->count; i++)
        id = PV_MAX(id, strtoul(list->all[i].id, NULL, 10));
    struct qcow2_snapshot *all = realloc(list->all, (list->count + 1) * sizeof(*all));
    if (!all)
        return -ENOMEM;
    list->all = all;
    struct qcow2_snapshot *s = &all[list->count++];
    clock_gettime(CLOCK_REALTIME, &now);
    *s = (struct qcow2_snapshot){
        .l1_size = q->header.l1_size,
        .disk_size = q->header.size,
        .seconds = (uint32_t)now.tv_sec,
        .nanoseconds = (uint32_t)now.tv_nsec,
        .name = strdup(name),
    };
    if (asprintf(&s->id, "%lu", id + 1) < 0)
        s->id = NULL;
    return s->id && s->name ? 0 : -ENOMEM;
}

static int create_locked(struct qcow2 *q, struct qcow2_snapshots *list, const char *name)
{
    uint64_t first = 0;
    int ret = qcow2_flush_locked(q);
    if (ret == 0)
        ret = add_entry(q, list, name);
    if (ret == 0)
        ret = add_references(q, q->l1, q->header.l1_size);
    if (ret < 0)
        return ret;
    struct qcow2_snapshot *s = &list->all[list->count - 1];
    const uint64_t clusters = qcow2_clusters(q, (uint64_t)s->l1_size * 8);
    ret = refresh_copied(q, q->l1, q->header.l1_size);
    if (ret == 0 && clusters)
        ret = qcow2_allocate_row(q, clusters, &first);
    s->l1_offset = first << q->cluster_bits;
    if (ret == 0)
        ret = qcow2_table_write(q, q->l1, s->l1_offset, s->l1_size);
    if (ret == 0)
        ret = qcow2_snapshots_store(q, list);
    if (ret < 0) {
        /* Not named anywhere; what cannot be taken back is a leak. */
        if (first)
            free_row(q, s->l1_offset, (uint64_t)s->l1_size * 8);
        remove_references(q, q->l1, q->header.l1_size);
        refresh_copied(q, q->l1, q->header.l1_size);
    }
    return ret;
}

/* Whether one of this name can be made; *list is the caller's in any case. */
static int prepare_new(struct qcow2 *q, struct qcow2_snapshots *list, const char *name,
                       struct pv_error **err)
{
    *list = (struct qcow2_snapshots){0};
    if (!*name || strlen(name) > NAME_BYTES_MAX)
        return pv_error_set(err, EINVAL, "a snapshot's name of %zu bytes, want 1 to %u",
                            strlen(name), NAME_BYTES_MAX);
    int ret = prepare(q, list, err);
    if (ret == 0 && find(list, name))
        ret = pv_error_set(err, EEXIST, "it has a snapshot '%s'", name);
    return ret;
}

int qcow2_snapshot_prepare(struct qcow2 *q, const char *name, struct pv_error **err)
{
    struct qcow2_snapshots list;
    int ret = prepare_new(q, &list, name, err);

    qcow2_snapshots_finish(&list);
    if (ret < 0)
        return ret;
    pthread_mutex_lock(&q->lock);
    ret = qcow2_flush_locked(q);
    pthread_mutex_unlock(&q->lock);
    return ret < 0 ? pv_error_errno(err, -ret, "writing it") : 0;
}

int qcow2_snapshot_create(struct qcow2 *q, const char *name, struct pv_error **err)
{
    struct qcow2_snapshots list;
    int ret = prepare_new(q, &list, name, err);

    if (ret == 0) {
        pthread_mutex_lock(&q->lock);
        ret = create_locked(q, &list, name);
        pthread_mutex_unlock(&q->lock);
        if (ret == -ERANGE)
            ret = pv_error_set(err, ERANGE, "its refcounts of %u bits cannot count another one",
                               q->refcount_bits);
        else if (ret < 0)
            ret = pv_error_errno(err, -ret, "making snapshot '%s'", name);
    }
    qcow2_snapshots_finish(&list);
    return ret;
}

/* The disk becomes what `s` has; its own tables are given up once the header names the new ones. */
static int switch_to(struct qcow2 *q, const struct qcow2_snapshot *s, uint64_t **l1)
{
    struct qcow2_header *h = &q->header;
    const uint64_t old_offset = h->l1_offset;
    const uint32_t old_size = h->l1_size;
    uint64_t first = 0;
    int ret = refresh_copied(q, *l1, s->l1_size);
    if (ret == 0)
        ret = qcow2_allocate_row(
            q, PV_MAX(qcow2_clusters(q, (uint64_t)s->l1_size * 8), UINT64_C(1)), &first);
    if (ret == 0)
        ret = qcow2_table_write(q, *l1, first << q->cluster_bits, s->l1_size);
    if (ret == 0)
        ret = qcow2_metadata_write(q);
    if (ret == 0)
        ret = q->file->ops->flush(q->file);
    if (ret < 0)
        return ret;
    h->l1_offset = first << q->cluster_bits;
    h->l1_size = s->l1_size;
    h->size = q->base.size = s->disk_size;
    ret = qcow2_header_write_size(q);
    if (ret == 0)
        ret = q->file->ops->flush(q->file);
    uint64_t *old = q->l1;
    q->l1 = *l1;
    *l1 = old;
    if (ret < 0) {
        /* Which of them the file has is not known: neither is written to, or given up. */
        q->corrupt = true;
        return ret;
    }
    ret = free_row(q, old_offset, (uint64_t)old_size * 8);
    if (ret == 0)
        ret = remove_references(q, old, old_size);
    return ret < 0 ? ret : refresh_copied(q, q->l1, q->header.l1_size);
}

static int apply_locked(struct qcow2 *q, const struct qcow2_snapshot *s)
{
    const uint64_t before = q->header.l1_offset;
    uint64_t *l1 = NULL;
    int ret = qcow2_flush_locked(q);
    if (ret == 0)
        ret = qcow2_table_load(q, &l1, s->l1_offset, s->l1_size);
    if (ret == 0)
        ret = add_references(q, l1, s->l1_size);
    if (ret == 0) {
        ret = switch_to(q, s, &l1);
        if (ret < 0 && q->header.l1_offset == before && !q->corrupt)
            remove_references(q, l1, s->l1_size);
    }
    free(l1);
    return ret;
}

static int check_size(const struct qcow2 *q, const struct qcow2_snapshot *s, const char *name,
                      struct pv_error **err)
{
    const uint64_t covered = (uint64_t)q->cluster_size << q->l2_bits;
    if (s->disk_size <= s->l1_size * covered && !(s->disk_size >> 56))
        return 0;
    return pv_error_set(err, EINVAL, "snapshot '%s' is of a disk of %llu bytes, its tables of %llu",
                        name, (unsigned long long)s->disk_size,
                        (unsigned long long)(s->l1_size * covered));
}

int qcow2_snapshot_apply(struct qcow2 *q, const char *name, struct pv_error **err)
{
    struct qcow2_snapshots list;
    int ret = prepare(q, &list, err);
    const struct qcow2_snapshot *s = ret == 0 ? find(&list, name) : NULL;
    if (ret == 0)
        ret = s ? check_size(q, s, name, err)
                : pv_error_set(err, ENOENT, "it has no snapshot '%s'", name);
    if (ret == 0) {
        pthread_mutex_lock(&q->lock);
        ret = apply_locked(q, s);
        pthread_mutex_unlock(&q->lock);
        if (ret < 0)
            ret = pv_error_errno(err, -ret, "going back to snapshot '%s'", name);
    }
    qcow2_snapshots_finish(&list);
    return ret;
}

static int delete_locked(struct qcow2 *q, struct qcow2_snapshots *list, struct qcow2_snapshot *s)
{
    const struct qcow2_snapshot gone = *s;
    PV_CLEANUP_FREE uint64_t *l1 = NULL;
    int ret = qcow2_flush_locked(q);
    if (ret == 0)
        ret = qcow2_table_load(q, &l1, gone.l1_offset, gone.l1_size);
    if (ret < 0)
        return ret;
    free(gone.id);
    free(gone.name);
    free(gone.extra);
    memmove(s, s + 1, (size_t)(list->all + --list->count - s) * sizeof(*s));
    ret = qcow2_snapshots_store(q, list);
    if (ret == 0)
        ret = free_row(q, gone.l1_offset, (uint64_t)gone.l1_size * 8);
    if (ret == 0)
        ret = remove_references(q, l1, gone.l1_size);
    return ret < 0 ? ret : refresh_copied(q, q->l1, q->header.l1_size);
}

int qcow2_snapshot_delete(struct qcow2 *q, const char *name, struct pv_error **err)
{
    struct qcow2_snapshots list;
    int ret = prepare(q, &list, err);
    struct qcow2_snapshot *s = ret == 0 ? find(&list, name) : NULL;
    if (ret == 0 && !s)
        ret = pv_error_set(err, ENOENT, "it has no snapshot '%s'", name);
    if (ret == 0) {
        pthread_mutex_lock(&q->lock);
        ret = delete_locked(q, &list, s);
        pthread_mutex_unlock(&q->lock);
        if (ret < 0)
            ret = pv_error_errno(err, -ret, "deleting snapshot '%s'", name);
    }
    qcow2_snapshots_finish(&list);
    return ret;
}

/* ---- Of a copy ---- */

/*
 * A file that was copied while a VM wrote to it has parts of many moments, but whatever the
 * snapshot leads to did not change meanwhile: its clusters are shared, and writes go elsewhere. So
 * its table becomes the disk's, at the end of the file where nothing can be, and all refcounts are
 * counted anew, of which the others gave no true account.
 */
static int become(struct qcow2 *q, const struct qcow2_snapshot *s)
{
    struct qcow2_header *h = &q->header;
    const uint64_t end = pv_align_up(q->file->size, q->cluster_size);
    uint64_t *l1 = NULL;
    int ret = qcow2_table_load(q, &l1, s->l1_offset, s->l1_size);
    if (ret == 0)
        ret = qcow2_table_write(q, l1, end, s->l1_size);
    if (ret == 0)
        ret = q->file->ops->flush(q->file);
    if (ret < 0) {
        free(l1);
        return ret;
    }
    free(q->l1);
    q->l1 = l1;
    h->l1_offset = end;
    h->l1_size = s->l1_size;
    h->size = q->base.size = s->disk_size;
    return qcow2_header_write_size(q);
}

int qcow2_snapshot_rescue(struct qcow2 *q, const char *name, struct pv_error **err)
{
    struct qcow2_snapshots list = {0};
    struct qcow2_check check = {0};
    int ret = qcow2_snapshots_load(q, &list);
    if (ret < 0)
        ret = pv_error_errno(err, -ret, "reading its snapshots");
    const struct qcow2_snapshot *s = ret == 0 ? find(&list, name) : NULL;
    if (ret == 0)
        ret = s ? check_size(q, s, name, err)
                : pv_error_set(err, ENOENT, "it has no snapshot '%s'", name);
    if (ret == 0) {
        ret = become(q, s);
        if (ret < 0)
            pv_error_errno(err, -ret, "going back to snapshot '%s'", name);
    }
    qcow2_snapshots_finish(&list);
    if (ret == 0)
        ret = qcow2_repair(q, &check, err);
    if (ret == 0 && check.errors)
        ret = pv_error_set(err, EIO, "snapshot '%s' is damaged (%llu errors)", name,
                           (unsigned long long)check.errors);
    q->corrupt = ret < 0; /* closing must not write either */
    return ret;
}
