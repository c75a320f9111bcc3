/* SPDX-License-Identifier: MIT */
#include "virtio/virtio_mmio.h"

#include "base/error.h"
#include "base/record.h"
#include "base/util.h"
#include "memory/address_space.h"
#include "virtio/device_impl.h"
#include "virtio/transport.h"

#include <errno.h>

#define MAGIC   0x74726976u /* "virt" */
#define VERSION 2u
#define VENDOR  0x52414550u /* "PEAR" */

/* Table 4.1. */
enum mmio_register {
    MAGIC_VALUE = 0x000,
    VERSION_NUMBER = 0x004,
    DEVICE_ID = 0x008,
    VENDOR_ID = 0x00c,
    DEVICE_FEATURES = 0x010,
    DEVICE_FEATURES_SEL = 0x014,
    DRIVER_FEATURES = 0x020,
    DRIVER_FEATURES_SEL = 0x024,
    QUEUE_SEL = 0x030,
    QUEUE_SIZE_MAX = 0x034,
    QUEUE_SIZE = 0x038,
    QUEUE_READY = 0x044,
    QUEUE_NOTIFY = 0x050,
    INTERRUPT_STATUS = 0x060,
    INTERRUPT_ACK = 0x064,
    STATUS = 0x070,
    QUEUE_DESC = 0x080,
    QUEUE_DRIVER = 0x090,
    QUEUE_DEVICE = 0x0a0,
    SHM_LENGTH_LOW = 0x0b0,
    SHM_BASE_HIGH = 0x0bc,
    QUEUE_RESET = 0x0c0, /* reads as 0: done */
    CONFIG_GENERATION = 0x0fc,
    CONFIG = 0x100,
};

struct slot {
    struct pv_virtio_device *dev; /* NULL: empty */
    struct pv_irq irq;
    uint32_t device_features_sel;
    uint32_t driver_features_sel;
    uint32_t queue_sel;
    uint32_t interrupt_status;
};

struct pv_virtio_mmio_bank {
    struct pv_address_space *as;
    uint64_t address;
    unsigned count;
    struct slot slots[];
};

static uint32_t register_read(const struct slot *slot, uint64_t offset)
{
    const struct pv_virtio_device *dev = slot->dev;
    switch (offset) {
    case MAGIC_VALUE: return MAGIC;
    case VERSION_NUMBER: return VERSION;
    case DEVICE_ID: return (uint32_t)dev->ops->id;
    case VENDOR_ID: return VENDOR;
    case DEVICE_FEATURES: return pv_virtio_device_features(dev, slot->device_features_sel);
    case QUEUE_SIZE_MAX: return pv_virtio_queue_max_size(dev, slot->queue_sel);
    case QUEUE_READY: return pv_virtio_queue_enabled(dev, slot->queue_sel);
    case INTERRUPT_STATUS: return slot->interrupt_status;
    case STATUS: return pv_virtio_status(dev);
    case CONFIG_GENERATION: return pv_virtio_config_generation(dev);
    default:
        /* There are no shared memory regions: length and base are all ones (4.2.2). */
        return offset >= SHM_LENGTH_LOW && offset <= SHM_BASE_HIGH ? UINT32_MAX : 0;
    }
}

static void address_write(struct slot *slot, uint64_t offset, uint32_t value)
{
    uint64_t in_part = (offset - QUEUE_DESC) % 16;
    if (in_part == 0 || in_part == 4)
        pv_virtio_queue_set_address(slot->dev, slot->queue_sel,
                                    (enum pv_virtq_part)((offset - QUEUE_DESC) / 16), in_part,
                                    value);
}

