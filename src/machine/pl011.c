/* SPDX-License-Identifier: MIT */
/*
 * PL011 UART (DDI 0183). Transmission takes no time: the chardev buffers and never blocks. A
 * received byte raises RX at once, whatever the FIFO level selected, so no timeout interrupt is
 * needed; bytes that do not fit stay with the chardev until the guest reads.
 */
#include "machine/pl.h"

#include "base/error.h"
#include "base/record.h"
#include "base/util.h"
#include "host/chardev.h"
#include "machine/map.h"
#include "memory/address_space.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

enum {
    REG_DR = 0x00,
    REG_RSR = 0x04,
    REG_FR = 0x18,
    REG_ILPR = 0x20,
    REG_IBRD = 0x24,
    REG_FBRD = 0x28,
    REG_LCRH = 0x2c,
    REG_CR = 0x30,
    REG_IFLS = 0x34,
    REG_IMSC = 0x38,
    REG_RIS = 0x3c,
    REG_MIS = 0x40,
    REG_ICR = 0x44,
    REG_DMACR = 0x48,
};

#define FR_RXFE  0x10u
#define FR_RXFF  0x40u
#define FR_TXFE  0x80u
#define INT_RX   0x10u
#define INT_TX   0x20u
#define INT_ALL  0x7ffu
#define LCRH_FEN 0x10u

#define FIFO_SIZE 16u

struct pv_pl011 {
    struct pv_address_space *as;
    uint64_t address;
    struct pv_irq irq;
    struct pv_chardev *chardev;
    pthread_mutex_t lock;
    uint8_t fifo[FIFO_SIZE];
    unsigned head, count;
    uint32_t ilpr, ibrd, fbrd, lcrh, cr, ifls, imsc, ris, dmacr;
};

uint32_t pv_pl_id(uint16_t part, uint8_t revision, uint64_t offset)
{
    /* Designer 0x41 is Arm's; the last four are the PrimeCell's mark. */
    const uint8_t id[] = {(uint8_t)part,
                          (uint8_t)(part >> 8 | 0x10),
                          (uint8_t)(revision << 4 | 0x4),
                          0,
                          0x0d,
                          0xf0,
                          0x05,
                          0xb1};
    return offset >= 0xfe0 && offset < 0x1000 ? id[(offset - 0xfe0) / 4] : 0;
}

/* All with the lock held. */

static void update(struct pv_pl011 *uart)
{
    pv_irq_set(&uart->irq, uart->ris & uart->imsc);
}

static unsigned depth(const struct pv_pl011 *uart)
{
    return uart->lcrh & LCRH_FEN ? FIFO_SIZE : 1;
}

static uint32_t read_data(struct pv_pl011 *uart)
{
    uint8_t byte;

    if (!uart->count)
        return 0;
    byte = uart->fifo[uart->head];
    uart->head = (uart->head + 1) % FIFO_SIZE;
    if (--uart->count == 0)
        uart->ris &= ~INT_RX;
    update(uart);
    return byte;
}

static uint32_t read_register(struct pv_pl011 *uart, uint64_t offset)
{
    switch (offset) {
    case REG_DR: return read_data(uart);
    case REG_FR:
        return FR_TXFE | (uart->count ? 0 : FR_RXFE) | (uart->count >= depth(uart) ? FR_RXFF : 0);
    case REG_ILPR: return uart->ilpr;
    case REG_IBRD: return uart->ibrd;
    case REG_FBRD: return uart->fbrd;
    case REG_LCRH: return uart->lcrh;
    case REG_CR: return uart->cr;
    case REG_IFLS: return uart->ifls;
    case REG_IMSC: return uart->imsc;
    case REG_RIS: return uart->ris;
    case REG_MIS: return uart->ris & uart->imsc;
    case REG_DMACR: return uart->dmacr;
    default: return pv_pl_id(0x011, 1, offset);
    }
}

static void write_register(struct pv_pl011 *uart, uint64_t offset, uint32_t value)
{
    switch (offset) {
    case REG_DR: uart->ris |= INT_TX; break; /* sent, and there is room again */
    case REG_ILPR: uart->ilpr = value & 0xff; break;
    case REG_IBRD: uart->ibrd = value & 0xffff; break;
    case REG_FBRD: uart->fbrd = value & 0x3f; break;
    case REG_LCRH:
        if ((uart->lcrh ^ value) & LCRH_FEN)
            uart->head = uart->count = 0;
        uart->lcrh = value & 0xff;
        break;
    case REG_CR: uart->cr = value & 0xff87; break;
    case REG_IFLS: uart->ifls = value & 0x3f; break;
    case REG_IMSC: uart->imsc = value & INT_ALL; break;
    case REG_ICR: uart->ris &= ~value; break;
    case REG_DMACR: uart->dmacr = value & 7; break;
    default: break;
    }
    update(uart);
}

