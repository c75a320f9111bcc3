/* SPDX-License-Identifier: MIT */
/*
 * How a snapshot is taken while the guest runs.
 *
 * A thread writes all of memory while the dirty log notes what the guest changes meanwhile; then it
 * writes that again, and again what was changed during that, until little is left or it does not
 * get less. The rest is for the moment that the snapshot is of, on the loop's thread:
 *
 *   - devices take no new requests (pv_machine_quiet()), and the loop runs on until those under way
 *     have ended; the guest does not notice but for its disks being slow;
 *   - the vCPUs and the guest's time stop;
 *   - pages still in the log are copied, the state of machine and devices is recorded, and the
 *     disks keep what they hold under a name inside their images;
 *   - everything goes on.
 *
 * So the pause is as long as that takes, whatever the size of memory. The thread then writes the
 * copied pages and the rest of the folder. Memory, devices and disks are of one moment, because
 * nothing executes and no request is under way in it.
 *
 * The log is read while the vCPUs stand still, too: an engine may let a vCPU write through a
 * permission that it looked up before for as long as it executes.
 */
#include "vm/snapshot.h"

#include "base/error.h"
#include "base/log.h"
#include "base/record.h"
#include "base/util.h"
#include "block/block.h"
#include "engine/engine.h"
#include "host/clock.h"
#include "host/loop.h"
#include "host/thread.h"
#include "machine/machine.h"
#include "memory/address_space.h"
#include "vm/hotplug.h"
#include "vm/memory_image.h"
#include "vm/memory_load.h"
#include "vm/snapshot_file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define MAX_REGIONS 8u
#define MAX_ROUNDS  6u
/* So little may be copied during the pause: a few milliseconds. */
#define FEW_PAGES   (16 * PV_MIB / PV_GUEST_PAGE)
#define QUIET_NS    (PV_NSEC_PER_SEC / 2000) /* how often we look whether devices are done */
#define PATIENCE    (10 * PV_NSEC_PER_SEC)   /* how long they may take */
#define THREAD_NICE 5

struct region {
    uint64_t address, size;
    const uint8_t *host;
    int fd; /* or -1 */
    size_t words;
    uint64_t *dirty;
};

struct pv_snapshot {
    struct pv_snapshot_config config;
    char *folder, *temporary;
    struct pv_snapshot_info info;
    int fd;
    struct pv_memory_image *image;
    struct region regions[MAX_REGIONS];
    size_t region_count;
    struct pv_block *disks[PV_SNAPSHOT_MAX_DISKS];
    const char *disk_names[PV_SNAPSHOT_MAX_DISKS];
    size_t disk_count;

    pthread_t thread;
    bool thread_made, joined;
    struct pv_event *event; /* the thread wants the moment, or is done */
    struct pv_timer *timer; /* devices are not done yet */
    uint64_t impatient_ns;
    atomic_bool cancelled;
    struct pv_error *error; /* the thread's until it is done, and the moment's within it */

    pthread_mutex_t lock; /* for these */
    pthread_cond_t changed;
    enum { COPYING, WAITING, WRITING, DONE } phase;

    /* Of the moment. */
    uint8_t *left; /* pages that were still dirty, one behind the other */
    struct pv_record *record;
    bool kept_disks, held; /* held: the guest stands still since */
};

static int out_of_memory(struct pv_error **err)
{
    return pv_error_set(err, ENOMEM, "out of memory for the snapshot");
}

/* ---- The dirty log ---- */

static size_t count_dirty(const struct pv_snapshot *s)
{
    size_t count = 0;

    for (size_t i = 0; i < s->region_count; i++)
        for (size_t w = 0; w < s->regions[i].words; w++)
            count += (size_t)__builtin_popcountll(s->regions[i].dirty[w]);
    return count;
}

/* While no vCPU executes. */
static int fetch_dirty(struct pv_snapshot *s, struct pv_error **err)
{
    for (size_t i = 0; i < s->region_count; i++) {
        struct region *region = &s->regions[i];
        int ret = pv_as_dirty_fetch(s->config.as, region->address, region->dirty, region->words);
        if (ret < 0)
            return pv_error_errno(err, -ret, "reading which memory changed");
    }
    return 0;
}

static int fetch_live(struct pv_snapshot *s, struct pv_error **err)
{
    struct pv_engine *engine = pv_machine_engine(s->config.machine);

    pv_engine_pause(engine);
    int ret = fetch_dirty(s, err);
    pv_engine_resume(engine);
    return ret;
}

