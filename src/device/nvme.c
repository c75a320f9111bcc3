/* SPDX-License-Identifier: MIT */
/*
 * Registers, queues and life of the controller; nvme_admin.c has the admin commands, nvme_io.c
 * those that transfer.
 *
 * Doorbells only write down where the guest's tail or head is and wake the loop, which takes
 * commands in the order of queues and hands transfers to the block layer. A command is taken when
 * there is room for its end in the completion queue, counting those that are under way: so an end
 * can always be posted, and a guest that does not look at its completions stops nobody but itself.
 *
 * Everything is under one lock, as vCPUs write registers while the loop works. Disabling the
 * controller waits for the block layer's workers, which never take it; the ends of those transfers
 * then find them stale.
 */
#include "device/nvme_impl.h"

#include "base/error.h"
#include "base/log.h"
#include "base/record.h"
#include "base/util.h"
#include "host/loop.h"
#include "memory/address_space.h"
#include "pci/pci.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Registers (3.1). */
enum {
    REG_CAP = 0x00,
    REG_VS = 0x08,
    REG_INTMS = 0x0c,
    REG_INTMC = 0x10,
    REG_CC = 0x14,
    REG_CSTS = 0x1c,
    REG_AQA = 0x24,
    REG_ASQ = 0x28,
    REG_ACQ = 0x30,
    REG_DOORBELLS = 0x1000,
};
#define BAR_SIZE (UINT64_C(16) << 10)
#define MSIX_BAR 4u

/* MQES, CQR, TO in units of 500 ms, CSS: the NVM command set. */
#define CAP     ((NVME_QUEUE_SIZE - 1) | 1u << 16 | UINT64_C(20) << 24 | UINT64_C(1) << 37)
#define VERSION 0x00010400u

#define CC_ENABLE             1u
#define CC_WRITABLE           0x00fffff1u
#define CC_SHUTDOWN(cc)       ((cc) >> 14 & 3)
#define CC_SQ_ENTRY(cc)       ((cc) >> 16 & 15)
#define CC_CQ_ENTRY(cc)       ((cc) >> 20 & 15)
#define CC_PAGE(cc)           ((cc) >> 7 & 15)
#define CC_SET(cc)            ((cc) >> 4 & 7)
#define CSTS_READY            1u
#define CSTS_FATAL            2u
#define CSTS_SHST             (3u << 2)
#define CSTS_SHST_BUSY        (1u << 2)
#define CSTS_SHST_DONE        (2u << 2)
#define ADMIN_QUEUE_SIZE(aqa) (((aqa)&0xfff) + 1)

/* Commands that are taken before others on the loop have a turn. */
#define BUDGET 64u

struct completion {
    uint32_t result, reserved;
    uint16_t sq_head, sq;
    uint16_t cid, status;
};
_Static_assert(sizeof(struct completion) == 16, "figure 121");

/* The guest broke a rule that there is no status code for: it has to reset the controller. */
static void fail(struct pv_nvme *nvme, const char *what, uint64_t address)
{
    if (!(nvme->csts & CSTS_FATAL))
        pv_warn(PV_LOG_BLK, "nvme: %s at %#llx is not in memory; the controller stops", what,
                (unsigned long long)address);
    nvme->csts |= CSTS_FATAL;
}

/* ---- Interrupts ---- */

/* INTx is a level: some queue has completions that the guest has not consumed. */
static void update_intx(struct pv_nvme *nvme)
{
    bool level = false;

    for (unsigned i = 0; i <= nvme->queues; i++) {
        const struct nvme_cq *cq = &nvme->cq[i];
        level |= cq->size && cq->interrupts && cq->head != cq->tail &&
                 !(cq->vector < 32 && nvme->masked >> cq->vector & 1);
    }
    pv_pci_set_intx(nvme->function, level && !pv_pci_msix_enabled(nvme->function));
}

