/* SPDX-License-Identifier: MIT */
/*
 * The KVM engine, for ARM64 hosts that run Linux.
 *
 * One file descriptor stands for the VM and one for each vCPU; KVM runs guest code on the CPU
 * itself, emulates the GICv3 with its ITS and the timers (kvm_gic.c), and takes RAM as slots of our
 * own memory (kvm_memory.c). What is left for us are accesses to devices and firmware calls
 * (kvm_run.c).
 *
 * PSCI stays ours. KVM has one, but its idea of which vCPUs are on would be out of our sight, so
 * the VM is told to forward PSCI's range of function numbers (the SMCCC filter, Linux 6.4). Calls
 * that tell of the CPU, such as its errata, are answered by KVM, which knows.
 *
 * What the guest's CPU has is what the host's has, as far as KVM gives it away without being asked,
 * and pointer authentication.
 */
#include "engine/kvm/kvm.h"

#include "base/error.h"
#include "base/log.h"
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define MPIDR_EL1 PV_SYSREG(3, 0, 0, 0, 5)

/* PSCI's function numbers (SMCCC, 6.3: standard secure services), with 32- and 64-bit arguments. */
#define PSCI_FIRST32 0x84000000u
#define PSCI_FIRST64 0xc4000000u
#define PSCI_CALLS   0x10000u

/* The highest address that the machine's map uses, in bits. */
#define IPA_BITS 40

/* ---- Whether it can be used ---- */

static int open_system(struct pv_error **err)
{
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (fd >= 0)
        return fd;
    switch (errno) {
    case ENOENT:
        return pv_error_set(err, ENOENT,
                            "no /dev/kvm: this kernel has no KVM, or did not start at EL2 (a "
                            "virtual machine without nested virtualisation); load or enable it, "
                            "or use --engine interp");
    case EACCES:
    case EPERM:
        return pv_error_set(err, EACCES,
                            "no permission on /dev/kvm: join its group ('sudo usermod -aG kvm "
                            "$USER', then log in again)");
    default: return pv_error_errno(err, errno, "/dev/kvm");
    }
}

static int check_system(int system, struct pv_error **err)
{
    static const struct {
        int number;
        const char *name;
    } needed[] = {
        {KVM_CAP_USER_MEMORY, "user memory"},
        {KVM_CAP_ONE_REG, "single registers"},
        {KVM_CAP_IMMEDIATE_EXIT, "immediate exits"},
        {KVM_CAP_READONLY_MEM, "read-only memory"},
        {KVM_CAP_ARM_INJECT_EXT_DABT, "external aborts"},
        {KVM_CAP_ARM_SYSTEM_SUSPEND, "suspending vCPUs"},
        {KVM_CAP_COUNTER_OFFSET, "counters that can be set"},
    };
    int version = ioctl(system, KVM_GET_API_VERSION, 0);

    if (version != KVM_API_VERSION)
        return pv_error_set(err, ENOTSUP, "KVM's interface has version %d, not %d", version,
                            KVM_API_VERSION);
    for (size_t i = 0; i < PV_ARRAY_SIZE(needed); i++)
        if (ioctl(system, KVM_CHECK_EXTENSION, needed[i].number) <= 0)
            return pv_error_set(err, ENOTSUP, "this kernel's KVM lacks %s; use Linux 6.4 or newer",
                                needed[i].name);
    /* 0: a kernel that knows only of 40 bits. */
    int bits = ioctl(system, KVM_CHECK_EXTENSION, KVM_CAP_ARM_VM_IPA_SIZE);
    if (bits > 0 && bits < IPA_BITS)
        return pv_error_set(err, ENOTSUP,
                            "this CPU gives guests addresses of %d bits, and the machine needs "
                            "%d; use --engine interp",
                            bits, IPA_BITS);
    return 0;
}

static int make_vm(int system, struct pv_error **err)
{
    const struct kvm_device_attr attr = {
        .group = KVM_ARM_VM_SMCCC_CTRL,
        .attr = KVM_ARM_VM_SMCCC_FILTER,
    };
    /* Type 0 is a VM of 40-bit addresses. */
    PV_CLEANUP_FD int vm = ioctl(system, KVM_CREATE_VM, 0);

    if (vm < 0)
        return pv_error_errno(err, errno, "KVM cannot make a VM");
    if (ioctl(vm, KVM_HAS_DEVICE_ATTR, &attr) < 0)
        return pv_error_set(err, ENOTSUP,
                            "this kernel's KVM cannot forward firmware calls; use Linux 6.4 or "
                            "newer");
    struct kvm_create_device gic = {.type = KVM_DEV_TYPE_ARM_VGIC_V3,
                                    .flags = KVM_CREATE_DEVICE_TEST};
    if (ioctl(vm, KVM_CREATE_DEVICE, &gic) < 0)
        return pv_error_set(err, ENOTSUP,
                            "this host's interrupt controller is no GICv3, which guests need");
    return PV_STEAL_FD(vm);
}

