/* SPDX-License-Identifier: MIT */
/* Signatures, by the program gpgv. */
#ifndef PV_FETCH_VERIFY_H
#define PV_FETCH_VERIFY_H

struct pv_error;

/*
 * Whether `file` has the detached signature in file `signature` by a key in `keyring`: 1 when it
 * has, 0 when that cannot be found out here (no gpgv, no such keyring), -EBADMSG when it has not.
 */
int verify_signature(const char *file, const char *signature, const char *keyring,
                     struct pv_error **err);

#endif
