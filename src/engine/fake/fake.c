/* SPDX-License-Identifier: MIT */
#include "engine/fake/fake.h"

#include "base/error.h"
#include "base/util.h"
#include "engine/engine_impl.h"
#include "memory/address_space.h"

#include <errno.h>
#include <inttypes.h>

struct fake {
    const struct pv_fake_step *steps;
    size_t count;
};

struct fake_vcpu {
    struct pv_vcpu_state state;
    uint64_t entry;
    _Atomic uint64_t steps_done;
    _Atomic uint64_t mmio_exits;
};

static int fake_create(struct pv_engine *engine, struct pv_error **err)
{
    engine->impl = calloc(engine->config.vcpus, sizeof(struct fake));
    return engine->impl ? 0 : pv_error_set(err, ENOMEM, "out of memory");
}

static void fake_destroy(struct pv_engine *engine)
{
    free(engine->impl);
}

static int fake_vcpu_create(struct pv_vcpu *vcpu, struct pv_error **err)
{
    vcpu->impl = calloc(1, sizeof(struct fake_vcpu));
    return vcpu->impl ? 0 : pv_error_set(err, ENOMEM, "out of memory");
}

static void fake_vcpu_destroy(struct pv_vcpu *vcpu)
{
    free(vcpu->impl);
}

void pv_fake_set_program(struct pv_vcpu *vcpu, const struct pv_fake_step *steps, size_t count)
{
    struct fake *fake = vcpu->engine->impl;
    fake[vcpu->index] = (struct fake){.steps = steps, .count = count};
}

static void fake_reset(struct pv_vcpu *vcpu, uint64_t entry, uint64_t context)
{
    struct fake_vcpu *v = vcpu->impl;
    v->state = (struct pv_vcpu_state){.pc = entry, .pstate = 0x3c5};
    v->state.x[0] = context;
    v->entry = entry;
}

static uint64_t get_x(const struct fake_vcpu *v, unsigned reg)
{
    return reg < 31 ? v->state.x[reg] : 0;
}

static void set_x(struct fake_vcpu *v, unsigned reg, uint64_t value)
{
    if (reg < 31)
        v->state.x[reg] = value;
}

static int access_memory(struct pv_vcpu *vcpu, const struct pv_fake_step *step,
                         struct pv_error **err)
{
    struct fake_vcpu *v = vcpu->impl;
    struct pv_address_space *as = vcpu->engine->config.as;
    uint64_t value = get_x(v, step->reg);
    bool write = step->op == PV_FAKE_WRITE;

    atomic_fetch_add_explicit(&v->mmio_exits, 1, memory_order_relaxed);
    if (step->size < 8)
        value &= (UINT64_C(1) << 8 * step->size) - 1;
    int ret = write ? pv_as_cpu_write(as, step->value, step->size, value)
                    : pv_as_cpu_read(as, step->value, step->size, &value);
    if (ret < 0)
        return pv_error_set(err, EFAULT, "nothing at %#" PRIx64, step->value);
    if (!write)
        set_x(v, step->reg, value);
    return 0;
}

static int access_sysreg(struct pv_vcpu *vcpu, const struct pv_fake_step *step,
                         struct pv_error **err)
{
    struct fake_vcpu *v = vcpu->impl;
    const struct pv_engine_config *config = &vcpu->engine->config;
    uint32_t sysreg = (uint32_t)step->value;
    uint64_t value = get_x(v, step->reg);
    bool known;

    if (step->op == PV_FAKE_SYSREG_READ)
        known = config->client->sysreg_read &&
                config->client->sysreg_read(config->client_opaque, vcpu->index, sysreg, &value);
    else
        known = config->client->sysreg_write &&
                config->client->sysreg_write(config->client_opaque, vcpu->index, sysreg, value);
    if (!known)
        return pv_error_set(err, EINVAL, "system register %#x is nobody's", sysreg);
    set_x(v, step->reg, value);
    return 0;
}

