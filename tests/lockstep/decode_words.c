/* SPDX-License-Identifier: MIT */
/* Reads A64 words from standard input, 4 bytes each, and prints the name each one decodes to. */
#include "engine/a64/decode.h"

#include <stdio.h>

int main(void)
{
    uint32_t word;
    while (fread(&word, sizeof(word), 1, stdin) == 1) {
        struct a64_insn insn;
        a64_decode(word, &insn);
        puts(a64_op_name(insn.op));
    }
    return ferror(stdin) || fflush(stdout) ? 1 : 0;
}
