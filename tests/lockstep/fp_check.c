/* SPDX-License-Identifier: MIT */
/*
 * The floating-point handlers, and softfp beneath them, against the oracle (fp_oracle.c).
 *
 *   fp-check generate COUNT SEED <patterns >requests
 *   fp-check check requests answers
 *
 * `patterns` is what `gen-a64.py --list` prints; those that are floating point each get the same
 * number of words. Operands lean on special values: zeros, denormals, the ends of the exponents'
 * range, infinities, both kinds of NaN, values that nearly cancel. FPCR takes every rounding, FZ,
 * DN, AHP and FZ16.
 */
#include "engine/interp/handlers.h"
#include "engine/softfp/softfp.h"
#include "fp_case.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Which patterns ---- */

struct pattern {
    char name[32];
    uint32_t mask, value;
};

static bool is_floating_point(const char *name, const char *class)
{
    static const char *const vector[] = {"SCVTF_", "UCVTF_", "URECPE_", "URSQRTE_"};
    if (strcmp(class, "fp") == 0)
        return true;
    if (strcmp(class, "simd") != 0)
        return false;
    for (size_t i = 0; i < PV_ARRAY_SIZE(vector); i++)
        if (strncmp(name, vector[i], strlen(vector[i])) == 0)
            return true;
    return name[0] == 'F';
}

static size_t read_patterns(struct pattern *patterns, size_t room)
{
    char line[256], class[16];
    size_t count = 0;
    while (count < room && fgets(line, sizeof(line), stdin)) {
        struct pattern p;
        if (sscanf(line, "%31s %" SCNx32 " %" SCNx32 " %15s", p.name, &p.mask, &p.value, class) ==
                4 &&
            is_floating_point(p.name, class))
            patterns[count++] = p;
    }
    return count;
}

/* ---- Random words and operands ---- */

static uint64_t next(uint64_t *state) /* splitmix64 */
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static bool has(const char *name, const char *part)
{
    return strstr(name, part) != NULL;
}

/* The oracle has registers 0 to 2 only: makes a register of the field at `lsb`. */
static uint32_t use_register(const struct pattern *p, uint32_t word, unsigned lsb, uint64_t r)
{
    const uint32_t field = 31u << lsb;
    return p->mask & field ? word : (word & ~field) | (uint32_t)(r % 3) << lsb;
}

static uint32_t random_word(const struct pattern *p, uint64_t *seed)
{
    const uint64_t r = next(seed);
    uint32_t word = p->value | ((uint32_t)next(seed) & ~p->mask);
    const bool immediate = has(p->name, "FMOV_VI");
    word = use_register(p, word, 0, r);
    if (!immediate)
        word = use_register(p, word, 5, r >> 8);
    if (!immediate && !has(p->name, "FMOV_IMM") && !has(p->name, "_N"))
        word = use_register(p, word, 16, r >> 16);
    if (has(p->name, "MADD") || has(p->name, "MSUB"))
        word = use_register(p, word, 10, r >> 24);
    if (has(p->name, "_EH")) /* the top bit of Rm is one of the index */
        word ^= (uint32_t)(r >> 32 & 1) << 20;
    return word;
}

static unsigned operand_size(const struct pattern *p, uint32_t word, uint64_t r)
{
    static const uint8_t ftype[] = {PV_FP_S, PV_FP_D, PV_FP_S, PV_FP_H};
    if ((r & 3) == 0 && (has(p->name, "FCVT") || has(p->name, "CVTF")))
        return 1 + (r >> 2) % 3;
    if (p->name[strlen(p->name) - 1] == 'H')
        return PV_FP_H;
    return ftype[word >> 22 &
                 ((word >> 24 & 0xf) == 0xe && (word >> 28 & 1) && !(word >> 30 & 1) ? 3 : 1)];
}

static uint64_t operand(uint64_t *seed, unsigned size)
{
    static const uint8_t frac_bits[] = {0, 10, 23, 52};
    const unsigned frac = frac_bits[size], exp = (8u << size) - 1 - frac;
    const uint64_t max = (UINT64_C(1) << exp) - 1, r = next(seed);
    uint64_t e = next(seed) & max, f = next(seed) & ((UINT64_C(1) << frac) - 1);
    switch (r & 7) {
    case 0: e = 0; break;
    case 1: e = max; break;
    case 2: e = r >> 8 & 1 ? max - 1 : 1; break;
    case 3:
    case 4: e = ((max >> 1) + (r >> 8 & 63) - 32) & max; break;
    default: break;
    }
    switch (r >> 16 & 7) {
    case 0: f = 0; break;
    case 1: f = UINT64_C(1) << (r >> 24) % frac; break;
    case 2: f = (UINT64_C(1) << frac) - 1; break;
    case 3: f &= UINT64_MAX << (r >> 24) % frac; break;
    default: break;
    }
    return (r >> 63) << (frac + exp) | e << frac | f;
}

