/* SPDX-License-Identifier: MIT */
/*
 * softfp against the oracle, through scalar instructions.
 *
 *   softfp-lockstep generate COUNT SEED >requests;  oracle <requests >answers
 *   softfp-lockstep check requests answers
 *
 * Operands lean on special values: zeros, denormals, boundary exponents, infinities, both kinds of
 * NaN; FPCR takes all roundings, FZ, DN, AHP (and FZ16 for halves).
 */
#include "engine/softfp/softfp.h"
#include "oracle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The operands are V1 and V2 (and the addend V0 where it is named d); the result is returned. */
struct call {
    struct pv_fp *fp;
    unsigned size;
    uint64_t d, n, m, x;
    uint32_t nzcv;
};

struct row {
    const char *name;
    uint32_t word;   /* on S0, S1, S2, X1 */
    uint8_t flavour; /* which bits give the size */
    uint8_t to;      /* 0: the result is a V register of the operands' size; else another's size */
    uint64_t (*run)(struct call *c);
};

/* FTYPE: bits 23:22 are 00 S, 01 D, 11 H. VECTOR: scalar SIMD, bit 22. FIXED: the size in `word`.
 */
enum { FTYPE, VECTOR, FIXED_H, FIXED_S, FIXED_D };
enum { TO_SAME, TO_H = 1, TO_S = 2, TO_D = 3, TO_W, TO_X, TO_FLAGS };

#define RUN(NAME, EXPR)                                                                            \
    static uint64_t run_##NAME(struct call *c)                                                     \
    {                                                                                              \
        return EXPR;                                                                               \
    }
#define ARGS c->fp, c->size, c->n

RUN(add, pv_fp_add(ARGS, c->m))
RUN(sub, pv_fp_sub(ARGS, c->m))
RUN(mul, pv_fp_mul(ARGS, c->m))
RUN(nmul, pv_fp_neg(c->size, pv_fp_mul(ARGS, c->m)))
RUN(div, pv_fp_div(ARGS, c->m))
RUN(max, pv_fp_max(ARGS, c->m))
RUN(min, pv_fp_min(ARGS, c->m))
RUN(maxnum, pv_fp_maxnum(ARGS, c->m))
RUN(minnum, pv_fp_minnum(ARGS, c->m))
RUN(sqrt, pv_fp_sqrt(ARGS))
RUN(madd, pv_fp_muladd(c->fp, c->size, c->d, c->n, c->m))
RUN(msub, pv_fp_muladd(c->fp, c->size, c->d, pv_fp_neg(c->size, c->n), c->m))
RUN(nmadd, pv_fp_muladd(c->fp, c->size, pv_fp_neg(c->size, c->d), pv_fp_neg(c->size, c->n), c->m))
RUN(cmp, pv_fp_compare(ARGS, c->m, false))
RUN(cmpe, pv_fp_compare(ARGS, c->m, true))
RUN(rintn, pv_fp_round_int(ARGS, PV_FP_NEAREST_EVEN, false))
RUN(rintp, pv_fp_round_int(ARGS, PV_FP_UP, false))
RUN(rintm, pv_fp_round_int(ARGS, PV_FP_DOWN, false))
RUN(rintz, pv_fp_round_int(ARGS, PV_FP_ZERO, false))
RUN(rinta, pv_fp_round_int(ARGS, PV_FP_NEAREST_AWAY, false))
RUN(rintx, pv_fp_round_int(ARGS, pv_fp_mode(c->fp), true))
RUN(rinti, pv_fp_round_int(ARGS, pv_fp_mode(c->fp), false))
RUN(cvtns, pv_fp_to_fixed(ARGS, 0, false, PV_FP_NEAREST_EVEN, 32))
RUN(cvtau, pv_fp_to_fixed(ARGS, 0, true, PV_FP_NEAREST_AWAY, 64))
RUN(cvtzs, pv_fp_to_fixed(ARGS, 13, false, PV_FP_ZERO, 64))
RUN(cvtzu, pv_fp_to_fixed(ARGS, 31, true, PV_FP_ZERO, 32))
RUN(scvtf, pv_fp_from_fixed(c->fp, c->size, c->x, 0, false))
RUN(ucvtf, pv_fp_from_fixed(c->fp, c->size, c->x, 64, true))
RUN(to_h, pv_fp_convert(c->fp, PV_FP_H, c->size, c->n, pv_fp_mode(c->fp)))
RUN(to_s, pv_fp_convert(c->fp, PV_FP_S, c->size, c->n, pv_fp_mode(c->fp)))
RUN(to_d, pv_fp_convert(c->fp, PV_FP_D, c->size, c->n, pv_fp_mode(c->fp)))
RUN(xtn, pv_fp_convert(c->fp, PV_FP_S, c->size, c->n, PV_FP_ODD))
RUN(recpe, pv_fp_recip_estimate(ARGS))
RUN(rsqrte, pv_fp_rsqrt_estimate(ARGS))
RUN(recpx, pv_fp_recpx(ARGS))
RUN(recps, pv_fp_recip_step(ARGS, c->m))
RUN(rsqrts, pv_fp_rsqrt_step(ARGS, c->m))
RUN(mulx, pv_fp_mulx(ARGS, c->m))
RUN(cmge, pv_fp_ge(ARGS, c->m) ? UINT64_MAX : 0)
RUN(cmeq, pv_fp_eq(ARGS, c->m) ? UINT64_MAX : 0)
RUN(acgt,
    pv_fp_gt(c->fp, c->size, pv_fp_abs(c->size, c->n), pv_fp_abs(c->size, c->m)) ? UINT64_MAX : 0)

