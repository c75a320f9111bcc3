/* SPDX-License-Identifier: MIT */
/* Small helpers every folder uses: scope cleanups, array and container macros, bit fields. */
#ifndef PV_BASE_UTIL_H
#define PV_BASE_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PV_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define PV_CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define PV_MIN(a, b)                                                                               \
    ({                                                                                             \
        __typeof__(a) pv_min_a = (a);                                                              \
        __typeof__(b) pv_min_b = (b);                                                              \
        pv_min_a < pv_min_b ? pv_min_a : pv_min_b;                                                 \
    })
#define PV_MAX(a, b)                                                                               \
    ({                                                                                             \
        __typeof__(a) pv_max_a = (a);                                                              \
        __typeof__(b) pv_max_b = (b);                                                              \
        pv_max_a > pv_max_b ? pv_max_a : pv_max_b;                                                 \
    })

#define PV_LIKELY(x)   __builtin_expect(!!(x), 1)
#define PV_UNLIKELY(x) __builtin_expect(!!(x), 0)

#define PV_KIB ((uint64_t)1 << 10)
#define PV_MIB ((uint64_t)1 << 20)
#define PV_GIB ((uint64_t)1 << 30)

/* Rounds to a power-of-two `align`. pv_align_up wraps to 0 near the top: check first. */
static inline uint64_t pv_align_down(uint64_t value, uint64_t align)
{
    return value & ~(align - 1);
}
static inline uint64_t pv_align_up(uint64_t value, uint64_t align)
{
    return (value + align - 1) & ~(align - 1);
}

/* Bits [lsb+width-1 : lsb] of value, zero-extended; width 1..64. */
static inline uint64_t pv_bits(uint64_t value, unsigned lsb, unsigned width)
{
    return (value >> lsb) & (~UINT64_C(0) >> (64 - width));
}

/* The low `width` bits of value, sign-extended; width 1..64. */
static inline int64_t pv_sext(uint64_t value, unsigned width)
{
    return (int64_t)(value << (64 - width)) >> (64 - width);
}

static inline void pv_cleanup_free(void *p)
{
    free(*(void **)p);
}
static inline void pv_cleanup_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
static inline void pv_cleanup_file(FILE **f)
{
    if (*f)
        fclose(*f);
}

/* Releases the variable at the end of its scope. A PV_CLEANUP_FD starts at -1. */
#define PV_CLEANUP_FREE __attribute__((cleanup(pv_cleanup_free)))
#define PV_CLEANUP_FD   __attribute__((cleanup(pv_cleanup_fd)))
#define PV_CLEANUP_FILE __attribute__((cleanup(pv_cleanup_file)))

/* Hands a cleanup variable's value to someone else and empties it. */
#define PV_STEAL(ptr)                                                                              \
    ({                                                                                             \
        __typeof__(ptr) pv_stolen = (ptr);                                                         \
        (ptr) = NULL;                                                                              \
        pv_stolen;                                                                                 \
    })
#define PV_STEAL_FD(fd)                                                                            \
    ({                                                                                             \
        int pv_stolen = (fd);                                                                      \
        (fd) = -1;                                                                                 \
        pv_stolen;                                                                                 \
    })

#endif
