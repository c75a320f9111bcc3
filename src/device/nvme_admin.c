/* SPDX-License-Identifier: MIT */
/* Admin commands (NVM Express 1.4, chapter 5): queues, Identify, features, log pages. */
#include "device/nvme_impl.h"

#include "base/util.h"

#include <stdio.h>
#include <string.h>

enum {
    DELETE_SQ = 0x00,
    CREATE_SQ = 0x01,
    GET_LOG_PAGE = 0x02,
    DELETE_CQ = 0x04,
    CREATE_CQ = 0x05,
    IDENTIFY = 0x06,
    ABORT = 0x08,
    SET_FEATURES = 0x09,
    GET_FEATURES = 0x0a,
    EVENT_REQUEST = 0x0c,
};

/* Features that can be set (5.21.1) and do nothing but the cache. */
#define KNOWN_FEATURES                                                                             \
    (1u << 1 | 1u << 2 | 1u << 4 | 1u << 5 | 1u << NVME_FEATURE_CACHE | 1u << 8 | 1u << 9 |        \
     1u << 10 | 1u << 11)

#define QUEUE_CONTIGUOUS 1u
#define QUEUE_INTERRUPTS 2u

/* ---- Queues ---- */

static bool taken_sq(const struct pv_nvme *nvme, uint32_t id)
{
    return id && id <= nvme->queues && nvme->sq[id].size;
}

static bool taken_cq(const struct pv_nvme *nvme, uint32_t id)
{
    return id && id <= nvme->queues && nvme->cq[id].size;
}

/* What both kinds of queue have to be. */
static unsigned check_queue(const struct pv_nvme *nvme, const struct nvme_command *c, bool taken)
{
    const uint32_t id = c->dw10 & 0xffff, size = (c->dw10 >> 16) + 1;

    if (!id || id > nvme->queues || taken)
        return NVME_INVALID_QUEUE;
    if (size < 2 || size > NVME_QUEUE_SIZE)
        return NVME_INVALID_QUEUE_SIZE;
    if (!(c->dw11 & QUEUE_CONTIGUOUS))
        return NVME_INVALID_FIELD;
    return c->prp1 % NVME_PAGE ? NVME_INVALID_PRP_OFFSET : NVME_OK;
}

static unsigned create_cq(struct pv_nvme *nvme, const struct nvme_command *c)
{
    const uint32_t id = c->dw10 & 0xffff, vector = c->dw11 >> 16;
    unsigned status = check_queue(nvme, c, taken_cq(nvme, id));

    if (status)
        return status;
    if (vector > nvme->queues)
        return NVME_INVALID_VECTOR;
    nvme->cq[id] = (struct nvme_cq){.address = c->prp1,
                                    .size = (c->dw10 >> 16) + 1,
                                    .vector = vector,
                                    .phase = true,
                                    .interrupts = c->dw11 & QUEUE_INTERRUPTS};
    return NVME_OK;
}

static unsigned create_sq(struct pv_nvme *nvme, const struct nvme_command *c)
{
    const uint32_t id = c->dw10 & 0xffff, cq = c->dw11 >> 16;

    if (!taken_cq(nvme, cq))
        return cq && cq <= nvme->queues ? NVME_INVALID_CQ : NVME_INVALID_QUEUE;
    unsigned status = check_queue(nvme, c, taken_sq(nvme, id));
    if (!status)
        nvme->sq[id] = (struct nvme_sq){.address = c->prp1, .size = (c->dw10 >> 16) + 1, .cq = cq};
    return status;
}

static unsigned delete_sq(struct pv_nvme *nvme, const struct nvme_command *c)
{
    const uint32_t id = c->dw10 & 0xffff;

    if (!taken_sq(nvme, id))
        return NVME_INVALID_QUEUE;
    nvme_forget(nvme, (int)id);
    nvme->sq[id] = (struct nvme_sq){0};
    return NVME_OK;
}

