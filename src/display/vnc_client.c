/* SPDX-License-Identifier: MIT */
/*
 * One viewer: the handshake (RFC 6143, 7.1 to 7.3), its messages (7.5) and the updates it gets.
 *
 * Input is gathered until a message is whole, then handled; what a message may be long is bounded,
 * and text that nobody needs is skipped as it comes. Anything that cannot be ends the connection,
 * with a line in the log.
 */
#include "display/vnc_impl.h"

#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "host/clock.h"
#include "host/loop.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#define INPUT_MAX    ((size_t)512 << 10) /* the longest message: 65,535 encodings */
#define OUTPUT_MAX   ((size_t)64 << 20)
#define UPDATE_BYTES ((size_t)4 << 20) /* an update ends after the rectangle that goes beyond */
#define SKIP_MAX     (16u << 20)
#define PATIENCE_NS  UINT64_C(30000000000) /* for a handshake */

enum { SECURITY_NONE = 1, SECURITY_VNC = 2 };

/* From the client. */
enum {
    SET_PIXEL_FORMAT = 0,
    SET_ENCODINGS = 2,
    UPDATE_REQUEST = 3,
    KEY_EVENT = 4,
    POINTER_EVENT = 5,
    CUT_TEXT = 6,
    ENABLE_CONTINUOUS = 150,
    FENCE = 248,
    SET_DESKTOP_SIZE = 251,
    QEMU = 255,
};

/* From the server. */
enum { SEND_UPDATE = 0, SEND_CUT_TEXT = 3, SEND_END_OF_CONTINUOUS = 150, SEND_FENCE = 248 };

enum {
    ENCODING_RAW = 0,
    ENCODING_ZRLE = 16,
    ENCODING_DESKTOP_SIZE = -223,
    ENCODING_CURSOR = -239,
    ENCODING_EXTENDED_KEYS = -258,
    ENCODING_EXTENDED_SIZE = -308,
    ENCODING_FENCE = -312,
    ENCODING_CONTINUOUS = -313,
};

#define FENCE_REQUEST (UINT32_C(1) << 31)
#define FENCE_BLOCK   3u /* before and after: messages are handled in order anyway */

static const struct vnc_format native = {
    32, 24, 0, 1, {255, 255, 255}, {16, 8, 0},
};

/* ---- Sending ---- */

static int send_bytes(struct vnc_client *client, const void *data, size_t size)
{
    return pv_buffer_append(&client->out, data, size);
}