/* ---- The thread ---- */

static int write_dirty(struct pv_snapshot *s, struct pv_error **err)
{
    int ret = 0;

    for (size_t i = 0; i < s->region_count; i++) {
        const struct region *region = &s->regions[i];
        for (size_t w = 0; w < region->words && ret >= 0; w++) {
            if (atomic_load(&s->cancelled))
                return -ECANCELED;
            ret = pv_memory_image_write(s->image, region->address + w * PV_MEMORY_CHUNK,
                                        region->host + w * PV_MEMORY_CHUNK, region->dirty[w], err);
        }
    }
    return ret;
}

/* All pages that the host holds anything for: reading the others would make it do so. */
static void mark_used(struct region *region)
{
    off_t at = 0;

    memset(region->dirty, region->fd < 0 ? 0xff : 0, region->words * sizeof(region->dirty[0]));
    while (region->fd >= 0 && (uint64_t)at < region->size) {
        off_t data = lseek(region->fd, at, SEEK_DATA);
        off_t end = data < 0 ? -1 : lseek(region->fd, data, SEEK_HOLE);
        if (data < 0 && errno == ENXIO)
            return;
        if (end < 0) { /* holes are not known here */
            memset(region->dirty, 0xff, region->words * sizeof(region->dirty[0]));
            return;
        }
        for (off_t page = data / PV_GUEST_PAGE; page * (off_t)PV_GUEST_PAGE < end; page++)
            region->dirty[page / 64] |= UINT64_C(1) << page % 64;
        at = end;
    }
}

/* Until so little is left that the guest may wait for it. */
static int copy_live(struct pv_snapshot *s, struct pv_error **err)
{
    size_t before = SIZE_MAX;
    int ret;

    /* Of a VM that was restored, all of it has to be there first. */
    for (size_t i = 0; i < s->region_count; i++) {
        if (pv_as_touch(s->config.as, s->regions[i].address, s->regions[i].size) < 0)
            return pv_error_set(err, EIO, "the VM's own memory is damaged");
        if (!s->info.bases)
            mark_used(&s->regions[i]);
    }
    ret = s->info.bases ? fetch_live(s, err) : 0;
    if (ret >= 0)
        ret = write_dirty(s, err);
    for (unsigned round = 0; round < MAX_ROUNDS && ret >= 0; round++) {
        ret = fetch_live(s, err);
        size_t now = count_dirty(s);
        if (ret >= 0)
            ret = write_dirty(s, err);
        if (now <= FEW_PAGES || now > before / 2)
            break;
        before = now;
    }
    return ret;
}

/* What the guest would otherwise wait for: checking images, and writing what they hold back. */
static int prepare_disks(struct pv_snapshot *s, struct pv_error **err)
{
    for (size_t i = 0; i < s->disk_count; i++)
        if (pv_block_snapshot_prepare(s->disks[i], s->info.tag, err) < 0)
            return pv_error_prefix(err, "disk '%s'", s->disk_names[i]);
    return 0;
}

/* Has the loop's thread do its part, and waits for it. */
static int wait_for_moment(struct pv_snapshot *s)
{
    pthread_mutex_lock(&s->lock);
    s->phase = WAITING;
    pv_event_signal(s->event);
    while (s->phase == WAITING && !atomic_load(&s->cancelled))
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
    return atomic_load(&s->cancelled) ? -ECANCELED : s->error ? -pv_error_code(s->error) : 0;
}

/* What the moment left: its pages, one behind the other. */
static int write_left(struct pv_snapshot *s, struct pv_error **err)
{
    PV_CLEANUP_FREE uint8_t *chunk = malloc(PV_MEMORY_CHUNK);
    const uint8_t *from = s->left;
    int ret = chunk ? 0 : out_of_memory(err);

    for (size_t i = 0; i < s->region_count; i++) {
        const struct region *region = &s->regions[i];
        for (size_t w = 0; w < region->words && ret >= 0; w++) {
            for (uint64_t rest = region->dirty[w]; rest; rest &= rest - 1) {
                memcpy(chunk + (size_t)__builtin_ctzll(rest) * PV_GUEST_PAGE, from, PV_GUEST_PAGE);
                from += PV_GUEST_PAGE;
            }
            ret = pv_memory_image_write(s->image, region->address + w * PV_MEMORY_CHUNK, chunk,
                                        region->dirty[w], err);
        }
    }
    return ret;
}

