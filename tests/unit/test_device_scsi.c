/* SPDX-License-Identifier: MIT */
/* virtio-scsi with a disk (target 0) and a CD-ROM (target 1), driven through its rings. */
#include "virtio_driver.h"

#include "block/block.h"
#include "device/scsi.h"

#include <errno.h>

#define BLOCKS    256u /* of the disk */
#define CD_BLOCKS 400u

enum { CONTROL, EVENTS, REQUESTS };
enum { OK = 0, OVERRUN = 1, BAD_TARGET = 3 };
enum { DISK, CDROM };

#define COMMAND  DATA
#define DATA_OUT (DATA + 0x1000)
#define RESPONSE (DATA + 0x10000)
#define DATA_IN  (DATA + 0x20000)

struct response {
    uint32_t sense_len, residual;
    uint16_t qualifier;
    uint8_t status, response;
    uint8_t sense[96];
};

struct fixture {
    struct driver d;
    char paths[2][64];
    struct response r;
};

static struct pv_block *open_image(struct fixture *f, unsigned i, uint64_t size, bool read_only)
{
    struct pv_block *block;
    strcpy(f->paths[i], "/tmp/pv-test-scsi-XXXXXX");
    int fd = mkstemp(f->paths[i]);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    for (uint32_t at = 0; read_only && at < size / 2048; at++)
        assert_int_equal(pwrite(fd, &at, sizeof(at), at * 2048), sizeof(at));
    close(fd);
    const struct pv_block_options options = {.read_only = read_only};
    assert_int_equal(pv_block_open(&block, f->d.loop, f->paths[i], &options, NULL), 0);
    return block;
}

static void setup(struct fixture *f)
{
    driver_setup(&f->d);
    const struct pv_scsi_target targets[] = {
        {.block = open_image(f, DISK, BLOCKS * 512, false), .serial = "pear0"},
        {.block = open_image(f, CDROM, CD_BLOCKS * 2048, true), .cdrom = true},
    };
    struct pv_virtio_device *dev;
    assert_int_equal(pv_scsi_create(&dev, f->d.loop, f->d.as, targets, 2, 2, NULL), 0);
    attach(&f->d, dev);
    bring_up(&f->d, dev->offered_features & ~EVENT_IDX);
}

static void teardown(struct fixture *f)
{
    driver_teardown(&f->d);
    unlink(f->paths[0]);
    unlink(f->paths[1]);
}

/* Puts a command with `out` bytes for and `in` bytes from the device into a queue. */
static void put_command(struct fixture *f, unsigned queue, unsigned target, unsigned lun,
                        const uint8_t *cdb, size_t cdb_len, uint32_t out, uint32_t in)
{
    uint8_t header[19 + 32] = {1, (uint8_t)target, 0x40, (uint8_t)lun, [8] = 7};
    memcpy(header + 19, cdb, cdb_len);
    assert_int_equal(pv_as_write(f->d.as, COMMAND, header, sizeof(header)), 0);
    assert_int_equal(pv_as_fill(f->d.as, RESPONSE, 0xff, sizeof(f->r)), 0);
    put_desc(&f->d, queue, 0, COMMAND, sizeof(header), DESC_NEXT, out ? 1 : 2);
    put_desc(&f->d, queue, 1, DATA_OUT, out, DESC_NEXT, 2);
    put_desc(&f->d, queue, 2, RESPONSE, sizeof(f->r), DESC_WRITE | (in ? DESC_NEXT : 0), 3);
    put_desc(&f->d, queue, 3, DATA_IN, in, DESC_WRITE, 0);
    offer(&f->d, queue, 0);
}

static unsigned run_lun(struct fixture *f, unsigned target, unsigned lun, const uint8_t *cdb,
                        size_t cdb_len, uint32_t out, uint32_t in)
{
    put_command(f, REQUESTS, target, lun, cdb, cdb_len, out, in);
    kick(&f->d, REQUESTS);
    wait_used(&f->d, REQUESTS);
    assert_int_equal(pv_as_read(f->d.as, RESPONSE, &f->r, sizeof(f->r)), 0);
    return f->r.response;
}

