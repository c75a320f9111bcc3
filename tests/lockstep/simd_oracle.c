/* SPDX-License-Identifier: MIT */
/*
 * The oracle: an ARM64 Linux program, run on hardware or under qemu-aarch64-static, that reads
 * instruction words and writes a hash for each of argv[1] cases of each word (simd_case.h).
 * With a second argument it writes whole states instead.
 */
#include "simd_case.h"

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

/*
 * A function that loads all registers from the state in x0, executes the word at simd_slot, and
 * stores them. It runs in a copy that can be written to.
 */
extern const uint8_t simd_code[], simd_slot[], simd_code_end[];
__asm__(".pushsection .rodata\n"
        ".balign 16\n"
        "simd_code:\n"
        "stp x20, x21, [sp, #-96]!\n"
        "stp d8, d9, [sp, #16]\n"
        "stp d10, d11, [sp, #32]\n"
        "stp d12, d13, [sp, #48]\n"
        "stp d14, d15, [sp, #64]\n"
        "mov x20, x0\n"
        "add x21, x20, #512\n"
        "ldr x0, [x21, #128]\n"
        "msr fpsr, x0\n"
        "ldp q0, q1, [x20, #0]\n"
        "ldp q2, q3, [x20, #32]\n"
        "ldp q4, q5, [x20, #64]\n"
        "ldp q6, q7, [x20, #96]\n"
        "ldp q8, q9, [x20, #128]\n"
        "ldp q10, q11, [x20, #160]\n"
        "ldp q12, q13, [x20, #192]\n"
        "ldp q14, q15, [x20, #224]\n"
        "ldp q16, q17, [x20, #256]\n"
        "ldp q18, q19, [x20, #288]\n"
        "ldp q20, q21, [x20, #320]\n"
        "ldp q22, q23, [x20, #352]\n"
        "ldp q24, q25, [x20, #384]\n"
        "ldp q26, q27, [x20, #416]\n"
        "ldp q28, q29, [x20, #448]\n"
        "ldp q30, q31, [x20, #480]\n"
        "ldp x0, x1, [x21, #0]\n"
        "ldp x2, x3, [x21, #16]\n"
        "ldp x4, x5, [x21, #32]\n"
        "ldp x6, x7, [x21, #48]\n"
        "ldp x8, x9, [x21, #64]\n"
        "ldp x10, x11, [x21, #80]\n"
        "ldp x12, x13, [x21, #96]\n"
        "ldp x14, x15, [x21, #112]\n"
        "simd_slot: nop\n"
        "stp q0, q1, [x20, #0]\n"
        "stp q2, q3, [x20, #32]\n"
        "stp q4, q5, [x20, #64]\n"
        "stp q6, q7, [x20, #96]\n"
        "stp q8, q9, [x20, #128]\n"
        "stp q10, q11, [x20, #160]\n"
        "stp q12, q13, [x20, #192]\n"
        "stp q14, q15, [x20, #224]\n"
        "stp q16, q17, [x20, #256]\n"
        "stp q18, q19, [x20, #288]\n"
        "stp q20, q21, [x20, #320]\n"
        "stp q22, q23, [x20, #352]\n"
        "stp q24, q25, [x20, #384]\n"
        "stp q26, q27, [x20, #416]\n"
        "stp q28, q29, [x20, #448]\n"
        "stp q30, q31, [x20, #480]\n"
        "stp x0, x1, [x21, #0]\n"
        "stp x2, x3, [x21, #16]\n"
        "stp x4, x5, [x21, #32]\n"
        "stp x6, x7, [x21, #48]\n"
        "stp x8, x9, [x21, #64]\n"
        "stp x10, x11, [x21, #80]\n"
        "stp x12, x13, [x21, #96]\n"
        "stp x14, x15, [x21, #112]\n"
        "mrs x0, fpsr\n"
        "str x0, [x21, #128]\n"
        "ldp d8, d9, [sp, #16]\n"
        "ldp d10, d11, [sp, #32]\n"
        "ldp d12, d13, [sp, #48]\n"
        "ldp d14, d15, [sp, #64]\n"
        "ldp x20, x21, [sp], #96\n"
        "ret\n"
        "simd_code_end:\n"
        ".popsection\n");

static sigjmp_buf undefined;
static struct simd_state state;
static uint8_t *code;

static void on_sigill(int signal)
{
    siglongjmp(undefined, signal);
}

static uint64_t run_case(uint32_t word, uint32_t number)
{
    uint8_t *const memory = (uint8_t *)(uintptr_t)SIMD_CASE_MEMORY;
    simd_case_make(&state, word, number);
    memcpy(memory, state.memory, sizeof(state.memory));
    if (sigsetjmp(undefined, 1) != 0)
        return 0;
    ((void (*)(struct simd_state *))(void *)code)(&state);
    memcpy(state.memory, (uint8_t *)(uintptr_t)SIMD_CASE_MEMORY, sizeof(state.memory));
    return simd_case_hash(&state);
}

int main(int argc, char **argv)
{
    const uint32_t cases = argc > 1 ? (uint32_t)atoi(argv[1]) : 1;
    void *memory = mmap((void *)(uintptr_t)SIMD_CASE_MEMORY, 4096, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || code == MAP_FAILED) {
        perror("simd_oracle");
        return 1;
    }
    memcpy(code, simd_code, (size_t)(simd_code_end - simd_code));
    signal(SIGILL, on_sigill);
    for (uint32_t word; fread(&word, sizeof(word), 1, stdin) == 1;) {
        memcpy(code + (simd_slot - simd_code), &word, sizeof(word));
        __builtin___clear_cache((char *)code, (char *)code + 4096);
        for (uint32_t i = 0; i < cases; i++) {
            const uint64_t hash = run_case(word, i);
            if (argc > 2)
                fwrite(&state, sizeof(state), 1, stdout);
            else
                fwrite(&hash, sizeof(hash), 1, stdout);
        }
    }
    return 0;
}
