/* SPDX-License-Identifier: MIT */
/* The public C API, over pv_vm. Inputs are checked here; inside they are trusted. */
#include "base/error.h"
#include "base/util.h"
#include "vm/vm.h"

#include <errno.h>
#include <pearvisor/pearvisor.h>
#include <string.h>

struct pearvisor_vm {
    struct pv_vm *vm;
};

static int hand_out(int ret, struct pv_error **err, char **message)
{
    if (message)
        *message = ret < 0 ? strdup(pv_error_message(*err)) : NULL;
    return ret;
}

int pearvisor_api_version(void)
{
    return PEARVISOR_API_VERSION;
}

static int create(struct pearvisor_vm **out, const struct pearvisor_options *options,
                  struct pv_error **err)
{
    struct pv_config config;

    if (!out || !options)
        return pv_error_set(err, EINVAL, "a pointer is NULL");
    if (options->api_version != PEARVISOR_API_VERSION)
        return pv_error_set(err, EINVAL, "API version %d is not this library's, %d",
                            options->api_version, PEARVISOR_API_VERSION);
    pv_config_init(&config);
    if (options->cpus)
        config.cpus = options->cpus;
    if (options->memory_bytes)
        config.memory = options->memory_bytes;
    config.kernel = options->kernel;
    config.initrd = options->initrd;
    config.append = options->append;
    if (options->disk)
        config.disks[config.disk_count++].path = options->disk;
    config.console = options->console ? PV_CONSOLE_UNIX : PV_CONSOLE_NULL;
    config.console_path = options->console;

    PV_CLEANUP_FREE struct pearvisor_vm *vm = calloc(1, sizeof(*vm));
    if (!vm)
        return pv_error_set(err, ENOMEM, "out of memory");
    int ret = pv_vm_create(&vm->vm, &config, NULL, err);
    if (ret >= 0)
        *out = PV_STEAL(vm);
    return ret;
}

int pearvisor_vm_create(struct pearvisor_vm **out, const struct pearvisor_options *options,
                        char **message)
{
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    return hand_out(create(out, options, &err), &err, message);
}

int pearvisor_vm_run(struct pearvisor_vm *vm, char **message)
{
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    enum pv_vm_end end;
    return hand_out(pv_vm_run(vm->vm, &end, &err), &err, message);
}

void pearvisor_vm_power_button(struct pearvisor_vm *vm)
{
    pv_vm_power_button(vm->vm);
}

void pearvisor_vm_kill(struct pearvisor_vm *vm)
{
    pv_vm_kill(vm->vm);
}

void pearvisor_vm_destroy(struct pearvisor_vm *vm)
{
    if (!vm)
        return;
    pv_vm_destroy(vm->vm);
    free(vm);
}