/* Runs a command that gets through; its sense as key, code and qualifier, 0 when it is good. */
static unsigned run(struct fixture *f, unsigned target, const uint8_t *cdb, size_t cdb_len,
                    uint32_t out, uint32_t in)
{
    assert_int_equal(run_lun(f, target, 0, cdb, cdb_len, out, in), OK);
    if (!f->r.status) {
        assert_int_equal(f->r.sense_len, 0);
        return 0;
    }
    assert_int_equal(f->r.status, 2);
    assert_int_equal(f->r.sense_len, 18);
    assert_int_equal(f->r.sense[0], 0x70);
    return (unsigned)(f->r.sense[2] << 16 | f->r.sense[12] << 8 | f->r.sense[13]);
}

#define RUN(f, target, out, in, ...)                                                               \
    run(f, target, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), out, in)

static uint32_t be32(struct fixture *f, unsigned offset)
{
    return __builtin_bswap32(load32(&f->d, DATA_IN + offset));
}

static uint8_t byte(struct fixture *f, unsigned offset)
{
    return (uint8_t)load16(&f->d, DATA_IN + offset);
}

static void assert_text(struct fixture *f, unsigned offset, const char *text)
{
    char got[64];
    assert_int_equal(pv_as_read(f->d.as, DATA_IN + offset, got, strlen(text)), 0);
    assert_memory_equal(got, text, strlen(text));
}

enum { BAD_COMMAND = 0x52000, BAD_ADDRESS = 0x52100, BAD_FIELD = 0x52400, BAD_LUN = 0x52500 };
#define BAD_PARAMETER 0x52600u
#define BAD_LENGTH    0x51a00u
#define READ_ONLY     0x72700u

/* ---- Tests ---- */

static void test_inquiry(void **state)
{
    struct fixture f;
    setup(&f);
    assert_int_equal(RUN(&f, DISK, 0, 96, 0x12, 0, 0, 0, 96, 0), 0);
    assert_int_equal(f.r.residual, 60);
    assert_int_equal(used_len(&f.d, REQUESTS, 0), sizeof(f.r) + 36);
    assert_int_equal(byte(&f, 0), 0);
    assert_text(&f, 8, "PEAR    PearVisor Disk  ");
    assert_int_equal(RUN(&f, CDROM, 0, 96, 0x12, 0, 0, 0, 96, 0), 0);
    assert_int_equal(load16(&f.d, DATA_IN), 0x8005);
    assert_int_equal(RUN(&f, DISK, 0, 96, 0x12, 0, 0, 0, 5, 0), 0); /* no more than asked for */
    assert_int_equal(f.r.residual, 91);
    assert_int_equal(RUN(&f, DISK, 0, 4, 0x12, 0, 0, 0, 96, 0), 0); /* nor than there is room */
    assert_int_equal(RUN(&f, DISK, 0, 96, 0x12, 1, 0, 0, 96, 0), 0);
    assert_int_equal(be32(&f, 0), 6);
    assert_int_equal(RUN(&f, DISK, 0, 96, 0x12, 1, 0x80, 0, 96, 0), 0);
    assert_text(&f, 4, "pear0");
    assert_int_equal(RUN(&f, DISK, 0, 96, 0x12, 1, 0x83, 0, 96, 0), 0);
    assert_text(&f, 8, "PEAR    pear0");
    assert_int_equal(RUN(&f, DISK, 0, 96, 0x12, 1, 0xb0, 0, 96, 0), 0);
    assert_int_equal(be32(&f, 8), (32 << 20) / 512);
    assert_int_equal(RUN(&f, DISK, 0, 96, 0x12, 1, 0xb2, 0, 96, 0), 0);
    assert_int_equal(RUN(&f, CDROM, 0, 96, 0x12, 1, 0xb0, 0, 96, 0), BAD_FIELD);
    assert_int_equal(RUN(&f, DISK, 0, 96, 0x12, 0, 0x80, 0, 96, 0), BAD_FIELD);
    assert_int_equal(RUN(&f, DISK, 0, 96, 0x12, 1, 0xee, 0, 96, 0), BAD_FIELD);
    teardown(&f);
}