static void interrupt(struct pv_nvme *nvme, const struct nvme_cq *cq)
{
    if (cq->interrupts && pv_pci_msix_enabled(nvme->function))
        pv_pci_msix_notify(nvme->function, cq->vector);
    else
        update_intx(nvme);
}

/* ---- Completions ---- */

void nvme_complete(struct pv_nvme *nvme, uint16_t sq, uint16_t cid, unsigned status,
                   uint32_t result)
{
    const struct nvme_sq *from = &nvme->sq[sq];
    struct nvme_cq *cq = &nvme->cq[from->cq];
    const struct completion end = {
        .result = result,
        .sq_head = (uint16_t)from->head,
        .sq = sq,
        .cid = cid,
        .status = (uint16_t)((status ? status | NVME_DO_NOT_RETRY : 0) << 1 | cq->phase),
    };
    const uint64_t at = cq->address + (uint64_t)cq->tail * sizeof(end);

    cq->promised--;
    /* The phase, which says that the entry is there, is in the last word: it is written last. */
    if (pv_as_write(nvme->as, at, &end, offsetof(struct completion, cid)) < 0) {
        fail(nvme, "a completion queue", at);
        return;
    }
    __atomic_thread_fence(__ATOMIC_RELEASE);
    pv_as_write(nvme->as, at + offsetof(struct completion, cid), &end.cid, 4);
    if (++cq->tail == cq->size) {
        cq->tail = 0;
        cq->phase = !cq->phase;
    }
    interrupt(nvme, cq);
}

/* ---- Memory of commands (4.3) ---- */

static int add_piece(struct pv_nvme *nvme, uint64_t address, uint64_t length, bool write,
                     struct iovec *iov, unsigned count)
{
    void *host = pv_as_ram(nvme->as, address, (size_t)length, write);

    if (!host)
        return -NVME_DATA_TRANSFER_ERROR;
    if (count && (char *)iov[count - 1].iov_base + iov[count - 1].iov_len == host) {
        iov[count - 1].iov_len += (size_t)length;
        return (int)count;
    }
    iov[count] = (struct iovec){host, (size_t)length};
    return (int)count + 1;
}

/* The rest is in a list, whose last entry names the next list when there is more. */
static int map_list(struct pv_nvme *nvme, uint64_t list, uint64_t left, bool write,
                    struct iovec *iov, int count)
{
    if (list % 8)
        return -NVME_INVALID_PRP_OFFSET;
    while (left && count >= 0) {
        uint64_t entry;
        if (pv_as_read(nvme->as, list, &entry, sizeof(entry)) < 0)
            return -NVME_DATA_TRANSFER_ERROR;
        if (entry % NVME_PAGE)
            return -NVME_INVALID_PRP_OFFSET;
        if (list % NVME_PAGE == NVME_PAGE - 8 && left > NVME_PAGE) {
            list = entry;
            continue;
        }
        const uint64_t part = PV_MIN(left, (uint64_t)NVME_PAGE);
        count = add_piece(nvme, entry, part, write, iov, (unsigned)count);
        left -= part;
        list += 8;
    }
    return count;
}

int nvme_map(struct pv_nvme *nvme, const struct nvme_command *command, uint64_t length, bool write,
             struct iovec *iov, unsigned most)
{
    const uint64_t offset = command->prp1 % NVME_PAGE;
    const uint64_t first = PV_MIN(length, NVME_PAGE - offset), left = length - first;

    if (command->flags & 0xc0) /* scatter-gather lists, which Identify does not offer */
        return -NVME_INVALID_FIELD;
    if (!length || (offset + length + NVME_PAGE - 1) / NVME_PAGE > most)
        return -NVME_INVALID_FIELD;
    if (command->prp1 % 4)
        return -NVME_INVALID_PRP_OFFSET;
    int count = add_piece(nvme, command->prp1, first, write, iov, 0);
    if (count < 0 || !left)
        return count;
    if (left > NVME_PAGE)
        return map_list(nvme, command->prp2, left, write, iov, count);
    if (command->prp2 % NVME_PAGE)
        return -NVME_INVALID_PRP_OFFSET;
    return add_piece(nvme, command->prp2, left, write, iov, (unsigned)count);
}

