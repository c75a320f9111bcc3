/* SPDX-License-Identifier: MIT */
/*
 * How the parts are wired.
 *
 * Threads: vCPU threads call in through the engine's client callbacks and through MMIO handlers;
 * the loop's thread does host timers, devices and everything that concerns the whole machine.
 * Powering off and resetting are asked for on a vCPU's thread, which only powers itself off and
 * signals an event: the loop's thread then pauses the engine, so that nobody executes while
 * devices and memory go back to their initial state.
 *
 * Locks: timer before GIC; a device's own before GIC; the GIC's before the engine's. Nothing calls
 * upwards with a lock held.
 */
#include "machine/machine.h"

#include "base/error.h"
#include "base/log.h"
#include "base/record.h"
#include "base/util.h"
#include "engine/engine.h"
#include "host/clock.h"
#include "host/loop.h"
#include "machine/acpi/acpi.h"
#include "machine/fdt.h"
#include "machine/firmware.h"
#include "machine/interrupts.h"
#include "machine/loader.h"
#include "machine/map.h"
#include "machine/pl.h"
#include "machine/psci.h"
#include "machine/timer.h"
#include "machine/watchdog.h"
#include "memory/address_space.h"
#include "pci/pci.h"
#include "virtio/virtio_mmio.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

struct pv_machine {
    struct pv_machine_config config;
    char *kernel, *initrd, *append, *dtb;
    uint64_t mpidr[PV_MAX_VCPUS];
    struct pv_engine *engine;
    struct pv_interrupts *interrupts;
    struct pv_gtimer *timer;
    struct pv_pl011 *uart;
    struct pv_pl031 *rtc;
    struct pv_pl061 *gpio;
    struct pv_watchdog *watchdog; /* or NULL */
    struct pv_pci_bus *pci;
    struct pv_virtio_mmio_bank *virtio;
    struct pv_firmware *firmware; /* or NULL: the kernel starts directly */
    struct pv_boot_layout boot;

    unsigned pauses;
    uint64_t count; /* while paused: where an engine's own counter stood */

    /* What vCPU threads ask of the loop's thread. */
    struct pv_event *event;
    pthread_mutex_t lock;
    bool want_off, want_reset, want_pause;
    char *fatal; /* the first message */
};

/* ---- The engine's client ---- */

static unsigned vcpu_count(void *opaque)
{
    return ((struct pv_machine *)opaque)->config.vcpus;
}

static uint64_t vcpu_mpidr(void *opaque, unsigned vcpu)
{
    return ((struct pv_machine *)opaque)->mpidr[vcpu];
}

static int cpu_on(void *opaque, unsigned vcpu, uint64_t entry, uint64_t context)
{
    struct pv_machine *machine = opaque;
    struct pv_vcpu *target = pv_engine_vcpu(machine->engine, vcpu);

    if (pv_vcpu_is_on(target))
        return -EALREADY;
    return pv_vcpu_power_on(target, entry, context);
}

static int cpu_is_on(void *opaque, unsigned vcpu)
{
    return pv_vcpu_is_on(pv_engine_vcpu(((struct pv_machine *)opaque)->engine, vcpu));
}

/* What a vCPU that goes off leaves behind is cleared now, so that it comes up as if new. */
static void cpu_off(void *opaque, unsigned vcpu)
{
    struct pv_machine *machine = opaque;

    pv_gtimer_reset_vcpu(machine->timer, vcpu);
    pv_interrupts_reset_vcpu(machine->interrupts, vcpu);
    pv_vcpu_power_off(pv_engine_vcpu(machine->engine, vcpu));
}

static void cpu_standby(void *opaque, unsigned vcpu)
{
    pv_vcpu_standby(pv_engine_vcpu(((struct pv_machine *)opaque)->engine, vcpu));
}

