/* SPDX-License-Identifier: MIT */
/*
 * Between the adapter (scsi.c), which knows virtio and no commands, and the commands (scsi_cmd.c,
 * scsi_pages.c), which know no virtio. Section numbers there are of SPC-4, SBC-3 and MMC-6.
 */
#ifndef PV_DEVICE_SCSI_IMPL_H
#define PV_DEVICE_SCSI_IMPL_H

#include "block/block.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PV_SCSI_CDB_MAX    32u
#define PV_SCSI_DATA_MAX   256u  /* of an answer that is no block data */
#define PV_SCSI_PARAM_MAX  4096u /* of a command's parameters: a block, or a short list */
#define PV_SCSI_SERIAL_MAX 20u

/* What one command may move, clear, and fill with a pattern, in bytes. */
#define PV_SCSI_MAX_TRANSFER (32u << 20)
#define PV_SCSI_MAX_UNMAP    (1u << 30)
#define PV_SCSI_MAX_SAME     (4u << 20)

/* SAM-5. */
enum pv_scsi_status {
    PV_SCSI_GOOD = 0x00,
    PV_SCSI_CHECK_CONDITION = 0x02,
};

/* Sense key, additional sense code and its qualifier in one number. */
#define PV_SCSI_SENSE(key, asc, ascq) ((unsigned)(key) << 16 | (asc) << 8 | (ascq))
#define PV_SENSE_NONE                 0u
#define PV_SENSE_NO_MEDIUM            PV_SCSI_SENSE(0x2, 0x3a, 0x02)
#define PV_SENSE_READ_ERROR           PV_SCSI_SENSE(0x3, 0x11, 0x00)
#define PV_SENSE_WRITE_ERROR          PV_SCSI_SENSE(0x3, 0x0c, 0x00)
#define PV_SENSE_BAD_LENGTH           PV_SCSI_SENSE(0x5, 0x1a, 0x00)
#define PV_SENSE_BAD_COMMAND          PV_SCSI_SENSE(0x5, 0x20, 0x00)
#define PV_SENSE_BAD_ADDRESS          PV_SCSI_SENSE(0x5, 0x21, 0x00)
#define PV_SENSE_BAD_FIELD            PV_SCSI_SENSE(0x5, 0x24, 0x00)
#define PV_SENSE_BAD_LUN              PV_SCSI_SENSE(0x5, 0x25, 0x00)
#define PV_SENSE_BAD_PARAMETER        PV_SCSI_SENSE(0x5, 0x26, 0x00)
#define PV_SENSE_LOCKED               PV_SCSI_SENSE(0x5, 0x53, 0x02)
#define PV_SENSE_READ_ONLY            PV_SCSI_SENSE(0x7, 0x27, 0x00)
#define PV_SENSE_NO_SPACE             PV_SCSI_SENSE(0x7, 0x27, 0x07)

struct pv_scsi_unit {
    struct pv_block *block;
    bool cdrom;
    char serial[PV_SCSI_SERIAL_MAX + 1];
    uint32_t block_size;
    uint64_t blocks;
    bool read_only;
    bool locked;  /* the guest keeps its medium in */
    bool ejected; /* the guest put it out */
};

/* What a command comes to: sense, or data, or something to be done with the image. */
struct pv_scsi_result {
    unsigned sense; /* PV_SENSE_NONE: good so far */

    uint8_t data[PV_SCSI_DATA_MAX];
    size_t len; /* of data; at most what the command's allocation length allows */

    bool block; /* op, offset and length are to be done */
    enum pv_block_op op;
    uint64_t offset, length;
    bool unmap;   /* of PV_BLOCK_ZERO */
    bool pattern; /* PV_BLOCK_WRITE of the one block in the parameters, again and again */
    bool flush;   /* afterwards */
};

/*
 * Executes a command as far as that needs no image. `lun` is false when the command was for a
 * logical unit that is not there. `param` is what comes with the command, except blocks to write.
 */
void pv_scsi_execute(struct pv_scsi_unit *unit, bool lun, const uint8_t cdb[PV_SCSI_CDB_MAX],
                     const uint8_t *param, size_t param_len, struct pv_scsi_result *result);

/* Whether parameters come with the command: then pv_scsi_execute() wants them. */
bool pv_scsi_has_parameters(const uint8_t cdb[PV_SCSI_CDB_MAX]);

/* ---- scsi_pages.c: answers that are tables. Each returns its length, 0 for a bad field. ---- */

size_t pv_scsi_inquiry(const struct pv_scsi_unit *unit, bool lun, const uint8_t *cdb,
                       uint8_t data[PV_SCSI_DATA_MAX]);
size_t pv_scsi_mode_sense(const struct pv_scsi_unit *unit, const uint8_t *cdb,
                          uint8_t data[PV_SCSI_DATA_MAX]);
size_t pv_scsi_read_toc(const struct pv_scsi_unit *unit, const uint8_t *cdb,
                        uint8_t data[PV_SCSI_DATA_MAX]);
size_t pv_scsi_get_configuration(const struct pv_scsi_unit *unit, const uint8_t *cdb,
                                 uint8_t data[PV_SCSI_DATA_MAX]);

/* Big-endian numbers. */
static inline void pv_scsi_put16(uint8_t *at, unsigned value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}
static inline void pv_scsi_put32(uint8_t *at, uint32_t value)
{
    pv_scsi_put16(at, value >> 16);
    pv_scsi_put16(at + 2, value & 0xffff);
}
static inline void pv_scsi_put64(uint8_t *at, uint64_t value)
{
    pv_scsi_put32(at, (uint32_t)(value >> 32));
    pv_scsi_put32(at + 4, (uint32_t)value);
}
static inline unsigned pv_scsi_get16(const uint8_t *at)
{
    return (unsigned)(at[0] << 8 | at[1]);
}
static inline uint32_t pv_scsi_get32(const uint8_t *at)
{
    return (uint32_t)pv_scsi_get16(at) << 16 | pv_scsi_get16(at + 2);
}
static inline uint64_t pv_scsi_get64(const uint8_t *at)
{
    return (uint64_t)pv_scsi_get32(at) << 32 | pv_scsi_get32(at + 4);
}

#endif
