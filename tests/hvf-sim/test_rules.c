/* SPDX-License-Identifier: MIT */
/* The simulated framework notices each broken rule: every row breaks one, in a child process. */
#include "base/util.h"

#include <Hypervisor/Hypervisor.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define IPA     UINT64_C(0x40000000)
#define GRANULE 0x4000u
#define ALL     (HV_MEMORY_READ | HV_MEMORY_WRITE | HV_MEMORY_EXEC)

static char *memory(void)
{
    return mmap(NULL, 4 * GRANULE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static hv_vcpu_t vcpu(void)
{
    hv_vcpu_t id;
    hv_vcpu_exit_t *exit;

    hv_vcpu_create(&id, &exit, NULL);
    return id;
}

static void elsewhere(void *(*fn)(void *id))
{
    pthread_t thread;
    hv_vcpu_t id = vcpu();

    pthread_create(&thread, NULL, fn, &id);
    pthread_join(thread, NULL);
}

static void *get_reg(void *id)
{
    uint64_t value;
    hv_vcpu_get_reg(*(hv_vcpu_t *)id, HV_REG_PC, &value);
    return NULL;
}

static void *set_sysreg(void *id)
{
    hv_vcpu_set_sys_reg(*(hv_vcpu_t *)id, 0, 0);
    return NULL;
}

static void *set_reg(void *id)
{
    hv_vcpu_set_reg(*(hv_vcpu_t *)id, HV_REG_PC, 0);
    return NULL;
}

static void *get_sysreg(void *id)
{
    uint64_t value;
    hv_vcpu_get_sys_reg(*(hv_vcpu_t *)id, 0, &value);
    return NULL;
}

static void *get_vector(void *id)
{
    hv_simd_fp_uchar16_t value;
    hv_vcpu_get_simd_fp_reg(*(hv_vcpu_t *)id, 0, &value);
    return NULL;
}

static void *set_vector(void *id)
{
    const hv_simd_fp_uchar16_t value = {0};
    hv_vcpu_set_simd_fp_reg(*(hv_vcpu_t *)id, 0, value);
    return NULL;
}

static void *mask_timer(void *id)
{
    hv_vcpu_set_vtimer_mask(*(hv_vcpu_t *)id, true);
    return NULL;
}

static void *move_timer(void *id)
{
    hv_vcpu_set_vtimer_offset(*(hv_vcpu_t *)id, 1);
    return NULL;
}

static void *run(void *id)
{
    hv_vcpu_run(*(hv_vcpu_t *)id);
    return NULL;
}

static void *interrupt(void *id)
{
    hv_vcpu_set_pending_interrupt(*(hv_vcpu_t *)id, HV_INTERRUPT_TYPE_IRQ, true);
    return NULL;
}

static void *destroy(void *id)
{
    hv_vcpu_destroy(*(hv_vcpu_t *)id);
    return NULL;
}

static void map_address(void)
{
    hv_vm_map(memory(), IPA + 0x1000, GRANULE, ALL);
}
static void map_size(void)
{
    hv_vm_map(memory(), IPA, 0x1000, ALL);
}
static void map_host(void)
{
    hv_vm_map(memory() + 16, IPA, GRANULE, ALL);
}
static void map_twice(void)
{
    hv_vm_map(memory(), IPA, 2 * GRANULE, ALL);
    hv_vm_map(memory(), IPA + GRANULE, GRANULE, ALL);
}
static void unmap_nothing(void)
{
    hv_vm_unmap(IPA, GRANULE);
}
static void unmap_too_much(void)
{
    hv_vm_map(memory(), IPA, GRANULE, ALL);
    hv_vm_unmap(IPA, 2 * GRANULE);
}
static void protect_nothing(void)
{
    hv_vm_protect(IPA, GRANULE, HV_MEMORY_READ);
}
static void get_elsewhere(void)
{
    elsewhere(get_reg);
}
static void set_elsewhere(void)
{
    elsewhere(set_reg);
}
static void get_sysreg_elsewhere(void)
{
    elsewhere(get_sysreg);
}
static void set_sysreg_elsewhere(void)
{
    elsewhere(set_sysreg);
}
static void get_vector_elsewhere(void)
{
    elsewhere(get_vector);
}
static void set_vector_elsewhere(void)
{
    elsewhere(set_vector);
}
static void mask_timer_elsewhere(void)
{
    elsewhere(mask_timer);
}
static void move_timer_elsewhere(void)
{
    elsewhere(move_timer);
}
static void run_elsewhere(void)
{
    elsewhere(run);
}
static void interrupt_elsewhere(void)
{
    elsewhere(interrupt);
}
static void destroy_elsewhere(void)
{
    elsewhere(destroy);
}
static void second_vcpu(void)
{
    vcpu(), vcpu();
}
static void use_after_destroy(void)
{
    hv_vcpu_t id = vcpu();
    hv_vcpu_destroy(id);
    get_reg(&id);
}
static void vm_before_vcpus(void)
{
    vcpu(), hv_vm_destroy();
}

static const struct rule {
    void (*fn)(void);
    bool without_vm;
    const char *says;
} rules[] = {
    {map_address, false, "not pages of 16 KiB"},
    {map_size, false, "not pages of 16 KiB"},
    {map_host, false, "not the host's pages"},
    {map_twice, false, "overlaps another mapping"},
    {unmap_nothing, false, "not mapped"},
    {unmap_too_much, false, "not mapped"},
    {protect_nothing, false, "not mapped"},
    {get_elsewhere, false, "belongs to another thread"},
    {set_elsewhere, false, "belongs to another thread"},
    {get_sysreg_elsewhere, false, "belongs to another thread"},
    {set_sysreg_elsewhere, false, "belongs to another thread"},
    {get_vector_elsewhere, false, "belongs to another thread"},
    {set_vector_elsewhere, false, "belongs to another thread"},
    {mask_timer_elsewhere, false, "belongs to another thread"},
    {move_timer_elsewhere, false, "belongs to another thread"},
    {run_elsewhere, false, "belongs to another thread"},
    {interrupt_elsewhere, false, "belongs to another thread"},
    {destroy_elsewhere, false, "belongs to another thread"},
    {second_vcpu, false, "a thread has one vCPU"},
    {use_after_destroy, false, "does not exist"},
    {vm_before_vcpus, false, "is there"},
    {unmap_nothing, true, "without a VM"},
    {get_elsewhere, true, "without a VM"},
};

/* What the child says before it aborts; "" when it does not. */
static void broken(const struct rule *rule, char *said, size_t size)
{
    int fds[2], status;

    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        dup2(fds[1], STDERR_FILENO);
        if (!rule->without_vm)
            hv_vm_create(NULL);
        rule->fn();
        _exit(0);
    }
    close(fds[1]);
    size_t got = 0;
    ssize_t n;
    while (got < size - 1 && (n = read(fds[0], said + got, size - 1 - got)) > 0)
        got += (size_t)n;
    said[got] = '\0';
    close(fds[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
        said[0] = '\0';
}

static void test_broken_rules(void **unused)
{
    for (size_t i = 0; i < PV_ARRAY_SIZE(rules); i++) {
        char said[256];
        broken(&rules[i], said, sizeof(said));
        if (!strstr(said, rules[i].says))
            fail_msg("rule %zu: '%s', not '%s'", i, said, rules[i].says);
    }
}

static void test_kept_rules(void **unused)
{
    hv_vcpu_exit_t *exit;
    hv_vcpu_t id;

    assert_int_equal(hv_vm_create(NULL), HV_SUCCESS);
    assert_int_equal(hv_vm_create(NULL), HV_BUSY);
    assert_int_equal(hv_vm_map(memory(), IPA, 4 * GRANULE, ALL), HV_SUCCESS);
    assert_int_equal(hv_vm_protect(IPA + GRANULE, GRANULE, HV_MEMORY_READ), HV_SUCCESS);
    assert_int_equal(hv_vcpu_create(&id, &exit, NULL), HV_SUCCESS);
    /* Asked to leave before it runs, it does not run. */
    assert_int_equal(hv_vcpus_exit(&id, 1), HV_SUCCESS);
    assert_int_equal(hv_vcpu_run(id), HV_SUCCESS);
    assert_int_equal(exit->reason, HV_EXIT_REASON_CANCELED);
    assert_int_equal(hv_vcpu_destroy(id), HV_SUCCESS);
    assert_int_equal(hv_vm_unmap(IPA, 4 * GRANULE), HV_SUCCESS);
    assert_int_equal(hv_vm_destroy(), HV_SUCCESS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broken_rules),
        cmocka_unit_test(test_kept_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
