/* SPDX-License-Identifier: MIT */
/*
 * The oracle: an AArch64 program that executes single instructions on request.
 *
 * Reads struct fp_case from standard input, for each loads the registers, executes `word`
 * (which may use V0-V2 and X0-X2 only, and must not branch), and writes the record back with the
 * registers as they are then. Runs under qemu-aarch64-static, or natively on an Arm host.
 */
#include "fp_case.h"

#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>

/* void code(struct fp_case *): x9 is the record, x10 a scratch register */
static const uint32_t prologue[] = {
    0xaa0003e9, /* mov x9, x0 */
    0xb940052a, /* ldr w10, [x9, #4] (fpcr) */
    0xd51b440a, /* msr fpcr, x10 */
    0xb940092a, /* ldr w10, [x9, #8] (fpsr) */
    0xd51b442a, /* msr fpsr, x10 */
    0xb9400d2a, /* ldr w10, [x9, #12] (nzcv) */
    0xd51b420a, /* msr nzcv, x10 */
    0xa9410520, /* ldp x0, x1, [x9, #16] */
    0xf9401122, /* ldr x2, [x9, #32] */
    0xad418520, /* ldp q0, q1, [x9, #48] */
    0x3dc01522, /* ldr q2, [x9, #80] */
};
static const uint32_t epilogue[] = {
    0xad018520, /* stp q0, q1, [x9, #48] */
    0x3d801522, /* str q2, [x9, #80] */
    0xa9010520, /* stp x0, x1, [x9, #16] */
    0xf9001122, /* str x2, [x9, #32] */
    0xd53b420a, /* mrs x10, nzcv */
    0xb9000d2a, /* str w10, [x9, #12] */
    0xd53b442a, /* mrs x10, fpsr */
    0xb900092a, /* str w10, [x9, #8] */
    0xd51b441f, /* msr fpcr, xzr */
    0xd65f03c0, /* ret */
};
enum { PROLOGUE = sizeof(prologue) / 4, EPILOGUE = sizeof(epilogue) / 4, SLOT = 32, SLOTS = 256 };

int main(void)
{
    uint32_t *code = mmap(NULL, SLOT * SLOTS * 4, PROT_READ | PROT_WRITE | PROT_EXEC,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED)
        return 1;
    /* Requests of one instruction in a row are usual: its slot is written once. */
    struct fp_case record;
    while (fread(&record, sizeof(record), 1, stdin) == 1) {
        uint32_t *slot = code + (record.word * UINT32_C(2654435761) >> 24) * SLOT;
        if (slot[PROLOGUE] != record.word || slot[0] == 0) {
            for (unsigned i = 0; i < PROLOGUE; i++)
                slot[i] = prologue[i];
            slot[PROLOGUE] = record.word;
            for (unsigned i = 0; i < EPILOGUE; i++)
                slot[PROLOGUE + 1 + i] = epilogue[i];
            __builtin___clear_cache((char *)slot, (char *)(slot + SLOT));
        }
        ((void (*)(struct fp_case *))slot)(&record);
        if (fwrite(&record, sizeof(record), 1, stdout) != 1)
            return 1;
    }
    return fflush(stdout) ? 1 : 0;
}
