/* SPDX-License-Identifier: MIT */
/*
 * Puts a machine together from a config and runs it. The guest's console is the UART, which every
 * stock kernel has a driver for, or a virtio console where it is asked for; a virtio-rng is always
 * there.
 */
#include "vm/vm.h"

#include "base/buffer.h"
#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "device/balloon.h"
#include "device/pvpanic.h"
#include "device/rng.h"
#include "engine/engine.h"
#include "host/chardev.h"
#include "host/confine.h"
#include "host/loop.h"
#include "machine/machine.h"
#include "memory/address_space.h"
#include "virtio/virtio.h"
#include "virtio/virtio_mmio.h"
#include "virtio/virtio_pci.h"
#include "vm/boot_order.h"
#include "vm/confine.h"
#include "vm/control.h"
#include "vm/devices.h"
#include "vm/firmware.h"
#include "vm/graphics.h"
#include "vm/hotplug.h"
#include "vm/memory_load.h"
#include "vm/snapshot.h"
#include "vm/snapshot_file.h"
#include "vm/verbs.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

/* Disks and networks have a queue (pair) for each vCPU, up to so many. */
#define MAX_QUEUES 16u

struct pv_vm {
    struct pv_vm_events events;
    struct pv_loop *loop;
    struct pv_address_space *as;
    struct pv_chardev *console;
    struct pv_chardev *silence; /* what the UART is connected to beside a virtio console */
    struct pv_machine *machine;
    struct pv_vm_devices *devices;
    struct pv_vm_hotplug *hotplug;
    struct pv_control *control; /* or NULL */
    const struct pv_engine_ops *engine;
    unsigned cpus;
    uint64_t memory;
    struct pv_vm_graphics *graphics;
    enum pv_config_transport transport;
    enum pv_machine_action on_panic;
    bool packed_rings;
    bool paused;
    unsigned full_disks; /* the guest waits for room on the host */
    atomic_bool told;    /* its power button was pressed, and it has not begun anew since */
    bool ended;
    bool going; /* being destroyed */
    atomic_bool killed;
    char *fatal;
    bool restored; /* from a snapshot: it only has to go on */
    bool confine;  /* what follows is said of it */
    bool files_confined, calls_confined;
    unsigned call_sets;

    struct pv_memory_load *memory_load; /* of the snapshot it was restored from, or NULL */
    struct pv_snapshot *snapshot;       /* being taken, or NULL */
    char *snapshot_folder;              /* where to */
    struct pv_snapshot_base base;
    bool suspending; /* the snapshot is the last */
    bool saved;
    void (*snapshot_done)(void *opaque, uint64_t pause_us, struct pv_error **err);
    void *snapshot_opaque;
};

/* ---- Events of the machine ---- */

static void powered_off(void *opaque)
{
    struct pv_vm *vm = opaque;
    vm->ended = true;
    pv_loop_stop(vm->loop);
}

static void was_reset(void *opaque)
{
    struct pv_vm *vm = opaque;

    pv_info(PV_LOG_VM, "the guest reset itself");
    atomic_store(&vm->told, false);
    if (vm->events.reset)
        vm->events.reset(vm->events.opaque);
}

static void pause_wanted(void *opaque)
{
    if (pv_vm_pause(opaque))
        pv_warn(PV_LOG_VM, "the VM is paused; 'resume' lets it go on");
}

static void fatal(void *opaque, const char *message)
{
    struct pv_vm *vm = opaque;

    if (!vm->fatal)
        vm->fatal = strdup(message);
    vm->ended = true;
    pv_loop_stop(vm->loop);
}

static void escape(void *opaque)
{
    struct pv_vm *vm = opaque;
    if (vm->events.console_escape)
        vm->events.console_escape(vm->events.opaque);
}

static void window_closed(void *opaque)
{
    struct pv_vm *vm = opaque;
    if (vm->events.window_closed)
        vm->events.window_closed(vm->events.opaque);
}

/* ---- Devices ---- */

