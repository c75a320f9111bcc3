/* SPDX-License-Identifier: MIT */
/* vsock, driven through its rings on one side and unix sockets on the other. */
#include "virtio_driver.h"

#include "device/vsock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#define CID     3u
#define HOST    UINT64_C(2)
#define BUFFERS 8u
#define RX(i)   (DATA + (i)*UINT64_C(0x2000))
#define RX_SIZE (44u + 4096u)
#define TX      (DATA + 0x40000)

enum { RECEIVE, TRANSMIT };
enum { REQUEST = 1, RESPONSE, RST, SHUTDOWN, RW, CREDIT_UPDATE, CREDIT_REQUEST };

struct header {
    uint64_t src_cid, dst_cid;
    uint32_t src_port, dst_port, len;
    uint16_t type, op;
    uint32_t flags, buf_alloc, fwd_cnt;
} __attribute__((packed));

struct fixture {
    struct driver d;
    char dir[64];
    unsigned seen;
    struct header in;      /* the last packet from the device */
    char data[4096];       /* its payload */
    uint32_t alloc, taken; /* our credit, told in every packet */
};

static void offer_buffer(struct driver *d, unsigned i)
{
    put_desc(d, RECEIVE, i, RX(i), RX_SIZE, DESC_WRITE, 0);
    offer(d, RECEIVE, (uint16_t)i);
}

static void start(struct fixture *f, unsigned buffers)
{
    bring_up(&f->d, VERSION_1);
    f->seen = 0;
    f->alloc = 1 << 20;
    f->taken = 0;
    for (unsigned i = 0; i < buffers; i++)
        offer_buffer(&f->d, i);
    kick(&f->d, RECEIVE);
}

static void setup(struct fixture *f)
{
    struct pv_virtio_device *dev;
    driver_setup(&f->d);
    strcpy(f->dir, "/tmp/pv-test-vsock-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    assert_int_equal(pv_vsock_create(&dev, f->d.loop, f->d.as, CID, f->dir, NULL), 0);
    attach(&f->d, dev);
    assert_int_equal(pv_virtio_config_read(dev, 0, 8), CID);
}

static void teardown(struct fixture *f)
{
    driver_teardown(&f->d);
    assert_int_equal(rmdir(f->dir), 0); /* the socket went with the device */
}

/* ---- The guest's side ---- */

static void send_raw(struct fixture *f, const struct header *header, const void *data, uint32_t len)
{
    assert_int_equal(pv_as_write(f->d.as, TX, header, sizeof(*header)), 0);
    assert_int_equal(pv_as_write(f->d.as, TX + sizeof(*header), data, len), 0);
    put_desc(&f->d, TRANSMIT, 0, TX, sizeof(*header), len ? DESC_NEXT : 0, 1);
    put_desc(&f->d, TRANSMIT, 1, TX + sizeof(*header), len, 0, 0);
    offer(&f->d, TRANSMIT, 0);
    kick(&f->d, TRANSMIT);
}

static struct header packet(const struct fixture *f, uint16_t op, uint32_t host, uint32_t guest)
{
    return (struct header){
        .src_cid = CID,
        .dst_cid = HOST,
        .src_port = guest,
        .dst_port = host,
        .type = 1,
        .op = op,
        .buf_alloc = f->alloc,
        .fwd_cnt = f->taken,
    };
}

static void send_op(struct fixture *f, uint16_t op, uint32_t host, uint32_t guest)
{
    struct header header = packet(f, op, host, guest);
    send_raw(f, &header, NULL, 0);
}

static void send_data(struct fixture *f, uint32_t host, uint32_t guest, const void *data,
                      uint32_t len)
{
    struct header header = packet(f, RW, host, guest);
    header.len = len;
    send_raw(f, &header, data, len);
}

static void send_shutdown(struct fixture *f, uint32_t host, uint32_t guest, uint32_t flags)
{
    struct header header = packet(f, SHUTDOWN, host, guest);
    header.flags = flags;
    send_raw(f, &header, NULL, 0);
}

static bool nothing_came(struct fixture *f)
{
    driver_run(&f->d);
    return used_index(&f->d, RECEIVE) == f->seen;
}

/* The next packet from the device; its buffer is offered again. */
static unsigned next(struct fixture *f)
{
    for (int i = 0; i < 100 && nothing_came(f); i++)
        usleep(1000);
    assert_int_not_equal(used_index(&f->d, RECEIVE), f->seen);
    uint32_t id = used_id(&f->d, RECEIVE, f->seen), len = used_len(&f->d, RECEIVE, f->seen);
    assert_true(len >= sizeof(f->in));
    assert_int_equal(pv_as_read(f->d.as, RX(id), &f->in, sizeof(f->in)), 0);
    assert_int_equal(len, sizeof(f->in) + f->in.len);
    assert_int_equal(pv_as_read(f->d.as, RX(id) + sizeof(f->in), f->data, f->in.len), 0);
    assert_int_equal(f->in.src_cid, HOST);
    assert_int_equal(f->in.dst_cid, CID);
    f->seen++;
    offer_buffer(&f->d, id);
    return f->in.op;
}

/* ---- The host's side ---- */

static struct sockaddr_un address_of(const struct fixture *f, const char *suffix)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/vsock.sock%s", f->dir, suffix);
    return address;
}

