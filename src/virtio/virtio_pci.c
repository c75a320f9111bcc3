/* SPDX-License-Identifier: MIT */
/*
 * The PCI transport, section 4.1, modern interface only. The layout is QEMU's: MSI-X in BAR 1, and
 * in the 64-bit BAR 4 a page each of common configuration, interrupt status, device configuration
 * and notifications. Vendor capabilities tell the driver where these are; one more of them is a
 * window on the BAR for firmware that can only reach configuration space. A device's shared memory
 * is the 64-bit BAR 2.
 *
 * All registers here are under the device's lock, except the notifications, which need none.
 */
#include "virtio/virtio_pci.h"

#include "base/checked.h"
#include "base/error.h"
#include "base/record.h"
#include "base/util.h"
#include "memory/address_space.h"
#include "pci/pci.h"
#include "virtio/device_impl.h"
#include "virtio/transport.h"

#include <errno.h>
#include <string.h>

#define VENDOR      0x1af4
#define DEVICE_BASE 0x1040 /* plus the device ID: modern */
#define SUBSYSTEM   0x1100
#define REVISION    1

#define MSIX_BAR   1u
#define SHM_BAR    2u
#define MODERN_BAR 4u

enum {
    COMMON_OFFSET = 0x0000,
    ISR_OFFSET = 0x1000,
    DEVICE_OFFSET = 0x2000,
    NOTIFY_OFFSET = 0x3000,
    BAR_SIZE = 0x4000,
    PAGE_SIZE = 0x1000,
    NOTIFY_MULTIPLIER = 4,
};

/* struct virtio_pci_common_cfg, 4.1.4.3. */
enum common_register {
    DEVICE_FEATURE_SELECT = 0x00,
    DEVICE_FEATURE = 0x04,
    DRIVER_FEATURE_SELECT = 0x08,
    DRIVER_FEATURE = 0x0c,
    CONFIG_MSIX_VECTOR = 0x10,
    NUM_QUEUES = 0x12,
    DEVICE_STATUS = 0x14,
    CONFIG_GENERATION = 0x15,
    QUEUE_SELECT = 0x16,
    QUEUE_SIZE = 0x18,
    QUEUE_MSIX_VECTOR = 0x1a,
    QUEUE_ENABLE = 0x1c,
    QUEUE_NOTIFY_OFF = 0x1e,
    QUEUE_DESC = 0x20,
    QUEUE_DRIVER = 0x28,
    QUEUE_DEVICE = 0x30,
    QUEUE_NOTIFY_DATA = 0x38,
    QUEUE_RESET = 0x3a,
    COMMON_SIZE = 0x3c,
};

#define NO_VECTOR 0xffffu

/* The Command register of configuration space. */
enum { COMMAND = 4, COMMAND_END = 6 };

/* Vendor capabilities, 4.1.4. */
#define CAP_VENDOR 0x09u
enum cap_type { CAP_COMMON = 1, CAP_NOTIFY, CAP_ISR, CAP_DEVICE, CAP_PCI, CAP_SHM = 8 };

/* Offsets in a capability, from its first byte. */
enum { CAP_BAR = 4, CAP_ID = 5, CAP_OFFSET = 8, CAP_LENGTH = 12, CAP_DATA = 16, CAP_SIZE = 16 };
enum { CAP_LENGTH_HIGH = 20, CAP64_SIZE = 24 }; /* 4.1.4.7; the high half of the offset is 0 */

struct virtio_pci {
    struct pv_virtio_device *dev;
    struct pv_pci_function *function;
    unsigned window; /* offset of the CAP_PCI capability */
    unsigned vectors;
    uint32_t device_feature_select;
    uint32_t driver_feature_select;
    uint16_t queue_select;
    uint16_t config_vector;
    uint16_t queue_vector[PV_VIRTIO_MAX_QUEUES];
    uint8_t isr;
};

/* ---- Common configuration ---- */

struct field {
    uint8_t offset, size;
};

static const struct field fields[] = {
    {DEVICE_FEATURE_SELECT, 4}, {DEVICE_FEATURE, 4},
    {DRIVER_FEATURE_SELECT, 4}, {DRIVER_FEATURE, 4},
    {CONFIG_MSIX_VECTOR, 2},    {NUM_QUEUES, 2},
    {DEVICE_STATUS, 1},         {CONFIG_GENERATION, 1},
    {QUEUE_SELECT, 2},          {QUEUE_SIZE, 2},
    {QUEUE_MSIX_VECTOR, 2},     {QUEUE_ENABLE, 2},
    {QUEUE_NOTIFY_OFF, 2},      {QUEUE_DESC, 8},
    {QUEUE_DRIVER, 8},          {QUEUE_DEVICE, 8},
    {QUEUE_NOTIFY_DATA, 2},     {QUEUE_RESET, 2},
};

