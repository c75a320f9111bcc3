/* SPDX-License-Identifier: MIT */
/*
 * An engine's side of oracle.c: reads the same requests, writes the same hashes.
 *
 *   lockstep-check ENGINE CASES [states]
 *
 * It knows engines by their ops table alone (engine_impl.h), so that each of them can be judged.
 * The instruction runs at EL0 as it would in the oracle, a Linux program; CLREX is before it, and
 * WFI behind it, at its branch target and in every vector, so that vcpu_run comes back wherever
 * they lead. PC then tells what happened. The low gigabyte is mapped for EL0, and once more at 1
 * GiB for EL1, which may not execute what EL0 can write (Arm ARM D8.4.1).
 */
#include "base/error.h"
#include "base/util.h"
#include "case.h"
#include "engine/engine_impl.h"
#include "memory/address_space.h"

#include <stdio.h>
#include <stdlib.h>

#define EL1(va) (UINT64_C(0x40000000) + (va))
#define VECTORS (CASE_CODE + 0x1000)
#define PREPARE (CASE_CODE + 0x2000) /* what EL1 does when the words have changed */
#define TABLE   (CASE_CODE + 0x3000)

enum {
    INSN_CLREX = 0xd5033f5f,
    INSN_WFI = 0xd503207f,
    PSTATE_EL1H = 0x3c5,
};

struct machine {
    struct pv_address_space *as;
    struct pv_engine *engine;
    const struct pv_engine_ops *ops;
    struct pv_vcpu *vcpu;
    uint8_t *memory, *code;
    struct pv_vcpu_state regs;
};

static void put(struct machine *m, uint32_t va, uint32_t insn)
{
    __atomic_store_n((uint32_t *)(void *)(m->code + (va - CASE_CODE)), insn, __ATOMIC_RELAXED);
}

static void write_code(struct machine *m)
{
    static const uint32_t prepare[] = {
        0xd50b7520, /* ic ivau, x0 */
        0xd5033b9f, /* dsb ish */
        0xd5033fdf, /* isb */
        INSN_WFI,
    };
    put(m, CASE_PC - 4, INSN_CLREX);
    put(m, CASE_NEXT, INSN_WFI);
    put(m, CASE_TAKEN, INSN_WFI);
    for (unsigned i = 0; i < 16; i++)
        put(m, VECTORS + 0x80 * i, INSN_WFI);
    for (unsigned i = 0; i < PV_ARRAY_SIZE(prepare); i++)
        put(m, PREPARE + 4 * i, prepare[i]);
}

static int map_memory(struct machine *m)
{
    static const struct {
        uint32_t reg;
        uint64_t value;
    } settings[] = {
        {PV_SYSREG(3, 0, 1, 0, 2), 3u << 20},               /* CPACR_EL1.FPEN: no traps */
        {PV_SYSREG(3, 0, 10, 2, 0), 0xff},                  /* MAIR_EL1: 0 is Normal */
        {PV_SYSREG(3, 0, 2, 0, 0), TABLE},                  /* TTBR0_EL1 */
        {PV_SYSREG(3, 0, 2, 0, 2), UINT64_C(1) << 32 | 25}, /* TCR_EL1: 39 bits, 4 KiB */
        {PV_SYSREG(3, 0, 12, 0, 0), EL1(VECTORS)},          /* VBAR_EL1 */
        /* SCTLR_EL1: M, SA0, DZE, UCT, nTWI, nTWE, UCI and what reads as one */
        {PV_SYSREG(3, 0, 1, 0, 0), UINT64_C(0x34d5d990) | 1},
    };
    /* Blocks at 0: for EL0 and EL1; for EL1 alone, at 1 GiB. Both accessed. */
    const uint64_t blocks[] = {0x441, 0x401};
    int ret = pv_as_write(m->as, TABLE, blocks, sizeof(blocks));
    for (unsigned i = 0; ret == 0 && i < PV_ARRAY_SIZE(settings); i++)
        ret = m->ops->set_sysreg(m->vcpu, settings[i].reg, settings[i].value);
    return ret;
}

static int machine_init(struct machine *m, struct pv_error **err)
{
    static const uint64_t mpidr[1];
    static const struct pv_engine_client client;
    int ret = pv_as_create(&m->as, err);
    if (ret < 0)
        return ret;
    ret = pv_as_add_ram(m->as, CASE_MEMORY, CASE_MEMORY_SIZE, "memory", err);
    if (ret < 0)
        return ret;
    ret = pv_as_add_ram(m->as, CASE_CODE, 0x4000, "code", err);
    if (ret < 0)
        return ret;
    const struct pv_engine_config config = {
        .as = m->as, .vcpus = 1, .client = &client, .mpidr = mpidr};
    ret = pv_engine_create(&m->engine, m->ops, &config, err);
    if (ret < 0)
        return ret;
    ret = pv_engine_start(m->engine, err);
    if (ret < 0)
        return ret;
    m->memory = pv_as_host(m->as, CASE_MEMORY, CASE_MEMORY_SIZE, true);
    m->code = pv_as_host(m->as, CASE_CODE, 0x4000, true);
    /* Powered off, its own thread sleeps: this one runs it. */
    m->vcpu = pv_engine_vcpu(m->engine, 0);
    m->ops->vcpu_reset(m->vcpu, CASE_PC, 0);
    write_code(m);
    return map_memory(m);
}

static void machine_finish(struct machine *m)
{
    pv_engine_destroy(m->engine);
    pv_as_destroy(m->as);
}

/* From regs.pc to the next WFI; leaves the registers there in `regs`. */
static void run(struct machine *m)
{
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    enum pv_exit why = PV_EXIT_KICK;
    if (m->ops->set_state(m->vcpu, &m->regs) == 0)
        while (why == PV_EXIT_KICK)
            why = m->ops->vcpu_run(m->vcpu, &err);
    if (why != PV_EXIT_WFI || m->ops->get_state(m->vcpu, &m->regs) < 0) {
        fprintf(stderr, "lockstep-check: %s\n", err ? pv_error_message(err) : "cannot run");
        exit(1);
    }
}

static void new_words(struct machine *m, const uint32_t *words)
{
    for (unsigned i = 0; i < CASE_WORDS; i++)
        put(m, CASE_PC + 4 * i, words[i]);
    m->regs = (struct pv_vcpu_state){.x = {CASE_PC}, .pc = EL1(PREPARE), .pstate = PSTATE_EL1H};
    run(m);
}

static uint64_t run_case(struct machine *m, struct case_state *state,
                         const struct case_request *request)
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
    run(m);
    if (regs->pc >= EL1(VECTORS))
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
    struct machine m = {.ops = argc > 2 ? pv_engine_find(argv[1]) : NULL};
    if (!m.ops) {
        fprintf(stderr, "usage: lockstep-check ENGINE CASES [states]\n");
        return 2;
    }
    const uint32_t cases = (uint32_t)strtoul(argv[2], NULL, 0);
    if (machine_init(&m, &err) < 0) {
        fprintf(stderr, "lockstep-check: %s\n", err ? pv_error_message(err) : "cannot set up");
        machine_finish(&m);
        return 1;
    }
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
    machine_finish(&m);
    return 0;
}
