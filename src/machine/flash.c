/* SPDX-License-Identifier: MIT */
/*
 * How a bank works: while the chips are in read-array mode the bank is ROM in the address space, so
 * that firmware runs from it at full speed; a write is a command and traps. A command that makes
 * reads return something else than the array (status, identifiers, the CFI table) turns the bank
 * into device memory until a command goes back to the array. Swapping the region costs every vCPU
 * its translations of it, which is nothing beside what real flash takes to change modes.
 *
 * Both chips are driven alike: a command counts whatever its width, from the low byte, and what the
 * chips answer appears in both halves of a 32-bit word. Everything is done at once: the ready bit
 * of the status is always set. Programming can only clear bits, as in the real thing: 1 comes back
 * by erasing a sector.
 *
 * The array is host memory that is not committed until something is written to it. With a file
 * behind it, a change is first written to the file; when that fails the array stays as it was and
 * the guest gets a program or erase failure.
 */
#include "machine/flash.h"

#include "base/checked.h"
#include "base/error.h"
#include "base/log.h"
#include "base/record.h"
#include "base/util.h"
#include "host/mapping.h"
#include "memory/address_space.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

enum {
    CMD_PROGRAM_ALT = 0x10,
    CMD_ERASE = 0x20,
    CMD_PROGRAM = 0x40,
    CMD_CLEAR_STATUS = 0x50,
    CMD_LOCK = 0x60,
    CMD_READ_STATUS = 0x70,
    CMD_READ_ID = 0x90,
    CMD_CFI_QUERY = 0x98,
    CMD_CONFIRM = 0xd0,
    CMD_PROGRAM_BUFFER = 0xe8,
    CMD_READ_ARRAY_ALT = 0xf0,
    CMD_READ_ARRAY = 0xff,
};

enum {
    STATUS_LOCKED = 0x02,
    STATUS_PROGRAM_FAILED = 0x10,
    STATUS_ERASE_FAILED = 0x20,
    STATUS_BAD_SEQUENCE = STATUS_PROGRAM_FAILED | STATUS_ERASE_FAILED,
    STATUS_READY = 0x80,
};

/* What a read returns. */
enum view {
    VIEW_ARRAY,
    VIEW_STATUS,
    VIEW_ID,
    VIEW_CFI,
};

/* What the next write is. */
enum step {
    STEP_COMMAND,
    STEP_WORD,         /* the data of a word program */
    STEP_ERASE,        /* the confirmation of an erase */
    STEP_LOCK,         /* which kind of locking */
    STEP_BUFFER_COUNT, /* how many words follow, less one */
    STEP_BUFFER_DATA,
    STEP_BUFFER_CONFIRM,
};

#define CHIP_BUFFER_SHIFT 11u /* 2 KiB of each chip */
#define BUFFER_SIZE       (2u << CHIP_BUFFER_SHIFT)
#define WORD              4u /* of the bank: 16 bits of each chip */
#define CFI_WORDS         0x34u
#define MANUFACTURER      0x89u
#define DEVICE            0x18u

struct pv_flash {
    struct pv_address_space *as;
    uint64_t address, size;
    bool read_only;
    const char *name;
    struct pv_mapping array;
    uint32_t used; /* sectors up to the last that ever was anything but zeroes */
    int fd;        /* written through to, or -1 */

    pthread_mutex_t lock;
    enum view view;
    enum step step;
    uint8_t status; /* without the ready bit */
    uint8_t cfi[CFI_WORDS];
    uint8_t buffer[BUFFER_SIZE];
    uint64_t buffer_base; /* where the buffer goes in the array */
    size_t buffer_left;   /* bytes still to come */
    bool buffer_started;  /* buffer_base is known */
    bool warned;
};

/* ---- The array ---- */

/* Looking at the rest would commit memory to it. */
static void note_used(struct pv_flash *flash, uint64_t offset, size_t size)
{
    const uint64_t end = (offset + size + PV_FLASH_SECTOR - 1) / PV_FLASH_SECTOR;

    flash->used = PV_MAX(flash->used, (uint32_t)end);
}