static uint64_t load_field(const struct virtio_pci *vp, enum common_register reg)
{
    const struct pv_virtio_device *dev = vp->dev;
    unsigned queue = vp->queue_select;
    switch (reg) {
    case DEVICE_FEATURE_SELECT: return vp->device_feature_select;
    case DEVICE_FEATURE: return pv_virtio_device_features(dev, vp->device_feature_select);
    case DRIVER_FEATURE_SELECT: return vp->driver_feature_select;
    case DRIVER_FEATURE: return pv_virtio_driver_features(dev, vp->driver_feature_select);
    case CONFIG_MSIX_VECTOR: return vp->config_vector;
    case NUM_QUEUES: return pv_virtio_queue_count(dev);
    case DEVICE_STATUS: return pv_virtio_status(dev);
    case CONFIG_GENERATION: return pv_virtio_config_generation(dev);
    case QUEUE_SELECT: return queue;
    case QUEUE_SIZE: return pv_virtio_queue_size(dev, queue);
    case QUEUE_MSIX_VECTOR:
        return queue < pv_virtio_queue_count(dev) ? vp->queue_vector[queue] : NO_VECTOR;
    case QUEUE_ENABLE: return pv_virtio_queue_enabled(dev, queue);
    case QUEUE_NOTIFY_OFF: return queue;
    case QUEUE_DESC: return pv_virtio_queue_address(dev, queue, PV_VIRTQ_DESC);
    case QUEUE_DRIVER: return pv_virtio_queue_address(dev, queue, PV_VIRTQ_DRIVER);
    case QUEUE_DEVICE: return pv_virtio_queue_address(dev, queue, PV_VIRTQ_DEVICE);
    case QUEUE_NOTIFY_DATA: return queue;
    case QUEUE_RESET: /* done by the time it can be read */
    case COMMON_SIZE: break;
    }
    return 0;
}

/* Fields have no side effects when read, so an access of any shape is put together from them. */
static uint64_t common_read(const struct virtio_pci *vp, unsigned offset, unsigned size)
{
    uint64_t value = 0;
    for (size_t i = 0; i < PV_ARRAY_SIZE(fields); i++) {
        const struct field *f = &fields[i];
        if (f->offset >= offset + size || f->offset + f->size <= offset)
            continue;
        uint64_t field = load_field(vp, f->offset);
        if (f->offset >= offset)
            value |= field << 8 * (f->offset - offset);
        else
            value |= field >> 8 * (offset - f->offset);
    }
    return size == 8 ? value : value & ((UINT64_C(1) << 8 * size) - 1);
}

static uint16_t checked_vector(const struct virtio_pci *vp, uint64_t value)
{
    return value < vp->vectors ? (uint16_t)value : NO_VECTOR;
}

static void address_write(struct virtio_pci *vp, unsigned offset, unsigned size, uint64_t value)
{
    const enum pv_virtq_part part = (enum pv_virtq_part)((offset - QUEUE_DESC) / 8);
    if (offset % 4 || size < 4)
        return;
    pv_virtio_queue_set_address(vp->dev, vp->queue_select, part, offset % 8, (uint32_t)value);
    if (size == 8 && offset % 8 == 0)
        pv_virtio_queue_set_address(vp->dev, vp->queue_select, part, true, (uint32_t)(value >> 32));
}

