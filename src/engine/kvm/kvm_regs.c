/* SPDX-License-Identifier: MIT */
/*
 * Registers, one at a time (KVM_GET_ONE_REG). KVM numbers system registers by their encoding, as we
 * do; the exceptions are those that it keeps with the general registers, and the virtual timer's,
 * two of which have each other's number since the interface was made (api.rst, 4.68).
 */
#include "engine/kvm/kvm.h"

#include "base/util.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

int kvm_get_reg(const struct kvm_vcpu *v, uint64_t id, uint64_t *value)
{
    struct kvm_one_reg reg = {.id = id, .addr = (uintptr_t)value};
    return ioctl(v->fd, KVM_GET_ONE_REG, &reg) < 0 ? -errno : 0;
}

int kvm_set_reg(const struct kvm_vcpu *v, uint64_t id, uint64_t value)
{
    struct kvm_one_reg reg = {.id = id, .addr = (uintptr_t)&value};
    return ioctl(v->fd, KVM_SET_ONE_REG, &reg) < 0 ? -errno : 0;
}

/* ---- The general state ---- */

/* Where a field of pv_vcpu_state is in KVM: number of the first register, and how many follow. */
struct field {
    uint64_t first;
    size_t offset;
    unsigned count, size; /* size is of one, in bytes */
};

#define REG(size, field)                                                                           \
    (KVM_REG_ARM64 | KVM_REG_SIZE_##size | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(field))
#define FIELD(bits, field, member, n, bytes)                                                       \
    {                                                                                              \
        REG(bits, field), offsetof(struct pv_vcpu_state, member), n, bytes                         \
    }

static const struct field fields[] = {
    FIELD(U64, regs.regs[0], x, 31, 8),    FIELD(U64, regs.sp, sp_el0, 1, 8),
    FIELD(U64, sp_el1, sp_el1, 1, 8),      FIELD(U64, regs.pc, pc, 1, 8),
    FIELD(U64, regs.pstate, pstate, 1, 8), FIELD(U128, fp_regs.vregs[0], v, 32, 16),
    FIELD(U32, fp_regs.fpsr, fpsr, 1, 4),  FIELD(U32, fp_regs.fpcr, fpcr, 1, 4),
};

static int transfer(const struct kvm_vcpu *v, unsigned long request, void *state)
{
    for (size_t i = 0; i < PV_ARRAY_SIZE(fields); i++) {
        for (unsigned n = 0; n < fields[i].count; n++) {
            struct kvm_one_reg reg = {
                /* Register numbers count 32-bit words. */
                .id = fields[i].first + n * (fields[i].size / 4),
                .addr = (uintptr_t)state + fields[i].offset + n * fields[i].size,
            };
            if (ioctl(v->fd, request, &reg) < 0)
                return -errno;
        }
    }
    return 0;
}

int kvm_get_state(struct pv_vcpu *vcpu, struct pv_vcpu_state *state)
{
    memset(state, 0, sizeof(*state));
    return transfer(vcpu->impl, KVM_GET_ONE_REG, state);
}

int kvm_set_state(struct pv_vcpu *vcpu, const struct pv_vcpu_state *state)
{
    struct pv_vcpu_state copy = *state;
    return transfer(vcpu->impl, KVM_SET_ONE_REG, &copy);
}

/* ---- System registers ---- */

static uint64_t number_of(uint32_t sysreg)
{
    switch (sysreg) {
    case PV_SYSREG(3, 0, 4, 0, 0): return KVM_CORE_REG(spsr[0]); /* SPSR_EL1 */
    case PV_SYSREG(3, 0, 4, 0, 1): return KVM_CORE_REG(elr_el1);
    case PV_SYSREG(3, 3, 14, 0, 2): return KVM_REG_ARM_TIMER_CNT;  /* CNTVCT_EL0 */
    case PV_SYSREG(3, 3, 14, 3, 2): return KVM_REG_ARM_TIMER_CVAL; /* CNTV_CVAL_EL0 */
    default: return KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM64_SYSREG | sysreg;
    }
}

int kvm_get_sysreg(struct pv_vcpu *vcpu, uint32_t sysreg, uint64_t *value)
{
    /* KVM has no number for it, as it shows guests what it shows us. */
    if (sysreg == PV_SYSREG(3, 3, 0, 0, 7)) {
        asm volatile("mrs %0, dczid_el0" : "=r"(*value));
        return 0;
    }
    return kvm_get_reg(vcpu->impl, number_of(sysreg), value);
}

int kvm_set_sysreg(struct pv_vcpu *vcpu, uint32_t sysreg, uint64_t value)
{
    return kvm_set_reg(vcpu->impl, number_of(sysreg), value);
}
