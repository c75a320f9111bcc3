/* SPDX-License-Identifier: MIT */
#ifndef PV_BLOCK_FOREIGN_UNPACK_H
#define PV_BLOCK_FOREIGN_UNPACK_H

#include "block/foreign/foreign.h"

/* Whether this program was built with what that kind needs. */
bool pv_foreign_can_unpack(enum pv_foreign_kind kind);

/* All of `out` has to be filled, else -EIO; what is packed may be followed by anything. */
int pv_foreign_unpack(enum pv_foreign_kind kind, uint8_t *out, size_t size, const uint8_t *packed,
                      size_t packed_size);

#endif
