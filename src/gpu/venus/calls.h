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

#endif
