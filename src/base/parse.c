/* SPDX-License-Identifier: MIT */
#include "base/parse.h"

#include "base/checked.h"
#include "base/error.h"
#include "base/util.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* Digits at `text`; returns the first character after them, or NULL when none fit in 64 bits. */
static const char *scan_number(const char *text, uint64_t *out)
{
    unsigned base = 10;
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        base = 16;
        text += 2;
    }
    uint64_t value = 0;
    const char *p = text;
    for (; isxdigit((unsigned char)*p); p++) {
        unsigned digit = isdigit((unsigned char)*p)
                             ? (unsigned)(*p - '0')
                             : (unsigned)(tolower((unsigned char)*p) - 'a') + 10;
        if (digit >= base)
            break;
        if (!pv_mul_ok(value, (uint64_t)base, &value) || !pv_add_ok(value, (uint64_t)digit, &value))
            return NULL;
    }
    *out = value;
    return p == text ? NULL : p;
}

int pv_parse_u64(const char *text, const char *what, uint64_t min, uint64_t max, uint64_t *out,
                 struct pv_error **err)
{
    uint64_t value;
    const char *end = scan_number(text, &value);
    if (!end || *end || value < min || value > max)
        return pv_error_set(err, EINVAL, "%s '%s': not a number from %" PRIu64 " to %" PRIu64, what,
                            text, min, max);
    *out = value;
    return 0;
}

int pv_parse_size(const char *text, const char *what, uint64_t min, uint64_t max, uint64_t *out,
                  struct pv_error **err)
{
    static const char units[] = "KMGT";
    char lo[16], hi[16];
    uint64_t value;
    const char *end = scan_number(text, &value);
    unsigned shift = 0;
    if (end && *end && *end != 'B') {
        const char *unit = strchr(units, toupper((unsigned char)*end));
        if (unit && *end) {
            shift = 10 * (unsigned)(unit - units + 1);
            end++;
            if (*end == 'i')
                end++;
        }
    }
    if (end && *end == 'B')
        end++;
    if (!end || *end || value > UINT64_MAX >> shift || (value << shift) < min ||
        (value << shift) > max)
        return pv_error_set(err, EINVAL, "%s '%s': not a size from %s to %s, such as 512M or 2G",
                            what, text, pv_format_size(min, lo), pv_format_size(max, hi));
    *out = value << shift;
    return 0;
}

char *pv_format_size(uint64_t bytes, char *buf)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    unsigned unit = 0;
    double value = (double)bytes;
    while (value >= 1024 && unit + 1 < PV_ARRAY_SIZE(units)) {
        value /= 1024;
        unit++;
    }
    snprintf(buf, 16, value == (double)(uint64_t)value ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return buf;
}