/* Replaces a part of the array, in the file first. */
static int change(struct pv_flash *flash, uint64_t offset, const uint8_t *data, size_t size)
{
    size_t done = 0;

    while (flash->fd >= 0 && done < size) {
        ssize_t n = pwrite(flash->fd, data + done, size - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            if (!flash->warned)
                pv_error_log(PV_LOG_MACHINE, "%s: writing to its file: %s", flash->name,
                             strerror(errno));
            flash->warned = true;
            return -EIO;
        }
        done += (size_t)n;
    }
    memcpy((uint8_t *)flash->array.data + offset, data, size);
    note_used(flash, offset, size);
    return 0;
}

static void program(struct pv_flash *flash, uint64_t offset, uint8_t *data, size_t size)
{
    const uint8_t *old = (const uint8_t *)flash->array.data + offset;

    if (flash->read_only) {
        flash->status |= STATUS_PROGRAM_FAILED | STATUS_LOCKED;
        return;
    }
    for (size_t i = 0; i < size; i++)
        data[i] &= old[i];
    if (change(flash, offset, data, size) < 0)
        flash->status |= STATUS_PROGRAM_FAILED;
}

static void erase(struct pv_flash *flash, uint64_t offset)
{
    if (flash->read_only) {
        flash->status |= STATUS_ERASE_FAILED | STATUS_LOCKED;
        return;
    }
    PV_CLEANUP_FREE uint8_t *ones = malloc(PV_FLASH_SECTOR);
    if (ones)
        memset(ones, 0xff, PV_FLASH_SECTOR);
    if (!ones || change(flash, pv_align_down(offset, PV_FLASH_SECTOR), ones, PV_FLASH_SECTOR) < 0)
        flash->status |= STATUS_ERASE_FAILED;
}

/* ---- Commands ---- */

static void take_command(struct pv_flash *flash, uint8_t command)
{
    flash->step = STEP_COMMAND;
    flash->view = VIEW_STATUS;
    switch (command) {
    case CMD_PROGRAM:
    case CMD_PROGRAM_ALT: flash->step = STEP_WORD; break;
    case CMD_ERASE: flash->step = STEP_ERASE; break;
    case CMD_LOCK: flash->step = STEP_LOCK; break;
    case CMD_PROGRAM_BUFFER: flash->step = STEP_BUFFER_COUNT; break;
    case CMD_CLEAR_STATUS: flash->status = 0; break;
    case CMD_READ_STATUS: break;
    case CMD_READ_ID: flash->view = VIEW_ID; break;
    case CMD_CFI_QUERY: flash->view = VIEW_CFI; break;
    case CMD_READ_ARRAY:
    case CMD_READ_ARRAY_ALT: flash->view = VIEW_ARRAY; break;
    default: flash->view = VIEW_ARRAY; break; /* as firmware that writes to ROM expects */
    }
}

static void bad_sequence(struct pv_flash *flash)
{
    flash->status |= STATUS_BAD_SEQUENCE;
    flash->step = STEP_COMMAND;
}

static void take_count(struct pv_flash *flash, uint16_t count)
{
    size_t bytes = ((size_t)count + 1) * WORD;

    if (bytes > BUFFER_SIZE) {
        bad_sequence(flash);
        return;
    }
    flash->buffer_left = bytes;
    flash->buffer_started = false;
    flash->step = STEP_BUFFER_DATA;
    memset(flash->buffer, 0xff, sizeof(flash->buffer));
}

static void take_data(struct pv_flash *flash, uint64_t offset, unsigned size, const uint8_t *data)
{
    if (!flash->buffer_started) {
        flash->buffer_base = pv_align_down(offset, BUFFER_SIZE);
        flash->buffer_started = true;
    }
    if (offset < flash->buffer_base || size > flash->buffer_left ||
        !pv_range_ok(offset - flash->buffer_base, size, BUFFER_SIZE)) {
        bad_sequence(flash);
        return;
    }
    memcpy(flash->buffer + (offset - flash->buffer_base), data, size);
    flash->buffer_left -= size;
    if (!flash->buffer_left)
        flash->step = STEP_BUFFER_CONFIRM;
}

