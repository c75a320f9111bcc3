/* SPDX-License-Identifier: MIT */
/*
 * Runs a bare-metal guest program: guest-host IMAGE VCPUS ENGINE [lines]. A program passes when
 * every vCPU has said so; docs/internals/guest-tests.md describes the device. With `lines` the
 * program has the device drive the vCPUs' interrupt inputs, so that an engine's own GIC is left
 * out.
 */
#include "guest.h"

#include "base/error.h"
#include "base/util.h"
#include "engine/engine.h"
#include "host/clock.h"
#include "host/loop.h"
#include "machine/gicv3_its.h"
#include "machine/interrupts.h"
#include "machine/map.h"
#include "machine/psci.h"
#include "machine/timer.h"
#include "memory/address_space.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define VCPUS     4u
#define TIMEOUT_S 60u

static const uint64_t mpidr[VCPUS] = {0, 1, 2, 3};

struct host {
    struct pv_loop *loop;
    struct pv_timer *tick;
    struct pv_address_space *as;
    struct pv_interrupts *interrupts;
    struct pv_gtimer *timer;
    unsigned ms; /* since the start */
    struct pv_engine *engine;
    unsigned vcpus;
    _Atomic unsigned done; /* a bit for each vCPU */
    _Atomic uint64_t failed, got, wanted;
    _Atomic uint64_t delayed; /* a write to DEVICE_LINE that the main thread carries out */
};

static void drive_line(struct host *host, uint64_t value)
{
    unsigned vcpu = value & 0xff;
    if (vcpu < host->vcpus)
        pv_vcpu_set_line(pv_engine_vcpu(host->engine, vcpu),
                         value & 0x100 ? PV_LINE_FIQ : PV_LINE_IRQ, value & 0x200);
}

static void send_message(struct host *host, uint64_t value)
{
    struct pv_msi_target target = pv_interrupts_msi(host->interrupts);
    target.send(target.opaque, (uint32_t)(value >> 32), PV_MAP_ITS + PV_ITS_TRANSLATER,
                (uint32_t)value);
}

static uint64_t device_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0;
}

static void device_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct host *host = opaque;
    uint64_t none = 0;
    switch (offset) {
    case DEVICE_DONE: host->done |= 1u << (value & 31); break;
    case DEVICE_FAILED: atomic_compare_exchange_strong(&host->failed, &none, value); break;
    case DEVICE_GOT: host->got = value; break;
    case DEVICE_WANTED: host->wanted = value; break;
    case DEVICE_MSI: send_message(host, value); break;
    case DEVICE_LINE:
        if (value >> 16)
            host->delayed = value;
        else
            drive_line(host, value);
        break;
    default: host->failed = LOST; break;
    }
}

/* ---- PSCI ---- */

static unsigned vcpu_count(void *opaque)
{
    return ((struct host *)opaque)->vcpus;
}

static uint64_t vcpu_mpidr(void *opaque, unsigned vcpu)
{
    return mpidr[vcpu];
}

static int cpu_on(void *opaque, unsigned vcpu, uint64_t entry, uint64_t context)
{
    return pv_vcpu_power_on(pv_engine_vcpu(((struct host *)opaque)->engine, vcpu), entry, context);
}

static int cpu_is_on(void *opaque, unsigned vcpu)
{
    return pv_vcpu_is_on(pv_engine_vcpu(((struct host *)opaque)->engine, vcpu));
}

static void cpu_off(void *opaque, unsigned vcpu)
{
    struct host *host = opaque;
    pv_gtimer_reset_vcpu(host->timer, vcpu);
    pv_interrupts_reset_vcpu(host->interrupts, vcpu);
    pv_vcpu_power_off(pv_engine_vcpu(host->engine, vcpu));
}

static int entry_ok(void *opaque, uint64_t address)
{
    return address >= RAM_BASE && address - RAM_BASE < RAM_SIZE;
}

static void cpu_standby(void *opaque, unsigned vcpu)
{
    pv_vcpu_standby(pv_engine_vcpu(((struct host *)opaque)->engine, vcpu));
}

