/* SPDX-License-Identifier: MIT */
/*
 * The vtest protocol (venus-protocol section g): a client sends u32 words, a header of length and
 * command, then the payload; replies look alike. Descriptors follow a reply on a byte of their own.
 *
 * Syncs are the protocol's timelines: 64-bit values that a submission's completion, or the client,
 * moves on. A wait gives the client an eventfd that becomes readable when it is over.
 */
#include "gpu/vtest.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/checked.h"
#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "gpu/renderer.h"
#include "gpu/table.h"
#include "host/clock.h"

enum {
    VTEST_RESOURCE_UNREF = 3,
    VTEST_RESOURCE_BUSY_WAIT = 7,
    VTEST_CREATE_RENDERER = 8,
    VTEST_PING = 10,
    VTEST_VERSION = 11,
    VTEST_GET_PARAM = 15,
    VTEST_GET_CAPSET = 16,
    VTEST_CONTEXT_INIT = 17,
    VTEST_BLOB_CREATE = 18,
    VTEST_SYNC_CREATE = 19,
    VTEST_SYNC_UNREF = 20,
    VTEST_SYNC_READ = 21,
    VTEST_SYNC_WRITE = 22,
    VTEST_SYNC_WAIT = 23,
    VTEST_SUBMIT = 24,
};

#define PROTOCOL_VERSION 3u
#define PARAM_TIMELINES  1u
#define BLOB_HOST3D      2u
#define WAIT_ANY         1u
#define BATCH_WORDS      6u
#define BATCH_RING_INDEX 1u

#define PAYLOAD_MAX (4 * PV_MIB)
#define SYNCS_MAX   65536u
#define WAITS_MAX   4096u
#define CONTEXT     1u

struct point {
    uint32_t sync;
    uint64_t value;
};

struct points {
    struct points *next;
    uint64_t fence;       /* of a submission */
    int fd;               /* of a wait */
    uint64_t deadline_ns; /* of a wait */
    bool any;
    size_t count;
    struct point points[];
};

struct client {
    int fd;
    const struct pv_renderer_config *config;
    struct pv_renderer *renderer;
    char name[64];
    uint32_t *payload;
    uint32_t next_resource;
    uint64_t next_fence;
    pthread_mutex_t lock;      /* all below: fences come from the renderer's threads */
    struct pv_gpu_table syncs; /* handle: the value */
    uint32_t next_sync;
    struct points *pending; /* submissions */
    struct points *waits;
    size_t wait_count;
};

/* ---- Bytes ---- */

static int receive(int fd, void *to, size_t size)
{
    char *at = to;
    while (size) {
        ssize_t got = recv(fd, at, size, MSG_WAITALL);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -errno : -ECONNRESET;
        at += got;
        size -= got;
    }
    return 0;
}

