/* SPDX-License-Identifier: MIT */
/*
 * PL061 GPIO (DDI 0190), eight lines. Inputs come from pv_pl061_set_input; the board wires line 3
 * to a power button, which guests see as a gpio-keys key.
 */
#include "machine/pl.h"

#include "base/error.h"
#include "base/record.h"
#include "base/util.h"
#include "host/clock.h"
#include "host/loop.h"
#include "machine/map.h"
#include "memory/address_space.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

enum {
    REG_DATA_END = 0x400, /* bits 9:2 of the address are a mask of lines */
    REG_DIR = 0x400,
    REG_IS = 0x404,
    REG_IBE = 0x408,
    REG_IEV = 0x40c,
    REG_IE = 0x410,
    REG_RIS = 0x414,
    REG_MIS = 0x418,
    REG_IC = 0x41c,
    REG_AFSEL = 0x420,
};

#define PRESS_NS (PV_NSEC_PER_SEC / 10)

struct pv_pl061 {
    struct pv_address_space *as;
    uint64_t address;
    struct pv_irq irq;
    struct pv_timer *release;
    pthread_mutex_t lock;
    uint8_t input;  /* levels on the pins from outside */
    uint8_t output; /* what the guest drives */
    uint8_t dir, is, ibe, iev, ie, afsel;
    uint8_t edges;   /* latched edge interrupts */
    uint8_t pressed; /* lines held by pv_pl061_press */
};

static uint8_t pins(const struct pv_pl061 *gpio)
{
    return (uint8_t)((gpio->output & gpio->dir) | (gpio->input & ~gpio->dir));
}

static uint8_t raw_interrupts(const struct pv_pl061 *gpio)
{
    uint8_t levels = (uint8_t)(gpio->is & ~(pins(gpio) ^ gpio->iev));
    return (uint8_t)(levels | (gpio->edges & ~gpio->is));
}

static void update(struct pv_pl061 *gpio)
{
    pv_irq_set(&gpio->irq, raw_interrupts(gpio) & gpio->ie);
}

/* Latches the edges that a change of pins from `before` makes. */
static void pins_changed(struct pv_pl061 *gpio, uint8_t before)
{
    uint8_t after = pins(gpio);
    uint8_t changed = before ^ after;
    uint8_t wanted = (uint8_t)(gpio->ibe | ~(after ^ gpio->iev));

    gpio->edges |= changed & wanted & (uint8_t)~gpio->is;
    update(gpio);
}

static uint64_t pl061_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pv_pl061 *gpio = opaque;
    uint32_t value;

    (void)size;
    pthread_mutex_lock(&gpio->lock);
    if (offset < REG_DATA_END) {
        value = pins(gpio) & (uint8_t)(offset >> 2);
    } else {
        switch (offset) {
        case REG_DIR: value = gpio->dir; break;
        case REG_IS: value = gpio->is; break;
        case REG_IBE: value = gpio->ibe; break;
        case REG_IEV: value = gpio->iev; break;
        case REG_IE: value = gpio->ie; break;
        case REG_RIS: value = raw_interrupts(gpio); break;
        case REG_MIS: value = raw_interrupts(gpio) & gpio->ie; break;
        case REG_AFSEL: value = gpio->afsel; break;
        default: value = pv_pl_id(0x061, 0, offset); break;
        }
    }
    pthread_mutex_unlock(&gpio->lock);
    return value;
}

static void pl061_write(void *opaque, uint64_t offset, unsigned size, uint64_t wide)
{
    struct pv_pl061 *gpio = opaque;
    uint8_t value = (uint8_t)wide;

    (void)size;
    pthread_mutex_lock(&gpio->lock);
    uint8_t before = pins(gpio);
    if (offset < REG_DATA_END) {
        uint8_t mask = (uint8_t)(offset >> 2);
        gpio->output = (uint8_t)((gpio->output & ~mask) | (value & mask));
    } else {
        switch (offset) {
        case REG_DIR: gpio->dir = value; break;
        case REG_IS: gpio->is = value; break;
        case REG_IBE: gpio->ibe = value; break;
        case REG_IEV: gpio->iev = value; break;
        case REG_IE: gpio->ie = value; break;
        case REG_IC: gpio->edges &= (uint8_t)~value; break;
        case REG_AFSEL: gpio->afsel = value; break;
        default: break;
        }
    }
    pins_changed(gpio, before);
    pthread_mutex_unlock(&gpio->lock);
}