static const struct row rows[] = {
    {"FADD", 0x1e222820, FTYPE, 0, run_add},
    {"FSUB", 0x1e223820, FTYPE, 0, run_sub},
    {"FMUL", 0x1e220820, FTYPE, 0, run_mul},
    {"FNMUL", 0x1e228820, FTYPE, 0, run_nmul},
    {"FDIV", 0x1e221820, FTYPE, 0, run_div},
    {"FMAX", 0x1e224820, FTYPE, 0, run_max},
    {"FMIN", 0x1e225820, FTYPE, 0, run_min},
    {"FMAXNM", 0x1e226820, FTYPE, 0, run_maxnum},
    {"FMINNM", 0x1e227820, FTYPE, 0, run_minnum},
    {"FSQRT", 0x1e21c020, FTYPE, 0, run_sqrt},
    {"FMADD", 0x1f020020, FTYPE, 0, run_madd},
    {"FMSUB", 0x1f028020, FTYPE, 0, run_msub},
    {"FNMADD", 0x1f220020, FTYPE, 0, run_nmadd},
    {"FCMP", 0x1e222020, FTYPE, TO_FLAGS, run_cmp},
    {"FCMPE", 0x1e222030, FTYPE, TO_FLAGS, run_cmpe},
    {"FRINTN", 0x1e244020, FTYPE, 0, run_rintn},
    {"FRINTP", 0x1e24c020, FTYPE, 0, run_rintp},
    {"FRINTM", 0x1e254020, FTYPE, 0, run_rintm},
    {"FRINTZ", 0x1e25c020, FTYPE, 0, run_rintz},
    {"FRINTA", 0x1e264020, FTYPE, 0, run_rinta},
    {"FRINTX", 0x1e274020, FTYPE, 0, run_rintx},
    {"FRINTI", 0x1e27c020, FTYPE, 0, run_rinti},
    {"FCVTNS", 0x1e200020, FTYPE, TO_W, run_cvtns},
    {"FCVTAU", 0x9e250020, FTYPE, TO_X, run_cvtau},
    {"FCVTZS_FIXED", 0x9e180020 | (64 - 13) << 10, FTYPE, TO_X, run_cvtzs},
    {"FCVTZU_FIXED", 0x1e190020 | (64 - 31) << 10, FTYPE, TO_W, run_cvtzu},
    {"SCVTF", 0x9e220020, FTYPE, 0, run_scvtf},
    {"UCVTF_FIXED", 0x9e030020, FTYPE, 0, run_ucvtf},
    {"FCVT_S_H", 0x1e23c020, FIXED_S, TO_H, run_to_h},
    {"FCVT_D_H", 0x1e63c020, FIXED_D, TO_H, run_to_h},
    {"FCVT_D_S", 0x1e624020, FIXED_D, TO_S, run_to_s},
    {"FCVT_H_S", 0x1ee24020, FIXED_H, TO_S, run_to_s},
    {"FCVT_S_D", 0x1e22c020, FIXED_S, TO_D, run_to_d},
    {"FCVT_H_D", 0x1ee2c020, FIXED_H, TO_D, run_to_d},
    {"FCVTXN", 0x7e616820, FIXED_D, TO_S, run_xtn},
    {"FRECPE", 0x5ea1d820, VECTOR, 0, run_recpe},
    {"FRSQRTE", 0x7ea1d820, VECTOR, 0, run_rsqrte},
    {"FRECPX", 0x5ea1f820, VECTOR, 0, run_recpx},
    {"FRECPS", 0x5e22fc20, VECTOR, 0, run_recps},
    {"FRSQRTS", 0x5ea2fc20, VECTOR, 0, run_rsqrts},
    {"FMULX", 0x5e22dc20, VECTOR, 0, run_mulx},
    {"FCMGE", 0x7e22e420, VECTOR, 0, run_cmge},
    {"FCMEQ", 0x5e22e420, VECTOR, 0, run_cmeq},
    {"FACGT", 0x7ea2ec20, VECTOR, 0, run_acgt},
    {"FRECPE_H", 0x5ef9d820, FIXED_H, 0, run_recpe},
    {"FRSQRTE_H", 0x7ef9d820, FIXED_H, 0, run_rsqrte},
    {"FRECPX_H", 0x5ef9f820, FIXED_H, 0, run_recpx},
    {"FRECPS_H", 0x5e423c20, FIXED_H, 0, run_recps},
    {"FRSQRTS_H", 0x5ec23c20, FIXED_H, 0, run_rsqrts},
    {"FMULX_H", 0x5e421c20, FIXED_H, 0, run_mulx},
};
enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

