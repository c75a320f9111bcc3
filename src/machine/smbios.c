/* SPDX-License-Identifier: MIT */
#include "machine/smbios.h"

#include "base/util.h"

#include <string.h>

/* A structure: its fixed part, then strings that the fixed part numbers from 1, then a NUL. */
static int append(struct pv_buffer *tables, const uint8_t *fixed, const char *strings, size_t size)
{
    int ret = pv_buffer_append(tables, fixed, fixed[1]);
    return ret < 0 ? ret : pv_buffer_append(tables, strings, size);
}

int pv_smbios_build(struct pv_buffer *tables, uint8_t anchor[PV_SMBIOS_ANCHOR_SIZE])
{
    /* 7.2: manufacturer, product; no UUID, woken by the power switch. */
    static const uint8_t system[27] = {1, sizeof(system), 0, 1, 1, 2, [24] = 6};
    /* 7.4: manufacturer; kind "other"; states "safe"; no security. */
    static const uint8_t chassis[22] = {3, sizeof(chassis), 0, 3, 1, 1, [9] = 3, 3, 3, 2};
    /* 7.45 */
    static const uint8_t end[4] = {127, sizeof(end), 0, 127};
    static const char system_strings[] = "PearVisor\0PearVisor Virtual Machine\0";
    static const char chassis_strings[] = "PearVisor\0";
    int ret = append(tables, system, system_strings, sizeof(system_strings));

    if (ret >= 0)
        ret = append(tables, chassis, chassis_strings, sizeof(chassis_strings));
    if (ret >= 0)
        ret = append(tables, end, "\0", 2);
    if (ret < 0)
        return ret;

    /* 5.2.2; the address is firmware's to fill in, and the checksum to be right before that. */
    const uint8_t entry[PV_SMBIOS_ANCHOR_SIZE] = {'_',
                                                  'S',
                                                  'M',
                                                  '3',
                                                  '_',
                                                  [6] = PV_SMBIOS_ANCHOR_SIZE,
                                                  3,
                                                  0,
                                                  0,
                                                  1,
                                                  0,
                                                  (uint8_t)tables->size,
                                                  (uint8_t)(tables->size >> 8)};
    uint8_t sum = 0;
    memcpy(anchor, entry, sizeof(entry));
    for (unsigned i = 0; i < sizeof(entry); i++)
        sum = (uint8_t)(sum + anchor[i]);
    anchor[5] = (uint8_t)-sum;
    return 0;
}