/* Timers and interrupts go on: they are what ends it. */
static void cpu_power_down(void *opaque, unsigned vcpu, uint64_t entry, uint64_t context)
{
    pv_vcpu_power_down(pv_engine_vcpu(((struct pv_machine *)opaque)->engine, vcpu), entry, context);
}

static int entry_ok(void *opaque, uint64_t address)
{
    struct pv_machine *machine = opaque;
    return address >= PV_MAP_RAM && address - PV_MAP_RAM < machine->config.ram_size;
}

static void ask(struct pv_machine *machine, unsigned vcpu, bool *what)
{
    pthread_mutex_lock(&machine->lock);
    *what = true;
    pthread_mutex_unlock(&machine->lock);
    pv_vcpu_power_off(pv_engine_vcpu(machine->engine, vcpu));
    pv_event_signal(machine->event);
}

static void system_off(void *opaque, unsigned vcpu)
{
    struct pv_machine *machine = opaque;
    ask(machine, vcpu, &machine->want_off);
}

static void system_reset(void *opaque, unsigned vcpu)
{
    struct pv_machine *machine = opaque;
    ask(machine, vcpu, &machine->want_reset);
}

static void smccc(void *opaque, unsigned vcpu, bool smc, uint64_t x[18])
{
    static const struct pv_psci_ops ops = {
        .vcpu_count = vcpu_count,
        .mpidr = vcpu_mpidr,
        .cpu_on = cpu_on,
        .cpu_is_on = cpu_is_on,
        .cpu_off = cpu_off,
        .cpu_standby = cpu_standby,
        .cpu_power_down = cpu_power_down,
        .entry_ok = entry_ok,
        .system_off = system_off,
        .system_reset = system_reset,
    };

    if (smc)
        x[0] = (uint64_t)-1; /* no secure monitor: NOT_SUPPORTED */
    else
        pv_psci_call(&ops, opaque, vcpu, x);
}

static bool sysreg_read(void *opaque, unsigned vcpu, uint32_t sysreg, uint64_t *value)
{
    struct pv_machine *machine = opaque;
    return pv_interrupts_sysreg_read(machine->interrupts, vcpu, sysreg, value) ||
           pv_gtimer_sysreg_read(machine->timer, vcpu, sysreg, value);
}

static bool sysreg_write(void *opaque, unsigned vcpu, uint32_t sysreg, uint64_t value)
{
    struct pv_machine *machine = opaque;
    return pv_interrupts_sysreg_write(machine->interrupts, vcpu, sysreg, value) ||
           pv_gtimer_sysreg_write(machine->timer, vcpu, sysreg, value);
}

static uint64_t counter(void *opaque)
{
    return pv_gtimer_count(((struct pv_machine *)opaque)->timer);
}

void pv_machine_fail(struct pv_machine *machine, const char *message)
{
    pthread_mutex_lock(&machine->lock);
    if (!machine->fatal)
        machine->fatal = strdup(message);
    pthread_mutex_unlock(&machine->lock);
    pv_event_signal(machine->event);
}

static void engine_fatal(void *opaque, unsigned vcpu, const char *message)
{
    (void)vcpu;
    pv_machine_fail(opaque, message);
}

static void vtimer(void *opaque, unsigned vcpu, bool level)
{
    pv_interrupts_set_ppi(((struct pv_machine *)opaque)->interrupts, vcpu, PV_INTID_TIMER_VIRT,
                          level);
}

static const struct pv_engine_client client = {
    .smccc = smccc,
    .sysreg_read = sysreg_read,
    .sysreg_write = sysreg_write,
    .counter = counter,
    .vtimer = vtimer,
    .fatal = engine_fatal,
};

static void set_ppi(void *opaque, unsigned vcpu, unsigned intid, bool level)
{
    pv_interrupts_set_ppi(((struct pv_machine *)opaque)->interrupts, vcpu, intid, level);
}

/* ---- Loading ---- */