/* Writes what the socket takes; -EPIPE when it is gone. */
static int flush(struct vnc_client *client)
{
    struct pv_buffer *out = &client->out;
    while (out->size) {
        ssize_t n =
            send(client->fd, out->data + client->sent, out->size - client->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (n <= 0)
            return -EPIPE;
        client->sent += (size_t)n;
        if (client->sent == out->size) {
            pv_buffer_consume(out, out->size);
            client->sent = 0;
            vnc_pace_left(client);
        }
    }
    return pv_watch_update(client->watch, PV_LOOP_READ | (out->size ? PV_LOOP_WRITE : 0));
}

/* ---- Updates ---- */

/* 7.8.2, and the extended one: `reason` and `status` are 0 but in answer to the client. */
static int send_size(struct vnc_client *client, uint32_t reason, uint32_t status)
{
    const struct pv_surface *picture = &client->server->picture;
    const struct pv_rect head = {reason, status, picture->width, picture->height};
    uint8_t screens[20] = {1}; /* one, with ID 0 at 0, 0 */
    vnc_store16(screens + 12, picture->width);
    vnc_store16(screens + 14, picture->height);
    if (!client->extended_size)
        return vnc_rect_head(client, &head, ENCODING_DESKTOP_SIZE);
    int ret = vnc_rect_head(client, &head, ENCODING_EXTENDED_SIZE);
    return ret == 0 ? send_bytes(client, screens, sizeof(screens)) : ret;
}

/* Pseudo-rectangles that are due; adds to *count. */
static int send_news(struct vnc_client *client, unsigned *count)
{
    static const struct pv_rect nothing;
    int ret = 0;
    if (client->size_changed || client->size_asked) {
        ret = send_size(client, 0, 0);
        client->size_changed = client->size_asked = false;
        ++*count;
    }
    if (ret == 0 && client->cursor && client->cursor_changed) {
        ret = vnc_encode_cursor(client);
        client->cursor_changed = false;
        ++*count;
    }
    if (ret == 0 && client->extended_keys && !client->keys_announced) {
        ret = vnc_rect_head(client, &nothing, ENCODING_EXTENDED_KEYS);
        client->keys_announced = true;
        ++*count;
    }
    return ret;
}

/* Whether a tile has changed, once. */
static bool take_tile(struct vnc_client *client, uint32_t x, uint32_t y)
{
    uint64_t *word = &client->damage.rows[y / VNC_TILE][x / VNC_TILE / 64];
    uint64_t bit = UINT64_C(1) << x / VNC_TILE % 64;
    bool taken = *word & bit;
    *word &= ~bit;
    return taken;
}

/* Rectangles of changed tiles that lie side by side in the row of tiles at y. */
static int send_row(struct vnc_client *client, uint32_t y, unsigned *count)
{
    const struct pv_surface *picture = &client->server->picture;
    for (uint32_t x = 0; x < picture->width;) {
        uint32_t end = x;
        while (end < picture->width && take_tile(client, end, y))
            end += VNC_TILE;
        end = PV_MIN(end, picture->width);
        const struct pv_rect rect = {x, y, end - x, PV_MIN(VNC_TILE, picture->height - y)};
        x = end > x ? end : x + VNC_TILE;
        if (!rect.width)
            continue;
        int ret = vnc_encode(client, &rect);
        if (ret < 0)
            return ret;
        ++*count;
    }
    return 0;
}

/* What does not fit waits for the next update, which starts there: all has its turn. */
static int send_tiles(struct vnc_client *client, unsigned *count)
{
    const uint32_t height = client->server->picture.height;
    const size_t start = client->out.size;
    client->damage.any = false;
    for (uint32_t done = 0; done < height; done += VNC_TILE) {
        if (client->out.size - start > UPDATE_BYTES) {
            client->damage.any = true;
            return 0;
        }
        if (client->next >= height)
            client->next = 0;
        int ret = send_row(client, client->next, count);
        if (ret < 0)
            return ret;
        client->next += VNC_TILE;
    }
    client->next = 0;
    return 0;
}

static int send_update(struct vnc_client *client)
{
    static const uint8_t head[4] = {SEND_UPDATE};
    const size_t start = client->out.size;
    unsigned count = 0;
    vnc_pace_begin(client);
    int ret = send_bytes(client, head, sizeof(head));
    if (ret == 0)
        ret = send_news(client, &count);
    if (ret == 0)
        ret = send_tiles(client, &count);
    if (ret < 0)
        return ret;
    vnc_store16((uint8_t *)client->out.data + start + 2, count);
    client->wanted = client->whole = false;
    client->pace.encoded = pv_clock_ns();
    return 0;
}

static bool can_follow(const struct vnc_client *client)
{
    return client->desktop_size || client->extended_size;
}

void vnc_client_update(struct vnc_client *client)
{
    bool news = client->size_changed || client->size_asked ||
                (client->cursor && client->cursor_changed) ||
                (client->extended_keys && !client->keys_announced);
    if (client->state != VNC_RUNNING || client->out.size)
        return;
    if (client->size_changed && !can_follow(client)) {
        vnc_client_drop(client, "the picture's size changed, which it cannot follow");
        return;
    }
    if (!(client->wanted || client->continuous) || !(client->damage.any || client->whole || news))
        return;
    if (send_update(client) < 0)
        vnc_client_drop(client, "out of memory");
    else if (flush(client) < 0)
        vnc_client_drop(client, NULL);
}

void vnc_client_cut(struct vnc_client *client, const void *text, size_t size)
{
    uint8_t head[8] = {SEND_CUT_TEXT};
    if (client->state != VNC_RUNNING)
        return;
    vnc_store32(head + 4, (uint32_t)size);
    if (send_bytes(client, head, sizeof(head)) < 0 || send_bytes(client, text, size) < 0 ||
        flush(client) < 0)
        vnc_client_drop(client, NULL);
}

/* ---- Messages ---- */

/* What handlers return: bytes of the message, 0 for "not whole yet", or negative for nonsense. */
typedef ssize_t message_fn(struct vnc_client *client, const uint8_t *data, size_t size);

static ssize_t set_pixel_format(struct vnc_client *client, const uint8_t *data, size_t size)
{
    const struct vnc_format format = {
        .bits = data[4],
        .depth = data[5],
        .big_endian = data[6] != 0,
        .true_colour = data[7] != 0,
        .max = {vnc_load16(data + 8), vnc_load16(data + 10), vnc_load16(data + 12)},
        .shift = {data[14], data[15], data[16]},
    };
    if (!vnc_format_ok(&format))
        return -EINVAL;
    client->format = format;
    client->cursor_changed = true;
    return 20;
}

static ssize_t set_encodings(struct vnc_client *client, const uint8_t *data, size_t size)
{
    const size_t count = vnc_load16(data + 2), length = 4 + 4 * count;
    const bool knew_fences = client->fences, knew_continuous = client->continuous_known;
    bool chosen = false;
    if (size < length)
        return 0;
    client->zrle = client->desktop_size = client->extended_size = client->cursor = false;
    for (size_t i = 0; i < count; i++) {
        int32_t encoding = (int32_t)vnc_load32(data + 4 + 4 * i);
        if (!chosen && (encoding == ENCODING_ZRLE || encoding == ENCODING_RAW)) {
            client->zrle = encoding == ENCODING_ZRLE;
            chosen = true;
        }
        switch (encoding) {
        case ENCODING_DESKTOP_SIZE: client->desktop_size = true; break;
        case ENCODING_EXTENDED_SIZE: client->extended_size = client->size_asked = true; break;
        case ENCODING_CURSOR: client->cursor = client->cursor_changed = true; break;
        case ENCODING_EXTENDED_KEYS: client->extended_keys = true; break;
        case ENCODING_FENCE: client->fences = true; break;
        case ENCODING_CONTINUOUS: client->continuous_known = true; break;
        default: break;
        }
    }
    /* Each is how a server says that it knows the extension. */
    const uint8_t fence[9] = {SEND_FENCE, 0, 0, 0, FENCE_REQUEST >> 24};
    const uint8_t end = SEND_END_OF_CONTINUOUS;
    if (client->fences && !knew_fences && send_bytes(client, fence, sizeof(fence)) < 0)
        return -ENOMEM;
    if (client->continuous_known && !knew_continuous && send_bytes(client, &end, 1) < 0)
        return -ENOMEM;
    return (ssize_t)length;
}

static ssize_t update_request(struct vnc_client *client, const uint8_t *data, size_t size)
{
    const struct pv_surface *picture = &client->server->picture;
    const struct pv_rect asked = {vnc_load16(data + 2), vnc_load16(data + 4), vnc_load16(data + 6),
                                  vnc_load16(data + 8)},
                         all = {0, 0, picture->width, picture->height};
    const struct pv_rect rect = pv_rect_intersect(&asked, &all);
    client->wanted = true;
    if (!data[1]) { /* not only what changed */
        client->whole = true;
        vnc_damage_add(&client->damage, &rect);
    }
    return 10;
}

static void press(struct vnc_client *client, uint16_t key, bool down)
{
    const struct pv_display_input *input = pv_display_input(client->server->display);
    if (!key || key >= VNC_KEY_MAX)
        return;
    uint8_t bit = (uint8_t)(1u << key % 8);
    if (down)
        client->keys[key / 8] |= bit;
    else
        client->keys[key / 8] &= (uint8_t)~bit;
    if (input->key)
        input->key(input->opaque, key, down);
}

static ssize_t key_event(struct vnc_client *client, const uint8_t *data, size_t size)
{
    press(client, vnc_key_of_keysym(vnc_load32(data + 4)), data[1] != 0);
    return 8;
}

static int32_t to_axis(uint32_t at, uint32_t size)
{
    return size > 1 ? (int32_t)(PV_MIN(at, size - 1) * (uint64_t)PV_DISPLAY_AXIS_MAX / (size - 1))
                    : 0;
}

static void point(struct vnc_client *client, unsigned buttons, int32_t wheel)
{
    const struct pv_display_input *input = pv_display_input(client->server->display);
    if (input->pointer)
        input->pointer(input->opaque, 0, client->x, client->y, buttons & 7, wheel);
    client->buttons = buttons;
}

static ssize_t pointer_event(struct vnc_client *client, const uint8_t *data, size_t size)
{
    enum { WHEEL_UP = 8, WHEEL_DOWN = 16 };
    const struct pv_surface *picture = &client->server->picture;
    unsigned pressed = data[1] & ~client->buttons;
    client->x = to_axis(vnc_load16(data + 2), picture->width);
    client->y = to_axis(vnc_load16(data + 4), picture->height);
    point(client, data[1], !!(pressed & WHEEL_UP) - !!(pressed & WHEEL_DOWN));
    return 6;
}

static ssize_t cut_text(struct vnc_client *client, const uint8_t *data, size_t size)
{
    const uint32_t length = vnc_load32(data + 4);
    if (length > SKIP_MAX)
        return -EINVAL;
    if (length > VNC_CUT_MAX) {
        client->skip = length;
        return 8;
    }
    if (size - 8 < length)
        return 0;
    for (unsigned i = 0; i < VNC_CLIENTS; i++) {
        struct vnc_client *other = &client->server->clients[i];
        if (other->server && other != client)
            vnc_client_cut(other, data + 8, length);
    }
    return 8 + (ssize_t)length;
}

static ssize_t enable_continuous(struct vnc_client *client, const uint8_t *data, size_t size)
{
    const uint8_t end = SEND_END_OF_CONTINUOUS;
    bool was = client->continuous;
    client->continuous = data[1] != 0;
    if (was && !client->continuous && send_bytes(client, &end, 1) < 0)
        return -ENOMEM;
    return 10;
}

static ssize_t fence(struct vnc_client *client, const uint8_t *data, size_t size)
{
    const uint32_t flags = vnc_load32(data + 4);
    const size_t length = data[8];
    uint8_t answer[9 + 64] = {SEND_FENCE};
    if (length > 64)
        return -EINVAL;
    if (size < 9 + length)
        return 0;
    vnc_store32(answer + 4, flags & FENCE_BLOCK);
    memcpy(answer + 8, data + 8, 1 + length);
    if ((flags & FENCE_REQUEST) && send_bytes(client, answer, 9 + length) < 0)
        return -ENOMEM;
    return 9 + (ssize_t)length;
}

/* The guest is asked, and what it makes of it shows later. */
static ssize_t set_desktop_size(struct vnc_client *client, const uint8_t *data, size_t size)
{
    enum { BY_YOU = 1, FORWARDED = 4 };
    static const uint8_t head[4] = {SEND_UPDATE, 0, 0, 1};
    const struct pv_display_input *input = pv_display_input(client->server->display);
    const size_t length = 8 + 16ul * data[6];
    const uint32_t width = vnc_load16(data + 2), height = vnc_load16(data + 4);
    if (size < length)
        return 0;
    if (!width || !height || width > PV_DISPLAY_MAX || height > PV_DISPLAY_MAX ||
        !client->extended_size)
        return -EINVAL;
    if (send_bytes(client, head, sizeof(head)) < 0 || send_size(client, BY_YOU, FORWARDED) < 0)
        return -ENOMEM;
    if (input->resize)
        input->resize(input->opaque, 0, width, height);
    return (ssize_t)length;
}

static ssize_t qemu(struct vnc_client *client, const uint8_t *data, size_t size)
{
    if (data[1] != 0)
        return -EINVAL;
    if (size < 12)
        return 0;
    press(client, vnc_key_of_scancode(vnc_load32(data + 8)), vnc_load16(data + 2) != 0);
    return 12;
}

static const struct {
    uint8_t type, size; /* bytes that the handler needs at least */
    message_fn *handle;
} messages[] = {
    {SET_PIXEL_FORMAT, 20, set_pixel_format},   {SET_ENCODINGS, 4, set_encodings},
    {UPDATE_REQUEST, 10, update_request},       {KEY_EVENT, 8, key_event},
    {POINTER_EVENT, 6, pointer_event},          {CUT_TEXT, 8, cut_text},
    {ENABLE_CONTINUOUS, 10, enable_continuous}, {FENCE, 9, fence},
    {SET_DESKTOP_SIZE, 8, set_desktop_size},    {QEMU, 2, qemu},
};

static ssize_t message(struct vnc_client *client, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < PV_ARRAY_SIZE(messages); i++)
        if (messages[i].type == data[0])
            return size < messages[i].size ? 0 : messages[i].handle(client, data, size);
    return -EINVAL;
}

