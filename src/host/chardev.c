/* SPDX-License-Identifier: MIT */
/*
 * Output may come from any thread: it is appended to a buffer under a lock, and the loop writes
 * what the host takes. When the buffer is full the oldest bytes go, because on a console nobody
 * watched the newest lines are the ones that matter. Input is read only as fast as the guest
 * takes it.
 *
 * Descriptors that other processes share (a terminal) are not made non-blocking: readiness is
 * asked for instead, and a write after POLLOUT is at most PIPE_BUF bytes, which then fits.
 */
#include "host/chardev_impl.h"

#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "host/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* How much room is made at once when output overflows, so that it does not happen per byte. */
#define DROP_CHUNK 4096u

static void run_input(void *opaque);
static void run_output(void *opaque);

int pv_chardev_init(struct pv_chardev *chardev, const struct pv_chardev_ops *ops,
                    struct pv_loop *loop, size_t output_max, struct pv_error **err)
{
    chardev->ops = ops;
    chardev->loop = loop;
    chardev->in_fd = chardev->out_fd = chardev->log_fd = -1;
    chardev->output = PV_BUFFER_INIT(output_max);
    pthread_mutex_init(&chardev->lock, NULL);
    if (!loop)
        return 0;
    int ret = pv_event_create(&chardev->input_event, loop, run_input, chardev, err);
    if (ret < 0)
        return ret;
    return pv_event_create(&chardev->output_event, loop, run_output, chardev, err);
}

void pv_chardev_destroy(struct pv_chardev *chardev)
{
    if (!chardev)
        return;
    pv_chardev_disconnect(chardev);
    if (chardev->ops->finish)
        chardev->ops->finish(chardev);
    pv_event_destroy(chardev->input_event);
    pv_event_destroy(chardev->output_event);
    pv_buffer_finish(&chardev->output);
    if (chardev->log_fd >= 0)
        close(chardev->log_fd);
    free(chardev->log_path);
    pthread_mutex_destroy(&chardev->lock);
    free(chardev);
}

static void hang_up(struct pv_chardev *chardev)
{
    pv_chardev_disconnect(chardev);
    if (chardev->ops->hangup)
        chardev->ops->hangup(chardev);
}

/* ---- Host to guest ---- */

/* Offers what was read; true when all of it was taken. */
static bool offer(struct pv_chardev *chardev)
{
    if (chardev->input_len && chardev->client.receive) {
        size_t taken = chardev->client.receive(
            chardev->client.opaque, chardev->input + chardev->input_at, chardev->input_len);
        chardev->input_at += taken;
        chardev->input_len -= taken;
    }
    return !chardev->input_len;
}

static void update_watches(struct pv_chardev *chardev)
{
    unsigned in = chardev->want_in ? PV_LOOP_READ : 0;
    unsigned out = chardev->want_out ? PV_LOOP_WRITE : 0;
    if (chardev->in_fd == chardev->out_fd)
        in |= out;
    if (chardev->in_watch)
        pv_watch_update(chardev->in_watch, in);
    if (chardev->out_watch)
        pv_watch_update(chardev->out_watch, out);
}

static void want_input(struct pv_chardev *chardev, bool want)
{
    chardev->want_in = want;
    update_watches(chardev);
    if (chardev->in_is_file && want)
        pv_event_signal(chardev->input_event);
}

static void read_input(struct pv_chardev *chardev)
{
    ssize_t got = read(chardev->in_fd, chardev->input, sizeof(chardev->input) - PV_CHARDEV_SLACK);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        /* End of a file or a closed pipe: the guest hears nothing more, and goes on. */
        if (chardev->ops->hangup)
            hang_up(chardev);
        pv_watch_destroy(PV_STEAL(chardev->in_watch));
        chardev->in_is_file = false;
        return;
    }
    chardev->input_at = 0;
    chardev->input_len = (size_t)got;
    if (chardev->ops->filter)
        chardev->input_len = chardev->ops->filter(chardev, chardev->input, chardev->input_len);
    want_input(chardev, offer(chardev));
}

static void run_input(void *opaque)
{
    struct pv_chardev *chardev = opaque;
    if (!offer(chardev))
        return;
    if (chardev->in_is_file && chardev->client.receive)
        read_input(chardev);
    else
        want_input(chardev, true);
}