static void register_write(struct slot *slot, uint64_t offset, uint32_t value)
{
    struct pv_virtio_device *dev = slot->dev;
    switch (offset) {
    case DEVICE_FEATURES_SEL: slot->device_features_sel = value; break;
    case DRIVER_FEATURES:
        pv_virtio_set_driver_features(dev, slot->driver_features_sel, value);
        break;
    case DRIVER_FEATURES_SEL: slot->driver_features_sel = value; break;
    case QUEUE_SEL: slot->queue_sel = value; break;
    case QUEUE_SIZE:
        /* Beyond 16 bits it is wrong anyway; 0 is refused when the queue is made ready. */
        pv_virtio_queue_set_size(dev, slot->queue_sel, value <= UINT16_MAX ? (uint16_t)value : 0);
        break;
    case QUEUE_READY:
        if (value == 1)
            pv_virtio_queue_enable(dev, slot->queue_sel);
        else if (value == 0)
            pv_virtio_queue_disable(dev, slot->queue_sel);
        break;
    case QUEUE_RESET:
        if (value == 1)
            pv_virtio_queue_reset(dev, slot->queue_sel);
        break;
    case INTERRUPT_ACK:
        slot->interrupt_status &= ~value;
        pv_irq_set(&slot->irq, slot->interrupt_status);
        break;
    case STATUS: pv_virtio_set_status(dev, (uint8_t)value); break;
    default:
        if (offset >= QUEUE_DESC && offset < QUEUE_DEVICE + 8)
            address_write(slot, offset, value);
        break;
    }
}

static uint64_t empty_read(uint64_t offset)
{
    switch (offset) {
    case MAGIC_VALUE: return MAGIC;
    case VERSION_NUMBER: return VERSION;
    case VENDOR_ID: return VENDOR;
    default: return 0; /* device ID 0: nothing here (4.2.2.2) */
    }
}

static uint64_t bank_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pv_virtio_mmio_bank *bank = opaque;
    uint64_t index = offset / PV_VIRTIO_MMIO_SLOT_SIZE, at = offset % PV_VIRTIO_MMIO_SLOT_SIZE;
    struct slot *slot = index < bank->count ? &bank->slots[index] : NULL;
    bool is_register = at < CONFIG && size == 4;
    if (!slot || (at < CONFIG && !is_register))
        return 0;
    if (!slot->dev)
        return is_register ? empty_read(at) : 0;
    pv_virtio_lock(slot->dev);
    uint64_t value =
        is_register ? register_read(slot, at) : pv_virtio_config_read(slot->dev, at - CONFIG, size);
    pv_virtio_unlock(slot->dev);
    return value;
}

static void bank_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct pv_virtio_mmio_bank *bank = opaque;
    uint64_t index = offset / PV_VIRTIO_MMIO_SLOT_SIZE, at = offset % PV_VIRTIO_MMIO_SLOT_SIZE;
    struct slot *slot = index < bank->count ? &bank->slots[index] : NULL;
    if (!slot || !slot->dev || (at < CONFIG && size != 4))
        return;
    if (at == QUEUE_NOTIFY) {
        /* Without the lock: the fast path. */
        pv_virtio_queue_notify(slot->dev, (uint32_t)value);
        return;
    }
    pv_virtio_lock(slot->dev);
    if (at < CONFIG)
        register_write(slot, at, (uint32_t)value);
    else
        pv_virtio_config_write(slot->dev, at - CONFIG, size, value);
    pv_virtio_unlock(slot->dev);
}

static const struct pv_mmio_ops bank_ops = {.read = bank_read, .write = bank_write};

/* ---- Interrupts and reset ---- */

static void queue_interrupt(void *opaque, unsigned queue)
{
    struct slot *slot = opaque;
    slot->interrupt_status |= PV_VIRTIO_ISR_QUEUE;
    pv_irq_set(&slot->irq, true);
}

static void config_interrupt(void *opaque)
{
    struct slot *slot = opaque;
    slot->interrupt_status |= PV_VIRTIO_ISR_CONFIG;
    pv_irq_set(&slot->irq, true);
}

static void reset_registers(void *opaque)
{
    struct slot *slot = opaque;
    slot->device_features_sel = 0;
    slot->driver_features_sel = 0;
    slot->queue_sel = 0;
    slot->interrupt_status = 0;
    pv_irq_set(&slot->irq, false);
}

static const struct pv_virtio_transport_ops transport_ops = {
    .queue_interrupt = queue_interrupt,
    .config_interrupt = config_interrupt,
    .reset = reset_registers,
};

/* ---- Setting up ---- */

