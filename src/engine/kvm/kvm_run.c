/* SPDX-License-Identifier: MIT */
/*
 * Running a vCPU: enter the guest, look why it came back, answer, again.
 *
 * Kicks. A flag is not enough to get a thread out of KVM_RUN, so it is sent a signal that is
 * blocked in the thread at all times except inside KVM_RUN (KVM_SET_SIGNAL_MASK). One that comes at
 * any moment before is therefore still pending on the way in and KVM_RUN returns at once; no
 * handler ever runs, and the process's signal dispositions stay as they were.
 *
 * Pending work. KVM finishes an MMIO read (writes the register, moves the PC) on the way into the
 * next KVM_RUN. Before anyone may look at the state, or change it, that has to have happened: when
 * a vCPU stops after an exit it goes in once more with immediate_exit set, which does this and no
 * more.
 *
 * Calls. The VM forwards the guest's PSCI calls to us (kvm.c), so that there is one PSCI for all
 * engines. KVM has moved the PC beyond the HVC by then.
 */
#include "engine/kvm/kvm.h"

#include "base/error.h"
#include "base/log.h"
#include "base/util.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

/* sizeof(sigset_t) is the C library's; this is the kernel's. */
#define KERNEL_SIGSET 8

int kvm_run_setup(struct pv_vcpu *vcpu, struct pv_error **err)
{
    struct kvm_vcpu *v = vcpu->impl;
    struct {
        struct kvm_signal_mask head;
        uint8_t set[KERNEL_SIGSET];
    } mask = {.head.len = KERNEL_SIGSET};
    sigset_t blocked;

    sigemptyset(&blocked);
    sigaddset(&blocked, KVM_KICK_SIGNAL);
    pthread_sigmask(SIG_BLOCK, &blocked, NULL);
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    sigdelset(&blocked, KVM_KICK_SIGNAL);
    memcpy(mask.head.sigset, &blocked, KERNEL_SIGSET);
    if (ioctl(v->fd, KVM_SET_SIGNAL_MASK, &mask) < 0)
        return pv_error_errno(err, errno, "KVM_SET_SIGNAL_MASK");
    return 0;
}

void kvm_kick(struct pv_vcpu *vcpu)
{
    pthread_kill(vcpu->thread, KVM_KICK_SIGNAL);
}

static void take_kick(void)
{
    const struct timespec now = {0};
    sigset_t kick;

    sigemptyset(&kick);
    sigaddset(&kick, KVM_KICK_SIGNAL);
    while (sigtimedwait(&kick, NULL, &now) >= 0) {
    }
}

/* ---- Exits ---- */

/* As if the access had met nothing that answers: a synchronous external abort. */
static void inject_abort(struct kvm_vcpu *v)
{
    struct kvm_vcpu_events events = {.exception.ext_dabt_pending = 1};
    if (ioctl(v->fd, KVM_SET_VCPU_EVENTS, &events) < 0)
        pv_error_log(PV_LOG_ENGINE, "KVM_SET_VCPU_EVENTS: %s", strerror(errno));
}

static void do_mmio(struct pv_vcpu *vcpu)
{
    struct pv_address_space *as = vcpu->engine->config.as;
    struct kvm_vcpu *v = vcpu->impl;
    const uint64_t address = v->run->mmio.phys_addr;
    const unsigned size = v->run->mmio.len;
    uint64_t value = 0;
    int ret;

    atomic_fetch_add_explicit(&v->mmio_exits, 1, memory_order_relaxed);
    if (v->run->mmio.is_write) {
        memcpy(&value, v->run->mmio.data, size);
        ret = pv_as_cpu_write(as, address, size, value);
    } else {
        ret = pv_as_cpu_read(as, address, size, &value);
        memcpy(v->run->mmio.data, &value, size);
    }
    if (ret < 0)
        inject_abort(v);
}

/* The CPU did not say what the access was: a load of a pair, a vector, with write-back. */
static void do_undescribed(struct pv_vcpu *vcpu)
{
    struct kvm_vcpu *v = vcpu->impl;

    if (!v->nisv_logged)
        pv_warn(PV_LOG_ENGINE,
                "vCPU %u: access to a device at %#" PRIx64
                " by an instruction that CPUs do not describe to hypervisors: it is aborted",
                vcpu->index, (uint64_t)v->run->arm_nisv.fault_ipa);
    v->nisv_logged = true;
    inject_abort(v);
}

