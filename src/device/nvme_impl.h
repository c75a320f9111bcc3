/* SPDX-License-Identifier: MIT */
/* What the parts of the NVMe controller share. Numbers in comments are of NVM Express 1.4. */
#ifndef PV_DEVICE_NVME_IMPL_H
#define PV_DEVICE_NVME_IMPL_H

#include "block/block.h"
#include "device/nvme.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define NVME_PAGE        4096u /* the only memory page size: CAP.MPSMIN and MPSMAX are 0 */
#define NVME_SECTOR      512u
#define NVME_MAX_QUEUES  17u   /* with the admin queue */
#define NVME_QUEUE_SIZE  1024u /* entries, at most */
#define NVME_MDTS        7u    /* 128 pages a transfer */
#define NVME_MAX_PAGES   (1u << NVME_MDTS)
#define NVME_MAX_EVENTS  4u /* Asynchronous Event Requests at once */
#define NVME_MAX_RANGES  256u
#define NVME_SERIAL_SIZE 20u

/* Status codes, with their type in bits 8 to 10 (figures 126 to 128). */
enum {
    NVME_OK = 0,
    NVME_INVALID_OPCODE = 0x01,
    NVME_INVALID_FIELD = 0x02,
    NVME_DATA_TRANSFER_ERROR = 0x04,
    NVME_INTERNAL_ERROR = 0x06,
    NVME_INVALID_NAMESPACE = 0x0b,
    NVME_INVALID_PRP_OFFSET = 0x13,
    NVME_WRITE_PROTECTED = 0x20,
    NVME_LBA_OUT_OF_RANGE = 0x80,
    NVME_INVALID_CQ = 0x100,
    NVME_INVALID_QUEUE = 0x101,
    NVME_INVALID_QUEUE_SIZE = 0x102,
    NVME_TOO_MANY_EVENTS = 0x105,
    NVME_INVALID_VECTOR = 0x108,
    NVME_INVALID_LOG_PAGE = 0x109,
    NVME_QUEUE_DELETION = 0x10c,
    NVME_NOT_SAVEABLE = 0x10d,
    NVME_NOT_CHANGEABLE = 0x10e,
    NVME_WRITE_FAULT = 0x280,
    NVME_READ_ERROR = 0x281,
    NVME_DO_NOT_RETRY = 0x4000, /* in the status field of a completion, above these */
};

/* A submission queue entry (4.2). */
struct nvme_command {
    uint8_t opcode;
    uint8_t flags;
    uint16_t cid;
    uint32_t nsid;
    uint64_t reserved;
    uint64_t metadata;
    uint64_t prp1, prp2;
    uint32_t dw10, dw11, dw12, dw13, dw14, dw15;
};
_Static_assert(sizeof(struct nvme_command) == 64, "figure 104");

struct nvme_sq {
    uint64_t address;
    uint32_t size; /* entries; 0: there is no such queue */
    uint32_t head, tail;
    uint32_t cq;
};

struct nvme_cq {
    uint64_t address;
    uint32_t size;
    uint32_t head, tail;
    uint32_t vector;
    bool phase, interrupts;
    /* Commands that were taken and will be answered here: there is room for each. */
    uint32_t promised;
};

struct nvme_request;

struct pv_nvme {
    struct pv_pci_function *function;
    struct pv_address_space *as;
    struct pv_block *block;
    struct pv_event *event; /* there may be commands */
    char serial[NVME_SERIAL_SIZE + 1];
    uint64_t sectors;
    unsigned queues; /* pairs, without the admin queue */

    pthread_mutex_t lock; /* for all below */
    uint32_t cc, csts, aqa, masked;
    uint64_t asq, acq;
    struct nvme_sq sq[NVME_MAX_QUEUES];
    struct nvme_cq cq[NVME_MAX_QUEUES];
    uint32_t features[16]; /* by identifier; those that are not known stay 0 */
    uint32_t events;       /* Asynchronous Event Requests held, for good: nothing ever happens */
    bool quiet;            /* for a snapshot: takes no commands */
    struct nvme_request *requests; /* under way, stale ones too */
};

/* One I/O command under way. */
struct nvme_request {
    struct pv_block_request base;
    struct nvme_request *next, **link;
    struct pv_nvme *nvme;
    uint16_t sq, cid;
    bool stale;    /* its controller was reset since */
    bool flush;    /* when it is done */
    bool shutdown; /* nobody's: the flush of CC.SHN */
    /* Dataset Management: the ranges that are left. */
    struct nvme_range *ranges;
    unsigned range, range_count;
    struct iovec iov[];
};

/* Dataset Management's range (6.7). */
struct nvme_range {
    uint32_t attributes, sectors;
    uint64_t start;
};
_Static_assert(sizeof(struct nvme_range) == 16, "figure 373");

#define NVME_FEATURE_CACHE  0x06u
#define NVME_FEATURE_QUEUES 0x07u

/* nvme.c; under the lock */

/* Posts the end of a command that was taken from queue `sq`. */
void nvme_complete(struct pv_nvme *nvme, uint16_t sq, uint16_t cid, unsigned status,
                   uint32_t result);
/* Pieces of guest memory, by PRPs: how many, or a negative status code. `most` is in `iov`. */
int nvme_map(struct pv_nvme *nvme, const struct nvme_command *command, uint64_t length, bool write,
             struct iovec *iov, unsigned most);
/* Copies to or from the command's memory, at most two pages; a status code. */
unsigned nvme_copy_out(struct pv_nvme *nvme, const struct nvme_command *command, const void *data,
                       size_t size);
unsigned nvme_copy_in(struct pv_nvme *nvme, const struct nvme_command *command, void *data,
                      size_t size);

/* nvme_admin.c: answers it, or holds it. */
void nvme_admin(struct pv_nvme *nvme, const struct nvme_command *command);

/* nvme_io.c: begins or answers it. */
void nvme_io(struct pv_nvme *nvme, uint16_t sq, const struct nvme_command *command);
/* Flushes on behalf of CC.SHN; false when there is no memory for that. */
bool nvme_shutdown(struct pv_nvme *nvme);
/* Nothing touches guest memory for them any more; those of one queue, or with sq < 0 all. */
void nvme_forget(struct pv_nvme *nvme, int sq);

#endif
