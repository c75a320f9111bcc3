/* SPDX-License-Identifier: MIT */
/* System registers of the interpreted PE: the stored ones by name, all of them by encoding. */
#ifndef PV_ENGINE_INTERP_SYSREG_H
#define PV_ENGINE_INTERP_SYSREG_H

#include "engine/interp/cpu.h"
#include "engine/interp/idregs.h"

/* FPCR's AHP, DN, FZ, RMode and FZ16: there are no trapped exceptions. */
#define FPCR_WRITABLE 0x07c80000u

/* Who may do what; EL0's rights may still be subject to a trap (sysreg.c). */
#define ACC_R1  1u
#define ACC_W1  2u
#define ACC_R0  4u
#define ACC_W0  8u
#define ACC_RW1 (ACC_R1 | ACC_W1)
#define ACC_RW  (ACC_R1 | ACC_W1 | ACC_R0 | ACC_W0)
#define ACC_RO  (ACC_R1 | ACC_R0)

#define ALL UINT64_MAX

/*
 * name, encoding, rights, reset value, writable bits. A register with side effects or without
 * storage of its own has a case in sysreg.c.
 */
#define SYSREG_TABLE(X)                                                                            \
    X(MPIDR_EL1, 3, 0, 0, 0, 5, ACC_R1, 0, 0)                                                      \
    X(SCTLR_EL1, 3, 0, 1, 0, 0, ACC_RW1, 0x30d00980, SCTLR_WRITABLE)                               \
    X(ACTLR_EL1, 3, 0, 1, 0, 1, ACC_RW1, 0, 0)                                                     \
    X(CPACR_EL1, 3, 0, 1, 0, 2, ACC_RW1, 0, 0x00300000)                                            \
    X(TTBR0_EL1, 3, 0, 2, 0, 0, ACC_RW1, 0, ALL)                                                   \
    X(TTBR1_EL1, 3, 0, 2, 0, 1, ACC_RW1, 0, ALL)                                                   \
    X(TCR_EL1, 3, 0, 2, 0, 2, ACC_RW1, 0, 0x018007ffffffffbfULL & ~(1ULL << 35))                   \
    X(SPSR_EL1, 3, 0, 4, 0, 0, ACC_RW1, 0, 0xffffffff)                                             \
    X(ELR_EL1, 3, 0, 4, 0, 1, ACC_RW1, 0, ALL)                                                     \
    X(SP_EL0, 3, 0, 4, 1, 0, ACC_RW1, 0, ALL)                                                      \
    X(SPSEL, 3, 0, 4, 2, 0, ACC_RW1, 0, 0)                                                         \
    X(CURRENTEL, 3, 0, 4, 2, 2, ACC_R1, 0, 0)                                                      \
    X(PAN, 3, 0, 4, 2, 3, ACC_RW1, 0, 0)                                                           \
    X(AFSR0_EL1, 3, 0, 5, 1, 0, ACC_RW1, 0, 0)                                                     \
    X(AFSR1_EL1, 3, 0, 5, 1, 1, ACC_RW1, 0, 0)                                                     \
    X(ESR_EL1, 3, 0, 5, 2, 0, ACC_RW1, 0, 0x1fffffffffULL)                                         \
    X(FAR_EL1, 3, 0, 6, 0, 0, ACC_RW1, 0, ALL)                                                     \
    X(PAR_EL1, 3, 0, 7, 4, 0, ACC_RW1, 0, ALL)                                                     \
    X(MAIR_EL1, 3, 0, 10, 2, 0, ACC_RW1, 0, ALL)                                                   \
    X(AMAIR_EL1, 3, 0, 10, 3, 0, ACC_RW1, 0, 0)                                                    \
    X(LORSA_EL1, 3, 0, 10, 4, 0, ACC_RW1, 0, 0)                                                    \
    X(LOREA_EL1, 3, 0, 10, 4, 1, ACC_RW1, 0, 0)                                                    \
    X(LORN_EL1, 3, 0, 10, 4, 2, ACC_RW1, 0, 0)                                                     \
    X(LORC_EL1, 3, 0, 10, 4, 3, ACC_RW1, 0, 0)                                                     \
    X(VBAR_EL1, 3, 0, 12, 0, 0, ACC_RW1, 0, ~UINT64_C(0x7ff))                                      \
    X(RVBAR_EL1, 3, 0, 12, 0, 1, ACC_R1, 0, 0)                                                     \
    X(ISR_EL1, 3, 0, 12, 1, 0, ACC_R1, 0, 0)                                                       \
    X(CONTEXTIDR_EL1, 3, 0, 13, 0, 1, ACC_RW1, 0, 0xffffffff)                                      \
    X(TPIDR_EL1, 3, 0, 13, 0, 4, ACC_RW1, 0, ALL)                                                  \
    X(SCXTNUM_EL1, 3, 0, 13, 0, 7, ACC_RW1, 0, ALL)                                                \
    X(CNTKCTL_EL1, 3, 0, 14, 1, 0, ACC_RW1, 0, 0x3ff)                                              \
    X(CCSIDR_EL1, 3, 1, 0, 0, 0, ACC_R1, 0, 0)                                                     \
    X(CSSELR_EL1, 3, 2, 0, 0, 0, ACC_RW1, 0, 0xf)                                                  \
    X(NZCV, 3, 3, 4, 2, 0, ACC_RW, 0, 0)                                                           \
    X(DAIF, 3, 3, 4, 2, 1, ACC_RW, 0, 0)                                                           \
    X(SSBS, 3, 3, 4, 2, 6, ACC_RW, 0, 0)                                                           \
    X(FPCR, 3, 3, 4, 4, 0, ACC_RW, 0, 0)                                                           \
    X(FPSR, 3, 3, 4, 4, 1, ACC_RW, 0, 0)                                                           \
    X(TPIDR_EL0, 3, 3, 13, 0, 2, ACC_RW, 0, ALL)                                                   \
    X(TPIDRRO_EL0, 3, 3, 13, 0, 3, ACC_RW1 | ACC_R0, 0, ALL)                                       \
    X(SCXTNUM_EL0, 3, 3, 13, 0, 7, ACC_RW, 0, ALL)                                                 \
    X(CNTFRQ_EL0, 3, 3, 14, 0, 0, ACC_RW1 | ACC_R0, COUNTER_HZ, 0xffffffff)                        \
    X(OSDTRRX_EL1, 2, 0, 0, 0, 2, ACC_RW1, 0, 0)                                                   \
    X(MDCCINT_EL1, 2, 0, 0, 2, 0, ACC_RW1, 0, 0)                                                   \
    X(MDSCR_EL1, 2, 0, 0, 2, 2, ACC_RW1, 0, 0xf001)                                                \
    X(OSDTRTX_EL1, 2, 0, 0, 3, 2, ACC_RW1, 0, 0)                                                   \
    X(OSECCR_EL1, 2, 0, 0, 6, 2, ACC_RW1, 0, 0)                                                    \
    X(DBGBVR0_EL1, 2, 0, 0, 0, 4, ACC_RW1, 0, ALL)                                                 \
    X(DBGBVR1_EL1, 2, 0, 0, 1, 4, ACC_RW1, 0, ALL)                                                 \
    X(DBGBCR0_EL1, 2, 0, 0, 0, 5, ACC_RW1, 0, 0xffe1e7)                                            \
    X(DBGBCR1_EL1, 2, 0, 0, 1, 5, ACC_RW1, 0, 0xffe1e7)                                            \
    X(DBGWVR0_EL1, 2, 0, 0, 0, 6, ACC_RW1, 0, ~UINT64_C(3))                                        \
    X(DBGWVR1_EL1, 2, 0, 0, 1, 6, ACC_RW1, 0, ~UINT64_C(3))                                        \
    X(DBGWCR0_EL1, 2, 0, 0, 0, 7, ACC_RW1, 0, 0x1f1fffff)                                          \
    X(DBGWCR1_EL1, 2, 0, 0, 1, 7, ACC_RW1, 0, 0x1f1fffff)                                          \
    X(MDRAR_EL1, 2, 0, 1, 0, 0, ACC_R1, 0, 0)                                                      \
    X(OSLAR_EL1, 2, 0, 1, 0, 4, ACC_W1, 0, 0)                                                      \
    X(OSLSR_EL1, 2, 0, 1, 1, 4, ACC_R1, 0xa, 0)                                                    \
    X(OSDLR_EL1, 2, 0, 1, 3, 4, ACC_RW1, 0, 1)                                                     \
    X(DBGPRCR_EL1, 2, 0, 1, 4, 4, ACC_RW1, 0, 1)                                                   \
    X(DBGCLAIMSET_EL1, 2, 0, 7, 8, 6, ACC_RW1, 0, 0)                                               \
    X(DBGCLAIMCLR_EL1, 2, 0, 7, 9, 6, ACC_RW1, 0, 0)                                               \
    X(DBGAUTHSTATUS_EL1, 2, 0, 7, 14, 6, ACC_R1, 0, 0)                                             \
    X(MDCCSR_EL0, 2, 3, 0, 1, 0, ACC_RO, 0, 0)                                                     \
    X(DBGDTR_EL0, 2, 3, 0, 4, 0, ACC_RW, 0, 0)                                                     \
    X(DBGDTRX_EL0, 2, 3, 0, 5, 0, ACC_RW, 0, 0)

