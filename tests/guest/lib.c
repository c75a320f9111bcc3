/* SPDX-License-Identifier: MIT */
#include "lib.h"

#define TABLE __attribute__((aligned(4096)))

TABLE uint64_t level0[512];
TABLE uint64_t level1[512];
TABLE uint64_t level2[512];
TABLE uint64_t window[512];

#define SCTLR_RES1 UINT64_C(0x30d00980)
#define SCTLR_M    UINT64_C(1)
#define SCTLR_C_I  UINT64_C(0x1004)

/* What the compiler calls for copies of structs. */
void *memcpy(void *to, const void *from, size_t size);
void *memcpy(void *to, const void *from, size_t size)
{
    char *t = to;
    for (const char *f = from; size; size--)
        *t++ = *f++;
    return to;
}

_Noreturn void fail(unsigned line, uint64_t got, uint64_t wanted)
{
    device_write(DEVICE_GOT, got);
    device_write(DEVICE_WANTED, wanted);
    device_write(DEVICE_FAILED, line);
    for (;;)
        hvc_call(PSCI_CPU_OFF, 0, 0, 0);
}

void start_cpu(unsigned cpu)
{
    extern const char _start[];
    CHECK_EQ(hvc_call(PSCI_CPU_ON, cpu, (uintptr_t)_start, cpu), 0);
}

void set_sctlr(uint64_t bits)
{
    WRITE_SYSREG(sctlr_el1, SCTLR_RES1 | SCTLR_M | SCTLR_C_I | bits);
}

void map(unsigned page, uint64_t desc)
{
    *(volatile uint64_t *)&window[page] = desc;
    asm volatile("dsb ishst\n\ttlbi vaae1is, %0\n\tdsb ish\n\tisb" ::"r"((WINDOW >> 12) + page)
                 : "memory");
}

/* Every vCPU; they write the same tables, the first one before the others run. */
void guest_setup(void)
{
    if (!level0[0]) {
        level1[0] = DESC_VALID | DESC_AF | DESC_DEVICE | DESC_UXN | DESC_PXN;
        level1[1] = RAM_BASE | DESC_VALID | DESC_NORMAL | DESC_UXN;
        level1[2] = RAM_BASE | DESC_VALID | DESC_NORMAL | DESC_EL0;
        level1[3] = (uintptr_t)level2 | DESC_TABLE;
        level2[0] = (uintptr_t)window | DESC_TABLE;
        level0[0] = (uintptr_t)level1 | DESC_TABLE;
    }
    WRITE_SYSREG(mair_el1, 0x00ff);               /* 0: Normal write-back, 1: Device-nGnRnE */
    WRITE_SYSREG(tcr_el1, UINT64_C(0x280903510)); /* 48 bits, 4 KiB, 40-bit output, EPD1 */
    WRITE_SYSREG(ttbr0_el1, level0);
    WRITE_SYSREG(cntkctl_el1, 0);
    set_sctlr(SCTLR_SA | SCTLR_SA0);
}