/* ---- The handshake ---- */

static int send_challenge(struct vnc_client *client)
{
    if (getentropy(client->challenge, sizeof(client->challenge)) < 0)
        return -EIO;
    client->state = VNC_CHALLENGE;
    return send_bytes(client, client->challenge, sizeof(client->challenge));
}

static ssize_t version(struct vnc_client *client, const uint8_t *data, size_t size)
{
    const uint8_t type = client->server->has_password ? SECURITY_VNC : SECURITY_NONE;
    if (memcmp(data, "RFB 003.00", 10) != 0 || data[11] != '\n' || data[10] < '3')
        return -EINVAL;
    client->old = data[10] < '7';
    client->silent = data[10] < '8';
    const uint8_t offer[2] = {1, type}, choice[4] = {0, 0, 0, type};
    int ret = client->old ? send_bytes(client, choice, sizeof(choice))
                          : send_bytes(client, offer, sizeof(offer));
    client->state = !client->old ? VNC_SECURITY : VNC_INIT;
    if (ret == 0 && client->old && type == SECURITY_VNC)
        ret = send_challenge(client);
    return ret < 0 ? ret : 12;
}

static ssize_t security(struct vnc_client *client, const uint8_t *data, size_t size)
{
    static const uint8_t ok[4];
    int ret = 0;
    if (data[0] != (client->server->has_password ? SECURITY_VNC : SECURITY_NONE))
        return -EINVAL;
    if (client->server->has_password) {
        ret = send_challenge(client);
    } else {
        client->state = VNC_INIT;
        if (!client->silent)
            ret = send_bytes(client, ok, sizeof(ok));
    }
    return ret < 0 ? ret : 1;
}

