/* SPDX-License-Identifier: MIT */
/* The user netdev, seen from a guest that speaks in hand-made frames. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/util.h"
#include "host/clock.h"
#include "host/loop.h"
#include "net/netdev.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#define GUEST_IP   0x0a00020fu
#define HOST_IP    0x0a000202u
#define DNS_IP     0x0a000203u
#define ETH        14u
#define IP         20u
#define UDP        8u
#define TIMEOUT_NS (3 * PV_NSEC_PER_SEC)

static const uint8_t guest_mac[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};

struct fixture {
    struct pv_loop *loop;
    struct pv_netdev *netdev;
    struct pv_timer *timeout;
    bool full;    /* receive() says no */
    bool in_send; /* receive() must not be called now */
    bool (*wanted)(struct fixture *f, const uint8_t *frame, size_t len);
    uint8_t frame[2048]; /* the last one that was wanted */
    size_t len;
    unsigned refused;
    bool timed_out;
};

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put16(uint8_t *p, unsigned value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static void put32(uint8_t *p, uint32_t value)
{
    put16(p, value >> 16);
    put16(p + 2, value & 0xffff);
}

static void send_frame(struct fixture *f, void *frame, size_t len)
{
    /* In two pieces, as a guest may. */
    struct iovec iov[2] = {{frame, len / 3}, {(uint8_t *)frame + len / 3, len - len / 3}};
    f->in_send = true;
    f->netdev->ops->send(f->netdev, iov, 2, len);
    f->in_send = false;
}

static void put_ethernet(uint8_t *frame, unsigned type, bool broadcast)
{
    static const uint8_t host_mac[6] = {0x52, 0x55, 10, 0, 2, 2};
    memset(frame, 0xff, 6);
    if (!broadcast)
        memcpy(frame, host_mac, 6);
    memcpy(frame + 6, guest_mac, 6);
    put16(frame + 12, type);
}

static void send_arp(struct fixture *f, unsigned operation, uint32_t target)
{
    uint8_t frame[60] = {0};
    put_ethernet(frame, 0x0806, true);
    uint8_t *arp = frame + ETH;
    put16(arp, 1);
    put16(arp + 2, 0x0800);
    arp[4] = 6;
    arp[5] = 4;
    put16(arp + 6, operation);
    memcpy(arp + 8, guest_mac, 6);
    put32(arp + 14, GUEST_IP);
    put32(arp + 24, target);
    send_frame(f, frame, sizeof(frame));
}

static uint16_t checksum(const uint8_t *p, size_t len)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < len; i += 2)
        sum += get16(p + i);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static void send_udp(struct fixture *f, uint32_t from, uint16_t from_port, uint32_t to,
                     uint16_t to_port, const void *data, size_t len)
{
    uint8_t frame[1024] = {0};
    put_ethernet(frame, 0x0800, to == UINT32_MAX);
    uint8_t *ip = frame + ETH, *udp = ip + IP;
    ip[0] = 0x45;
    put16(ip + 2, (unsigned)(IP + UDP + len));
    ip[8] = 64;
    ip[9] = IPPROTO_UDP;
    put32(ip + 12, from);
    put32(ip + 16, to);
    put16(ip + 10, checksum(ip, IP));
    put16(udp, from_port);
    put16(udp + 2, to_port);
    put16(udp + 4, (unsigned)(UDP + len));
    memcpy(udp + UDP, data, len);
    send_frame(f, frame, ETH + IP + UDP + len);
}

/* Answers ARP for the guest, and stops the loop when a wanted frame comes. */
static bool receive(void *opaque, const void *data, size_t len)
{
    struct fixture *f = opaque;
    const uint8_t *frame = data;
    assert_false(f->in_send);
    if (f->full) {
        f->refused++;
        return false;
    }
    if (len >= ETH + 28 && get16(frame + 12) == 0x0806 && get16(frame + ETH + 6) == 1 &&
        get32(frame + ETH + 24) == GUEST_IP)
        send_arp(f, 2, get32(frame + ETH + 14));
    if (f->wanted && len <= sizeof(f->frame) && f->wanted(f, frame, len)) {
        memcpy(f->frame, frame, len);
        f->len = len;
        f->wanted = NULL;
        pv_loop_stop(f->loop);
    }
    return true;
}