static int listen_at(const struct fixture *f, const char *suffix)
{
    struct sockaddr_un address = address_of(f, suffix);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 300), 0);
    return fd;
}

static void stop_listening(const struct fixture *f, const char *suffix, int fd)
{
    close(fd);
    unlink(address_of(f, suffix).sun_path);
}

/* A host program's connection, after it said `hello`. */
static int connect_host(struct fixture *f, const char *hello)
{
    struct sockaddr_un address = address_of(f, "");
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(send(fd, hello, strlen(hello), 0), strlen(hello));
    driver_run(&f->d);
    return fd;
}

/* What a host program reads next; "" at the end, or NULL when there is nothing. */
static const char *heard(struct fixture *f, int fd, char buf[256])
{
    driver_run(&f->d);
    ssize_t n = recv(fd, buf, 255, MSG_DONTWAIT);
    if (n < 0)
        return NULL;
    buf[n] = '\0';
    return buf;
}

/* Whether the other end of a host program's connection is closed. */
static bool closed(struct fixture *f, int fd)
{
    char byte;
    driver_run(&f->d);
    ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno == ECONNRESET);
}

/* The guest connects from one of its ports to 1000 on the host; the host program's descriptor. */
static int open_connection(struct fixture *f, uint32_t guest)
{
    int listener = listen_at(f, "_1000");
    send_op(f, REQUEST, 1000, guest);
    int fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    stop_listening(f, "_1000", listener);
    assert_int_equal(next(f), RESPONSE);
    assert_int_equal(f->in.src_port, 1000);
    assert_int_equal(f->in.dst_port, guest);
    assert_int_equal(f->in.buf_alloc, 256 << 10);
    return fd;
}

/* ---- Tests ---- */

static void test_guest_connects(void **state)
{
    struct fixture f;
    char buf[256];
    setup(&f);
    start(&f, BUFFERS);
    int fd = open_connection(&f, 77);
    send_data(&f, 1000, 77, "to the host", 11);
    assert_string_equal(heard(&f, fd, buf), "to the host");
    assert_int_equal(send(fd, "to the guest", 12, 0), 12);
    assert_int_equal(next(&f), RW);
    assert_int_equal(f.in.len, 12);
    assert_memory_equal(f.data, "to the guest", 12);
    assert_int_equal(f.in.fwd_cnt, 11);

    /* The host stops sending; the guest may go on. */
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    assert_int_equal(next(&f), SHUTDOWN);
    assert_int_equal(f.in.flags, 2);
    send_data(&f, 1000, 77, "still", 5);
    assert_string_equal(heard(&f, fd, buf), "still");
    send_shutdown(&f, 1000, 77, 3);
    assert_int_equal(next(&f), RST);
    assert_string_equal(heard(&f, fd, buf), "");
    assert_true(nothing_came(&f));
    close(fd);
    teardown(&f);
}

