/* SPDX-License-Identifier: MIT */
/*
 * Interrupt wires between a device and whoever collects interrupts. Both kinds may be driven from
 * any thread; the receiver does its own locking.
 */
#ifndef PV_BASE_IRQ_H
#define PV_BASE_IRQ_H

#include <stdbool.h>
#include <stdint.h>

/* A level-sensitive wire. For an edge-triggered input, true then false is one edge. */
struct pv_irq {
    void (*set)(void *opaque, unsigned line, bool level);
    void *opaque;
    unsigned line; /* the receiver's number, e.g. the GIC INTID */
};

static inline void pv_irq_set(const struct pv_irq *irq, bool level)
{
    if (irq->set)
        irq->set(irq->opaque, irq->line, level);
}

/* Where message-signalled interrupts go: a memory write of `data` to `address` by `device_id`. */
struct pv_msi_target {
    void (*send)(void *opaque, uint32_t device_id, uint64_t address, uint32_t data);
    void *opaque;
};

static inline void pv_msi_send(const struct pv_msi_target *target, uint32_t device_id,
                               uint64_t address, uint32_t data)
{
    if (target->send)
        target->send(target->opaque, device_id, address, data);
}

#endif
