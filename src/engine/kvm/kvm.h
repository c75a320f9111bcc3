/* SPDX-License-Identifier: MIT */
/* What the files of the KVM engine share. */
#ifndef PV_ENGINE_KVM_KVM_H
#define PV_ENGINE_KVM_KVM_H

#include "engine/engine_impl.h"
#include "memory/address_space.h"

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>

/*
 * Since Linux 6.4, and newer than the headers that we can count on (Documentation/virt/kvm/
 * devices/vm.rst, 6; api.rst, KVM_EXIT_HYPERCALL).
 */
#ifndef KVM_ARM_VM_SMCCC_FILTER
#define KVM_ARM_VM_SMCCC_CTRL   0
#define KVM_ARM_VM_SMCCC_FILTER 0

enum kvm_smccc_filter_action {
    KVM_SMCCC_FILTER_HANDLE = 0,
    KVM_SMCCC_FILTER_DENY,
    KVM_SMCCC_FILTER_FWD_TO_USER,
};

struct kvm_smccc_filter {
    __u32 base;
    __u32 nr_functions;
    __u8 action;
    __u8 pad[15];
};
#endif
#ifndef KVM_CAP_COUNTER_OFFSET
#define KVM_CAP_COUNTER_OFFSET 227

struct kvm_arm_counter_offset {
    __u64 counter_offset;
    __u64 reserved;
};
#define KVM_ARM_SET_COUNTER_OFFSET _IOW(KVMIO, 0xb5, struct kvm_arm_counter_offset)
#endif
#define KVM_CALL_IS_SMC 1u /* in the word of kvm_run that older headers call longmode */

/* What makes a vCPU's thread leave the guest. Only vCPU threads get it, and none is ever run. */
#define KVM_KICK_SIGNAL SIGUSR2

struct kvm_slot {
    bool used;
    struct pv_region_info region;
};

struct kvm {
    int system; /* /dev/kvm */
    int vm;
    int gic, its; /* devices; -1: not there */
    size_t run_size;
    struct pv_engine *engine;
    struct pv_as_listener listener;

    pthread_mutex_t slots_lock;
    struct kvm_slot *slots;
    unsigned slot_count;
    bool logging;

    uint64_t counter_offset; /* the host's counter minus the guest's */
    uint64_t *gic_initial;   /* what a reset goes back to */
};

struct kvm_vcpu {
    int fd;
    struct kvm_run *run;
    struct kvm_vcpu_init init;
    struct pv_error *error; /* of a reset; vcpu_run reports it */
    bool nisv_logged;
    _Atomic uint64_t mmio_exits;
};

static inline struct kvm *kvm_of(const struct pv_engine *engine)
{
    return engine->impl;
}

/* kvm_memory.c: RAM and ROM as memory slots of the VM. */
void kvm_memory_attach(struct kvm *kvm);
void kvm_memory_detach(struct kvm *kvm);

/* kvm_gic.c */
extern const struct pv_engine_gic_ops kvm_gic_ops;
extern const struct pv_engine_timer_ops kvm_timer_ops;
int kvm_gic_create(struct kvm *kvm, const struct pv_engine_gic_config *config,
                   struct pv_error **err);
/* When all vCPUs are there: starts the GIC, if there is one, and the counter. */
int kvm_gic_start(struct kvm *kvm, struct pv_error **err);
void kvm_gic_destroy(struct kvm *kvm);
void kvm_set_line(struct pv_vcpu *vcpu, enum pv_vcpu_line line, bool level);

/* kvm_run.c */
int kvm_run_setup(struct pv_vcpu *vcpu, struct pv_error **err);
enum pv_exit kvm_run(struct pv_vcpu *vcpu, struct pv_error **err);
void kvm_kick(struct pv_vcpu *vcpu);

/* kvm_regs.c: a register by its KVM_REG_* number; negative errno. */
int kvm_get_reg(const struct kvm_vcpu *v, uint64_t id, uint64_t *value);
int kvm_set_reg(const struct kvm_vcpu *v, uint64_t id, uint64_t value);
#define KVM_CORE_REG(field)                                                                        \
    (KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(field))
int kvm_get_state(struct pv_vcpu *vcpu, struct pv_vcpu_state *state);
int kvm_set_state(struct pv_vcpu *vcpu, const struct pv_vcpu_state *state);
int kvm_get_sysreg(struct pv_vcpu *vcpu, uint32_t sysreg, uint64_t *value);
int kvm_set_sysreg(struct pv_vcpu *vcpu, uint32_t sysreg, uint64_t value);

#endif
