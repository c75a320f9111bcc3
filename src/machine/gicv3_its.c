/* SPDX-License-Identifier: MIT */
/*
 * The ITS keeps no tables of its own. Everything that commands establish lies in the memory that
 * the guest provided for it (GITS_BASER and the ITTs that MAPD names), in our own format of 8 bytes
 * an entry, little-endian:
 *
 *   device:     63 valid, 51:8 ITT address, 4:0 bits of EventID - 1
 *   collection: 63 valid, 15:0 vCPU
 *   event:      63 valid, 47:32 ICID, 31:0 INTID of the LPI
 *
 * So the ITS takes no memory however many devices a guest maps, and a snapshot of guest memory has
 * its state. What is read back is as untrusted as anything of the guest's: each field is checked
 * when it is used, and an address that is not RAM only ends that translation.
 *
 * Commands are executed on the thread of the vCPU that moves GITS_CWRITER, one at a time under
 * its->lock; a queue of a million bytes thereby keeps nobody waiting but who wrote it. A command
 * with wrong operands is ignored, which is permitted while GITS_TYPER.SEIS is 0, and leaves a line
 * in the debug log. A queue that cannot be read stalls.
 *
 * Locks: a device's own, then its->lock, then the GIC's.
 */
#include "machine/gicv3_its.h"

#include "base/error.h"
#include "base/log.h"
#include "base/record.h"
#include "base/util.h"
#include "machine/gicv3.h"
#include "machine/map.h"
#include "memory/address_space.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "ITS tables are little-endian");

enum {
    GITS_CTLR = 0x0,
    GITS_TYPER = 0x8,
    GITS_CBASER = 0x80,
    GITS_CWRITER = 0x88,
    GITS_CREADR = 0x90,
    GITS_BASER = 0x100,
    GITS_PIDR4 = 0xffd0,
    GITS_FRAME_END = 0x10000,
};

#define CTLR_ENABLED   1u
#define CTLR_QUIESCENT (1u << 31)

#define VALID      (UINT64_C(1) << 63)
#define ENTRY_SIZE 8u
#define ID_BITS    16u /* of DeviceID, EventID and ICID */

/*
 * GITS_TYPER: CIL and CIDbits, no collections of the ITS's own (HCC 0), RDbase is a vCPU's number
 * (PTA 0), Devbits, ID_bits, ITT_entry_size, Physical.
 */
#define TYPER_VALUE                                                                                \
    (UINT64_C(1) << 36 | (uint64_t)(ID_BITS - 1) << 32 | (ID_BITS - 1) << 13 |                     \
     (ID_BITS - 1) << 8 | (ENTRY_SIZE - 1) << 4 | 1)

#define BASER_INDIRECT (UINT64_C(1) << 62)
#define BASER_TYPE(n)  ((uint64_t)(n) << 56)
#define BASER_FIXED    ((uint64_t)(ENTRY_SIZE - 1) << 48)
/* Valid, Indirect, caches, address, shareability, page size, size. */
#define BASER_WRITABLE (~(BASER_TYPE(7) | UINT64_C(0x1f) << 48))

#define CBASER_WRITABLE                                                                            \
    UINT64_C(0xb8effffffffffcff) /* valid, caches, address, shareability, size */
#define CBASER_ADDRESS UINT64_C(0xffffffffff000)
#define QUEUE_OFFSET   UINT64_C(0xfffe0) /* of CWRITER and CREADR */
#define CWRITER_RETRY  1u
#define CREADR_STALLED 1u
#define COMMAND_SIZE   32u

#define DTE_ITT UINT64_C(0xfffffffffff00)

enum { TABLE_DEVICES, TABLE_COLLECTIONS, TABLES };

struct pv_its {
    struct pv_address_space *as;
    struct pv_gic *gic;
    unsigned vcpus;
    pthread_mutex_t lock;
    bool enabled;
    uint64_t baser[TABLES];
    uint64_t cbaser, cwriter, creadr; /* creadr with its stalled bit */
};