enum sysreg {
    SYSREG_NONE,
#define X(name, op0, op1, crn, crm, op2, access, reset, mask) SYSREG_##name,
    SYSREG_TABLE(X)
#undef X
        SYSREG_COUNT
};

struct cpu_sys {
    uint64_t reg[SYSREG_COUNT];
    _Atomic uint64_t interrupts; /* taken */
    uint64_t claim;              /* DBGCLAIM tag bits */
    unsigned unreturned;         /* exceptions in a row that were not returned from */
};

static inline uint64_t sysreg_get(const struct cpu *c, enum sysreg reg)
{
    return c->sys->reg[reg];
}

#define SCTLR_M     (UINT64_C(1) << 0)
#define SCTLR_A     (UINT64_C(1) << 1)
#define SCTLR_SA    (UINT64_C(1) << 3)
#define SCTLR_SA0   (UINT64_C(1) << 4)
#define SCTLR_UMA   (UINT64_C(1) << 9)
#define SCTLR_DZE   (UINT64_C(1) << 14)
#define SCTLR_UCT   (UINT64_C(1) << 15)
#define SCTLR_NTWI  (UINT64_C(1) << 16)
#define SCTLR_NTWE  (UINT64_C(1) << 18)
#define SCTLR_WXN   (UINT64_C(1) << 19)
#define SCTLR_TSCXT (UINT64_C(1) << 20)
#define SCTLR_SPAN  (UINT64_C(1) << 23)
#define SCTLR_UCI   (UINT64_C(1) << 26)
#define SCTLR_DSSBS (UINT64_C(1) << 44)
#define SCTLR_C_I   (UINT64_C(1) << 2 | UINT64_C(1) << 12) /* cacheability: kept, without effect */
#define SCTLR_WRITABLE                                                                             \
    (SCTLR_M | SCTLR_A | SCTLR_SA | SCTLR_SA0 | SCTLR_UMA | SCTLR_DZE | SCTLR_UCT | SCTLR_NTWI |   \
     SCTLR_NTWE | SCTLR_WXN | SCTLR_TSCXT | SCTLR_SPAN | SCTLR_UCI | SCTLR_DSSBS | SCTLR_C_I)