static unsigned copy(struct pv_nvme *nvme, const struct nvme_command *command, char *data,
                     size_t size, bool out)
{
    struct iovec iov[2];
    int count = nvme_map(nvme, command, size, out, iov, PV_ARRAY_SIZE(iov));

    for (int i = 0; i < count; i++) {
        if (out)
            memcpy(iov[i].iov_base, data, iov[i].iov_len);
        else
            memcpy(data, iov[i].iov_base, iov[i].iov_len);
        data += iov[i].iov_len;
    }
    return count < 0 ? (unsigned)-count : NVME_OK;
}

unsigned nvme_copy_out(struct pv_nvme *nvme, const struct nvme_command *command, const void *data,
                       size_t size)
{
    return copy(nvme, command, (char *)data, size, true);
}

unsigned nvme_copy_in(struct pv_nvme *nvme, const struct nvme_command *command, void *data,
                      size_t size)
{
    return copy(nvme, command, data, size, false);
}

/* ---- Commands ---- */

static bool works(const struct pv_nvme *nvme)
{
    return (nvme->csts & (CSTS_READY | CSTS_FATAL | CSTS_SHST)) == CSTS_READY && !nvme->quiet &&
           pv_pci_is_master(nvme->function);
}

/* Whether the queue has a command, and there is room for its end. */
static bool has_command(const struct pv_nvme *nvme, const struct nvme_sq *sq)
{
    const struct nvme_cq *cq = &nvme->cq[sq->cq];
    const uint32_t used = cq->size ? (cq->tail + cq->size - cq->head) % cq->size : 0;

    return sq->size && sq->head != sq->tail && used + cq->promised + 1 < cq->size;
}

static void take_command(struct pv_nvme *nvme, uint16_t index)
{
    struct nvme_sq *sq = &nvme->sq[index];
    const uint64_t at = sq->address + (uint64_t)sq->head * sizeof(struct nvme_command);
    struct nvme_command command;

    if (pv_as_read(nvme->as, at, &command, sizeof(command)) < 0) {
        fail(nvme, "a submission queue", at);
        return;
    }
    sq->head = (sq->head + 1) % sq->size;
    nvme->cq[sq->cq].promised++;
    if (index == 0)
        nvme_admin(nvme, &command);
    else
        nvme_io(nvme, index, &command);
}

/* On the loop's thread. */
static void work(void *opaque)
{
    struct pv_nvme *nvme = opaque;
    unsigned budget = BUDGET;

    pthread_mutex_lock(&nvme->lock);
    for (bool found = true; found && budget;) {
        found = false;
        for (uint16_t i = 0; i <= nvme->queues && budget && works(nvme); i++) {
            if (!has_command(nvme, &nvme->sq[i]))
                continue;
            take_command(nvme, i);
            found = true;
            budget--;
        }
    }
    pthread_mutex_unlock(&nvme->lock);
    if (!budget)
        pv_event_signal(nvme->event);
}

/* ---- Registers ---- */

/* Queues go, and what is under way for them; features are as at power-on. */
static void stop(struct pv_nvme *nvme)
{
    nvme_forget(nvme, -1);
    memset(nvme->sq, 0, sizeof(nvme->sq));
    memset(nvme->cq, 0, sizeof(nvme->cq));
    memset(nvme->features, 0, sizeof(nvme->features));
    nvme->features[NVME_FEATURE_CACHE] = 1;
    nvme->events = 0;
    nvme->masked = 0;
    nvme->csts = 0;
    update_intx(nvme);
}