static void cpu_power_down(void *opaque, unsigned vcpu, uint64_t entry, uint64_t context)
{
    pv_vcpu_power_down(pv_engine_vcpu(((struct host *)opaque)->engine, vcpu), entry, context);
}

/* No program ends the machine. */
static void end_system(void *opaque, unsigned vcpu)
{
    ((struct host *)opaque)->failed = LOST;
}

static void smccc(void *opaque, unsigned vcpu, bool smc, uint64_t x[18])
{
    static const struct pv_psci_ops ops = {
        .vcpu_count = vcpu_count,
        .mpidr = vcpu_mpidr,
        .cpu_on = cpu_on,
        .cpu_is_on = cpu_is_on,
        .cpu_off = cpu_off,
        .entry_ok = entry_ok,
        .cpu_standby = cpu_standby,
        .cpu_power_down = cpu_power_down,
        .system_off = end_system,
        .system_reset = end_system,
    };
    pv_psci_call(&ops, opaque, vcpu, x);
}

/* ---- The machine ---- */

static bool sysreg_read(void *opaque, unsigned vcpu, uint32_t sysreg, uint64_t *value)
{
    struct host *host = opaque;
    return pv_interrupts_sysreg_read(host->interrupts, vcpu, sysreg, value) ||
           pv_gtimer_sysreg_read(host->timer, vcpu, sysreg, value);
}

static bool sysreg_write(void *opaque, unsigned vcpu, uint32_t sysreg, uint64_t value)
{
    struct host *host = opaque;
    return pv_interrupts_sysreg_write(host->interrupts, vcpu, sysreg, value) ||
           pv_gtimer_sysreg_write(host->timer, vcpu, sysreg, value);
}

static void vtimer(void *opaque, unsigned vcpu, bool level)
{
    pv_interrupts_set_ppi(((struct host *)opaque)->interrupts, vcpu, PV_INTID_TIMER_VIRT, level);
}

static void set_ppi(void *opaque, unsigned vcpu, unsigned intid, bool level)
{
    pv_interrupts_set_ppi(((struct host *)opaque)->interrupts, vcpu, intid, level);
}

static void fatal(void *opaque, unsigned vcpu, const char *message)
{
    fprintf(stderr, "vCPU %u: %s\n", vcpu, message);
    ((struct host *)opaque)->failed = LOST;
}

static int load(struct host *host, const char *path)
{
    FILE *file = fopen(path, "rb");
    char buffer[4096];
    uint64_t at = RAM_BASE;
    size_t n;
    if (!file)
        return -1;
    int ret = 0;
    while (ret == 0 && (n = fread(buffer, 1, sizeof(buffer), file)) > 0) {
        ret = pv_as_write(host->as, at, buffer, n);
        at += n;
    }
    fclose(file);
    return ret;
}

static bool is_over(const struct host *host)
{
    return host->failed || host->done == (1u << host->vcpus) - 1;
}

/* Each millisecond, until every vCPU is done or one has failed. */
static void tick(void *opaque)
{
    struct host *host = opaque;
    uint64_t line = atomic_exchange(&host->delayed, 0);
    if (line) {
        usleep((useconds_t)(line >> 16 & 0xffff) * 1000);
        drive_line(host, line);
    }
    if (is_over(host) || ++host->ms > TIMEOUT_S * 1000)
        pv_loop_stop(host->loop);
    else
        pv_timer_set(host->tick, pv_clock_ns() + 1000000);
}

