/* SPDX-License-Identifier: MIT */
/*
 * SCSI commands of disks (SBC-3) and CD-ROMs (MMC-6). A command block is the guest's: every
 * address and length in it is checked against the image before anything is asked of that.
 *
 * There are no unit attentions: media do not change under a guest, and a reset has nothing to
 * report that the adapter's own response does not say.
 */
#include "device/scsi_impl.h"

#include "base/checked.h"
#include "base/util.h"

#include <string.h>

/* Operation codes, SPC-4 annex D. */
enum {
    TEST_UNIT_READY = 0x00,
    REQUEST_SENSE = 0x03,
    READ_6 = 0x08,
    WRITE_6 = 0x0a,
    INQUIRY = 0x12,
    MODE_SENSE_6 = 0x1a,
    START_STOP_UNIT = 0x1b,
    PREVENT_REMOVAL = 0x1e,
    READ_CAPACITY_10 = 0x25,
    READ_10 = 0x28,
    WRITE_10 = 0x2a,
    SYNCHRONIZE_10 = 0x35,
    WRITE_SAME_10 = 0x41,
    UNMAP = 0x42,
    READ_TOC = 0x43,
    GET_CONFIGURATION = 0x46,
    GET_EVENT_STATUS = 0x4a,
    READ_DISC_INFORMATION = 0x51,
    MODE_SENSE_10 = 0x5a,
    READ_16 = 0x88,
    WRITE_16 = 0x8a,
    SYNCHRONIZE_16 = 0x91,
    WRITE_SAME_16 = 0x93,
    SERVICE_ACTION_IN_16 = 0x9e,
    REPORT_LUNS = 0xa0,
    READ_12 = 0xa8,
    WRITE_12 = 0xaa,
};
#define READ_CAPACITY_16 0x10u

#define FUA 8u /* in byte 1 of writes: on stable storage before it completes */

/* ---- Fields of command blocks ---- */

/* The form of a block command is in its top three bits (SPC-4 4.3.4.1). */
static void range_of(const uint8_t *cdb, uint64_t *lba, uint64_t *count)
{
    switch (cdb[0] >> 5) {
    case 0:
        *lba = pv_scsi_get32(cdb) & 0x1fffff;
        *count = cdb[4] ? cdb[4] : 256;
        break;
    case 4:
        *lba = pv_scsi_get64(cdb + 2);
        *count = pv_scsi_get32(cdb + 10);
        break;
    case 5:
        *lba = pv_scsi_get32(cdb + 2);
        *count = pv_scsi_get32(cdb + 6);
        break;
    default:
        *lba = pv_scsi_get32(cdb + 2);
        *count = pv_scsi_get16(cdb + 7);
        break;
    }
}

/* How much answer the initiator has asked for. */
static size_t allocation_of(const uint8_t *cdb)
{
    switch (cdb[0]) {
    case INQUIRY: return pv_scsi_get16(cdb + 3);
    case REQUEST_SENSE:
    case MODE_SENSE_6: return cdb[4];
    case READ_CAPACITY_10: return 8;
    case SERVICE_ACTION_IN_16: return pv_scsi_get32(cdb + 10);
    case REPORT_LUNS: return pv_scsi_get32(cdb + 6);
    default: return pv_scsi_get16(cdb + 7);
    }
}

/* ---- Blocks ---- */

/* Checks a range of blocks and puts it into the result as bytes. */
static bool set_range(const struct pv_scsi_unit *unit, uint64_t lba, uint64_t count, uint64_t max,
                      struct pv_scsi_result *result)
{
    if (!pv_range_ok(lba, count, unit->blocks)) {
        result->sense = PV_SENSE_BAD_ADDRESS;
        return false;
    }
    uint64_t bytes;
    if (!pv_mul_ok(count, unit->block_size, &bytes) || bytes > max) {
        result->sense = PV_SENSE_BAD_FIELD;
        return false;
    }
    result->offset = lba * unit->block_size;
    result->length = bytes;
    result->block = true;
    return true;
}

static void transfer(const struct pv_scsi_unit *unit, const uint8_t *cdb, enum pv_block_op op,
                     struct pv_scsi_result *result)
{
    uint64_t lba, count;
    if (op == PV_BLOCK_WRITE && unit->read_only) {
        result->sense = PV_SENSE_READ_ONLY;
        return;
    }
    range_of(cdb, &lba, &count);
    result->op = op;
    if (!set_range(unit, lba, count, PV_SCSI_MAX_TRANSFER, result))
        return;
    result->flush = op == PV_BLOCK_WRITE && cdb[0] != WRITE_6 && (cdb[1] & FUA);
    result->block = count > 0; /* nothing to do is no error */
}

