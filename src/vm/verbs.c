/* SPDX-License-Identifier: MIT */
#include "vm/verbs.h"

#include "base/error.h"
#include "base/parse.h"
#include "base/util.h"
#include "vm/control.h"
#include "vm/vm.h"

#include <errno.h>

static int out_of_memory(struct pv_error **err)
{
    return pv_error_set(err, ENOMEM, "out of memory for the answer");
}

/* ---- What it is and does ---- */

static int status(void *opaque, struct pv_control_request *request, json_t **result,
                  struct pv_error **err)
{
    struct pv_vm_info info;
    pv_vm_info(opaque, &info);
    *result =
        json_pack("{s:s, s:s, s:I, s:I}", "state", info.paused ? "paused" : "running", "engine",
                  info.engine, "cpus", (json_int_t)info.cpus, "memory", (json_int_t)info.memory);
    if (!*result)
        return out_of_memory(err);
    if (info.balloon) {
        json_object_set_new(*result, "balloon-target", json_integer((json_int_t)info.target));
        json_object_set_new(*result, "balloon-actual", json_integer((json_int_t)info.actual));
        json_object_set_new(*result, "balloon-returned", json_integer((json_int_t)info.returned));
    }
    return 0;
}

static int pause_vm(void *opaque, struct pv_control_request *request, json_t **result,
                    struct pv_error **err)
{
    if (!pv_vm_pause(opaque))
        return pv_error_set(err, EALREADY, "the VM is paused already");
    return 0;
}

static int resume(void *opaque, struct pv_control_request *request, json_t **result,
                  struct pv_error **err)
{
    if (!pv_vm_resume(opaque))
        return pv_error_set(err, EALREADY, "the VM is not paused");
    return 0;
}

/* ---- Its end ---- */

static int power_button(void *opaque, struct pv_control_request *request, json_t **result,
                        struct pv_error **err)
{
    pv_vm_power_button(opaque);
    return 0;
}

static int reset(void *opaque, struct pv_control_request *request, json_t **result,
                 struct pv_error **err)
{
    pv_vm_reset(opaque);
    return 0;
}

/* The loop goes on to the end of this request, so that it is answered. */
static int kill_vm(void *opaque, struct pv_control_request *request, json_t **result,
                   struct pv_error **err)
{
    pv_vm_kill(opaque);
    return 0;
}

/* ---- Devices ---- */

static int balloon(void *opaque, struct pv_control_request *request, json_t **result,
                   struct pv_error **err)
{
    struct pv_vm_info info;
    uint64_t size;
    pv_vm_info(opaque, &info);
    int ret =
        pv_parse_size(pv_control_argument(request, "size"), "size", 0, info.memory - 1, &size, err);
    if (ret < 0)
        return ret;
    if (!pv_vm_set_balloon(opaque, size))
        return pv_error_set(err, ENODEV, "the VM has no balloon; run it with --balloon 0");
    return 0;
}

static int announce(void *opaque, struct pv_control_request *request, json_t **result,
                    struct pv_error **err)
{
    pv_vm_announce(opaque);
    return 0;
}

int pv_vm_verbs_create(struct pv_control **out, struct pv_vm *vm, const char *path,
                       struct pv_error **err)
{
    static const struct pv_control_verb verbs[] = {
        {.name = "status", .run = status},
        {.name = "pause", .run = pause_vm},
        {.name = "resume", .run = resume},
        {.name = "power-button", .run = power_button},
        {.name = "reset", .run = reset},
        {.name = "kill", .run = kill_vm},
        {.name = "balloon", .required = {"size"}, .run = balloon},
        {.name = "announce", .run = announce},
    };
    return pv_control_create(out, pv_vm_loop(vm), path, verbs, PV_ARRAY_SIZE(verbs), vm, err);
}
