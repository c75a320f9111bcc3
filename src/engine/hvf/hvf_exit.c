/* SPDX-License-Identifier: MIT */
/*
 * Exceptions that the guest's code takes to us. The syndrome is ESR_EL2's (Arm ARM D19.2.37). The
 * PC is that of the instruction, which we emulate and step over; only HVC has been executed
 * already.
 */
#include "engine/hvf/hvf.h"

#include "base/error.h"
#include "base/log.h"
#include "base/util.h"

#include <errno.h>
#include <inttypes.h>

enum {
    EC_UNKNOWN = 0x00,
    EC_WFX = 0x01,
    EC_HVC64 = 0x16,
    EC_SMC64 = 0x17,
    EC_SYSREG = 0x18,
    EC_IABORT_LOWER = 0x20,
    EC_DABORT_LOWER = 0x24,
};

#define ESR_EL1      PV_SYSREG(3, 0, 5, 2, 0)
#define FAR_EL1      PV_SYSREG(3, 0, 6, 0, 0)
#define ELR_EL1      PV_SYSREG(3, 0, 4, 0, 1)
#define SPSR_EL1     PV_SYSREG(3, 0, 4, 0, 0)
#define VBAR_EL1     PV_SYSREG(3, 0, 12, 0, 0)
#define FSC_MASK     0x3fu
#define FSC_EXTERNAL 0x10u

static void step_over(struct hvf_vcpu *v)
{
    hvf_set_reg(v, HV_REG_PC, hvf_reg(v, HV_REG_PC) + 4);
}

/* Register 31 of an instruction is zero; of the framework it is the PC. */
static uint64_t data_register(struct hvf_vcpu *v, unsigned n)
{
    return n == 31 ? 0 : hvf_reg(v, HV_REG_X0 + n);
}

static void set_data_register(struct hvf_vcpu *v, unsigned n, uint64_t value)
{
    if (n != 31)
        hvf_set_reg(v, HV_REG_X0 + n, value);
}

/* A synchronous exception to EL1 at the instruction (Arm ARM D1.3.5); FAR is the caller's. */
static void inject(struct hvf_vcpu *v, unsigned ec, uint32_t iss)
{
    const uint64_t pstate = hvf_reg(v, HV_REG_CPSR);
    const unsigned from = pstate & 0xf;
    /* Behind the vectors for SP_EL0 come those for SP_EL1, then those for a lower level. */
    const uint64_t vector = from == 0 ? 0x400 : from == 5 ? 0x200 : 0;

    hvf_set_sysreg(v, ESR_EL1, (uint64_t)ec << 26 | 1u << 25 | iss);
    hvf_set_sysreg(v, ELR_EL1, hvf_reg(v, HV_REG_PC));
    hvf_set_sysreg(v, SPSR_EL1, pstate);
    hvf_set_reg(v, HV_REG_CPSR, 0x3c5); /* EL1h, DAIF masked */
    hvf_set_reg(v, HV_REG_PC, hvf_sysreg(v, VBAR_EL1) + vector);
}

/* An external abort; the class says whether it came from a lower level. */
static void inject_abort(struct hvf_vcpu *v, unsigned lower_class, uint32_t write, uint64_t address)
{
    const bool same = hvf_reg(v, HV_REG_CPSR) & 0xc;

    hvf_set_sysreg(v, FAR_EL1, address);
    inject(v, lower_class + same, write | FSC_EXTERNAL);
}

/* ---- Devices ---- */

#define ISS_WNR (1u << 6)

/* The parts of a data abort's ISS. */
struct access {
    bool described, sign, wide, write, cache;
    unsigned size, reg, fsc;
};

static struct access decode(uint64_t syndrome)
{
    return (struct access){
        .described = syndrome >> 24 & 1,
        .size = 1u << (syndrome >> 22 & 3),
        .sign = syndrome >> 21 & 1,
        .reg = syndrome >> 16 & 31,
        .wide = syndrome >> 15 & 1,
        .cache = syndrome >> 8 & 1,
        .write = syndrome >> 6 & 1,
        .fsc = syndrome & FSC_MASK,
    };
}

static uint64_t extend(const struct access *a, uint64_t value)
{
    if (a->sign)
        value = (uint64_t)pv_sext(value, a->size * 8);
    return a->wide ? value : (uint32_t)value;
}

static void data_abort(struct pv_vcpu *vcpu)
{
    struct pv_address_space *as = vcpu->engine->config.as;
    struct hvf_vcpu *v = vcpu->impl;
    const hv_vcpu_exit_exception_t *e = &v->exit->exception;
    const struct access a = decode(e->syndrome);
    uint64_t value = 0;
    int ret = -EFAULT;

    if (a.write && (a.fsc & 0x3c) == 0xc &&
        hvf_memory_write_logged(vcpu->engine->impl, e->physical_address))
        return; /* it runs again */
    atomic_fetch_add_explicit(&v->mmio_exits, 1, memory_order_relaxed);
    if (a.cache) {
        ret = 0; /* cache maintenance by address: nothing is cached of a device */
    } else if (!a.described) {
        pv_debug(PV_LOG_ENGINE, "vCPU %u: undescribed access to a device at %#" PRIx64, vcpu->index,
                 e->physical_address);
    } else if (a.write) {
        value = data_register(v, a.reg) & (UINT64_MAX >> (64 - 8 * a.size));
        ret = pv_as_cpu_write(as, e->physical_address, a.size, value);
    } else {
        ret = pv_as_cpu_read(as, e->physical_address, a.size, &value);
        if (ret >= 0)
            set_data_register(v, a.reg, extend(&a, value));
    }
    if (ret < 0)
        inject_abort(v, EC_DABORT_LOWER, a.write ? ISS_WNR : 0, e->virtual_address);
    else
        step_over(v);
}

