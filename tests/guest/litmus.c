/* SPDX-License-Identifier: MIT */
/*
 * Litmus tests of the memory model between four vCPUs, beside the message passing and store
 * buffers of smp.c: outcomes that barriers, or acquire and release, forbid (Arm ARM B2.3).
 *
 * A round is a run over cells, each a test of its own, all of which start at zero; the vCPUs meet
 * before and after. Forbidden outcomes are looked for, allowed ones need not turn up.
 */
#include "lib.h"

#define CPUS   4u
#define CELLS  256u
#define ROUNDS 48u /* over all shapes and kinds */

static struct {
    _Alignas(64) uint64_t x;
    _Alignas(64) uint64_t y;
    _Alignas(64) uint64_t saw[CPUS][2];
} cells[CELLS];

static uint64_t arrived, meetings[CPUS];

static void meet(unsigned cpu)
{
    meetings[cpu] += CPUS;
    __atomic_fetch_add(&arrived, 1, __ATOMIC_SEQ_CST);
    wait_for(&arrived, meetings[cpu]);
}

/* ---- Accesses that keep their order with what follows them, in three ways ---- */

enum { BARRIER, ORDERED, ORDERED_PC, KINDS };

static inline uint64_t load(const uint64_t *at, unsigned kind)
{
    uint64_t value;
    switch (kind) {
    case BARRIER: asm volatile("ldr %0, [%1]\n\tdmb ish" : "=r"(value) : "r"(at) : "memory"); break;
    case ORDERED: asm volatile("ldar %0, [%1]" : "=r"(value) : "r"(at) : "memory"); break;
    default:
        asm volatile(".arch_extension rcpc\n\tldapr %0, [%1]" : "=r"(value) : "r"(at) : "memory");
        break;
    }
    return value;
}

static inline void store(uint64_t *at, unsigned kind)
{
    if (kind == BARRIER)
        asm volatile("dmb ish\n\tstr %0, [%1]" ::"r"(UINT64_C(1)), "r"(at) : "memory");
    else
        asm volatile("stlr %0, [%1]" ::"r"(UINT64_C(1)), "r"(at) : "memory");
}

/* ---- Shapes: what each vCPU does to a cell, and what must not be seen ---- */

/* Load buffering: neither load sees the store that follows the other. */
static void load_buffering(unsigned cpu, unsigned i, unsigned kind)
{
    if (cpu == 0) {
        cells[i].saw[0][0] = load(&cells[i].x, kind);
        store(&cells[i].y, kind);
    } else if (cpu == 1) {
        cells[i].saw[1][0] = load(&cells[i].y, kind);
        store(&cells[i].x, kind);
    }
}

static bool load_buffering_is_wrong(unsigned i)
{
    return cells[i].saw[0][0] && cells[i].saw[1][0];
}

/* Independent reads of independent writes: two readers agree on which store was first. */
static void independent(unsigned cpu, unsigned i, unsigned kind)
{
    switch (cpu) {
    case 0: store(&cells[i].x, kind); break;
    case 1: store(&cells[i].y, kind); break;
    case 2:
        cells[i].saw[2][0] = load(&cells[i].x, kind);
        cells[i].saw[2][1] = load(&cells[i].y, kind);
        break;
    default:
        cells[i].saw[3][0] = load(&cells[i].y, kind);
        cells[i].saw[3][1] = load(&cells[i].x, kind);
        break;
    }
}

static bool independent_is_wrong(unsigned i)
{
    return cells[i].saw[2][0] && !cells[i].saw[2][1] && cells[i].saw[3][0] && !cells[i].saw[3][1];
}

/* Write to read causality: what the second saw, whoever sees the second's store sees as well. */
static void causality(unsigned cpu, unsigned i, unsigned kind)
{
    if (cpu == 0) {
        store(&cells[i].x, kind);
    } else if (cpu == 1) {
        cells[i].saw[1][0] = load(&cells[i].x, kind);
        store(&cells[i].y, kind);
    } else {
        cells[i].saw[cpu][0] = load(&cells[i].y, kind);
        cells[i].saw[cpu][1] = load(&cells[i].x, kind);
    }
}

static bool causality_is_wrong(unsigned i)
{
    return cells[i].saw[1][0] && ((cells[i].saw[2][0] && !cells[i].saw[2][1]) ||
                                  (cells[i].saw[3][0] && !cells[i].saw[3][1]));
}

/* Coherence: two plain loads of one location do not go back. */
static void coherence(unsigned cpu, unsigned i, unsigned kind)
{
    volatile uint64_t *const x = &cells[i].x;
    if (cpu == 0) {
        *x = 1;
    } else {
        cells[i].saw[cpu][0] = *x;
        cells[i].saw[cpu][1] = *x;
    }
}

static bool coherence_is_wrong(unsigned i)
{
    for (unsigned cpu = 1; cpu < CPUS; cpu++)
        if (cells[i].saw[cpu][0] > cells[i].saw[cpu][1])
            return true;
    return false;
}

static const struct {
    void (*run)(unsigned cpu, unsigned i, unsigned kind);
    bool (*is_wrong)(unsigned i);
} shapes[] = {
    {load_buffering, load_buffering_is_wrong},
    {independent, independent_is_wrong},
    {causality, causality_is_wrong},
    {coherence, coherence_is_wrong},
};
#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

void guest_main(unsigned cpu)
{
    if (cpu == 0)
        for (unsigned i = 1; i < CPUS; i++)
            start_cpu(i);
    for (unsigned round = 0; round < ROUNDS; round++) {
        const unsigned shape = round % SHAPES, kind = round / SHAPES % KINDS;
        meet(cpu);
        for (unsigned i = 0; i < CELLS; i++)
            shapes[shape].run(cpu, i, kind);
        meet(cpu);
        for (unsigned i = cpu; i < CELLS; i += CPUS) {
            CHECK(!shapes[shape].is_wrong(i));
            cells[i].x = cells[i].y = 0;
        }
    }
}
