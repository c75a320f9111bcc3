/* SPDX-License-Identifier: MIT */
/*
 * The adapter: takes commands from request queues, has them executed (scsi_cmd.c), does what they
 * ask of images, and answers. A request is a header with the command block, then data for the
 * device; the answer is a header with sense, then data for the driver, each framed as the driver
 * likes.
 *
 * As with blk, a reset waits until no worker touches guest memory; completions that are still on
 * their way by then belong to stale requests and only free them. Task management that aborts does
 * the same for the requests of one target, and answers them as aborted itself.
 */
#include "device/scsi.h"

#include "base/error.h"
#include "base/record.h"
#include "base/util.h"
#include "device/scsi_impl.h"
#include "virtio/device_impl.h"

#include <errno.h>
#include <string.h>

#define QUEUE_SIZE 128u
#define SEG_MAX    (QUEUE_SIZE - 2)
enum { CONTROL_QUEUE, EVENT_QUEUE, REQUEST_QUEUE };

#define SENSE_DEFAULT 96u
#define CDB_DEFAULT   32u
#define SENSE_MAX     252u
#define SENSE_LEN     18u /* what we have to say */

/* Responses, 5.6.6.1 and 5.6.6.2. */
enum {
    S_OK = 0,
    S_OVERRUN = 1,
    S_ABORTED = 2,
    S_BAD_TARGET = 3,
    S_RESET = 4,
    S_FAILURE = 9,
    S_FUNCTION_SUCCEEDED = 10,
    S_FUNCTION_REJECTED = 11,
    S_INCORRECT_LUN = 12,
};

/* Control requests, 5.6.6.2. */
enum { T_TMF, T_AN_QUERY, T_AN_SUBSCRIBE };
enum {
    TMF_ABORT_TASK,
    TMF_ABORT_TASK_SET,
    TMF_CLEAR_ACA,
    TMF_CLEAR_TASK_SET,
    TMF_NEXUS_RESET,
    TMF_UNIT_RESET,
    TMF_QUERY_TASK,
    TMF_QUERY_TASK_SET,
};

/* struct virtio_scsi_config, 5.6.4. */
struct scsi_config {
    uint32_t num_queues;
    uint32_t seg_max;
    uint32_t max_sectors;
    uint32_t cmd_per_lun;
    uint32_t event_info_size;
    uint32_t sense_size;
    uint32_t cdb_size;
    uint16_t max_channel;
    uint16_t max_target;
    uint32_t max_lun;
};
_Static_assert(sizeof(struct scsi_config) == 36, "5.6.4");

/* The command block follows. */
struct command_header {
    uint8_t lun[8];
    uint64_t id;
    uint8_t task_attribute, priority, crn;
} __attribute__((packed));

/* Sense follows. */
struct response_header {
    uint32_t sense_len;
    uint32_t residual;
    uint16_t status_qualifier;
    uint8_t status;
    uint8_t response;
};

struct control_request {
    uint32_t type, subtype;
    uint8_t lun[8];
    uint64_t id;
};

struct scsi {
    struct pv_virtio_device base;
    struct scsi_config config;
    struct request *requests; /* under way, stale ones too */
    unsigned count;
    struct pv_scsi_unit units[];
};

struct request {
    struct pv_block_request base;
    struct request *next, **link;
    struct scsi *scsi;
    struct pv_scsi_unit *unit;
    struct pv_virtq *queue;
    struct pv_virtq_chain chain;
    uint64_t id;
    uint32_t residual;
    bool stale;
    bool flush;       /* when done */
    uint8_t *pattern; /* owned */
    struct iovec iov[];
};

static struct scsi *of(struct pv_virtio_device *dev)
{
    return (struct scsi *)dev;
}

static void config_read(struct pv_virtio_device *dev, size_t offset, void *buf, size_t size)
{
    memcpy(buf, (const char *)&of(dev)->config + offset, size);
}

/* Drivers may choose the sizes of sense and of command blocks. */
static void config_write(struct pv_virtio_device *dev, size_t offset, const void *buf, size_t size)
{
    struct scsi_config *config = &of(dev)->config, wanted = *config;
    memcpy((char *)&wanted + offset, buf, size);
    if (wanted.sense_size > SENSE_MAX || wanted.cdb_size > PV_SCSI_CDB_MAX || !wanted.cdb_size) {
        pv_virtio_fail(dev, "sense of %u bytes and commands of %u, at most %u and %u",
                       wanted.sense_size, wanted.cdb_size, SENSE_MAX, PV_SCSI_CDB_MAX);
        return;
    }
    config->sense_size = wanted.sense_size;
    config->cdb_size = wanted.cdb_size;
}