static int load_initrd(struct pv_machine *machine, const struct pv_kernel *kernel,
                       struct pv_error **err)
{
    struct pv_machine_config *config = &machine->config;
    PV_CLEANUP_FREE uint8_t *data = NULL;
    size_t size = 0;
    int ret = 0;

    if (machine->initrd)
        ret = pv_loader_read_file(&data, &size, config->ram_size, machine->initrd, err);
    if (ret < 0)
        return pv_error_prefix(err, "initrd");
    ret = pv_loader_place(&machine->boot, PV_MAP_RAM, config->ram_size, kernel, size, err);
    if (ret < 0)
        return ret;
    if (size && pv_as_write(config->as, machine->boot.initrd, data, size) < 0)
        return pv_error_set(err, EFAULT, "the initrd does not fit");
    return 0;
}

static int adopt_fdt(void *buf, const char *path, const struct pv_fdt_config *config,
                     struct pv_error **err)
{
    PV_CLEANUP_FREE uint8_t *blob = NULL;
    size_t size;
    int ret = pv_loader_read_file(&blob, &size, PV_LOADER_FDT_ROOM, path, err);

    if (ret >= 0) {
        ret = pv_fdt_adopt(buf, PV_LOADER_FDT_ROOM, blob, size, config, err);
        if (ret < 0)
            pv_error_prefix(err, "%s", path);
    }
    return ret < 0 ? pv_error_prefix(err, "device tree") : 0;
}

static int load_fdt(struct pv_machine *machine, struct pv_error **err)
{
    PV_CLEANUP_FREE uint8_t *buf = calloc(1, PV_LOADER_FDT_ROOM);
    uint8_t seed[PV_FDT_SEED_SIZE];

    if (!buf)
        return pv_error_set(err, ENOMEM, "out of memory for the device tree");
    if (getentropy(seed, sizeof(seed)) < 0)
        return pv_error_errno(err, errno, "random numbers");
    const struct pv_fdt_config config = {
        .vcpus = machine->config.vcpus,
        .mpidr = machine->mpidr,
        .its = machine->config.msi == PV_MSI_ITS,
        .watchdog = machine->watchdog,
        .ram_size = machine->config.ram_size,
        .bootargs = machine->append,
        .initrd_start = machine->boot.initrd,
        .initrd_size = machine->boot.initrd_size,
        .firmware = machine->firmware,
        .seed = seed,
    };
    int ret = machine->dtb ? adopt_fdt(buf, machine->dtb, &config, err)
                           : pv_fdt_build(buf, PV_LOADER_FDT_ROOM, &config, err);
    if (ret < 0)
        return ret;
    return pv_as_write(machine->config.as, machine->boot.fdt, buf, PV_LOADER_FDT_ROOM);
}

/*
 * Everything the guest finds in RAM, as it was at power-on; kernel, initrd and a device tree that
 * was given are read anew at each reset. Firmware finds the device tree at the start of RAM.
 */
static int load(struct pv_machine *machine, struct pv_error **err)
{
    struct pv_kernel kernel;

    if (machine->firmware) {
        machine->boot.fdt = PV_MAP_RAM;
        return load_fdt(machine, err);
    }
    int ret = pv_kernel_open(&kernel, machine->kernel, err);

    if (ret < 0)
        return pv_error_prefix(err, "kernel");
    ret = load_initrd(machine, &kernel, err);
    if (ret >= 0 &&
        pv_as_write(machine->config.as, machine->boot.kernel, kernel.data, kernel.size) < 0)
        ret = pv_error_set(err, EFAULT, "the kernel does not fit");
    pv_kernel_finish(&kernel);
    return ret < 0 ? ret : load_fdt(machine, err);
}

/* ---- Off, reset, fatal: on the loop's thread ---- */

static void all_off(struct pv_machine *machine)
{
    for (unsigned i = 0; i < machine->config.vcpus; i++)
        pv_vcpu_power_off(pv_engine_vcpu(machine->engine, i));
}