/* ---- Guest to host ---- */

/*
 * A client that left must not end the process by SIGPIPE. With a pipe, which is nobody's but this
 * process's stdout, that is for the process to say.
 */
static ssize_t write_out(struct pv_chardev *chardev, size_t len)
{
    const char *data = chardev->output.data;
    ssize_t n = send(chardev->out_fd, data, len, MSG_NOSIGNAL);
    return n < 0 && errno == ENOTSOCK ? write(chardev->out_fd, data, len) : n;
}

/* Writes once; false when the host takes no more now. */
static bool write_some(struct pv_chardev *chardev)
{
    struct pollfd ready = {.fd = chardev->out_fd, .events = POLLOUT};
    bool more = false;
    pthread_mutex_lock(&chardev->lock);
    if (chardev->output.size && poll(&ready, 1, 0) == 1) {
        ssize_t done = write_out(chardev, PV_MIN(chardev->output.size, (size_t)PIPE_BUF));
        if (done > 0)
            pv_buffer_consume(&chardev->output, (size_t)done);
        else if (done < 0 && errno != EAGAIN && errno != EINTR)
            pv_buffer_consume(&chardev->output, chardev->output.size); /* nobody reads any more */
        more = done > 0 && chardev->output.size;
    }
    pthread_mutex_unlock(&chardev->lock);
    return more;
}

static void run_output(void *opaque)
{
    struct pv_chardev *chardev = opaque;
    if (chardev->out_fd < 0)
        return;
    while (write_some(chardev))
        ;
    pthread_mutex_lock(&chardev->lock);
    chardev->want_out = chardev->output.size;
    pthread_mutex_unlock(&chardev->lock);
    update_watches(chardev);
}

static void ready(void *opaque, int fd, unsigned events)
{
    struct pv_chardev *chardev = opaque;
    if ((events & PV_LOOP_HUP) && !(events & PV_LOOP_READ) && fd != chardev->in_fd) {
        /* The reader of a pipe went; what is written goes nowhere. */
        pv_watch_destroy(PV_STEAL(chardev->out_watch));
        chardev->out_fd = -1;
        return;
    }
    if (events & PV_LOOP_WRITE)
        run_output(chardev);
    if (fd != chardev->in_fd || !(events & (PV_LOOP_READ | PV_LOOP_HUP)))
        return;
    if (!chardev->input_len)
        read_input(chardev);
    else if ((events & PV_LOOP_HUP) && chardev->ops->hangup)
        hang_up(chardev); /* what the guest had no room for is lost with the sender */
}

int pv_chardev_log(struct pv_chardev *chardev, const char *path, uint64_t max,
                   struct pv_error **err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return pv_error_errno(err, errno, "log '%s'", path);
    struct stat st;
    char *copy = strdup(path);
    if (!copy || fstat(fd, &st) < 0) {
        free(copy);
        close(fd);
        return pv_error_set(err, ENOMEM, "log '%s': out of memory", path);
    }
    if (chardev->log_fd >= 0)
        close(chardev->log_fd);
    free(chardev->log_path);
    chardev->log_path = copy;
    chardev->log_max = max;
    chardev->log_size = (uint64_t)st.st_size;
    chardev->log_fd = fd;
    return 0;
}