static unsigned delete_cq(struct pv_nvme *nvme, const struct nvme_command *c)
{
    const uint32_t id = c->dw10 & 0xffff;

    if (!taken_cq(nvme, id))
        return NVME_INVALID_QUEUE;
    for (unsigned i = 1; i <= nvme->queues; i++)
        if (nvme->sq[i].size && nvme->sq[i].cq == id)
            return NVME_QUEUE_DELETION;
    nvme->cq[id] = (struct nvme_cq){0};
    return NVME_OK;
}

/* ---- Identify (5.15) ---- */

static void put(uint8_t *at, uint64_t value, unsigned bytes)
{
    memcpy(at, &value, bytes);
}

/* Padded with spaces, without an end. */
static void put_text(uint8_t *at, const char *text, size_t size)
{
    memset(at, ' ', size);
    memcpy(at, text, strnlen(text, size));
}

/* Figure 247. */
static void identify_controller(const struct pv_nvme *nvme, uint8_t *data)
{
    put(data + 0, 0x1b36, 2); /* the PCI vendors */
    put(data + 2, 0x1af4, 2);
    put_text(data + 4, nvme->serial, NVME_SERIAL_SIZE);
    put_text(data + 24, "PearVisor NVMe disk", 40);
    put_text(data + 64, "1", 8);
    data[77] = NVME_MDTS;
    put(data + 80, 0x00010400, 4);
    data[111] = 1;                   /* an I/O controller */
    data[258] = 3;                   /* aborts at once, less one */
    data[259] = NVME_MAX_EVENTS - 1; /* event requests, less one */
    data[260] = 3;                   /* one slot for firmware, read-only */
    put(data + 266, 343, 2);         /* warning and critical temperature, in kelvin */
    put(data + 268, 373, 2);
    data[512] = 0x66; /* entries of 64 and of 16 bytes */
    data[513] = 0x44;
    put(data + 516, 1, 4);                 /* namespaces */
    put(data + 520, 1u << 2 | 1u << 3, 2); /* Dataset Management, Write Zeroes */
    data[525] = 1;                         /* there is a volatile write cache */
    snprintf((char *)data + 768, 256, "nqn.2014-08.org.nvmexpress:pearvisor:%.20s", nvme->serial);
    put(data + 2048, 2500, 2); /* power state 0, in hundredths of a watt */
}

/* Figure 245. */
static void identify_namespace(const struct pv_nvme *nvme, uint8_t *data)
{
    put(data + 0, nvme->sectors, 8);
    put(data + 8, nvme->sectors, 8);
    put(data + 16, nvme->sectors, 8);
    data[24] = 1u << 4; /* the sizes that follow are there: 4 KiB is what suits it */
    data[33] = pv_block_can_discard(nvme->block) ? 1u << 3 : 0; /* zeroing may deallocate */
    put(data + 64, 7, 2); /* write granularity and alignment, in sectors less one */
    put(data + 66, 7, 2);
    put(data + 68, 7, 2);
    put(data + 70, 7, 2);
    data[99] = pv_block_read_only(nvme->block); /* write protected */
    data[128 + 2] = 9;                          /* format 0: sectors of 512 bytes */
}

static unsigned identify(struct pv_nvme *nvme, const struct nvme_command *c)
{
    uint8_t data[NVME_PAGE] = {0};

    switch (c->dw10 & 0xff) {
    case 0: /* of a namespace; the broadcast one has what they all have in common */
        if (c->nsid != 1 && c->nsid != UINT32_MAX)
            return NVME_INVALID_NAMESPACE;
        identify_namespace(nvme, data);
        break;
    case 1: identify_controller(nvme, data); break;
    case 2: /* namespaces above this one */
        if (c->nsid >= 0xfffffffe)
            return NVME_INVALID_NAMESPACE;
        put(data, c->nsid < 1, 4);
        break;
    case 3: /* names of a namespace: a UUID of the serial number */
        if (c->nsid != 1)
            return NVME_INVALID_NAMESPACE;
        data[0] = 3;
        data[1] = 16;
        memcpy(data + 4, "pearvisor nvme 1", 16);
        break;
    default: return NVME_INVALID_FIELD;
    }
    return nvme_copy_out(nvme, c, data, sizeof(data));
}

