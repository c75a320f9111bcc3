/* SPDX-License-Identifier: MIT */
/*
 * What the parts of vsock share: the device and its packets (vsock.c), connections
 * (vsock_conn.c), and how they begin on the host (vsock_host.c). All of it runs on the loop with
 * the device's lock held, except a reset, which only makes the connections of its epoch void.
 */
#ifndef PV_DEVICE_VSOCK_IMPL_H
#define PV_DEVICE_VSOCK_IMPL_H

#include "base/buffer.h"
#include "virtio/device_impl.h"

#define PV_VSOCK_HOST_CID UINT64_C(2)

/* 5.10.6. */
enum pv_vsock_op {
    PV_VSOCK_REQUEST = 1,
    PV_VSOCK_RESPONSE,
    PV_VSOCK_RST,
    PV_VSOCK_SHUTDOWN,
    PV_VSOCK_RW,
    PV_VSOCK_CREDIT_UPDATE,
    PV_VSOCK_CREDIT_REQUEST,
};
#define PV_VSOCK_STREAM 1u

/* Flags of a shutdown: what the sender will not do any more. */
#define PV_VSOCK_NO_RECEIVE 1u
#define PV_VSOCK_NO_SEND    2u
#define PV_VSOCK_NEITHER    3u

struct pv_vsock_header {
    uint64_t src_cid, dst_cid;
    uint32_t src_port, dst_port;
    uint32_t len;
    uint16_t type, op;
    uint32_t flags;
    uint32_t buf_alloc, fwd_cnt;
} __attribute__((packed));
_Static_assert(sizeof(struct pv_vsock_header) == 44, "5.10.6");

/* What a connection may have of the guest's that its host socket did not take yet. */
#define PV_VSOCK_BUFFER          (256u << 10)
#define PV_VSOCK_MAX_CONNECTIONS 4096u
#define PV_VSOCK_BUCKETS         256u
/* Refusals waiting for room; with more, the guest's packets wait too. */
#define PV_VSOCK_MAX_REFUSALS 64u
#define PV_VSOCK_LINE_MAX     32u /* "CONNECT 4294967295\n" and some */

enum pv_vsock_state {
    PV_VSOCK_GREETING, /* a host program that has not said yet where it wants to go */
    PV_VSOCK_ASKED,    /* the guest has to answer a request */
    PV_VSOCK_OPEN,
    PV_VSOCK_DEAD, /* only a reset is left to be sent */
};

struct pv_vsock_conn {
    struct pv_vsock *vsock;
    struct pv_vsock_conn *next, **link; /* a bucket, or the greeters */
    struct pv_vsock_conn *ready_next;
    bool ready; /* stands in the queue of those who have something for the guest */
    enum pv_vsock_state state;
    uint32_t epoch;
    uint32_t host_port, guest_port;

    int fd; /* -1 when dead */
    struct pv_watch *watch;
    unsigned watched; /* events */
    bool readable;    /* there may be something to read */
    bool host_eof;    /* the host program will not send any more */
    bool host_deaf;   /* nor read */
    bool hung_up;     /* both: it is gone */
    unsigned pending; /* a bit for each pv_vsock_op to be sent */

    /* Guest to host: bytes received in all, of them written to the socket, and last told so. */
    uint32_t received, forwarded, advertised;
    unsigned guest_flags; /* of the guest's shutdowns */
    struct pv_buffer output;
    size_t output_at; /* what is before this is written */

    /* Host to guest: bytes sent in all, and what the guest says of its buffer. */
    uint32_t sent, guest_alloc, guest_forwarded;
    bool asked_credit;

    char line[PV_VSOCK_LINE_MAX]; /* of a greeter */
    unsigned line_len;
};

/* A packet nobody is responsible for, to be refused. */
struct pv_vsock_refusal {
    uint32_t host_port, guest_port;
    uint16_t type;
};

struct pv_vsock {
    struct pv_virtio_device base;
    uint64_t cid;
    char *path; /* DIR/vsock.sock */
    int listener;
    struct pv_watch *listener_watch;
    struct pv_event *reaper; /* closes what a reset left */
    uint32_t epoch;          /* counts resets */
    uint32_t next_port;

    struct pv_vsock_conn *buckets[PV_VSOCK_BUCKETS];
    struct pv_vsock_conn *greeters;
    unsigned count;
    struct pv_vsock_conn *ready_first, *ready_last;

    struct pv_vsock_refusal refusals[PV_VSOCK_MAX_REFUSALS];
    unsigned refusal_first, refusal_count;
    bool transmit_waits; /* for room among the refusals */
    bool restored;       /* from a snapshot, which the guest is yet to be told */

    struct pv_virtq_chain spare; /* a receive buffer that there was nothing for */
};

/* ---- vsock.c ---- */

/* Sends the guest what there is for it, as far as it has buffers. */
void pv_vsock_pump(struct pv_vsock *vsock);

/* ---- vsock_conn.c ---- */

/* A new connection that takes over `fd`; NULL (and `fd` closed) when there are too many. */
struct pv_vsock_conn *pv_vsock_conn_new(struct pv_vsock *vsock, int fd, enum pv_vsock_state state);

/* Gives it its ports, by which pv_vsock_conn_find() finds it. */
void pv_vsock_conn_name(struct pv_vsock_conn *conn, uint32_t host_port, uint32_t guest_port);
struct pv_vsock_conn *pv_vsock_conn_find(struct pv_vsock *vsock, uint32_t host_port,
                                         uint32_t guest_port);

/* Nothing is said to the guest. */
void pv_vsock_conn_free(struct pv_vsock_conn *conn);

/* Closes the host's side and sends the guest a reset; the connection goes with that. */
void pv_vsock_conn_kill(struct pv_vsock_conn *conn);

/* A packet of the guest's; its payload is in the chain behind the header. May free it. */
void pv_vsock_conn_packet(struct pv_vsock_conn *conn, const struct pv_vsock_header *header,
                          const struct pv_virtq_chain *chain);

/*
 * Fills the next packet for the guest into a receive buffer. Returns its bytes, or 0 when there is
 * none after all. May free the connection; *more says whether there is another packet.
 */
size_t pv_vsock_conn_fill(struct pv_vsock_conn *conn, const struct pv_virtq_chain *chain,
                          bool *more);

/* After any change: queues it for the guest if it has something, and watches for what it needs. */
void pv_vsock_conn_settle(struct pv_vsock_conn *conn);

/* Frees the connections of before a reset. */
void pv_vsock_reap(struct pv_vsock *vsock);

/* Frees them all. */
void pv_vsock_conns_finish(struct pv_vsock *vsock);

/* ---- vsock_host.c ---- */

int pv_vsock_listen(struct pv_vsock *vsock, const char *directory, struct pv_error **err);
void pv_vsock_unlisten(struct pv_vsock *vsock);

/* Connects to who listens for a port on the host; a descriptor or a negative errno. */
int pv_vsock_connect(struct pv_vsock *vsock, uint32_t port);

/* A greeter's socket has something; may free it. */
void pv_vsock_greet(struct pv_vsock_conn *conn);

/* The guest accepted: tells the host program. False when that is gone. */
bool pv_vsock_welcome(struct pv_vsock_conn *conn);

#endif