static int create_console(struct pv_vm *vm, const struct pv_config *config, struct pv_error **err)
{
    PV_CLEANUP_FREE char *path = NULL;
    const char *ready = NULL;
    int ret;

    switch (config->console) {
    case PV_CONSOLE_PTY:
        ret = pv_chardev_pty_create(&vm->console, vm->loop, &path, err);
        ready = path;
        break;
    case PV_CONSOLE_UNIX:
        ret = pv_chardev_unix_create(&vm->console, vm->loop, config->console_path, err);
        ready = config->console_path;
        break;
    case PV_CONSOLE_NULL: ret = pv_chardev_null_create(&vm->console, err); break;
    default: ret = pv_chardev_stdio_create(&vm->console, vm->loop, escape, vm, err); break;
    }
    if (ret >= 0 && config->console_log)
        ret = pv_chardev_log(vm->console, config->console_log, config->console_log_max, err);
    if (ret < 0)
        return pv_error_prefix(err, "console");
    if (ready && vm->events.console_ready)
        vm->events.console_ready(vm->events.opaque, ready);
    return 0;
}

/* Plugs a device into the VM's transport; it is gone when that fails. */
static int plug(void *opaque, struct pv_virtio_device *device, struct pv_error **err)
{
    struct pv_vm *vm = opaque;
    pv_virtio_offer_packed(device, vm->packed_rings);
    int ret = vm->transport == PV_TRANSPORT_PCI
                  ? pv_virtio_pci_create(device, pv_machine_pci(vm->machine), -1, err)
                  : pv_virtio_mmio_create(device, pv_machine_virtio_mmio(vm->machine), -1, err);
    if (ret < 0)
        pv_virtio_device_destroy(device);
    return ret;
}

static void port_ready(void *opaque, const char *name, const char *path)
{
    struct pv_vm *vm = opaque;
    if (vm->events.port_ready)
        vm->events.port_ready(vm->events.opaque, name, path);
}

static void guest_panicked(void *opaque, enum pv_panic_event event)
{
    struct pv_vm *vm = opaque;

    if (event == PV_PANIC_CRASHLOADED) {
        pv_warn(PV_LOG_VM, "the guest panicked; its crash kernel takes over");
        return;
    }
    pv_warn(PV_LOG_VM, "the guest panicked");
    pv_machine_act(vm->machine, vm->on_panic);
}

/* The guest waits as long as any disk has no room. */
static void disk_full(void *opaque, bool full)
{
    struct pv_vm *vm = opaque;

    if (vm->going)
        return;
    if (full && !vm->full_disks++)
        pv_machine_pause(vm->machine);
    else if (!full && !--vm->full_disks)
        pv_machine_resume(vm->machine);
}

static int set_boot_order(struct pv_vm *vm, const struct pv_boot_order *order,
                          struct pv_error **err)
{
    PV_CLEANUP_BUFFER struct pv_buffer text = PV_BUFFER_INIT(4 * PV_KIB);
    int ret = pv_boot_order_write(order, &text, err);

    return ret < 0 || !order->count ? ret : pv_machine_set_boot_order(vm->machine, &text, err);
}

static void scsi_disk(void *opaque, size_t index, struct pv_block *block)
{
    pv_vm_hotplug_scsi_disk(((struct pv_vm *)opaque)->hotplug, index, block);
}

