/* SPDX-License-Identifier: MIT */
/*
 * vsock with a folder of its own: host programs connect and say things by the input, and there is
 * one to be reached at port 0.
 */
#include "device/vsock.h"
#include "fuzz_device.h"
#include "host/unix_socket.h"

#include <sys/socket.h>

#define CLIENTS 4u

struct host {
    char dir[32], greeting_path[64], listening_path[80];
    int listener;
    int clients[CLIENTS];
};

static void host_setup(struct host *host)
{
    strcpy(host->dir, "/tmp/pv-fuzz-vsock-XXXXXX");
    FUZZ_REQUIRE(mkdtemp(host->dir));
    snprintf(host->greeting_path, sizeof(host->greeting_path), "%s/vsock.sock", host->dir);
    snprintf(host->listening_path, sizeof(host->listening_path), "%s_0", host->greeting_path);
    FUZZ_REQUIRE(pv_unix_listen(host->listening_path, "fuzz", &host->listener, NULL) == 0);
    for (unsigned i = 0; i < CLIENTS; i++)
        host->clients[i] = -1;
}

static void host_teardown(struct host *host)
{
    for (unsigned i = 0; i < CLIENTS; i++)
        if (host->clients[i] >= 0)
            close(host->clients[i]);
    close(host->listener);
    unlink(host->listening_path);
    rmdir(host->dir);
}

/* Without a client, or with one that hung up, nothing is said. */
static void say(int client, const void *data, size_t len)
{
    if (client >= 0)
        send(client, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* One thing that host programs do; a client of either kind takes a slot. */
static void host_step(struct host *host, struct fuzz_input *input)
{
    unsigned what = (unsigned)fuzz_take(input, 1);
    int *client = &host->clients[what >> 4 & (CLIENTS - 1)];
    char data[256];
    switch (what & 7) {
    case 0:
    case 1:
        if (*client >= 0)
            close(*client);
        *client = what & 1 ? pv_unix_accept(host->listener) : pv_unix_connect(host->greeting_path);
        break;
    case 2: say(*client, "CONNECT 1\n", 10); break;
    case 3: say(*client, input->data, PV_MIN(input->size, (size_t)what)); break;
    case 4:
        while (*client >= 0 && read(*client, data, sizeof(data)) > 0) {
        }
        break;
    default: break;
    }
}

/* A packet as the guest would send it, with ports and lengths that are likely to mean something. */
static void guest_packet(struct fuzz_device *f)
{
    struct {
        uint64_t src_cid, dst_cid;
        uint32_t src_port, dst_port, len;
        uint16_t type, op;
        uint32_t flags, buf_alloc, fwd_cnt;
    } __attribute__((packed)) packet = {.src_cid = 3, .dst_cid = 2, .type = 1};
    unsigned what = (unsigned)fuzz_take(&f->input, 1);
    packet.op = what & 7;
    packet.src_port = what >> 3 & 3;
    packet.dst_port = what & 0x20 ? 0 : (UINT32_C(1) << 30) + 1 + (what >> 6);
    packet.len = (uint32_t)fuzz_take(&f->input, 1);
    packet.flags = packet.len & 3;
    packet.buf_alloc = (uint32_t)fuzz_take(&f->input, 2);
    packet.fwd_cnt = (uint32_t)fuzz_take(&f->input, 1);
    FUZZ_REQUIRE(pv_as_write(f->as, FUZZ_DATA, &packet, sizeof(packet)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_device f;
    struct host host;
    fuzz_device_setup(&f, data, size);
    host_setup(&host);
    FUZZ_REQUIRE(pv_vsock_create(&f.dev, f.loop, f.as, 3, host.dir, NULL) == 0);
    fuzz_device_start(&f);
    while (f.input.size) {
        unsigned what = (unsigned)fuzz_take(&f.input, 1) % 4;
        if (what == 0)
            host_step(&host, &f.input);
        else if (what == 1)
            guest_packet(&f);
        else
            fuzz_device_step(&f);
    }
    fuzz_device_teardown(&f);
    host_teardown(&host);
    return 0;
}