static uint64_t pl011_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pv_pl011 *uart = opaque;
    uint32_t value;

    (void)size;
    pthread_mutex_lock(&uart->lock);
    value = read_register(uart, offset);
    pthread_mutex_unlock(&uart->lock);
    if (offset == REG_DR && uart->chardev)
        pv_chardev_can_accept(uart->chardev);
    return value;
}

static void pl011_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct pv_pl011 *uart = opaque;
    uint8_t byte = (uint8_t)value;

    (void)size;
    if (offset == REG_DR && uart->chardev)
        pv_chardev_write(uart->chardev, &byte, 1);
    pthread_mutex_lock(&uart->lock);
    write_register(uart, offset, (uint32_t)value);
    pthread_mutex_unlock(&uart->lock);
    if (offset == REG_LCRH && uart->chardev)
        pv_chardev_can_accept(uart->chardev);
}

static size_t receive(void *opaque, const void *data, size_t len)
{
    struct pv_pl011 *uart = opaque;
    const uint8_t *bytes = data;
    size_t taken = 0;

    pthread_mutex_lock(&uart->lock);
    while (taken < len && uart->count < depth(uart)) {
        uart->fifo[(uart->head + uart->count) % FIFO_SIZE] = bytes[taken++];
        uart->count++;
    }
    if (taken)
        uart->ris |= INT_RX;
    update(uart);
    pthread_mutex_unlock(&uart->lock);
    return taken;
}

static void reset_locked(struct pv_pl011 *uart)
{
    uart->head = uart->count = 0;
    uart->ilpr = uart->ibrd = uart->fbrd = uart->lcrh = 0;
    uart->cr = 0x300;
    uart->ifls = 0x12;
    uart->imsc = uart->ris = uart->dmacr = 0;
    update(uart);
}

void pv_pl011_reset(struct pv_pl011 *uart)
{
    pthread_mutex_lock(&uart->lock);
    reset_locked(uart);
    pthread_mutex_unlock(&uart->lock);
}

void pv_pl011_record(struct pv_pl011 *uart, struct pv_record *record)
{
    uint32_t *const registers[] = {&uart->ilpr, &uart->ibrd, &uart->fbrd, &uart->lcrh, &uart->cr,
                                   &uart->ifls, &uart->imsc, &uart->ris,  &uart->dmacr};

    pthread_mutex_lock(&uart->lock);
    pv_record_begin(record, 1, "pl011");
    pv_record_bytes(record, uart->fifo, sizeof(uart->fifo));
    pv_record_limited(record, &uart->head, FIFO_SIZE - 1);
    pv_record_limited(record, &uart->count, FIFO_SIZE);
    for (unsigned i = 0; i < PV_ARRAY_SIZE(registers); i++)
        pv_record_u32(record, registers[i]);
    pv_record_end(record);
    if (pv_record_loading(record))
        update(uart);
    pthread_mutex_unlock(&uart->lock);
}

int pv_pl011_create(struct pv_pl011 **out, struct pv_address_space *as, uint64_t address,
                    struct pv_irq irq, struct pv_chardev *chardev, struct pv_error **err)
{
    static const struct pv_mmio_ops ops = {pl011_read, pl011_write};
    struct pv_pl011 *uart = calloc(1, sizeof(*uart));

    if (!uart)
        return pv_error_set(err, ENOMEM, "out of memory for the UART");
    uart->as = as;
    uart->address = address;
    uart->irq = irq;
    uart->chardev = chardev;
    pthread_mutex_init(&uart->lock, NULL);
    reset_locked(uart);
    int ret = pv_as_add_mmio(as, address, PV_MAP_PL_SIZE, &ops, uart, "pl011", err);
    if (ret < 0) {
        pthread_mutex_destroy(&uart->lock);
        free(uart);
        return ret;
    }
    if (chardev)
        pv_chardev_set_client(chardev,
                              &(struct pv_chardev_client){.receive = receive, .opaque = uart});
    *out = uart;
    return 0;
}

void pv_pl011_destroy(struct pv_pl011 *uart)
{
    if (!uart)
        return;
    if (uart->chardev)
        pv_chardev_set_client(uart->chardev, NULL);
    pv_as_remove(uart->as, uart->address);
    pthread_mutex_destroy(&uart->lock);
    free(uart);
}
