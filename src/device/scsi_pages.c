/* SPDX-License-Identifier: MIT */
/* What disks and CD-ROMs say of themselves: inquiry and vital product data, mode pages, contents.
 */
#include "device/scsi_impl.h"

#include "base/util.h"

#include <string.h>

#define TYPE_DISK  0x00u
#define TYPE_CDROM 0x05u
#define NO_UNIT    0x7fu /* peripheral qualifier: nothing there, nor can there be */

#define VERSION_SPC3 0x05u

static void put_text(uint8_t *at, size_t size, const char *text)
{
    memset(at, ' ', size);
    memcpy(at, text, PV_MIN(size, strlen(text)));
}

/* ---- INQUIRY, SPC-4 6.4 and 7.8 ---- */

static size_t standard_inquiry(const struct pv_scsi_unit *unit, uint8_t *data)
{
    data[1] = unit->cdrom ? 0x80 : 0; /* removable */
    data[2] = VERSION_SPC3;
    data[3] = 0x12; /* hierarchical LUNs, this response format */
    data[4] = 36 - 5;
    data[7] = 0x02; /* commands are queued */
    put_text(data + 8, 8, "PEAR");
    put_text(data + 16, 16, unit->cdrom ? "PearVisor CD-ROM" : "PearVisor Disk");
    put_text(data + 32, 4, "1.0");
    return 36;
}

/* Block limits, SBC-3 6.6.4, in blocks. */
static size_t block_limits(const struct pv_scsi_unit *unit, uint8_t *data)
{
    bool discards = pv_block_can_discard(unit->block);
    pv_scsi_put16(data + 6, 4096 / unit->block_size); /* optimal granularity */
    pv_scsi_put32(data + 8, PV_SCSI_MAX_TRANSFER / unit->block_size);
    if (discards) {
        pv_scsi_put32(data + 20, PV_SCSI_MAX_UNMAP / unit->block_size);
        pv_scsi_put32(data + 24, 1); /* descriptor */
        pv_scsi_put32(data + 28, 4096 / unit->block_size);
    }
    pv_scsi_put64(data + 36, PV_SCSI_MAX_SAME / unit->block_size);
    return 64;
}

static size_t product_data(const struct pv_scsi_unit *unit, unsigned page, uint8_t *data)
{
    static const uint8_t disk_pages[] = {0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2},
                         cdrom_pages[] = {0x00, 0x80, 0x83};
    size_t serial = strlen(unit->serial);
    data[1] = (uint8_t)page;
    if (unit->cdrom && page > 0x83)
        return 0;
    switch (page) {
    case 0x00: {
        const uint8_t *pages = unit->cdrom ? cdrom_pages : disk_pages;
        size_t count = unit->cdrom ? sizeof(cdrom_pages) : sizeof(disk_pages);
        memcpy(data + 4, pages, count);
        return 4 + count;
    }
    case 0x80: memcpy(data + 4, unit->serial, serial); return 4 + serial;
    case 0x83: /* one designator: text, by the vendor */
        data[4] = 0x02;
        put_text(data + 8, 8, "PEAR");
        memcpy(data + 16, unit->serial, serial);
        data[7] = (uint8_t)(8 + serial);
        return 16 + serial;
    case 0xb0: return block_limits(unit, data);
    case 0xb1: pv_scsi_put16(data + 4, 1); return 64; /* does not rotate */
    case 0xb2:
        if (pv_block_can_discard(unit->block)) {
            data[5] = 0xe0; /* by UNMAP and both WRITE SAMEs */
            data[6] = 0x02; /* thin */
        }
        return 8;
    default: return 0;
    }
}

size_t pv_scsi_inquiry(const struct pv_scsi_unit *unit, bool lun, const uint8_t *cdb,
                       uint8_t data[PV_SCSI_DATA_MAX])
{
    bool product = cdb[1] & 1;
    if (!product && cdb[2])
        return 0;
    data[0] = !lun ? NO_UNIT : unit->cdrom ? TYPE_CDROM : TYPE_DISK;
    if (!product)
        return standard_inquiry(unit, data);
    size_t len = product_data(unit, cdb[2], data);
    if (len)
        pv_scsi_put16(data + 2, (unsigned)len - 4);
    return len;
}

/* ---- MODE SENSE, SPC-4 6.11 and 7.5 ---- */

static size_t add_page(const struct pv_scsi_unit *unit, unsigned page, bool changeable,
                       uint8_t *data)
{
    size_t len;
    switch (page) {
    case 0x01: len = unit->cdrom ? 8 : 12; break; /* error recovery */
    case 0x08:                                    /* caching */
        if (unit->cdrom)
            return 0;
        len = 20;
        break;
    case 0x2a: /* what a drive can do, MMC-3 5.5.10 */
        if (!unit->cdrom)
            return 0;
        len = 22;
        break;
    default: return 0;
    }
    data[0] = (uint8_t)page;
    data[1] = (uint8_t)(len - 2);
    if (changeable)
        return len; /* nothing can be changed */
    if (page == 0x08) {
        data[2] = unit->read_only ? 0 : 0x04; /* a write cache */
    } else if (page == 0x2a) {
        data[2] = 0x3b;                                /* reads CD-R, CD-RW, DVD-ROM, DVD-R */
        data[6] = (uint8_t)(0x29 | unit->locked << 1); /* a tray that can be locked and ejected */
        pv_scsi_put16(data + 8, 706);                  /* KB/s, four times */
        pv_scsi_put16(data + 14, 706);
    }
    return len;
}