static int add_devices(struct pv_vm *vm, const struct pv_config *config, struct pv_error **err)
{
    const unsigned queues = PV_MIN(config->cpus, MAX_QUEUES);
    struct pv_boot_order boot = {.transport = config->transport};
    const struct pv_vm_hotplug_config hotplug = {
        .loop = vm->loop,
        .as = vm->as,
        .machine = vm->machine,
        .slots = config->hotplug_slots,
        .queues = queues,
        .packed_rings = vm->packed_rings,
        .boot = &boot,
        .disk_full = disk_full,
        .plug = plug,
        .opaque = vm,
    };
    const struct pv_vm_sockets sockets = {
        .loop = vm->loop,
        .as = vm->as,
        .console = vm->console,
        .boot = &boot,
        .plug = plug,
        .scsi_disk = scsi_disk,
        .port_ready = port_ready,
        .disk_full = disk_full,
        .window_closed = window_closed,
        .opaque = vm,
    };
    struct pv_virtio_device *rng;
    int ret = pv_vm_hotplug_create(&vm->hotplug, &hotplug, err);

    for (unsigned i = 0; i < config->net_count && ret >= 0; i++) {
        ret = pv_vm_hotplug_add_net(vm->hotplug, &config->nets[i], err);
        if (ret < 0)
            return pv_error_prefix(err, "net %u", i);
    }
    for (unsigned i = 0; i < config->disk_count && ret >= 0; i++) {
        ret = pv_vm_hotplug_add_disk(vm->hotplug, &config->disks[i], err);
        if (ret < 0)
            return pv_error_prefix(err, "disk %u", i);
    }
    if (ret < 0)
        return ret;
    ret = pv_rng_create(&rng, vm->loop, vm->as, err);
    if (ret >= 0)
        ret = plug(vm, rng, err);
    if (ret >= 0)
        ret = pv_vm_devices_create(&vm->devices, &sockets, config, queues, err);
    if (ret >= 0)
        ret = pv_vm_graphics_create(&vm->graphics, &sockets, config, err);
    if (ret >= 0)
        ret = set_boot_order(vm, &boot, err);
    if (ret < 0 || vm->on_panic == PV_ACTION_UNSET)
        return ret;
    return pv_pvpanic_create(pv_machine_pci(vm->machine), guest_panicked, vm, err);
}

/* ---- Snapshots ---- */

static void snapshot_done(void *opaque, const struct pv_snapshot_info *info, struct pv_error **err)
{
    struct pv_vm *vm = opaque;
    const uint64_t pause_us = info->pause_us;

    if (!*err)
        pv_snapshot_base_set(&vm->base, vm->snapshot_folder, info->tag);
    pv_snapshot_destroy(PV_STEAL(vm->snapshot));
    vm->saved = vm->suspending && !*err;
    vm->snapshot_done(vm->snapshot_opaque, pause_us, err);
    if (vm->saved)
        pv_loop_stop(vm->loop);
}

static int begin_snapshot(struct pv_vm *vm, const char *folder, const char *note, bool full,
                          bool last,
                          void (*done)(void *opaque, uint64_t pause_us, struct pv_error **err),
                          void *opaque, struct pv_error **err)
{
    const struct pv_snapshot_config config = {
        .loop = vm->loop,
        .as = vm->as,
        .machine = vm->machine,
        .hotplug = vm->hotplug,
        .folder = folder,
        .note = note,
        .base = &vm->base,
        .full = full,
        .engine = pv_engine_name(vm->engine),
        .memory = vm->memory,
        .cpus = vm->cpus,
        .last = last,
        .done = snapshot_done,
        .opaque = vm,
    };

    if (vm->snapshot)
        return pv_error_set(err, EBUSY, "a snapshot is being taken already");
    vm->snapshot_done = done;
    vm->snapshot_opaque = opaque;
    vm->suspending = last;
    free(vm->snapshot_folder);
    vm->snapshot_folder = strdup(folder);
    if (!vm->snapshot_folder)
        return pv_error_set(err, ENOMEM, "out of memory for the snapshot");
    int ret = pv_snapshot_create(&vm->snapshot, &config, err);
    /* It takes what the log has; if it fails, that is lost. */
    vm->base.logged = vm->base.logged && ret < 0 && pv_as_dirty_logging(vm->as);
    return ret;
}

int pv_vm_snapshot(struct pv_vm *vm, const char *folder, const char *note, bool full,
                   void (*done)(void *opaque, uint64_t pause_us, struct pv_error **err),
                   void *opaque, struct pv_error **err)
{
    return begin_snapshot(vm, folder, note, full, false, done, opaque, err);
}

int pv_vm_suspend(struct pv_vm *vm, const char *folder,
                  void (*done)(void *opaque, uint64_t pause_us, struct pv_error **err),
                  void *opaque, struct pv_error **err)
{
    return begin_snapshot(vm, folder, NULL, true, true, done, opaque, err);
}