static int boot(struct pv_machine *machine)
{
    if (machine->firmware)
        return pv_vcpu_power_on(pv_engine_vcpu(machine->engine, 0), PV_MAP_FLASH, 0);
    /* Linux's boot protocol: X0 is the device tree, X1 to X3 are zero (as at any reset). */
    return pv_vcpu_power_on(pv_engine_vcpu(machine->engine, 0), machine->boot.kernel,
                            machine->boot.fdt);
}

static int do_reset(struct pv_machine *machine, struct pv_error **err)
{
    pv_engine_pause(machine->engine);
    all_off(machine);
    pv_pci_bus_reset(machine->pci);
    pv_virtio_mmio_bank_reset(machine->virtio);
    pv_pl011_reset(machine->uart);
    pv_pl031_reset(machine->rtc);
    pv_pl061_reset(machine->gpio);
    if (machine->watchdog)
        pv_watchdog_reset(machine->watchdog);
    for (unsigned i = 0; i < machine->config.vcpus; i++)
        pv_gtimer_reset_vcpu(machine->timer, i);
    pv_engine_forget_identity(machine->engine);
    if (machine->firmware)
        pv_firmware_reset(machine->firmware);
    int ret = pv_interrupts_reset(machine->interrupts, err);
    if (ret >= 0)
        ret = load(machine, err);
    pv_engine_resume(machine->engine);
    if (ret < 0)
        return ret;
    ret = boot(machine);
    return ret < 0 ? pv_error_set(err, -ret, "the first vCPU does not start") : 0;
}

static void handle_event(void *opaque)
{
    struct pv_machine *machine = opaque;
    const struct pv_machine_events *events = &machine->config.events;
    PV_CLEANUP_ERROR struct pv_error *err = NULL;

    pthread_mutex_lock(&machine->lock);
    bool off = machine->want_off, reset = machine->want_reset, pause = machine->want_pause;
    PV_CLEANUP_FREE char *fatal = PV_STEAL(machine->fatal);
    machine->want_off = machine->want_reset = machine->want_pause = false;
    pthread_mutex_unlock(&machine->lock);
    if (fatal) {
        events->fatal(events->opaque, fatal);
    } else if (off) {
        events->powered_off(events->opaque);
    } else if (reset) {
        if (do_reset(machine, &err) < 0)
            events->fatal(events->opaque, pv_error_message(err));
        else if (events->reset)
            events->reset(events->opaque);
    } else if (pause && events->pause) {
        events->pause(events->opaque);
    }
}

/* ---- Life ---- */

static int create_buses(struct pv_machine *machine, struct pv_error **err)
{
    struct pv_irq irqs[PV_VIRTIO_MMIO_SLOTS];
    struct pv_pci_bus_config pci = {
        .as = machine->config.as,
        .ecam_base = PV_MAP_ECAM,
        .ecam_size = PV_MAP_ECAM_SIZE,
        .mem32_base = PV_MAP_PCI_MEM32,
        .mem32_size = PV_MAP_PCI_MEM32_SIZE,
        .mem64_base = PV_MAP_PCI_MEM64,
        .mem64_size = PV_MAP_PCI_MEM64_SIZE,
        .msi = pv_interrupts_msi(machine->interrupts),
    };

    for (unsigned i = 0; i < PV_ARRAY_SIZE(pci.intx); i++)
        pci.intx[i] = pv_interrupts_spi(machine->interrupts, PV_INTID_PCI + i);
    int ret = pv_pci_bus_create(&machine->pci, &pci, err);
    if (ret < 0)
        return ret;
    for (unsigned i = 0; i < PV_VIRTIO_MMIO_SLOTS; i++)
        irqs[i] = pv_interrupts_spi(machine->interrupts, PV_INTID_VIRTIO + i);
    return pv_virtio_mmio_bank_create(&machine->virtio, machine->config.as, PV_MAP_VIRTIO,
                                      PV_VIRTIO_MMIO_SLOTS, irqs, err);
}

