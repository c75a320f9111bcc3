/* SPDX-License-Identifier: MIT */
/*
 * What the guest agent and the host say to one another (docs/internals/agent.md). The agent listens
 * on a vsock port; each connection is one request. This file is compiled into both, and uses
 * nothing but libc.
 *
 * A frame is a header of eight bytes (payload's length, little-endian; type; three zeros) and at
 * most PV_AGENT_PAYLOAD_MAX bytes. The host opens with one OPEN; the agent answers READY or FAIL;
 * what may follow depends on the request.
 */
#ifndef PV_AGENT_WIRE_H
#define PV_AGENT_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PV_AGENT_PORT        5230u
#define PV_AGENT_VERSION     "1"
#define PV_AGENT_HEADER      8u
#define PV_AGENT_PAYLOAD_MAX 65536u
#define PV_AGENT_WORDS_MAX   4096u

/* How many bytes of standard input may be on their way: what TAKEN has not acknowledged yet. */
#define PV_AGENT_WINDOW 65536u

enum pv_agent_type {
    PV_AGENT_OPEN = 1, /* words: version, request, its arguments */
    PV_AGENT_READY,    /* words: the request's result */
    PV_AGENT_FAIL,     /* text: one line; nothing follows */
    PV_AGENT_STDIN,    /* bytes; none: the end */
    PV_AGENT_STDOUT,
    PV_AGENT_STDERR,
    PV_AGENT_TAKEN,  /* u32: bytes of STDIN that the program has read */
    PV_AGENT_RESIZE, /* u16 rows, u16 columns of the terminal */
    PV_AGENT_SIGNAL, /* u8: Linux' number */
    PV_AGENT_EXIT,   /* u8: 0 ended, 1 killed; u8: status, or the signal; nothing follows */
    PV_AGENT_DATA,   /* bytes of a file */
    PV_AGENT_END,    /* u64 size, u64 sum of a file */
    PV_AGENT_TYPES,
};

struct pv_agent_frame {
    enum pv_agent_type type;
    uint32_t size;
    uint8_t payload[PV_AGENT_PAYLOAD_MAX + 1]; /* a NUL follows */
};

/* Writes a whole frame to a blocking descriptor. Negative errno on failure. */
int pv_agent_send(int fd, enum pv_agent_type type, const void *payload, size_t size);
int pv_agent_send_words(int fd, enum pv_agent_type type, const char *const *words, size_t count);

/*
 * Reads a whole frame from a blocking descriptor. -EPIPE at a clean end; -EPROTO for a header that
 * is none.
 */
int pv_agent_receive(int fd, struct pv_agent_frame *frame);

/*
 * Splits a payload of NUL-terminated words. Returns how many, with words[count] NULL, or -EPROTO
 * when it is not made of words or has more than `max`. They point into the frame.
 */
int pv_agent_words(const struct pv_agent_frame *frame, char **words, size_t max);

/* ---- Numbers in payloads, little-endian ---- */

void pv_agent_put16(uint8_t *at, uint16_t value);
void pv_agent_put32(uint8_t *at, uint32_t value);
void pv_agent_put64(uint8_t *at, uint64_t value);
uint16_t pv_agent_get16(const uint8_t *at);
uint32_t pv_agent_get32(const uint8_t *at);
uint64_t pv_agent_get64(const uint8_t *at);

/* ---- A file's sum ---- */

/* Fletcher's over 32-bit words, little-endian, the last one filled up with zeros. */
struct pv_agent_sum {
    uint64_t low, high, size;
    uint32_t partial; /* bytes that make no word yet */
};

void pv_agent_sum_add(struct pv_agent_sum *sum, const void *data, size_t size);
uint64_t pv_agent_sum_value(const struct pv_agent_sum *sum);

#endif