void pv_vm_snapshot_forget(struct pv_vm *vm, const char *tag)
{
    pv_vm_hotplug_forget_disks(vm->hotplug, tag);
}

/* What can be known to be wrong before anything is changed. */
static int check_snapshot(const struct pv_config *config, const struct pv_snapshot_info *info,
                          struct pv_error **err)
{
    size_t writable = 0;

    for (size_t i = 0; i < config->disk_count; i++)
        writable += !config->disks[i].read_only;
    if (writable != info->disk_count)
        return pv_error_set(err, EINVAL, "it is of a VM with %zu writable disks, this one has %zu",
                            info->disk_count, writable);
    if (config->cpus != info->cpus)
        return pv_error_set(err, EINVAL, "it is of a VM with %u CPUs, this one has %u", info->cpus,
                            config->cpus);
    if (config->memory != info->memory)
        return pv_error_set(err, EINVAL, "it is of a VM with %llu MiB of memory, this one has %llu",
                            (unsigned long long)(info->memory / PV_MIB),
                            (unsigned long long)(config->memory / PV_MIB));
    return 0;
}

/* The machine is where the snapshot was, and stands still. Disks are changed when all is well. */
static int restore(struct pv_vm *vm, const struct pv_config *config, struct pv_error **err)
{
    struct pv_snapshot_info info;
    int ret = pv_snapshot_info_read(&info, config->restore, err);

    if (ret >= 0) {
        ret = check_snapshot(config, &info, err);
        if (ret >= 0)
            ret = pv_snapshot_restore(&vm->memory_load, vm->machine, vm->as, config->restore, err);
        if (ret >= 0 && *info.tag)
            ret = pv_vm_hotplug_bring_back_disks(vm->hotplug, info.tag, err);
        /* Where it was suspended will be gone: nothing can rest on that. */
        if (ret >= 0 && *info.tag)
            ret = pv_as_dirty_log(vm->as, true, err);
        if (ret >= 0 && *info.tag)
            pv_snapshot_base_set(&vm->base, config->restore, info.tag);
        if (ret < 0)
            pv_error_prefix(err, "snapshot '%s'", config->restore);
    }
    pv_snapshot_info_finish(&info);
    vm->restored = true;
    return ret;
}

/* ---- Life ---- */

static int choose_engine(const struct pv_engine_ops **out, const char *name, struct pv_error **err)
{
    *out = name ? pv_engine_find(name) : pv_engine_default();
    if (*out)
        return pv_engine_probe(*out, err);
    return name ? pv_error_set(err, ENOENT, "engine '%s' is not known", name)
                : pv_error_set(err, ENODEV, "no engine can run guests on this host");
}

static int create_parts(struct pv_vm *vm, const struct pv_config *config, struct pv_error **err)
{
    struct pv_machine_config machine = {
        .vcpus = config->cpus,
        .msi = config->msi,
        .watchdog = config->watchdog,
        .ram_size = config->memory,
        .kernel = config->kernel,
        .initrd = config->initrd,
        .append = config->append,
        .dtb = config->dtb,
        .empty = config->restore,
        .watch = config->watch,
        .events = {powered_off, was_reset, pause_wanted, fatal, vm},
    };
    struct pv_firmware_files firmware;
    int ret = choose_engine(&machine.engine, config->engine, err);

    if (ret >= 0)
        ret = pv_firmware_choose(&firmware, config, err);
    if (ret >= 0)
        ret = pv_loop_create(&vm->loop, err);
    if (ret >= 0)
        ret = pv_as_create(&vm->as, err);
    if (ret >= 0)
        ret = create_console(vm, config, err);
    if (ret >= 0 && config->console_virtio)
        ret = pv_chardev_null_create(&vm->silence, err);
    if (ret < 0)
        return ret;
    machine.firmware = firmware.code;
    machine.vars_template = firmware.vars_template;
    machine.vars = config->vars;
    machine.acpi = firmware.acpi;
    machine.loop = vm->loop;
    machine.as = vm->as;
    machine.uart = config->console_virtio ? vm->silence : vm->console;
    vm->engine = machine.engine;
    vm->cpus = config->cpus;
    vm->memory = config->memory;
    ret = pv_machine_create(&vm->machine, &machine, err);
    if (ret >= 0)
        ret = add_devices(vm, config, err);
    if (ret >= 0 && config->control_path)
        ret = pv_vm_verbs_create(&vm->control, vm, config->control_path, err);
    return ret;
}

