/* SPDX-License-Identifier: MIT */
#include "daemon/watch.h"

#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "daemon/command.h"
#include "host/clock.h"
#include "host/thread.h"
#include "vm/library.h"
#include "vm/vmfile.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#define INTERVAL_NS (1 * PV_NSEC_PER_SEC)
#define WAIT_NS     (10 * PV_NSEC_PER_SEC)
#define REMEMBERED  1024u
/* A VM that ends soon after each start is started ever more rarely. */
#define FIRST_DELAY 1u
#define LAST_DELAY  64u
#define GOOD_NS     (60 * PV_NSEC_PER_SEC)

struct seen {
    struct seen *next;
    char *name;
    enum pv_vm_state state;
    bool present;   /* in the look that is under way */
    unsigned delay; /* seconds until it is started again, the next time */
    uint64_t due;   /* when it is; 0: it is not to be */
    uint64_t since; /* it is in this state */
};

struct pv_watcher {
    const char *program;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake, happened;
    bool stop, look;
    bool first;        /* the states that it finds are not news */
    struct seen *seen; /* the thread's */
    char *events[REMEMBERED];
    json_int_t last; /* the newest event's number; it is at last % REMEMBERED */
};

/* ---- Policies ---- */

static const char *const restart_names[] = {
    [PV_RESTART_NEVER] = "never",
    [PV_RESTART_ON_FAILURE] = "on-failure",
    [PV_RESTART_ALWAYS] = "always",
};

const char *pv_restart_name(enum pv_restart restart)
{
    return restart_names[restart];
}

static int find_restart(void *opaque, const char *key, char *value, struct pv_error **err)
{
    enum pv_restart *restart = opaque;
    for (unsigned i = 0; !strcmp(key, "restart") && i < PV_ARRAY_SIZE(restart_names); i++) {
        if (!strcmp(value, restart_names[i]))
            *restart = i;
    }
    return 0;
}

enum pv_restart pv_restart_of(const char *folder)
{
    PV_CLEANUP_FREE char *path = NULL;
    struct pv_vm_file *file = NULL;
    enum pv_restart restart = PV_RESTART_NEVER;
    if (asprintf(&path, "%s/" PV_LIBRARY_FILE, folder) < 0) {
        path = NULL;
        return restart;
    }
    if (pv_vm_file_open(&file, path, NULL) >= 0)
        pv_vm_file_each(file, find_restart, &restart, NULL);
    pv_vm_file_close(file);
    return restart;
}

static bool wants_restart(const char *folder, enum pv_vm_state state)
{
    enum pv_restart restart = pv_restart_of(folder);
    return state == PV_VM_FAILED ? restart != PV_RESTART_NEVER
           : state == PV_VM_STOPPED
               ? restart == PV_RESTART_ALWAYS && !pv_library_was_told_to_end(folder)
               : false;
}

/* ---- Events ---- */

static void publish(struct pv_watcher *watcher, const char *name, const char *from, const char *to,
                    const char *why)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    pthread_mutex_lock(&watcher->lock);
    const json_int_t number = watcher->last + 1;
    json_t *event =
        json_pack("{s:I, s:I, s:s, s:s*, s:s*, s:s*}", "number", number, "time",
                  (json_int_t)now.tv_sec, "vm", name, "from", from, "to", to, "problem", why);
    char *text = json_dumps(event, JSON_COMPACT);
    if (text) {
        char **slot = &watcher->events[number % REMEMBERED];
        free(*slot);
        *slot = text;
        watcher->last = number;
        pthread_cond_broadcast(&watcher->happened);
    }
    pthread_mutex_unlock(&watcher->lock);
    json_decref(event);
}

json_int_t pv_watcher_last(struct pv_watcher *watcher)
{
    pthread_mutex_lock(&watcher->lock);
    json_int_t last = watcher->last;
    pthread_mutex_unlock(&watcher->lock);
    return last;
}

