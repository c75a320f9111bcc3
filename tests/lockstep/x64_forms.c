/* SPDX-License-Identifier: MIT */
/*
 * Emits every form of every instruction that the assembler knows, with registers and addresses
 * that need each prefix and each shape of ModRM, and prints "bytes<TAB>what it should be" in AT&T
 * syntax. x64_forms.py has LLVM assemble the right column and compares.
 */
#include "base/util.h"
#include "engine/jit/x64/vex.h"

#include <stdarg.h>
#include <string.h>

struct out {
    struct x64_code c;
    uint8_t bytes[256];
    char names[8][80]; /* of operands: those of one line at most */
    unsigned next;
};

static const enum x64_reg some_regs[] = {X64_RAX, X64_RSP, X64_RBP, X64_RSI,
                                         X64_R8,  X64_R13, X64_R15};

/* SP and R12 need a SIB byte, BP and R13 a displacement; displacements at the edges of a byte. */
static const struct x64_rm some_memory[] = {
    {X64_IS_MEM, X64_RAX, -1, 0, 0},           {X64_IS_MEM, X64_RBP, -1, 0, 0},
    {X64_IS_MEM, X64_RSP, -1, 0, 127},         {X64_IS_MEM, X64_RDI, -1, 0, -128},
    {X64_IS_MEM, X64_R12, -1, 0, 128},         {X64_IS_MEM, X64_R13, -1, 0, 0},
    {X64_IS_MEM, X64_RCX, X64_R12, 1, -129},   {X64_IS_MEM, X64_R13, X64_RBP, 3, 0},
    {X64_IS_MEM, X64_R8, X64_R15, 2, 0x12345}, {X64_IS_MEM, X64_RSP, X64_RSI, 0, 0},
};

/* ---- Text ---- */

static const char *reg_name(unsigned size, unsigned reg)
{
    static const char *const names[4][16] = {
        {"%al", "%cl", "%dl", "%bl", "%spl", "%bpl", "%sil", "%dil", "%r8b", "%r9b", "%r10b",
         "%r11b", "%r12b", "%r13b", "%r14b", "%r15b"},
        {"%ax", "%cx", "%dx", "%bx", "%sp", "%bp", "%si", "%di", "%r8w", "%r9w", "%r10w", "%r11w",
         "%r12w", "%r13w", "%r14w", "%r15w"},
        {"%eax", "%ecx", "%edx", "%ebx", "%esp", "%ebp", "%esi", "%edi", "%r8d", "%r9d", "%r10d",
         "%r11d", "%r12d", "%r13d", "%r14d", "%r15d"},
        {"%rax", "%rcx", "%rdx", "%rbx", "%rsp", "%rbp", "%rsi", "%rdi", "%r8", "%r9", "%r10",
         "%r11", "%r12", "%r13", "%r14", "%r15"},
    };
    return names[__builtin_ctz(size)][reg];
}

/* size 16 and 32 are xmm and ymm */
static const char *name(struct out *o, unsigned size, struct x64_rm rm)
{
    if (rm.kind == X64_IS_REG && size <= 8)
        return reg_name(size, rm.base);
    char *s = o->names[o->next++ % PV_ARRAY_SIZE(o->names)];
    if (rm.kind == X64_IS_REG) {
        snprintf(s, sizeof(o->names[0]), "%%%cmm%u", size == 16 ? 'x' : 'y', rm.base);
        return s;
    }
    char disp[16] = "";
    if (rm.disp)
        snprintf(disp, sizeof(disp), "%d", rm.disp);
    if (rm.index < 0)
        snprintf(s, sizeof(o->names[0]), "%s(%s)", disp, reg_name(8, rm.base));
    else
        snprintf(s, sizeof(o->names[0]), "%s(%s,%s,%u)", disp, reg_name(8, rm.base),
                 reg_name(8, (unsigned)rm.index), 1u << rm.scale);
    return s;
}

static char suffix(unsigned size)
{
    return size == 1 ? 'b' : size == 2 ? 'w' : size == 4 ? 'l' : 'q';
}

/* What was emitted since the last time, and what it should be. */
__attribute__((format(printf, 2, 3))) static void expect(struct out *o, const char *format, ...)
{
    for (const uint8_t *p = o->c.start; p < o->c.at; p++)
        printf("%02x", *p);
    putchar('\t');
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    o->c.at = o->c.start;
}

