/* SPDX-License-Identifier: MIT */
/*
 * The fake engine: a vCPU that runs a list of steps instead of guest code, so that tests of the
 * machine and its devices can say what a guest does without writing one.
 */
#ifndef PV_ENGINE_FAKE_FAKE_H
#define PV_ENGINE_FAKE_FAKE_H

#include "engine/engine.h"

enum pv_fake_op {
    PV_FAKE_SET,   /* x[reg] = value */
    PV_FAKE_READ,  /* x[reg] = `size` bytes at `value`; reg 31 drops them */
    PV_FAKE_WRITE, /* `size` bytes at `value` = x[reg]; reg 31 is zero */
    PV_FAKE_HVC,   /* SMCCC call with x[0..17] */
    PV_FAKE_SMC,
    PV_FAKE_SYSREG_READ,  /* x[reg] = system register `value` */
    PV_FAKE_SYSREG_WRITE, /* system register `value` = x[reg] */
    PV_FAKE_WFI,
    PV_FAKE_JUMP,         /* to the step with number `value` */
    PV_FAKE_JUMP_IF_ZERO, /* the same when x[reg] is 0 */
};

struct pv_fake_step {
    enum pv_fake_op op;
    uint8_t reg;  /* 0 to 31; 31 is XZR */
    uint8_t size; /* 1, 2, 4 or 8 */
    uint64_t value;
};

/*
 * What `vcpu` will do when powered on: PC counts steps from `entry`, 4 each. The steps stay the
 * caller's and must outlive the engine. Only while the vCPU is off. Running past the last step, an
 * access to nothing, or a system register nobody knows is fatal.
 */
void pv_fake_set_program(struct pv_vcpu *vcpu, const struct pv_fake_step *steps, size_t count);

#endif