static void test_guest_half_closes(void **state)
{
    struct fixture f;
    char buf[256];
    setup(&f);
    start(&f, BUFFERS);
    int fd = open_connection(&f, 77);
    send_data(&f, 1000, 77, "question", 8);
    send_shutdown(&f, 1000, 77, 2);
    assert_string_equal(heard(&f, fd, buf), "question");
    assert_string_equal(heard(&f, fd, buf), "");
    assert_int_equal(send(fd, "answer", 6, 0), 6);
    close(fd);
    assert_int_equal(next(&f), RW);
    assert_memory_equal(f.data, "answer", 6);
    assert_int_equal(next(&f), SHUTDOWN);
    assert_int_equal(f.in.flags & 2, 2);
    while (!nothing_came(&f))
        assert_int_equal(next(&f), SHUTDOWN);
    assert_int_equal(f.in.flags, 3);
    send_op(&f, RST, 1000, 77);
    assert_true(nothing_came(&f));
    send_op(&f, RW, 1000, 77); /* it is gone */
    assert_int_equal(next(&f), RST);
    teardown(&f);
}

static void test_nobody_listens(void **state)
{
    struct fixture f;
    setup(&f);
    start(&f, BUFFERS);
    send_op(&f, REQUEST, 5, 6);
    assert_int_equal(next(&f), RST);
    assert_int_equal(f.in.src_port, 5);
    assert_int_equal(f.in.dst_port, 6);
    for (uint16_t op = 0; op < 16; op++) {
        if (op == REQUEST || op == RST)
            continue;
        send_op(&f, op, 5, 6);
        assert_int_equal(next(&f), RST);
    }
    send_op(&f, RST, 5, 6);
    assert_true(nothing_came(&f)); /* resets are not answered */
    teardown(&f);
}

static void test_host_connects(void **state)
{
    struct fixture f;
    char buf[256], want[64];
    setup(&f);
    start(&f, BUFFERS);
    int fd = connect_host(&f, "CONNECT ");
    assert_int_equal(send(fd, "52\nearly", 8, 0), 8);
    assert_int_equal(next(&f), REQUEST);
    assert_int_equal(f.in.dst_port, 52);
    uint32_t port = f.in.src_port;
    assert_null(heard(&f, fd, buf));
    send_op(&f, RESPONSE, port, 52);
    snprintf(want, sizeof(want), "OK %u\n", port);
    assert_string_equal(heard(&f, fd, buf), want);
    assert_int_equal(next(&f), RW);
    assert_memory_equal(f.data, "early", 5);

    int other = connect_host(&f, "CONNECT 52\n"); /* another port of the host's */
    assert_int_equal(next(&f), REQUEST);
    assert_int_not_equal(f.in.src_port, port);
    send_op(&f, RST, f.in.src_port, 52);
    assert_string_equal(heard(&f, other, buf), "");
    close(other);

    other = connect_host(&f, "CONNECT 53\n");
    assert_int_equal(next(&f), REQUEST);
    close(other); /* it did not want to wait */
    assert_int_equal(next(&f), RST);
    close(fd);
    teardown(&f);
}

static void test_bad_greetings(void **state)
{
    static const char *const bad[] = {
        "GET / HTTP/1.0\n",     "CONNECT\n",    "CONNECT x\n",
        "CONNECT 4294967295\n", "CONNECT -1\n", "CONNECT 1 and a line of more than that\n"};
    struct fixture f;
    char buf[256];
    setup(&f);
    int fd = connect_host(&f, "CONNECT 1\n"); /* no driver */
    assert_string_equal(heard(&f, fd, buf), "");
    close(fd);
    start(&f, BUFFERS);
    for (size_t i = 0; i < PV_ARRAY_SIZE(bad); i++) {
        fd = connect_host(&f, bad[i]);
        const char *got = heard(&f, fd, buf);
        if (got && *got)
            fail_msg("'%s' was answered", bad[i]);
        close(fd);
    }
    assert_true(nothing_came(&f));
    fd = connect_host(&f, ""); /* stays until the device goes */
    teardown(&f);
    assert_int_equal(recv(fd, buf, 1, 0), 0);
    close(fd);
}

