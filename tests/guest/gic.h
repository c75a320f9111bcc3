/* SPDX-License-Identifier: MIT */
/* The interrupt controller of the guest programs' machine (GICv3, IHI 0069). */
#ifndef PV_TESTS_GUEST_GIC_H
#define PV_TESTS_GUEST_GIC_H

#include "lib.h"

#define GICD              0x08000000u
#define GICD_CTLR         0x0000
#define GICD_ISENABLER(n) (0x0100 + 4 * (n))
#define GICD_ISPENDR(n)   (0x0200 + 4 * (n))
#define GICD_ICPENDR(n)   (0x0280 + 4 * (n))
#define GICD_ISACTIVER(n) (0x0300 + 4 * (n))
#define GICD_IPRIORITYR   0x0400
#define GICD_IGROUPR(n)   (0x0080 + 4 * (n))
#define GICD_IROUTER(n)   (0x6000 + 8 * (n))

/* Redistributors: 128 KiB each, the frame of SGIs and PPIs in the upper half. */
#define GICR(cpu)       (0x080a0000u + 0x20000u * (cpu))
#define GICR_WAKER      0x0014
#define GICR_SGI        0x10000
#define GICR_IGROUPR0   (GICR_SGI + 0x080)
#define GICR_ISENABLER0 (GICR_SGI + 0x100)
#define GICR_ISPENDR0   (GICR_SGI + 0x200)
#define GICR_ICPENDR0   (GICR_SGI + 0x280)
#define GICR_ISACTIVER0 (GICR_SGI + 0x300)
#define GICR_IPRIORITYR (GICR_SGI + 0x400)

#define GICR_CTLR      0x0000
#define GICR_PROPBASER 0x0070
#define GICR_PENDBASER 0x0078
#define ENABLE_LPIS    (1u << 0)
#define LPIS_CLEARABLE (1u << 1) /* GICR_CTLR.CES: EnableLPIs can be cleared */

#define GITS          0x08080000u
#define GITS_CTLR     0x0000
#define GITS_TYPER    0x0008
#define GITS_CBASER   0x0080
#define GITS_CWRITER  0x0088
#define GITS_CREADR   0x0090
#define GITS_BASER(n) (0x0100 + 8 * (n))

#define SPURIOUS 1023u
#define IDLE     0xffu /* ICC_RPR_EL1 without an active interrupt */

/*
 * Instructions that a CPU describes to a hypervisor (Arm ARM, ESR_ELx.ISV): without write-back, for
 * which compilers have a liking.
 */
static inline uint32_t gic_read(uint32_t at)
{
    uint32_t value;
    asm volatile("ldr %w0, [%1]" : "=r"(value) : "r"((uint64_t)at) : "memory");
    return value;
}

static inline void gic_write(uint32_t at, uint32_t value)
{
    asm volatile("str %w0, [%1]" ::"r"(value), "r"((uint64_t)at) : "memory");
}

static inline uint64_t gic_read64(uint32_t at)
{
    uint64_t value;
    asm volatile("ldr %0, [%1]" : "=r"(value) : "r"((uint64_t)at) : "memory");
    return value;
}

static inline void gic_write64(uint32_t at, uint64_t value)
{
    asm volatile("str %0, [%1]" ::"r"(value), "r"((uint64_t)at) : "memory");
}

static inline void gic_set_priority(uint32_t base, unsigned intid, uint8_t priority)
{
    asm volatile("strb %w0, [%1]" ::"r"(priority), "r"((uint64_t)base + intid) : "memory");
}

/* This PE's redistributor awake and all its SGIs and PPIs enabled, in group 1, at priority 0x80. */
static inline void gic_init(unsigned cpu)
{
    gic_write(GICD + GICD_CTLR, 0x13); /* ARE, both groups */
    gic_write(GICR(cpu) + GICR_WAKER, 0);
    gic_write(GICR(cpu) + GICR_IGROUPR0, 0xffffffff);
    gic_write(GICR(cpu) + GICR_ISENABLER0, 0xffffffff);
    for (unsigned intid = 0; intid < 32; intid++)
        gic_set_priority(GICR(cpu) + GICR_IPRIORITYR, intid, 0x80);
    WRITE_SYSREG(icc_sre_el1, 7);
    WRITE_SYSREG(icc_pmr_el1, 0xff);
    WRITE_SYSREG(icc_ctlr_el1, 0);
    WRITE_SYSREG(icc_bpr1_el1, 3);
    WRITE_SYSREG(icc_igrpen0_el1, 1);
    WRITE_SYSREG(icc_igrpen1_el1, 1);
}

/* An SGI of group 1 to the PEs in the mask (all of Aff1..3 = 0). */
static inline void gic_send(unsigned intid, unsigned mask)
{
    WRITE_SYSREG(icc_sgi1r_el1, (uint64_t)intid << 24 | mask);
}

#endif
