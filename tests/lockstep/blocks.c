/* SPDX-License-Identifier: MIT */
/*
 * Two engines in one process on the same random code: lockstep-blocks ENGINE PATTERNS BLOCKS SEED
 *
 * A block is one to eight random instructions of the table (PATTERNS is what gen-a64.py --list
 * prints), at EL0 or EL1, with branches that only lead forward, and ends in WFI. ENGINE and the
 * interpreter execute it from the same random registers and memory, and must leave the same
 * registers, flags, memory, and the same exception if there was one.
 *
 * Registers are chosen from a few more often than not, so that instructions depend on one another,
 * and half of them hold addresses: inside the memory, at its ends, where nothing is mapped.
 *
 * With an odd seed the VM has a second vCPU, which never runs: atomics are other code then.
 */
#include "base/error.h"
#include "base/util.h"
#include "case.h"
#include "engine/a64/decode.h"
#include "engine/engine_impl.h"
#include "memory/address_space.h"

#include <stdio.h>
#include <stdlib.h>

#define MEMORY      CASE_MEMORY
#define MEMORY_SIZE 8192u
#define CODE        CASE_CODE
#define CODE_SIZE   (1u << 20)
#define SLOT        64u /* bytes: eight instructions, and WFI to the end */
#define SLOTS       ((CODE_SIZE - 8192) / SLOT)
#define VECTORS     (CODE + SLOTS * SLOT)
#define PREPARE     (VECTORS + 0x800)
#define TABLE       (VECTORS + 0x1000)
#define EL1(va)     (UINT64_C(0x40000000) + (va))

#define PATTERNS_MAX 2048u
#define INSNS_MAX    8u

enum {
    INSN_WFI = 0xd503207f,
    PSTATE_EL1H = 0x3c5,
};

struct pattern {
    char name[32], class[16];
    uint32_t mask, value;
};

struct machine {
    const struct pv_engine_ops *ops;
    unsigned vcpus; /* only the first ever runs */
    struct pv_address_space *as;
    struct pv_engine *engine;
    struct pv_vcpu *vcpu;
    uint8_t *memory, *code;
    struct pv_vcpu_state regs;
    uint64_t esr, far, elr, spsr; /* after an exception, else 0 */
};

struct test {
    struct pattern patterns[PATTERNS_MAX];
    unsigned pattern_count;
    uint64_t seed;
    uint32_t words[INSNS_MAX];
    const char *names[INSNS_MAX];
    unsigned count;
    struct pv_vcpu_state before;
    uint8_t memory[MEMORY_SIZE];
};

/* ---- The machines ---- */

static int configure(struct machine *m)
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
        /* SCTLR_EL1: M, SA, SA0, DZE, UCT, nTWI, nTWE, SPAN, UCI and what reads as one */
        {PV_SYSREG(3, 0, 1, 0, 0), UINT64_C(0x34d5d998) | 1},
    };
    /* Blocks at 0: for EL0 and EL1; for EL1 alone, at 1 GiB. Both accessed. */
    const uint64_t blocks[] = {0x441, 0x401};
    const uint32_t prepare[] = {0xd508751f /* ic iallu */, 0xd5033b9f /* dsb ish */,
                                0xd5033fdf /* isb */, INSN_WFI};
    int ret = pv_as_write(m->as, TABLE, blocks, sizeof(blocks));
    for (unsigned i = 0; ret == 0 && i < PV_ARRAY_SIZE(settings); i++)
        ret = m->ops->set_sysreg(m->vcpu, settings[i].reg, settings[i].value);
    for (unsigned at = 0; at < CODE_SIZE; at += 4)
        if (at < TABLE - CODE)
            memcpy(m->code + at, &(uint32_t){INSN_WFI}, 4);
    memcpy(m->code + (PREPARE - CODE), prepare, sizeof(prepare));
    return ret;
}