static int probe(struct pv_error **err)
{
    PV_CLEANUP_FD int system = open_system(err);
    int ret = system < 0 ? system : check_system(system, err);

    if (ret < 0)
        return ret;
    PV_CLEANUP_FD int vm = make_vm(system, err);
    return PV_MIN(vm, 0);
}

/* ---- The VM ---- */

static int forward_calls(struct kvm *kvm, uint32_t first, struct pv_error **err)
{
    const struct kvm_smccc_filter filter = {
        .base = first, .nr_functions = PSCI_CALLS, .action = KVM_SMCCC_FILTER_FWD_TO_USER};
    const struct kvm_device_attr attr = {
        .group = KVM_ARM_VM_SMCCC_CTRL,
        .attr = KVM_ARM_VM_SMCCC_FILTER,
        .addr = (uintptr_t)&filter,
    };
    if (ioctl(kvm->vm, KVM_SET_DEVICE_ATTR, &attr) < 0)
        return pv_error_errno(err, errno, "forwarding firmware calls");
    return 0;
}

static int enable(struct kvm *kvm, uint32_t capability, const char *what, struct pv_error **err)
{
    const struct kvm_enable_cap cap = {.cap = capability};
    if (ioctl(kvm->vm, KVM_ENABLE_CAP, &cap) < 0)
        return pv_error_errno(err, errno, "KVM: %s", what);
    return 0;
}