/* SBC-3 5.42: one block's contents for all of a range; with UNMAP they may as well be taken out. */
static void write_same(const struct pv_scsi_unit *unit, const uint8_t *cdb, const uint8_t *param,
                       size_t param_len, struct pv_scsi_result *result)
{
    uint64_t lba, count;
    bool unmap = cdb[1] & 8, none = cdb[0] == WRITE_SAME_16 && (cdb[1] & 1), zero = true;
    if (unit->read_only) {
        result->sense = PV_SENSE_READ_ONLY;
        return;
    }
    if (!none && param_len < unit->block_size) {
        result->sense = PV_SENSE_BAD_LENGTH;
        return;
    }
    range_of(cdb, &lba, &count);
    for (size_t i = 0; i < unit->block_size && !none; i++)
        zero &= !param[i];
    if (!count || (cdb[1] & 0x10)) { /* "the rest of the disk" and anchoring */
        result->sense = PV_SENSE_BAD_FIELD;
        return;
    }
    result->op = zero ? PV_BLOCK_ZERO : PV_BLOCK_WRITE;
    result->pattern = !zero;
    result->unmap = unmap;
    set_range(unit, lba, count, PV_SCSI_MAX_SAME, result);
}

/* SBC-3 5.28, a list of at most the one range that the block limits page says. */
static void unmap(const struct pv_scsi_unit *unit, const uint8_t *cdb, const uint8_t *param,
                  size_t param_len, struct pv_scsi_result *result)
{
    size_t listed = pv_scsi_get16(cdb + 7), descriptors;
    if (unit->read_only) {
        result->sense = PV_SENSE_READ_ONLY;
        return;
    }
    if (!pv_block_can_discard(unit->block) || (cdb[1] & 1)) {
        result->sense = PV_SENSE_BAD_FIELD;
        return;
    }
    if (!listed)
        return;
    if (listed < 8 || param_len < listed) {
        result->sense = PV_SENSE_BAD_LENGTH;
        return;
    }
    descriptors = pv_scsi_get16(param + 2) / 16;
    if (descriptors > 1 || 8 + 16 * descriptors > listed) {
        result->sense = PV_SENSE_BAD_PARAMETER;
        return;
    }
    result->op = PV_BLOCK_DISCARD;
    if (descriptors && pv_scsi_get32(param + 16))
        set_range(unit, pv_scsi_get64(param + 8), pv_scsi_get32(param + 16), PV_SCSI_MAX_UNMAP,
                  result);
}

/* ---- Small answers ---- */

static size_t sense_data(uint8_t *data)
{
    data[0] = 0x70;
    data[7] = 10;
    return 18;
}

static size_t read_capacity_10(const struct pv_scsi_unit *unit, uint8_t *data)
{
    pv_scsi_put32(data, (uint32_t)PV_MIN(unit->blocks - 1, (uint64_t)UINT32_MAX));
    pv_scsi_put32(data + 4, unit->block_size);
    return 8;
}

static size_t read_capacity_16(const struct pv_scsi_unit *unit, uint8_t *data)
{
    pv_scsi_put64(data, unit->blocks - 1);
    pv_scsi_put32(data + 8, unit->block_size);
    if (!unit->cdrom)
        data[13] = 3; /* 2^3 blocks in a physical one */
    /* Thin, and not promising zeroes after UNMAP. */
    data[14] = !unit->cdrom && pv_block_can_discard(unit->block) ? 0x80 : 0;
    return 32;
}

static size_t report_luns(uint8_t *data)
{
    pv_scsi_put32(data, 8); /* LUN 0 */
    return 16;
}

/* MMC-6 6.6: only media events, and those never happen. */
static size_t event_status(const struct pv_scsi_unit *unit, const uint8_t *cdb, uint8_t *data)
{
    if (!(cdb[1] & 1))
        return 0; /* to be told later is not offered */
    data[3] = 0x10;
    if (!(cdb[4] & 0x10)) {
        data[2] = 0x80;
        pv_scsi_put16(data, 2);
        return 4;
    }
    pv_scsi_put16(data, 6);
    data[2] = 4;
    data[5] = unit->ejected ? 1 : 2; /* tray open, or medium present */
    return 8;
}

/* MMC-6 6.22: complete, one session, one track. */
static size_t disc_information(uint8_t *data)
{
    pv_scsi_put16(data, 32);
    data[2] = 0x0e;
    data[3] = data[4] = data[5] = data[6] = 1;
    data[7] = 0x20;
    return 34;
}