static void start(struct pv_nvme *nvme)
{
    const uint32_t cc = nvme->cc;

    /* Entries of 64 and 16 bytes; 0 is for who makes no queues. */
    if ((CC_SQ_ENTRY(cc) && CC_SQ_ENTRY(cc) != 6) || (CC_CQ_ENTRY(cc) && CC_CQ_ENTRY(cc) != 4) ||
        CC_PAGE(cc) || CC_SET(cc) || nvme->asq % NVME_PAGE || nvme->acq % NVME_PAGE) {
        pv_warn(PV_LOG_BLK, "nvme: it cannot be enabled with CC %#x, queues at %#llx and %#llx", cc,
                (unsigned long long)nvme->asq, (unsigned long long)nvme->acq);
        nvme->csts = CSTS_FATAL;
        return;
    }
    nvme->sq[0] = (struct nvme_sq){.address = nvme->asq, .size = ADMIN_QUEUE_SIZE(nvme->aqa)};
    nvme->cq[0] = (struct nvme_cq){.address = nvme->acq,
                                   .size = ADMIN_QUEUE_SIZE(nvme->aqa >> 16),
                                   .phase = true,
                                   .interrupts = true};
    nvme->csts = CSTS_READY;
}

static void write_cc(struct pv_nvme *nvme, uint32_t value)
{
    const uint32_t before = nvme->cc;

    nvme->cc = value & CC_WRITABLE;
    if ((before ^ nvme->cc) & CC_ENABLE) {
        if (nvme->cc & CC_ENABLE)
            start(nvme);
        else
            stop(nvme);
    }
    if (CC_SHUTDOWN(nvme->cc) && !CC_SHUTDOWN(before) && !(nvme->csts & CSTS_SHST))
        nvme->csts |= nvme_shutdown(nvme) ? CSTS_SHST_BUSY : CSTS_SHST_DONE;
    else if (!CC_SHUTDOWN(nvme->cc))
        nvme->csts &= ~CSTS_SHST;
}

static void ring(struct pv_nvme *nvme, uint64_t offset, uint32_t value)
{
    const uint64_t index = (offset - REG_DOORBELLS) / 8;
    const bool completions = offset % 8;

    if (!(nvme->csts & CSTS_READY) || index > nvme->queues)
        return;
    struct nvme_sq *sq = &nvme->sq[index];
    struct nvme_cq *cq = &nvme->cq[index];
    if (value >= (completions ? cq->size : sq->size)) {
        pv_debug(PV_LOG_BLK, "nvme: doorbell %#llx is written with %u", (unsigned long long)offset,
                 value);
        return;
    }
    if (completions) {
        cq->head = value;
        update_intx(nvme);
    } else {
        sq->tail = value;
    }
    pv_event_signal(nvme->event);
}

/* One aligned word. */
static uint32_t load(const struct pv_nvme *nvme, uint64_t offset)
{
    switch (offset) {
    case REG_CAP: return (uint32_t)CAP;
    case REG_CAP + 4: return (uint32_t)(CAP >> 32);
    case REG_VS: return VERSION;
    case REG_INTMS:
    case REG_INTMC: return nvme->masked;
    case REG_CC: return nvme->cc;
    case REG_CSTS: return nvme->csts;
    case REG_AQA: return nvme->aqa;
    case REG_ASQ: return (uint32_t)nvme->asq;
    case REG_ASQ + 4: return (uint32_t)(nvme->asq >> 32);
    case REG_ACQ: return (uint32_t)nvme->acq;
    case REG_ACQ + 4: return (uint32_t)(nvme->acq >> 32);
    default: return 0;
    }
}

static void store_half(uint64_t *reg, bool high, uint32_t value)
{
    *reg = high ? (*reg & UINT32_MAX) | (uint64_t)value << 32 : (*reg >> 32 << 32) | value;
}