/* Drivers write whole fields (4.1.3.1); anything else is dropped. */
static void common_write(struct virtio_pci *vp, unsigned offset, unsigned size, uint64_t value)
{
    struct pv_virtio_device *dev = vp->dev;
    unsigned queue = vp->queue_select;
    if (offset >= QUEUE_DESC && offset < QUEUE_NOTIFY_DATA) {
        address_write(vp, offset, size, value);
        return;
    }
    bool whole = false;
    for (size_t i = 0; i < PV_ARRAY_SIZE(fields); i++)
        whole |= fields[i].offset == offset && fields[i].size == size;
    if (!whole)
        return;
    switch ((enum common_register)offset) {
    case DEVICE_FEATURE_SELECT: vp->device_feature_select = (uint32_t)value; break;
    case DRIVER_FEATURE_SELECT: vp->driver_feature_select = (uint32_t)value; break;
    case DRIVER_FEATURE:
        pv_virtio_set_driver_features(dev, vp->driver_feature_select, (uint32_t)value);
        break;
    case CONFIG_MSIX_VECTOR: vp->config_vector = checked_vector(vp, value); break;
    case DEVICE_STATUS: pv_virtio_set_status(dev, (uint8_t)value); break;
    case QUEUE_SELECT: vp->queue_select = (uint16_t)value; break;
    case QUEUE_SIZE: pv_virtio_queue_set_size(dev, queue, (uint16_t)value); break;
    case QUEUE_MSIX_VECTOR:
        if (queue < pv_virtio_queue_count(dev))
            vp->queue_vector[queue] = checked_vector(vp, value);
        break;
    case QUEUE_ENABLE:
        if (value == 1)
            pv_virtio_queue_enable(dev, queue);
        break;
    case QUEUE_RESET:
        if (value == 1)
            pv_virtio_queue_reset(dev, queue);
        break;
    default: break; /* read-only */
    }
}

/* ---- The BAR ---- */

static uint8_t take_isr(struct virtio_pci *vp)
{
    uint8_t isr = vp->isr;
    vp->isr = 0;
    pv_pci_set_intx(vp->function, false);
    return isr;
}

static uint64_t bar_read(void *opaque, uint64_t offset, unsigned size)
{
    struct virtio_pci *vp = opaque;
    uint64_t at = offset % PAGE_SIZE, value = 0;
    pv_virtio_lock(vp->dev);
    switch (offset - at) {
    case COMMON_OFFSET:
        if (at < COMMON_SIZE)
            value = common_read(vp, (unsigned)at, size);
        break;
    case ISR_OFFSET:
        if (at == 0)
            value = take_isr(vp);
        break;
    case DEVICE_OFFSET: value = pv_virtio_config_read(vp->dev, at, size); break;
    default: break;
    }
    pv_virtio_unlock(vp->dev);
    return value;
}

static void bar_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct virtio_pci *vp = opaque;
    uint64_t at = offset % PAGE_SIZE;
    if (offset >= NOTIFY_OFFSET) {
        pv_virtio_queue_notify(vp->dev, (unsigned)(at / NOTIFY_MULTIPLIER));
        return;
    }
    pv_virtio_lock(vp->dev);
    if (offset < ISR_OFFSET)
        common_write(vp, (unsigned)at, size, value);
    else if (offset >= DEVICE_OFFSET)
        pv_virtio_config_write(vp->dev, at, size, value);
    pv_virtio_unlock(vp->dev);
}

static const struct pv_mmio_ops bar_ops = {.read = bar_read, .write = bar_write};

/* ---- The window in configuration space, 4.1.4.9 ---- */

/* Whether the access touches the window's data, and where in the BAR that leads. */
static bool window_target(struct virtio_pci *vp, unsigned offset, unsigned size, uint64_t *target,
                          unsigned *length)
{
    unsigned data = vp->window + CAP_DATA;
    if (offset >= data + 4 || offset + size <= data)
        return false;
    uint64_t bar = pv_pci_config_load(vp->function, vp->window + CAP_BAR, 1);
    uint64_t len = pv_pci_config_load(vp->function, vp->window + CAP_LENGTH, 4);
    *target = pv_pci_config_load(vp->function, vp->window + CAP_OFFSET, 4);
    *length = (unsigned)len;
    return bar == MODERN_BAR && (len == 1 || len == 2 || len == 4) && *target % len == 0 &&
           pv_range_ok(*target, len, BAR_SIZE);
}

static void config_read(void *opaque, unsigned offset, unsigned size)
{
    struct virtio_pci *vp = opaque;
    uint64_t target;
    unsigned length;
    if (window_target(vp, offset, size, &target, &length))
        pv_pci_config_store(vp->function, vp->window + CAP_DATA, length,
                            bar_read(vp, target, length));
}

/* Without bus mastering the function reaches no memory, and so neither rings nor buffers. */
static void follow_master(struct virtio_pci *vp)
{
    pv_virtio_lock(vp->dev);
    pv_virtio_allow_dma(vp->dev, pv_pci_is_master(vp->function));
    pv_virtio_unlock(vp->dev);
}

static void config_written(void *opaque, unsigned offset, unsigned size)
{
    struct virtio_pci *vp = opaque;
    uint64_t target;
    unsigned length;
    if (offset < COMMAND_END && offset + size > COMMAND)
        follow_master(vp);
    if (window_target(vp, offset, size, &target, &length))
        bar_write(vp, target, length,
                  pv_pci_config_load(vp->function, vp->window + CAP_DATA, length));
}

