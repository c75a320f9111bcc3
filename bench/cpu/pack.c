/* SPDX-License-Identifier: MIT */
/*
 * Packing and unpacking as zlib does it: matches by hash chains, RFC 1951's fixed codes (3.2.6),
 * bits from a 64-bit buffer. The text is words by a skewed chance, so that there are matches to
 * find.
 */
#include <string.h>

#include "suite.h"

#define SIZE   65536
#define LEAST  4
#define MOST   258
#define HASHES 16384
#define WINDOW 32768
#define TRIES  32
#define END    256

static const uint16_t length_base[29] = {3,  4,  5,  6,   7,   8,   9,   10,  11, 13,
                                         15, 17, 19, 23,  27,  31,  35,  43,  51, 59,
                                         67, 83, 99, 115, 131, 163, 195, 227, 258};
static const uint8_t length_extra[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                         2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};

static uint8_t text[SIZE], packed[2 * SIZE], unpacked[SIZE + MOST];
static size_t packed_size;

static struct {
    uint64_t bits;
    unsigned count;
    uint8_t *out;
} writer;

static void put(uint32_t value, unsigned count)
{
    writer.bits |= (uint64_t)value << writer.count;
    for (writer.count += count; writer.count >= 8; writer.count -= 8) {
        *writer.out++ = (uint8_t)writer.bits;
        writer.bits >>= 8;
    }
}

static uint32_t reversed(uint32_t value, unsigned count)
{
    uint32_t out = 0;
    while (count--) {
        out = out << 1 | (value & 1);
        value >>= 1;
    }
    return out;
}

static void put_symbol(unsigned symbol)
{
    if (symbol < 144)
        put(reversed(0x30 + symbol, 8), 8);
    else if (symbol < 256)
        put(reversed(0x190 + symbol - 144, 9), 9);
    else if (symbol < 280)
        put(reversed(symbol - 256, 7), 7);
    else
        put(reversed(0xc0 + symbol - 280, 8), 8);
}

static void put_match(unsigned length, unsigned distance)
{
    unsigned code = 28, extra = 0, base = 1, symbol = 0;
    while (length_base[code] > length)
        code--;
    put_symbol(257 + code);
    put(length - length_base[code], length_extra[code]);
    while (base + (1u << extra) <= distance) {
        base += 1u << extra;
        symbol++;
        extra = symbol < 2 ? 0 : symbol / 2 - 1;
    }
    put(reversed(symbol, 5), 5);
    put(distance - base, extra);
}

static unsigned hash_at(const uint8_t *p)
{
    uint32_t word;
    memcpy(&word, p, 4);
    return word * 2654435761u >> 18;
}

static void pack(void)
{
    static int32_t head[HASHES], previous[SIZE];
    memset(head, 0xff, sizeof(head));
    writer.out = packed;
    writer.bits = writer.count = 0;
    for (unsigned at = 0; at < SIZE;) {
        unsigned best = 0, distance = 0, limit = SIZE - at < MOST ? SIZE - at : MOST;
        if (limit >= LEAST) {
            int32_t from = head[hash_at(text + at)];
            for (unsigned try = 0; try < TRIES && from >= 0 && at - (unsigned)from < WINDOW;
                 try++, from = previous[from]) {
                unsigned length = 0;
                while (length < limit && text[from + (int)length] == text[at + length])
                    length++;
                if (length > best) {
                    best = length;
                    distance = at - (unsigned)from;
                }
            }
        }
        if (best < LEAST) {
            put_symbol(text[at]);
            best = 1;
        } else {
            put_match(best, distance);
        }
        for (; best--; at++) {
            if (at + 4 > SIZE)
                continue;
            unsigned hash = hash_at(text + at);
            previous[at] = head[hash];
            head[hash] = (int32_t)at;
        }
    }
    put_symbol(END);
    put(0, 7);
    packed_size = (size_t)(writer.out - packed);
}

/* Nine bits of input lead to a symbol and the length of its code. */
static uint16_t symbols[512];

static void make_symbols(void)
{
    for (unsigned symbol = 0; symbol < 288; symbol++) {
        uint8_t *start = writer.out = packed;
        writer.bits = writer.count = 0;
        put_symbol(symbol);
        unsigned count = 8 * (unsigned)(writer.out - start) + writer.count;
        put(0, 8);
        unsigned code = packed[0] | (packed[1] & 1u) << 8;
        for (code &= (1u << count) - 1; code < 512; code += 1u << count)
            symbols[code] = (uint16_t)(symbol << 4 | count);
    }
}

static void unpack(void)
{
    const uint8_t *in = packed;
    uint8_t *out = unpacked;
    uint64_t bits = 0, word;
    unsigned count = 0;
    for (;;) {
        memcpy(&word, in, 8);
        bits |= word << count;
        in += (63 - count) / 8;
        count |= 56;
        unsigned entry = symbols[bits & 511], symbol = entry >> 4, used = entry & 15;
        bits >>= used;
        count -= used;
        if (symbol < 256) {
            *out++ = (uint8_t)symbol;
            continue;
        }
        if (symbol == END)
            return;
        symbol -= 257;
        unsigned length = length_base[symbol] + (bits & ((1u << length_extra[symbol]) - 1));
        bits >>= length_extra[symbol];
        unsigned code = reversed(bits & 31, 5), extra = code < 4 ? 0 : code / 2 - 1;
        unsigned base = code < 4 ? code + 1 : ((2 + (code & 1)) << extra) + 1;
        bits >>= 5;
        unsigned distance = base + (unsigned)(bits & ((1u << extra) - 1));
        bits >>= extra;
        count -= length_extra[symbol] + 5 + extra;
        for (const uint8_t *from = out - distance; length--;)
            *out++ = *from++;
    }
}

static void make_text(void)
{
    static const char *const words[16] = {
        "the ",    "guest ",  "runs ",   "code; ", "memory ", "of a ",   "register ", "(value) ",
        "x = 1, ", "return ", "if not ", "page\n", "while ",  "and 42 ", "interrupt", "\n\n"};
    uint64_t seed = 1;
    for (size_t at = 0; at < SIZE;) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        unsigned pick = (unsigned)(seed >> 60) & (unsigned)(seed >> 56);
        for (const char *c = words[pick]; *c && at < SIZE; c++)
            text[at++] = (uint8_t)*c;
        if ((seed >> 40 & 7) == 0 && at < SIZE)
            text[at++] = (uint8_t)(seed >> 32);
    }
}

static double deflate(void)
{
    make_text();
    pack();
    result = mix(packed_size, digest(packed, packed_size));
    return SIZE;
}

static double inflate(void)
{
    static int ready;
    if (!ready) {
        make_symbols();
        make_text();
        pack();
        memset(packed + packed_size, 0, 16);
        ready = 1;
    }
    for (unsigned i = 0; i < 10; i++)
        unpack();
    result = memcmp(text, unpacked, SIZE) ? 0 : digest(unpacked, SIZE);
    return 10.0 * SIZE;
}

const struct bench pack_benches[] = {{"deflate", deflate}, {"inflate", inflate}, {NULL, NULL}};
