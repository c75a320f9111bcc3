/* SPDX-License-Identifier: MIT */
/* What the files of the Hypervisor.framework engine share. */
#ifndef PV_ENGINE_HVF_HVF_H
#define PV_ENGINE_HVF_HVF_H

#include "engine/engine_impl.h"
#include "memory/address_space.h"

#include <Hypervisor/Hypervisor.h>
#include <pthread.h>
#include <stdatomic.h>

struct hvf {
    struct pv_engine *engine;
    struct pv_as_listener listener;
    pthread_mutex_t lock;            /* a write that is logged against the log's start */
    _Atomic uint64_t counter_offset; /* the host's counter minus the guest's */
};

struct hvf_vcpu {
    hv_vcpu_t id;
    hv_vcpu_exit_t *exit;
    uint64_t *initial;       /* the registers of pv_engine_state_sysregs() as they were made */
    bool *exists;            /* which of them there are */
    uint64_t counter_offset; /* what hv_vcpu_set_vtimer_offset was last given */
    bool vtimer_fired;       /* masked by the framework until the guest has dealt with it */
    _Atomic uint64_t mmio_exits;
    uint64_t error; /* the first return value that was not HV_SUCCESS */
};

/* hvf_memory.c */
void hvf_memory_attach(struct hvf *hvf);
void hvf_memory_detach(struct hvf *hvf);
/* A write that the log had forbidden; false when it was something else. */
bool hvf_memory_write_logged(struct hvf *hvf, uint64_t address);

/* hvf_exit.c: answers an exception that the guest took to us; PV_EXIT_KICK: go on. */
enum pv_exit hvf_exception(struct pv_vcpu *vcpu, struct pv_error **err);

/* Registers of the calling thread's vCPU. A failure is kept in v->error. */
uint64_t hvf_reg(struct hvf_vcpu *v, hv_reg_t reg);
void hvf_set_reg(struct hvf_vcpu *v, hv_reg_t reg, uint64_t value);
uint64_t hvf_sysreg(struct hvf_vcpu *v, uint32_t sysreg);
void hvf_set_sysreg(struct hvf_vcpu *v, uint32_t sysreg, uint64_t value);

#endif