static int machine_init(struct machine *m, struct pv_error **err)
{
    static const uint64_t mpidr[2];
    static const struct pv_engine_client client;
    if (pv_as_create(&m->as, err) < 0 ||
        pv_as_add_ram(m->as, MEMORY, MEMORY_SIZE, "memory", err) < 0 ||
        pv_as_add_ram(m->as, CODE, CODE_SIZE, "code", err) < 0)
        return -1;
    const struct pv_engine_config config = {
        .as = m->as, .vcpus = m->vcpus, .client = &client, .mpidr = mpidr};
    if (pv_engine_create(&m->engine, m->ops, &config, err) < 0 ||
        pv_engine_start(m->engine, err) < 0)
        return -1;
    m->memory = pv_as_host(m->as, MEMORY, MEMORY_SIZE, true);
    m->code = pv_as_host(m->as, CODE, CODE_SIZE, true);
    m->vcpu = pv_engine_vcpu(m->engine, 0);
    m->ops->vcpu_reset(m->vcpu, CODE, 0);
    return configure(m);
}

static void machine_finish(struct machine *m)
{
    pv_engine_destroy(m->engine);
    pv_as_destroy(m->as);
}

static void run(struct machine *m)
{
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    enum pv_exit why = PV_EXIT_KICK;
    if (m->ops->set_state(m->vcpu, &m->regs) == 0)
        while (why == PV_EXIT_KICK)
            why = m->ops->vcpu_run(m->vcpu, &err);
    if (why != PV_EXIT_WFI || m->ops->get_state(m->vcpu, &m->regs) < 0) {
        fprintf(stderr, "lockstep-blocks: %s\n", err ? pv_error_message(err) : "cannot run");
        exit(1);
    }
    m->esr = m->far = m->elr = m->spsr = 0;
    if (m->regs.pc >= EL1(VECTORS)) {
        m->ops->get_sysreg(m->vcpu, PV_SYSREG(3, 0, 5, 2, 0), &m->esr);
        m->ops->get_sysreg(m->vcpu, PV_SYSREG(3, 0, 6, 0, 0), &m->far);
        m->ops->get_sysreg(m->vcpu, PV_SYSREG(3, 0, 4, 0, 1), &m->elr);
        m->ops->get_sysreg(m->vcpu, PV_SYSREG(3, 0, 4, 0, 0), &m->spsr);
    }
}

static void invalidate_code(struct machine *m)
{
    m->regs = (struct pv_vcpu_state){.pc = EL1(PREPARE), .pstate = PSTATE_EL1H};
    run(m);
}

/* ---- Random blocks ---- */

static uint64_t next(struct test *t)
{
    return case_random(&t->seed);
}

static unsigned some_register(struct test *t)
{
    static const uint8_t usual[16] = {0, 1, 2, 3, 4, 5, 6, 8, 19, 20, 21, 29, 30, 31, 31, 0};
    uint64_t r = next(t);
    return r & 3 ? usual[r >> 8 & 15] : r >> 8 & 31;
}

static bool starts(const char *name, const char *with)
{
    return !strncmp(name, with, strlen(with));
}

/* What would not end, or waits, or changes how both machines are set up. */
static bool wanted(const struct pattern *p, unsigned el, const struct test *t)
{
    static const char *const never[] = {"HINT", "ERET", "HLT", "SMC", "HVC", NULL};
    for (unsigned i = 0; never[i]; i++)
        if (!strcmp(p->name, never[i]))
            return false;
    if (el && (starts(p->name, "MSR") || starts(p->name, "SYS") || !strcmp(p->name, "MRS")))
        return false;
    bool calls = !strcmp(p->name, "BL"),
         returns = !strcmp(p->name, "BR") || !strcmp(p->name, "BLR") || !strcmp(p->name, "RET");
    for (unsigned i = 0; i < t->count; i++) {
        bool called = !strcmp(t->names[i], "BL") || !strcmp(t->names[i], "BLR");
        bool returned = !strcmp(t->names[i], "RET") || !strcmp(t->names[i], "BR") ||
                        !strcmp(t->names[i], "BLR");
        /* X30 leads back; a register branch behind a call might never end. */
        if ((returns && called) || (calls && returned))
            return false;
    }
    return true;
}