static void take_write(struct pv_flash *flash, uint64_t offset, unsigned size, uint64_t value)
{
    uint8_t data[sizeof(value)];

    memcpy(data, &value, sizeof(data));
    switch (flash->step) {
    case STEP_COMMAND: take_command(flash, data[0]); break;
    case STEP_WORD:
        flash->step = STEP_COMMAND;
        program(flash, offset, data, size);
        break;
    case STEP_ERASE:
        flash->step = STEP_COMMAND;
        if (data[0] == CMD_CONFIRM)
            erase(flash, offset);
        else
            bad_sequence(flash);
        break;
    case STEP_LOCK: flash->step = STEP_COMMAND; break; /* sectors cannot be locked singly */
    case STEP_BUFFER_COUNT:
        take_count(flash, size == 1 ? data[0] : (uint16_t)(data[0] | data[1] << 8));
        break;
    case STEP_BUFFER_DATA: take_data(flash, offset, size, data); break;
    case STEP_BUFFER_CONFIRM:
        flash->step = STEP_COMMAND;
        if (data[0] == CMD_CONFIRM)
            program(flash, flash->buffer_base, flash->buffer, sizeof(flash->buffer));
        else
            bad_sequence(flash);
        break;
    }
}

/* ---- What a vCPU sees ---- */

static uint64_t flash_read(void *opaque, uint64_t offset, unsigned size);
static void flash_write(void *opaque, uint64_t offset, unsigned size, uint64_t value);

static const struct pv_mmio_ops flash_ops = {flash_read, flash_write};

/* One chip's answer at a word of the bank. */
static uint8_t answer(const struct pv_flash *flash, uint64_t word)
{
    switch (flash->view) {
    case VIEW_ID: return word == 0 ? MANUFACTURER : word == 1 ? DEVICE : 0;
    case VIEW_CFI: return word < CFI_WORDS ? flash->cfi[word] : 0;
    default: return flash->status | STATUS_READY;
    }
}

static uint64_t flash_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pv_flash *flash = opaque;
    uint64_t value = 0;

    pthread_mutex_lock(&flash->lock);
    if (flash->view == VIEW_ARRAY) {
        memcpy(&value, (const uint8_t *)flash->array.data + offset, size);
    } else {
        for (unsigned i = 0; i < size; i++) /* chips are 16 bits wide: odd bytes are zero */
            if (!((offset + i) & 1))
                value |= (uint64_t)answer(flash, (offset + i) / WORD % 64) << 8 * i;
    }
    pthread_mutex_unlock(&flash->lock);
    return value;
}

static int map(struct pv_flash *flash, struct pv_error **err)
{
    if (flash->view == VIEW_ARRAY)
        return pv_as_add_host(flash->as, flash->address, flash->size, flash->array.data,
                              flash->array.fd, 0, PV_REGION_ROM, &flash_ops, flash, flash->name,
                              err);
    return pv_as_add_mmio(flash->as, flash->address, flash->size, &flash_ops, flash, flash->name,
                          err);
}

/* Makes the region what the view asks for. With the lock held: a second vCPU's write waits. */
static void remap(struct pv_flash *flash)
{
    PV_CLEANUP_ERROR struct pv_error *err = NULL;

    pv_as_remove(flash->as, flash->address);
    if (map(flash, &err) < 0)
        pv_error_log(PV_LOG_MACHINE, "%s: %s", flash->name, pv_error_message(err));
}

static void flash_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct pv_flash *flash = opaque;

    pthread_mutex_lock(&flash->lock);
    bool array = flash->view == VIEW_ARRAY;
    take_write(flash, offset, size, value);
    if (array != (flash->view == VIEW_ARRAY))
        remap(flash);
    pthread_mutex_unlock(&flash->lock);
}

/* ---- Life ---- */