static size_t command_bytes(const struct scsi *scsi)
{
    return sizeof(struct command_header) + scsi->config.cdb_size;
}

static size_t response_bytes(const struct scsi *scsi)
{
    return sizeof(struct response_header) + scsi->config.sense_size;
}

/* ---- Answers ---- */

static void respond(struct scsi *scsi, struct pv_virtq *queue, struct pv_virtq_chain *chain,
                    unsigned response, unsigned sense, size_t moved, uint32_t residual)
{
    struct response_header header = {.residual = residual, .response = (uint8_t)response};
    if (sense) {
        uint8_t data[SENSE_LEN] = {0x70, 0, (uint8_t)(sense >> 16)};
        data[7] = SENSE_LEN - 8;
        data[12] = (uint8_t)(sense >> 8);
        data[13] = (uint8_t)sense;
        header.status = PV_SCSI_CHECK_CONDITION;
        header.sense_len = PV_MIN(SENSE_LEN, scsi->config.sense_size);
        pv_virtq_write(chain, sizeof(header), data, header.sense_len);
    }
    pv_virtq_write(chain, 0, &header, sizeof(header));
    pv_virtq_push(queue, chain, response_bytes(scsi) + moved);
}

static void request_free(struct request *request)
{
    *request->link = request->next;
    if (request->next)
        request->next->link = request->link;
    pv_virtq_chain_finish(&request->chain);
    free(request->pattern);
    free(request);
}

static unsigned sense_of(enum pv_block_op op, int result)
{
    if (!result)
        return PV_SENSE_NONE;
    if (result == -ENOSPC)
        return PV_SENSE_NO_SPACE;
    if (result == -EOPNOTSUPP)
        return PV_SENSE_BAD_COMMAND;
    return op == PV_BLOCK_READ ? PV_SENSE_READ_ERROR : PV_SENSE_WRITE_ERROR;
}

static void request_done(struct pv_block_request *base, int result)
{
    struct request *request = (struct request *)base;
    struct scsi *scsi = request->scsi;
    pv_virtio_lock(&scsi->base);
    if (!request->stale && !result && request->flush) {
        request->flush = false;
        base->op = PV_BLOCK_FLUSH;
        pv_block_submit(request->unit->block, base);
    } else {
        if (!request->stale) {
            size_t moved = base->op == PV_BLOCK_READ && !result ? base->length : 0;
            respond(scsi, request->queue, &request->chain, S_OK, sense_of(base->op, result), moved,
                    request->residual);
            pv_virtq_notify(request->queue);
        }
        request_free(request);
    }
    pv_virtio_unlock(&scsi->base);
}

/* ---- Commands ---- */

struct command {
    struct pv_scsi_unit *unit;
    struct pv_virtq *queue;
    struct pv_virtq_chain *chain;
    uint64_t id;
    size_t out, in; /* bytes of data in either direction */
};

/* The iovecs of a transfer, or of the pattern over and over. */
static bool set_iov(struct scsi *scsi, const struct command *command,
                    const struct pv_scsi_result *result, struct request *request)
{
    struct pv_virtq_chain *chain = command->chain;
    struct pv_block_request *base = &request->base;
    base->iov = request->iov;
    if (result->pattern) {
        size_t block = command->unit->block_size;
        request->pattern = malloc(result->length);
        if (!request->pattern)
            return false;
        pv_virtq_read(chain, command_bytes(scsi), request->pattern, block);
        for (size_t at = block; at < result->length; at += block)
            memcpy(request->pattern + at, request->pattern, block);
        request->iov[0] = (struct iovec){request->pattern, result->length};
        base->iov_count = 1;
    } else if (result->op == PV_BLOCK_WRITE) {
        base->iov_count = pv_virtq_slice(request->iov, chain->out_count, chain->iov,
                                         chain->out_count, command_bytes(scsi), base->length);
    } else if (result->op == PV_BLOCK_READ) {
        base->iov_count =
            pv_virtq_slice(request->iov, chain->in_count, chain->iov + chain->out_count,
                           chain->in_count, response_bytes(scsi), base->length);
    }
    return true;
}

