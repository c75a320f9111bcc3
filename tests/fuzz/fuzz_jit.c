/* SPDX-License-Identifier: MIT */
/*
 * Hostile code on the translator, held against the interpreter: four pages of random instructions
 * at EL0 or EL1, and an exception handler that does to them what SVC asks for:
 *
 *   0  writes another instruction over one, with the cache maintenance that software owes
 *   1  swaps two of the pages under the addresses that execute, and invalidates the TLB
 *   2  changes what the page's descriptor allows: valid, access flag, XN, device memory
 *   3  invalidates all of both
 *
 * Around them are data, a page of device memory with code in it, one with nothing behind it and one
 * that is not mapped; all of them may be jumped to, loaded from and stored to. The handler loads by
 * a random address, and so takes nested faults. Other exceptions skip their instruction; after a
 * failed fetch it goes on somewhere else in the pages. After 64 exceptions it is over. What loops
 * without any is stopped by a timer and not compared.
 *
 * The engines live as long as the process, as making them takes longer than a run: an input that
 * fails only after others is a finding all the same, for reset should forget everything.
 */
#include "../lockstep/case.h"
#include "../lockstep/pe.h"
#include "base/util.h"
#include "engine/a64/decode.h"
#include "fuzz.h"

#include <stdio.h>

#define MEMORY      CASE_MEMORY
#define MEMORY_SIZE 8192u
#define CODE        CASE_CODE
#define CODE_SIZE   0x10000u
#define PAGES       4u /* of random code, at CODE */
#define PAGE_WORDS  1024u
#define TABLE       (CODE + 0x4000) /* level 1; 2 and 3 follow */
#define TABLE_2     (CODE + 0x5000)
#define TABLE_3     (CODE + 0x6000)
#define VECTORS     (CODE + 0x8000)
#define HANDLER     (VECTORS + 0x800)
#define POOL        (CODE + 0x9000) /* instructions for SVC 0 */
#define POOL_WORDS  256u
#define LOG         (CODE + 0xa000) /* ESR and ELR of each exception */
#define USED        0xa400u         /* of the code region: what is compared */

/* Virtual addresses, all in the 2 MiB of one level 3 table. */
#define WINDOW   (MEMORY + 0x10000) /* the pages of code */
#define DEVICE   (WINDOW + 0x4000)
#define NOTHING  (WINDOW + 0x5000)
#define UNMAPPED (WINDOW + 0x6000)

#define EXCEPTIONS 64u

enum {
    PTE_CODE = 0x7c3, /* read-only everywhere: EL1 may execute it too */
    PTE_DATA = 0x743,
    PTE_DEVICE = 4, /* AttrIndx 1 */
    PTE_TABLE = 3,
};

/* What the handler finds behind itself. */
struct handler_state {
    uint64_t budget;
    uint64_t window;
    uint64_t code, descriptors, pool; /* addresses for EL1 */
    uint64_t toggle;                  /* bits of a descriptor that SVC 2 inverts */
    uint64_t log;
};

/*
 * It leaves no address of its own in a register: what is stored to code without an IC, a PE may
 * execute in either form (Arm ARM B2.3.8).
 */
