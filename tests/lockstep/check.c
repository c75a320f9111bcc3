/* SPDX-License-Identifier: MIT */
/*
 * An engine's side of oracle.c: reads the same requests, writes the same hashes.
 *
 *   lockstep-check ENGINE CASES [states]
 *
 * The instruction runs at EL0 as it would in the oracle, a Linux program; CLREX is before it, and
 * WFI behind it, at its branch target and in every vector, so that vcpu_run comes back wherever
 * they lead. PC then tells what happened.
 */
#include "base/error.h"
#include "base/util.h"
#include "case.h"
#include "pe.h"

#include <stdio.h>
#include <stdlib.h>

#define VECTORS (CASE_CODE + 0x1000)
#define PREPARE (CASE_CODE + 0x2000) /* what EL1 does when the words have changed */
#define TABLE   (CASE_CODE + 0x3000)

#define INSN_CLREX 0xd5033f5fu

static void put(struct pe *m, uint32_t va, uint32_t insn)
{
    __atomic_store_n((uint32_t *)(void *)(m->code + (va - CASE_CODE)), insn, __ATOMIC_RELAXED);
}

static void write_code(struct pe *m)
{
    static const uint32_t prepare[] = {
        0xd50b7520, /* ic ivau, x0 */
        0xd5033b9f, /* dsb ish */
        0xd5033fdf, /* isb */
        PE_WFI,
    };
    put(m, CASE_PC - 4, INSN_CLREX);
    put(m, CASE_NEXT, PE_WFI);
    put(m, CASE_TAKEN, PE_WFI);
    for (unsigned i = 0; i < 16; i++)
        put(m, VECTORS + 0x80 * i, PE_WFI);
    for (unsigned i = 0; i < PV_ARRAY_SIZE(prepare); i++)
        put(m, PREPARE + 4 * i, prepare[i]);
}

static const struct pe_layout layout = {
    .memory = CASE_MEMORY,
    .memory_size = CASE_MEMORY_SIZE,
    .code = CASE_CODE,
    .code_size = 0x4000,
    .vectors = VECTORS,
    .table = TABLE,
};

static void new_words(struct pe *m, const uint32_t *words)
{
    for (unsigned i = 0; i < CASE_WORDS; i++)
        put(m, CASE_PC + 4 * i, words[i]);
    m->regs =
        (struct pv_vcpu_state){.x = {CASE_PC}, .pc = PE_EL1(PREPARE), .pstate = PE_PSTATE_EL1H};
    pe_run(m);
}

static uint64_t run_case(struct pe *m, struct case_state *state, const struct case_request *request)
{
    struct pv_vcpu_state *const regs = &m->regs;
    const bool memory = case_uses_memory(request->word[0]);
    memcpy(regs->x, state->x, sizeof(regs->x));
    memcpy(regs->v, state->v, sizeof(regs->v));
    regs->sp_el0 = state->sp;
    regs->fpcr = (uint32_t)state->fpcr;
    regs->fpsr = (uint32_t)state->fpsr;
    regs->pstate = state->nzcv; /* EL0 */
    regs->pc = CASE_PC - 4;
    if (memory)
        memcpy(m->memory, state->memory, CASE_MEMORY_SIZE);
    pe_run(m);
    if (regs->pc >= PE_EL1(VECTORS))
        return 0;
    memcpy(state->x, regs->x, sizeof(regs->x));
    memcpy(state->v, regs->v, sizeof(regs->v));
    state->sp = regs->sp_el0;
    state->fpcr = regs->fpcr;
    state->fpsr = request->kind & CASE_PLAIN_FP ? 0 : regs->fpsr;
    state->nzcv = regs->pstate & 0xf0000000;
    state->taken = regs->pc >= CASE_TAKEN; /* PC is at the WFI, or behind it */
    if (memory)
        memcpy(state->memory, m->memory, CASE_MEMORY_SIZE);
    return case_hash(state, request);
}

int main(int argc, char **argv)
{
    static struct case_state state;
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    struct pe m = {.ops = argc > 2 ? pv_engine_find(argv[1]) : NULL};
    if (!m.ops) {
        fprintf(stderr, "usage: lockstep-check ENGINE CASES [states]\n");
        return 2;
    }
    const uint32_t cases = (uint32_t)strtoul(argv[2], NULL, 0);
    if (pe_init(&m, &layout, &err) < 0) {
        fprintf(stderr, "lockstep-check: %s\n", err ? pv_error_message(err) : "cannot set up");
        pe_finish(&m);
        return 1;
    }
    write_code(&m);
    for (struct case_request r; fread(&r, sizeof(r), 1, stdin) == 1;) {
        new_words(&m, r.word);
        for (uint32_t i = 0; i < cases; i++) {
            case_make(&state, &r, i);
            const uint64_t hash = run_case(&m, &state, &r);
            if (argc > 3)
                fwrite(&state, sizeof(state), 1, stdout);
            else
                fwrite(&hash, sizeof(hash), 1, stdout);
        }
    }
    pe_finish(&m);
    return 0;
}