static void store(struct pv_nvme *nvme, uint64_t offset, uint32_t value)
{
    switch (offset) {
    case REG_INTMS: nvme->masked |= value; break;
    case REG_INTMC: nvme->masked &= ~value; break;
    case REG_CC: write_cc(nvme, value); return;
    case REG_AQA: nvme->aqa = value & 0x0fff0fff; return;
    case REG_ASQ:
    case REG_ASQ + 4: store_half(&nvme->asq, offset != REG_ASQ, value); return;
    case REG_ACQ:
    case REG_ACQ + 4: store_half(&nvme->acq, offset != REG_ACQ, value); return;
    default:
        if (offset >= REG_DOORBELLS)
            ring(nvme, offset, value);
        return;
    }
    update_intx(nvme);
}

static uint64_t bar_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pv_nvme *nvme = opaque;

    pthread_mutex_lock(&nvme->lock);
    uint64_t value = load(nvme, offset & ~UINT64_C(3)) >> offset % 4 * 8;
    if (size == 8 && offset % 8 == 0)
        value |= (uint64_t)load(nvme, offset + 4) << 32;
    pthread_mutex_unlock(&nvme->lock);
    return size < 8 ? value & ((UINT64_C(1) << size * 8) - 1) : value;
}

/* Narrower writes and unaligned ones are not defined (3.1). */
static void bar_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct pv_nvme *nvme = opaque;

    if (size < 4 || offset % size)
        return;
    pthread_mutex_lock(&nvme->lock);
    store(nvme, offset, (uint32_t)value);
    if (size == 8)
        store(nvme, offset + 4, (uint32_t)(value >> 32));
    pthread_mutex_unlock(&nvme->lock);
}

/* ---- Life ---- */

/* Bus mastering came, perhaps, and commands may be waiting for it; or MSI-X was switched. */
static void config_written(void *opaque, unsigned offset, unsigned size)
{
    struct pv_nvme *nvme = opaque;

    (void)offset;
    (void)size;
    pthread_mutex_lock(&nvme->lock);
    update_intx(nvme);
    pthread_mutex_unlock(&nvme->lock);
    pv_event_signal(nvme->event);
}

static void reset(void *opaque)
{
    struct pv_nvme *nvme = opaque;

    pthread_mutex_lock(&nvme->lock);
    nvme->cc = nvme->aqa = 0;
    nvme->asq = nvme->acq = 0;
    stop(nvme);
    pthread_mutex_unlock(&nvme->lock);
}

static bool quiet(void *opaque, bool quiet)
{
    struct pv_nvme *nvme = opaque;

    pthread_mutex_lock(&nvme->lock);
    nvme->quiet = quiet;
    const bool idle = !nvme->requests;
    pthread_mutex_unlock(&nvme->lock);
    if (!quiet)
        pv_event_signal(nvme->event);
    return idle;
}

static void record_queues(struct pv_nvme *nvme, struct pv_record *record)
{
    for (unsigned i = 0; i <= nvme->queues; i++) {
        struct nvme_sq *sq = &nvme->sq[i];
        struct nvme_cq *cq = &nvme->cq[i];
        pv_record_u64(record, &sq->address);
        pv_record_limited(record, &sq->size, PV_MAX(NVME_QUEUE_SIZE, 4096u));
        pv_record_limited(record, &sq->head, sq->size ? sq->size - 1 : 0);
        pv_record_limited(record, &sq->tail, sq->size ? sq->size - 1 : 0);
        pv_record_limited(record, &sq->cq, nvme->queues);
        pv_record_u64(record, &cq->address);
        pv_record_limited(record, &cq->size, PV_MAX(NVME_QUEUE_SIZE, 4096u));
        pv_record_limited(record, &cq->head, cq->size ? cq->size - 1 : 0);
        pv_record_limited(record, &cq->tail, cq->size ? cq->size - 1 : 0);
        pv_record_limited(record, &cq->vector, nvme->queues);
        pv_record_bool(record, &cq->phase);
        pv_record_bool(record, &cq->interrupts);
    }
}