static int do_call(struct pv_vcpu *vcpu, struct pv_error **err)
{
    const struct pv_engine_config *config = &vcpu->engine->config;
    struct kvm_vcpu *v = vcpu->impl;
    uint64_t before[18], x[18];
    uint32_t flags;
    int ret = 0;

    memcpy(&flags, &v->run->hypercall.longmode, sizeof(flags));
    for (unsigned i = 0; i < PV_ARRAY_SIZE(x) && !ret; i++)
        ret = kvm_get_reg(v, KVM_CORE_REG(regs.regs[0]) + 2 * i, &x[i]);
    memcpy(before, x, sizeof(x));
    if (!ret)
        config->client->smccc(config->client_opaque, vcpu->index, flags & KVM_CALL_IS_SMC, x);
    for (unsigned i = 0; i < PV_ARRAY_SIZE(x) && !ret; i++)
        if (x[i] != before[i])
            ret = kvm_set_reg(v, KVM_CORE_REG(regs.regs[0]) + 2 * i, x[i]);
    return ret ? pv_error_errno(err, -ret, "a call's registers") : 0;
}

static int describe_failure(struct kvm_vcpu *v, struct pv_error **err)
{
    uint64_t pc = 0;

    kvm_get_reg(v, KVM_CORE_REG(regs.pc), &pc);
    switch (v->run->exit_reason) {
    case KVM_EXIT_FAIL_ENTRY:
        return pv_error_set(err, EIO, "the CPU cannot enter the guest (reason %#" PRIx64 ")",
                            (uint64_t)v->run->fail_entry.hardware_entry_failure_reason);
    case KVM_EXIT_INTERNAL_ERROR:
        return pv_error_set(err, EIO, "KVM's internal error %u at PC %#" PRIx64,
                            v->run->internal.suberror, pc);
    default:
        return pv_error_set(err, EIO, "unexpected exit %u from KVM at PC %#" PRIx64,
                            v->run->exit_reason, pc);
    }
}

/* Answers an exit; PV_EXIT_KICK: the vCPU may go on. */
static enum pv_exit answer(struct pv_vcpu *vcpu, struct pv_error **err)
{
    struct kvm_vcpu *v = vcpu->impl;

    switch (v->run->exit_reason) {
    case KVM_EXIT_INTR: return PV_EXIT_KICK;
    case KVM_EXIT_MMIO: do_mmio(vcpu); return PV_EXIT_KICK;
    case KVM_EXIT_ARM_NISV: do_undescribed(vcpu); return PV_EXIT_KICK;
    case KVM_EXIT_HYPERCALL: return do_call(vcpu, err) < 0 ? PV_EXIT_FATAL : PV_EXIT_KICK;
    case KVM_EXIT_SYSTEM_EVENT:
        if (v->run->system_event.type == KVM_SYSTEM_EVENT_WAKEUP)
            return PV_EXIT_WAKE;
        break;
    default: break;
    }
    describe_failure(v, err);
    return PV_EXIT_FATAL;
}

/* Enters the guest; 0 when there is an exit to answer, 1 when there is none. */
static int enter(struct kvm_vcpu *v, struct pv_error **err)
{
    if (ioctl(v->fd, KVM_RUN, 0) == 0)
        return 0;
    if (errno == EINTR || errno == EAGAIN) {
        take_kick();
        return 1;
    }
    return v->run->exit_reason == KVM_EXIT_UNKNOWN ? pv_error_errno(err, errno, "KVM_RUN")
                                                   : describe_failure(v, err);
}

/* What the last exit left to be done on the way in. */
static int finish_exit(struct kvm_vcpu *v, struct pv_error **err)
{
    v->run->immediate_exit = 1;
    int ret = enter(v, err);
    v->run->immediate_exit = 0;
    return PV_MIN(ret, 0);
}

enum pv_exit kvm_run(struct pv_vcpu *vcpu, struct pv_error **err)
{
    struct kvm_vcpu *v = vcpu->impl;
    bool answered = false;

    if (v->error) {
        if (err)
            *err = PV_STEAL(v->error);
        return PV_EXIT_FATAL;
    }
    while (!atomic_load(&vcpu->attention)) {
        int ret = enter(v, err);
        if (ret < 0)
            return PV_EXIT_FATAL;
        answered = ret == 0;
        enum pv_exit why = answered ? answer(vcpu, err) : PV_EXIT_KICK;
        if (why != PV_EXIT_KICK)
            return why;
    }
    return answered && finish_exit(v, err) < 0 ? PV_EXIT_FATAL : PV_EXIT_KICK;
}