static uint32_t with_size(const struct row *row, unsigned size)
{
    static const uint32_t ftype[] = {[PV_FP_H] = 3, [PV_FP_S] = 0, [PV_FP_D] = 1};
    switch (row->flavour) {
    case FTYPE: return row->word | ftype[size] << 22;
    case VECTOR: return row->word | (uint32_t)(size == PV_FP_D) << 22;
    default: return row->word;
    }
}

static uint64_t next(uint64_t *state) /* splitmix64 */
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static uint64_t operand(uint64_t *state, unsigned size)
{
    static const uint8_t frac_bits[] = {0, 10, 23, 52}, exp_bits[] = {0, 5, 8, 11};
    const unsigned fb = frac_bits[size], eb = exp_bits[size];
    const uint64_t max = (UINT64_C(1) << eb) - 1, bias = max >> 1, r = next(state);
    uint64_t exp = next(state) & max, frac = next(state) & ((UINT64_C(1) << fb) - 1);
    switch (r & 7) {
    case 0: exp = 0; break;
    case 1: exp = max; break;
    case 2: exp = (r >> 8 & 1 ? max - 1 : 1); break;
    case 3:
    case 4: exp = (bias + (r >> 8 & 63) - 32) & max; break;
    default: break;
    }
    switch (r >> 16 & 7) {
    case 0: frac = 0; break;
    case 1: frac = UINT64_C(1) << (r >> 24) % fb; break;
    case 2: frac = (UINT64_C(1) << fb) - 1; break;
    case 3: frac &= UINT64_MAX << (r >> 24) % fb; break;
    default: break;
    }
    return (r >> 63) << (fb + eb) | exp << fb | frac;
}

static int generate(unsigned long count, uint64_t seed)
{
    for (unsigned long i = 0; i < count; i++) {
        const struct row *row = &rows[i / 64 % ROWS];
        unsigned size = (unsigned)(row->flavour - FIXED_H + PV_FP_H);
        if (row->flavour == FTYPE)
            size = 1 + i % 3;
        else if (row->flavour == VECTOR)
            size = 2 + i % 2;
        const uint64_t r = next(&seed);
        struct oracle_record q = {.word = with_size(row, size), .pad = (i / 64 % ROWS) << 8 | size};
        q.fpcr =
            (uint32_t)(r & 15) << 22 | (r & 0x30 ? 0 : PV_FPCR_AHP) | (r & 64 ? PV_FPCR_FZ16 : 0);
        q.fpsr = r & 128 ? PV_FPSR_IXC : 0;
        q.x[1] = next(&seed) >> (r >> 8 & 63);
        if (r >> 14 & 1)
            q.x[1] = -q.x[1];
        for (unsigned v = 0; v < 3; v++)
            q.v[v][0] = operand(&seed, size);
        if (r >> 20 & 1) /* near cancellation */
            q.v[2][0] = q.v[1][0] ^ (r >> 21 & 3) ^ (r >> 23 & 1) << ((8 << size) - 1);
        if (fwrite(&q, sizeof(q), 1, stdout) != 1)
            return 1;
    }
    return 0;
}

static int compare(const struct oracle_record *q, const struct oracle_record *a)
{
    const struct row *row = &rows[q->pad >> 8];
    const unsigned size = q->pad & 255;
    struct pv_fp fp = {q->fpcr, q->fpsr};
    struct call c = {&fp, size, q->v[0][0], q->v[1][0], q->v[2][0], q->x[1], 0};
    uint64_t mine = row->run(&c), theirs = a->v[0][0];
    if (row->to == TO_W || row->to == TO_X)
        theirs = a->x[0];
    else if (row->to == TO_FLAGS)
        theirs = a->nzcv;
    else
        mine &= ~UINT64_C(0) >> (64 - (8 << (row->to ? row->to : size)));
    if (mine == theirs && fp.fpsr == a->fpsr)
        return 0;
    printf("%s size %u fpcr %08x fpsr %08x: d %016llx n %016llx m %016llx x %016llx: %016llx %02x, "
           "oracle %016llx %02x\n",
           row->name, size, q->fpcr, q->fpsr, (unsigned long long)c.d, (unsigned long long)c.n,
           (unsigned long long)c.m, (unsigned long long)c.x, (unsigned long long)mine, fp.fpsr,
           (unsigned long long)theirs, a->fpsr);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "generate") == 0)
        return generate(strtoul(argv[2], NULL, 0), strtoull(argv[3], NULL, 0));
    if (argc != 4 || strcmp(argv[1], "check") != 0)
        return 2;
    FILE *requests = fopen(argv[2], "rb"), *answers = fopen(argv[3], "rb");
    if (!requests || !answers)
        return 2;
    unsigned long cases = 0, wrong = 0;
    struct oracle_record q, a;
    while (fread(&q, sizeof(q), 1, requests) == 1) {
        if (fread(&a, sizeof(a), 1, answers) != 1) {
            wrong++;
            break;
        }
        cases++;
        wrong += (unsigned long)compare(&q, &a);
    }
    fclose(requests);
    fclose(answers);
    printf("%lu cases, %lu wrong\n", cases, wrong);
    return cases == 0 || wrong != 0;
}