static void test_units(void **state)
{
    const uint8_t ready[6] = {0}, inquiry[6] = {0x12, 0, 0, 0, 36}, sense[6] = {3, 0, 0, 0, 18},
                  luns[12] = {0xa0, [9] = 16};
    struct fixture f;
    setup(&f);
    assert_int_equal(run_lun(&f, 2, 0, ready, 6, 0, 0), BAD_TARGET);
    assert_int_equal(run_lun(&f, 255, 0, ready, 6, 0, 0), BAD_TARGET);
    assert_int_equal(run_lun(&f, 0, 0, ready, 6, 0, 0), OK);
    assert_int_equal(f.r.status, 0);
    assert_int_equal(run_lun(&f, 0, 1, ready, 6, 0, 0), OK);
    assert_int_equal(f.r.status, 2);
    assert_int_equal(f.r.sense[12], 0x25);
    assert_int_equal(run_lun(&f, 0, 1, inquiry, 6, 0, 36), OK);
    assert_int_equal(f.r.status, 0);
    assert_int_equal(byte(&f, 0), 0x7f);
    assert_int_equal(run_lun(&f, 0, 1, sense, 6, 0, 18), OK);
    assert_int_equal(byte(&f, 0), 0x70);
    assert_int_equal(run_lun(&f, 1, 0, luns, 12, 0, 16), OK);
    assert_int_equal(be32(&f, 0), 8);
    assert_int_equal(RUN(&f, DISK, 0, 0, 0xc7), BAD_COMMAND);
    assert_int_equal(RUN(&f, DISK, 0, 8, 0x25), 0);
    assert_int_equal(be32(&f, 0), BLOCKS - 1);
    assert_int_equal(be32(&f, 4), 512);
    assert_int_equal(RUN(&f, CDROM, 0, 32, 0x9e, 0x10, [13] = 32), 0);
    assert_int_equal(be32(&f, 4), CD_BLOCKS - 1);
    assert_int_equal(be32(&f, 8), 2048);
    assert_int_equal(RUN(&f, CDROM, 0, 32, 0x9e, 0x11, [13] = 32), BAD_FIELD);
    assert_false(failed(&f.d));
    teardown(&f);
}

static void test_transfers(void **state)
{
    struct fixture f;
    setup(&f);
    assert_int_equal(pv_as_fill(f.d.as, DATA_OUT, 0x61, 1024), 0);
    assert_int_equal(RUN(&f, DISK, 1024, 0, 0x2a, 0, 0, 0, 0, 5, 0, 0, 2, 0), 0);
    assert_int_equal(f.r.residual, 0);
    assert_int_equal(pv_as_fill(f.d.as, DATA_OUT, 0x62, 512), 0);
    assert_int_equal(RUN(&f, DISK, 512, 0, 0x0a, 0, 0, 6, 1, 0), 0);
    assert_int_equal(pv_as_fill(f.d.as, DATA_OUT, 0x63, 512), 0);
    assert_int_equal(RUN(&f, DISK, 512, 0, 0x8a, 8, [9] = 7, [13] = 1), 0); /* FUA */
    assert_int_equal(pv_as_fill(f.d.as, DATA_OUT, 0x64, 512), 0);
    assert_int_equal(RUN(&f, DISK, 512, 0, 0xaa, [5] = 8, [9] = 1), 0);
    assert_int_equal(RUN(&f, DISK, 0, 0, 0x35), 0);
    assert_int_equal(RUN(&f, DISK, 0, 0, 0x91), 0);

    assert_int_equal(RUN(&f, DISK, 0, 4096, 0x28, 0, 0, 0, 0, 4, 0, 0, 5, 0), 0);
    assert_int_equal(f.r.residual, 4096 - 5 * 512);
    assert_int_equal(used_len(&f.d, REQUESTS, 6), sizeof(f.r) + 5 * 512);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(byte(&f, 512 * i + 511), i ? 0x60 + i : 0);
    assert_int_equal(RUN(&f, DISK, 0, 512, 0x08, 0, 0, 7, 1, 0), 0);
    assert_int_equal(byte(&f, 0), 0x63);
    assert_int_equal(RUN(&f, DISK, 0, 512, 0x88, [9] = 5, [13] = 1), 0);
    assert_int_equal(byte(&f, 0), 0x61);
    assert_int_equal(RUN(&f, CDROM, 0, 2048, 0xa8, [5] = 99, [9] = 1), 0);
    assert_int_equal(load32(&f.d, DATA_IN), 99);
    assert_int_equal(RUN(&f, DISK, 0, 0, 0x28, 0, 0, 0, 0, 4, 0, 0, 0, 0), 0); /* none */

    /* Ranges, each form's, and none that wraps. */
    assert_int_equal(RUN(&f, DISK, 0, 1024, 0x28, 0, 0, 0, 0, 255, 0, 0, 2, 0), BAD_ADDRESS);
    assert_int_equal(RUN(&f, DISK, 0, 1024, 0x28, 0, 255, 255, 255, 255, 0, 0, 2, 0), BAD_ADDRESS);
    assert_int_equal(
        RUN(&f, DISK, 0, 512, 0x88, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 2),
        BAD_ADDRESS);
    assert_int_equal(RUN(&f, DISK, 0, 512, 0x08, 0, 0, 1, 0, 0), BAD_ADDRESS); /* 256 blocks */
    assert_int_equal(RUN(&f, CDROM, 2048, 0, 0x2a, 0, 0, 0, 0, 5, 0, 0, 1, 0), READ_ONLY);
    const uint8_t cdb[10] = {0x28, [8] = 2};
    assert_int_equal(run_lun(&f, 0, 0, cdb, 10, 0, 1023), OVERRUN);
    assert_false(failed(&f.d));
    teardown(&f);
}

