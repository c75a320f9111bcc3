/* SPDX-License-Identifier: MIT */
/*
 * The host-visible window: guest-physical addresses at which blobs appear where the guest's driver
 * says, wherever the guest has put the window meanwhile. Any thread; its lock comes after the PCI
 * bus's and the device's, and before the address space's.
 */
#ifndef PV_GPU_WINDOW_H
#define PV_GPU_WINDOW_H

#include <stdint.h>

struct pv_address_space;
struct pv_error;
struct pv_gpu_window;

/* `size` is in whole pages. The window is nowhere yet. */
int pv_gpu_window_create(struct pv_gpu_window **out, struct pv_address_space *as, uint64_t size,
                         struct pv_error **err);
/* Takes everything out of the address space. NULL is fine. */
void pv_gpu_window_destroy(struct pv_gpu_window *window);

/* The guest put the window there (UINT64_MAX: nowhere): what is in it goes along. */
void pv_gpu_window_move(struct pv_gpu_window *window, uint64_t address);

/*
 * Shows `size` bytes at `host` (whole pages; `fd` is the object behind them, or -1) at `offset`.
 * -EINVAL when that is not whole pages inside the window, -EEXIST when something is there. The
 * memory must stay until it is unmapped.
 */
int pv_gpu_window_map(struct pv_gpu_window *window, uint64_t offset, uint64_t size, void *host,
                      int fd, struct pv_error **err);

/* Takes out what was mapped at `offset`; no vCPU uses it any more then. -ENOENT. */
int pv_gpu_window_unmap(struct pv_gpu_window *window, uint64_t offset);

/* How many bytes are mapped. */
uint64_t pv_gpu_window_used(struct pv_gpu_window *window);

#endif