static void watchdog_bitten(void *opaque)
{
    struct pv_machine *machine = opaque;

    pv_warn(PV_LOG_MACHINE, "the guest left its watchdog alone");
    pv_machine_act(machine, machine->config.watchdog);
}

static int create_chips(struct pv_machine *machine, struct pv_error **err)
{
    const struct pv_machine_config *config = &machine->config;
    const struct pv_interrupts_config interrupts = {
        .as = config->as,
        .vcpus = config->vcpus,
        .mpidr = machine->mpidr,
        .its = config->msi == PV_MSI_ITS,
        .engine_gic = pv_engine_has_gic(config->engine),
    };
    const struct pv_gtimer_config timer = {
        .loop = config->loop,
        .vcpus = config->vcpus,
        .now_ns = pv_clock_ns,
        .set_ppi = set_ppi,
        .opaque = machine,
        .frequency =
            pv_engine_has_timer(config->engine) ? pv_engine_counter_frequency(config->engine) : 0,
    };
    int ret = pv_interrupts_create(&machine->interrupts, &interrupts, err);

    if (ret >= 0)
        ret = pv_gtimer_create(&machine->timer, &timer, err);
    if (ret >= 0)
        ret = pv_pl011_create(&machine->uart, config->as, PV_MAP_UART,
                              pv_interrupts_spi(machine->interrupts, PV_INTID_UART), config->uart,
                              err);
    if (ret >= 0)
        ret = pv_pl031_create(&machine->rtc, config->as, PV_MAP_RTC,
                              pv_interrupts_spi(machine->interrupts, PV_INTID_RTC), config->loop,
                              err);
    if (ret >= 0)
        ret = pv_pl061_create(&machine->gpio, config->as, PV_MAP_GPIO,
                              pv_interrupts_spi(machine->interrupts, PV_INTID_GPIO), config->loop,
                              err);
    if (ret < 0 || config->watchdog == PV_ACTION_UNSET)
        return ret;
    const struct pv_watchdog_config watchdog = {
        .loop = config->loop,
        .as = config->as,
        .timer = machine->timer,
        .irq = pv_interrupts_spi(machine->interrupts, PV_INTID_WDT),
        .bitten = watchdog_bitten,
        .opaque = machine,
    };
    return pv_watchdog_create(&machine->watchdog, &watchdog, err);
}

static int create_firmware(struct pv_machine *machine, struct pv_error **err)
{
    const struct pv_machine_config *config = &machine->config;
    const struct pv_acpi_config acpi = {
        .vcpus = config->vcpus,
        .mpidr = machine->mpidr,
        .its = config->msi == PV_MSI_ITS ? PV_MAP_ITS : 0,
        .watchdog = machine->watchdog,
    };
    const struct pv_firmware_config firmware = {
        .as = config->as,
        .code = config->firmware,
        .vars = config->vars,
        .vars_template = config->vars_template,
        .kernel = config->kernel,
        .initrd = config->initrd,
        .append = config->append,
        .vcpus = config->vcpus,
        .acpi = config->acpi ? &acpi : NULL,
    };

    return config->firmware ? pv_firmware_create(&machine->firmware, &firmware, err) : 0;
}

static int create_engine(struct pv_machine *machine, struct pv_error **err)
{
    const struct pv_machine_config *config = &machine->config;
    const struct pv_engine_config engine = {
        .as = config->as,
        .vcpus = config->vcpus,
        .client = &client,
        .client_opaque = machine,
        .mpidr = machine->mpidr,
        .gic = pv_interrupts_engine(machine->interrupts),
        .watch = config->watch,
    };

    return pv_engine_create(&machine->engine, config->engine, &engine, err);
}

