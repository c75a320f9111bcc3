/* SPDX-License-Identifier: MIT */
/* What the files of the simulated Hypervisor.framework share. */
#ifndef PV_HVF_SIM_SIM_H
#define PV_HVF_SIM_SIM_H

#include "engine/engine_impl.h"
#include "memory/address_space.h"

#include <Hypervisor/Hypervisor.h>
#include <pthread.h>
#include <stdatomic.h>

#define SIM_VCPUS 16u

struct sim_vcpu {
    _Atomic bool used;
    hv_vcpu_exit_t exit;
    struct pv_vcpu *vcpu; /* the interpreter's */
    _Atomic bool running; /* inside hv_vcpu_run */
    _Atomic bool cancel;  /* hv_vcpus_exit, also for the next run */
    bool left;            /* `exit` is filled in */
    bool pending[2];      /* IRQ, FIQ: for one run */
    /* The virtual timer. */
    _Atomic uint64_t ctl, cval, offset;
    _Atomic bool masked;
};

/* The framework has one VM a process and no handle for it. */
struct sim {
    pthread_mutex_t lock;   /* vCPUs come and go, mappings change */
    pthread_rwlock_t world; /* read: guest code runs */
    bool vm;
    struct pv_address_space *as;
    struct pv_engine *engine; /* the interpreter */
    struct sim_vcpu vcpus[SIM_VCPUS];
    _Atomic bool ending;
    pthread_t ticker;
};

/* The Mac: tests make it another one. */
struct sim_host {
    uint32_t vcpus, ipa_bits;
    hv_return_t refusal; /* of VMs; HV_SUCCESS: none */
};

extern struct sim sim;
extern struct sim_host sim_host;
extern _Thread_local struct sim_vcpu *sim_mine; /* the calling thread's, or NULL */

/* A rule was broken: says which, and aborts. */
_Noreturn void sim_broken(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The vCPU, which has to be the calling thread's. */
struct sim_vcpu *sim_own(hv_vcpu_t id);

/* No vCPU executes guest code in between. */
void sim_stop_world(void);
void sim_start_world(void);

/* sim_memory.c */
void sim_forget_mappings(void);

/* sim_run.c */
extern const struct pv_engine_client sim_client;
void *sim_ticker(void *unused);
bool sim_timer_fires(struct sim_vcpu *v);
uint64_t sim_timer_control(struct sim_vcpu *v);

#endif
