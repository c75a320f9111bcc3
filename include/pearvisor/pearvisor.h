/* SPDX-License-Identifier: MIT */
/*
 * libpearvisor: run ARM64 Linux virtual machines. This header compiles alone, as C or C++.
 *
 * Functions that can fail return 0 or a negative errno and, when `message` is not NULL, store one
 * line that says what is wrong; the caller frees it with free().
 */
#ifndef PEARVISOR_PEARVISOR_H
#define PEARVISOR_PEARVISOR_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PEARVISOR_API_VERSION 1

#define PEARVISOR_API __attribute__((visibility("default")))

/* The version that the library was built with: compare with PEARVISOR_API_VERSION. */
PEARVISOR_API int pearvisor_api_version(void);

struct pearvisor_vm;

struct pearvisor_options {
    int api_version;       /* PEARVISOR_API_VERSION */
    unsigned cpus;         /* 0: one */
    uint64_t memory_bytes; /* 0: 1 GiB */
    const char *kernel;    /* path; required */
    const char *initrd;    /* path or NULL */
    const char *append;    /* kernel command line or NULL */
    const char *disk;      /* path of one disk image or NULL */
    const char *console;   /* path of a unix socket for the console; NULL: none */
};

PEARVISOR_API int pearvisor_vm_create(struct pearvisor_vm **out,
                                      const struct pearvisor_options *options, char **message);

/* Runs on the calling thread until the guest powers off or pearvisor_vm_kill(). */
PEARVISOR_API int pearvisor_vm_run(struct pearvisor_vm *vm, char **message);

/* Presses the power button. Any thread. */
PEARVISOR_API void pearvisor_vm_power_button(struct pearvisor_vm *vm);

/* Makes pearvisor_vm_run() return. Any thread. */
PEARVISOR_API void pearvisor_vm_kill(struct pearvisor_vm *vm);

/* After run, or without it. NULL is fine. */
PEARVISOR_API void pearvisor_vm_destroy(struct pearvisor_vm *vm);

#ifdef __cplusplus
}
#endif

#endif