static ssize_t challenge(struct vnc_client *client, const uint8_t *data, size_t size)
{
    static const uint8_t ok[4], failed[] = {0,   0,   0,   1,   0,   0,   0,   14,  'w', 'r', 'o',
                                            'n', 'g', ' ', 'p', 'a', 's', 's', 'w', 'o', 'r', 'd'};
    uint8_t want[16], differ = 0;
    vnc_des_response(client->server->password, client->challenge, want);
    for (unsigned i = 0; i < sizeof(want); i++)
        differ |= want[i] ^ data[i];
    if (differ) {
        send_bytes(client, failed, client->silent ? 4 : sizeof(failed));
        flush(client);
        return -EACCES;
    }
    client->state = VNC_INIT;
    int ret = send_bytes(client, ok, sizeof(ok));
    return ret < 0 ? ret : 16;
}

static ssize_t init(struct vnc_client *client, const uint8_t *data, size_t size)
{
    static const char name[] = "PearVisor";
    const struct vnc_format *f = &native;
    uint8_t hello[24] = {0};
    vnc_store16(hello, client->server->picture.width);
    vnc_store16(hello + 2, client->server->picture.height);
    hello[4] = f->bits;
    hello[5] = f->depth;
    hello[7] = f->true_colour;
    for (unsigned i = 0; i < 3; i++) {
        vnc_store16(hello + 8 + 2 * i, f->max[i]);
        hello[14 + i] = f->shift[i];
    }
    vnc_store32(hello + 20, sizeof(name) - 1);
    int ret = send_bytes(client, hello, sizeof(hello));
    if (ret == 0)
        ret = send_bytes(client, name, sizeof(name) - 1);
    const struct pv_rect all = {0, 0, client->server->picture.width,
                                client->server->picture.height};
    vnc_damage_add(&client->damage, &all); /* it has seen nothing so far */
    client->state = VNC_RUNNING;
    client->size_changed = false;
    pv_timer_set(client->patience, UINT64_MAX);
    return ret < 0 ? ret : 1; /* whether others may stay: they do */
}