/* Takes over the chain. */
static void submit(struct scsi *scsi, const struct command *command,
                   const struct pv_scsi_result *result)
{
    struct pv_virtq_chain *chain = command->chain;
    size_t data = result->op == PV_BLOCK_READ ? command->in : command->out;
    bool moves = !result->pattern && (result->op == PV_BLOCK_READ || result->op == PV_BLOCK_WRITE);
    if (moves && result->length > data) {
        respond(scsi, command->queue, chain, S_OVERRUN, 0, 0, 0);
        return;
    }
    struct request *request = calloc(
        1, sizeof(*request) + (chain->out_count + chain->in_count + 1) * sizeof(struct iovec));
    if (!request) {
        respond(scsi, command->queue, chain, S_FAILURE, 0, 0, 0);
        return;
    }
    request->base = (struct pv_block_request){
        .op = result->op,
        .unmap = result->unmap,
        .offset = result->offset,
        .length = result->length,
        .done = request_done,
    };
    if (!set_iov(scsi, command, result, request)) {
        free(request);
        respond(scsi, command->queue, chain, S_FAILURE, 0, 0, 0);
        return;
    }
    request->scsi = scsi;
    request->unit = command->unit;
    request->queue = command->queue;
    request->id = command->id;
    request->residual = moves ? (uint32_t)PV_MIN(data - result->length, (size_t)UINT32_MAX) : 0;
    request->flush = result->flush;
    request->chain = *chain;
    request->next = scsi->requests;
    request->link = &scsi->requests;
    if (request->next)
        request->next->link = &request->next;
    scsi->requests = request;
    pv_block_submit(command->unit->block, &request->base);
}

/* 5.6.6.1: byte 0 is 1, byte 1 the target, then a logical unit in flat or peripheral form. */
static struct pv_scsi_unit *find_unit(struct scsi *scsi, const uint8_t lun[8], bool *lun_0)
{
    static const uint8_t well_known[8] = {0xc1, 0x01}; /* for REPORT LUNS */
    if (!memcmp(lun, well_known, sizeof(well_known))) {
        *lun_0 = false;
        return &scsi->units[0];
    }
    *lun_0 = ((lun[2] & 0xbf) | lun[3]) == 0;
    return lun[0] == 1 && lun[1] < scsi->count ? &scsi->units[lun[1]] : NULL;
}

/* Takes over the chain. */
static void handle(struct scsi *scsi, struct pv_virtq *queue, struct pv_virtq_chain *chain)
{
    struct command_header header;
    uint8_t cdb[PV_SCSI_CDB_MAX] = {0}, param[PV_SCSI_PARAM_MAX];
    size_t head = command_bytes(scsi), answer = response_bytes(scsi);
    if (chain->out_bytes < head || chain->in_bytes < answer) {
        pv_virtio_fail(&scsi->base, "a request of %zu and %zu bytes, want at least %zu and %zu",
                       chain->out_bytes, chain->in_bytes, head, answer);
        pv_virtq_chain_finish(chain);
        return;
    }
    pv_virtq_read(chain, 0, &header, sizeof(header));
    pv_virtq_read(chain, sizeof(header), cdb, scsi->config.cdb_size);

    bool lun;
    struct command command = {
        .unit = find_unit(scsi, header.lun, &lun),
        .queue = queue,
        .chain = chain,
        .id = header.id,
        .out = chain->out_bytes - head,
        .in = chain->in_bytes - answer,
    };
    if (!command.unit) {
        respond(scsi, queue, chain, S_BAD_TARGET, 0, 0, 0);
        return;
    }
    struct pv_scsi_result result;
    size_t len = pv_scsi_has_parameters(cdb) ? PV_MIN(command.out, sizeof(param)) : 0;
    pv_virtq_read(chain, head, param, len);
    pv_scsi_execute(command.unit, lun, cdb, param, len, &result);
    if (result.block && !result.sense) {
        submit(scsi, &command, &result);
        return;
    }
    size_t moved = result.sense ? 0 : PV_MIN(result.len, command.in);
    size_t expected = command.in ? command.in : command.out;
    pv_virtq_write(chain, answer, result.data, moved);
    respond(scsi, queue, chain, S_OK, result.sense, moved,
            (uint32_t)PV_MIN(expected - (command.in ? moved : command.out), (size_t)UINT32_MAX));
}

/* ---- Task management ---- */