/* ---- Interrupts and reset ---- */

static void interrupt(struct virtio_pci *vp, uint16_t vector, uint8_t isr)
{
    if (pv_pci_msix_enabled(vp->function)) {
        if (vector != NO_VECTOR)
            pv_pci_msix_notify(vp->function, vector);
        return;
    }
    vp->isr |= isr;
    pv_pci_set_intx(vp->function, true);
}

static void queue_interrupt(void *opaque, unsigned queue)
{
    struct virtio_pci *vp = opaque;
    interrupt(vp, vp->queue_vector[queue], PV_VIRTIO_ISR_QUEUE);
}

static void config_interrupt(void *opaque)
{
    struct virtio_pci *vp = opaque;
    interrupt(vp, vp->config_vector, PV_VIRTIO_ISR_CONFIG);
}

static void reset_registers(void *opaque)
{
    struct virtio_pci *vp = opaque;
    vp->device_feature_select = 0;
    vp->driver_feature_select = 0;
    vp->queue_select = 0;
    vp->config_vector = NO_VECTOR;
    for (size_t i = 0; i < PV_ARRAY_SIZE(vp->queue_vector); i++)
        vp->queue_vector[i] = NO_VECTOR;
    take_isr(vp);
}

static const struct pv_virtio_transport_ops transport_ops = {
    .queue_interrupt = queue_interrupt,
    .config_interrupt = config_interrupt,
    .reset = reset_registers,
};

static void reset(void *opaque)
{
    struct virtio_pci *vp = opaque;
    pv_virtio_lock(vp->dev);
    pv_virtio_reset(vp->dev);
    pv_virtio_allow_dma(vp->dev, false);
    pv_virtio_unlock(vp->dev);
}

static void destroy(void *opaque)
{
    struct virtio_pci *vp = opaque;
    pv_virtio_device_destroy(vp->dev);
    free(vp);
}

static bool quiet(void *opaque, bool on)
{
    struct virtio_pci *vp = opaque;
    pv_virtio_lock(vp->dev);
    bool done = pv_virtio_quiet(vp->dev, on);
    pv_virtio_unlock(vp->dev);
    return done;
}

static void record_registers(struct virtio_pci *vp, struct pv_record *record)
{
    pv_record_begin(record, 1, "virtio-pci");
    pv_record_u32(record, &vp->device_feature_select);
    pv_record_u32(record, &vp->driver_feature_select);
    pv_record_u16(record, &vp->queue_select);
    pv_record_u16(record, &vp->config_vector);
    vp->config_vector = checked_vector(vp, vp->config_vector);
    pv_record_same(record, vp->dev->queue_count, "the number of queues");
    for (unsigned i = 0; i < vp->dev->queue_count; i++) {
        pv_record_u16(record, &vp->queue_vector[i]);
        vp->queue_vector[i] = checked_vector(vp, vp->queue_vector[i]);
    }
    pv_record_u8(record, &vp->isr);
    pv_record_end(record);
}

static void record(void *opaque, struct pv_record *record)
{
    struct virtio_pci *vp = opaque;
    bool master = pv_pci_is_master(vp->function);
    pv_virtio_lock(vp->dev);
    record_registers(vp, record);
    vp->dev->no_dma = !master;
    pv_virtio_record(vp->dev, record);
    pv_virtio_unlock(vp->dev);
}

static const struct pv_pci_function_ops function_ops = {
    .name = "virtio-pci",
    .config_read = config_read,
    .config_written = config_written,
    .reset = reset,
    .quiet = quiet,
    .record = record,
    .destroy = destroy,
};

/* ---- Setting up ---- */

static uint32_t class_of(enum pv_virtio_id id)
{
    switch (id) {
    case PV_VIRTIO_ID_NET: return 0x020000;
    case PV_VIRTIO_ID_BLOCK: return 0x010000;
    case PV_VIRTIO_ID_SCSI: return 0x010000;
    case PV_VIRTIO_ID_CONSOLE: return 0x078000;
    case PV_VIRTIO_ID_VSOCK: return 0x078000;
    case PV_VIRTIO_ID_GPU: return 0x038000;
    case PV_VIRTIO_ID_INPUT: return 0x090000;
    case PV_VIRTIO_ID_SOUND: return 0x040100;
    case PV_VIRTIO_ID_9P: return 0x000200;
    case PV_VIRTIO_ID_FS: return 0x018000;
    default: return 0x00ff00;
    }
}

static void put32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof(value));
}

