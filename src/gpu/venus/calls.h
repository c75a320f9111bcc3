/* SPDX-License-Identifier: MIT */
/* Calls into the driver: a generated thunk for every command, by pv_vn_command_id. */
#ifndef PV_GPU_VENUS_CALLS_H
#define PV_GPU_VENUS_CALLS_H

#include "gpu/venus/wire.h"

/* Calls `proc` with the members of the command's argument struct and stores what it returns. */
typedef void pv_vn_call_fn(PFN_vkVoidFunction proc, void *args);

/* NULL for the protocol's own commands. */
extern pv_vn_call_fn *const pv_vn_calls[PV_VN_COMMAND_COUNT];

/* Space-separated names, best first; NULL for the protocol's own commands. */
extern const char *const pv_vn_proc_names[PV_VN_COMMAND_COUNT];

/*
 * Flat commands: those that record a few plain values into a command buffer, of which a frame has
 * thousands. Each has a generated function that takes its parameters off the wire and calls the
 * driver. It returns the bytes it used (after number, flags and command buffer), or 0, nothing
 * done, when anything is not as usual: then the tables decide, which know what is allowed. Plain
 * bytes (what is pushed to shaders) the driver takes from where they lie: nobody decides by them.
 */
struct pv_vn_stream;

struct pv_vn_flat_in {
    struct pv_vn_stream *stream;
    PFN_vkVoidFunction proc;
    VkCommandBuffer commands;
    const uint8_t
        *at; /* `size` bytes, which may change meanwhile: each that decides is read once */
    size_t size;
};

typedef size_t pv_vn_flat_fn(const struct pv_vn_flat_in *in);
extern pv_vn_flat_fn *const pv_vn_flats[PV_VN_COMMAND_COUNT];

/* The driver's handle of what the guest calls by the id at `at`; false when that is not there. */
bool pv_vn_flat_handle(const struct pv_vn_flat_in *in, unsigned type, const uint8_t *at,
                       bool optional, void *handle);

#endif