/* ---- Receiving ---- */

static ssize_t handle(struct vnc_client *client, const uint8_t *data, size_t size)
{
    static const struct {
        size_t size;
        message_fn *handle;
    } states[] = {
        [VNC_VERSION] = {12, version},     [VNC_SECURITY] = {1, security},
        [VNC_CHALLENGE] = {16, challenge}, [VNC_INIT] = {1, init},
        [VNC_RUNNING] = {1, message},
    };
    return size < states[client->state].size ? 0 : states[client->state].handle(client, data, size);
}

/* Handles all messages that are whole. */
static int handle_input(struct vnc_client *client)
{
    size_t at = 0;
    while (at < client->in.size) {
        size_t skip = PV_MIN(client->skip, client->in.size - at);
        client->skip -= skip;
        at += skip;
        ssize_t n = at < client->in.size ? handle(client, (const uint8_t *)client->in.data + at,
                                                  client->in.size - at)
                                         : 0;
        if (n < 0)
            return (int)n;
        if (n == 0)
            break;
        at += (size_t)n;
    }
    pv_buffer_consume(&client->in, at);
    return 0;
}

static void on_socket(void *opaque, int fd, unsigned events)
{
    struct vnc_client *client = opaque;
    char chunk[16384];
    ssize_t n = 0;
    if (events & (PV_LOOP_READ | PV_LOOP_HUP)) {
        n = recv(fd, chunk, sizeof(chunk), 0);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
            vnc_client_drop(client, NULL);
            return;
        }
    }
    int ret = n > 0 ? pv_buffer_append(&client->in, chunk, (size_t)n) : 0;
    if (ret == 0 && n > 0)
        ret = handle_input(client);
    if (ret < 0) {
        vnc_client_drop(client, ret == -EACCES ? "a wrong password"
                                : ret == -ENOMEM || ret == -E2BIG
                                    ? "out of memory, or it does not read"
                                    : "it sent something that is not RFB");
        return;
    }
    if (flush(client) < 0)
        vnc_client_drop(client, NULL);
    else
        vnc_client_update(client);
}