static void record(void *opaque, struct pv_record *record)
{
    struct pv_nvme *nvme = opaque;

    pthread_mutex_lock(&nvme->lock);
    pv_record_begin(record, 1, "nvme");
    pv_record_same(record, nvme->sectors, "the disk's size in sectors");
    pv_record_same(record, nvme->queues, "how many queues the disk has");
    pv_record_u32(record, &nvme->cc);
    pv_record_u32(record, &nvme->csts);
    pv_record_u32(record, &nvme->aqa);
    pv_record_u32(record, &nvme->masked);
    pv_record_u64(record, &nvme->asq);
    pv_record_u64(record, &nvme->acq);
    record_queues(nvme, record);
    for (unsigned i = 0; i < PV_ARRAY_SIZE(nvme->features); i++)
        pv_record_u32(record, &nvme->features[i]);
    pv_record_limited(record, &nvme->events, NVME_MAX_EVENTS);
    for (unsigned i = 0; pv_record_loading(record) && i <= nvme->queues; i++)
        if (nvme->sq[i].size && !nvme->cq[nvme->sq[i].cq].size)
            pv_record_fail(record, EINVAL, "queue %u has no completion queue", i);
    pv_record_end(record);
    pthread_mutex_unlock(&nvme->lock);
}

static void destroy(void *opaque)
{
    struct pv_nvme *nvme = opaque;

    pv_block_close(nvme->block); /* no completion comes any more */
    pthread_mutex_lock(&nvme->lock);
    for (struct nvme_request *next, *r = nvme->requests; r; r = next) {
        next = r->next;
        free(r->ranges);
        free(r);
    }
    pthread_mutex_unlock(&nvme->lock);
    pv_event_destroy(nvme->event);
    pthread_mutex_destroy(&nvme->lock);
    free(nvme);
}

static const struct pv_pci_function_ops ops = {
    .name = "nvme",
    .config_written = config_written,
    .reset = reset,
    .quiet = quiet,
    .record = record,
    .destroy = destroy,
};

static int plug(struct pv_nvme *nvme, struct pv_pci_bus *bus, struct pv_error **err)
{
    static const struct pv_mmio_ops bar = {.read = bar_read, .write = bar_write};
    const struct pv_pci_function_config config = {
        .vendor = 0x1b36,
        .device = 0x0010,
        .subsystem_vendor = 0x1af4,
        .subsystem = 0x1100,
        .class_code = 0x010802, /* NVM Express I/O controller */
        .msix_vectors = nvme->queues + 1,
        .msix_bar = MSIX_BAR,
        .intx = true,
    };
    int ret = pv_pci_function_create(&nvme->function, bus, -1, &config, &ops, nvme, err);

    return ret < 0 ? ret
                   : pv_pci_add_bar(nvme->function, 0, BAR_SIZE, true, false, &bar, nvme, err);
}

int pv_nvme_create(struct pv_pci_bus *bus, struct pv_loop *loop, struct pv_address_space *as,
                   struct pv_block *block, const struct pv_nvme_options *options,
                   struct pv_error **err)
{
    const unsigned queues = options && options->queues ? options->queues : 1;
    struct pv_nvme *nvme = calloc(1, sizeof(*nvme));

    if (!nvme)
        return pv_error_set(err, ENOMEM, "out of memory for an NVMe disk");
    pthread_mutex_init(&nvme->lock, NULL);
    nvme->as = as;
    nvme->queues = PV_MIN(queues, NVME_MAX_QUEUES - 1);
    nvme->sectors = pv_block_size(block) / NVME_SECTOR;
    nvme->features[NVME_FEATURE_CACHE] = 1;
    nvme->block = block;
    if (options && options->serial)
        memcpy(nvme->serial, options->serial, strnlen(options->serial, NVME_SERIAL_SIZE));
    int ret = pv_event_create(&nvme->event, loop, work, nvme, err);
    if (ret >= 0)
        ret = plug(nvme, bus, err);
    if (ret >= 0)
        return 0;
    nvme->block = NULL; /* it stays the caller's */
    if (nvme->function)
        pv_pci_function_destroy(nvme->function);
    else
        destroy(nvme);
    return ret;
}