static const uint32_t handler[] = {
    0x10000a4e, /* adr x14, 148 */
    0xb94001cf, /* ldr w15, [x14] */
    0x710005ef, /* subs w15, w15, #0x1 */
    0xb90001cf, /* str w15, [x14] */
    0x5400030d, /* b.le 70 */
    0xf94019d0, /* ldr x16, [x14, #48] */
    0xd5385211, /* mrs x17, esr_el1 */
    0xd5384032, /* mrs x18, elr_el1 */
    0xa8814a11, /* stp x17, x18, [x16], #16 */
    0xf90019d0, /* str x16, [x14, #48] */
    0xd538520f, /* mrs x15, esr_el1 */
    0xd35afdf0, /* lsr x16, x15, #26 */
    0xf100561f, /* cmp x16, #0x15 */
    0x54000220, /* b.eq 78 */
    0xd5384032, /* mrs x18, elr_el1 */
    0x91001252, /* add x18, x18, #0x4 */
    0xf100821f, /* cmp x16, #0x20 */
    0x540000eb, /* b.lt 60 */
    0xf1008a1f, /* cmp x16, #0x22 */
    0x540000ac, /* b.gt 60 */
    0xf94005d2, /* ldr x18, [x14, #8] */
    0x927e2d50, /* and x16, x10, #0x3ffc */
    0x8b100252, /* add x18, x18, x16 */
    0x9100914a, /* add x10, x10, #0x24 */
    0xd5184032, /* msr elr_el1, x18 */
    0xaa1f03ee, /* mov x14, xzr */
    0xaa1f03f2, /* mov x18, xzr */
    0xd69f03e0, /* eret */
    0xd503207f, /* wfi */
    0x17ffffff, /* b 70 */
    0xd538402c, /* mrs x12, elr_el1 */
    0xd538400d, /* mrs x13, spsr_el1 */
    0xaa0f03f3, /* mov x19, x15 */
    0xf9400069, /* ldr x9, [x3] */
    0xaa1303ef, /* mov x15, x19 */
    0x100005ee, /* adr x14, 148 */
    0xf9400dcb, /* ldr x11, [x14, #24] */
    0x92400430, /* and x16, x1, #0x3 */
    0x92400451, /* and x17, x2, #0x3 */
    0x3708024f, /* tbnz w15, #1, e4 */
    0x3700018f, /* tbnz w15, #0, d0 */
    0xf94009cb, /* ldr x11, [x14, #16] */
    0x927e2c30, /* and x16, x1, #0x3ffc */
    0x8b10016b, /* add x11, x11, x16 */
    0x92401c51, /* and x17, x2, #0xff */
    0xf94011d0, /* ldr x16, [x14, #32] */
    0xb8717a11, /* ldr w17, [x16, x17, lsl #2] */
    0xb9000171, /* str w17, [x11] */
    0xd50b7b2b, /* dc cvau, x11 */
    0xd5033b9f, /* dsb ish */
    0xd50b752b, /* ic ivau, x11 */
    0x14000015, /* b 120 */
    0xf8707968, /* ldr x8, [x11, x16, lsl #3] */
    0xf8717969, /* ldr x9, [x11, x17, lsl #3] */
    0xf8307969, /* str x9, [x11, x16, lsl #3] */
    0xf8317968, /* str x8, [x11, x17, lsl #3] */
    0x14000006, /* b f8 */
    0x370001af, /* tbnz w15, #0, 118 */
    0xf8707968, /* ldr x8, [x11, x16, lsl #3] */
    0xf94015c9, /* ldr x9, [x14, #40] */
    0xca090108, /* eor x8, x8, x9 */
    0xf8307968, /* str x8, [x11, x16, lsl #3] */
    0xd5033a9f, /* dsb ishst */
    0xf94005c9, /* ldr x9, [x14, #8] */
    0xd34cfd29, /* lsr x9, x9, #12 */
    0x8b100130, /* add x16, x9, x16 */
    0xd5088370, /* tlbi vaae1is, x16 */
    0x8b110131, /* add x17, x9, x17 */
    0xd5088771, /* tlbi vaae1, x17 */
    0x14000003, /* b 120 */
    0xd508831f, /* tlbi vmalle1is */
    0xd508711f, /* ic ialluis */
    0xd5033b9f, /* dsb ish */
    0xd5033fdf, /* isb */
    0xd518402c, /* msr elr_el1, x12 */
    0xd518400d, /* msr spsr_el1, x13 */
    0xaa1f03eb, /* mov x11, xzr */
    0xaa1f03ee, /* mov x14, xzr */
    0xaa1f03f0, /* mov x16, xzr */
    0xaa1f03f2, /* mov x18, xzr */
    0xd69f03e0, /* eret */
    0xd503201f, /* nop */
};
_Static_assert(sizeof(handler) == 0x148, "adr finds its state");

static const struct pe_layout layout = {
    .memory = MEMORY,
    .memory_size = MEMORY_SIZE,
    .code = CODE,
    .code_size = CODE_SIZE,
    .vectors = VECTORS,
    .table = TABLE,
};

/* ---- The program ---- */

