/* SPDX-License-Identifier: MIT */
#ifndef PV_FETCH_UNPACK_H
#define PV_FETCH_UNPACK_H

#include <stdbool.h>

struct pv_error;

/* Whether the file begins as one that is compressed by xz. */
bool unpack_is_xz(const char *path);

/* Makes `to` of what is compressed in `from`; zeroes become holes. */
int unpack_xz(const char *from, const char *to, struct pv_error **err);

#endif