#define MDSCR_SS   (UINT64_C(1) << 0)
#define MDSCR_TDCC (UINT64_C(1) << 12)
#define MDSCR_KDE  (UINT64_C(1) << 13)
#define MDSCR_MDE  (UINT64_C(1) << 15)

/* Fills interp->sysreg_index. */
void sysreg_build_index(struct interp *interp);
void sysreg_reset(struct cpu *c);

/* MRS and MSR, with every check; they raise and do not return when the access is not allowed. */
uint64_t sysreg_read(struct cpu *c, uint32_t encoding, unsigned rt);
void sysreg_write(struct cpu *c, uint32_t encoding, unsigned rt, uint64_t value);

/* For snapshots and debuggers: no checks, no client. -ENOENT for what is not the engine's own. */
int sysreg_peek(struct cpu *c, uint32_t encoding, uint64_t *value);
int sysreg_poke(struct cpu *c, uint32_t encoding, uint64_t value);

/* Raises EC_SYSREG for an access by MRS, MSR or SYS (Arm ARM D19.2.37, ISS of EC 0x18). */
_Noreturn void sysreg_trap(struct cpu *c, uint32_t encoding, unsigned rt, bool read);

/* After CPACR_EL1 or EL changed. */
void sysreg_update_fp_trap(struct cpu *c);

#endif