static void set_input_locked(struct pv_pl061 *gpio, uint8_t mask, bool level)
{
    uint8_t before = pins(gpio);

    gpio->input = (uint8_t)(level ? gpio->input | mask : gpio->input & ~mask);
    pins_changed(gpio, before);
}

void pv_pl061_set_input(struct pv_pl061 *gpio, unsigned line, bool level)
{
    pthread_mutex_lock(&gpio->lock);
    set_input_locked(gpio, (uint8_t)(1u << line), level);
    pthread_mutex_unlock(&gpio->lock);
}

static void release(void *opaque)
{
    struct pv_pl061 *gpio = opaque;

    pthread_mutex_lock(&gpio->lock);
    set_input_locked(gpio, gpio->pressed, false);
    gpio->pressed = 0;
    pthread_mutex_unlock(&gpio->lock);
}

void pv_pl061_press(struct pv_pl061 *gpio, unsigned line)
{
    pthread_mutex_lock(&gpio->lock);
    gpio->pressed |= (uint8_t)(1u << line);
    set_input_locked(gpio, (uint8_t)(1u << line), true);
    pthread_mutex_unlock(&gpio->lock);
    pv_timer_set(gpio->release, pv_clock_ns() + PRESS_NS);
}

void pv_pl061_reset(struct pv_pl061 *gpio)
{
    pthread_mutex_lock(&gpio->lock);
    gpio->output = gpio->dir = gpio->is = gpio->ibe = gpio->iev = gpio->ie = gpio->afsel = 0;
    gpio->edges = 0;
    update(gpio);
    pthread_mutex_unlock(&gpio->lock);
}

/* A press under way ends with the finger that made it: it is not part of the state. */
void pv_pl061_record(struct pv_pl061 *gpio, struct pv_record *record)
{
    pthread_mutex_lock(&gpio->lock);
    uint8_t input = gpio->input & (uint8_t)~gpio->pressed;
    uint8_t *const registers[] = {&input,     &gpio->output, &gpio->dir,   &gpio->is,   &gpio->ibe,
                                  &gpio->iev, &gpio->ie,     &gpio->afsel, &gpio->edges};
    pv_record_begin(record, 1, "pl061");
    for (unsigned i = 0; i < PV_ARRAY_SIZE(registers); i++)
        pv_record_u8(record, registers[i]);
    pv_record_end(record);
    if (pv_record_loading(record)) {
        gpio->input = input | gpio->pressed;
        update(gpio);
    }
    pthread_mutex_unlock(&gpio->lock);
}

int pv_pl061_create(struct pv_pl061 **out, struct pv_address_space *as, uint64_t address,
                    struct pv_irq irq, struct pv_loop *loop, struct pv_error **err)
{
    static const struct pv_mmio_ops ops = {pl061_read, pl061_write};
    struct pv_pl061 *gpio = calloc(1, sizeof(*gpio));

    if (!gpio)
        return pv_error_set(err, ENOMEM, "out of memory for the GPIO");
    gpio->as = as;
    gpio->address = address;
    gpio->irq = irq;
    int ret = pv_timer_create(&gpio->release, loop, release, gpio, err);
    if (ret < 0)
        goto fail;
    ret = pv_as_add_mmio(as, address, PV_MAP_PL_SIZE, &ops, gpio, "pl061", err);
    if (ret < 0) {
        pv_timer_destroy(gpio->release);
        goto fail;
    }
    pthread_mutex_init(&gpio->lock, NULL);
    *out = gpio;
    return 0;
fail:
    free(gpio);
    return ret;
}

void pv_pl061_destroy(struct pv_pl061 *gpio)
{
    if (!gpio)
        return;
    pv_as_remove(gpio->as, gpio->address);
    pv_timer_destroy(gpio->release);
    pthread_mutex_destroy(&gpio->lock);
    free(gpio);
}