static int transmit(int fd, const void *from, size_t size)
{
    const char *at = from;
    while (size) {
        ssize_t sent = send(fd, at, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return sent < 0 ? -errno : -ECONNRESET;
        at += sent;
        size -= sent;
    }
    return 0;
}

static int reply(struct client *client, uint32_t command, const uint32_t *words, uint32_t count)
{
    const uint32_t header[2] = {count, command};
    int ret = transmit(client->fd, header, sizeof(header));
    return ret < 0 || !count ? ret : transmit(client->fd, words, count * 4);
}

static int send_fd(struct client *client, int fd)
{
    char byte = 0;
    union {
        struct cmsghdr align;
        char buf[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {&byte, 1};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.buf,
                         .msg_controllen = sizeof(control.buf)};
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
    return sendmsg(client->fd, &msg, MSG_NOSIGNAL) == 1 ? 0 : -EIO;
}

static uint64_t wide(const uint32_t *words)
{
    return words[0] | (uint64_t)words[1] << 32;
}

/* ---- Syncs ---- */

static bool reached(struct client *client, const struct points *wait)
{
    size_t done = 0;
    for (size_t i = 0; i < wait->count; i++) {
        const struct pv_gpu_entry *sync = pv_gpu_table_find(&client->syncs, wait->points[i].sync);
        done += !sync || sync->handle >= wait->points[i].value;
    }
    return done == wait->count || (wait->any && done);
}

/* Ends the waits that are over, and forgets those that nobody waits for any more. */
static void check_waits(struct client *client)
{
    uint64_t now = pv_clock_ns();
    struct points **link = &client->waits;
    while (*link) {
        struct points *wait = *link;
        bool over = reached(client, wait);
        if (!over && now < wait->deadline_ns) {
            link = &wait->next;
            continue;
        }
        if (over)
            eventfd_write(wait->fd, 1);
        *link = wait->next;
        client->wait_count--;
        close(wait->fd);
        free(wait);
    }
}

static void raise_sync(struct client *client, uint32_t id, uint64_t value)
{
    struct pv_gpu_entry *sync = pv_gpu_table_find(&client->syncs, id);
    if (sync)
        sync->handle = value;
}

static void fence_done(void *opaque, uint32_t context, uint32_t timeline, uint64_t fence)
{
    struct client *client = opaque;
    pthread_mutex_lock(&client->lock);
    struct points **link = &client->pending;
    while (*link && (*link)->fence != fence)
        link = &(*link)->next;
    struct points *done = *link;
    if (done) {
        *link = done->next;
        for (size_t i = 0; i < done->count; i++)
            raise_sync(client, done->points[i].sync, done->points[i].value);
        free(done);
        check_waits(client);
    }
    pthread_mutex_unlock(&client->lock);
}

static struct points *read_points(const uint32_t *words, size_t count)
{
    struct points *points = calloc(1, sizeof(*points) + count * sizeof(points->points[0]));
    if (!points)
        return NULL;
    points->count = count;
    for (size_t i = 0; i < count; i++)
        points->points[i] = (struct point){words[3 * i], wide(&words[3 * i + 1])};
    return points;
}

static int sync_create(struct client *client, const uint32_t *words)
{
    pthread_mutex_lock(&client->lock);
    uint32_t id = ++client->next_sync;
    int ret =
        pv_gpu_table_add(&client->syncs, &(struct pv_gpu_entry){.id = id, .handle = wide(words)});
    pthread_mutex_unlock(&client->lock);
    return ret < 0 ? ret : reply(client, VTEST_SYNC_CREATE, &id, 1);
}

static int sync_read(struct client *client, uint32_t id)
{
    pthread_mutex_lock(&client->lock);
    const struct pv_gpu_entry *sync = pv_gpu_table_find(&client->syncs, id);
    uint64_t value = sync ? sync->handle : 0;
    pthread_mutex_unlock(&client->lock);
    const uint32_t words[2] = {(uint32_t)value, (uint32_t)(value >> 32)};
    return sync ? reply(client, VTEST_SYNC_READ, words, 2) : -EINVAL;
}

static int sync_wait(struct client *client, const uint32_t *words, size_t count)
{
    size_t points = (count - 2) / 3;
    struct points *wait = read_points(words + 2, points);
    int given = eventfd(0, EFD_CLOEXEC);
    if (!wait || given < 0) {
        free(wait);
        if (given >= 0)
            close(given);
        return -ENOMEM;
    }
    int32_t timeout_ms = (int32_t)words[1];
    wait->any = words[0] & WAIT_ANY;
    wait->deadline_ns =
        timeout_ms < 0 ? UINT64_MAX : pv_clock_ns() + (uint64_t)timeout_ms * 1000000;
    wait->fd = dup(given);
    pthread_mutex_lock(&client->lock);
    int ret = wait->fd < 0 || client->wait_count >= WAITS_MAX ? -EMFILE : 0;
    if (ret == 0) {
        wait->next = client->waits;
        client->waits = wait;
        client->wait_count++;
        check_waits(client);
    }
    pthread_mutex_unlock(&client->lock);
    if (ret < 0) {
        if (wait->fd >= 0)
            close(wait->fd);
        free(wait);
    } else {
        ret = reply(client, VTEST_SYNC_WAIT, NULL, 0);
        if (ret == 0)
            ret = send_fd(client, given);
    }
    close(given);
    return ret;
}

/* ---- Resources and submissions ---- */

static int get_capset(struct client *client, const uint32_t *words)
{
    uint32_t answer[1 + 64] = {0};
    int size = pv_renderer_capset(client->renderer, words[0], answer + 1, sizeof(answer) - 4);
    answer[0] = size > 0 && (size_t)size <= sizeof(answer) - 4;
    return reply(client, VTEST_GET_CAPSET, answer, answer[0] ? 1 + ((uint32_t)size + 3) / 4 : 1);
}

static int blob_create(struct client *client, const uint32_t *words, struct pv_error **err)
{
    uint32_t id = ++client->next_resource;
    struct pv_renderer_mapping mapping;
    if (words[0] != BLOB_HOST3D)
        return pv_error_set(err, EINVAL, "a blob of type %u", words[0]);
    int ret = pv_renderer_blob_create(client->renderer, CONTEXT, id, wide(words + 4),
                                      wide(words + 2), words[1], err);
    if (ret < 0)
        return ret;
    ret = pv_renderer_blob_map(client->renderer, id, &mapping, err);
    if (ret < 0)
        return ret;
    if (mapping.fd < 0)
        return pv_error_set(err, ENOTSUP, "a blob without a descriptor");
    ret = reply(client, VTEST_BLOB_CREATE, &id, 1);
    return ret < 0 ? ret : send_fd(client, mapping.fd);
}

static int submit_batch(struct client *client, const uint32_t *words, size_t count,
                        const uint32_t *batch, struct pv_error **err)
{
    uint32_t timeline = batch[0] & BATCH_RING_INDEX ? batch[5] : 0;
    if (!pv_range_ok(batch[1], batch[2], count) ||
        !pv_range_ok(batch[3], (uint64_t)batch[4] * 3, count))
        return pv_error_set(err, EINVAL, "a batch beyond its message");
    int ret =
        pv_renderer_submit(client->renderer, CONTEXT, words + batch[1], (size_t)batch[2] * 4, err);
    if (ret < 0 || !batch[4])
        return ret;
    struct points *points = read_points(words + batch[3], batch[4]);
    if (!points)
        return pv_error_set(err, ENOMEM, "out of memory");
    points->fence = ++client->next_fence;
    uint64_t fence = points->fence;
    pthread_mutex_lock(&client->lock);
    points->next = client->pending;
    client->pending = points;
    pthread_mutex_unlock(&client->lock);
    return pv_renderer_fence(client->renderer, CONTEXT, timeline, fence, err);
}

static int submit(struct client *client, const uint32_t *words, size_t count, struct pv_error **err)
{
    if (!pv_range_ok(1, (uint64_t)words[0] * BATCH_WORDS, count))
        return pv_error_set(err, EINVAL, "%u batches", words[0]);
    int ret = 0;
    for (uint32_t i = 0; i < words[0] && ret >= 0; i++)
        ret = submit_batch(client, words, count, words + 1 + i * BATCH_WORDS, err);
    return ret;
}

/* ---- The loop ---- */

static int handle(struct client *client, uint32_t command, const uint32_t *words, size_t count,
                  struct pv_error **err)
{
    static const uint8_t least[] = {
        [VTEST_RESOURCE_UNREF] = 1, [VTEST_RESOURCE_BUSY_WAIT] = 2, [VTEST_VERSION] = 1,
        [VTEST_GET_PARAM] = 1,      [VTEST_GET_CAPSET] = 2,         [VTEST_CONTEXT_INIT] = 1,
        [VTEST_BLOB_CREATE] = 6,    [VTEST_SYNC_CREATE] = 2,        [VTEST_SYNC_UNREF] = 1,
        [VTEST_SYNC_READ] = 1,      [VTEST_SYNC_WRITE] = 3,         [VTEST_SYNC_WAIT] = 2,
        [VTEST_SUBMIT] = 1,
    };
    const uint32_t version = PROTOCOL_VERSION, idle = 0;
    if (command < PV_ARRAY_SIZE(least) && count < least[command])
        return pv_error_set(err, EINVAL, "command %u of %zu words", command, count);
    switch (command) {
    case VTEST_PING: return reply(client, command, NULL, 0);
    case VTEST_RESOURCE_BUSY_WAIT: return reply(client, command, &idle, 1);
    case VTEST_VERSION: return reply(client, command, &version, 1);
    case VTEST_GET_PARAM: {
        bool known = words[0] == PARAM_TIMELINES;
        const uint32_t answer[2] = {known, known ? PV_RENDERER_TIMELINES : 0};
        return reply(client, command, answer, 2);
    }
    case VTEST_GET_CAPSET: return get_capset(client, words);
    case VTEST_CONTEXT_INIT:
        return pv_renderer_context_create(client->renderer, CONTEXT, words[0], client->name, err);
    case VTEST_BLOB_CREATE: return blob_create(client, words, err);
    case VTEST_RESOURCE_UNREF: pv_renderer_resource_destroy(client->renderer, words[0]); return 0;
    case VTEST_SYNC_CREATE: return sync_create(client, words);
    case VTEST_SYNC_READ: return sync_read(client, words[0]);
    case VTEST_SYNC_UNREF:
    case VTEST_SYNC_WRITE:
        pthread_mutex_lock(&client->lock);
        if (command == VTEST_SYNC_UNREF)
            pv_gpu_table_remove(&client->syncs, words[0], NULL);
        else
            raise_sync(client, words[0], wide(words + 1));
        check_waits(client);
        pthread_mutex_unlock(&client->lock);
        return 0;
    case VTEST_SYNC_WAIT: return sync_wait(client, words, count);
    case VTEST_SUBMIT: return submit(client, words, count, err);
    default: return pv_error_set(err, EINVAL, "no command %u", command);
    }
}

static int serve(struct client *client, struct pv_error **err)
{
    for (;;) {
        uint32_t header[2];
        if (receive(client->fd, header, sizeof(header)) < 0)
            return 0;
        /* The one command whose length is in bytes; it is first. */
        uint64_t size = header[1] == VTEST_CREATE_RENDERER ? header[0] : (uint64_t)header[0] * 4;
        if (size > PAYLOAD_MAX)
            return pv_error_set(err, E2BIG, "a message of %llu bytes", (unsigned long long)size);
        if (receive(client->fd, client->payload, size) < 0)
            return 0;
        if (header[1] == VTEST_CREATE_RENDERER) {
            snprintf(client->name, sizeof(client->name), "%.*s", (int)PV_MIN(size, 63u),
                     (const char *)client->payload);
            continue;
        }
        int ret = handle(client, header[1], client->payload, size / 4, err);
        if (ret < 0)
            return ret;
    }
}

static void free_points(struct points *list, bool waits)
{
    while (list) {
        struct points *points = list;
        list = points->next;
        if (waits)
            close(points->fd);
        free(points);
    }
}

int pv_vtest_serve(int fd, const char *renderer, const struct pv_renderer_config *config,
                   struct pv_error **err)
{
    struct client client = {.fd = fd, .syncs = PV_GPU_TABLE_INIT(SYNCS_MAX)};
    struct pv_renderer_config own = *config;
    own.need_fd = true;
    own.fence_done = fence_done;
    own.opaque = &client;
    pthread_mutex_init(&client.lock, NULL);
    client.payload = malloc(PAYLOAD_MAX);
    int ret = client.payload ? pv_renderer_create(&client.renderer, renderer, &own, err)
                             : pv_error_set(err, ENOMEM, "out of memory");
    if (ret == 0)
        ret = serve(&client, err);
    pv_renderer_destroy(client.renderer);
    free_points(client.pending, false);
    free_points(client.waits, true);
    pv_gpu_table_finish(&client.syncs);
    free(client.payload);
    pthread_mutex_destroy(&client.lock);
    close(fd);
    return ret;
}

/* ---- The listener ---- */

struct session {
    struct pv_vtest *vtest;
    pthread_t thread;
    int fd; /* a duplicate, to hang up by */
    atomic_bool over;
    int served;
    struct session *next;
};

struct pv_vtest {
    int fd;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    char renderer[32];
    struct pv_renderer_config config;
    pthread_t thread;
    struct session *sessions; /* the listening thread's */
    atomic_bool stopping;
};

static void *session_main(void *opaque)
{
    struct session *session = opaque;
    struct pv_error *err = NULL;
    int ret =
        pv_vtest_serve(session->served, session->vtest->renderer, &session->vtest->config, &err);
    if (ret < 0)
        pv_error_log(PV_LOG_GPU, "vtest client: %s", err ? pv_error_message(err) : strerror(-ret));
    pv_error_free(&err);
    atomic_store(&session->over, true);
    return NULL;
}

static void reap(struct pv_vtest *vtest, bool all)
{
    struct session **link = &vtest->sessions;
    while (*link) {
        struct session *session = *link;
        if (all)
            shutdown(session->fd, SHUT_RDWR);
        else if (!atomic_load(&session->over)) {
            link = &session->next;
            continue;
        }
        pthread_join(session->thread, NULL);
        close(session->fd);
        *link = session->next;
        free(session);
    }
}

static void start_session(struct pv_vtest *vtest, int fd)
{
    struct session *session = calloc(1, sizeof(*session));
    if (session) {
        session->vtest = vtest;
        session->served = fd;
        session->fd = dup(fd);
        if (session->fd >= 0 &&
            pthread_create(&session->thread, NULL, session_main, session) == 0) {
            session->next = vtest->sessions;
            vtest->sessions = session;
            return;
        }
        if (session->fd >= 0)
            close(session->fd);
        free(session);
    }
    close(fd);
}

static void *listen_main(void *opaque)
{
    struct pv_vtest *vtest = opaque;
    while (!atomic_load(&vtest->stopping)) {
        int fd = accept4(vtest->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            start_session(vtest, fd);
        else if (errno != EINTR && errno != ECONNABORTED)
            break;
        reap(vtest, false);
    }
    reap(vtest, true);
    return NULL;
}

static int listen_at(const char *path, struct pv_error **err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat st;
    if (strlen(path) >= sizeof(address.sun_path))
        return pv_error_set(err, ENAMETOOLONG, "%s: socket paths have at most %zu bytes", path,
                            sizeof(address.sun_path) - 1);
    memcpy(address.sun_path, path, strlen(path));
    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
        unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return pv_error_errno(err, errno, "a socket");
    mode_t mask = umask(0077);
    int ret = bind(fd, (struct sockaddr *)&address, sizeof(address));
    int error = errno;
    umask(mask);
    if (ret < 0 || listen(fd, 64) < 0) {
        error = ret < 0 ? error : errno;
        close(fd);
        return pv_error_errno(err, error, "%s", path);
    }
    return fd;
}

int pv_vtest_create(struct pv_vtest **out, const char *path, const char *renderer,
                    const struct pv_renderer_config *config, struct pv_error **err)
{
    struct pv_renderer *probe = NULL;
    /* A server that can serve nobody says so now, not to its first client. */
    int ret = pv_renderer_create(&probe, renderer, config, err);
    if (ret < 0)
        return ret;
    pv_renderer_destroy(probe);
    struct pv_vtest *vtest = calloc(1, sizeof(*vtest));
    if (!vtest)
        return pv_error_set(err, ENOMEM, "out of memory");
    vtest->config = *config;
    snprintf(vtest->renderer, sizeof(vtest->renderer), "%s", renderer);
    vtest->fd = listen_at(path, err);
    ret = vtest->fd < 0 ? vtest->fd : 0;
    if (ret == 0) {
        snprintf(vtest->path, sizeof(vtest->path), "%s", path);
        ret = -pthread_create(&vtest->thread, NULL, listen_main, vtest);
        if (ret < 0) {
            pv_error_errno(err, -ret, "a thread");
            close(vtest->fd);
        }
    }
    if (ret < 0) {
        free(vtest);
        return ret;
    }
    *out = vtest;
    return 0;
}

void pv_vtest_destroy(struct pv_vtest *vtest)
{
    if (!vtest)
        return;
    atomic_store(&vtest->stopping, true);
    shutdown(vtest->fd, SHUT_RDWR);
    pthread_join(vtest->thread, NULL);
    unlink(vtest->path);
    close(vtest->fd);
    free(vtest);
}
