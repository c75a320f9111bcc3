/* SPDX-License-Identifier: MIT */
#ifndef PV_HOST_FILE_COPY_H
#define PV_HOST_FILE_COPY_H

struct pv_error;

/*
 * Copies a regular file to a new one, which is there whole or not at all. Holes stay holes, and
 * where the file system can share blocks until one side writes, it does.
 */
int pv_file_copy(const char *from, const char *to, struct pv_error **err);

#endif