/* What an event is mapped to. */
struct translation {
    uint64_t entry; /* address of the event's ITT entry */
    uint32_t intid;
    uint32_t icid;
    unsigned vcpu;
};

/* ---- Tables in guest memory; its->lock held ---- */

static bool load(struct pv_its *its, uint64_t address, uint64_t *entry)
{
    return pv_as_read(its->as, address, entry, sizeof(*entry)) >= 0;
}

/* Where entry `id` of a table is; false when the table does not reach so far. */
static bool entry_address(struct pv_its *its, unsigned table, uint32_t id, uint64_t *address)
{
    static const uint32_t page_sizes[] = {0x1000, 0x4000, 0x10000, 0x10000};
    uint64_t baser = its->baser[table];
    uint64_t page = page_sizes[pv_bits(baser, 8, 2)];
    uint64_t size = (pv_bits(baser, 0, 8) + 1) * page;
    uint64_t base = pv_bits(baser, 12, 36) << 12;
    uint64_t offset = (uint64_t)id * ENTRY_SIZE, level1;

    if (page == 0x10000) /* bits 15:12 are bits 51:48 then */
        base = (base & ~UINT64_C(0xffff)) | pv_bits(baser, 12, 4) << 48;
    if (!(baser & VALID) || id >> ID_BITS)
        return false;
    if (!(baser & BASER_INDIRECT)) {
        *address = base + offset;
        return offset < size;
    }
    uint64_t index = offset / page * 8;
    if (index >= size || !load(its, base + index, &level1) || !(level1 & VALID))
        return false;
    *address = (level1 & CBASER_ADDRESS & ~(page - 1)) + offset % page;
    return true;
}

static bool find_device(struct pv_its *its, uint32_t device, uint64_t *entry)
{
    uint64_t address;

    return entry_address(its, TABLE_DEVICES, device, &address) && load(its, address, entry) &&
           (*entry & VALID);
}

static bool find_collection(struct pv_its *its, uint32_t icid, unsigned *vcpu)
{
    uint64_t address, entry;

    if (!entry_address(its, TABLE_COLLECTIONS, icid, &address) || !load(its, address, &entry) ||
        !(entry & VALID))
        return false;
    *vcpu = (unsigned)pv_bits(entry, 0, 16);
    return *vcpu < its->vcpus;
}

/* The ITT entry of an event of a mapped device. */
static bool find_event(struct pv_its *its, uint32_t device, uint32_t event, uint64_t *address)
{
    uint64_t entry;

    if (!find_device(its, device, &entry) || (uint64_t)event >> (pv_bits(entry, 0, 5) + 1))
        return false;
    *address = (entry & DTE_ITT) + (uint64_t)event * ENTRY_SIZE;
    return true;
}

static bool lpi_ok(uint64_t intid)
{
    return intid >= PV_INTID_LPI && intid < PV_INTID_LPI_END;
}

static bool translate(struct pv_its *its, uint32_t device, uint32_t event, struct translation *to)
{
    uint64_t entry;

    if (!find_event(its, device, event, &to->entry) || !load(its, to->entry, &entry) ||
        !(entry & VALID))
        return false;
    to->intid = (uint32_t)entry;
    to->icid = (uint32_t)pv_bits(entry, 32, 16);
    return lpi_ok(to->intid) && find_collection(its, to->icid, &to->vcpu);
}

static bool store(struct pv_its *its, uint64_t address, uint64_t entry)
{
    return pv_as_write(its->as, address, &entry, sizeof(entry)) >= 0;
}

/* ---- Commands (6.3): each returns whether its operands were good ---- */

struct command {
    uint64_t word[4];
};

static uint32_t device_of(const struct command *c)
{
    return (uint32_t)(c->word[0] >> 32);
}

static uint32_t event_of(const struct command *c)
{
    return (uint32_t)c->word[1];
}

static uint32_t icid_of(const struct command *c)
{
    return (uint32_t)pv_bits(c->word[2], 0, 16);
}