static void test_same_and_unmap(void **state)
{
    struct fixture f;
    setup(&f);
    assert_int_equal(pv_as_fill(f.d.as, DATA_OUT, 0x71, 512), 0);
    assert_int_equal(RUN(&f, DISK, 512, 0, 0x41, 0, 0, 0, 0, 8, 0, 0, 16, 0), 0);
    assert_int_equal(RUN(&f, DISK, 0, 18 * 512, 0x28, 0, 0, 0, 0, 7, 0, 0, 18, 0), 0);
    for (unsigned i = 0; i < 18; i++)
        assert_int_equal(byte(&f, 512 * i + 511), i == 0 || i == 17 ? 0 : 0x71);
    assert_int_equal(pv_as_fill(f.d.as, DATA_OUT, 0, 512), 0);
    assert_int_equal(RUN(&f, DISK, 512, 0, 0x93, 8, [9] = 8, [13] = 4), 0);
    assert_int_equal(RUN(&f, DISK, 0, 0, 0x93, 1, [9] = 12, [13] = 1), 0); /* no block at all */
    assert_int_equal(RUN(&f, DISK, 0, 6 * 512, 0x28, 0, 0, 0, 0, 8, 0, 0, 6, 0), 0);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(byte(&f, 512 * i), i < 5 ? 0 : 0x71);
    assert_int_equal(RUN(&f, DISK, 511, 0, 0x93, [9] = 8, [13] = 4), BAD_LENGTH);
    assert_int_equal(RUN(&f, DISK, 512, 0, 0x93, [9] = 8), BAD_FIELD);
    assert_int_equal(RUN(&f, DISK, 512, 0, 0x93, [8] = 1, [13] = 4), BAD_ADDRESS);
    assert_int_equal(RUN(&f, CDROM, 2048, 0, 0x93, [9] = 8, [13] = 4), READ_ONLY);

    uint8_t list[40] = {0, 22, 0, 16, [15] = 16, [19] = 8};
    assert_int_equal(pv_as_write(f.d.as, DATA_OUT, list, sizeof(list)), 0);
    assert_int_equal(RUN(&f, DISK, 24, 0, 0x42, [8] = 24, [9] = 0), 0);
    assert_int_equal(RUN(&f, DISK, 0, 512, 0x28, 0, 0, 0, 0, 17, 0, 0, 1, 0), 0);
    assert_int_equal(byte(&f, 0), 0);
    assert_int_equal(RUN(&f, DISK, 0, 0, 0x42, [8] = 0, [9] = 0), 0);
    assert_int_equal(RUN(&f, DISK, 23, 0, 0x42, [8] = 24, [9] = 0), BAD_LENGTH);
    assert_int_equal(RUN(&f, DISK, 8, 0, 0x42, [8] = 8, [9] = 0), BAD_PARAMETER);
    list[15] = 255;
    assert_int_equal(pv_as_write(f.d.as, DATA_OUT, list, sizeof(list)), 0);
    assert_int_equal(RUN(&f, DISK, 24, 0, 0x42, [8] = 24, [9] = 0), BAD_ADDRESS);
    list[3] = 32;
    assert_int_equal(pv_as_write(f.d.as, DATA_OUT, list, sizeof(list)), 0);
    assert_int_equal(RUN(&f, DISK, 40, 0, 0x42, [8] = 40, [9] = 0), BAD_PARAMETER);
    teardown(&f);
}