/* ---- Calls and system registers ---- */

static void call(struct pv_vcpu *vcpu, bool smc)
{
    const struct pv_engine_config *config = &vcpu->engine->config;
    struct hvf_vcpu *v = vcpu->impl;
    uint64_t x[18];

    for (unsigned i = 0; i < PV_ARRAY_SIZE(x); i++)
        x[i] = hvf_reg(v, HV_REG_X0 + i);
    if (smc)
        step_over(v);
    config->client->smccc(config->client_opaque, vcpu->index, smc, x);
    for (unsigned i = 0; i < PV_ARRAY_SIZE(x); i++)
        hvf_set_reg(v, HV_REG_X0 + i, x[i]);
}

/*
 * Registers that trap and are nobody's: the debug and trace ones, among them the OS lock that Linux
 * opens at boot, and the PMU's. They read as zero and ignore writes.
 */
static bool is_ignored(uint32_t sysreg)
{
    const unsigned op0 = sysreg >> 14 & 3, op1 = sysreg >> 11 & 7, crn = sysreg >> 7 & 15;
    const unsigned crm = sysreg >> 3 & 15;

    return op0 == 2 || (op0 == 3 && crn == 9 && crm >= 12 && (op1 == 0 || op1 == 3)) ||
           (op0 == 3 && op1 == 3 && crn == 14 && crm >= 8);
}

#define CNTPCT_EL0    PV_SYSREG(3, 3, 14, 0, 1)
#define CNTP_TVAL_EL0 PV_SYSREG(3, 3, 14, 2, 0)
#define CNTP_CVAL_EL0 PV_SYSREG(3, 3, 14, 2, 2)

/*
 * The physical counter is the virtual one: of the client's there would be a little between them. So
 * what is relative to it, CNTP_TVAL, is by the same one, and the client's timer only has CNTP_CVAL.
 */
static bool read_sysreg(struct pv_vcpu *vcpu, uint32_t sysreg, uint64_t *value)
{
    const struct pv_engine_config *config = &vcpu->engine->config;
    const struct pv_engine_client *client = config->client;
    const bool relative = sysreg == CNTP_TVAL_EL0;
    uint64_t now = 0;

    if (sysreg == CNTPCT_EL0)
        return vcpu->engine->ops->timer->get_counter(vcpu->engine, value) >= 0;
    if (!client->sysreg_read || !client->sysreg_read(config->client_opaque, vcpu->index,
                                                     relative ? CNTP_CVAL_EL0 : sysreg, value))
        return is_ignored(sysreg);
    if (relative && vcpu->engine->ops->timer->get_counter(vcpu->engine, &now) >= 0)
        *value = (uint32_t)(*value - now);
    return true;
}

static bool write_sysreg(struct pv_vcpu *vcpu, uint32_t sysreg, uint64_t value)
{
    const struct pv_engine_config *config = &vcpu->engine->config;
    const struct pv_engine_client *client = config->client;
    uint64_t now = 0;

    if (sysreg == CNTP_TVAL_EL0 && vcpu->engine->ops->timer->get_counter(vcpu->engine, &now) >= 0) {
        sysreg = CNTP_CVAL_EL0;
        value = now + (uint64_t)pv_sext(value, 32);
    }
    return (client->sysreg_write &&
            client->sysreg_write(config->client_opaque, vcpu->index, sysreg, value)) ||
           is_ignored(sysreg);
}

static void sysreg_access(struct pv_vcpu *vcpu)
{
    struct hvf_vcpu *v = vcpu->impl;
    const uint64_t iss = v->exit->exception.syndrome;
    const unsigned reg = iss >> 5 & 31;
    const uint32_t sysreg =
        PV_SYSREG(iss >> 20 & 3, iss >> 14 & 7, iss >> 10 & 15, iss >> 1 & 15, iss >> 17 & 7);
    uint64_t value = 0;
    const bool known = iss & 1 ? read_sysreg(vcpu, sysreg, &value)
                               : write_sysreg(vcpu, sysreg, data_register(v, reg));

    if (!known) {
        inject(v, EC_UNKNOWN, 0);
        return;
    }
    if (iss & 1)
        set_data_register(v, reg, value);
    step_over(v);
}

enum pv_exit hvf_exception(struct pv_vcpu *vcpu, struct pv_error **err)
{
    struct hvf_vcpu *v = vcpu->impl;
    const uint64_t syndrome = v->exit->exception.syndrome;

    switch (syndrome >> 26 & 0x3f) {
    case EC_WFX: step_over(v); return syndrome & 1 ? PV_EXIT_KICK : PV_EXIT_WFI; /* TI: WFE */
    case EC_HVC64: call(vcpu, false); return PV_EXIT_KICK;
    case EC_SMC64: call(vcpu, true); return PV_EXIT_KICK;
    case EC_SYSREG: sysreg_access(vcpu); return PV_EXIT_KICK;
    case EC_DABORT_LOWER: data_abort(vcpu); return PV_EXIT_KICK;
    case EC_IABORT_LOWER:
        inject_abort(v, EC_IABORT_LOWER, 0, v->exit->exception.virtual_address);
        return PV_EXIT_KICK;
    default:
        pv_error_set(err, EIO,
                     "unexpected exception from the guest: syndrome %#" PRIx64 " at PC %#" PRIx64,
                     syndrome, hvf_reg(v, HV_REG_PC));
        return PV_EXIT_FATAL;
    }
}