/* Copies what fits; with the lock held. */
static size_t copy_events(struct pv_watcher *watcher, json_int_t *since, char *buffer, size_t size)
{
    size_t used = 0;
    if (*since > watcher->last)
        *since = watcher->last;
    if (watcher->last - *since > REMEMBERED)
        *since = watcher->last - REMEMBERED;
    while (*since < watcher->last) {
        const char *text = watcher->events[(*since + 1) % REMEMBERED];
        size_t len = strlen(text);
        if (len + 1 > size - used)
            break;
        memcpy(buffer + used, text, len);
        buffer[used + len] = '\n';
        used += len + 1;
        ++*since;
    }
    return used;
}

long pv_watcher_next(struct pv_watcher *watcher, json_int_t *since, char *buffer, size_t size)
{
    pthread_mutex_lock(&watcher->lock);
    if (*since == watcher->last && !watcher->stop)
        pv_cond_wait_for(&watcher->happened, &watcher->lock, WAIT_NS);
    long used = watcher->stop ? -1 : (long)copy_events(watcher, since, buffer, size);
    pthread_mutex_unlock(&watcher->lock);
    return used;
}

/* ---- Looking ---- */

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

int pv_watch_each(void (*fn)(void *opaque, const char *name, const char *folder), void *opaque,
                  struct pv_error **err)
{
    PV_CLEANUP_FREE char *all = NULL;
    struct dirent **entries;
    int ret = pv_library_folder(&all, err);
    if (ret < 0)
        return ret;
    int count = scandir(all, &entries, NULL, by_name);
    if (count < 0)
        return pv_error_errno(err, errno, "%s", all);
    for (int i = 0; i < count; i++) {
        PV_CLEANUP_FREE char *folder = NULL;
        if (pv_library_find(entries[i]->d_name, &folder, NULL) >= 0)
            fn(opaque, entries[i]->d_name, folder);
        free(entries[i]);
    }
    free(entries);
    return 0;
}

static struct seen *find_seen(struct pv_watcher *watcher, const char *name)
{
    struct seen *seen = watcher->seen;
    while (seen && strcmp(seen->name, name) != 0)
        seen = seen->next;
    return seen;
}

static struct seen *add_seen(struct pv_watcher *watcher, const char *name)
{
    struct seen *seen = calloc(1, sizeof(*seen));
    if (!seen || !(seen->name = strdup(name))) {
        free(seen);
        return NULL;
    }
    seen->delay = FIRST_DELAY;
    seen->next = watcher->seen;
    watcher->seen = seen;
    return seen;
}

/* It is in another state than it was, or was found in this one. */
static void has_changed(struct seen *seen, const char *folder, enum pv_vm_state state)
{
    const uint64_t now = pv_clock_ns();
    if (seen->state == PV_VM_RUNNING && now - seen->since >= GOOD_NS)
        seen->delay = FIRST_DELAY;
    seen->since = now;
    seen->state = state;
    seen->due = 0;
    if (!wants_restart(folder, state))
        return;
    seen->due = now + seen->delay * PV_NSEC_PER_SEC;
    seen->delay = PV_MIN(2 * seen->delay, LAST_DELAY);
}

static void look_at(void *opaque, const char *name, const char *folder)
{
    struct pv_watcher *watcher = opaque;
    PV_CLEANUP_FREE char *why = NULL;
    const enum pv_vm_state state = pv_library_state(folder, &why);
    struct seen *seen = find_seen(watcher, name);
    if (!seen) {
        seen = add_seen(watcher, name);
        if (!seen)
            return; /* the next look may have more memory */
        if (!watcher->first)
            publish(watcher, name, NULL, pv_vm_state_name(state), why);
        has_changed(seen, folder, state);
    } else if (seen->state != state) {
        publish(watcher, name, pv_vm_state_name(seen->state), pv_vm_state_name(state), why);
        has_changed(seen, folder, state);
    }
    seen->present = true;
}