static int write_rest(struct pv_snapshot *s, struct pv_error **err)
{
    struct pv_memory_counts counts;
    size_t size;
    const void *state = pv_record_data(s->record, &size);
    int ret = write_left(s, err);

    if (ret >= 0)
        ret = pv_memory_image_end(s->image, &counts, err);
    if (ret < 0)
        return ret;
    s->info.pages = counts.pages;
    ret = pv_snapshot_state_write(state, size, s->temporary, err);
    if (ret >= 0)
        ret = pv_snapshot_info_write(&s->info, s->temporary, err);
    return ret < 0 ? ret : pv_snapshot_commit(s->temporary, s->folder, err);
}

static void *work(void *opaque)
{
    struct pv_snapshot *s = opaque;

    pv_thread_name("snapshot");
    pv_thread_nice(THREAD_NICE);
    int ret = copy_live(s, &s->error);
    if (ret >= 0 && !s->config.last)
        ret = prepare_disks(s, &s->error);
    if (ret >= 0)
        ret = wait_for_moment(s);
    if (ret >= 0)
        write_rest(s, &s->error);
    pthread_mutex_lock(&s->lock);
    s->phase = DONE;
    pv_event_signal(s->event);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- The moment: on the loop's thread ---- */

static int copy_left(struct pv_snapshot *s, struct pv_error **err)
{
    int ret = fetch_dirty(s, err);
    uint8_t *to = NULL;

    if (ret >= 0 && !(s->left = to = malloc(count_dirty(s) * PV_GUEST_PAGE + 1)))
        ret = out_of_memory(err);
    for (size_t i = 0; i < s->region_count && ret >= 0; i++) {
        const struct region *region = &s->regions[i];
        for (size_t w = 0; w < region->words; w++) {
            for (uint64_t rest = region->dirty[w]; rest; rest &= rest - 1) {
                memcpy(to,
                       region->host + w * PV_MEMORY_CHUNK +
                           (size_t)__builtin_ctzll(rest) * PV_GUEST_PAGE,
                       PV_GUEST_PAGE);
                to += PV_GUEST_PAGE;
            }
        }
    }
    return ret;
}

static int take_state(struct pv_snapshot *s, struct pv_error **err)
{
    s->record = pv_record_save();
    if (!s->record)
        return out_of_memory(err);
    pv_machine_record(s->config.machine, s->record);
    return pv_record_error(s->record, err);
}

static void the_moment(struct pv_snapshot *s)
{
    const uint64_t since = pv_clock_ns();

    pv_machine_pause(s->config.machine);
    int ret = copy_left(s, &s->error);
    if (ret >= 0)
        ret = take_state(s, &s->error);
    if (ret >= 0 && s->config.last) {
        ret = pv_vm_hotplug_flush_disks(s->config.hotplug, &s->error);
        s->held = ret >= 0;
    } else if (ret >= 0) {
        ret = pv_vm_hotplug_keep_disks(s->config.hotplug, s->info.tag, &s->error);
        s->kept_disks = ret >= 0;
    }
    if (!s->held)
        pv_machine_resume(s->config.machine);
    s->info.pause_us = (pv_clock_ns() - since) / 1000;
    s->info.created = pv_clock_wall_ns() / PV_NSEC_PER_SEC;
}

/* Devices of a guest that is to end here stay quiet: they would do what is saved as not done. */
static void let_go(struct pv_snapshot *s)
{
    if (!s->held)
        pv_machine_quiet(s->config.machine, false);
    pthread_mutex_lock(&s->lock);
    s->phase = WRITING;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

/* The thread has nothing more to copy: as soon as devices are done, it can be. */
static void try_moment(void *opaque)
{
    struct pv_snapshot *s = opaque;
    const uint64_t now = pv_clock_ns();

    if (!s->impatient_ns)
        s->impatient_ns = now + PATIENCE;
    if (pv_machine_quiet(s->config.machine, true)) {
        the_moment(s);
        let_go(s);
    } else if (now > s->impatient_ns) {
        pv_error_set(&s->error, ETIMEDOUT, "a disk does not end what it was asked for");
        let_go(s);
    } else {
        pv_timer_set(s->timer, now + QUIET_NS);
    }
}

static void finish(struct pv_snapshot *s)
{
    PV_CLEANUP_ERROR struct pv_error *error = s->error;

    pthread_join(s->thread, NULL);
    s->joined = true;
    s->error = NULL;
    if (error && s->kept_disks)
        pv_vm_hotplug_forget_disks(s->config.hotplug, s->info.tag);
    if (error) {
        pv_snapshot_remove(s->temporary, NULL);
        pv_as_dirty_log(s->config.as, false, NULL);
    }
    if (error && s->held) {
        pv_machine_quiet(s->config.machine, false);
        pv_machine_resume(s->config.machine);
    }
    s->config.done(s->config.opaque, &s->info, &error); /* `s` may be gone */
}

static void advance(void *opaque)
{
    struct pv_snapshot *s = opaque;

    pthread_mutex_lock(&s->lock);
    int phase = s->phase;
    pthread_mutex_unlock(&s->lock);
    if (phase == WAITING)
        try_moment(s);
    else if (phase == DONE && !s->joined)
        finish(s);
}

/* ---- Life ---- */

static int find_regions(struct pv_snapshot *s, struct pv_error **err)
{
    struct pv_region_info info;

    for (uint64_t at = 0; pv_as_next(s->config.as, at, &info); at = info.address + info.size) {
        if (info.kind != PV_REGION_RAM)
            continue;
        if (info.shared || s->region_count == MAX_REGIONS || info.size % PV_MEMORY_CHUNK ||
            info.address % PV_MEMORY_CHUNK)
            return pv_error_set(err, ENOTSUP, "memory '%s' is not the VM's own and cannot be saved",
                                info.name);
        struct region *region = &s->regions[s->region_count++];
        *region = (struct region){.address = info.address,
                                  .size = info.size,
                                  .host = info.host,
                                  .fd = info.fd,
                                  .words = info.size / PV_MEMORY_CHUNK};
        region->dirty = calloc(region->words, sizeof(region->dirty[0]));
        if (!region->dirty)
            return out_of_memory(err);
    }
    return 0;
}

/* What cannot be saved is found before anything is written. */
static int rehearse(struct pv_snapshot *s, struct pv_error **err)
{
    int ret = 0;

    pv_machine_pause(s->config.machine);
    ret = take_state(s, err);
    /* The log that the base began goes on; another one begins now. */
    if (ret >= 0 && !s->info.bases)
        ret = pv_as_dirty_log(s->config.as, true, err);
    pv_machine_resume(s->config.machine);
    pv_record_free(s->record);
    s->record = NULL;
    return ret;
}

static int open_files(struct pv_snapshot *s, struct pv_error **err)
{
    PV_CLEANUP_FREE char *path = NULL;
    int ret = pv_snapshot_begin(&s->temporary, s->folder, err);

    if (ret < 0)
        return ret;
    if (s->config.base->logged && !s->config.full)
        s->info.bases =
            pv_snapshot_rest_on(s->temporary, s->config.base->folder, s->config.base->tag);
    if (asprintf(&path, "%s/memory", s->temporary) < 0) {
        path = NULL;
        return out_of_memory(err);
    }
    s->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (s->fd < 0)
        return pv_error_errno(err, errno, "'%s'", path);
    return pv_memory_image_create(&s->image, s->fd, err);
}

static const char *name_of(const char *folder)
{
    const char *slash = strrchr(folder, '/');
    return slash ? slash + 1 : folder;
}

/* Names in an image are one for each snapshot, wherever folders are moved to. */
static int fill_info(struct pv_snapshot *s, struct pv_error **err)
{
    const struct pv_snapshot_config *config = &s->config;
    struct pv_vm_device device;

    s->folder = strdup(config->folder);
    s->info.note = strdup(config->note ? config->note : "");
    s->info.engine = strdup(config->engine);
    s->info.parent = strdup(config->base->folder ? name_of(config->base->folder) : "");
    s->info.memory = config->memory;
    s->info.cpus = config->cpus;
    if (config->last)
        s->info.tag = strdup("");
    else if (asprintf(&s->info.tag, "pearvisor-%.100s-%llx", name_of(config->folder),
                      (unsigned long long)pv_clock_wall_ns()) < 0)
        s->info.tag = NULL;
    if (!s->folder || !s->info.note || !s->info.engine || !s->info.parent || !s->info.tag)
        return out_of_memory(err);
    for (size_t i = 0; pv_vm_hotplug_device(config->hotplug, i, &device); i++) {
        if (device.kind != PV_VM_DISK || device.read_only)
            continue;
        if (s->info.disk_count == PV_SNAPSHOT_MAX_DISKS)
            return pv_error_set(err, ENOTSUP, "more than %u disks", PV_SNAPSHOT_MAX_DISKS);
        s->info.disks[s->info.disk_count] = strdup(device.detail);
        if (!s->info.disks[s->info.disk_count++])
            return out_of_memory(err);
    }
    s->disk_count = pv_vm_hotplug_writable_disks(config->hotplug, s->disks, s->disk_names,
                                                 PV_SNAPSHOT_MAX_DISKS);
    s->disk_count = PV_MIN(s->disk_count, (size_t)PV_SNAPSHOT_MAX_DISKS);
    return 0;
}

int pv_snapshot_create(struct pv_snapshot **out, const struct pv_snapshot_config *config,
                       struct pv_error **err)
{
    struct pv_snapshot *s = calloc(1, sizeof(*s));

    if (!s)
        return out_of_memory(err);
    s->config = *config;
    s->fd = -1;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    if (config->note && strlen(config->note) > PV_SNAPSHOT_NOTE_MAX) {
        pv_snapshot_destroy(s);
        return pv_error_set(err, EINVAL, "a note of at most %u bytes", PV_SNAPSHOT_NOTE_MAX);
    }
    int ret = fill_info(s, err);
    if (ret >= 0)
        ret = find_regions(s, err);
    if (ret >= 0)
        ret = pv_event_create(&s->event, config->loop, advance, s, err);
    if (ret >= 0)
        ret = pv_timer_create(&s->timer, config->loop, try_moment, s, err);
    if (ret >= 0)
        ret = open_files(s, err);
    if (ret >= 0)
        ret = rehearse(s, err);
    if (ret >= 0) {
        int code = pv_thread_create(&s->thread, work, s);
        s->thread_made = !code;
        ret = code ? pv_error_errno(err, code, "starting a thread") : 0;
    }
    if (ret < 0) {
        pv_snapshot_destroy(s);
        return ret;
    }
    *out = s;
    return 0;
}

void pv_snapshot_destroy(struct pv_snapshot *s)
{
    if (!s)
        return;
    if (s->thread_made && !s->joined) {
        pthread_mutex_lock(&s->lock);
        atomic_store(&s->cancelled, true);
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->lock);
        pthread_join(s->thread, NULL);
        pv_machine_quiet(s->config.machine, false);
    }
    if (!s->joined && s->temporary) {
        pv_snapshot_remove(s->temporary, NULL);
        pv_as_dirty_log(s->config.as, false, NULL);
    }
    pv_timer_destroy(s->timer);
    pv_event_destroy(s->event);
    pv_memory_image_destroy(s->image);
    pv_cleanup_fd(&s->fd);
    for (size_t i = 0; i < s->region_count; i++)
        free(s->regions[i].dirty);
    pv_snapshot_info_finish(&s->info);
    pv_record_free(s->record);
    pv_error_free(&s->error);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s->left);
    free(s->folder);
    free(s->temporary);
    free(s);
}