/* ---- Log pages (5.14) ---- */

static unsigned get_log_page(struct pv_nvme *nvme, const struct nvme_command *c)
{
    uint8_t data[NVME_PAGE] = {0};
    const uint32_t page = c->dw10 & 0xff;
    const uint64_t size = (((uint64_t)(c->dw11 & 0xffff) << 16 | c->dw10 >> 16) + 1) * 4;
    const uint64_t offset = (uint64_t)c->dw13 << 32 | c->dw12;

    switch (page) {
    case 1: break; /* errors: there were none */
    case 2:        /* health: as new, at 25 degrees */
        put(data + 1, 298, 2);
        data[3] = 100;
        data[4] = 10;
        break;
    case 3: /* firmware: slot 1 is active */
        data[0] = 1;
        put_text(data + 8, "1", 8);
        break;
    default: return NVME_INVALID_LOG_PAGE;
    }
    if (offset % 4 || offset > sizeof(data) || size > sizeof(data) - offset)
        return NVME_INVALID_FIELD;
    return nvme_copy_out(nvme, c, data + offset, (size_t)size);
}

/* ---- Features (5.9, 5.21) ---- */

static unsigned get_features(struct pv_nvme *nvme, const struct nvme_command *c, uint32_t *result)
{
    const uint32_t id = c->dw10 & 0xff, select = c->dw10 >> 8 & 7;

    if (id == NVME_FEATURE_QUEUES) {
        *result = (nvme->queues - 1) << 16 | (nvme->queues - 1);
        return NVME_OK;
    }
    if (id >= PV_ARRAY_SIZE(nvme->features) || !(KNOWN_FEATURES >> id & 1) || select > 3)
        return NVME_INVALID_FIELD;
    switch (select) {
    case 0: *result = nvme->features[id]; break;
    case 3: *result = 1u << 2; break; /* it can be changed, and is not kept */
    default: *result = id == NVME_FEATURE_CACHE; break;
    }
    return NVME_OK;
}

static unsigned set_features(struct pv_nvme *nvme, const struct nvme_command *c, uint32_t *result)
{
    const uint32_t id = c->dw10 & 0xff;

    if (c->dw10 >> 31)
        return NVME_NOT_SAVEABLE;
    if (id == NVME_FEATURE_QUEUES) {
        if ((c->dw11 & 0xffff) == 0xffff || c->dw11 >> 16 == 0xffff)
            return NVME_INVALID_FIELD;
        *result = (nvme->queues - 1) << 16 | (nvme->queues - 1);
        return NVME_OK;
    }
    if (id >= PV_ARRAY_SIZE(nvme->features) || !(KNOWN_FEATURES >> id & 1))
        return NVME_INVALID_FIELD;
    nvme->features[id] = id == NVME_FEATURE_CACHE ? c->dw11 & 1 : c->dw11;
    return NVME_OK;
}

/* ---- All of them ---- */

void nvme_admin(struct pv_nvme *nvme, const struct nvme_command *command)
{
    uint32_t result = 0;
    unsigned status;

    switch (command->opcode) {
    case DELETE_SQ: status = delete_sq(nvme, command); break;
    case CREATE_SQ: status = create_sq(nvme, command); break;
    case GET_LOG_PAGE: status = get_log_page(nvme, command); break;
    case DELETE_CQ: status = delete_cq(nvme, command); break;
    case CREATE_CQ: status = create_cq(nvme, command); break;
    case IDENTIFY: status = identify(nvme, command); break;
    case ABORT:
        result = 1; /* it was not aborted */
        status = NVME_OK;
        break;
    case SET_FEATURES: status = set_features(nvme, command, &result); break;
    case GET_FEATURES: status = get_features(nvme, command, &result); break;
    case EVENT_REQUEST:
        if (nvme->events == NVME_MAX_EVENTS) {
            status = NVME_TOO_MANY_EVENTS;
            break;
        }
        nvme->events++;
        nvme->cq[0].promised--;
        return;
    default: status = NVME_INVALID_OPCODE; break;
    }
    nvme_complete(nvme, 0, command->cid, status, result);
}