/* RDbase of a word, at bits 50:16. */
static uint64_t rdbase_of(uint64_t word)
{
    return pv_bits(word, 16, 35);
}

static bool command_mapd(struct pv_its *its, const struct command *c)
{
    uint64_t address, bits = pv_bits(c->word[1], 0, 5);
    uint64_t entry = 0;

    if (c->word[2] & VALID) {
        if (bits >= ID_BITS)
            return false;
        entry = VALID | (c->word[2] & DTE_ITT) | bits;
    }
    return entry_address(its, TABLE_DEVICES, device_of(c), &address) && store(its, address, entry);
}

static bool command_mapc(struct pv_its *its, const struct command *c)
{
    uint64_t address, rdbase = rdbase_of(c->word[2]);
    bool valid = c->word[2] & VALID;

    if (valid && rdbase >= its->vcpus)
        return false;
    return entry_address(its, TABLE_COLLECTIONS, icid_of(c), &address) &&
           store(its, address, valid ? VALID | rdbase : 0);
}

/* MAPTI and MAPI, where the INTID is the EventID. */
static bool map_event(struct pv_its *its, const struct command *c, uint64_t intid)
{
    uint64_t address;
    unsigned vcpu;

    if (!lpi_ok(intid) || !find_event(its, device_of(c), event_of(c), &address) ||
        !store(its, address, VALID | (uint64_t)icid_of(c) << 32 | intid))
        return false;
    /* The mapping may come before its collection's; the configuration is read with that then. */
    if (find_collection(its, icid_of(c), &vcpu))
        pv_gic_lpi_invalidate(its->gic, vcpu, (uint32_t)intid);
    return true;
}

static bool command_movi(struct pv_its *its, const struct command *c)
{
    struct translation t;
    unsigned vcpu;

    if (!translate(its, device_of(c), event_of(c), &t) ||
        !find_collection(its, icid_of(c), &vcpu) ||
        !store(its, t.entry, VALID | (uint64_t)icid_of(c) << 32 | t.intid))
        return false;
    pv_gic_lpi_move(its->gic, t.vcpu, vcpu, t.intid);
    return true;
}

static bool command_movall(struct pv_its *its, const struct command *c)
{
    uint64_t from = rdbase_of(c->word[2]), to = rdbase_of(c->word[3]);

    if (from >= its->vcpus || to >= its->vcpus)
        return false;
    pv_gic_lpi_move_all(its->gic, (unsigned)from, (unsigned)to);
    return true;
}

/* INT, CLEAR and DISCARD. */
static bool command_pending(struct pv_its *its, const struct command *c, bool pending, bool discard)
{
    struct translation t;

    if (!translate(its, device_of(c), event_of(c), &t))
        return false;
    pv_gic_lpi_set(its->gic, t.vcpu, t.intid, pending);
    return !discard || store(its, t.entry, 0);
}

static bool command_inv(struct pv_its *its, const struct command *c)
{
    struct translation t;

    if (!translate(its, device_of(c), event_of(c), &t))
        return false;
    pv_gic_lpi_invalidate(its->gic, t.vcpu, t.intid);
    return true;
}

static bool command_invall(struct pv_its *its, const struct command *c)
{
    unsigned vcpu;

    if (!find_collection(its, icid_of(c), &vcpu))
        return false;
    pv_gic_lpi_invalidate_all(its->gic, vcpu);
    return true;
}

static bool execute(struct pv_its *its, const struct command *c)
{
    switch (c->word[0] & 0xff) {
    case 0x01: return command_movi(its, c);
    case 0x03: return command_pending(its, c, true, false);
    case 0x04: return command_pending(its, c, false, false);
    case 0x05: return rdbase_of(c->word[2]) < its->vcpus; /* SYNC: nothing is outstanding */
    case 0x08: return command_mapd(its, c);
    case 0x09: return command_mapc(its, c);
    case 0x0a: return map_event(its, c, c->word[1] >> 32);
    case 0x0b: return map_event(its, c, event_of(c));
    case 0x0c: return command_inv(its, c);
    case 0x0d: return command_invall(its, c);
    case 0x0e: return command_movall(its, c);
    case 0x0f: return command_pending(its, c, false, true);
    default: return false;
    }
}

