/* SPDX-License-Identifier: MIT */
#include "machine/acpi/aml.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum {
    OP_ZERO = 0x00,
    OP_ONE = 0x01,
    OP_NAME = 0x08,
    OP_BYTE = 0x0a,
    OP_WORD = 0x0b,
    OP_DWORD = 0x0c,
    OP_STRING = 0x0d,
    OP_QWORD = 0x0e,
    OP_SCOPE = 0x10,
    OP_BUFFER = 0x11,
    OP_PACKAGE = 0x12,
    OP_METHOD = 0x14,
    OP_DUAL_NAME = 0x2e,
    OP_MULTI_NAME = 0x2f,
    OP_EXTENDED = 0x5b,
    OP_EXTENDED_DEVICE = 0x82,
    OP_IF = 0xa0,
    OP_ELSE = 0xa1,
};

/* Resource descriptors: the first byte. */
enum {
    RESOURCE_END = 0x79,
    RESOURCE_MEMORY32_FIXED = 0x86,
    RESOURCE_DWORD_SPACE = 0x87,
    RESOURCE_WORD_SPACE = 0x88,
    RESOURCE_INTERRUPT = 0x89,
    RESOURCE_QWORD_SPACE = 0x8a,
    RESOURCE_GPIO = 0x8c,
};

/* Address spaces: general flags, and those of memory. */
enum {
    SPACE_MEMORY = 0,
    SPACE_BUS = 2,
    SPACE_CONSUMER = 0x01,
    SPACE_FIXED = 0x0c, /* minimum and maximum; decoding is positive */
    MEMORY_WRITABLE = 0x01,
};

void pv_aml_init(struct pv_aml *aml, size_t max)
{
    *aml = (struct pv_aml){.out = PV_BUFFER_INIT(max)};
}

static void put(struct pv_aml *aml, const void *data, size_t size)
{
    if (!aml->ret)
        aml->ret = pv_buffer_append(&aml->out, data, size);
}

static void put_byte(struct pv_aml *aml, unsigned value)
{
    uint8_t byte = (uint8_t)value;
    put(aml, &byte, 1);
}

static void put_le(struct pv_aml *aml, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        put_byte(aml, (unsigned)(value >> 8 * i));
}

/* Moves what lies behind `at` up and puts `size` bytes there. */
static void insert(struct pv_aml *aml, size_t at, const uint8_t *data, size_t size)
{
    size_t tail = aml->out.size - at;

    put(aml, data, size); /* for the room */
    if (aml->ret)
        return;
    memmove(aml->out.data + at + size, aml->out.data + at, tail);
    memcpy(aml->out.data + at, data, size);
}

void pv_aml_op(struct pv_aml *aml, unsigned op)
{
    put_byte(aml, op);
}

/* ---- Names (20.2.2) ---- */

static void put_segment(struct pv_aml *aml, const char *segment, size_t len)
{
    char padded[4] = {'_', '_', '_', '_'};

    assert(len >= 1 && len <= sizeof(padded));
    memcpy(padded, segment, len);
    put(aml, padded, sizeof(padded));
}

void pv_aml_path(struct pv_aml *aml, const char *path)
{
    unsigned segments = 1;

    if (*path == '\\')
        put_byte(aml, (unsigned char)*path++);
    for (const char *p = path; *p; p++)
        segments += *p == '.';
    if (segments == 2) {
        put_byte(aml, OP_DUAL_NAME);
    } else if (segments > 2) {
        put_byte(aml, OP_MULTI_NAME);
        put_byte(aml, segments);
    }
    for (unsigned i = 0; i < segments; i++) {
        size_t len = strcspn(path, ".");
        put_segment(aml, path, len);
        path += len + 1;
    }
}

/* ---- Data (20.2.3) ---- */

/* The shortest form; its size in `bytes`. */
static unsigned encode_integer(uint8_t bytes[9], uint64_t value)
{
    unsigned size = value > UINT32_MAX ? 8 : value > UINT16_MAX ? 4 : value > UINT8_MAX ? 2 : 1;

    if (value <= 1) {
        bytes[0] = value ? OP_ONE : OP_ZERO;
        return 1;
    }
    bytes[0] = size == 8 ? OP_QWORD : size == 4 ? OP_DWORD : size == 2 ? OP_WORD : OP_BYTE;
    for (unsigned i = 0; i < size; i++)
        bytes[1 + i] = (uint8_t)(value >> 8 * i);
    return 1 + size;
}

