/* SPDX-License-Identifier: MIT */
/*
 * The oracle: an ARM64 Linux program, run on hardware or under qemu-aarch64-static, that reads
 * requests and writes a hash for each of argv[1] cases of each (case.h), the first of them case 0.
 * With a second argument it writes whole states instead.
 *
 * The instruction may use every register, SP too, so nothing of ours survives it in one: around it
 * TPIDR_EL0 keeps X30 (the C library's value is put back), and the state's address is a literal.
 */
#include "case.h"

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

extern const uint8_t case_code[], case_code_end[];
__asm__(".pushsection .rodata\n"
        ".balign 16\n"
        ".globl case_code, case_code_end\n"
        ".set case_saved, case_code + 0x1000\n" /* the page behind */
        "case_code:\n"
        "stp x29, x30, [sp, #-160]!\n"
        "stp x19, x20, [sp, #16]\n"
        "stp x21, x22, [sp, #32]\n"
        "stp x23, x24, [sp, #48]\n"
        "stp x25, x26, [sp, #64]\n"
        "stp x27, x28, [sp, #80]\n"
        "stp d8, d9, [sp, #96]\n"
        "stp d10, d11, [sp, #112]\n"
        "stp d12, d13, [sp, #128]\n"
        "stp d14, d15, [sp, #144]\n"
        "mov x30, x0\n"
        "mrs x0, tpidr_el0\n"
        "adr x1, case_saved\n"
        "mov x2, sp\n"
        "stp x0, x2, [x1]\n"
        "str x30, [x1, #16]\n"
        "add x0, x30, #288\n"
        ".irp n, 0,2,4,6,8,10,12,14,16,18,20,22,24,26,28,30\n"
        "ldr q\\n, [x0, #16*\\n]\n"
        ".endr\n"
        ".irp n, 1,3,5,7,9,11,13,15,17,19,21,23,25,27,29,31\n"
        "ldr q\\n, [x0, #16*\\n]\n"
        ".endr\n"
        "ldr x0, [x30, #256]\n"
        "msr nzcv, x0\n"
        "ldr x0, [x30, #264]\n"
        "msr fpcr, x0\n"
        "ldr x0, [x30, #272]\n"
        "msr fpsr, x0\n"
        "ldr x0, [x30, #248]\n"
        "mov sp, x0\n"
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29\n"
        "ldr x\\n, [x30, #8*\\n]\n"
        ".endr\n"
        "ldr x30, [x30, #240]\n"
        "clrex\n"
        "b case_slot\n"
        ".org case_code + 0x800\n"
        "case_slot:\n"
        ".fill 8, 4, 0xd503201f\n"
        "b case_next\n"
        ".org case_code + 0x840\n"
        "b case_taken\n"
        "case_taken:\n"
        "msr tpidr_el0, x30\n"
        "ldr x30, case_saved + 16\n"
        "str x30, [x30, #280]\n"
        "b case_dump\n"
        "case_next:\n"
        "msr tpidr_el0, x30\n"
        "ldr x30, case_saved + 16\n"
        "case_dump:\n"
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29\n"
        "str x\\n, [x30, #8*\\n]\n"
        ".endr\n"
        "mrs x0, tpidr_el0\n"
        "str x0, [x30, #240]\n"
        "mov x0, sp\n"
        "str x0, [x30, #248]\n"
        "mrs x0, nzcv\n"
        "str x0, [x30, #256]\n"
        "mrs x0, fpcr\n"
        "str x0, [x30, #264]\n"
        "mrs x0, fpsr\n"
        "str x0, [x30, #272]\n"
        "msr fpcr, xzr\n"
        "add x0, x30, #288\n"
        ".irp n, 0,2,4,6,8,10,12,14,16,18,20,22,24,26,28,30\n"
        "str q\\n, [x0, #16*\\n]\n"
        ".endr\n"
        ".irp n, 1,3,5,7,9,11,13,15,17,19,21,23,25,27,29,31\n"
        "str q\\n, [x0, #16*\\n]\n"
        ".endr\n"
        "adr x1, case_saved\n"
        "ldp x0, x2, [x1]\n"
        "msr tpidr_el0, x0\n"
        "mov sp, x2\n"
        "ldp x19, x20, [sp, #16]\n"
        "ldp x21, x22, [sp, #32]\n"
        "ldp x23, x24, [sp, #48]\n"
        "ldp x25, x26, [sp, #64]\n"
        "ldp x27, x28, [sp, #80]\n"
        "ldp d8, d9, [sp, #96]\n"
        "ldp d10, d11, [sp, #112]\n"
        "ldp d12, d13, [sp, #128]\n"
        "ldp d14, d15, [sp, #144]\n"
        "ldp x29, x30, [sp], #160\n"
        "ret\n"
        "case_code_end:\n"
        ".popsection\n");

static sigjmp_buf raised;
static struct case_state state;

static void on_signal(int signal)
{
    siglongjmp(raised, signal);
}

static uint64_t run_case(const struct case_request *request, uint32_t number)
{
    uint8_t *const memory = (uint8_t *)(uintptr_t)CASE_MEMORY;
    const bool memory_used = case_uses_memory(request->word[0]);
    case_make(&state, request, number);
    if (memory_used)
        memcpy(memory, state.memory, CASE_MEMORY_SIZE);
    if (sigsetjmp(raised, 1) != 0)
        return 0;
    ((void (*)(struct case_state *))(uintptr_t)CASE_CODE)(&state);
    state.taken = state.taken != 0;
    if (memory_used)
        memcpy(state.memory, memory, CASE_MEMORY_SIZE);
    return case_hash(&state, request);
}

static bool prepare(void)
{
    const size_t stack_size = 65536;
    /* High up, where hardly any case's SP lies: the kernel takes that for being on it already. */
    void *stack =
        mmap(NULL, stack_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const stack_t alternate = {.ss_sp = stack, .ss_size = stack_size};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    void *memory = mmap((void *)(uintptr_t)CASE_MEMORY, CASE_MEMORY_SIZE, PROT_READ | PROT_WRITE,
                        flags, -1, 0);
    void *code =
        mmap((void *)(uintptr_t)CASE_CODE, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, flags, -1, 0);
    if (memory == MAP_FAILED || code == MAP_FAILED || stack == MAP_FAILED ||
        sigaltstack(&alternate, NULL) < 0)
        return false;
    memcpy(code, case_code, (size_t)(case_code_end - case_code));
    sigaction(SIGILL, &action, NULL);
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    return true;
}

int main(int argc, char **argv)
{
    const uint32_t cases = argc > 1 ? (uint32_t)atoi(argv[1]) : 1;
    uint32_t *const slot = (uint32_t *)(uintptr_t)CASE_PC;
    if (!prepare()) {
        perror("oracle");
        return 1;
    }
    for (struct case_request r; fread(&r, sizeof(r), 1, stdin) == 1;) {
        memcpy(slot, r.word, sizeof(r.word));
        __builtin___clear_cache((char *)slot, (char *)(slot + CASE_WORDS));
        for (uint32_t i = 0; i < cases; i++) {
            const uint64_t hash = run_case(&r, i);
            if (argc > 2)
                fwrite(&state, sizeof(state), 1, stdout);
            else
                fwrite(&hash, sizeof(hash), 1, stdout);
        }
    }
    return 0;
}