/* Executes the next command, if there is one. */
static bool step(struct pv_its *its)
{
    uint64_t size = (pv_bits(its->cbaser, 0, 8) + 1) * 0x1000;
    uint64_t offset = its->creadr & QUEUE_OFFSET;
    struct command command;

    if (!its->enabled || !(its->cbaser & VALID) || (its->creadr & CREADR_STALLED) ||
        offset == its->cwriter || its->cwriter >= size)
        return false;
    if (pv_as_read(its->as, (its->cbaser & CBASER_ADDRESS) + offset, &command, COMMAND_SIZE) < 0) {
        pv_debug(PV_LOG_GIC, "ITS: the command at %#" PRIx64 " is not in memory", offset);
        its->creadr |= CREADR_STALLED;
        return false;
    }
    if (!execute(its, &command))
        pv_debug(PV_LOG_GIC,
                 "ITS: ignored command %#" PRIx64 " %#" PRIx64 " %#" PRIx64 " %#" PRIx64,
                 command.word[0], command.word[1], command.word[2], command.word[3]);
    its->creadr = (offset + COMMAND_SIZE) % size;
    return true;
}

static void run_queue(struct pv_its *its)
{
    bool more = true;

    while (more) {
        pthread_mutex_lock(&its->lock);
        more = step(its);
        pthread_mutex_unlock(&its->lock);
    }
}

/* ---- Messages ---- */

static void send(void *opaque, uint32_t device_id, uint64_t address, uint32_t data)
{
    struct pv_its *its = opaque;
    struct translation t;

    pthread_mutex_lock(&its->lock);
    if (address != PV_MAP_ITS + PV_ITS_TRANSLATER)
        pv_debug(PV_LOG_GIC, "message to %#" PRIx64 ", where no ITS is", address);
    else if (!its->enabled || !translate(its, device_id, data, &t))
        pv_debug(PV_LOG_GIC, "ITS: event %u of device %#x is not mapped", data, device_id);
    else
        pv_gic_lpi_set(its->gic, t.vcpu, t.intid, true);
    pthread_mutex_unlock(&its->lock);
}

struct pv_msi_target pv_its_target(struct pv_its *its)
{
    return (struct pv_msi_target){.send = send, .opaque = its};
}

/* ---- Registers ---- */

static uint64_t read64(const struct pv_its *its, uint64_t offset)
{
    switch (offset) {
    case GITS_CTLR: /* and IIDR: Arm, as QEMU says */
        return (its->enabled ? CTLR_ENABLED : 0) | CTLR_QUIESCENT | UINT64_C(0x43b) << 32;
    case GITS_TYPER: return TYPER_VALUE;
    case GITS_CBASER: return its->cbaser;
    case GITS_CWRITER: return its->cwriter;
    case GITS_CREADR: return its->creadr;
    case GITS_BASER: return its->baser[0] | BASER_TYPE(1) | BASER_FIXED;
    case GITS_BASER + 8: return its->baser[1] | BASER_TYPE(4) | BASER_FIXED;
    default: return 0;
    }
}

/* PIDR4 to 7, PIDR0 to 3, CIDR0 to 3. */
static uint64_t read_id(uint64_t offset)
{
    static const uint8_t id[] = {0x44, 0, 0, 0, 0x94, 0xb4, 0x3b, 0, 0x0d, 0xf0, 0x05, 0xb1};
    return id[(offset - GITS_PIDR4) / 4];
}

uint64_t pv_its_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pv_its *its = opaque;

    if (size < 4 || offset % size || offset >= GITS_FRAME_END)
        return 0;
    if (offset >= GITS_PIDR4)
        return read_id(offset);
    pthread_mutex_lock(&its->lock);
    uint64_t value = read64(its, offset & ~UINT64_C(7));
    pthread_mutex_unlock(&its->lock);
    return size == 8 ? value : pv_bits(value, (unsigned)(offset & 4) * 8, 32);
}