static void timed_out(void *opaque)
{
    struct fixture *f = opaque;
    f->timed_out = true;
    pv_loop_stop(f->loop);
}

static void setup(struct fixture *f, const struct pv_port_forward *forwards, size_t count)
{
    *f = (struct fixture){0};
    assert_int_equal(pv_loop_create(&f->loop, NULL), 0);
    assert_int_equal(pv_timer_create(&f->timeout, f->loop, timed_out, f, NULL), 0);
    assert_int_equal(pv_netdev_user_create(&f->netdev, f->loop, forwards, count, NULL), 0);
    f->netdev->client = (struct pv_netdev_client){.receive = receive, .opaque = f};
}

static void teardown(struct fixture *f)
{
    pv_netdev_destroy(f->netdev);
    pv_loop_destroy(f->loop);
}

static void run_for(struct fixture *f, uint64_t ns)
{
    f->timed_out = false;
    pv_timer_set(f->timeout, pv_clock_ns() + ns);
    assert_int_equal(pv_loop_run(f->loop, NULL), 0);
    pv_timer_set(f->timeout, UINT64_MAX);
}

static void wait_for(struct fixture *f, bool (*wanted)(struct fixture *, const uint8_t *, size_t))
{
    f->wanted = wanted;
    run_for(f, TIMEOUT_NS);
    assert_false(f->timed_out);
}

static bool is_arp_reply(struct fixture *f, const uint8_t *frame, size_t len)
{
    return len >= ETH + 28 && get16(frame + 12) == 0x0806 && get16(frame + ETH + 6) == 2;
}

static bool is_udp(struct fixture *f, const uint8_t *frame, size_t len)
{
    return len >= ETH + IP + UDP && get16(frame + 12) == 0x0800 && frame[ETH + 9] == IPPROTO_UDP;
}

static bool is_tcp_syn(struct fixture *f, const uint8_t *frame, size_t len)
{
    return len >= ETH + IP + 20 && get16(frame + 12) == 0x0800 && frame[ETH + 9] == IPPROTO_TCP &&
           (frame[ETH + IP + 13] & 0x12) == 0x02;
}

/* ---- Tests ---- */

static void test_arp(void **state)
{
    struct fixture f;
    setup(&f, NULL, 0);
    static const uint32_t there[] = {HOST_IP, DNS_IP};
    for (size_t i = 0; i < PV_ARRAY_SIZE(there); i++) {
        send_arp(&f, 1, there[i]);
        wait_for(&f, is_arp_reply);
        assert_int_equal(get32(f.frame + ETH + 14), there[i]);
        assert_memory_equal(f.frame, guest_mac, 6);
    }
    teardown(&f);
}

static void test_dhcp(void **state)
{
    struct fixture f;
    setup(&f, NULL, 0);
    uint8_t packet[300] = {0};
    packet[0] = 1; /* BOOTREQUEST */
    packet[1] = 1;
    packet[2] = 6;
    put32(packet + 4, 0xdecafbad);
    memcpy(packet + 28, guest_mac, 6);
    put32(packet + 236, 0x63825363);
    static const uint8_t discover[] = {53, 1, 1, 255};
    memcpy(packet + 240, discover, sizeof(discover));
    send_udp(&f, 0, 68, UINT32_MAX, 67, packet, sizeof(packet));
    wait_for(&f, is_udp);

    const uint8_t *reply = f.frame + ETH + IP + UDP;
    assert_int_equal(reply[0], 2);
    assert_int_equal(get32(reply + 4), 0xdecafbad);
    assert_int_equal(get32(reply + 16), GUEST_IP);
    uint32_t router = 0, nameserver = 0, mask = 0;
    for (const uint8_t *o = reply + 240; o + 6 <= f.frame + f.len && *o != 255; o += 2 + o[1]) {
        if (o[0] == 1)
            mask = get32(o + 2);
        if (o[0] == 3)
            router = get32(o + 2);
        if (o[0] == 6)
            nameserver = get32(o + 2);
    }
    assert_int_equal(mask, 0xffffff00);
    assert_int_equal(router, HOST_IP);
    assert_int_equal(nameserver, DNS_IP);
    teardown(&f);
}