static int set_up(struct kvm *kvm, struct pv_error **err)
{
    const struct pv_engine_config *config = &kvm->engine->config;
    int ret = kvm->system = open_system(err);

    if (ret >= 0)
        ret = check_system(kvm->system, err);
    if (ret >= 0)
        ret = kvm->vm = make_vm(kvm->system, err);
    if (ret >= 0)
        ret = ioctl(kvm->system, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (ret < 0)
        return ret;
    kvm->run_size = (size_t)ret;
    int most = ioctl(kvm->vm, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
    if (most > 0 && config->vcpus > (unsigned)most)
        return pv_error_set(err, EINVAL, "%u vCPUs: KVM on this host has at most %d", config->vcpus,
                            most);
    ret = forward_calls(kvm, PSCI_FIRST32, err);
    if (ret >= 0)
        ret = forward_calls(kvm, PSCI_FIRST64, err);
    if (ret >= 0)
        ret = enable(kvm, KVM_CAP_ARM_NISV_TO_USER, "undescribed accesses", err);
    if (ret >= 0)
        ret = enable(kvm, KVM_CAP_ARM_SYSTEM_SUSPEND, "suspending vCPUs", err);
    if (ret >= 0 && config->gic)
        ret = kvm_gic_create(kvm, config->gic, err);
    return ret;
}

static void tear_down(struct kvm *kvm)
{
    kvm_gic_destroy(kvm);
    if (kvm->vm >= 0)
        close(kvm->vm);
    if (kvm->system >= 0)
        close(kvm->system);
    free(kvm);
}

static int create(struct pv_engine *engine, struct pv_error **err)
{
    struct kvm *kvm = calloc(1, sizeof(*kvm));
    if (!kvm)
        return pv_error_set(err, ENOMEM, "out of memory");
    kvm->system = kvm->vm = kvm->gic = kvm->its = -1;
    kvm->engine = engine;
    int ret = set_up(kvm, err);
    if (ret < 0) {
        tear_down(kvm);
        return ret;
    }
    engine->impl = kvm;
    kvm_memory_attach(kvm);
    return 0;
}

static void destroy(struct pv_engine *engine)
{
    struct kvm *kvm = kvm_of(engine);
    kvm_memory_detach(kvm);
    tear_down(kvm);
}

static int start(struct pv_engine *engine, struct pv_error **err)
{
    return kvm_gic_start(kvm_of(engine), err);
}

/* ---- vCPUs ---- */

static int init_vcpu(struct pv_vcpu *vcpu, struct pv_error **err)
{
    struct kvm_vcpu *v = vcpu->impl;
    uint64_t mpidr;

    if (ioctl(v->fd, KVM_ARM_VCPU_INIT, &v->init) < 0)
        return pv_error_errno(err, errno, "KVM_ARM_VCPU_INIT");
    /* Bit 31 is RES1. KVM has an MPIDR of its own making, which has to be the machine's. */
    int ret = kvm_get_sysreg(vcpu, MPIDR_EL1, &mpidr);
    if (ret < 0)
        return pv_error_errno(err, -ret, "MPIDR_EL1");
    if ((mpidr & ~(UINT64_C(1) << 31)) != vcpu->mpidr)
        return pv_error_set(err, EINVAL, "KVM calls the vCPU %#llx, the machine %#llx",
                            (unsigned long long)mpidr, (unsigned long long)vcpu->mpidr);
    return 0;
}

static int choose_features(struct kvm *kvm, struct kvm_vcpu *v, struct pv_error **err)
{
    if (ioctl(kvm->vm, KVM_ARM_PREFERRED_TARGET, &v->init) < 0)
        return pv_error_errno(err, errno, "KVM_ARM_PREFERRED_TARGET");
    v->init.features[0] |= 1u << KVM_ARM_VCPU_PSCI_0_2;
    if (ioctl(kvm->vm, KVM_CHECK_EXTENSION, KVM_CAP_ARM_PTRAUTH_ADDRESS) > 0 &&
        ioctl(kvm->vm, KVM_CHECK_EXTENSION, KVM_CAP_ARM_PTRAUTH_GENERIC) > 0)
        v->init.features[0] |=
            1u << KVM_ARM_VCPU_PTRAUTH_ADDRESS | 1u << KVM_ARM_VCPU_PTRAUTH_GENERIC;
    return 0;
}

static void vcpu_destroy(struct pv_vcpu *vcpu)
{
    struct kvm_vcpu *v = vcpu->impl;

    if (v->run != MAP_FAILED)
        munmap(v->run, kvm_of(vcpu->engine)->run_size);
    close(v->fd);
    pv_error_free(&v->error);
    free(v);
    vcpu->impl = NULL;
}

static int vcpu_create(struct pv_vcpu *vcpu, struct pv_error **err)
{
    struct kvm *kvm = kvm_of(vcpu->engine);
    PV_CLEANUP_FD int fd = ioctl(kvm->vm, KVM_CREATE_VCPU, (unsigned long)vcpu->index);
    if (fd < 0)
        return pv_error_errno(err, errno, "KVM cannot make a vCPU");
    struct kvm_vcpu *v = calloc(1, sizeof(*v));
    if (!v)
        return pv_error_set(err, ENOMEM, "out of memory");
    v->run = mmap(NULL, kvm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    v->fd = PV_STEAL_FD(fd);
    vcpu->impl = v;
    int ret = v->run == MAP_FAILED ? pv_error_errno(err, errno, "a vCPU's shared page") : 0;
    if (ret >= 0)
        ret = choose_features(kvm, v, err);
    if (ret >= 0)
        ret = init_vcpu(vcpu, err);
    if (ret >= 0)
        ret = kvm_run_setup(vcpu, err);
    if (ret < 0)
        vcpu_destroy(vcpu);
    return ret;
}

static void vcpu_suspend(struct pv_vcpu *vcpu, bool suspended)
{
    struct kvm_vcpu *v = vcpu->impl;
    struct kvm_mp_state state = {suspended ? KVM_MP_STATE_SUSPENDED : KVM_MP_STATE_RUNNABLE};

    if (ioctl(v->fd, KVM_SET_MP_STATE, &state) < 0)
        pv_error_log(PV_LOG_ENGINE, "vCPU %u: KVM_SET_MP_STATE: %s", vcpu->index, strerror(errno));
}

static void vcpu_reset(struct pv_vcpu *vcpu, uint64_t entry, uint64_t context)
{
    struct kvm_vcpu *v = vcpu->impl;

    pv_error_free(&v->error);
    vcpu_suspend(vcpu, false);
    if (init_vcpu(vcpu, &v->error) < 0)
        return;
    int ret = kvm_set_reg(v, KVM_CORE_REG(regs.pc), entry);
    if (ret >= 0)
        ret = kvm_set_reg(v, KVM_CORE_REG(regs.regs[0]), context);
    if (ret < 0)
        pv_error_errno(&v->error, -ret, "a reset's registers");
}

static void get_stats(const struct pv_vcpu *vcpu, struct pv_vcpu_stats *stats)
{
    const struct kvm_vcpu *v = vcpu->impl;
    stats->mmio_exits = atomic_load_explicit(&v->mmio_exits, memory_order_relaxed);
}

const struct pv_engine_ops pv_engine_kvm = {
    .name = "kvm",
    .description = "the host's CPU, through Linux's KVM",
    .gic = &kvm_gic_ops,
    .timer = &kvm_timer_ops,
    .probe = probe,
    .create = create,
    .destroy = destroy,
    .vcpu_create = vcpu_create,
    .vcpu_destroy = vcpu_destroy,
    .start = start,
    .vcpu_reset = vcpu_reset,
    .vcpu_run = kvm_run,
    .vcpu_kick = kvm_kick,
    .vcpu_set_line = kvm_set_line,
    .vcpu_suspend = vcpu_suspend,
    .get_state = kvm_get_state,
    .set_state = kvm_set_state,
    .get_sysreg = kvm_get_sysreg,
    .set_sysreg = kvm_set_sysreg,
    .get_stats = get_stats,
};
