/* SPDX-License-Identifier: MIT */
/*
 * What src/engine/hvf uses of the C interface of macOS' Hypervisor.framework for arm64, declared
 * anew: names, numbers and layouts are those of the interface. For the simulation of the framework
 * in tests/hvf-sim and for cross builds; on a Mac the SDK's header is used.
 */
#ifndef PV_HYPERVISOR_H
#define PV_HYPERVISOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int32_t hv_return_t;
enum {
    HV_SUCCESS = 0,
    HV_ERROR = (int)0xfae94001,
    HV_BUSY = (int)0xfae94002,
    HV_BAD_ARGUMENT = (int)0xfae94003,
    HV_NO_RESOURCES = (int)0xfae94005,
    HV_DENIED = (int)0xfae94007,
    HV_UNSUPPORTED = (int)0xfae9400f,
};

typedef uint64_t hv_ipa_t, hv_vcpu_t, hv_memory_flags_t;
enum { HV_MEMORY_READ = 1, HV_MEMORY_WRITE = 2, HV_MEMORY_EXEC = 4 };

typedef uint32_t hv_exit_reason_t, hv_reg_t, hv_simd_fp_reg_t, hv_interrupt_type_t;
typedef uint16_t hv_sys_reg_t;
enum {
    HV_EXIT_REASON_CANCELED,
    HV_EXIT_REASON_EXCEPTION,
    HV_EXIT_REASON_VTIMER_ACTIVATED,
    HV_EXIT_REASON_UNKNOWN,
};
enum { HV_REG_X0 = 0, HV_REG_PC = 31, HV_REG_FPCR, HV_REG_FPSR, HV_REG_CPSR };
enum { HV_INTERRUPT_TYPE_IRQ, HV_INTERRUPT_TYPE_FIQ };

typedef struct {
    uint64_t syndrome;
    uint64_t virtual_address;
    hv_ipa_t physical_address;
} hv_vcpu_exit_exception_t;
typedef struct {
    hv_exit_reason_t reason;
    hv_vcpu_exit_exception_t exception;
} hv_vcpu_exit_t;

typedef struct hv_vm_config_s *hv_vm_config_t;
typedef struct hv_vcpu_config_s *hv_vcpu_config_t;
typedef uint8_t hv_simd_fp_uchar16_t __attribute__((vector_size(16)));

hv_return_t hv_vm_get_max_vcpu_count(uint32_t *count);
hv_vm_config_t hv_vm_config_create(void);
hv_return_t hv_vm_config_get_max_ipa_size(uint32_t *bits);
hv_return_t hv_vm_config_set_ipa_size(hv_vm_config_t config, uint32_t bits);
hv_return_t hv_vm_create(hv_vm_config_t config);
hv_return_t hv_vm_destroy(void);
hv_return_t hv_vm_map(void *address, hv_ipa_t ipa, size_t size, hv_memory_flags_t flags);
hv_return_t hv_vm_unmap(hv_ipa_t ipa, size_t size);
hv_return_t hv_vm_protect(hv_ipa_t ipa, size_t size, hv_memory_flags_t flags);
hv_return_t hv_vcpu_create(hv_vcpu_t *vcpu, hv_vcpu_exit_t **exit, hv_vcpu_config_t config);
hv_return_t hv_vcpu_destroy(hv_vcpu_t vcpu);
hv_return_t hv_vcpu_run(hv_vcpu_t vcpu);
hv_return_t hv_vcpus_exit(hv_vcpu_t *vcpus, uint32_t count);
hv_return_t hv_vcpu_get_reg(hv_vcpu_t vcpu, hv_reg_t reg, uint64_t *value);
hv_return_t hv_vcpu_set_reg(hv_vcpu_t vcpu, hv_reg_t reg, uint64_t value);
hv_return_t hv_vcpu_get_sys_reg(hv_vcpu_t vcpu, hv_sys_reg_t reg, uint64_t *value);
hv_return_t hv_vcpu_set_sys_reg(hv_vcpu_t vcpu, hv_sys_reg_t reg, uint64_t value);
hv_return_t hv_vcpu_get_simd_fp_reg(hv_vcpu_t vcpu, hv_simd_fp_reg_t reg,
                                    hv_simd_fp_uchar16_t *value);
hv_return_t hv_vcpu_set_simd_fp_reg(hv_vcpu_t vcpu, hv_simd_fp_reg_t reg,
                                    hv_simd_fp_uchar16_t value);
hv_return_t hv_vcpu_set_pending_interrupt(hv_vcpu_t vcpu, hv_interrupt_type_t type, bool pending);
hv_return_t hv_vcpu_set_vtimer_mask(hv_vcpu_t vcpu, bool masked);
hv_return_t hv_vcpu_set_vtimer_offset(hv_vcpu_t vcpu, uint64_t offset);

void os_release(void *object);

#endif