static void test_credit_of_the_guest(void **state)
{
    struct fixture f;
    char data[1000];
    setup(&f);
    start(&f, BUFFERS);
    memset(data, 'x', sizeof(data));
    f.alloc = 100;
    int fd = open_connection(&f, 77);
    assert_int_equal(send(fd, data, sizeof(data), 0), sizeof(data));
    assert_int_equal(next(&f), RW);
    assert_int_equal(f.in.len, 100);
    assert_int_equal(next(&f), CREDIT_REQUEST);
    assert_true(nothing_came(&f));
    f.taken = 40;
    send_op(&f, CREDIT_UPDATE, 1000, 77);
    assert_int_equal(next(&f), RW);
    assert_int_equal(f.in.len, 40);
    assert_int_equal(next(&f), CREDIT_REQUEST);
    f.alloc = 0; /* a buffer that shrank */
    send_op(&f, CREDIT_UPDATE, 1000, 77);
    assert_true(nothing_came(&f));
    f.alloc = 2000;
    f.taken = 140;
    send_op(&f, CREDIT_UPDATE, 1000, 77);
    assert_int_equal(next(&f), RW);
    assert_int_equal(f.in.len, 860);
    close(fd);
    teardown(&f);
}

static void test_credit_of_the_host(void **state)
{
    struct fixture f;
    static char data[4096], got[1 << 20];
    setup(&f);
    start(&f, BUFFERS);
    int fd = open_connection(&f, 77);
    /* The host program does not read: what its socket does not take is held, up to the credit. */
    uint32_t sent = 0, forwarded;
    send_op(&f, CREDIT_REQUEST, 1000, 77);
    assert_int_equal(next(&f), CREDIT_UPDATE);
    forwarded = f.in.fwd_cnt;
    while (sent - forwarded < (256 << 10)) {
        memset(data, (int)(sent >> 12), sizeof(data));
        send_data(&f, 1000, 77, data, sizeof(data));
        sent += sizeof(data);
        while (!nothing_came(&f)) {
            assert_int_equal(next(&f), CREDIT_UPDATE);
            forwarded = f.in.fwd_cnt;
        }
        send_op(&f, CREDIT_REQUEST, 1000, 77);
        assert_int_equal(next(&f), CREDIT_UPDATE);
        forwarded = f.in.fwd_cnt;
    }
    /* It reads: all of it is there, in order, and the credit comes back. */
    size_t read = 0;
    for (int idle = 0; idle < 100 && read < sent; idle++) {
        ssize_t n = recv(fd, got + read, sizeof(got) - read, MSG_DONTWAIT);
        read += n > 0 ? (size_t)n : 0;
        driver_run(&f.d);
    }
    assert_int_equal(read, sent);
    for (uint32_t i = 0; i < sent; i += 4096)
        assert_int_equal((uint8_t)got[i], (uint8_t)(i >> 12));
    while (!nothing_came(&f))
        assert_int_equal(next(&f), CREDIT_UPDATE);
    assert_true(sent - f.in.fwd_cnt < (64 << 10));

    /* A guest that does not care about credit is cut off. */
    unsigned packets = 0;
    do {
        send_data(&f, 1000, 77, data, sizeof(data));
        assert_true(++packets < 1000);
    } while (nothing_came(&f) || next(&f) != RST);
    assert_false(failed(&f.d));
    close(fd);
    teardown(&f);
}

static void test_wild_packets(void **state)
{
    struct fixture f;
    char buf[256];
    setup(&f);
    start(&f, BUFFERS);
    int fd = open_connection(&f, 77);
    struct header header = packet(&f, RW, 1000, 77);
    header.src_cid = CID + 1; /* somebody else's name */
    send_raw(&f, &header, NULL, 0);
    assert_true(nothing_came(&f));
    header = packet(&f, RW, 1000, 77);
    header.dst_cid = 9; /* nobody */
    send_raw(&f, &header, NULL, 0);
    assert_int_equal(next(&f), RST);
    header = packet(&f, RW, 1000, 77);
    header.type = 2; /* no stream */
    send_raw(&f, &header, NULL, 0);
    assert_int_equal(next(&f), RST);
    assert_int_equal(f.in.type, 2);
    send_data(&f, 1000, 77, "there", 5); /* it still is */
    assert_string_equal(heard(&f, fd, buf), "there");
    send_op(&f, 99, 1000, 77);
    assert_int_equal(next(&f), RST);
    assert_string_equal(heard(&f, fd, buf), "");
    close(fd);

    header = packet(&f, RW, 1000, 77);
    header.len = 1; /* which is not there */
    send_raw(&f, &header, NULL, 0);
    assert_true(failed(&f.d));
    start(&f, BUFFERS);
    put_desc(&f.d, TRANSMIT, 0, TX, 43, 0, 0);
    offer(&f.d, TRANSMIT, 0);
    kick(&f.d, TRANSMIT);
    assert_true(failed(&f.d));
    start(&f, 0);
    put_desc(&f.d, RECEIVE, 0, RX(0), 44, DESC_WRITE, 0); /* room for a header only */
    offer(&f.d, RECEIVE, 0);
    send_op(&f, REQUEST, 5, 6);
    assert_true(failed(&f.d));
    teardown(&f);
}

