/* SPDX-License-Identifier: MIT */
/*
 * The interpreter's side of int_oracle.c: reads the same words, writes the same hashes. The
 * handlers run on a vCPU of the real engine, with an MMU that maps the first gigabyte as Normal
 * memory for all: with the MMU off it would be Device memory, where nothing may be unaligned.
 */
#include "base/error.h"
#include "engine/interp/interp.h"
#include "engine/interp/mem.h"
#include "int_case.h"

#include <stdio.h>
#include <stdlib.h>

#define TABLE 0x30000000u

struct machine {
    struct pv_address_space *as;
    struct pv_engine *engine;
    struct cpu *c;
    uint8_t *memory;
};

static int map_memory(struct machine *m)
{
    static const struct {
        uint32_t reg;
        uint64_t value;
    } settings[] = {
        {PV_SYSREG(3, 0, 1, 0, 2), 3u << 20},                 /* CPACR_EL1.FPEN: no traps */
        {PV_SYSREG(3, 0, 10, 2, 0), 0xff},                    /* MAIR_EL1: 0 is Normal */
        {PV_SYSREG(3, 0, 2, 0, 0), TABLE},                    /* TTBR0_EL1 */
        {PV_SYSREG(3, 0, 2, 0, 2), UINT64_C(1) << 32 | 25},   /* TCR_EL1: 39 bits, 4 KiB */
        {PV_SYSREG(3, 0, 1, 0, 0), UINT64_C(0x30d00800) | 1}, /* SCTLR_EL1.M */
    };
    const uint64_t block = 0x441; /* at 0, for EL1 and EL0, accessed */
    int ret = pv_as_write(m->as, TABLE, &block, sizeof(block));
    for (unsigned i = 0; ret == 0 && i < sizeof(settings) / sizeof(settings[0]); i++)
        ret = pv_engine_interp.set_sysreg(m->c->vcpu, settings[i].reg, settings[i].value);
    return ret;
}

static int machine_init(struct machine *m, struct pv_error **err)
{
    static const uint64_t mpidr[1];
    static const struct pv_engine_client client;
    int ret = pv_as_create(&m->as, err);
    if (ret < 0)
        return ret;
    ret = pv_as_add_ram(m->as, INT_CASE_MEMORY, INT_CASE_SIZE, "memory", err);
    if (ret < 0)
        return ret;
    ret = pv_as_add_ram(m->as, TABLE, 4096, "table", err);
    if (ret < 0)
        return ret;
    const struct pv_engine_config config = {
        .as = m->as, .vcpus = 1, .client = &client, .mpidr = mpidr};
    ret = pv_engine_create(&m->engine, &pv_engine_interp, &config, err);
    if (ret < 0)
        return ret;
    ret = pv_engine_start(m->engine, err);
    if (ret < 0)
        return ret;
    m->memory = pv_as_host(m->as, INT_CASE_MEMORY, INT_CASE_SIZE, true);
    m->c = pv_engine_vcpu(m->engine, 0)->impl;
    pv_engine_interp.vcpu_reset(m->c->vcpu, INT_CASE_PC, 0);
    return map_memory(m);
}

static void machine_finish(struct machine *m)
{
    pv_engine_destroy(m->engine);
    pv_as_destroy(m->as);
}

static uint64_t run_case(struct machine *m, struct int_state *state, uint32_t word)
{
    struct cpu *c = m->c;
    struct a64_insn insn;
    a64_decode(word, &insn);
    memcpy(c->x, state->x, sizeof(state->x));
    memcpy(c->v, state->v, sizeof(state->v));
    c->sp = state->sp;
    c->nzcv = (uint32_t)state->nzcv;
    c->pc = INT_CASE_PC;
    c->branched = false;
    cpu_clear_monitor(c);
    if (int_case_uses_memory(word))
        memcpy(m->memory, state->memory, INT_CASE_SIZE);
    if (setjmp(c->unwind) != 0)
        return 0;
    interp_handlers[insn.op](c, &insn);
    memcpy(state->x, c->x, sizeof(state->x));
    memcpy(state->v, c->v, sizeof(state->v));
    state->sp = c->sp;
    state->nzcv = c->nzcv;
    state->taken = c->branched;
    if (c->branched ? c->pc != INT_CASE_TAKEN : c->pc != INT_CASE_PC)
        return 2;
    if (c->x[31] != 0)
        return 3;
    if (int_case_uses_memory(word))
        memcpy(state->memory, m->memory, INT_CASE_SIZE);
    return int_case_hash(state, word);
}

int main(int argc, char **argv)
{
    const uint32_t cases = argc > 1 ? (uint32_t)atoi(argv[1]) : 1;
    static struct int_state state;
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    struct machine m = {0};
    if (machine_init(&m, &err) < 0) {
        fprintf(stderr, "int_check: %s\n", err ? pv_error_message(err) : "cannot set up");
        return 1;
    }
    for (uint32_t word; fread(&word, sizeof(word), 1, stdin) == 1;) {
        for (uint32_t i = 0; i < cases; i++) {
            int_case_make(&state, word, i);
            int_case_match(&state, word, i);
            const uint64_t hash = run_case(&m, &state, word);
            if (argc > 2)
                fwrite(&state, sizeof(state), 1, stdout);
            else
                fwrite(&hash, sizeof(hash), 1, stdout);
        }
    }
    machine_finish(&m);
    return 0;
}
