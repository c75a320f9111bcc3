/* SPDX-License-Identifier: MIT */
/*
 * Disk images: an opened image is a stack of filters that ends in a file. Offsets and lengths are
 * bytes; requests may be of any alignment. Requests run on the image's worker threads and complete
 * on the event loop that it was opened with.
 */
#ifndef PV_BLOCK_BLOCK_H
#define PV_BLOCK_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct pv_block;
struct pv_error;
struct pv_loop;

enum pv_block_op {
    PV_BLOCK_READ,
    PV_BLOCK_WRITE,
    PV_BLOCK_FLUSH,   /* everything completed before is on stable storage */
    PV_BLOCK_DISCARD, /* contents become undefined; space may go back to the host */
    PV_BLOCK_ZERO,    /* contents become zero */
};

struct pv_block_request {
    enum pv_block_op op;
    bool unmap; /* PV_BLOCK_ZERO: space may be given back */
    uint64_t offset;
    uint64_t length; /* READ and WRITE: the sum of the iovecs */
    struct iovec *iov;
    unsigned iov_count;
    /* On the loop's thread; result is 0 or a negative errno. The request is the caller's again. */
    void (*done)(struct pv_block_request *request, int result);
    void *opaque;
    struct pv_block_request *next; /* the block layer's while the request is under way */
    int result;                    /* likewise */
};

struct pv_block_options {
    bool read_only;
    uint64_t iops, bps; /* requests and bytes a second, at most; 0: as fast as it goes */
    /*
     * There is no room on the host for what was written (true), or there is again. Meanwhile those
     * requests are neither done nor failed: they are tried again every now and then. On the loop's
     * thread; NULL: they fail with -ENOSPC.
     */
    void (*full)(void *opaque, bool full);
    void *opaque;
};

/*
 * Opens `path`, probing its format, and locks it: shared when read-only, exclusive otherwise. The
 * error for a locked image says that another VM uses it.
 */
int pv_block_open(struct pv_block **out, struct pv_loop *loop, const char *path,
                  const struct pv_block_options *options, struct pv_error **err);

/* Waits for requests under way (their done callbacks are not called) and closes. NULL is fine. */
void pv_block_close(struct pv_block *block);

/* Starts a request; always completes through done. -EINVAL or -ENOSPC ranges complete as errors. */
void pv_block_submit(struct pv_block *block, struct pv_block_request *request);

/*
 * Waits until no worker touches a request's memory any more; those that wait for room fail. Their
 * done callbacks still come, on the loop. Any thread.
 */
void pv_block_drain(struct pv_block *block);

/*
 * Keeps what the image holds now under a name inside it, goes back to what is kept, which must be
 * of the same size, or forgets it: between two requests, and it is on the medium then. -ENOTSUP for
 * formats other than qcow2. Any thread but the workers'.
 */
int pv_block_snapshot_create(struct pv_block *block, const char *name, struct pv_error **err);
int pv_block_snapshot_apply(struct pv_block *block, const char *name, struct pv_error **err);
int pv_block_snapshot_delete(struct pv_block *block, const char *name, struct pv_error **err);

/*
 * Of the first of these, everything that takes time: shortly before, so that it takes less. What
 * stands in the way is found.
 */
int pv_block_snapshot_prepare(struct pv_block *block, const char *name, struct pv_error **err);

/* Brings all that was written to the medium, between two requests. Any thread but the workers'. */
int pv_block_flush_now(struct pv_block *block, struct pv_error **err);

uint64_t pv_block_size(const struct pv_block *block);
bool pv_block_read_only(const struct pv_block *block);
bool pv_block_can_discard(const struct pv_block *block);

#endif