static void start_stop(struct pv_scsi_unit *unit, const uint8_t *cdb, struct pv_scsi_result *result)
{
    bool start = cdb[4] & 1, load_eject = cdb[4] & 2;
    if (!unit->cdrom || !load_eject)
        return; /* it always runs */
    if (!start && unit->locked)
        result->sense = PV_SENSE_LOCKED;
    else
        unit->ejected = !start;
}

/* ---- All ---- */

/* Commands that answer with data of their own; false for others. */
static bool answer(struct pv_scsi_unit *unit, bool lun, const uint8_t *cdb,
                   struct pv_scsi_result *result)
{
    uint8_t *data = result->data;
    size_t len;
    switch (cdb[0]) {
    case INQUIRY: len = pv_scsi_inquiry(unit, lun, cdb, data); break;
    case REQUEST_SENSE: len = sense_data(data); break;
    case MODE_SENSE_6:
    case MODE_SENSE_10: len = pv_scsi_mode_sense(unit, cdb, data); break;
    case READ_CAPACITY_10: len = read_capacity_10(unit, data); break;
    case SERVICE_ACTION_IN_16:
        len = (cdb[1] & 0x1f) == READ_CAPACITY_16 ? read_capacity_16(unit, data) : 0;
        break;
    case REPORT_LUNS: len = report_luns(data); break;
    case READ_TOC: len = unit->cdrom ? pv_scsi_read_toc(unit, cdb, data) : 0; break;
    case GET_CONFIGURATION:
        len = unit->cdrom ? pv_scsi_get_configuration(unit, cdb, data) : 0;
        break;
    case GET_EVENT_STATUS: len = unit->cdrom ? event_status(unit, cdb, data) : 0; break;
    case READ_DISC_INFORMATION: len = unit->cdrom ? disc_information(data) : 0; break;
    default: return false;
    }
    if (!len)
        result->sense = PV_SENSE_BAD_FIELD;
    result->len = PV_MIN(len, allocation_of(cdb));
    return true;
}

/* Whether a command is about the medium, which then has to be in. */
static bool needs_medium(unsigned op)
{
    switch (op) {
    case REQUEST_SENSE:
    case INQUIRY:
    case MODE_SENSE_6:
    case MODE_SENSE_10:
    case START_STOP_UNIT:
    case PREVENT_REMOVAL:
    case GET_CONFIGURATION:
    case GET_EVENT_STATUS:
    case REPORT_LUNS: return false;
    default: return true;
    }
}

bool pv_scsi_has_parameters(const uint8_t cdb[PV_SCSI_CDB_MAX])
{
    return cdb[0] == UNMAP || cdb[0] == WRITE_SAME_10 || cdb[0] == WRITE_SAME_16;
}

void pv_scsi_execute(struct pv_scsi_unit *unit, bool lun, const uint8_t cdb[PV_SCSI_CDB_MAX],
                     const uint8_t *param, size_t param_len, struct pv_scsi_result *result)
{
    *result = (struct pv_scsi_result){0};
    if (!lun && cdb[0] != INQUIRY && cdb[0] != REPORT_LUNS && cdb[0] != REQUEST_SENSE) {
        result->sense = PV_SENSE_BAD_LUN;
        return;
    }
    if (unit->ejected && needs_medium(cdb[0])) {
        result->sense = PV_SENSE_NO_MEDIUM;
        return;
    }
    if (answer(unit, lun, cdb, result))
        return;
    switch (cdb[0]) {
    case TEST_UNIT_READY: break;
    case READ_6:
    case READ_10:
    case READ_12:
    case READ_16: transfer(unit, cdb, PV_BLOCK_READ, result); break;
    case WRITE_6:
    case WRITE_10:
    case WRITE_12:
    case WRITE_16: transfer(unit, cdb, PV_BLOCK_WRITE, result); break;
    case SYNCHRONIZE_10:
    case SYNCHRONIZE_16:
        result->block = true;
        result->op = PV_BLOCK_FLUSH;
        break;
    case WRITE_SAME_10:
    case WRITE_SAME_16: write_same(unit, cdb, param, param_len, result); break;
    case UNMAP: unmap(unit, cdb, param, param_len, result); break;
    case START_STOP_UNIT: start_stop(unit, cdb, result); break;
    case PREVENT_REMOVAL: unit->locked = unit->cdrom && (cdb[4] & 1); break;
    default: result->sense = PV_SENSE_BAD_COMMAND; break;
    }
}