void pv_aml_integer(struct pv_aml *aml, uint64_t value)
{
    uint8_t bytes[9];
    put(aml, bytes, encode_integer(bytes, value));
}

void pv_aml_string(struct pv_aml *aml, const char *text)
{
    put_byte(aml, OP_STRING);
    put(aml, text, strlen(text) + 1);
}

static unsigned hex_digit(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
}

/* Three letters of five bits and four hexadecimal digits, most significant first (19.6.37). */
void pv_aml_eisa_id(struct pv_aml *aml, const char *id)
{
    unsigned value = 0;

    assert(strlen(id) == 7);
    for (unsigned i = 0; i < 3; i++)
        value = value << 5 | (unsigned)(id[i] - 'A' + 1);
    for (unsigned i = 3; i < 7; i++)
        value = value << 4 | hex_digit(id[i]);
    put_byte(aml, OP_DWORD);
    for (unsigned i = 4; i-- > 0;)
        put_byte(aml, value >> 8 * i);
}

/* The first three fields are little-endian (19.6.142). */
void pv_aml_uuid(struct pv_aml *aml, const char *uuid)
{
    static const uint8_t order[16] = {6, 4, 2, 0, 11, 9, 16, 14, 19, 21, 24, 26, 28, 30, 32, 34};

    assert(strlen(uuid) == 36);
    put_byte(aml, OP_BUFFER);
    put_byte(aml, 1 + 2 + sizeof(order)); /* the length counts itself and the size's two bytes */
    pv_aml_integer(aml, sizeof(order));
    for (unsigned i = 0; i < sizeof(order); i++)
        put_byte(aml, hex_digit(uuid[order[i]]) << 4 | hex_digit(uuid[order[i] + 1]));
}

/* ---- Named objects (20.2.5.1) ---- */

void pv_aml_name(struct pv_aml *aml, const char *name)
{
    put_byte(aml, OP_NAME);
    pv_aml_path(aml, name);
}

void pv_aml_name_integer(struct pv_aml *aml, const char *name, uint64_t value)
{
    pv_aml_name(aml, name);
    pv_aml_integer(aml, value);
}

void pv_aml_name_string(struct pv_aml *aml, const char *name, const char *value)
{
    pv_aml_name(aml, name);
    pv_aml_string(aml, value);
}

void pv_aml_name_eisa_id(struct pv_aml *aml, const char *name, const char *id)
{
    pv_aml_name(aml, name);
    pv_aml_eisa_id(aml, id);
}

/* ---- What has a length (20.2.4) ---- */

static void begin(struct pv_aml *aml, bool template)
{
    assert(aml->depth < PV_AML_DEPTH);
    aml->open[aml->depth].start = aml->out.size;
    aml->open[aml->depth].template = template;
    aml->depth++;
}

/*
 * A length counts its own bytes. One byte holds up to 63; otherwise the first has the number of
 * bytes that follow and the lowest four bits.
 */
static unsigned encode_length(uint8_t bytes[4], size_t content)
{
    unsigned size = content + 1 < 1u << 6    ? 1
                    : content + 2 < 1u << 12 ? 2
                    : content + 3 < 1u << 20 ? 3
                                             : 4;
    size_t length = content + size;

    if (size == 1) {
        bytes[0] = (uint8_t)length;
        return 1;
    }
    bytes[0] = (uint8_t)((size - 1) << 6 | (length & 15));
    for (unsigned i = 1; i < size; i++)
        bytes[i] = (uint8_t)(length >> (8 * i - 4));
    return size;
}

void pv_aml_end(struct pv_aml *aml)
{
    uint8_t bytes[9];

    assert(aml->depth > 0);
    aml->depth--;
    size_t start = aml->open[aml->depth].start;
    if (aml->open[aml->depth].template) {
        put_byte(aml, RESOURCE_END);
        put_byte(aml, 0); /* no checksum */
        if (!aml->ret)
            insert(aml, start, bytes, encode_integer(bytes, aml->out.size - start));
    }
    if (!aml->ret)
        insert(aml, start, bytes, encode_length(bytes, aml->out.size - start));
}

void pv_aml_scope(struct pv_aml *aml, const char *path)
{
    put_byte(aml, OP_SCOPE);
    begin(aml, false);
    pv_aml_path(aml, path);
}

void pv_aml_device(struct pv_aml *aml, const char *name)
{
    put_byte(aml, OP_EXTENDED);
    put_byte(aml, OP_EXTENDED_DEVICE);
    begin(aml, false);
    pv_aml_path(aml, name);
}

