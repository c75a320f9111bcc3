/* SPDX-License-Identifier: MIT */
/* virtio-snd (section 5.14): a card with one stream to play and one to record, and a jack each. */
#ifndef PV_DEVICE_SOUND_H
#define PV_DEVICE_SOUND_H

struct pv_address_space;
struct pv_audio;
struct pv_error;
struct pv_loop;
struct pv_virtio_device;

/* `audio`, whose client the device becomes, is on the same loop and outlives it. */
int pv_sound_create(struct pv_virtio_device **out, struct pv_loop *loop,
                    struct pv_address_space *as, struct pv_audio *audio, struct pv_error **err);

#endif
