/* SPDX-License-Identifier: MIT */
/*
 * Firmware selects an item and reads it from its first byte on, through a data register or by
 * handing over a descriptor in its memory. Registers and descriptors are big-endian. Beyond an
 * item's end, and in items that do not exist, everything reads as zero. Nothing can be written.
 *
 * Items are looked up in two small tables, for fixed numbers and for files, whose directory is an
 * item itself and is made anew whenever a file is set.
 */
#include "machine/fwcfg.h"

#include "base/endian.h"
#include "base/error.h"
#include "base/record.h"
#include "base/util.h"
#include "memory/address_space.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define REGION_SIZE UINT64_C(0x1000)

enum {
    REG_DATA = 0x00, /* 8 bytes, of which any number is read at once */
    REG_SELECTOR = 0x08,
    REG_DMA_HIGH = 0x10,
    REG_DMA_LOW = 0x14, /* writing it starts the transfer */
};

enum {
    DMA_ERROR = 0x01,
    DMA_READ = 0x02,
    DMA_SKIP = 0x04,
    DMA_SELECT = 0x08,
    DMA_WRITE = 0x10,
};

#define ID_TRADITIONAL 1u
#define ID_DMA         2u

#define DMA_SIGNATURE UINT64_C(0x51454d5520434647) /* "QEMU CFG" */

struct item {
    uint8_t *data;
    uint32_t size;
};

struct file {
    struct item item;
    char name[PV_FWCFG_NAME_SIZE];
};

struct pv_fwcfg {
    struct pv_address_space *as;
    uint64_t address;
    struct item items[PV_FWCFG_FIRST_FILE];
    struct file files[PV_FWCFG_FILES];
    unsigned file_count;

    pthread_mutex_t lock; /* for what follows */
    uint16_t selected;
    uint32_t at;
    uint32_t dma_high;
};

/* As it lies in guest memory; all big-endian. */
struct dma_descriptor {
    uint32_t control;
    uint32_t length;
    uint64_t address;
};

struct directory_entry {
    uint32_t size;
    uint16_t key;
    uint16_t reserved;
    char name[PV_FWCFG_NAME_SIZE];
};

static struct item selected_item(const struct pv_fwcfg *fwcfg)
{
    uint16_t key = fwcfg->selected;

    if (key < PV_FWCFG_FIRST_FILE)
        return fwcfg->items[key];
    key -= PV_FWCFG_FIRST_FILE;
    return key < fwcfg->file_count ? fwcfg->files[key].item : (struct item){0};
}

static void select_item(struct pv_fwcfg *fwcfg, uint16_t key)
{
    fwcfg->selected = key;
    fwcfg->at = 0;
}

static void skip(struct pv_fwcfg *fwcfg, uint32_t length)
{
    uint32_t left = selected_item(fwcfg).size - fwcfg->at;
    fwcfg->at += PV_MIN(length, left);
}

/* ---- Registers ---- */

static uint64_t read_data(struct pv_fwcfg *fwcfg, unsigned size)
{
    const struct item item = selected_item(fwcfg);
    uint64_t value = 0;

    for (unsigned i = 0; i < size && fwcfg->at < item.size; i++)
        value |= (uint64_t)item.data[fwcfg->at++] << 8 * i;
    return value;
}

static uint64_t fwcfg_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pv_fwcfg *fwcfg = opaque;
    uint64_t value = 0;

    if (offset == REG_DATA) {
        pthread_mutex_lock(&fwcfg->lock);
        value = read_data(fwcfg, size);
        pthread_mutex_unlock(&fwcfg->lock);
    } else if (offset >= REG_DMA_HIGH && offset < REG_DMA_HIGH + 8) {
        value = htobe64(DMA_SIGNATURE) >> 8 * (offset - REG_DMA_HIGH);
    }
    return size < 8 ? value & ((UINT64_C(1) << 8 * size) - 1) : value;
}