/* The log becomes PATH.1 in place of an older one. What cannot be renamed just grows. */
static void rotate_log(struct pv_chardev *chardev)
{
    PV_CLEANUP_FREE char *old = NULL;
    chardev->log_size = 0;
    if (asprintf(&old, "%s.1", chardev->log_path) < 0) {
        old = NULL;
        return;
    }
    if (rename(chardev->log_path, old) < 0)
        return;
    int fd = open(chardev->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    close(chardev->log_fd);
    chardev->log_fd = fd;
}

/* A file takes what it is given at once, or is full. */
static void write_log(struct pv_chardev *chardev, const char *data, size_t len)
{
    if (chardev->log_max && chardev->log_size >= chardev->log_max)
        rotate_log(chardev);
    chardev->log_size += len;
    while (len) {
        ssize_t n = write(chardev->log_fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            pv_warn(PV_LOG_CONSOLE, "the console's log ends here: %s", strerror(errno));
            close(chardev->log_fd);
            chardev->log_fd = -1;
            return;
        }
        data += n;
        len -= (size_t)n;
    }
}

void pv_chardev_write(struct pv_chardev *chardev, const void *data, size_t len)
{
    pthread_mutex_lock(&chardev->lock);
    if (chardev->log_fd >= 0)
        write_log(chardev, data, len);
    pthread_mutex_unlock(&chardev->lock);
    if (!chardev->loop || !len)
        return;
    const char *from = data;
    size_t max = chardev->output.max;
    if (len > max) {
        from += len - max;
        len = max;
    }
    pthread_mutex_lock(&chardev->lock);
    bool first = !chardev->output.size;
    if (chardev->output.size + len > max)
        pv_buffer_consume(&chardev->output,
                          PV_MAX(chardev->output.size + len - max, (size_t)DROP_CHUNK));
    if (pv_buffer_append(&chardev->output, from, len) < 0)
        pv_debug(PV_LOG_HOST, "chardev: no memory for %zu bytes of output", len);
    pthread_mutex_unlock(&chardev->lock);
    if (first)
        pv_event_signal(chardev->output_event);
}

void pv_chardev_drain(struct pv_chardev *chardev, int milliseconds)
{
    uint64_t deadline = pv_clock_ns() + (uint64_t)milliseconds * (PV_NSEC_PER_SEC / 1000);
    while (chardev->out_fd >= 0 && chardev->output.size) {
        uint64_t now = pv_clock_ns();
        struct pollfd ready = {.fd = chardev->out_fd, .events = POLLOUT};
        if (now >= deadline || poll(&ready, 1, (int)((deadline - now) / 1000000) + 1) <= 0)
            return;
        write_some(chardev);
    }
}

/* ---- Connecting ---- */

/* Watches `fd`; sets *is_file for what is always ready: epoll refuses files and /dev/null. */
static int watch(struct pv_chardev *chardev, struct pv_watch **out, int fd, bool *is_file,
                 struct pv_error **err)
{
    int ret = pv_watch_create(out, chardev->loop, fd, 0, ready, chardev, NULL);
    *is_file = ret == -EPERM;
    if (ret < 0 && !*is_file)
        return pv_error_errno(err, -ret, "console: watching descriptor %d", fd);
    return 0;
}

int pv_chardev_connect(struct pv_chardev *chardev, int in_fd, int out_fd, struct pv_error **err)
{
    bool out_is_file;
    int ret = watch(chardev, &chardev->in_watch, in_fd, &chardev->in_is_file, err);
    if (ret >= 0 && in_fd != out_fd)
        ret = watch(chardev, &chardev->out_watch, out_fd, &out_is_file, err);
    if (ret < 0) {
        pv_chardev_disconnect(chardev);
        return ret;
    }
    chardev->in_fd = in_fd;
    chardev->out_fd = out_fd;
    want_input(chardev, chardev->client.receive != NULL);
    pv_event_signal(chardev->output_event);
    return 0;
}

void pv_chardev_disconnect(struct pv_chardev *chardev)
{
    pv_watch_destroy(PV_STEAL(chardev->in_watch));
    pv_watch_destroy(PV_STEAL(chardev->out_watch));
    chardev->in_fd = chardev->out_fd = -1;
    chardev->in_is_file = chardev->want_in = chardev->want_out = false;
    chardev->input_len = 0;
}

void pv_chardev_set_client(struct pv_chardev *chardev, const struct pv_chardev_client *client)
{
    chardev->client = client ? *client : (struct pv_chardev_client){0};
    want_input(chardev, client != NULL);
    if (client && chardev->ops->attached)
        chardev->ops->attached(chardev);
}

void pv_chardev_can_accept(struct pv_chardev *chardev)
{
    if (chardev->input_event)
        pv_event_signal(chardev->input_event);
}

/* ---- Nothing at the other end ---- */

static const struct pv_chardev_ops null_ops = {0};

int pv_chardev_null_create(struct pv_chardev **out, struct pv_error **err)
{
    struct pv_chardev *chardev = calloc(1, sizeof(*chardev));
    if (!chardev)
        return pv_error_set(err, ENOMEM, "console: out of memory");
    int ret = pv_chardev_init(chardev, &null_ops, NULL, 0, err);
    if (ret < 0) {
        pv_chardev_destroy(chardev);
        return ret;
    }
    *out = chardev;
    return 0;
}
