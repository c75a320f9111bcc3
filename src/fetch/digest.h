/* SPDX-License-Identifier: MIT */
/* Checksums of files, and the lists in which publishers name them. */
#ifndef PV_FETCH_DIGEST_H
#define PV_FETCH_DIGEST_H

#include <stddef.h>

struct pv_error;

enum digest_kind { DIGEST_SHA256, DIGEST_SHA512 };

#define DIGEST_BYTES_MAX 64u
#define DIGEST_TEXT_MAX  (2 * DIGEST_BYTES_MAX + 1)

/* "SHA256" or "SHA512". */
const char *digest_name(enum digest_kind kind);

/* Hexadecimal digits in lower case; the kind follows from how many there are. -EINVAL: not one. */
int digest_parse(const char *text, enum digest_kind *kind, char digits[DIGEST_TEXT_MAX]);

/* Of a file's contents. */
int digest_file(const char *path, enum digest_kind kind, char digits[DIGEST_TEXT_MAX],
                struct pv_error **err);

/*
 * The entry of file `name` in a list like sha256sum's ("DIGITS  NAME", "DIGITS *NAME") or like
 * BSD's ("SHA256 (NAME) = DIGITS"); other lines do not matter. -ENOENT: there is none.
 */
int digest_in_list(const char *list, const char *name, enum digest_kind *kind,
                   char digits[DIGEST_TEXT_MAX]);

#endif