static void forget_deleted(struct pv_watcher *watcher)
{
    for (struct seen **link = &watcher->seen; *link;) {
        struct seen *seen = *link;
        if (seen->present) {
            seen->present = false;
            link = &seen->next;
            continue;
        }
        publish(watcher, seen->name, pv_vm_state_name(seen->state), NULL, NULL);
        *link = seen->next;
        free(seen->name);
        free(seen);
    }
}

/* A start that fails is a life that failed, and counts as one. */
static void start_due(struct pv_watcher *watcher)
{
    for (struct seen *seen = watcher->seen; seen; seen = seen->next) {
        const char *const words[] = {"pearvisor", "start", seen->name, NULL};
        PV_CLEANUP_ERROR struct pv_error *err = NULL;
        if (!seen->due || seen->due > pv_clock_ns())
            continue;
        seen->due = 0;
        pv_info(PV_LOG_VM, "%s: starting it again", seen->name);
        seen->state = PV_VM_STARTING;
        publish(watcher, seen->name, NULL, "starting", NULL);
        if (pv_command_run(watcher->program, words, &err) < 0)
            pv_warn(PV_LOG_VM, "%s", pv_error_message(err));
    }
}

static void *watch(void *opaque)
{
    struct pv_watcher *watcher = opaque;
    pv_thread_name("watch");
    pthread_mutex_lock(&watcher->lock);
    while (!watcher->stop) {
        PV_CLEANUP_ERROR struct pv_error *err = NULL;
        watcher->look = false;
        pthread_mutex_unlock(&watcher->lock);
        if (pv_watch_each(look_at, watcher, &err) < 0)
            pv_warn(PV_LOG_VM, "%s", pv_error_message(err));
        else
            forget_deleted(watcher);
        watcher->first = false;
        start_due(watcher);
        pthread_mutex_lock(&watcher->lock);
        if (!watcher->look && !watcher->stop)
            pv_cond_wait_for(&watcher->wake, &watcher->lock, INTERVAL_NS);
    }
    pthread_mutex_unlock(&watcher->lock);
    return NULL;
}

int pv_watcher_create(struct pv_watcher **out, const char *program, struct pv_error **err)
{
    struct pv_watcher *watcher = calloc(1, sizeof(*watcher));
    if (!watcher)
        return pv_error_set(err, ENOMEM, "out of memory");
    watcher->program = program;
    watcher->first = true;
    pthread_mutex_init(&watcher->lock, NULL);
    pv_cond_init(&watcher->wake);
    pv_cond_init(&watcher->happened);
    int code = pv_thread_create(&watcher->thread, watch, watcher);
    if (code) {
        free(watcher);
        return pv_error_errno(err, code, "starting a thread");
    }
    *out = watcher;
    return 0;
}

void pv_watcher_look(struct pv_watcher *watcher)
{
    pthread_mutex_lock(&watcher->lock);
    watcher->look = true;
    pthread_cond_signal(&watcher->wake);
    pthread_mutex_unlock(&watcher->lock);
}

void pv_watcher_stop(struct pv_watcher *watcher)
{
    pthread_mutex_lock(&watcher->lock);
    watcher->stop = true;
    pthread_cond_broadcast(&watcher->wake);
    pthread_cond_broadcast(&watcher->happened);
    pthread_mutex_unlock(&watcher->lock);
}

void pv_watcher_destroy(struct pv_watcher *watcher)
{
    if (!watcher)
        return;
    pv_watcher_stop(watcher);
    pthread_join(watcher->thread, NULL);
    for (struct seen *next, *seen = watcher->seen; seen; seen = next) {
        next = seen->next;
        free(seen->name);
        free(seen);
    }
    for (size_t i = 0; i < REMEMBERED; i++)
        free(watcher->events[i]);
    pthread_mutex_destroy(&watcher->lock);
    pthread_cond_destroy(&watcher->wake);
    pthread_cond_destroy(&watcher->happened);
    free(watcher);
}