static int udp_socket(struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    *address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(*address);
    assert_int_equal(bind(fd, (struct sockaddr *)address, sizeof(*address)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)address, &len), 0);
    struct timeval limit = {.tv_sec = 3};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    return fd;
}

static void test_udp_out_and_back(void **state)
{
    struct fixture f;
    setup(&f, NULL, 0);
    struct sockaddr_in server, guest;
    int fd = udp_socket(&server);
    send_arp(&f, 1, HOST_IP); /* the gateway learns who we are */
    wait_for(&f, is_arp_reply);
    send_udp(&f, GUEST_IP, 1234, HOST_IP, ntohs(server.sin_port), "ping", 4);
    char buf[16];
    socklen_t len = sizeof(guest);
    assert_int_equal(recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&guest, &len), 4);
    assert_memory_equal(buf, "ping", 4);
    assert_int_equal(sendto(fd, "pong!", 5, 0, (struct sockaddr *)&guest, len), 5);
    wait_for(&f, is_udp);
    assert_int_equal(get16(f.frame + ETH + IP + 2), 1234);
    assert_memory_equal(f.frame + ETH + IP + UDP, "pong!", 5);
    close(fd);
    teardown(&f);
}

/* A port that is free now. */
static uint16_t free_port(int type)
{
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static void test_udp_forward(void **state)
{
    const struct pv_port_forward forward = {
        .udp = true, .host_port = free_port(SOCK_DGRAM), .guest_port = 53};
    struct fixture f;
    setup(&f, &forward, 1);
    struct sockaddr_in client;
    int fd = udp_socket(&client);
    struct sockaddr_in to = client;
    to.sin_port = htons(forward.host_port);
    assert_int_equal(sendto(fd, "hello", 5, 0, (struct sockaddr *)&to, sizeof(to)), 5);
    wait_for(&f, is_udp);
    assert_int_equal(get32(f.frame + ETH + 16), GUEST_IP);
    assert_int_equal(get16(f.frame + ETH + IP + 2), 53);
    assert_memory_equal(f.frame + ETH + IP + UDP, "hello", 5);

    send_udp(&f, GUEST_IP, 53, get32(f.frame + ETH + 12), get16(f.frame + ETH + IP), "answer", 6);
    char buf[16];
    assert_int_equal(recv(fd, buf, sizeof(buf), 0), 6);
    assert_memory_equal(buf, "answer", 6);
    close(fd);
    teardown(&f);
}

static void test_tcp_forward(void **state)
{
    const struct pv_port_forward forward = {.host_port = free_port(SOCK_STREAM), .guest_port = 22};
    struct fixture f;
    setup(&f, &forward, 1);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(forward.host_port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    wait_for(&f, is_tcp_syn);
    assert_int_equal(get16(f.frame + ETH + IP + 2), 22);
    close(fd);
    teardown(&f);
}

static void test_busy_port(void **state)
{
    struct pv_loop *loop;
    assert_int_equal(pv_loop_create(&loop, NULL), 0);
    for (int udp = 0; udp < 2; udp++) {
        int fd = socket(AF_INET, udp ? SOCK_DGRAM : SOCK_STREAM, 0);
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof(address);
        assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
        if (!udp)
            assert_int_equal(listen(fd, 1), 0);
        const struct pv_port_forward forward = {
            .udp = udp, .host_port = ntohs(address.sin_port), .guest_port = 22};
        struct pv_netdev *netdev;
        struct pv_error *err = NULL;
        assert_int_equal(pv_netdev_user_create(&netdev, loop, &forward, 1, &err), -EADDRINUSE);
        char expected[128];
        snprintf(expected, sizeof(expected),
                 "network: host port %u/%s on 127.0.0.1 is in use by another program",
                 forward.host_port, udp ? "udp" : "tcp");
        assert_string_equal(pv_error_message(err), expected);
        pv_error_free(&err);
        close(fd);
    }
    pv_loop_destroy(loop);
}

static void test_full_guest_gets_frames_later(void **state)
{
    struct fixture f;
    setup(&f, NULL, 0);
    f.full = true;
    send_arp(&f, 1, HOST_IP);
    run_for(&f, PV_NSEC_PER_SEC / 20);
    assert_true(f.refused > 0);
    f.full = false;
    f.in_send = true; /* can_receive() has the device's lock too */
    f.netdev->ops->can_receive(f.netdev);
    f.in_send = false;
    wait_for(&f, is_arp_reply);
    teardown(&f);
}

static void test_queue_for_guest_is_bounded(void **state)
{
    struct fixture f;
    setup(&f, NULL, 0);
    f.full = true;
    for (unsigned i = 0; i < 20000; i++)
        send_arp(&f, 1, HOST_IP);
    run_for(&f, PV_NSEC_PER_SEC / 50);
    f.full = false;
    f.netdev->ops->can_receive(f.netdev);
    wait_for(&f, is_arp_reply);
    teardown(&f);
}

static void test_wild_frames(void **state)
{
    struct fixture f;
    setup(&f, NULL, 0);
    uint8_t junk[2048];
    uint32_t seed = 1;
    for (unsigned i = 0; i < 3000; i++) {
        for (size_t k = 0; k < 80; k++)
            junk[k] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
        put_ethernet(junk, i % 3 == 0 ? 0x0800 : i % 3 == 1 ? 0x0806 : 0x86dd, i % 2);
        junk[ETH] = 0x45;
        put16(junk + ETH + 10, 0);
        put16(junk + ETH + 10, checksum(junk + ETH, IP));
        send_frame(&f, junk, i % 100);
    }
    /* Longer than any frame, shorter than a header, nothing at all. */
    struct iovec iov = {junk, sizeof(junk)};
    f.netdev->ops->send(f.netdev, &iov, 1, PV_ETH_FRAME_MAX + 1);
    f.netdev->ops->send(f.netdev, &iov, 1, 3);
    f.netdev->ops->send(f.netdev, &iov, 0, 0);
    run_for(&f, PV_NSEC_PER_SEC / 50);
    send_arp(&f, 1, HOST_IP);
    wait_for(&f, is_arp_reply);
    teardown(&f);
}

static void test_null(void **state)
{
    struct pv_netdev *netdev;
    assert_int_equal(pv_netdev_null_create(&netdev, NULL), 0);
    char frame[64] = {0};
    struct iovec iov = {frame, sizeof(frame)};
    netdev->ops->send(netdev, &iov, 1, sizeof(frame));
    pv_netdev_destroy(netdev);
    pv_netdev_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arp),
        cmocka_unit_test(test_dhcp),
        cmocka_unit_test(test_udp_out_and_back),
        cmocka_unit_test(test_udp_forward),
        cmocka_unit_test(test_tcp_forward),
        cmocka_unit_test(test_busy_port),
        cmocka_unit_test(test_full_guest_gets_frames_later),
        cmocka_unit_test(test_queue_for_guest_is_bounded),
        cmocka_unit_test(test_wild_frames),
        cmocka_unit_test(test_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
