/* SPDX-License-Identifier: MIT */
/* Numbers and sizes as people write them. */
#ifndef PV_BASE_PARSE_H
#define PV_BASE_PARSE_H

#include <stdint.h>

struct pv_error;

/*
 * A whole decimal or 0x-hexadecimal number within [min, max]. `what` names the value in the error,
 * e.g. "--cpus".
 */
int pv_parse_u64(const char *text, const char *what, uint64_t min, uint64_t max, uint64_t *out,
                 struct pv_error **err);

/* A size in bytes: a number with an optional K, M, G or T (powers of 1024), "iB" or "B" allowed. */
int pv_parse_size(const char *text, const char *what, uint64_t min, uint64_t max, uint64_t *out,
                  struct pv_error **err);

/* Writes e.g. "512 MiB" or "1.5 GiB" into buf (at least 16 bytes); returns buf. */
char *pv_format_size(uint64_t bytes, char *buf);

#endif
