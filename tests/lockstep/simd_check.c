/* SPDX-License-Identifier: MIT */
/*
 * The interpreter's side of simd_oracle.c: reads the same words, writes the same hashes. It calls
 * the handlers on a bare struct cpu whose memory is one flat window.
 */
#include "engine/interp/handlers.h"
#include "engine/interp/mem.h"
#include "simd_case.h"

static uint8_t window[512];
static jmp_buf undefined;

_Noreturn void cpu_undefined(struct cpu *c)
{
    longjmp(undefined, 1);
}
_Noreturn void cpu_fp_trap(struct cpu *c)
{
    abort();
}

static uint8_t *at(uint64_t va, unsigned size)
{
    const uint64_t offset = va - SIMD_CASE_MEMORY;
    if (offset > sizeof(window) - size)
        abort();
    return window + offset;
}

void mem_probe(struct cpu *c, uint64_t va, unsigned size, bool write)
{
    at(va, size);
}

/* Every access comes here: the TLB stays empty. */
uint64_t mem_read_slow(struct cpu *c, uint64_t va, unsigned size, unsigned how)
{
    uint64_t value = 0;
    memcpy(&value, at(va, size), size);
    return value;
}
void mem_write_slow(struct cpu *c, uint64_t va, unsigned size, uint64_t value, unsigned how)
{
    memcpy(at(va, size), &value, size);
}

/* Only the handlers under test are linked; the others are NULL, and their words count as undefined.
 */
#define X(name, class) extern __attribute__((weak)) interp_handler interp_##name;
A64_OPS(X)
#undef X
static interp_handler *const handlers[] = {[A64_UNDEFINED] = NULL,
#define X(name, class) [A64_##name] = interp_##name,
                                           A64_OPS(X)
#undef X
};

static struct cpu_tlb tlb = {.current = tlb.bank[0]};
static struct cpu cpu = {.tlb = &tlb};

static uint64_t run_case(struct simd_state *state, uint32_t word)
{
    struct a64_insn insn;
    a64_decode(word, &insn);
    if (handlers[insn.op] == NULL || setjmp(undefined) != 0)
        return 0;
    memcpy(cpu.v, state->v, sizeof(state->v));
    memcpy(cpu.x, state->x, sizeof(state->x));
    memcpy(window, state->memory, sizeof(window));
    cpu.fpsr = (uint32_t)state->fpsr;
    handlers[insn.op](&cpu, &insn);
    memcpy(state->v, cpu.v, sizeof(state->v));
    memcpy(state->x, cpu.x, sizeof(state->x));
    memcpy(state->memory, window, sizeof(window));
    state->fpsr = cpu.fpsr;
    return simd_case_hash(state);
}

int main(int argc, char **argv)
{
    const uint32_t cases = argc > 1 ? (uint32_t)atoi(argv[1]) : 1;
    static struct simd_state state;
    for (uint32_t word; fread(&word, sizeof(word), 1, stdin) == 1;) {
        for (uint32_t i = 0; i < cases; i++) {
            simd_case_make(&state, word, i);
            const uint64_t hash = run_case(&state, word);
            if (argc > 2)
                fwrite(&state, sizeof(state), 1, stdout);
            else
                fwrite(&hash, sizeof(hash), 1, stdout);
        }
    }
    return 0;
}