/* A branch leads to an instruction behind, or to the WFI at the end. */
static uint32_t forward(struct test *t, const struct pattern *p, uint32_t word)
{
    const uint32_t words = 1 + (uint32_t)(next(t) % (INSNS_MAX - t->count));
    if (!strcmp(p->name, "B") || !strcmp(p->name, "BL"))
        return (word & 0xfc000000) | words;
    if (!strcmp(p->name, "B_COND") || starts(p->name, "CB"))
        return (word & ~(0x7ffffu << 5)) | words << 5;
    if (starts(p->name, "TB"))
        return (word & ~(0x3fffu << 5)) | words << 5;
    if (strstr(p->name, "_LIT"))
        return (word & ~(0x7ffffu << 5)) | (uint32_t)(next(t) % 16) << 5;
    return word;
}

static void random_block(struct test *t, unsigned el)
{
    const unsigned count = 1 + (unsigned)(next(t) % INSNS_MAX);
    t->count = 0;
    while (t->count < count) {
        const struct pattern *p = &t->patterns[next(t) % t->pattern_count];
        uint32_t word = (uint32_t)next(t);
        if (!wanted(p, el, t))
            continue;
        const unsigned at[4] = {0, 5, 10, 16};
        for (unsigned i = 0; i < 4; i++)
            if (i != 2 || next(t) & 1)
                word = (word & ~(31u << at[i])) | some_register(t) << at[i];
        word = forward(t, p, (word & ~p->mask) | p->value);
        struct a64_insn insn;
        a64_decode(word, &insn);
        if (insn.op == A64_UNDEFINED && next(t) % 64)
            continue;
        t->names[t->count] = p->name;
        t->words[t->count++] = word;
    }
}

static uint64_t random_address(struct test *t)
{
    const uint64_t r = next(t);
    switch (r & 15) {
    case 0: return MEMORY + MEMORY_SIZE - (r >> 8 & 31);
    case 1: return MEMORY + 4096 - (r >> 8 & 31);
    case 2: return MEMORY + (r >> 8 & 15);
    case 3: return CODE + CODE_SIZE + (r >> 8 & 4095);
    default: return MEMORY + 2048 + (r >> 8 & 4095 & (r & 16 ? ~UINT64_C(15) : ~UINT64_C(0)));
    }
}

static void random_state(struct test *t, unsigned el, uint64_t pc)
{
    struct pv_vcpu_state *s = &t->before;
    memset(s, 0, sizeof(*s));
    for (unsigned i = 0; i < 31; i++)
        s->x[i] = next(t) & 3 ? random_address(t) : case_random_value(&t->seed);
    s->sp_el0 = s->sp_el1 = random_address(t) & ~(next(t) & 3 ? UINT64_C(15) : 0);
    for (unsigned i = 0; i < 64; i++)
        s->v[i / 2][i & 1] = next(t) & 1
                                 ? case_random_lanes(&t->seed)
                                 : case_random_float(&t->seed, CASE_SINGLE + (next(t) & 1)) |
                                       case_random_float(&t->seed, CASE_SINGLE) << 32;
    s->pstate = (next(t) & 0xf0000000) | (el ? PSTATE_EL1H : 0);
    s->pc = el ? EL1(pc) : pc;
    if (next(t) % 8 == 0)
        s->fpcr = (uint32_t)(next(t) & 15) << 22;
    /* A register branch leads to the end, now and then. */
    for (unsigned i = 0; i < t->count; i++)
        if ((t->words[i] & 0xfe000000) == 0xd6000000 && next(t) & 3)
            s->x[(t->words[i] >> 5 & 31) % 31] = s->pc + SLOT - 8;
    for (unsigned i = 0; i < MEMORY_SIZE; i += 8) {
        const uint64_t value = case_random_value(&t->seed);
        memcpy(t->memory + i, &value, 8);
    }
}

/* ---- Comparing ---- */

static void execute(struct machine *m, const struct test *t, uint64_t pc)
{
    uint8_t *at = m->code + (pc - CODE);
    for (unsigned i = 0; i < SLOT / 4; i++)
        memcpy(at + 4 * i, i < t->count ? &t->words[i] : &(uint32_t){INSN_WFI}, 4);
    memcpy(m->memory, t->memory, MEMORY_SIZE);
    m->regs = t->before;
    run(m);
}

#define COMPARE(name, a, b)                                                                        \
    do {                                                                                           \
        if ((a) != (b)) {                                                                          \
            printf("  %-8s %016llx, not %016llx\n", name, (unsigned long long)(a),                 \
                   (unsigned long long)(b));                                                       \
            differ = true;                                                                         \
        }                                                                                          \
    } while (0)

