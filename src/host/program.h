/* SPDX-License-Identifier: MIT */
#ifndef PV_HOST_PROGRAM_H
#define PV_HOST_PROGRAM_H

#include <stdint.h>
#include <sys/types.h>

/* The path of the running program's file, for the caller to free; NULL when it cannot be told. */
char *pv_program_path(void);

/* Bytes of the host's memory that a process of ours has now; 0 when it cannot be told. */
uint64_t pv_program_resident(pid_t pid);

#endif