/* Returns 0, 1 for a jump done, or a negative errno. */
static int do_step(struct pv_vcpu *vcpu, const struct pv_fake_step *step, struct pv_error **err)
{
    struct fake_vcpu *v = vcpu->impl;
    const struct pv_engine_config *config = &vcpu->engine->config;

    switch (step->op) {
    case PV_FAKE_SET: set_x(v, step->reg, step->value); return 0;
    case PV_FAKE_READ:
    case PV_FAKE_WRITE: return access_memory(vcpu, step, err);
    case PV_FAKE_SYSREG_READ:
    case PV_FAKE_SYSREG_WRITE: return access_sysreg(vcpu, step, err);
    case PV_FAKE_HVC:
    case PV_FAKE_SMC:
        config->client->smccc(config->client_opaque, vcpu->index, step->op == PV_FAKE_SMC,
                              v->state.x);
        return 0;
    case PV_FAKE_WFI: return 0;
    case PV_FAKE_JUMP_IF_ZERO:
        if (get_x(v, step->reg))
            return 0;
        break;
    case PV_FAKE_JUMP: break;
    }
    v->state.pc = v->entry + 4 * step->value;
    return 1;
}

static enum pv_exit fake_run(struct pv_vcpu *vcpu, struct pv_error **err)
{
    const struct fake *fake = (const struct fake *)vcpu->engine->impl + vcpu->index;
    struct fake_vcpu *v = vcpu->impl;

    while (!(atomic_load(&vcpu->attention) & ~(PV_ATTENTION_IRQ | PV_ATTENTION_FIQ))) {
        uint64_t at = (v->state.pc - v->entry) / 4;
        if (at >= fake->count) {
            pv_error_set(err, EINVAL, "the program ended at step %" PRIu64, at);
            return PV_EXIT_FATAL;
        }
        int ret = do_step(vcpu, &fake->steps[at], err);
        if (ret < 0)
            return PV_EXIT_FATAL;
        atomic_fetch_add_explicit(&v->steps_done, 1, memory_order_relaxed);
        if (ret == 0)
            v->state.pc += 4;
        if (fake->steps[at].op == PV_FAKE_WFI)
            return PV_EXIT_WFI;
    }
    return PV_EXIT_KICK;
}

static int fake_get_state(struct pv_vcpu *vcpu, struct pv_vcpu_state *state)
{
    *state = ((struct fake_vcpu *)vcpu->impl)->state;
    return 0;
}

static int fake_set_state(struct pv_vcpu *vcpu, const struct pv_vcpu_state *state)
{
    ((struct fake_vcpu *)vcpu->impl)->state = *state;
    return 0;
}

static int fake_get_sysreg(struct pv_vcpu *vcpu, uint32_t sysreg, uint64_t *value)
{
    return -ENOENT;
}

static int fake_set_sysreg(struct pv_vcpu *vcpu, uint32_t sysreg, uint64_t value)
{
    return -ENOENT;
}

static void fake_get_stats(const struct pv_vcpu *vcpu, struct pv_vcpu_stats *stats)
{
    const struct fake_vcpu *v = vcpu->impl;
    stats->instructions = atomic_load_explicit(&v->steps_done, memory_order_relaxed);
    stats->mmio_exits = atomic_load_explicit(&v->mmio_exits, memory_order_relaxed);
}

const struct pv_engine_ops pv_engine_fake = {
    .name = "fake",
    .description = "runs scripts instead of guest code; for tests",
    .test_only = true,
    .create = fake_create,
    .destroy = fake_destroy,
    .vcpu_create = fake_vcpu_create,
    .vcpu_destroy = fake_vcpu_destroy,
    .vcpu_reset = fake_reset,
    .vcpu_run = fake_run,
    .get_state = fake_get_state,
    .set_state = fake_set_state,
    .get_sysreg = fake_get_sysreg,
    .set_sysreg = fake_set_sysreg,
    .get_stats = fake_get_stats,
};