void pv_aml_method(struct pv_aml *aml, const char *name, unsigned arguments)
{
    put_byte(aml, OP_METHOD);
    begin(aml, false);
    pv_aml_path(aml, name);
    put_byte(aml, arguments);
}

void pv_aml_if(struct pv_aml *aml)
{
    put_byte(aml, OP_IF);
    begin(aml, false);
}

void pv_aml_else(struct pv_aml *aml)
{
    put_byte(aml, OP_ELSE);
    begin(aml, false);
}

void pv_aml_package(struct pv_aml *aml, unsigned elements)
{
    assert(elements <= 255);
    put_byte(aml, OP_PACKAGE);
    begin(aml, false);
    put_byte(aml, elements);
}

void pv_aml_resources(struct pv_aml *aml)
{
    put_byte(aml, OP_BUFFER);
    begin(aml, true);
}

/* ---- Resources ---- */

static void put_large(struct pv_aml *aml, unsigned type, size_t length)
{
    put_byte(aml, type);
    put_le(aml, length, 2);
}

void pv_aml_memory32(struct pv_aml *aml, uint32_t address, uint32_t size)
{
    put_large(aml, RESOURCE_MEMORY32_FIXED, 9);
    put_byte(aml, MEMORY_WRITABLE);
    put_le(aml, address, 4);
    put_le(aml, size, 4);
}

void pv_aml_interrupt(struct pv_aml *aml, enum pv_aml_interrupt kind, uint32_t intid)
{
    put_large(aml, RESOURCE_INTERRUPT, 6);
    put_byte(aml, 1u | (unsigned)kind << 1); /* consumed by the device; active high, exclusive */
    put_byte(aml, 1);
    put_le(aml, intid, 4);
}

/* Word, double word or quad word address space, of `bytes` each. */
static void put_space(struct pv_aml *aml, unsigned type, unsigned bytes, unsigned space,
                      unsigned flags, uint64_t first, uint64_t last)
{
    put_large(aml, type, 3 + 5 * (size_t)bytes);
    put_byte(aml, space);
    put_byte(aml, flags);
    put_byte(aml, space == SPACE_MEMORY ? MEMORY_WRITABLE : 0);
    put_le(aml, 0, bytes); /* granularity */
    put_le(aml, first, bytes);
    put_le(aml, last, bytes);
    put_le(aml, 0, bytes); /* translation */
    put_le(aml, last - first + 1, bytes);
}

void pv_aml_bus_range(struct pv_aml *aml, uint16_t first, uint16_t last)
{
    put_space(aml, RESOURCE_WORD_SPACE, 2, SPACE_BUS, SPACE_FIXED, first, last);
}

void pv_aml_memory_range(struct pv_aml *aml, uint64_t address, uint64_t size)
{
    uint64_t last = address + size - 1;
    bool wide = last > UINT32_MAX;

    put_space(aml, wide ? RESOURCE_QWORD_SPACE : RESOURCE_DWORD_SPACE, wide ? 8 : 4, SPACE_MEMORY,
              SPACE_FIXED, address, last);
}

void pv_aml_memory_use(struct pv_aml *aml, uint64_t address, uint64_t size)
{
    put_space(aml, RESOURCE_QWORD_SPACE, 8, SPACE_MEMORY, SPACE_FIXED | SPACE_CONSUMER, address,
              address + size - 1);
}

void pv_aml_gpio_interrupt(struct pv_aml *aml, uint16_t pin, const char *source)
{
    const size_t fixed = 23; /* the descriptor without pins and name */
    const size_t name = strlen(source) + 1;

    put_large(aml, RESOURCE_GPIO, fixed - 3 + 2 + name);
    put_byte(aml, 1);                 /* revision */
    put_byte(aml, 0);                 /* an interrupt connection */
    put_le(aml, 1, 2);                /* consumer */
    put_le(aml, 1, 2);                /* edge, active high, exclusive */
    put_byte(aml, 1);                 /* pulled up */
    put_le(aml, 0, 2);                /* no output drive strength */
    put_le(aml, 0, 2);                /* no debouncing */
    put_le(aml, fixed, 2);            /* offset of the pins */
    put_byte(aml, 0);                 /* source index */
    put_le(aml, fixed + 2, 2);        /* offset of the source's name */
    put_le(aml, fixed + 2 + name, 2); /* of vendor data, of which there is none */
    put_le(aml, 0, 2);
    put_le(aml, pin, 2);
    put(aml, source, name);
}
