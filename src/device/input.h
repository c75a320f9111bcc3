/* SPDX-License-Identifier: MIT */
/* virtio-input (section 5.8): a keyboard, a mouse, or a tablet that points at absolute places. */
#ifndef PV_DEVICE_INPUT_H
#define PV_DEVICE_INPUT_H

#include <stdbool.h>
#include <stdint.h>

struct pv_address_space;
struct pv_error;
struct pv_loop;
struct pv_virtio_device;

enum pv_input_kind {
    PV_INPUT_KEYBOARD,
    PV_INPUT_MOUSE,
    PV_INPUT_TABLET,
};

/* A tablet's axes go from 0 to this, whatever the size of the screen. */
#define PV_INPUT_AXIS_MAX 0x7fff

/* Lights of a keyboard, as bits. */
#define PV_INPUT_LED_NUM    1u
#define PV_INPUT_LED_CAPS   2u
#define PV_INPUT_LED_SCROLL 4u

/* Names and numbers of events are those of Linux's input subsystem (input-event-codes.h). */
struct pv_input_event {
    uint16_t type;
    uint16_t code;
    int32_t value;
};

#define PV_EV_SYN 0u
#define PV_EV_KEY 1u
#define PV_EV_REL 2u
#define PV_EV_ABS 3u
#define PV_EV_LED 0x11u

/* `leds` (may be NULL) is called on the loop, with the device's lock held, when lights change. */
int pv_input_create(struct pv_virtio_device **out, struct pv_loop *loop,
                    struct pv_address_space *as, enum pv_input_kind kind,
                    void (*leds)(void *opaque, unsigned lit), void *opaque, struct pv_error **err);

/*
 * Something happened: `events`, which belong together and end without a PV_EV_SYN (it is added).
 * All or none of them reach the guest, later if it has no room now; false when too much waits
 * already, or it does not listen. Any thread.
 */
bool pv_input_send(struct pv_virtio_device *dev, const struct pv_input_event *events,
                   unsigned count);

/* The most events in one call of pv_input_send(). */
#define PV_INPUT_MAX_EVENTS 16u

#endif