/* Before there are threads, as files are confined thread by thread. */
static int confine_files(struct pv_vm *vm, const struct pv_config *config, struct pv_error **err)
{
    if (!config->confine)
        return 0;
    int ret = pv_vm_confine_files(config, err);
    vm->confine = true;
    vm->call_sets = pv_vm_call_sets(config);
    vm->files_confined = ret > 0;
    if (ret == 0)
        pv_warn(PV_LOG_VM, "this host's kernel cannot confine files (it has no Landlock)");
    return PV_MIN(ret, 0);
}

/* With everything made and nothing of the guest's run. */
static int confine_calls(struct pv_vm *vm, struct pv_error **err)
{
    if (!vm->confine)
        return 0;
    int ret = pv_confine_calls(vm->call_sets, err);
    vm->calls_confined = ret > 0;
    if (ret == 0)
        pv_warn(PV_LOG_VM, "this host's kernel cannot confine system calls (it has no seccomp)");
    return PV_MIN(ret, 0);
}

int pv_vm_create(struct pv_vm **out, const struct pv_config *config,
                 const struct pv_vm_events *events, struct pv_error **err)
{
    struct pv_vm *vm = calloc(1, sizeof(*vm));

    if (!vm)
        return pv_error_set(err, ENOMEM, "out of memory for the VM");
    if (events)
        vm->events = *events;
    vm->transport = config->transport;
    vm->on_panic = config->on_panic;
    vm->packed_rings = config->packed_rings;
    int ret = confine_files(vm, config, err);
    if (ret >= 0)
        ret = create_parts(vm, config, err);
    if (ret >= 0 && config->restore)
        ret = restore(vm, config, err);
    if (ret < 0) {
        pv_vm_destroy(vm);
        return ret;
    }
    *out = vm;
    return 0;
}

static int start_machine(struct pv_vm *vm, struct pv_error **err)
{
    if (!vm->restored)
        return pv_machine_start(vm->machine, err);
    pv_machine_resume(vm->machine);
    return 0;
}

int pv_vm_run(struct pv_vm *vm, enum pv_vm_end *end, struct pv_error **err)
{
    int ret = 0;

    if (!atomic_load(&vm->killed)) {
        ret = confine_calls(vm, err);
        if (ret >= 0)
            ret = pv_vm_graphics_start(vm->graphics, err);
        if (ret >= 0)
            ret = start_machine(vm, err);
        /* A stop that came before the loop ran is not lost: the flags say whether we are done. */
        while (ret >= 0 && !vm->ended && !vm->saved && !atomic_load(&vm->killed))
            ret = pv_loop_run(vm->loop, err);
        pv_machine_stop(vm->machine);
        pv_vm_graphics_stop(vm->graphics);
    }
    if (ret >= 0 && vm->fatal)
        ret = pv_error_set(err, EIO, "%s", vm->fatal);
    *end = vm->saved                ? PV_VM_SAVED
           : !vm->ended             ? PV_VM_KILLED
           : atomic_load(&vm->told) ? PV_VM_OBEYED
                                    : PV_VM_POWERED_OFF;
    return PV_MIN(ret, 0);
}

void pv_vm_power_button(struct pv_vm *vm)
{
    atomic_store(&vm->told, true);
    pv_machine_power_button(vm->machine);
}

bool pv_vm_pause(struct pv_vm *vm)
{
    if (vm->paused)
        return false;
    pv_machine_pause(vm->machine);
    return vm->paused = true;
}