static int start(struct host *host, const char *path, const struct pv_engine_ops *engine,
                 bool lines)
{
    static const struct pv_mmio_ops ops = {device_read, device_write};
    static const struct pv_engine_client client = {.vtimer = vtimer,
                                                   .smccc = smccc,
                                                   .sysreg_read = sysreg_read,
                                                   .sysreg_write = sysreg_write,
                                                   .fatal = fatal};
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    if (pv_loop_create(&host->loop, &err) < 0 ||
        pv_timer_create(&host->tick, host->loop, tick, host, &err) < 0 ||
        pv_as_create(&host->as, &err) < 0 ||
        pv_as_add_ram(host->as, RAM_BASE, RAM_SIZE, "ram", &err) < 0 ||
        pv_as_add_mmio(host->as, DEVICE, 4096, &ops, host, "test", &err) < 0 ||
        load(host, path) < 0)
        return -1;
    const struct pv_interrupts_config interrupts = {
        .as = host->as,
        .vcpus = host->vcpus,
        .mpidr = mpidr,
        .its = true,
        .engine_gic = pv_engine_has_gic(engine) && !lines,
    };
    const struct pv_gtimer_config timer = {
        .loop = host->loop,
        .vcpus = host->vcpus,
        .now_ns = pv_clock_ns,
        .set_ppi = set_ppi,
        .opaque = host,
        .frequency = pv_engine_has_timer(engine) ? pv_engine_counter_frequency(engine) : 0,
    };
    if (pv_interrupts_create(&host->interrupts, &interrupts, &err) < 0 ||
        pv_gtimer_create(&host->timer, &timer, &err) < 0)
        return -1;
    const struct pv_engine_config config = {
        .as = host->as,
        .vcpus = host->vcpus,
        .client = &client,
        .client_opaque = host,
        .mpidr = mpidr,
        .gic = pv_interrupts_engine(host->interrupts),
    };
    if (pv_engine_create(&host->engine, engine, &config, &err) < 0 ||
        pv_engine_start(host->engine, &err) < 0) {
        fprintf(stderr, "%s\n", pv_error_message(err));
        return -1;
    }
    pv_interrupts_attach(host->interrupts, host->engine);
    if (pv_engine_has_timer(engine))
        pv_engine_set_counter(host->engine, pv_gtimer_count(host->timer));
    return pv_vcpu_power_on(pv_engine_vcpu(host->engine, 0), RAM_BASE, 0);
}

#ifdef PV_TEST_ENGINE
extern const struct pv_engine_ops PV_TEST_ENGINE; /* one that is not in the list */
#define FIND_ENGINE(name) (&PV_TEST_ENGINE)
#else
#define FIND_ENGINE(name) pv_engine_find(name)
#endif

int main(int argc, char **argv)
{
    struct host host = {.vcpus = argc >= 4 ? (unsigned)atoi(argv[2]) : 0};
    const struct pv_engine_ops *engine = argc >= 4 ? FIND_ENGINE(argv[3]) : NULL;
    if (host.vcpus < 1 || host.vcpus > VCPUS || !engine) {
        fprintf(stderr, "usage: guest-host IMAGE VCPUS ENGINE [lines]\n");
        return 2;
    }
    if (pv_engine_probe(engine, NULL) < 0)
        return 77; /* not on this host: skipped */
    bool started = start(&host, argv[1], engine, argc > 4) == 0;
    if (started) {
        tick(&host);
        started = pv_loop_run(host.loop, NULL) >= 0;
    }
    bool over = started && is_over(&host);
    if (host.interrupts)
        pv_interrupts_attach(host.interrupts, NULL);
    pv_engine_destroy(host.engine);
    pv_gtimer_destroy(host.timer);
    pv_interrupts_destroy(host.interrupts);
    pv_as_destroy(host.as);
    pv_timer_destroy(host.tick);
    pv_loop_destroy(host.loop);
    if (over && !host.failed)
        return 0;
    if (!started)
        fprintf(stderr, "%s: cannot be run\n", argv[1]);
    else if (!over)
        fprintf(stderr, "%s: still running after %u s\n", argv[1], TIMEOUT_S);
    else if (host.failed == LOST)
        fprintf(stderr, "%s: exception, ESR %#" PRIx64 " at %#" PRIx64 "\n", argv[1], host.got,
                host.wanted);
    else
        fprintf(stderr, "%s: line %" PRIu64 ": got %#" PRIx64 ", not %#" PRIx64 "\n", argv[1],
                host.failed, host.got, host.wanted);
    return 1;
}