static int transfer(struct pv_fwcfg *fwcfg, uint64_t address, uint32_t length)
{
    const struct item item = selected_item(fwcfg);
    uint32_t present = PV_MIN(length, item.size - fwcfg->at);

    /* Checked whole, so that a bad range changes nothing. */
    if (length && !pv_as_host(fwcfg->as, address, length, false))
        return -EFAULT;
    int ret = present ? pv_as_write(fwcfg->as, address, item.data + fwcfg->at, present) : 0;
    if (ret >= 0)
        ret = pv_as_fill(fwcfg->as, address + present, 0, length - present);
    fwcfg->at += present;
    return ret;
}

static void run_dma(struct pv_fwcfg *fwcfg, uint64_t address)
{
    struct dma_descriptor dma;
    int ret = 0;

    if (pv_as_read(fwcfg->as, address, &dma, sizeof(dma)) < 0)
        return; /* nowhere to tell */
    uint32_t control = be32toh(dma.control);
    if (control & DMA_SELECT)
        select_item(fwcfg, (uint16_t)(control >> 16));
    if (control & DMA_READ)
        ret = transfer(fwcfg, be64toh(dma.address), be32toh(dma.length));
    else if (control & DMA_WRITE)
        ret = -EPERM;
    else if (control & DMA_SKIP)
        skip(fwcfg, be32toh(dma.length));
    dma.control = htobe32(ret < 0 ? DMA_ERROR : 0);
    pv_as_write(fwcfg->as, address, &dma.control, sizeof(dma.control));
}

static void fwcfg_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct pv_fwcfg *fwcfg = opaque;

    pthread_mutex_lock(&fwcfg->lock);
    if (offset == REG_SELECTOR && size == 2) {
        select_item(fwcfg, be16toh((uint16_t)value));
    } else if (offset == REG_DMA_HIGH && size == 8) {
        run_dma(fwcfg, be64toh(value));
    } else if (offset == REG_DMA_HIGH && size == 4) {
        fwcfg->dma_high = be32toh((uint32_t)value);
    } else if (offset == REG_DMA_LOW && size == 4) {
        run_dma(fwcfg, (uint64_t)fwcfg->dma_high << 32 | be32toh((uint32_t)value));
        fwcfg->dma_high = 0;
    }
    pthread_mutex_unlock(&fwcfg->lock);
}

/* ---- Contents ---- */

static int set_item(struct item *item, const void *data, size_t size, const char *name,
                    struct pv_error **err)
{
    uint8_t *copy = NULL;

    if (size > UINT32_MAX)
        return pv_error_set(err, EFBIG, "fw_cfg: %s has %zu bytes; at most 4 GiB - 1 are possible",
                            name, size);
    if (size) {
        copy = malloc(size);
        if (!copy)
            return pv_error_set(err, ENOMEM, "fw_cfg: out of memory for %s", name);
        memcpy(copy, data, size);
    }
    free(item->data);
    *item = (struct item){copy, (uint32_t)size};
    return 0;
}

int pv_fwcfg_set(struct pv_fwcfg *fwcfg, enum pv_fwcfg_key key, const void *data, size_t size,
                 struct pv_error **err)
{
    char name[16];

    snprintf(name, sizeof(name), "item %#x", (unsigned)key);
    return set_item(&fwcfg->items[key], data, size, name, err);
}

int pv_fwcfg_set_u16(struct pv_fwcfg *fwcfg, enum pv_fwcfg_key key, uint16_t value,
                     struct pv_error **err)
{
    uint16_t le = htole16(value);
    return pv_fwcfg_set(fwcfg, key, &le, sizeof(le), err);
}

int pv_fwcfg_set_u32(struct pv_fwcfg *fwcfg, enum pv_fwcfg_key key, uint32_t value,
                     struct pv_error **err)
{
    uint32_t le = htole32(value);
    return pv_fwcfg_set(fwcfg, key, &le, sizeof(le), err);
}