static int create_parts(struct pv_machine *machine, struct pv_error **err)
{
    const struct pv_machine_config *config = &machine->config;
    int ret = pv_event_create(&machine->event, config->loop, handle_event, machine, err);

    if (ret >= 0)
        ret = pv_as_add_ram(config->as, PV_MAP_RAM, config->ram_size, "ram", err);
    if (ret >= 0)
        ret = create_chips(machine, err);
    if (ret >= 0)
        ret = create_buses(machine, err);
    if (ret >= 0)
        ret = create_firmware(machine, err);
    if (ret >= 0 && !config->empty)
        ret = load(machine, err);
    return ret < 0 ? ret : create_engine(machine, err);
}

static int check_config(const struct pv_machine_config *config, struct pv_error **err)
{
    if (config->vcpus < 1 || config->vcpus > PV_MAX_VCPUS)
        return pv_error_set(err, EINVAL, "%u CPUs; 1 to %u are possible", config->vcpus,
                            PV_MAX_VCPUS);
    if (config->ram_size < PV_MACHINE_MIN_RAM || config->ram_size > PV_MACHINE_MAX_RAM ||
        config->ram_size % (2 * PV_MIB))
        return pv_error_set(err, EINVAL,
                            "%llu MiB of memory; %llu MiB to %llu GiB in steps of 2 MiB are "
                            "possible",
                            (unsigned long long)(config->ram_size / PV_MIB),
                            (unsigned long long)(PV_MACHINE_MIN_RAM / PV_MIB),
                            (unsigned long long)(PV_MACHINE_MAX_RAM / PV_GIB));
    if (!config->kernel && !config->firmware)
        return pv_error_set(err, EINVAL, "no kernel and no firmware given");
    return 0;
}

static char *copy_string(const char *s, bool *ok)
{
    char *copy = s ? strdup(s) : NULL;

    if (s && !copy)
        *ok = false;
    return copy;
}

int pv_machine_create(struct pv_machine **out, const struct pv_machine_config *config,
                      struct pv_error **err)
{
    int ret = check_config(config, err);
    if (ret < 0)
        return ret;

    struct pv_machine *machine = calloc(1, sizeof(*machine));
    bool ok = true;
    if (!machine)
        return pv_error_set(err, ENOMEM, "out of memory for the machine");
    machine->config = *config;
    machine->kernel = copy_string(config->kernel, &ok);
    machine->initrd = copy_string(config->initrd, &ok);
    machine->append = copy_string(config->append, &ok);
    machine->dtb = copy_string(config->dtb, &ok);
    pthread_mutex_init(&machine->lock, NULL);
    for (unsigned i = 0; i < config->vcpus; i++)
        machine->mpidr[i] = (uint64_t)(i / 16) << 8 | i % 16;
    ret = ok ? create_parts(machine, err) : pv_error_set(err, ENOMEM, "out of memory");
    if (ret < 0) {
        pv_machine_destroy(machine);
        return ret;
    }
    *out = machine;
    return 0;
}

static int start_engine(struct pv_machine *machine, struct pv_error **err)
{
    int ret = pv_engine_start(machine->engine, err);

    if (ret < 0)
        return ret;
    pv_interrupts_attach(machine->interrupts, machine->engine);
    /* What goes by the board's counter (the watchdog) is to go by the guest's. */
    if (pv_engine_has_timer(machine->config.engine))
        pv_engine_set_counter(machine->engine, pv_gtimer_count(machine->timer));
    return 0;
}

int pv_machine_start(struct pv_machine *machine, struct pv_error **err)
{
    int ret = start_engine(machine, err);

    if (ret < 0)
        return ret;
    ret = boot(machine);
    return ret < 0 ? pv_error_set(err, -ret, "the first vCPU does not start") : 0;
}

int pv_machine_prepare(struct pv_machine *machine, struct pv_error **err)
{
    int ret = start_engine(machine, err);

    if (ret >= 0)
        pv_machine_pause(machine);
    return ret;
}

void pv_machine_stop(struct pv_machine *machine)
{
    all_off(machine);
}