static uint64_t some_address(uint64_t *seed)
{
    const uint64_t r = case_random(seed), offset = r >> 8 & 0xfff;
    switch (r & 15) {
    case 0: return DEVICE + (offset & ~UINT64_C(3));
    case 1: return NOTHING + offset;
    case 2: return UNMAPPED + offset;
    case 3: return WINDOW + (r >> 8 & 0x3fff); /* may be misaligned */
    case 4:
    case 5:
    case 6:
    case 7: return WINDOW + (r >> 8 & 0x3ffc);
    default: return MEMORY + (r >> 8 & 0x1ff8);
    }
}

/* An instruction that is defined, and leaves the set-up alone. */
static uint32_t some_instruction(uint64_t *seed, bool el1)
{
    for (;;) {
        const uint32_t word = (uint32_t)case_random(seed);
        struct a64_insn insn;
        a64_decode(word, &insn);
        switch (insn.op) {
        case A64_UNDEFINED:
            if (case_random(seed) % 256)
                continue;
            return word;
        case A64_HVC:
        case A64_SMC:
        case A64_HLT:
        case A64_ERET: continue;
        default: break;
        }
        if (a64_op_class(insn.op) != A64_CLASS_system || (!el1 && insn.op != A64_HINT))
            return word;
    }
}

static uint32_t some_word(uint64_t *seed, bool el1)
{
    const uint64_t r = case_random(seed);
    const uint32_t forward = 1 + (r >> 8 & 15), reg = r >> 16 & 31;
    switch (r & 31) {
    case 0:
    case 1:
    case 2: return 0xd4000001 | (r >> 8 & 3) << 5; /* svc */
    case 3: return 0x14000000 | forward;
    case 4: return 0x94000000 | forward;
    case 5: return 0x34000000 | forward << 5 | reg | (r & UINT32_C(1) << 24) | (r >> 32 & 1) << 31;
    case 6: return 0x36000000 | forward << 5 | reg | (r & UINT32_C(1) << 24);
    case 7: return 0x54000000 | forward << 5 | (reg & 15);
    case 8: /* br, blr or ret to x20 to x23 or x30 */
        return 0xd61f0000 | (uint32_t)(r >> 32) % 3 << 21 | (reg & 4 ? 30 : 20 + (reg & 3)) << 5;
    case 9:
    case 10:
    case 11: /* ldr or str, by x4 to x7 */
        return 0x39000000 | (r >> 32 & 3) << 30 | (r >> 34 & 1) << 22 | (4 + (reg & 3)) << 5 |
               (r >> 36 & 31);
    default: return some_instruction(seed, el1);
    }
}

static void map(uint8_t *table, uint64_t va, uint64_t descriptor)
{
    memcpy(table + (va >> 12 & 511) * 8, &descriptor, 8);
}

static void make_tables(struct pe *m, uint64_t *seed)
{
    static const uint64_t toggles[] = {1,          0x400, UINT64_C(3) << 53,
                                       PTE_DEVICE, 0x40,  UINT64_C(1) << 54};
    const uint64_t level_2 = TABLE_2 | PTE_TABLE, level_3 = TABLE_3 | PTE_TABLE;
    uint8_t *table = m->code + (TABLE_3 - CODE);
    memcpy(m->code + (TABLE - CODE), &level_2, 8); /* the second gigabyte stays a block */
    memcpy(m->code + (TABLE_2 - CODE) + (MEMORY >> 21 & 511) * 8, &level_3, 8);
    for (unsigned i = 0; i < MEMORY_SIZE; i += 4096)
        map(table, MEMORY + i, (MEMORY + i) | PTE_DATA);
    for (unsigned i = 0; i < PAGES; i++)
        map(table, WINDOW + 4096 * i, (CODE + 4096 * i) | PTE_CODE);
    map(table, DEVICE, CODE | PTE_CODE | PTE_DEVICE);
    map(table, NOTHING, UINT64_C(0x20000000) | PTE_CODE);
    const struct handler_state state = {
        .budget = EXCEPTIONS,
        .window = WINDOW,
        .code = PE_EL1(CODE),
        .descriptors = PE_EL1(TABLE_3 + (WINDOW >> 12 & 511) * 8),
        .pool = PE_EL1(POOL),
        .toggle = toggles[case_random(seed) % PV_ARRAY_SIZE(toggles)],
        .log = PE_EL1(LOG),
    };
    memcpy(m->code + (HANDLER - CODE), handler, sizeof(handler));
    memcpy(m->code + (HANDLER - CODE) + sizeof(handler), &state, sizeof(state));
    for (unsigned at = 0; at < 0x800; at += 0x80) {
        const uint32_t branch = 0x14000000 | (0x800 - at) / 4;
        memcpy(m->code + (VECTORS - CODE) + at, &branch, 4);
    }
}