static void fill(struct fp_case *q, unsigned size, uint64_t *seed)
{
    const unsigned width = 8u << size;
    const uint64_t r = next(seed);
    for (unsigned v = 0; v < 3; v++)
        for (unsigned at = 0; at < 128; at += width)
            q->v[v][at / 64] |= operand(seed, size) << at % 64;
    if (r & 1) { /* V2 is V1 or nearly, with some of the signs turned */
        const uint64_t low = ~UINT64_C(0) / (UINT64_MAX >> (64 - width)), sign = low << (width - 1);
        for (unsigned i = 0; i < 2; i++)
            q->v[2][i] = q->v[1][i] ^ (next(seed) & sign) ^ (r & 2 ? next(seed) & low : 0);
    }
    for (unsigned i = 0; i < 3; i++) {
        const uint64_t x = next(seed) >> (r >> (8 + 6 * i) & 63);
        q->x[i] = r >> (32 + i) & 1 ? -x : x;
    }
    q->nzcv = (uint32_t)(r >> 40 & 15) << 28;
    q->fpcr = (uint32_t)(r >> 44 & 15) << PV_FPCR_RMODE_SHIFT; /* RMode, FZ, DN */
    q->fpcr |= r >> 48 & 3 ? 0 : PV_FPCR_AHP;
    q->fpcr |= r >> 50 & 1 ? PV_FPCR_FZ16 : 0;
    q->fpsr = r >> 51 & 1 ? PV_FPSR_IXC : 0;
}

enum { RUN = 16 }; /* cases of one word in a row: the oracle must translate each anew */

static int generate(unsigned long count, uint64_t seed)
{
    static struct pattern patterns[512];
    const size_t known = read_patterns(patterns, PV_ARRAY_SIZE(patterns));
    if (known == 0)
        return 2;
    for (unsigned long i = 0; i < count;) {
        const struct pattern *p = &patterns[i / RUN % known];
        const uint32_t word = random_word(p, &seed);
        struct a64_insn insn;
        a64_decode(word, &insn);
        if (strcmp(a64_op_name(insn.op), p->name) != 0) /* not allocated, or another's */
            continue;
        for (unsigned run = 0; run < RUN; run++, i++) {
            struct fp_case q = {.word = word};
            fill(&q, operand_size(p, word, next(&seed)), &seed);
            if (fwrite(&q, sizeof(q), 1, stdout) != 1)
                return 2;
        }
    }
    return 0;
}

/* ---- Replaying ---- */

static void replay(const struct fp_case *q, struct fp_case *mine)
{
    static struct cpu c; /* large; wholly rewritten where it matters */
    struct a64_insn insn;
    c.fpcr = q->fpcr;
    c.fpsr = q->fpsr;
    c.nzcv = q->nzcv;
    memcpy(c.x, q->x, sizeof(q->x));
    memcpy(c.v, q->v, sizeof(q->v));
    a64_decode(q->word, &insn);
    interp_handlers[insn.op](&c, &insn);
    *mine = *q;
    mine->fpsr = c.fpsr;
    mine->nzcv = c.nzcv;
    memcpy(mine->x, c.x, sizeof(mine->x));
    memcpy(mine->v, c.v, sizeof(mine->v));
}

static void print(const char *who, const struct fp_case *r)
{
    printf("  %-6s fpsr %08x nzcv %08x", who, r->fpsr, r->nzcv);
    for (unsigned i = 0; i < 3; i++)
        printf(" x%u %016" PRIx64, i, r->x[i]);
    for (unsigned i = 0; i < 3; i++)
        printf(" v%u %016" PRIx64 "_%016" PRIx64, i, r->v[i][1], r->v[i][0]);
    printf("\n");
}

/*
 * QEMU (7.2) leaves the sign in bits 31:16 of scalar FCVTZS (vector, fixed-point) of halves, where
 * a write to H clears all above it.
 */
static void forgive(struct fp_case *theirs)
{
    if ((theirs->word & 0xfff0fc00) == 0x5f10fc00)
        theirs->v[theirs->word & 31][0] &= 0xffff;
}

static int check(FILE *requests, FILE *answers)
{
    unsigned long cases = 0, wrong = 0;
    struct fp_case q, theirs, mine;
    while (fread(&q, sizeof(q), 1, requests) == 1) {
        if (fread(&theirs, sizeof(theirs), 1, answers) != 1) {
            printf("the oracle stopped at %08x\n", q.word);
            return 1;
        }
        cases++;
        replay(&q, &mine);
        forgive(&theirs);
        if (memcmp(&mine, &theirs, sizeof(mine)) == 0)
            continue;
        if (wrong++ < 1000) {
            struct a64_insn insn;
            a64_decode(q.word, &insn);
            printf("%s %08x, fpcr %08x\n", a64_op_name(insn.op), q.word, q.fpcr);
            print("from", &q);
            print("ours", &mine);
            print("oracle", &theirs);
        }
    }
    printf("%lu cases, %lu differ\n", cases, wrong);
    return cases == 0 || wrong != 0;
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
    const int status = check(requests, answers);
    fclose(requests);
    fclose(answers);
    return status;
}