void pv_machine_pause(struct pv_machine *machine)
{
    pv_engine_pause(machine->engine);
    if (machine->pauses++ > 0)
        return;
    pv_gtimer_freeze(machine->timer);
    if (pv_engine_has_timer(machine->config.engine) &&
        pv_engine_get_counter(machine->engine, &machine->count) < 0)
        pv_warn(PV_LOG_MACHINE, "the engine's counter cannot be read: the guest sees time pass");
}

void pv_machine_resume(struct pv_machine *machine)
{
    if (machine->pauses && --machine->pauses == 0) {
        pv_gtimer_thaw(machine->timer);
        if (pv_engine_has_timer(machine->config.engine))
            pv_engine_set_counter(machine->engine, machine->count);
    }
    pv_engine_resume(machine->engine);
}

bool pv_machine_quiet(struct pv_machine *machine, bool quiet)
{
    bool pci = pv_pci_bus_quiet(machine->pci, quiet);
    bool mmio = pv_virtio_mmio_bank_quiet(machine->virtio, quiet);

    return pci && mmio;
}

static const struct {
    enum pv_gtimer_which which;
    uint32_t ctl, cval;
} timers[] = {
    {PV_GTIMER_VIRTUAL, PV_SYSREG(3, 3, 14, 3, 1), PV_SYSREG(3, 3, 14, 3, 2)},
    {PV_GTIMER_PHYSICAL, PV_SYSREG(3, 3, 14, 2, 1), PV_SYSREG(3, 3, 14, 2, 2)},
};

/* How many of them are the engine's: one with a GIC has both. */
static size_t engine_timers(const struct pv_machine *machine)
{
    if (!pv_engine_has_timer(machine->config.engine))
        return 0;
    return pv_engine_has_gic(machine->config.engine) ? 2 : 1;
}

static void put_timers(struct pv_machine *machine, unsigned vcpu, struct pv_record *record)
{
    struct pv_vcpu *from = pv_engine_vcpu(machine->engine, vcpu);
    uint64_t ctl = 0, cval = 0;

    for (size_t i = 0; i < engine_timers(machine); i++) {
        if (pv_vcpu_get_sysreg(from, timers[i].ctl, &ctl) < 0 ||
            pv_vcpu_get_sysreg(from, timers[i].cval, &cval) < 0)
            pv_record_fail(record, EIO, "a timer's registers cannot be read");
        pv_gtimer_put(machine->timer, vcpu, timers[i].which, ctl, cval);
    }
}

static void take_timers(struct pv_machine *machine, unsigned vcpu, struct pv_record *record)
{
    struct pv_vcpu *to = pv_engine_vcpu(machine->engine, vcpu);
    uint64_t ctl, cval;

    for (size_t i = 0; i < engine_timers(machine); i++) {
        pv_gtimer_take(machine->timer, vcpu, timers[i].which, &ctl, &cval);
        if (pv_record_loading(record) && pv_record_ok(record) &&
            (pv_vcpu_set_sysreg(to, timers[i].cval, cval) < 0 ||
             pv_vcpu_set_sysreg(to, timers[i].ctl, ctl) < 0))
            pv_record_fail(record, EIO, "a timer's registers cannot be written");
    }
}

/* Timers are recorded as the board's, whoever has them while the guest runs. */
static void record_timers(struct pv_machine *machine, struct pv_record *record)
{
    const bool engine_has = pv_engine_has_timer(machine->config.engine);
    const bool loading = pv_record_loading(record);

    if (engine_has && !loading)
        pv_gtimer_set_count(machine->timer, machine->count);
    for (unsigned i = 0; i < machine->config.vcpus && !loading; i++)
        put_timers(machine, i, record);
    pv_gtimer_record(machine->timer, record);
    for (unsigned i = 0; i < machine->config.vcpus; i++)
        take_timers(machine, i, record);
    if (engine_has && loading)
        machine->count = pv_gtimer_count(machine->timer);
}

