/* SPDX-License-Identifier: MIT */
/* The names of a guest kernel's functions, out of its System.map or /proc/kallsyms. */
#ifndef PV_ENGINE_JIT_SYMBOLS_H
#define PV_ENGINE_JIT_SYMBOLS_H

#include <stdint.h>

struct jit_symbols;
struct pv_error;

/* Reads lines of "ADDRESS TYPE NAME"; those of code (t, T, w, W) are kept. */
int jit_symbols_load(struct jit_symbols **out, const char *path, struct pv_error **err);
void jit_symbols_free(struct jit_symbols *symbols);

/*
 * The symbol that the address is in, and how far; NULL when it is before the first, more than 16
 * MiB behind any, or when there are no symbols (NULL).
 */
const char *jit_symbols_find(const struct jit_symbols *symbols, uint64_t address, uint64_t *offset);

#endif