static void make(struct pe *m, uint64_t seed)
{
    const bool el1 = case_random(&seed) & 1;
    struct pv_vcpu_state *s = &m->regs;
    memset(m->code, 0, CODE_SIZE);
    FUZZ_REQUIRE(pe_reset(m, &layout) == 0);
    make_tables(m, &seed);
    for (unsigned i = 0; i < PAGES * PAGE_WORDS + POOL_WORDS; i++) {
        const uint32_t word = some_word(&seed, el1);
        const bool pool = i >= PAGES * PAGE_WORDS;
        memcpy(m->code + (pool ? POOL - CODE - PAGES * 4096 : 0) + 4 * (size_t)i, &word, 4);
    }
    for (unsigned i = 0; i < MEMORY_SIZE; i += 8) {
        const uint64_t value =
            case_random(&seed) & 1 ? some_address(&seed) : case_random_value(&seed);
        memcpy(m->memory + i, &value, 8);
    }
    *s = (struct pv_vcpu_state){.pc = WINDOW + (case_random(&seed) & 0x3ffc)};
    for (unsigned i = 0; i < 31; i++)
        s->x[i] = case_random(&seed) & 3 ? some_address(&seed) : case_random_value(&seed);
    for (unsigned i = 4; i < 8; i++)
        s->x[i] = MEMORY + (case_random(&seed) & 0x1ff0);
    for (unsigned i = 20; i < 24; i++)
        s->x[i] = WINDOW + (case_random(&seed) & 0x3ffc);
    for (unsigned i = 0; i < 64; i++)
        s->v[i / 2][i & 1] = case_random_lanes(&seed);
    s->sp_el0 = s->sp_el1 = MEMORY + (case_random(&seed) & 0x1ff0);
    s->pstate = (case_random(&seed) & 0xf0000000) | (el1 ? PE_PSTATE_EL1H : 0x3c0);
    s->fpcr = case_random(&seed) % 8 ? 0 : (uint32_t)(case_random(&seed) & 15) << 22;
}

/* ---- Both ---- */

static bool open_both(struct pe pe[2])
{
    pe[0].ops = pv_engine_find("jit");
    pe[1].ops = pv_engine_find("interp");
    if (!pe[0].ops || pv_engine_probe(pe[0].ops, NULL) < 0)
        return false; /* not on this host */
    for (unsigned i = 0; i < 2; i++)
        FUZZ_REQUIRE(pe_init(&pe[i], &layout, NULL) == 0);
    pe_watch_loops();
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pe pe[2];
    struct fuzz_input input = {data, size};
    const uint64_t seed = fuzz_take(&input, 8);
    if (!pe[0].engine && !open_both(pe))
        return 0;
    for (unsigned i = 0; i < 2; i++) {
        make(&pe[i], seed);
        if (!pe_run(&pe[i]))
            return 0;
        pe_take_syndrome(&pe[i]);
    }
    bool differ = pe_differ(&pe[0], &pe[1], MEMORY_SIZE);
    for (unsigned at = 0; at < USED; at += 4) {
        if (!memcmp(pe[0].code + at, pe[1].code + at, 4))
            continue;
        uint32_t words[2];
        memcpy(&words[0], pe[0].code + at, 4);
        memcpy(&words[1], pe[1].code + at, 4);
        printf("  [%#x]  %08x, not %08x\n", CODE + at, words[0], words[1]);
        differ = true;
    }
    if (differ) {
        printf("seed %#llx: the translator differs from the interpreter\n",
               (unsigned long long)seed);
        fflush(stdout);
        abort();
    }
    return 0;
}
