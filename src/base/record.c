/* SPDX-License-Identifier: MIT */
#include "base/record.h"

#include "base/buffer.h"
#include "base/error.h"
#include "base/util.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define NAME_MAX_LEN 63u

struct pv_record {
    bool loading;
    struct pv_buffer out; /* saving */
    const uint8_t *in;    /* loading */
    size_t size, at;
    char section[NAME_MAX_LEN + 1]; /* empty: between two */
    size_t length_at;               /* saving: where its length goes */
    size_t end;                     /* loading: where it ends */
    unsigned version;
    int code;
    struct pv_error *error;
};

static struct pv_record *record_new(bool loading)
{
    struct pv_record *record = calloc(1, sizeof(*record));

    if (record) {
        record->loading = loading;
        record->out = PV_BUFFER_INIT(PV_RECORD_MAX);
    }
    return record;
}

struct pv_record *pv_record_save(void)
{
    return record_new(false);
}

struct pv_record *pv_record_load(const void *data, size_t size)
{
    struct pv_record *record = record_new(true);

    if (record) {
        record->in = data;
        record->size = record->end = size;
    }
    return record;
}

void pv_record_free(struct pv_record *record)
{
    if (!record)
        return;
    pv_buffer_finish(&record->out);
    pv_error_free(&record->error);
    free(record);
}

bool pv_record_loading(const struct pv_record *record)
{
    return record->loading;
}

const void *pv_record_data(const struct pv_record *record, size_t *size)
{
    *size = record->out.size;
    return record->out.data;
}

/* ---- Failure ---- */

void pv_record_fail(struct pv_record *record, int code, const char *fmt, ...)
{
    char message[256];
    va_list ap;

    if (record->code)
        return;
    va_start(ap, fmt);
    vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    record->code = code;
    if (*record->section)
        pv_error_set(&record->error, code, "%s: %s", record->section, message);
    else
        pv_error_set(&record->error, code, "%s", message);
}

bool pv_record_ok(const struct pv_record *record)
{
    return !record->code;
}

int pv_record_error(struct pv_record *record, struct pv_error **err)
{
    if (record->loading && record->at < record->size)
        pv_record_fail(record, EINVAL, "%zu bytes are left over: it is of another machine",
                       record->size - record->at);
    if (!record->code)
        return 0;
    return pv_error_set(err, record->code, "%s", pv_error_message(record->error));
}

/* ---- Fields ---- */

void pv_record_bytes(struct pv_record *record, void *data, size_t size)
{
    if (record->code)
        return;
    if (!record->loading) {
        int ret = pv_buffer_append(&record->out, data, size);
        if (ret < 0)
            pv_record_fail(record, -ret, "no memory for more state");
    } else if (size > record->end - record->at) {
        pv_record_fail(record, EINVAL, "it ends too early");
    } else if (size) {
        memcpy(data, record->in + record->at, size);
        record->at += size;
    }
}

/* Little-endian, whatever the host is. */
static uint64_t number(struct pv_record *record, uint64_t value, unsigned size)
{
    uint8_t bytes[8];

    for (unsigned i = 0; i < size; i++)
        bytes[i] = (uint8_t)(value >> 8 * i);
    pv_record_bytes(record, bytes, size);
    value = 0;
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)bytes[i] << 8 * i;
    return value;
}

void pv_record_u8(struct pv_record *record, uint8_t *value)
{
    *value = (uint8_t)number(record, *value, 1);
}

void pv_record_u16(struct pv_record *record, uint16_t *value)
{
    *value = (uint16_t)number(record, *value, 2);
}

void pv_record_u32(struct pv_record *record, uint32_t *value)
{
    *value = (uint32_t)number(record, *value, 4);
}

void pv_record_u64(struct pv_record *record, uint64_t *value)
{
    *value = number(record, *value, 8);
}

void pv_record_bool(struct pv_record *record, bool *value)
{
    uint64_t stored = number(record, *value, 1);

    if (stored > 1)
        pv_record_fail(record, EINVAL, "%u is neither yes nor no", (unsigned)stored);
    else
        *value = stored;
}

void pv_record_limited(struct pv_record *record, uint32_t *value, uint32_t max)
{
    uint64_t stored = number(record, *value, 4);

    if (stored > max)
        pv_record_fail(record, EINVAL, "%llu where at most %u makes sense",
                       (unsigned long long)stored, max);
    else
        *value = (uint32_t)stored;
}

void pv_record_same(struct pv_record *record, uint64_t value, const char *what)
{
    uint64_t stored = number(record, value, 8);

    if (stored != value)
        pv_record_fail(record, EINVAL, "%s: %#llx in the snapshot, %#llx here", what,
                       (unsigned long long)stored, (unsigned long long)value);
}

/* ---- Sections ---- */

static void begin_loading(struct pv_record *record, unsigned version, const char *name)
{
    char stored[NAME_MAX_LEN + 1] = "";
    uint64_t length = number(record, 0, 1);

    if (length > NAME_MAX_LEN)
        pv_record_fail(record, EINVAL, "a section's name is too long");
    else
        pv_record_bytes(record, stored, (size_t)length);
    uint64_t stored_version = number(record, 0, 4);
    uint64_t size = number(record, 0, 8);
    if (record->code)
        return;
    if (strcmp(stored, name) != 0)
        pv_record_fail(record, EINVAL, "the snapshot has '%s' where this VM has '%s'", stored,
                       name);
    else if (stored_version > version || !stored_version)
        pv_record_fail(record, ENOTSUP, "'%s' is of version %u; versions 1 to %u are known", name,
                       (unsigned)stored_version, version);
    else if (size > record->size - record->at)
        pv_record_fail(record, EINVAL, "'%s' ends too early", name);
    if (record->code)
        return;
    record->version = (unsigned)stored_version;
    record->end = record->at + (size_t)size;
    memcpy(record->section, name, strlen(name) + 1);
}

void pv_record_begin(struct pv_record *record, unsigned version, const char *fmt, ...)
{
    char name[NAME_MAX_LEN + 1];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(name, sizeof(name), fmt, ap);
    va_end(ap);
    if (record->loading) {
        begin_loading(record, version, name);
        return;
    }
    record->version = version;
    number(record, strlen(name), 1);
    pv_record_bytes(record, name, strlen(name));
    number(record, version, 4);
    record->length_at = record->out.size;
    number(record, 0, 8);
    memcpy(record->section, name, sizeof(name));
}

void pv_record_end(struct pv_record *record)
{
    if (record->code)
        return;
    if (record->loading) {
        if (record->at != record->end)
            pv_record_fail(record, EINVAL, "%zu bytes are left over", record->end - record->at);
        record->end = record->size;
    } else {
        uint64_t length = record->out.size - record->length_at - 8;
        for (unsigned i = 0; i < 8; i++)
            record->out.data[record->length_at + i] = (char)(length >> 8 * i);
    }
    record->section[0] = '\0';
}

unsigned pv_record_version(const struct pv_record *record)
{
    return record->version;
}