static int write_directory(struct pv_fwcfg *fwcfg, struct pv_error **err)
{
    uint8_t data[4 + PV_FWCFG_FILES * sizeof(struct directory_entry)];
    uint32_t count = htobe32(fwcfg->file_count);

    memcpy(data, &count, sizeof(count));
    for (unsigned i = 0; i < fwcfg->file_count; i++) {
        struct directory_entry entry = {
            .size = htobe32(fwcfg->files[i].item.size),
            .key = htobe16((uint16_t)(PV_FWCFG_FIRST_FILE + i)),
        };
        memcpy(entry.name, fwcfg->files[i].name, sizeof(entry.name));
        memcpy(data + 4 + i * sizeof(entry), &entry, sizeof(entry));
    }
    return pv_fwcfg_set(fwcfg, PV_FWCFG_DIRECTORY, data,
                        4 + fwcfg->file_count * sizeof(struct directory_entry), err);
}

int pv_fwcfg_set_file(struct pv_fwcfg *fwcfg, const char *name, const void *data, size_t size,
                      struct pv_error **err)
{
    unsigned i = 0;

    while (i < fwcfg->file_count && strcmp(fwcfg->files[i].name, name) != 0)
        i++;
    if (i == PV_FWCFG_FILES || strlen(name) >= PV_FWCFG_NAME_SIZE)
        return pv_error_set(err, ENOSPC, "fw_cfg: no place for the file '%s'", name);
    int ret = set_item(&fwcfg->files[i].item, data, size, name, err);
    if (ret < 0)
        return ret;
    if (i == fwcfg->file_count) {
        memcpy(fwcfg->files[i].name, name, strlen(name));
        fwcfg->file_count++;
    }
    return write_directory(fwcfg, err);
}

/* ---- Life ---- */

static void release(struct pv_fwcfg *fwcfg)
{
    for (unsigned i = 0; i < PV_FWCFG_FIRST_FILE; i++)
        free(fwcfg->items[i].data);
    for (unsigned i = 0; i < fwcfg->file_count; i++)
        free(fwcfg->files[i].item.data);
    pthread_mutex_destroy(&fwcfg->lock);
    free(fwcfg);
}

int pv_fwcfg_create(struct pv_fwcfg **out, struct pv_address_space *as, uint64_t address,
                    struct pv_error **err)
{
    static const struct pv_mmio_ops ops = {fwcfg_read, fwcfg_write};
    struct pv_fwcfg *fwcfg = calloc(1, sizeof(*fwcfg));

    if (!fwcfg)
        return pv_error_set(err, ENOMEM, "out of memory for fw_cfg");
    fwcfg->as = as;
    fwcfg->address = address;
    pthread_mutex_init(&fwcfg->lock, NULL);
    int ret = pv_fwcfg_set(fwcfg, PV_FWCFG_SIGNATURE, "QEMU", 4, err);
    if (ret >= 0)
        ret = pv_fwcfg_set_u32(fwcfg, PV_FWCFG_ID, ID_TRADITIONAL | ID_DMA, err);
    if (ret >= 0)
        ret = write_directory(fwcfg, err);
    if (ret >= 0)
        ret = pv_as_add_mmio(as, address, REGION_SIZE, &ops, fwcfg, "fw_cfg", err);
    if (ret < 0) {
        release(fwcfg);
        return ret;
    }
    *out = fwcfg;
    return 0;
}

void pv_fwcfg_destroy(struct pv_fwcfg *fwcfg)
{
    if (!fwcfg)
        return;
    pv_as_remove(fwcfg->as, fwcfg->address);
    release(fwcfg);
}

void pv_fwcfg_record(struct pv_fwcfg *fwcfg, struct pv_record *record)
{
    pthread_mutex_lock(&fwcfg->lock);
    pv_record_begin(record, 1, "fw_cfg");
    pv_record_u16(record, &fwcfg->selected);
    pv_record_u32(record, &fwcfg->at);
    pv_record_u32(record, &fwcfg->dma_high);
    fwcfg->at = PV_MIN(fwcfg->at, selected_item(fwcfg).size);
    pv_record_end(record);
    pthread_mutex_unlock(&fwcfg->lock);
}

void pv_fwcfg_reset(struct pv_fwcfg *fwcfg)
{
    pthread_mutex_lock(&fwcfg->lock);
    select_item(fwcfg, PV_FWCFG_SIGNATURE);
    fwcfg->dma_high = 0;
    pthread_mutex_unlock(&fwcfg->lock);
}