/* Without receive buffers refusals pile up to a limit, and then the transmit queue waits. */
static void test_refusals_are_bounded(void **state)
{
    struct fixture f;
    setup(&f);
    start(&f, 0);
    unsigned sent = 0;
    while (sent < 200 && used_index(&f.d, TRANSMIT) == sent) {
        send_op(&f, RW, 5, 100 + sent);
        sent++;
    }
    assert_int_equal(sent, 65);
    for (unsigned i = 0; i < BUFFERS; i++)
        offer_buffer(&f.d, i);
    kick(&f.d, RECEIVE);
    for (unsigned i = 0; i < sent; i++) {
        assert_int_equal(next(&f), RST);
        assert_int_equal(f.in.dst_port, 100 + i);
        kick(&f.d, RECEIVE);
    }
    assert_int_equal(used_index(&f.d, TRANSMIT), sent);
    teardown(&f);
}

static void test_reset_closes(void **state)
{
    struct fixture f;
    char buf[256];
    setup(&f);
    start(&f, BUFFERS);
    int fd = open_connection(&f, 77);
    assert_int_equal(send(fd, "late", 4, 0), 4);
    start(&f, BUFFERS);
    assert_true(closed(&f, fd));
    assert_true(nothing_came(&f));
    close(fd);
    fd = open_connection(&f, 77);
    send_data(&f, 1000, 77, "anew", 4);
    assert_string_equal(heard(&f, fd, buf), "anew");
    close(fd);
    teardown(&f);
}

static void test_many(void **state)
{
    enum { MANY = 200 };
    struct fixture f;
    char buf[256];
    int fd[MANY];
    setup(&f);
    start(&f, BUFFERS);
    for (unsigned i = 0; i < MANY; i++)
        fd[i] = open_connection(&f, 1 + i);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(send(fd[i], &i, sizeof(i), 0), sizeof(i));
    bool seen[MANY] = {0};
    for (unsigned i = 0; i < MANY; i++) {
        unsigned number;
        assert_int_equal(next(&f), RW);
        memcpy(&number, f.data, sizeof(number));
        assert_int_equal(f.in.dst_port, 1 + number);
        assert_false(seen[number]);
        seen[number] = true;
        kick(&f.d, RECEIVE);
    }
    for (unsigned i = 0; i < MANY; i += 2) {
        send_op(&f, RST, 1000, 1 + i);
        assert_string_equal(heard(&f, fd[i], buf), "");
    }
    send_data(&f, 1000, 2, "x", 1);
    assert_string_equal(heard(&f, fd[1], buf), "x");
    for (unsigned i = 0; i < MANY; i++)
        close(fd[i]);
    teardown(&f);
}

static void test_bad_directories(void **state)
{
    struct driver d;
    struct pv_virtio_device *dev;
    char longest[200];
    driver_setup(&d);
    assert_int_equal(pv_vsock_create(&dev, d.loop, d.as, CID, "/nonexistent", NULL), -ENOENT);
    memset(longest, 'a', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    assert_int_equal(pv_vsock_create(&dev, d.loop, d.as, CID, longest, NULL), -ENAMETOOLONG);
    driver_teardown(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH_RINGS(test_guest_connects),
        BOTH_RINGS(test_guest_half_closes),
        BOTH_RINGS(test_nobody_listens),
        BOTH_RINGS(test_host_connects),
        SPLIT_RINGS(test_bad_greetings),
        BOTH_RINGS(test_credit_of_the_guest),
        BOTH_RINGS(test_credit_of_the_host),
        BOTH_RINGS(test_wild_packets),
        BOTH_RINGS(test_refusals_are_bounded),
        BOTH_RINGS(test_reset_closes),
        BOTH_RINGS(test_many),
        SPLIT_RINGS(test_bad_directories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
