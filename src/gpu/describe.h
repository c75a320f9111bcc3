/* SPDX-License-Identifier: MIT */
#ifndef PV_GPU_DESCRIBE_H
#define PV_GPU_DESCRIBE_H

struct pv_buffer;
struct pv_error;

/*
 * Appends, as text for people, what the host's Vulkan devices are and what guests will see of them
 * through the venus renderer, and what is missing and why. `library` as in pv_renderer_config.
 */
int pv_gpu_describe(struct pv_buffer *out, const char *library, struct pv_error **err);

#endif
