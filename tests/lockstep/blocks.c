/* SPDX-License-Identifier: MIT */
/*
 * Two engines in one process on the same random code: lockstep-blocks ENGINE PATTERNS BLOCKS SEED
 *
 * A block is one to eight random instructions of the table (PATTERNS is what gen-a64.py --list
 * prints), at EL0 or EL1, with branches that only lead forward, and ends in WFI. A quarter of them
 * are gone through up to four times, as X28 counts. ENGINE and the
 * interpreter execute it from the same random registers and memory, and must leave the same
 * registers, flags, memory, and the same exception if there was one.
 *
 * Registers are chosen from a few more often than not, so that instructions depend on one another,
 * and half of them hold addresses: inside the memory, at its ends, where nothing is mapped.
 *
 * In another quarter most are accesses by one base register, at small distances: a translator may
 * treat those together.
 *
 * With an odd seed the VM has a second vCPU, which never runs: atomics are other code then.
 */
#include "base/error.h"
#include "base/util.h"
#include "case.h"
#include "engine/a64/decode.h"
#include "pe.h"

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

#define PATTERNS_MAX 2048u
#define INSNS_MAX    8u
#define COUNTER      28u /* the loops' register */

struct pattern {
    char name[32], class[16];
    uint32_t mask, value;
};

struct test {
    struct pattern patterns[PATTERNS_MAX];
    unsigned pattern_count;
    uint64_t seed;
    uint32_t words[INSNS_MAX + 2];
    const char *names[INSNS_MAX + 2];
    unsigned count;
    struct pv_vcpu_state before;
    uint8_t memory[MEMORY_SIZE];
};

/* ---- The machines ---- */

static const struct pe_layout layout = {
    .memory = MEMORY,
    .memory_size = MEMORY_SIZE,
    .code = CODE,
    .code_size = CODE_SIZE,
    .vectors = VECTORS,
    .table = TABLE,
};

static int machine_init(struct pe *m, struct pv_error **err)
{
    static const uint32_t prepare[] = {0xd508751f /* ic iallu */, 0xd5033b9f /* dsb ish */,
                                       0xd5033fdf /* isb */, PE_WFI};
    int ret = pe_init(m, &layout, err);
    for (unsigned at = 0; ret == 0 && at < TABLE - CODE; at += 4)
        memcpy(m->code + at, &(uint32_t){PE_WFI}, 4);
    if (ret == 0)
        memcpy(m->code + (PREPARE - CODE), prepare, sizeof(prepare));
    return ret;
}

static bool run(struct pe *m)
{
    const bool ended = pe_run(m);
    m->esr = m->far = m->elr = m->spsr = 0;
    if (m->regs.pc >= PE_EL1(VECTORS))
        pe_take_syndrome(m);
    return ended;
}