void pv_snapshot_base_finish(struct pv_snapshot_base *base)
{
    free(base->folder);
    free(base->tag);
    *base = (struct pv_snapshot_base){0};
}

void pv_snapshot_base_set(struct pv_snapshot_base *base, const char *folder, const char *tag)
{
    const struct pv_snapshot_base next = {strdup(folder), strdup(tag), true};

    pv_snapshot_base_finish(base);
    *base = next;
    if (!base->folder || !base->tag)
        pv_snapshot_base_finish(base);
}

/* ---- Going on from one ---- */

static int load_state(struct pv_machine *machine, const char *folder, struct pv_error **err)
{
    PV_CLEANUP_FREE void *data = NULL;
    size_t size = 0;
    int ret = pv_snapshot_state_read(&data, &size, folder, err);

    if (ret < 0)
        return ret;
    struct pv_record *record = pv_record_load(data, size);
    if (!record)
        return out_of_memory(err);
    pv_machine_record(machine, record);
    ret = pv_record_error(record, err);
    pv_record_free(record);
    return ret;
}

static void memory_failed(void *opaque, const char *message)
{
    pv_machine_fail(opaque, message);
}

/* The machine's parts look into memory while they are loaded, so it has to come by then. */
int pv_snapshot_restore(struct pv_memory_load **load, struct pv_machine *machine,
                        struct pv_address_space *as, const char *folder, struct pv_error **err)
{
    int ret = pv_snapshot_memory_open(load, as, folder, err);

    if (ret >= 0)
        ret = pv_memory_load_lazily(*load, memory_failed, machine, err);
    if (ret >= 0)
        ret = pv_machine_prepare(machine, err);
    return ret < 0 ? ret : load_state(machine, folder, err);
}