static int add_capability(struct virtio_pci *vp, enum cap_type type, uint32_t offset,
                          uint32_t length, bool extra, uint32_t extra_value, struct pv_error **err)
{
    uint8_t cap[CAP_SIZE + 4] = {0};
    size_t size = CAP_SIZE + (extra ? 4 : 0);
    cap[2] = (uint8_t)size;
    cap[3] = (uint8_t)type;
    cap[CAP_BAR] = type == CAP_PCI ? 0 : MODERN_BAR;
    put32(cap + CAP_OFFSET, offset);
    put32(cap + CAP_LENGTH, length);
    put32(cap + CAP_DATA, extra_value);
    return pv_pci_add_capability(vp->function, CAP_VENDOR, cap + 2, size, err);
}

static int add_capabilities(struct virtio_pci *vp, struct pv_error **err)
{
    int ret = add_capability(vp, CAP_COMMON, COMMON_OFFSET, COMMON_SIZE, false, 0, err);
    if (ret >= 0)
        ret = add_capability(vp, CAP_ISR, ISR_OFFSET, 1, false, 0, err);
    if (ret >= 0)
        ret = add_capability(vp, CAP_DEVICE, DEVICE_OFFSET, PAGE_SIZE, false, 0, err);
    if (ret >= 0)
        ret =
            add_capability(vp, CAP_NOTIFY, NOTIFY_OFFSET, PAGE_SIZE, true, NOTIFY_MULTIPLIER, err);
    if (ret >= 0)
        ret = add_capability(vp, CAP_PCI, 0, 0, true, 0, err);
    if (ret < 0)
        return ret;
    vp->window = (unsigned)ret;
    pv_pci_set_writable(vp->function, vp->window + CAP_BAR, 1);
    pv_pci_set_writable(vp->function, vp->window + CAP_OFFSET, 12);
    return 0;
}

/* 4.1.4.7: a BAR of its own, all of it. */
static int add_shared_memory(struct virtio_pci *vp, const struct pv_virtio_shm *shm,
                             struct pv_error **err)
{
    uint8_t cap[CAP64_SIZE] = {0};
    cap[2] = sizeof(cap);
    cap[3] = CAP_SHM;
    cap[CAP_BAR] = SHM_BAR;
    cap[CAP_ID] = shm->id;
    put32(cap + CAP_LENGTH, (uint32_t)shm->size);
    put32(cap + CAP_LENGTH_HIGH, (uint32_t)(shm->size >> 32));
    int ret = pv_pci_add_window(vp->function, SHM_BAR, shm->size, shm->moved, shm->opaque, err);
    if (ret >= 0)
        ret = pv_pci_add_capability(vp->function, CAP_VENDOR, cap + 2, sizeof(cap), err);
    return PV_MIN(ret, 0);
}

int pv_virtio_pci_create(struct pv_virtio_device *dev, struct pv_pci_bus *bus, int slot,
                         struct pv_error **err)
{
    struct virtio_pci *vp = calloc(1, sizeof(*vp));
    if (!vp)
        return pv_error_set(err, ENOMEM, "virtio %s: out of memory", dev->ops->name);
    vp->vectors = dev->queue_count + 1;
    const struct pv_pci_function_config config = {
        .vendor = VENDOR,
        .device = (uint16_t)(DEVICE_BASE + dev->ops->id),
        .subsystem_vendor = VENDOR,
        .subsystem = SUBSYSTEM,
        .class_code = class_of(dev->ops->id),
        .revision = REVISION,
        .msix_vectors = vp->vectors,
        .msix_bar = MSIX_BAR,
        .intx = true,
    };
    int ret = pv_pci_function_create(&vp->function, bus, slot, &config, &function_ops, vp, err);
    if (ret < 0) {
        free(vp);
        return pv_error_prefix(err, "virtio %s", dev->ops->name);
    }
    ret = pv_pci_add_bar(vp->function, MODERN_BAR, BAR_SIZE, true, true, &bar_ops, vp, err);
    if (!ret)
        ret = add_capabilities(vp, err);
    if (!ret && dev->shm)
        ret = add_shared_memory(vp, dev->shm, err);
    if (ret < 0) {
        pv_pci_function_destroy(vp->function); /* frees vp; the device is not in it yet */
        return pv_error_prefix(err, "virtio %s", dev->ops->name);
    }
    vp->dev = dev;
    reset_registers(vp);
    pv_virtio_attach(dev, &transport_ops, pv_pci_function_slot(vp->function), vp);
    pv_virtio_allow_dma(dev, false);
    return 0;
}