static void test_mode_sense(void **state)
{
    struct fixture f;
    setup(&f);
    assert_int_equal(RUN(&f, DISK, 0, 192, 0x1a, 0, 0x3f, 0, 192, 0), 0);
    assert_int_equal(byte(&f, 0), 4 + 8 + 12 + 20 - 1);
    assert_int_equal(byte(&f, 2), 0x10);
    assert_int_equal(be32(&f, 4), BLOCKS);
    assert_int_equal(be32(&f, 8), 512);
    assert_int_equal(RUN(&f, DISK, 0, 192, 0x5a, 8, 8, 0, 0, 0, 0, 0, 192, 0), 0);
    assert_int_equal(byte(&f, 1), 8 + 20 - 2);
    assert_int_equal(byte(&f, 8), 8);
    assert_int_equal(byte(&f, 10), 4); /* the write cache is on */
    assert_int_equal(RUN(&f, DISK, 0, 192, 0x5a, 8, 0x48, 0, 0, 0, 0, 0, 192, 0), 0);
    assert_int_equal(byte(&f, 10), 0); /* and cannot be changed */
    assert_int_equal(RUN(&f, CDROM, 0, 192, 0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 192, 0), 0);
    assert_int_equal(byte(&f, 8), 0x2a);
    assert_int_equal(RUN(&f, DISK, 0, 192, 0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 192, 0), BAD_FIELD);
    assert_int_equal(RUN(&f, DISK, 0, 192, 0x5a, 0, 0xc8, 0, 0, 0, 0, 0, 192, 0), BAD_FIELD);
    teardown(&f);
}

static void test_cdrom(void **state)
{
    struct fixture f;
    setup(&f);
    assert_int_equal(RUN(&f, CDROM, 0, 64, 0x43, 0, 0, 0, 0, 0, 0, 0, 64, 0), 0);
    assert_int_equal(load16(&f.d, DATA_IN), 18 << 8);
    assert_int_equal(byte(&f, 6), 1);
    assert_int_equal(be32(&f, 8), 0);
    assert_int_equal(byte(&f, 14), 0xaa);
    assert_int_equal(be32(&f, 16), CD_BLOCKS);
    assert_int_equal(RUN(&f, CDROM, 0, 64, 0x43, 2, 0, 0, 0, 0, 0xaa, 0, 64, 0), 0);
    assert_int_equal(be32(&f, 8), 7 << 8 | 25); /* 400 + 150 frames */
    assert_int_equal(RUN(&f, CDROM, 0, 64, 0x43, 0, 1, 0, 0, 0, 0, 0, 64, 0), 0);
    assert_int_equal(RUN(&f, CDROM, 0, 64, 0x43, 0, 0, 0, 0, 0, 2, 0, 64, 0), BAD_FIELD);
    assert_int_equal(RUN(&f, DISK, 0, 64, 0x43, 0, 0, 0, 0, 0, 0, 0, 64, 0), BAD_FIELD);
    assert_int_equal(RUN(&f, CDROM, 0, 255, 0x46, 0, 0, 0, 0, 0, 0, 0, 255, 0), 0);
    assert_int_equal(be32(&f, 0), 255 - f.r.residual - 4);
    assert_int_equal(load16(&f.d, DATA_IN + 6), 0x0800);
    assert_int_equal(RUN(&f, CDROM, 0, 255, 0x46, 2, 0, 3, 0, 0, 0, 0, 255, 0), 0);
    assert_int_equal(be32(&f, 0), 4 + 8);
    assert_int_equal(RUN(&f, CDROM, 0, 8, 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8, 0), 0);
    assert_int_equal(byte(&f, 5), 2);
    assert_int_equal(RUN(&f, CDROM, 0, 34, 0x51, 0, 0, 0, 0, 0, 0, 0, 34, 0), 0);

    /* The tray: locked, then out, then in again; a reset puts it in as well. */
    assert_int_equal(RUN(&f, CDROM, 0, 0, 0x1e, 0, 0, 0, 1, 0), 0);
    assert_int_equal(RUN(&f, CDROM, 0, 0, 0x1b, 0, 0, 0, 2, 0), 0x55302);
    assert_int_equal(RUN(&f, CDROM, 0, 0, 0x1e, 0, 0, 0, 0, 0), 0);
    assert_int_equal(RUN(&f, CDROM, 0, 0, 0x1b, 0, 0, 0, 2, 0), 0);
    assert_int_equal(RUN(&f, CDROM, 0, 0, 0x00), 0x23a02);
    assert_int_equal(RUN(&f, CDROM, 0, 2048, 0x28, [8] = 1, [9] = 0), 0x23a02);
    assert_int_equal(RUN(&f, CDROM, 0, 96, 0x12, 0, 0, 0, 96, 0), 0);
    assert_int_equal(RUN(&f, CDROM, 0, 0, 0x1b, 0, 0, 0, 3, 0), 0);
    assert_int_equal(RUN(&f, CDROM, 0, 0, 0x00), 0);
    assert_int_equal(RUN(&f, DISK, 0, 0, 0x1b, 0, 0, 0, 2, 0), 0); /* a disk has none */
    assert_int_equal(RUN(&f, DISK, 0, 0, 0x00), 0);
    teardown(&f);
}