/* Ends the requests of a unit (or all), those with an ID or any, as aborted or reset. */
static void end_requests(struct scsi *scsi, const struct pv_scsi_unit *unit, const uint64_t *id,
                         unsigned response)
{
    for (unsigned i = 0; i < scsi->count; i++)
        if (!unit || unit == &scsi->units[i])
            pv_block_drain(scsi->units[i].block);
    for (struct request *request = scsi->requests; request; request = request->next) {
        if (request->stale || (unit && request->unit != unit) || (id && request->id != *id))
            continue;
        request->stale = true;
        respond(scsi, request->queue, &request->chain, response, 0, 0, 0);
        pv_virtq_notify(request->queue);
    }
}

static bool has_request(const struct scsi *scsi, const struct pv_scsi_unit *unit,
                        const uint64_t *id)
{
    for (const struct request *request = scsi->requests; request; request = request->next)
        if (!request->stale && request->unit == unit && (!id || request->id == *id))
            return true;
    return false;
}

static unsigned manage(struct scsi *scsi, const struct control_request *control)
{
    bool lun;
    const struct pv_scsi_unit *unit = find_unit(scsi, control->lun, &lun);
    if (!unit)
        return S_BAD_TARGET;
    if (!lun && control->subtype != TMF_NEXUS_RESET)
        return S_INCORRECT_LUN;
    switch (control->subtype) {
    case TMF_ABORT_TASK: end_requests(scsi, unit, &control->id, S_ABORTED); break;
    case TMF_ABORT_TASK_SET:
    case TMF_CLEAR_TASK_SET: end_requests(scsi, unit, NULL, S_ABORTED); break;
    case TMF_NEXUS_RESET:
    case TMF_UNIT_RESET: end_requests(scsi, unit, NULL, S_RESET); break;
    case TMF_QUERY_TASK: return has_request(scsi, unit, &control->id) ? S_FUNCTION_SUCCEEDED : S_OK;
    case TMF_QUERY_TASK_SET: return has_request(scsi, unit, NULL) ? S_FUNCTION_SUCCEEDED : S_OK;
    case TMF_CLEAR_ACA: break;
    default: return S_FUNCTION_REJECTED;
    }
    return S_OK; /* the function is complete */
}

/* Takes over the chain. */
static void control(struct scsi *scsi, struct pv_virtq *queue, struct pv_virtq_chain *chain)
{
    struct control_request request = {0};
    size_t got = pv_virtq_read(chain, 0, &request, sizeof(request));
    if (got >= sizeof(request) && request.type == T_TMF && chain->in_bytes) {
        uint8_t response = (uint8_t)manage(scsi, &request);
        pv_virtq_push(queue, chain, pv_virtq_write(chain, 0, &response, sizeof(response)));
    } else if (got >= sizeof(uint32_t) && request.type != T_TMF && chain->in_bytes >= 5) {
        /* Asynchronous events: there are none. */
        const uint8_t answer[5] = {0, 0, 0, 0, request.type <= T_AN_SUBSCRIBE ? S_OK : S_FAILURE};
        pv_virtq_push(queue, chain, pv_virtq_write(chain, 0, answer, sizeof(answer)));
    } else {
        pv_virtio_fail(&scsi->base, "a control request of %zu and %zu bytes", chain->out_bytes,
                       chain->in_bytes);
        pv_virtq_chain_finish(chain);
    }
}

static void queue_ready(struct pv_virtio_device *dev, unsigned index)
{
    struct pv_virtq *queue = pv_virtio_queue(dev, index);
    struct pv_virtq_chain chain;
    unsigned budget = PV_VIRTQ_BUDGET;
    if (index == EVENT_QUEUE)
        return; /* its buffers wait for events that do not come */
    while (budget && pv_virtq_pop(queue, &chain) == 1) {
        if (index == CONTROL_QUEUE)
            control(of(dev), queue, &chain);
        else
            handle(of(dev), queue, &chain);
        budget--;
    }
    pv_virtq_notify(queue);
    if (!budget)
        pv_virtq_reschedule(queue);
}

/* ---- Life ---- */

/* Forgets the requests of one queue, or of all. */
static void forget(struct scsi *scsi, const struct pv_virtq *queue)
{
    for (unsigned i = 0; i < scsi->count; i++)
        pv_block_drain(scsi->units[i].block);
    for (struct request *request = scsi->requests; request; request = request->next) {
        if (queue && request->queue != queue)
            continue;
        request->stale = true;
        pv_virtq_chain_finish(&request->chain);
    }
}

static void queue_reset(struct pv_virtio_device *dev, unsigned index)
{
    forget(of(dev), pv_virtio_queue(dev, index));
}

