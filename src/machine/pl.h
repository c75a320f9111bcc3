/* SPDX-License-Identifier: MIT */
/* The board's three PrimeCells: PL011 UART, PL031 clock, PL061 GPIO with the power button. */
#ifndef PV_MACHINE_PL_H
#define PV_MACHINE_PL_H

#include "base/irq.h"

#include <stdbool.h>
#include <stdint.h>

struct pv_address_space;
struct pv_chardev;
struct pv_error;
struct pv_loop;
struct pv_pl011;
struct pv_pl031;
struct pv_pl061;
struct pv_record;

/* Peripheral and PrimeCell ID registers, 0xfe0 to 0xffc: a byte each. Part numbers are BCD. */
uint32_t pv_pl_id(uint16_t part, uint8_t revision, uint64_t offset);

/* `chardev` stays the caller's and outlives the UART, which becomes its client. NULL is fine. */
int pv_pl011_create(struct pv_pl011 **out, struct pv_address_space *as, uint64_t address,
                    struct pv_irq irq, struct pv_chardev *chardev, struct pv_error **err);
void pv_pl011_destroy(struct pv_pl011 *uart);
void pv_pl011_reset(struct pv_pl011 *uart);
void pv_pl011_record(struct pv_pl011 *uart, struct pv_record *record);

int pv_pl031_create(struct pv_pl031 **out, struct pv_address_space *as, uint64_t address,
                    struct pv_irq irq, struct pv_loop *loop, struct pv_error **err);
void pv_pl031_destroy(struct pv_pl031 *rtc);
void pv_pl031_reset(struct pv_pl031 *rtc);
void pv_pl031_record(struct pv_pl031 *rtc, struct pv_record *record);

int pv_pl061_create(struct pv_pl061 **out, struct pv_address_space *as, uint64_t address,
                    struct pv_irq irq, struct pv_loop *loop, struct pv_error **err);
void pv_pl061_destroy(struct pv_pl061 *gpio);
void pv_pl061_reset(struct pv_pl061 *gpio);
void pv_pl061_record(struct pv_pl061 *gpio, struct pv_record *record);

/* Drives an input line. */
void pv_pl061_set_input(struct pv_pl061 *gpio, unsigned line, bool level);

/* Holds the line for as long as a finger does: gpio-keys debounces. Any thread. */
void pv_pl061_press(struct pv_pl061 *gpio, unsigned line);

#endif