/* Runs the body with rm as every register (of some) and every address. */
#define EACH_RM(rm)                                                                                \
    for (unsigned rm##_i = 0; rm##_i < PV_ARRAY_SIZE(some_regs) + PV_ARRAY_SIZE(some_memory);      \
         rm##_i++)                                                                                 \
        for (struct x64_rm rm = rm##_i < PV_ARRAY_SIZE(some_regs)                                  \
                                    ? x64_r(some_regs[rm##_i])                                     \
                                    : some_memory[rm##_i - PV_ARRAY_SIZE(some_regs)];              \
             rm.kind; rm.kind = 0)
#define EACH_MEM(rm)                                                                               \
    for (unsigned rm##_i = 0; rm##_i < PV_ARRAY_SIZE(some_memory); rm##_i++)                       \
        for (struct x64_rm rm = some_memory[rm##_i]; rm.kind; rm.kind = 0)
#define EACH_REG(reg)          for (unsigned reg = 0; reg < 16; reg++)
#define EACH_SIZE(size, first) for (unsigned size = (first); size <= 8; size *= 2)

/* ---- General registers ---- */

static void moves(struct out *o)
{
    static const uint64_t imms[] = {0,
                                    1,
                                    0x7fffffff,
                                    0x80000000,
                                    0xffffffff,
                                    0x100000000,
                                    0xffffffff80000000,
                                    0xffffffffffffffff,
                                    0x123456789abcdef0};
    struct x64_code *c = &o->c;
    EACH_REG(r)
    {
        EACH_RM(rm)
        {
            EACH_SIZE(size, 1)
            {
                x64_mov(c, size, r, rm);
                expect(o, "mov%c %s, %s", suffix(size), name(o, size, rm), reg_name(size, r));
                x64_store(c, size, rm, r);
                expect(o, "mov%c %s, %s", suffix(size), reg_name(size, r), name(o, size, rm));
            }
            x64_movzx(c, 1, r, rm);
            expect(o, "movzbl %s, %s", name(o, 1, rm), reg_name(4, r));
            x64_movzx(c, 2, r, rm);
            expect(o, "movzwl %s, %s", name(o, 2, rm), reg_name(4, r));
            for (unsigned from = 1; from <= 4; from *= 2) {
                for (unsigned to = PV_MAX(4u, 2 * from); to <= 8; to *= 2) {
                    x64_movsx(c, to, from, r, rm);
                    expect(o, "movs%c%c %s, %s", suffix(from), suffix(to), name(o, from, rm),
                           reg_name(to, r));
                }
            }
        }
        EACH_MEM(rm)
        {
            x64_lea(c, 8, r, rm);
            expect(o, "leaq %s, %s", name(o, 8, rm), reg_name(8, r));
            x64_lea(c, 4, r, rm);
            expect(o, "leal %s, %s", name(o, 8, rm), reg_name(4, r));
            EACH_SIZE(size, 2)
            {
                x64_movbe(c, size, r, rm);
                expect(o, "movbe%c %s, %s", suffix(size), name(o, 8, rm), reg_name(size, r));
                x64_movbe_store(c, size, rm, r);
                expect(o, "movbe%c %s, %s", suffix(size), reg_name(size, r), name(o, 8, rm));
            }
        }
        for (unsigned i = 0; i < PV_ARRAY_SIZE(imms); i++) {
            x64_mov_imm(c, r, imms[i]);
            if (imms[i] <= UINT32_MAX)
                expect(o, "movl $%u, %s", (uint32_t)imms[i], reg_name(4, r));
            else
                expect(o, "movq $%lld, %s", (long long)imms[i], reg_name(8, r));
        }
        EACH_SIZE(size, 4)
        {
            x64_bswap(c, size, r);
            expect(o, "bswap%c %s", suffix(size), reg_name(size, r));
        }
        x64_push(c, r);
        expect(o, "pushq %s", reg_name(8, r));
        x64_pop(c, r);
        expect(o, "popq %s", reg_name(8, r));
    }
    EACH_RM(rm)
    {
        EACH_SIZE(size, 1)
        {
            const int32_t imm = size == 1 ? 0x5a : size == 2 ? 0x1234 : -0x12345678;
            if (rm.kind == X64_IS_MEM) {
                x64_store_imm(c, size, rm, imm);
                expect(o, "mov%c $%d, %s", suffix(size), imm, name(o, size, rm));
            }
        }
        if (rm.kind == X64_IS_MEM) {
            x64_push_rm(c, rm);
            expect(o, "pushq %s", name(o, 8, rm));
            x64_pop_rm(c, rm);
            expect(o, "popq %s", name(o, 8, rm));
        }
        x64_jmp_rm(c, rm);
        expect(o, "jmpq *%s", name(o, 8, rm));
        x64_call_rm(c, rm);
        expect(o, "callq *%s", name(o, 8, rm));
    }
    x64_push_imm(c, -128);
    expect(o, "pushq $-128");
    x64_push_imm(c, 128);
    expect(o, "pushq $128");
}

static void alu(struct out *o)
{
    static const char *const names[] = {"add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"};
    static const int32_t imms[] = {1, -1, -128, 127, 128, 0x1234, -0x12345678};
    struct x64_code *c = &o->c;
    for (unsigned op = 0; op < 8; op++) {
        EACH_RM(rm) EACH_SIZE(size, 1)
        {
            EACH_REG(r)
            {
                x64_alu(c, op, size, r, rm);
                expect(o, "%s%c %s, %s", names[op], suffix(size), name(o, size, rm),
                       reg_name(size, r));
                x64_alu_store(c, op, size, rm, r);
                expect(o, "%s%c %s, %s", names[op], suffix(size), reg_name(size, r),
                       name(o, size, rm));
            }
            for (unsigned i = 0; i < PV_ARRAY_SIZE(imms); i++) {
                if ((size == 1 && imms[i] != (int8_t)imms[i]) ||
                    (size == 2 && imms[i] != (int16_t)imms[i]))
                    continue;
                x64_alu_imm(c, op, size, rm, imms[i]);
                expect(o, "%s%c $%d, %s", names[op], suffix(size), imms[i], name(o, size, rm));
                if (rm.kind == X64_IS_MEM && op != X64_CMP) {
                    x64_lock(c);
                    x64_alu_imm(c, op, size, rm, imms[i]);
                    expect(o, "lock %s%c $%d, %s", names[op], suffix(size), imms[i],
                           name(o, size, rm));
                }
            }
        }
    }
}

static void unary(struct out *o)
{
    static const char *const names[] = {"not", "neg", "mul", "imul", "div", "idiv"};
    struct x64_code *c = &o->c;
    EACH_RM(rm) EACH_SIZE(size, 1)
    {
        for (unsigned op = 0; op < 6; op++) {
            x64_unary(c, X64_NOT + op, size, rm);
            expect(o, "%s%c %s", names[op], suffix(size), name(o, size, rm));
        }
        x64_inc(c, size, rm);
        expect(o, "inc%c %s", suffix(size), name(o, size, rm));
        x64_dec(c, size, rm);
        expect(o, "dec%c %s", suffix(size), name(o, size, rm));
        const int32_t imm = size == 1 ? 0x5a : size == 2 ? 0x1234 : -0x12345678;
        x64_test_imm(c, size, rm, imm);
        expect(o, "test%c $%d, %s", suffix(size), imm, name(o, size, rm));
        EACH_REG(r)
        {
            x64_test(c, size, rm, r);
            expect(o, "test%c %s, %s", suffix(size), reg_name(size, r), name(o, size, rm));
            if (size == 1)
                continue;
            x64_imul(c, size, r, rm);
            expect(o, "imul%c %s, %s", suffix(size), name(o, size, rm), reg_name(size, r));
            x64_imul_imm(c, size, r, rm, -5);
            expect(o, "imul%c $-5, %s, %s", suffix(size), name(o, size, rm), reg_name(size, r));
            x64_imul_imm(c, size, r, rm, 0x1234);
            expect(o, "imul%c $0x1234, %s, %s", suffix(size), name(o, size, rm), reg_name(size, r));
        }
    }
    x64_cdq(c, 4);
    expect(o, "cltd");
    x64_cdq(c, 8);
    expect(o, "cqto");
}

static void shifts(struct out *o)
{
    static const char *const names[] = {"rol", "ror", "rcl", "rcr", "shl", "shr", NULL, "sar"};
    typedef void double_imm(struct x64_code *, unsigned, struct x64_rm, enum x64_reg, unsigned);
    typedef void double_cl(struct x64_code *, unsigned, struct x64_rm, enum x64_reg);
    static double_imm *const by_imm[] = {x64_shld_imm, x64_shrd_imm};
    static double_cl *const by_cl[] = {x64_shld_cl, x64_shrd_cl};
    struct x64_code *c = &o->c;
    EACH_RM(rm) EACH_SIZE(size, 1)
    {
        for (unsigned op = 0; op < 8; op++) {
            if (!names[op])
                continue;
            x64_shift_imm(c, op, size, rm, 1);
            expect(o, "%s%c %s", names[op], suffix(size), name(o, size, rm));
            x64_shift_imm(c, op, size, rm, 8 * size - 1);
            expect(o, "%s%c $%u, %s", names[op], suffix(size), 8 * size - 1, name(o, size, rm));
            x64_shift_cl(c, op, size, rm);
            expect(o, "%s%c %%cl, %s", names[op], suffix(size), name(o, size, rm));
        }
        for (unsigned i = 0; i < 2 && size > 1; i++) {
            EACH_REG(r)
            {
                by_imm[i](c, size, rm, r, 3);
                expect(o, "%s%c $3, %s, %s", i ? "shrd" : "shld", suffix(size), reg_name(size, r),
                       name(o, size, rm));
                by_cl[i](c, size, rm, r);
                expect(o, "%s%c %%cl, %s, %s", i ? "shrd" : "shld", suffix(size), reg_name(size, r),
                       name(o, size, rm));
            }
        }
    }
}

static void conditions(struct out *o)
{
    static const char *const names[] = {"o", "no", "b", "ae", "e", "ne", "be", "a",
                                        "s", "ns", "p", "np", "l", "ge", "le", "g"};
    struct x64_code *c = &o->c;
    for (unsigned cond = 0; cond < 16; cond++) {
        EACH_RM(rm)
        {
            x64_setcc(c, cond, rm);
            expect(o, "set%s %s", names[cond], name(o, 1, rm));
            EACH_REG(r) EACH_SIZE(size, 2)
            {
                x64_cmov(c, cond, size, r, rm);
                expect(o, "cmov%s%c %s, %s", names[cond], suffix(size), name(o, size, rm),
                       reg_name(size, r));
            }
        }
        struct x64_label back = X64_LABEL;
        x64_bind(c, &back);
        x64_jcc(c, cond, &back);
        expect(o, "j%s .", names[cond]);
    }
}

static void bits(struct out *o)
{
    typedef void two(struct x64_code *, unsigned, enum x64_reg, struct x64_rm);
    static const struct {
        const char *name;
        two *emit;
    } counts[] = {{"bsf", x64_bsf},
                  {"bsr", x64_bsr},
                  {"lzcnt", x64_lzcnt},
                  {"tzcnt", x64_tzcnt},
                  {"popcnt", x64_popcnt}};
    static const char *const bts[] = {"bt", "bts", "btr", "btc"};
    struct x64_code *c = &o->c;
    EACH_RM(rm) EACH_SIZE(size, 2)
    {
        for (unsigned op = 0; op < 4; op++) {
            x64_bt_imm(c, X64_BT + op, size, rm, 8 * size - 1);
            expect(o, "%s%c $%u, %s", bts[op], suffix(size), 8 * size - 1, name(o, size, rm));
        }
        EACH_REG(r)
        {
            for (unsigned i = 0; i < PV_ARRAY_SIZE(counts); i++) {
                counts[i].emit(c, size, r, rm);
                expect(o, "%s%c %s, %s", counts[i].name, suffix(size), name(o, size, rm),
                       reg_name(size, r));
            }
            for (unsigned op = 0; op < 4; op++) {
                x64_bt(c, X64_BT + op, size, rm, r);
                expect(o, "%s%c %s, %s", bts[op], suffix(size), reg_name(size, r),
                       name(o, size, rm));
            }
        }
    }
    EACH_RM(rm) EACH_REG(r) EACH_SIZE(size, 1)
    {
        x64_crc32(c, size, r, rm);
        expect(o, "crc32%c %s, %s", suffix(size), name(o, size, rm),
               reg_name(size == 8 ? 8 : 4, r));
    }
}

static void bmi(struct out *o)
{
    typedef void count_last(struct x64_code *, unsigned, enum x64_reg, struct x64_rm, enum x64_reg);
    typedef void rm_last(struct x64_code *, unsigned, enum x64_reg, enum x64_reg, struct x64_rm);
    static const struct {
        const char *name;
        count_last *emit;
    } shifts[] = {{"shlx", x64_shlx}, {"shrx", x64_shrx}, {"sarx", x64_sarx}, {"bextr", x64_bextr}};
    static const struct {
        const char *name;
        rm_last *emit;
    } others[] = {{"andn", x64_andn}, {"pext", x64_pext}, {"pdep", x64_pdep}, {"mulx", x64_mulx}};
    struct x64_code *c = &o->c;
    EACH_RM(rm) EACH_REG(r) EACH_SIZE(size, 4)
    {
        const unsigned third = (r * 7 + 3) & 15;
        for (unsigned i = 0; i < PV_ARRAY_SIZE(shifts); i++) {
            shifts[i].emit(c, size, r, rm, third);
            expect(o, "%s%c %s, %s, %s", shifts[i].name, suffix(size), reg_name(size, third),
                   name(o, size, rm), reg_name(size, r));
        }
        for (unsigned i = 0; i < PV_ARRAY_SIZE(others); i++) {
            others[i].emit(c, size, r, third, rm);
            expect(o, "%s%c %s, %s, %s", others[i].name, suffix(size), name(o, size, rm),
                   reg_name(size, third), reg_name(size, r));
        }
        x64_rorx(c, size, r, rm, 7);
        expect(o, "rorx%c $7, %s, %s", suffix(size), name(o, size, rm), reg_name(size, r));
    }
}

static void atomics(struct out *o)
{
    struct x64_code *c = &o->c;
    EACH_MEM(rm)
    {
        EACH_REG(r) EACH_SIZE(size, 1)
        {
            x64_xchg(c, size, rm, r);
            expect(o, "xchg%c %s, %s", suffix(size), reg_name(size, r), name(o, size, rm));
            x64_lock(c);
            x64_xadd(c, size, rm, r);
            expect(o, "lock xadd%c %s, %s", suffix(size), reg_name(size, r), name(o, size, rm));
            x64_lock(c);
            x64_cmpxchg(c, size, rm, r);
            expect(o, "lock cmpxchg%c %s, %s", suffix(size), reg_name(size, r), name(o, size, rm));
        }
        x64_lock(c);
        x64_cmpxchg16b(c, rm);
        expect(o, "lock cmpxchg16b %s", name(o, 8, rm));
    }
}

static void plain(struct out *o)
{
    static const struct {
        const char *name;
        void (*emit)(struct x64_code *);
    } plains[] = {{"retq", x64_ret},
                  {"lahf", x64_lahf},
                  {"sahf", x64_sahf},
                  {"cmc", x64_cmc},
                  {"stc", x64_stc},
                  {"clc", x64_clc},
                  {"int3", x64_int3},
                  {"mfence", x64_mfence},
                  {"rdtsc", x64_rdtsc},
                  {"ud2", x64_ud2},
                  {"vzeroupper", x64_vzeroupper}};
    for (unsigned i = 0; i < PV_ARRAY_SIZE(plains); i++) {
        plains[i].emit(&o->c);
        expect(o, "%s", plains[i].name);
    }
}

/* ---- Vectors ---- */

static unsigned operand_size(char kind, bool ymm)
{
    switch (kind) {
    case 'd':
    case 'D': return 4;
    case 'q':
    case 'Q': return 8;
    case 'y':
    case 'Y': return 32;
    default: return ymm ? 32 : 16;
    }
}

/* Emits by the function that the operands' letters choose. */
static void emit_vector(struct x64_code *c, unsigned op, const char *operands, struct x64_rm rm,
                        unsigned a, unsigned b)
{
    const size_t rm_place = strcspn(operands, "XYDQm");
    if (!strcmp(operands, "m"))
        x64_v_mem(c, op, rm);
    else if (!strcmp(operands, "xxi"))
        x64_v_shift(c, op, a, b, 5);
    else if (!strcmp(operands, "xxXx"))
        x64_v_blend(c, op, a, b, rm, 9);
    else if (strlen(operands) == 4)
        x64_v3_imm(c, op, a, b, rm, 5);
    else if (strlen(operands) == 3 && operands[2] != 'i')
        x64_v3(c, op, a, b, rm);
    else if (strlen(operands) == 3 && rm_place == 0)
        x64_v2_store_imm(c, op, rm, b, 5);
    else if (strlen(operands) == 3)
        x64_v2_imm(c, op, a, rm, 5);
    else if (rm_place == 0 || !strcmp(operands, "qx"))
        x64_v2_store(c, op, rm, b);
    else
        x64_v2(c, op, a, rm);
}

/* AT&T: the last operand first. Capitals are rm; small letters a, then b. */
static void print_vector(struct out *o, const char *mnemonic, const char *operands, bool ymm,
                         const struct x64_rm list[4])
{
    char text[160];
    size_t used = 0;
    for (size_t i = strlen(operands); i-- > 0;) {
        const char *const s =
            operands[i] == 'i' ? "$5" : name(o, operand_size(operands[i], ymm), list[i]);
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", used ? ", " : "", s);
    }
    expect(o, "%s %s", mnemonic, text);
}

static void vector(struct out *o, const char *mnemonic, const char *operands, unsigned op, bool ymm)
{
    /* Which operand is the register-or-memory one; where none is written so, the encoding's */
    size_t place = strcspn(operands, "XYDQm");
    const bool mem_only = strchr(operands, 'm'), has_rm = operands[place];
    if (!has_rm)
        place = !strcmp(operands, "qx") ? 0 : !strcmp(operands, "xxi") ? 9 : strlen(operands) - 1;
    if (!strcmp(operands, "dxi"))
        place = 1;
    EACH_RM(rm)
    {
        if (rm.kind == X64_IS_MEM ? !has_rm : mem_only)
            continue;
        for (unsigned i = 0; i < 4; i++) {
            const unsigned a = 5 * i & 15, b = (3 + 7 * i) & 15;
            struct x64_rm list[4];
            for (size_t k = 0; operands[k]; k++)
                list[k] = k == place ? rm : x64_r(k == 0 ? a : k == 3 ? 9 : b);
            emit_vector(&o->c, op, operands, rm, a, b);
            print_vector(o, mnemonic, operands, ymm, list);
        }
    }
}

static void vectors(struct out *o)
{
    static const struct {
        const char *mnemonic, *operands;
        unsigned op;
        unsigned length;
    } table[] = {
#define X64_FORM(name, mnemonic, operands, prefix, map, op, w, length, ext)                        \
    {mnemonic, operands, X64_##name, length},
        X64_VEX_OPS(X64_FORM)
#undef X64_FORM
    };
    for (unsigned i = 0; i < PV_ARRAY_SIZE(table); i++) {
        vector(o, table[i].mnemonic, table[i].operands, table[i].op, false);
        if (table[i].length == 2)
            vector(o, table[i].mnemonic, table[i].operands, X64_YMM(table[i].op), true);
    }
    EACH_REG(a) EACH_REG(b)
    {
        x64_vmov(&o->c, a, b);
        expect(o, "vmovaps %%xmm%u, %%xmm%u", b, a);
        x64_vmovq(&o->c, a, b);
        expect(o, "vmovq %%xmm%u, %%xmm%u", b, a);
    }
}

static void sha(struct out *o)
{
    static const char *const names[] = {"sha1nexte",   "sha1msg1",   "sha1msg2",
                                        "sha256rnds2", "sha256msg1", "sha256msg2"};
    EACH_RM(rm) EACH_REG(r)
    {
        for (unsigned i = 0; i < PV_ARRAY_SIZE(names); i++) {
            x64_sha(&o->c, X64_SHA1NEXTE + i, r, rm);
            expect(o, "%s %s%s, %%xmm%u", names[i], i == 3 ? "%xmm0, " : "", name(o, 16, rm), r);
        }
        x64_sha1rnds4(&o->c, r, rm, 2);
        expect(o, "sha1rnds4 $2, %s, %%xmm%u", name(o, 16, rm), r);
    }
}

int main(void)
{
    static void (*const groups[])(struct out *) = {moves, alu,     unary, shifts,  conditions, bits,
                                                   bmi,   atomics, plain, vectors, sha};
    struct out o = {0};
    o.c = x64_begin(o.bytes, o.bytes, sizeof(o.bytes));
    for (unsigned i = 0; i < PV_ARRAY_SIZE(groups); i++)
        groups[i](&o);
    return o.c.overflow;
}