/*
 * Bases do not move while they are used: writes with the ITS enabled are UNPREDICTABLE
 * and are ignored.
 */
static void write64(struct pv_its *its, uint64_t offset, uint64_t value)
{
    switch (offset) {
    case GITS_CTLR: its->enabled = value & CTLR_ENABLED; break;
    case GITS_CBASER:
        if (its->enabled)
            break;
        its->cbaser = value & CBASER_WRITABLE;
        its->creadr = 0;
        break;
    case GITS_CWRITER:
        its->cwriter = value & QUEUE_OFFSET;
        if (value & CWRITER_RETRY)
            its->creadr &= ~(uint64_t)CREADR_STALLED;
        break;
    case GITS_BASER:
    case GITS_BASER + 8:
        if (!its->enabled)
            its->baser[(offset - GITS_BASER) / 8] = value & BASER_WRITABLE;
        break;
    default: break;
    }
}

void pv_its_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct pv_its *its = opaque;
    uint64_t reg = offset & ~UINT64_C(7);

    /* The ITS knows devices by their messages: a CPU that writes TRANSLATER is none. */
    if (size < 4 || offset % size || offset >= GITS_FRAME_END)
        return;
    pthread_mutex_lock(&its->lock);
    if (size == 4) {
        unsigned shift = (unsigned)(offset & 4) * 8;
        uint64_t old = read64(its, reg) & ~(UINT64_C(0xffffffff) << shift);
        value = old | (value & UINT32_MAX) << shift;
    }
    write64(its, reg, value);
    pthread_mutex_unlock(&its->lock);
    if (reg == GITS_CTLR || reg == GITS_CWRITER)
        run_queue(its);
}

/* ---- Life ---- */

void pv_its_record(struct pv_its *its, struct pv_record *record)
{
    pthread_mutex_lock(&its->lock);
    pv_record_begin(record, 1, "its");
    pv_record_bool(record, &its->enabled);
    for (unsigned i = 0; i < TABLES; i++)
        pv_record_u64(record, &its->baser[i]);
    pv_record_u64(record, &its->cbaser);
    pv_record_u64(record, &its->cwriter);
    pv_record_u64(record, &its->creadr);
    its->cwriter &= QUEUE_OFFSET;
    its->creadr &= QUEUE_OFFSET | CREADR_STALLED;
    pv_record_end(record);
    pthread_mutex_unlock(&its->lock);
}

void pv_its_reset(struct pv_its *its)
{
    pthread_mutex_lock(&its->lock);
    its->enabled = false;
    its->baser[TABLE_DEVICES] = its->baser[TABLE_COLLECTIONS] = 0;
    its->cbaser = its->cwriter = its->creadr = 0;
    pthread_mutex_unlock(&its->lock);
}

int pv_its_create(struct pv_its **out, struct pv_address_space *as, struct pv_gic *gic,
                  unsigned vcpus, struct pv_error **err)
{
    static const struct pv_mmio_ops ops = {pv_its_read, pv_its_write};
    struct pv_its *its = calloc(1, sizeof(*its));

    if (!its)
        return pv_error_set(err, ENOMEM, "out of memory for the ITS");
    its->as = as;
    its->gic = gic;
    its->vcpus = vcpus;
    int ret = pv_as_add_mmio(as, PV_MAP_ITS, PV_MAP_ITS_SIZE, &ops, its, "its", err);
    if (ret < 0) {
        free(its);
        return ret;
    }
    pthread_mutex_init(&its->lock, NULL);
    *out = its;
    return 0;
}

void pv_its_destroy(struct pv_its *its)
{
    if (!its)
        return;
    pv_as_remove(its->as, PV_MAP_ITS);
    pthread_mutex_destroy(&its->lock);
    free(its);
}