static uint64_t bank_size(unsigned count)
{
    return pv_align_up((uint64_t)count * PV_VIRTIO_MMIO_SLOT_SIZE, PV_GUEST_PAGE);
}

int pv_virtio_mmio_bank_create(struct pv_virtio_mmio_bank **out, struct pv_address_space *as,
                               uint64_t address, unsigned count, const struct pv_irq *irqs,
                               struct pv_error **err)
{
    struct pv_virtio_mmio_bank *bank = calloc(1, sizeof(*bank) + count * sizeof(struct slot));
    if (!bank)
        return pv_error_set(err, ENOMEM, "virtio-mmio: out of memory");
    bank->as = as;
    bank->address = address;
    bank->count = count;
    for (unsigned i = 0; i < count; i++)
        bank->slots[i].irq = irqs[i];
    int ret = pv_as_add_mmio(as, address, bank_size(count), &bank_ops, bank, "virtio-mmio", err);
    if (ret < 0) {
        free(bank);
        return ret;
    }
    *out = bank;
    return 0;
}

void pv_virtio_mmio_bank_destroy(struct pv_virtio_mmio_bank *bank)
{
    if (!bank)
        return;
    pv_as_remove(bank->as, bank->address);
    for (unsigned i = 0; i < bank->count; i++)
        pv_virtio_device_destroy(bank->slots[i].dev);
    free(bank);
}

void pv_virtio_mmio_bank_reset(struct pv_virtio_mmio_bank *bank)
{
    for (unsigned i = 0; i < bank->count; i++) {
        struct pv_virtio_device *dev = bank->slots[i].dev;
        if (!dev)
            continue;
        pv_virtio_lock(dev);
        pv_virtio_reset(dev);
        pv_virtio_unlock(dev);
    }
}

bool pv_virtio_mmio_bank_quiet(struct pv_virtio_mmio_bank *bank, bool quiet)
{
    bool done = true;
    for (unsigned i = 0; i < bank->count; i++) {
        struct pv_virtio_device *dev = bank->slots[i].dev;
        if (!dev)
            continue;
        pv_virtio_lock(dev);
        done &= pv_virtio_quiet(dev, quiet);
        pv_virtio_unlock(dev);
    }
    return done;
}

static void record_slot(struct slot *slot, struct pv_record *record)
{
    pv_record_begin(record, 1, "virtio-mmio");
    pv_record_same(record, slot->dev ? slot->dev->ops->id : 0, "what is in a virtio-mmio slot");
    pv_record_u32(record, &slot->device_features_sel);
    pv_record_u32(record, &slot->driver_features_sel);
    pv_record_u32(record, &slot->queue_sel);
    pv_record_u32(record, &slot->interrupt_status);
    pv_record_end(record);
    if (pv_record_loading(record))
        pv_irq_set(&slot->irq, slot->interrupt_status);
}

void pv_virtio_mmio_bank_record(struct pv_virtio_mmio_bank *bank, struct pv_record *record)
{
    for (unsigned i = 0; i < bank->count && pv_record_ok(record); i++) {
        struct slot *slot = &bank->slots[i];
        if (slot->dev)
            pv_virtio_lock(slot->dev);
        record_slot(slot, record);
        if (slot->dev && pv_record_ok(record))
            pv_virtio_record(slot->dev, record);
        if (slot->dev)
            pv_virtio_unlock(slot->dev);
    }
}

int pv_virtio_mmio_create(struct pv_virtio_device *dev, struct pv_virtio_mmio_bank *bank, int slot,
                          struct pv_error **err)
{
    const char *name = dev->ops->name;
    if (slot >= (int)bank->count)
        return pv_error_set(err, EINVAL, "virtio-mmio %s: slot %d, want 0 to %u", name, slot,
                            bank->count - 1);
    for (int i = (int)bank->count - 1; slot < 0 && i >= 0; i--)
        if (!bank->slots[i].dev)
            slot = i;
    if (slot < 0 || bank->slots[slot].dev)
        return pv_error_set(err, EBUSY, "virtio-mmio %s: no free slot", name);
    bank->slots[slot].dev = dev;
    pv_virtio_attach(dev, &transport_ops, (unsigned)slot, &bank->slots[slot]);
    return 0;
}