static unsigned manage(struct fixture *f, uint32_t type, uint32_t subtype, unsigned target,
                       uint64_t id, uint32_t in)
{
    struct {
        uint32_t type, subtype;
        uint8_t lun[8];
        uint64_t id;
    } request = {type, subtype, {1, (uint8_t)target}, id};
    uint8_t got[8] = {0};
    assert_int_equal(pv_as_write(f->d.as, DATA, &request, sizeof(request)), 0);
    put_desc(&f->d, CONTROL, 0, DATA, sizeof(request), DESC_NEXT, 1);
    put_desc(&f->d, CONTROL, 1, DATA + 0x100, in, DESC_WRITE, 0);
    offer(&f->d, CONTROL, 0);
    pv_virtio_lock(f->d.dev); /* not by the loop: what is on its way stays so */
    f->d.dev->ops->queue_ready(f->d.dev, CONTROL);
    pv_virtio_unlock(f->d.dev);
    assert_int_equal(pv_as_read(f->d.as, DATA + 0x100, got, in), 0);
    return got[in - 1];
}

static void test_task_management(void **state)
{
    const uint8_t read[10] = {0x28, [8] = 1};
    struct fixture f;
    setup(&f);
    for (unsigned round = 0; round < 4; round++) {
        put_command(&f, REQUESTS + round % 2, DISK, 0, read, 10, 0, 512);
        pv_virtio_lock(f.d.dev);
        f.d.dev->ops->queue_ready(f.d.dev, REQUESTS + round % 2);
        pv_virtio_unlock(f.d.dev);
        assert_int_equal(manage(&f, 0, 6, DISK, 7, 1), 10); /* it is under way */
        assert_int_equal(manage(&f, 0, 6, DISK, 8, 1), 0);  /* that one is not */
        assert_int_equal(manage(&f, 0, 7, CDROM, 0, 1), 0);
        assert_int_equal(manage(&f, 0, 5, CDROM, 0, 1), 0); /* somebody else's reset */
        assert_int_equal(manage(&f, 0, round < 2 ? 0 : 5, DISK, 7, 1), 0);
        assert_int_equal(used_index(&f.d, REQUESTS + round % 2), round / 2 + 1);
        assert_int_equal(pv_as_read(f.d.as, RESPONSE, &f.r, sizeof(f.r)), 0);
        assert_int_equal(f.r.response, round < 2 ? 2 : 4);
        driver_run(&f.d); /* its completion says nothing more */
        assert_int_equal(used_index(&f.d, REQUESTS + round % 2), round / 2 + 1);
    }
    assert_int_equal(manage(&f, 0, 0, 9, 0, 1), 3);
    assert_int_equal(manage(&f, 0, 99, DISK, 0, 1), 11);
    assert_int_equal(manage(&f, 1, 0, DISK, 0, 5), 0);
    assert_int_equal(manage(&f, 2, 0, DISK, 0, 5), 0);
    assert_int_equal(manage(&f, 3, 0, DISK, 0, 5), 9);
    assert_false(failed(&f.d));
    teardown(&f);
}