size_t pv_scsi_mode_sense(const struct pv_scsi_unit *unit, const uint8_t *cdb,
                          uint8_t data[PV_SCSI_DATA_MAX])
{
    static const uint8_t pages[] = {0x01, 0x08, 0x2a};
    bool ten = cdb[0] == 0x5a, descriptor = !(cdb[1] & 8) && !unit->cdrom;
    unsigned page = cdb[2] & 0x3f, control = cdb[2] >> 6;
    size_t header = ten ? 8 : 4, len = header;
    if (control == 3 || cdb[3]) /* saved values, subpages */
        return 0;
    if (descriptor) {
        uint8_t *at = data + len;
        pv_scsi_put32(at, (uint32_t)PV_MIN(unit->blocks, (uint64_t)UINT32_MAX));
        pv_scsi_put32(at + 4, unit->block_size);
        len += 8;
    }
    size_t before = len;
    for (size_t i = 0; i < sizeof(pages); i++)
        if (page == 0x3f || page == pages[i])
            len += add_page(unit, pages[i], control == 1, data + len);
    if (len == before)
        return 0;
    uint8_t *flags = data + (ten ? 3 : 2);
    *flags = (uint8_t)((unit->read_only && !unit->cdrom ? 0x80 : 0) | (unit->cdrom ? 0 : 0x10));
    if (ten) {
        pv_scsi_put16(data, (unsigned)len - 2);
        data[7] = descriptor ? 8 : 0;
    } else {
        data[0] = (uint8_t)(len - 1);
        data[3] = descriptor ? 8 : 0;
    }
    return len;
}

/* ---- CD-ROMs: one data track ---- */

/* A block as minutes, seconds and frames, or as it is. */
static void put_address(uint8_t *at, bool msf, uint64_t block)
{
    uint32_t value = (uint32_t)PV_MIN(block, (uint64_t)UINT32_MAX);
    if (msf) {
        value = PV_MIN(value, 255u * 60 * 75 - 151) + 150;
        value = value / 75 / 60 << 16 | value / 75 % 60 << 8 | value % 75;
    }
    pv_scsi_put32(at, value);
}

/* MMC-6 6.26: formats 0 (tracks) and 1 (sessions). */
size_t pv_scsi_read_toc(const struct pv_scsi_unit *unit, const uint8_t *cdb,
                        uint8_t data[PV_SCSI_DATA_MAX])
{
    bool msf = cdb[1] & 2;
    unsigned format = cdb[2] & 0x0f, first = cdb[6];
    size_t len = 4;
    data[2] = data[3] = 1; /* the first and the last track, or session */
    if (format == 1) {
        data[len + 1] = 0x14;
        data[len + 2] = 1;
        put_address(data + len + 4, msf, 0);
        len += 8;
    } else if (format == 0 && (first <= 1 || first == 0xaa)) {
        for (unsigned track = first <= 1 ? 1 : 0xaa; track; track = track == 1 ? 0xaa : 0) {
            data[len + 1] = 0x14; /* data */
            data[len + 2] = (uint8_t)track;
            put_address(data + len + 4, msf, track == 1 ? 0 : unit->blocks);
            len += 8;
        }
    } else {
        return 0;
    }
    pv_scsi_put16(data, (unsigned)len - 2);
    return len;
}

#define CD_MAX_BLOCKS (80u * 60 * 75) /* beyond that it is a DVD */

static size_t add_feature(uint8_t *at, unsigned code, const uint8_t *body, size_t len)
{
    pv_scsi_put16(at, code);
    at[2] = 0x03; /* persistent, current */
    at[3] = (uint8_t)len;
    memcpy(at + 4, body, len);
    return 4 + len;
}

/* MMC-6 6.5. The request names the first feature of interest, and whether only that. */
size_t pv_scsi_get_configuration(const struct pv_scsi_unit *unit, const uint8_t *cdb,
                                 uint8_t data[PV_SCSI_DATA_MAX])
{
    bool dvd = unit->blocks > CD_MAX_BLOCKS;
    unsigned profile = dvd ? 0x10 : 0x08, from = pv_scsi_get16(cdb + 2), how = cdb[1] & 3;
    const uint8_t profiles[8] = {0, 0x10, dvd, 0, 0, 0x08, !dvd, 0};
    const uint8_t core[8] = {0, 0, 0, 1}, removable[4] = {0x29}, reads[8] = {0, 0, 8, 0, 0, 1};
    const struct {
        unsigned code;
        const uint8_t *body;
        size_t len;
    } features[] = {
        {0x00, profiles, sizeof(profiles)},   {0x01, core, sizeof(core)},
        {0x03, removable, sizeof(removable)}, {0x10, reads, sizeof(reads)},
        {dvd ? 0x1f : 0x1e, core + 4, 4},
    };
    size_t len = 8;
    if (how == 3)
        return 0;
    for (size_t i = 0; i < PV_ARRAY_SIZE(features); i++)
        if (how == 2 ? features[i].code == from : features[i].code >= from)
            len += add_feature(data + len, features[i].code, features[i].body, features[i].len);
    pv_scsi_put32(data, (uint32_t)len - 4);
    pv_scsi_put16(data + 6, unit->ejected ? 0 : profile);
    return len;
}
