/* SPDX-License-Identifier: MIT */
#include "agent/wire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- Numbers ---- */

static void put(uint8_t *at, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

static uint64_t get(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << 8 * i;
    return value;
}

void pv_agent_put16(uint8_t *at, uint16_t value)
{
    put(at, value, 2);
}

void pv_agent_put32(uint8_t *at, uint32_t value)
{
    put(at, value, 4);
}

void pv_agent_put64(uint8_t *at, uint64_t value)
{
    put(at, value, 8);
}

uint16_t pv_agent_get16(const uint8_t *at)
{
    return (uint16_t)get(at, 2);
}

uint32_t pv_agent_get32(const uint8_t *at)
{
    return (uint32_t)get(at, 4);
}

uint64_t pv_agent_get64(const uint8_t *at)
{
    return get(at, 8);
}

/* ---- Frames ---- */

static int write_all(int fd, const void *data, size_t size)
{
    const uint8_t *at = data;
    while (size > 0) {
        ssize_t n = send(fd, at, size, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            return -errno;
        at += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* -EPIPE when nothing came at all, -EPROTO when the end came within. */
static int read_all(int fd, void *data, size_t size)
{
    uint8_t *at = data;
    size_t left = size;
    while (left > 0) {
        ssize_t n = recv(fd, at, left, 0);
        if (n == 0)
            return left == size ? -EPIPE : -EPROTO;
        if (n < 0 && errno != EINTR)
            return -errno;
        at += n > 0 ? n : 0;
        left -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

int pv_agent_send(int fd, enum pv_agent_type type, const void *payload, size_t size)
{
    uint8_t start[512] = {[4] = (uint8_t)type};
    if (size > PV_AGENT_PAYLOAD_MAX)
        return -EMSGSIZE;
    pv_agent_put32(start, (uint32_t)size);
    /* What is small goes in one packet. */
    const size_t with = size <= sizeof(start) - PV_AGENT_HEADER ? size : 0;
    if (with > 0)
        memcpy(start + PV_AGENT_HEADER, payload, with);
    int ret = write_all(fd, start, PV_AGENT_HEADER + with);
    return ret < 0 || with == size ? ret : write_all(fd, payload, size);
}

int pv_agent_send_words(int fd, enum pv_agent_type type, const char *const *words, size_t count)
{
    char payload[PV_AGENT_PAYLOAD_MAX];
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        const size_t len = strlen(words[i]) + 1;
        if (len > sizeof(payload) - size)
            return -EMSGSIZE;
        memcpy(payload + size, words[i], len);
        size += len;
    }
    return pv_agent_send(fd, type, payload, size);
}

int pv_agent_receive(int fd, struct pv_agent_frame *frame)
{
    uint8_t header[PV_AGENT_HEADER];
    int ret = read_all(fd, header, sizeof(header));
    if (ret < 0)
        return ret;
    frame->size = pv_agent_get32(header);
    frame->type = header[4];
    if (frame->size > PV_AGENT_PAYLOAD_MAX || header[4] == 0 || header[4] >= PV_AGENT_TYPES ||
        header[5] || header[6] || header[7])
        return -EPROTO;
    ret = read_all(fd, frame->payload, frame->size);
    frame->payload[frame->size] = 0;
    return ret == -EPIPE && frame->size > 0 ? -EPROTO : ret;
}

int pv_agent_words(const struct pv_agent_frame *frame, char **words, size_t max)
{
    size_t count = 0, at = 0;
    if (frame->size > 0 && frame->payload[frame->size - 1])
        return -EPROTO;
    while (at < frame->size) {
        if (count == max)
            return -EPROTO;
        words[count] = (char *)&frame->payload[at];
        at += strlen(words[count++]) + 1;
    }
    words[count] = NULL;
    return (int)count;
}

/* ---- Sums ---- */

void pv_agent_sum_add(struct pv_agent_sum *sum, const void *data, size_t size)
{
    const uint8_t *at = data;
    for (; size > 0 && sum->size % 4; size--) {
        sum->partial |= (uint32_t)*at++ << 8 * (sum->size++ % 4);
        if (sum->size % 4 == 0) {
            sum->high += sum->low += sum->partial;
            sum->partial = 0;
        }
    }
    for (; size >= 4; size -= 4, at += 4, sum->size += 4)
        sum->high += sum->low += pv_agent_get32(at);
    for (; size > 0; size--)
        sum->partial |= (uint32_t)*at++ << 8 * (sum->size++ % 4);
}

uint64_t pv_agent_sum_value(const struct pv_agent_sum *sum)
{
    const uint64_t low = sum->low + sum->partial, high = sum->high + (sum->size % 4 ? low : 0);
    return high * UINT64_C(0x9e3779b97f4a7c15) ^ low;
}