static void test_reset_in_flight(void **state)
{
    const uint8_t read[10] = {0x28, [8] = 1};
    struct fixture f;
    setup(&f);
    for (unsigned round = 0; round < 20; round++) {
        bring_up(&f.d, f.d.dev->offered_features & ~EVENT_IDX);
        put_command(&f, REQUESTS, DISK, 0, read, 10, 0, 512);
        put_command(&f, REQUESTS + 1, CDROM, 0, read, 10, 0, 512);
        pv_virtio_lock(f.d.dev);
        f.d.dev->ops->queue_ready(f.d.dev, REQUESTS);
        if (round % 2)
            pv_virtio_queue_reset(f.d.dev, REQUESTS);
        pv_virtio_unlock(f.d.dev);
        if (!(round % 2))
            set_status(&f.d, 0);
        assert_int_equal(pv_as_fill(f.d.as, DATA_IN, 0xee, 512), 0);
        driver_run(&f.d);
        assert_int_equal(load32(&f.d, DATA_IN), 0xeeeeeeee);
    }
    teardown(&f);
}

static void test_malformed(void **state)
{
    static const uint32_t bad[][2] = {{50, 108}, {51, 107}, {51, 0}};
    struct fixture f;
    setup(&f);
    for (size_t i = 0; i < PV_ARRAY_SIZE(bad); i++) {
        bring_up(&f.d, f.d.dev->offered_features);
        put_desc(&f.d, REQUESTS, 0, COMMAND, bad[i][0], bad[i][1] ? DESC_NEXT : 0, 1);
        put_desc(&f.d, REQUESTS, 1, RESPONSE, bad[i][1], DESC_WRITE, 0);
        offer(&f.d, REQUESTS, 0);
        kick(&f.d, REQUESTS);
        assert_true(failed(&f.d));
    }
    bring_up(&f.d, f.d.dev->offered_features);
    put_desc(&f.d, CONTROL, 0, DATA, 3, 0, 0);
    offer(&f.d, CONTROL, 0);
    kick(&f.d, CONTROL);
    assert_true(failed(&f.d));

    /* The driver may choose smaller sizes, but not absurd ones. */
    bring_up(&f.d, f.d.dev->offered_features);
    pv_virtio_lock(f.d.dev);
    pv_virtio_config_write(f.d.dev, 20, 4, 18);
    pv_virtio_config_write(f.d.dev, 24, 4, 16);
    pv_virtio_config_write(f.d.dev, 0, 4, 99); /* not the driver's to choose */
    assert_int_equal(pv_virtio_config_read(f.d.dev, 0, 4), 2);
    pv_virtio_unlock(f.d.dev);
    put_desc(&f.d, REQUESTS, 0, COMMAND, 19 + 16, DESC_NEXT, 1);
    put_desc(&f.d, REQUESTS, 1, RESPONSE, 12 + 18, DESC_WRITE, 0);
    offer(&f.d, REQUESTS, 0);
    kick(&f.d, REQUESTS);
    assert_false(failed(&f.d));
    pv_virtio_lock(f.d.dev);
    pv_virtio_config_write(f.d.dev, 24, 4, 1000);
    pv_virtio_unlock(f.d.dev);
    assert_true(failed(&f.d));
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SPLIT_RINGS(test_inquiry),        SPLIT_RINGS(test_units),
        BOTH_RINGS(test_transfers),       SPLIT_RINGS(test_same_and_unmap),
        SPLIT_RINGS(test_mode_sense),     SPLIT_RINGS(test_cdrom),
        BOTH_RINGS(test_task_management), BOTH_RINGS(test_reset_in_flight),
        BOTH_RINGS(test_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
