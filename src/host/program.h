/* SPDX-License-Identifier: MIT */
#ifndef PV_HOST_PROGRAM_H
#define PV_HOST_PROGRAM_H

/* The path of the running program's file, for the caller to free; NULL when it cannot be told. */
char *pv_program_path(void);

#endif