static void reset(struct pv_virtio_device *dev)
{
    struct scsi *scsi = of(dev);
    forget(scsi, NULL);
    scsi->config.sense_size = SENSE_DEFAULT;
    scsi->config.cdb_size = CDB_DEFAULT;
    for (unsigned i = 0; i < scsi->count; i++)
        scsi->units[i].locked = scsi->units[i].ejected = false;
}

static void destroy(struct pv_virtio_device *dev)
{
    struct scsi *scsi = of(dev);
    for (unsigned i = 0; i < scsi->count; i++)
        pv_block_close(scsi->units[i].block); /* no completion comes any more */
    while (scsi->requests)
        request_free(scsi->requests);
    free(scsi);
}

static bool busy(struct pv_virtio_device *dev)
{
    return of(dev)->requests;
}

static void record(struct pv_virtio_device *dev, struct pv_record *record)
{
    struct scsi *scsi = of(dev);

    pv_record_limited(record, &scsi->config.sense_size, SENSE_MAX);
    pv_record_limited(record, &scsi->config.cdb_size, PV_SCSI_CDB_MAX);
    if (!scsi->config.cdb_size)
        pv_record_fail(record, EINVAL, "commands of no bytes");
    pv_record_same(record, scsi->count, "the number of disks and drives");
    for (unsigned i = 0; i < scsi->count; i++) {
        struct pv_scsi_unit *unit = &scsi->units[i];
        pv_record_same(record, unit->blocks, "a disk's size in blocks");
        pv_record_same(record, unit->cdrom, "whether it is a drive");
        pv_record_bool(record, &unit->locked);
        pv_record_bool(record, &unit->ejected);
    }
}

static const struct pv_virtio_device_ops scsi_ops = {
    .name = "scsi",
    .id = PV_VIRTIO_ID_SCSI,
    .config_size = sizeof(struct scsi_config),
    .config_read = config_read,
    .config_write = config_write,
    .reset = reset,
    .queue_reset = queue_reset,
    .queue_ready = queue_ready,
    .busy = busy,
    .record = record,
    .destroy = destroy,
};

static int init_unit(struct pv_scsi_unit *unit, const struct pv_scsi_target *target,
                     unsigned number, struct pv_error **err)
{
    unit->cdrom = target->cdrom;
    unit->block_size = target->cdrom ? 2048 : 512;
    unit->blocks = pv_block_size(target->block) / unit->block_size;
    unit->read_only = target->cdrom || pv_block_read_only(target->block);
    unit->block = target->block;
    if (target->serial)
        memcpy(unit->serial, target->serial, strnlen(target->serial, PV_SCSI_SERIAL_MAX));
    return unit->blocks ? 0
                        : pv_error_set(err, EINVAL, "scsi target %u: smaller than %u bytes", number,
                                       unit->block_size);
}

int pv_scsi_create(struct pv_virtio_device **out, struct pv_loop *loop, struct pv_address_space *as,
                   const struct pv_scsi_target *targets, unsigned count, unsigned queues,
                   struct pv_error **err)
{
    if (!count || count > PV_SCSI_MAX_TARGETS)
        return pv_error_set(err, EINVAL, "scsi: %u targets, want 1 to %u", count,
                            PV_SCSI_MAX_TARGETS);
    struct pv_scsi_unit units[PV_SCSI_MAX_TARGETS] = {0};
    int ret = 0;
    for (unsigned i = 0; i < count && ret >= 0; i++)
        ret = init_unit(&units[i], &targets[i], i, err);
    if (ret >= 0)
        ret =
            pv_virtio_device_create(out, sizeof(struct scsi) + count * sizeof(units[0]), &scsi_ops,
                                    loop, as, 0, REQUEST_QUEUE + queues, QUEUE_SIZE, err);
    if (ret < 0)
        return ret;
    struct scsi *scsi = of(*out);
    memcpy(scsi->units, units, count * sizeof(units[0]));
    scsi->count = count;
    scsi->config = (struct scsi_config){
        .num_queues = queues,
        .seg_max = SEG_MAX,
        .max_sectors = PV_SCSI_MAX_TRANSFER / 512 - 1,
        .cmd_per_lun = QUEUE_SIZE,
        .sense_size = SENSE_DEFAULT,
        .cdb_size = CDB_DEFAULT,
        .event_info_size = 16,
        .max_target = (uint16_t)(count - 1),
    };
    return 0;
}
