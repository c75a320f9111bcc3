/* SPDX-License-Identifier: MIT */
/*
 * virtio-gpu (section 5.7): scanouts onto a pv_display, 2D resources of its own, and contexts,
 * blobs and fences of a pv_renderer.
 */
#ifndef PV_DEVICE_GPU_H
#define PV_DEVICE_GPU_H

#include <stdint.h>

struct pv_address_space;
struct pv_display;
struct pv_error;
struct pv_loop;
struct pv_virtio_device;

struct pv_virtio_gpu_config {
    struct pv_display *display; /* the caller's; outlives the device */
    unsigned heads;             /* 1 to PV_DISPLAY_HEADS */
    uint32_t width, height;     /* what the heads would like to be at first */
    const char *renderer;       /* pv_renderer_create()'s name; NULL: 2D only */
    const char *vulkan_library; /* the renderer's; NULL: the system's */
    uint64_t window;            /* bytes of the host-visible window, a power of two; 0: none */
    uint64_t context_memory;    /* the renderer's limits; 0: none */
    uint64_t host_memory;
};

/*
 * Commands are executed on `loop`, which they keep busy for as long as the renderer takes: it is
 * best one of the device's own.
 */
int pv_virtio_gpu_create(struct pv_virtio_device **out, struct pv_loop *loop,
                         struct pv_address_space *as, const struct pv_virtio_gpu_config *config,
                         struct pv_error **err);

/*
 * Tells the guest that a head would like to be of that size, or, with 0 x 0, is not connected. The
 * guest decides what it makes of it. Any thread.
 */
void pv_virtio_gpu_set_size(struct pv_virtio_device *dev, unsigned head, uint32_t width,
                            uint32_t height);

#endif