/* The table that a CFI query finds (JEP137, and Intel's extension at 0x31). */
static void fill_cfi(struct pv_flash *flash)
{
    const uint64_t chip = flash->size / 2, sector = PV_FLASH_SECTOR / 2;
    const uint64_t sectors = chip / sector;
    uint8_t *cfi = flash->cfi;

    memcpy(cfi + 0x10, "QRY", 3);
    cfi[0x13] = 1;    /* Intel's command set */
    cfi[0x15] = 0x31; /* where its table is */
    cfi[0x1b] = 0x45; /* 4.5 V to 5.5 V */
    cfi[0x1c] = 0x55;
    cfi[0x1f] = 7; /* 2^n us: word, buffer; 2^n ms: sector */
    cfi[0x20] = 7;
    cfi[0x21] = 10;
    cfi[0x23] = 4; /* at most 2^n times that */
    cfi[0x24] = 4;
    cfi[0x25] = 4;
    cfi[0x27] = (uint8_t)__builtin_ctzll(chip);
    cfi[0x28] = 2; /* 8 and 16 bits wide */
    cfi[0x2a] = CHIP_BUFFER_SHIFT;
    cfi[0x2c] = 1; /* one region of equal sectors */
    cfi[0x2d] = (uint8_t)(sectors - 1);
    cfi[0x2e] = (uint8_t)((sectors - 1) >> 8);
    cfi[0x2f] = (uint8_t)(sector >> 8);
    cfi[0x30] = (uint8_t)(sector >> 16);
    memcpy(cfi + 0x31, "PRI", 3);
}

int pv_flash_create(struct pv_flash **out, struct pv_address_space *as, uint64_t address,
                    uint64_t size, bool read_only, const char *name, struct pv_error **err)
{
    struct pv_flash *flash = calloc(1, sizeof(*flash));

    if (!flash)
        return pv_error_set(err, ENOMEM, "%s: out of memory", name);
    flash->as = as;
    flash->address = address;
    flash->size = size;
    flash->read_only = read_only;
    flash->name = name;
    flash->fd = -1;
    int ret = pv_mapping_create(&flash->array, name, (size_t)size, err);
    if (ret >= 0)
        ret = map(flash, err);
    if (ret < 0) {
        pv_mapping_destroy(&flash->array);
        free(flash);
        return ret;
    }
    fill_cfi(flash);
    pthread_mutex_init(&flash->lock, NULL);
    *out = flash;
    return 0;
}

void pv_flash_destroy(struct pv_flash *flash)
{
    if (!flash)
        return;
    pv_as_remove(flash->as, flash->address);
    pthread_mutex_destroy(&flash->lock);
    pv_mapping_destroy(&flash->array);
    pv_cleanup_fd(&flash->fd);
    free(flash);
}

void pv_flash_reset(struct pv_flash *flash)
{
    pthread_mutex_lock(&flash->lock);
    bool array = flash->view == VIEW_ARRAY;
    flash->view = VIEW_ARRAY;
    flash->step = STEP_COMMAND;
    flash->status = 0;
    if (!array)
        remap(flash);
    pthread_mutex_unlock(&flash->lock);
}

/* ---- Snapshots ---- */

/* Sectors that are not all zeroes; of a bank that the guest cannot change, none. */
static int record_sector(struct pv_flash *flash, struct pv_record *record, uint32_t sector,
                         uint8_t *data)
{
    const uint64_t offset = (uint64_t)sector * PV_FLASH_SECTOR;
    uint8_t *now = (uint8_t *)flash->array.data + offset;

    memcpy(data, now, PV_FLASH_SECTOR);
    pv_record_bytes(record, data, PV_FLASH_SECTOR);
    return memcmp(data, now, PV_FLASH_SECTOR) != 0 ? change(flash, offset, data, PV_FLASH_SECTOR)
                                                   : 0;
}

