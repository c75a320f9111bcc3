/* SPDX-License-Identifier: MIT */
/* A VNC viewer whose every byte is the input's, while the picture changes. */
#include "display/display.h"
#include "display/vnc_impl.h"
#include "fuzz.h"
#include "host/loop.h"

#include "base/log.h"
#include "base/util.h"

#include <fcntl.h>
#include <sys/socket.h>

struct fuzz_vnc {
    struct pv_loop *loop;
    struct pv_timer *stop;
    unsigned stop_fired;
    struct pv_display *display;
};

static void stop(void *opaque)
{
    struct fuzz_vnc *f = opaque;
    if (f->stop_fired++ % 2)
        pv_loop_stop(f->loop);
    else
        pv_timer_set(f->stop, 0);
}

static void run(struct fuzz_vnc *f)
{
    pv_timer_set(f->stop, 0);
    FUZZ_REQUIRE(pv_loop_run(f->loop, NULL) == 0);
}

static void drain(int fd)
{
    char data[65536];
    while (recv(fd, data, sizeof(data), 0) > 0)
        ;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct fuzz_vnc f = {0};
    int fds[2];
    FUZZ_REQUIRE(pv_log_set_filter("off", NULL) == 0);
    FUZZ_REQUIRE(pv_loop_create(&f.loop, NULL) == 0);
    FUZZ_REQUIRE(pv_timer_create(&f.stop, f.loop, stop, &f, NULL) == 0);
    FUZZ_REQUIRE(pv_display_create(&f.display, NULL) == 0);
    FUZZ_REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    fcntl(fds[1], F_SETFL, O_NONBLOCK);
    struct vnc_server *server = calloc(1, sizeof(*server));
    uint32_t *pixels = calloc(64 * 64, sizeof(*pixels));
    FUZZ_REQUIRE(server && pixels);
    server->loop = f.loop;
    server->display = f.display;
    server->picture = (struct pv_surface){64, 64, pixels};
    struct vnc_client *client = &server->clients[0];
    bool greeted = fuzz_take(&input, 1) & 1;
    FUZZ_REQUIRE(vnc_client_start(client, server, fds[0]) == 0);
    if (greeted && client->server)
        FUZZ_REQUIRE(send(fds[1], "RFB 003.008\n\1\1", 14, MSG_NOSIGNAL) == 14);
    run(&f);
    while (input.size && client->server) {
        size_t part = PV_MIN((size_t)fuzz_take(&input, 1), input.size);
        if (part && send(fds[1], input.data, part, MSG_NOSIGNAL) < 0)
            break;
        input.data += part;
        input.size -= part;
        const struct pv_rect changed = {part % 64, part / 4 % 64, 1, 1};
        vnc_damage_add(&client->damage, &changed);
        pixels[part * 16 % 4096] = (uint32_t)part * 77777;
        run(&f);
        drain(fds[1]);
    }
    if (client->server)
        vnc_client_drop(client, NULL);
    close(fds[1]);
    free(pixels);
    free(server);
    pv_display_destroy(f.display);
    pv_timer_destroy(f.stop);
    pv_loop_destroy(f.loop);
    return 0;
}