/* The interrupt controller comes last: what drives its wires may not change what it has latched. */
void pv_machine_record(struct pv_machine *machine, struct pv_record *record)
{
    pv_record_begin(record, 1, "machine");
    pv_record_same(record, machine->config.vcpus, "the number of CPUs");
    pv_record_same(record, machine->config.ram_size, "the size of memory");
    pv_record_same(record, machine->config.msi, "how PCI functions interrupt");
    pv_record_same(record, machine->watchdog != NULL, "whether there is a watchdog");
    pv_record_same(record, machine->firmware != NULL, "whether there is firmware");
    pv_record_end(record);
    for (unsigned i = 0; i < machine->config.vcpus && pv_record_ok(record); i++)
        pv_vcpu_record(pv_engine_vcpu(machine->engine, i), record);
    record_timers(machine, record);
    pv_pl011_record(machine->uart, record);
    pv_pl031_record(machine->rtc, record);
    pv_pl061_record(machine->gpio, record);
    if (machine->watchdog)
        pv_watchdog_record(machine->watchdog, record);
    if (machine->firmware)
        pv_firmware_record(machine->firmware, record);
    pv_pci_bus_record(machine->pci, record);
    pv_virtio_mmio_bank_record(machine->virtio, record);
    pv_interrupts_record(machine->interrupts, record);
}

void pv_machine_destroy(struct pv_machine *machine)
{
    if (!machine)
        return;
    /* First whoever executes; then devices, which may still move their wires; the GIC last. */
    if (machine->interrupts)
        pv_interrupts_attach(machine->interrupts, NULL);
    pv_engine_destroy(machine->engine);
    machine->engine = NULL;
    pv_firmware_destroy(machine->firmware);
    pv_virtio_mmio_bank_destroy(machine->virtio);
    pv_pci_bus_destroy(machine->pci);
    pv_watchdog_destroy(machine->watchdog);
    pv_pl061_destroy(machine->gpio);
    pv_pl031_destroy(machine->rtc);
    pv_pl011_destroy(machine->uart);
    pv_gtimer_destroy(machine->timer);
    pv_interrupts_destroy(machine->interrupts);
    pv_as_remove(machine->config.as, PV_MAP_RAM);
    if (machine->event)
        pv_event_destroy(machine->event);
    pthread_mutex_destroy(&machine->lock);
    free(machine->fatal);
    free(machine->kernel);
    free(machine->initrd);
    free(machine->append);
    free(machine->dtb);
    free(machine);
}

struct pv_pci_bus *pv_machine_pci(struct pv_machine *machine)
{
    return machine->pci;
}

struct pv_virtio_mmio_bank *pv_machine_virtio_mmio(struct pv_machine *machine)
{
    return machine->virtio;
}

struct pv_engine *pv_machine_engine(struct pv_machine *machine)
{
    return machine->engine;
}

void pv_machine_act(struct pv_machine *machine, enum pv_machine_action action)
{
    pthread_mutex_lock(&machine->lock);
    machine->want_off |= action == PV_ACTION_POWEROFF;
    machine->want_reset |= action == PV_ACTION_RESET;
    machine->want_pause |= action == PV_ACTION_PAUSE;
    pthread_mutex_unlock(&machine->lock);
    pv_event_signal(machine->event);
}

int pv_machine_set_boot_order(struct pv_machine *machine, const struct pv_buffer *order,
                              struct pv_error **err)
{
    if (!machine->firmware)
        return pv_error_set(err, EINVAL,
                            "a boot order is for firmware, and there is none; use --firmware uefi");
    return pv_firmware_set_boot_order(machine->firmware, order, err);
}

enum pv_machine_msi pv_machine_msi(const struct pv_machine *machine)
{
    return machine->config.msi;
}

void pv_machine_power_button(struct pv_machine *machine)
{
    pv_pl061_press(machine->gpio, PV_GPIO_POWER_LINE);
}