/* ---- Life ---- */

static void out_of_patience(void *opaque)
{
    vnc_client_drop(opaque, "it did not say what it wants");
}

int vnc_client_start(struct vnc_client *client, struct vnc_server *server, int fd)
{
    *client = (struct vnc_client){.fd = fd, .format = native};
    client->in = PV_BUFFER_INIT(INPUT_MAX);
    client->out = PV_BUFFER_INIT(OUTPUT_MAX);
    int ret = pv_timer_create(&client->patience, server->loop, out_of_patience, client, NULL);
    if (ret >= 0)
        ret = pv_watch_create(&client->watch, server->loop, fd, PV_LOOP_READ, on_socket, client,
                              NULL);
    if (ret < 0) {
        pv_timer_destroy(client->patience);
        return ret;
    }
    client->server = server;
    pv_timer_set(client->patience, pv_clock_ns() + PATIENCE_NS);
    if (send_bytes(client, "RFB 003.008\n", 12) < 0 || flush(client) < 0)
        vnc_client_drop(client, "out of memory");
    return 0;
}

void vnc_client_drop(struct vnc_client *client, const char *why)
{
    if (why)
        pv_warn(PV_LOG_DISPLAY, "vnc: a viewer was dropped: %s", why);
    for (uint16_t key = 0; key < VNC_KEY_MAX; key++)
        if (client->keys[key / 8] >> key % 8 & 1)
            press(client, key, false);
    if (client->buttons)
        point(client, 0, 0);
    pv_watch_destroy(client->watch);
    pv_timer_destroy(client->patience);
    close(client->fd);
    if (client->zlib_there)
        deflateEnd(&client->zlib);
    pv_buffer_finish(&client->in);
    pv_buffer_finish(&client->out);
    client->server = NULL;
}