static bool is_zero(const struct pv_flash *flash, uint32_t sector)
{
    const uint8_t *data = (const uint8_t *)flash->array.data + (uint64_t)sector * PV_FLASH_SECTOR;

    return !data[0] && memcmp(data, data + 1, PV_FLASH_SECTOR - 1) == 0;
}

static void record_array(struct pv_flash *flash, struct pv_record *record)
{
    const uint32_t sectors = (uint32_t)(flash->size / PV_FLASH_SECTOR);
    PV_CLEANUP_FREE uint8_t *data = calloc(1, PV_FLASH_SECTOR);
    uint32_t used = flash->used;

    if (!data) {
        pv_record_fail(record, ENOMEM, "out of memory");
        return;
    }
    pv_record_limited(record, &used, sectors);
    for (uint32_t i = 0; i < PV_MAX(used, flash->used) && pv_record_ok(record); i++) {
        bool zero = is_zero(flash, i);
        int ret = 0;
        if (i < used)
            pv_record_bool(record, &zero);
        else
            zero = true;
        if (!zero)
            ret = record_sector(flash, record, i, data);
        else if (!is_zero(flash, i)) {
            memset(data, 0, PV_FLASH_SECTOR);
            ret = change(flash, (uint64_t)i * PV_FLASH_SECTOR, data, PV_FLASH_SECTOR);
        }
        if (ret < 0)
            pv_record_fail(record, -ret, "its file cannot be written");
    }
    flash->used = PV_MAX(flash->used, used);
}

void pv_flash_record(struct pv_flash *flash, struct pv_record *record)
{
    uint32_t view = flash->view, step = flash->step, left = (uint32_t)flash->buffer_left;

    pthread_mutex_lock(&flash->lock);
    const bool array = flash->view == VIEW_ARRAY;
    pv_record_begin(record, 1, "%s", flash->name);
    pv_record_same(record, flash->size, "its size");
    pv_record_limited(record, &view, VIEW_CFI);
    pv_record_limited(record, &step, STEP_BUFFER_CONFIRM);
    pv_record_u8(record, &flash->status);
    pv_record_bytes(record, flash->buffer, sizeof(flash->buffer));
    pv_record_u64(record, &flash->buffer_base);
    pv_record_limited(record, &left, BUFFER_SIZE);
    pv_record_bool(record, &flash->buffer_started);
    if (flash->buffer_base > flash->size - BUFFER_SIZE)
        pv_record_fail(record, EINVAL, "a buffer at %#llx", (unsigned long long)flash->buffer_base);
    if (!flash->read_only)
        record_array(flash, record);
    pv_record_end(record);
    if (pv_record_loading(record) && pv_record_ok(record)) {
        flash->view = view;
        flash->step = step;
        flash->buffer_left = left;
        if (array != (flash->view == VIEW_ARRAY))
            remap(flash);
    }
    pthread_mutex_unlock(&flash->lock);
}

int pv_flash_load(struct pv_flash *flash, int fd, const char *path, struct pv_error **err)
{
    static const uint8_t zeroes[64 * 1024];
    PV_CLEANUP_FREE uint8_t *chunk = malloc(sizeof(zeroes));
    uint64_t at = 0;

    if (!chunk)
        return pv_error_set(err, ENOMEM, "%s: out of memory to read it", path);
    for (;;) {
        ssize_t n = pread(fd, chunk, sizeof(zeroes), (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return pv_error_errno(err, errno, "%s", path);
        if (n == 0)
            return 0;
        if (!pv_range_ok(at, (uint64_t)n, flash->size))
            return pv_error_set(err, EFBIG, "%s: larger than the flash, which has %llu MiB", path,
                                (unsigned long long)(flash->size / PV_MIB));
        if (memcmp(chunk, zeroes, (size_t)n) != 0) {
            memcpy((uint8_t *)flash->array.data + at, chunk, (size_t)n);
            note_used(flash, at, (size_t)n);
        }
        at += (uint64_t)n;
    }
}

void pv_flash_write_through(struct pv_flash *flash, int fd)
{
    pv_cleanup_fd(&flash->fd);
    flash->fd = fd;
}