static void invalidate_code(struct pe *m)
{
    m->regs = (struct pv_vcpu_state){.pc = PE_EL1(PREPARE), .pstate = PE_PSTATE_EL1H};
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

static bool is_register_branch(uint32_t word)
{
    return (word & 0xfe000000) == 0xd6000000;
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

static void add(struct test *t, const char *name, uint32_t word)
{
    t->names[t->count] = name;
    t->words[t->count++] = word;
}

static bool has_offset(const struct pattern *p)
{
    static const char *const kinds[] = {"_UIMM", "_UR", "_POST", "_PRE", "_OFF", NULL};
    for (unsigned i = 0; kinds[i]; i++)
        if (strstr(p->name, kinds[i]))
            return starts(p->name, "LD") || starts(p->name, "ST");
    return false;
}

/* By this base register, at a small distance: of imm12, imm7 of pairs and imm9 few bits count. */
static uint32_t near(const struct pattern *p, uint32_t word, unsigned base)
{
    word = (word & ~(31u << 5)) | base << 5;
    if (strstr(p->name, "_UIMM"))
        return word & ~(0x3ffu << 12);
    if (starts(p->name, "LDP") || starts(p->name, "STP"))
        return word >> 21 & 1 ? word | 0x38u << 15 : word & ~(0x38u << 15);
    return word >> 20 & 1 ? word | 0x1c0u << 12 : word & ~(0x1c0u << 12);
}

static void random_block(struct test *t, unsigned el)
{
    const unsigned count = 1 + (unsigned)(next(t) % INSNS_MAX), base = some_register(t);
    const bool is_near = next(t) % 4 == 0;
    t->count = 0;
    while (t->count < count) {
        const struct pattern *p = &t->patterns[next(t) % t->pattern_count];
        uint32_t word = (uint32_t)next(t);
        if (is_near && !has_offset(p) && next(t) % 32)
            continue;
        if (!wanted(p, el, t))
            continue;
        const unsigned at[4] = {0, 5, 10, 16};
        for (unsigned i = 0; i < 4; i++)
            if (i != 2 || next(t) & 1)
                word = (word & ~(31u << at[i])) | some_register(t) << at[i];
        if (is_near && has_offset(p) && next(t) % 8)
            word = near(p, word, base);
        word = forward(t, p, (word & ~p->mask) | p->value);
        struct a64_insn insn;
        a64_decode(word, &insn);
        if (insn.op == A64_UNDEFINED && next(t) % 64)
            continue;
        add(t, p->name, word);
    }
    if (next(t) % 4 == 0) {
        add(t, "SUB_IMM", 0xd1000400 | COUNTER << 5 | COUNTER);
        add(t, "CBNZ", 0xb5000000 | (-t->count & 0x7ffffu) << 5 | COUNTER);
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
    s->x[COUNTER] = 1 + next(t) % 4;
    s->sp_el0 = s->sp_el1 = random_address(t) & ~(next(t) & 3 ? UINT64_C(15) : 0);
    for (unsigned i = 0; i < 64; i++)
        s->v[i / 2][i & 1] = next(t) & 1
                                 ? case_random_lanes(&t->seed)
                                 : case_random_float(&t->seed, CASE_SINGLE + (next(t) & 1)) |
                                       case_random_float(&t->seed, CASE_SINGLE) << 32;
    s->pstate = (next(t) & 0xf0000000) | (el ? PE_PSTATE_EL1H : 0);
    s->pc = el ? PE_EL1(pc) : pc;
    if (next(t) % 8 == 0)
        s->fpcr = (uint32_t)(next(t) & 15) << 22;
    /* A register branch leads to the end, now and then. */
    for (unsigned i = 0; i < t->count; i++)
        if (is_register_branch(t->words[i]) && next(t) & 3)
            s->x[(t->words[i] >> 5 & 31) % 31] = s->pc + SLOT - 8;
    for (unsigned i = 0; i < MEMORY_SIZE; i += 8) {
        const uint64_t value = case_random_value(&t->seed);
        memcpy(t->memory + i, &value, 8);
    }
}

/* ---- Comparing ---- */

/* The I-th word of a slot. */
static uint32_t word_of(const struct test *t, unsigned i)
{
    return i < t->count ? t->words[i] : PE_WFI;
}

static bool execute(struct pe *m, const struct test *t, uint64_t pc)
{
    uint8_t *at = m->code + (pc - CODE);
    for (unsigned i = 0; i < SLOT / 4; i++)
        memcpy(at + 4 * i, &(uint32_t){word_of(t, i)}, 4);
    memcpy(m->memory, t->memory, MEMORY_SIZE);
    m->regs = t->before;
    return run(m);
}

/*
 * Whether it has written over itself: by a register that leads into the code, for a branch. Without
 * cache maintenance either content may be executed then (Arm ARM B2.4.4).
 */
static bool changed_itself(const struct pe *m, const struct test *t, uint64_t pc)
{
    const uint8_t *at = m->code + (pc - CODE);
    for (unsigned i = 0; i < SLOT / 4; i++)
        if (memcmp(at + 4 * i, &(uint32_t){word_of(t, i)}, 4) != 0)
            return true;
    return false;
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

/* It may reach slots that are yet to be written: what is known of their code must be forgotten. */
static bool branches_by_register(const struct test *t)
{
    for (unsigned i = 0; i < t->count; i++)
        if (is_register_branch(t->words[i]))
            return true;
    return false;
}

static unsigned compare_all(struct test *t, struct pe m[2], unsigned long blocks)
{
    unsigned wrong = 0;
    unsigned long raised = 0, looped = 0;
    bool astray = false;
    for (unsigned long n = 0; n < blocks && wrong < 5; n++) {
        const uint64_t seed = t->seed, pc = CODE + n % SLOTS * SLOT;
        const unsigned el = next(t) % 4 == 0;
        if (n % SLOTS == 0 || astray) {
            invalidate_code(&m[0]);
            invalidate_code(&m[1]);
        }
        random_block(t, el);
        random_state(t, el, pc);
        astray = branches_by_register(t);
        const bool ended[] = {execute(&m[0], t, pc), execute(&m[1], t, pc)};
        if (!ended[0] && !ended[1]) {
            looped++;
            continue;
        }
        if (changed_itself(&m[0], t, pc) || changed_itself(&m[1], t, pc)) {
            astray = true;
            continue;
        }
        raised += m[1].esr != 0;
        if (ended[0] == ended[1] && !pe_differ(&m[0], &m[1], MEMORY_SIZE))
            continue;
        wrong++;
        printf("block %lu, seed %llu, EL%u:", n, (unsigned long long)seed, el);
        for (unsigned i = 0; i < t->count; i++)
            printf(" %s %08x", t->names[i], t->words[i]);
        printf("\n");
    }
    printf("%lu blocks, %lu raised an exception, %lu looped, %u differ\n", blocks, raised, looped,
           wrong);
    return wrong;
}

int main(int argc, char **argv)
{
    static struct test t;
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    struct pe m[2] = {{.ops = argc == 5 ? pv_engine_find(argv[1]) : NULL},
                      {.ops = pv_engine_find("interp")}};
    if (!m[0].ops || read_patterns(&t, argv[2]) < 0) {
        fprintf(stderr, "usage: lockstep-blocks ENGINE PATTERNS BLOCKS SEED\n");
        return 2;
    }
    if (pv_engine_probe(m[0].ops, NULL) < 0)
        return 77; /* not on this host: skipped */
    t.seed = strtoull(argv[4], NULL, 0);
    m[0].other_vcpus = m[1].other_vcpus = t.seed & 1;
    pe_watch_loops();
    int status = 1;
    if (machine_init(&m[0], &err) < 0 || machine_init(&m[1], &err) < 0)
        fprintf(stderr, "lockstep-blocks: %s\n", err ? pv_error_message(err) : "cannot set up");
    else
        status = compare_all(&t, m, strtoul(argv[3], NULL, 0)) != 0;
    pe_finish(&m[0]);
    pe_finish(&m[1]);
    return status;
}