static bool differ(const struct machine *a, const struct machine *b)
{
    bool differ = false;
    char name[16];
    for (unsigned i = 0; i < 31; i++) {
        snprintf(name, sizeof(name), "x%u", i);
        COMPARE(name, a->regs.x[i], b->regs.x[i]);
    }
    for (unsigned i = 0; i < 64; i++) {
        snprintf(name, sizeof(name), "v%u.d[%u]", i / 2, i & 1);
        COMPARE(name, a->regs.v[i / 2][i & 1], b->regs.v[i / 2][i & 1]);
    }
    COMPARE("sp_el0", a->regs.sp_el0, b->regs.sp_el0);
    COMPARE("sp_el1", a->regs.sp_el1, b->regs.sp_el1);
    COMPARE("pc", a->regs.pc, b->regs.pc);
    COMPARE("pstate", a->regs.pstate, b->regs.pstate);
    COMPARE("fpcr", a->regs.fpcr, b->regs.fpcr);
    COMPARE("fpsr", a->regs.fpsr, b->regs.fpsr);
    COMPARE("esr", a->esr, b->esr);
    COMPARE("far", a->far, b->far);
    COMPARE("elr", a->elr, b->elr);
    COMPARE("spsr", a->spsr, b->spsr);
    for (unsigned i = 0; i < MEMORY_SIZE; i++) {
        snprintf(name, sizeof(name), "[%#x]", i);
        COMPARE(name, a->memory[i], b->memory[i]);
    }
    return differ;
}

static int read_patterns(struct test *t, const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file)
        return -1;
    struct pattern *p = t->patterns;
    while (t->pattern_count < PATTERNS_MAX &&
           fscanf(file, "%31s %x %x %15s %*s", p->name, &p->mask, &p->value, p->class) == 4) {
        t->pattern_count++;
        p++;
    }
    fclose(file);
    return t->pattern_count ? 0 : -1;
}

static unsigned compare_all(struct test *t, struct machine m[2], unsigned long blocks)
{
    unsigned wrong = 0;
    unsigned long raised = 0;
    for (unsigned long n = 0; n < blocks && wrong < 5; n++) {
        const uint64_t seed = t->seed, pc = CODE + n % SLOTS * SLOT;
        const unsigned el = next(t) % 4 == 0;
        if (n % SLOTS == 0) {
            invalidate_code(&m[0]);
            invalidate_code(&m[1]);
        }
        random_block(t, el);
        random_state(t, el, pc);
        execute(&m[0], t, pc);
        execute(&m[1], t, pc);
        raised += m[1].esr != 0;
        if (!differ(&m[0], &m[1]))
            continue;
        wrong++;
        printf("block %lu, seed %llu, EL%u:", n, (unsigned long long)seed, el);
        for (unsigned i = 0; i < t->count; i++)
            printf(" %s %08x", t->names[i], t->words[i]);
        printf("\n");
    }
    printf("%lu blocks, %lu raised an exception, %u differ\n", blocks, raised, wrong);
    return wrong;
}

int main(int argc, char **argv)
{
    static struct test t;
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    struct machine m[2] = {{.ops = argc == 5 ? pv_engine_find(argv[1]) : NULL},
                           {.ops = pv_engine_find("interp")}};
    if (!m[0].ops || read_patterns(&t, argv[2]) < 0) {
        fprintf(stderr, "usage: lockstep-blocks ENGINE PATTERNS BLOCKS SEED\n");
        return 2;
    }
    if (pv_engine_probe(m[0].ops, NULL) < 0)
        return 77; /* not on this host: skipped */
    t.seed = strtoull(argv[4], NULL, 0);
    m[0].vcpus = m[1].vcpus = 1 + (unsigned)(t.seed & 1);
    int status = 1;
    if (machine_init(&m[0], &err) < 0 || machine_init(&m[1], &err) < 0)
        fprintf(stderr, "lockstep-blocks: %s\n", err ? pv_error_message(err) : "cannot set up");
    else
        status = compare_all(&t, m, strtoul(argv[3], NULL, 0)) != 0;
    machine_finish(&m[0]);
    machine_finish(&m[1]);
    return status;
}
