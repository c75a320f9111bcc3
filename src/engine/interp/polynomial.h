/* SPDX-License-Identifier: MIT */
/* Products of polynomials over GF(2): PMUL, PMULL. */
#ifndef PV_ENGINE_INTERP_POLYNOMIAL_H
#define PV_ENGINE_INTERP_POLYNOMIAL_H

#include <stdint.h>

static inline uint16_t polynomial_product8(uint32_t a, uint32_t b)
{
    uint32_t product = 0;
    for (unsigned bit = 0; bit < 8; bit++)
        product ^= (a << bit) & -(b >> bit & 1);
    return (uint16_t)product;
}

static inline void polynomial_product64(uint64_t a, uint64_t b, uint64_t product[2])
{
    unsigned __int128 sum = 0;
    for (unsigned bit = 0; bit < 64; bit++)
        sum ^= ((unsigned __int128)a << bit) & -(unsigned __int128)(b >> bit & 1);
    product[0] = (uint64_t)sum;
    product[1] = (uint64_t)(sum >> 64);
}

#endif