bool pv_vm_resume(struct pv_vm *vm)
{
    if (!vm->paused)
        return false;
    pv_machine_resume(vm->machine);
    vm->paused = false;
    return true;
}

void pv_vm_reset(struct pv_vm *vm)
{
    atomic_store(&vm->told, false);
    pv_machine_act(vm->machine, PV_ACTION_RESET);
}

void pv_vm_announce(struct pv_vm *vm)
{
    pv_vm_hotplug_announce(vm->hotplug);
}

bool pv_vm_device(const struct pv_vm *vm, size_t index, struct pv_vm_device *device)
{
    return pv_vm_hotplug_device(vm->hotplug, index, device);
}

int pv_vm_attach_disk(struct pv_vm *vm, const struct pv_config_disk *disk, const char **id,
                      struct pv_error **err)
{
    int ret = pv_vm_hotplug_attach_disk(vm->hotplug, disk, id, err);
    if (ret == -EACCES && vm->files_confined)
        pv_error_prefix(err, "the VM reaches only what its configuration names (--grant)");
    return ret;
}

int pv_vm_attach_net(struct pv_vm *vm, const struct pv_config_net *net, const char **id,
                     struct pv_error **err)
{
    return pv_vm_hotplug_attach_net(vm->hotplug, net, id, err);
}

int pv_vm_detach(struct pv_vm *vm, const char *id, const struct pv_vm_detach *how,
                 struct pv_error **err)
{
    return pv_vm_hotplug_detach(vm->hotplug, id, how, err);
}

void pv_vm_report(struct pv_vm *vm, struct pv_buffer *out)
{
    pv_engine_report(pv_machine_engine(vm->machine), out);
}

void pv_vm_info(const struct pv_vm *vm, struct pv_vm_info *info)
{
    struct pv_virtio_device *balloon = pv_vm_devices_balloon(vm->devices);
    *info = (struct pv_vm_info){
        .engine = pv_engine_name(vm->engine),
        .cpus = vm->cpus,
        .memory = vm->memory,
        .state = vm->paused || vm->full_disks ? PV_VM_PAUSED
                 : atomic_load(&vm->told)     ? PV_VM_STOPPING
                                              : PV_VM_RUNNING,
        .files_confined = vm->files_confined,
        .calls_confined = vm->calls_confined,
        .balloon = balloon,
    };
    if (balloon) {
        struct pv_balloon_info now;
        pv_balloon_info(balloon, &now);
        info->target = now.target;
        info->actual = now.actual;
        info->returned = now.returned;
    }
}

bool pv_vm_set_balloon(struct pv_vm *vm, uint64_t bytes)
{
    struct pv_virtio_device *balloon = pv_vm_devices_balloon(vm->devices);
    if (balloon)
        pv_balloon_set_target(balloon, bytes);
    return balloon;
}

int pv_vm_save_picture(struct pv_vm *vm, struct pv_error **err)
{
    return pv_vm_graphics_save(vm->graphics, err);
}

void pv_vm_kill(struct pv_vm *vm)
{
    atomic_store(&vm->killed, true);
    pv_loop_stop(vm->loop);
}

struct pv_loop *pv_vm_loop(struct pv_vm *vm)
{
    return vm->loop;
}

void pv_vm_destroy(struct pv_vm *vm)
{
    if (!vm)
        return;
    vm->going = true;
    pv_vm_graphics_stop(vm->graphics);
    pv_control_destroy(vm->control);
    pv_snapshot_destroy(vm->snapshot);
    pv_memory_load_stop(vm->memory_load);
    pv_machine_destroy(vm->machine);
    pv_vm_hotplug_destroy(vm->hotplug);
    pv_vm_graphics_destroy(vm->graphics);
    pv_vm_devices_destroy(vm->devices);
    pv_chardev_destroy(vm->console);
    pv_chardev_destroy(vm->silence);
    pv_memory_load_destroy(vm->memory_load);
    pv_snapshot_base_finish(&vm->base);
    free(vm->snapshot_folder);
    pv_as_destroy(vm->as);
    pv_loop_destroy(vm->loop);
    free(vm->fatal);
    free(vm);
}
