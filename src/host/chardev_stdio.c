/* SPDX-License-Identifier: MIT */
/* The process's own terminal, or whatever stdin and stdout are. */
#include "base/error.h"
#include "base/util.h"
#include "host/chardev_impl.h"
#include "host/signals.h"

#include <errno.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>

#define ESCAPE_KEY 0x1d /* Ctrl-] */

/* Enough for a burst of boot messages on a slow terminal. */
#define OUTPUT_MAX ((size_t)1 << 20)

#define DRAIN_MS 2000

struct stdio_chardev {
    struct pv_chardev base;
    void (*escape)(void *opaque);
    void *opaque;
    struct pv_signal *resize;
    struct termios saved;
    bool is_terminal;
    bool escaping; /* the last key was the escape key */
};

static void report_size(void *opaque, int signal_number)
{
    struct stdio_chardev *stdio = opaque;
    struct winsize size;
    if (stdio->base.client.resized && ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0)
        stdio->base.client.resized(stdio->base.client.opaque, size.ws_col, size.ws_row);
}

static void attached(struct pv_chardev *chardev)
{
    report_size(PV_CONTAINER_OF(chardev, struct stdio_chardev, base), SIGWINCH);
}

/* Takes the escape commands out; one key held back from an earlier read may be added. */
static size_t filter(struct pv_chardev *chardev, char *data, size_t len)
{
    struct stdio_chardev *stdio = PV_CONTAINER_OF(chardev, struct stdio_chardev, base);
    if (!stdio->is_terminal)
        return len;
    char kept[sizeof(chardev->input)];
    size_t count = 0;
    for (size_t i = 0; i < len; i++) {
        if (stdio->escaping) {
            stdio->escaping = false;
            if (data[i] == 'q') {
                stdio->escape(stdio->opaque);
                continue;
            }
            kept[count++] = ESCAPE_KEY;
            if (data[i] == ESCAPE_KEY)
                continue;
        } else if (data[i] == ESCAPE_KEY) {
            stdio->escaping = true;
            continue;
        }
        kept[count++] = data[i];
    }
    for (size_t i = 0; i < count; i++)
        data[i] = kept[i];
    return count;
}

static void finish(struct pv_chardev *chardev)
{
    struct stdio_chardev *stdio = PV_CONTAINER_OF(chardev, struct stdio_chardev, base);
    chardev->out_fd = STDOUT_FILENO;
    pv_chardev_drain(chardev, DRAIN_MS);
    pv_signal_destroy(stdio->resize);
    if (stdio->is_terminal)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &stdio->saved);
}

static const struct pv_chardev_ops stdio_ops = {
    .finish = finish, .filter = filter, .attached = attached};

int pv_chardev_stdio_create(struct pv_chardev **out, struct pv_loop *loop,
                            void (*escape)(void *opaque), void *opaque, struct pv_error **err)
{
    struct stdio_chardev *stdio = calloc(1, sizeof(*stdio));
    if (!stdio)
        return pv_error_set(err, ENOMEM, "console: out of memory");
    stdio->escape = escape;
    stdio->opaque = opaque;
    int ret = pv_chardev_init(&stdio->base, &stdio_ops, loop, OUTPUT_MAX, err);
    if (ret >= 0)
        ret = pv_chardev_connect(&stdio->base, STDIN_FILENO, STDOUT_FILENO, err);
    if (ret >= 0 && tcgetattr(STDIN_FILENO, &stdio->saved) == 0) {
        struct termios raw = stdio->saved;
        cfmakeraw(&raw);
        stdio->is_terminal = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
        ret = pv_signal_create(&stdio->resize, loop, SIGWINCH, report_size, stdio, err);
    }
    if (ret < 0) {
        pv_chardev_destroy(&stdio->base);
        return ret;
    }
    *out = &stdio->base;
    return 0;
}
