/* SPDX-License-Identifier: MIT */
/* Arithmetic that says when it overflowed: for every number that a guest, file or client chose. */
#ifndef PV_BASE_CHECKED_H
#define PV_BASE_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

/* Each stores the (wrapped) result and returns true when the true result fits. */
#define pv_add_ok(a, b, out) (!__builtin_add_overflow(a, b, out))
#define pv_sub_ok(a, b, out) (!__builtin_sub_overflow(a, b, out))
#define pv_mul_ok(a, b, out) (!__builtin_mul_overflow(a, b, out))

/* Whether [offset, offset + length) lies inside [0, size). An empty range at `size` does. */
static inline bool pv_range_ok(uint64_t offset, uint64_t length, uint64_t size)
{
    return offset <= size && length <= size - offset;
}

#endif
