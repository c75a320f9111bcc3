/* SPDX-License-Identifier: MIT */
#include "vm/verbs.h"

#include "base/error.h"
#include "base/parse.h"
#include "base/util.h"
#include "host/clock.h"
#include "vm/control.h"
#include "vm/vm.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

/* How long a guest may take to let go of a device: Linux waits 5 s for a second press, and more for
 * its slot's power. */
#define DETACH_SECONDS 30u

static int out_of_memory(struct pv_error **err)
{
    return pv_error_set(err, ENOMEM, "out of memory for the answer");
}

/* ---- What it is and does ---- */

/* The CPU time that this process has had. */
static double cpu_seconds(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) < 0)
        return 0;
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static int status(void *opaque, struct pv_control_request *request, json_t **result,
                  struct pv_error **err)
{
    struct pv_vm_info info;
    pv_vm_info(opaque, &info);
    *result =
        json_pack("{s:s, s:s, s:I, s:I, s:I, s:b, s:b}", "state", pv_vm_state_name(info.state),
                  "engine", info.engine, "cpus", (json_int_t)info.cpus, "memory",
                  (json_int_t)info.memory, "pid", (json_int_t)getpid(), "files-confined",
                  info.files_confined, "calls-confined", info.calls_confined);
    if (!*result)
        return out_of_memory(err);
    json_object_set_new(*result, "cpu-seconds", json_real(cpu_seconds()));
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

/* ---- Disks and networks ---- */

static int list_devices(void *opaque, struct pv_control_request *request, json_t **result,
                        struct pv_error **err)
{
    struct pv_vm_device device;
    json_t *rows = json_array();

    for (size_t i = 0; pv_vm_device(opaque, i, &device); i++) {
        json_t *row = json_pack("{s:s, s:s, s:s, s:i, s:b}", "id", device.id, "kind",
                                device.kind == PV_VM_DISK ? "disk" : "net", "detail", device.detail,
                                "slot", (int)device.slot, "leaving", device.leaving);
        if (!row || json_array_append_new(rows, row) < 0) {
            json_decref(rows);
            return out_of_memory(err);
        }
    }
    *result = json_pack("{s:o}", "devices", rows);
    return *result ? 0 : out_of_memory(err);
}

static int parse_yes(const struct pv_control_request *request, const char *name, bool *yes,
                     struct pv_error **err)
{
    const char *text = pv_control_argument(request, name);

    *yes = text && !strcmp(text, "yes");
    if (text && !*yes && strcmp(text, "no") != 0)
        return pv_error_set(err, EINVAL, "%s '%s': use yes or no", name, text);
    return 0;
}

static int attach_disk(struct pv_vm *vm, const struct pv_control_request *request, const char **id,
                       struct pv_error **err)
{
    PV_CLEANUP_FREE char *path = pv_control_path_argument(request, "disk");
    struct pv_config_disk disk = {.id = pv_control_argument(request, "id"), .path = path};

    if (!path)
        return out_of_memory(err);
    if (pv_control_argument(request, "forward"))
        return pv_error_set(err, EINVAL, "a disk has no forward");
    int ret = parse_yes(request, "read-only", &disk.read_only, err);
    return ret < 0 ? ret : pv_vm_attach_disk(vm, &disk, id, err);
}

static int parse_forwards(struct pv_config_net *net, const char *text, struct pv_error **err)
{
    PV_CLEANUP_FREE char *copy = strdup(text);

    if (!copy)
        return out_of_memory(err);
    for (char *rest = copy, *part; (part = strsep(&rest, ","));) {
        if (net->forward_count == PV_CONFIG_MAX_FORWARDS)
            return pv_error_set(err, EINVAL, "at most %u forwards", PV_CONFIG_MAX_FORWARDS);
        int ret = pv_port_forward_parse(part, &net->forwards[net->forward_count++], err);
        if (ret < 0)
            return ret;
    }
    return 0;
}

static int attach_net(struct pv_vm *vm, const struct pv_control_request *request, const char **id,
                      struct pv_error **err)
{
    const char *kind = pv_control_argument(request, "net");
    const char *forwards = pv_control_argument(request, "forward");
    struct pv_config_net net = {.id = pv_control_argument(request, "id"), .kind = PV_NET_USER};

    if (!strcmp(kind, "none"))
        net.kind = PV_NET_NONE;
    else if (strcmp(kind, "user") != 0)
        return pv_error_set(err, EINVAL, "net '%s': use user or none", kind);
    if (pv_control_argument(request, "read-only"))
        return pv_error_set(err, EINVAL, "a network cannot be read-only");
    if (forwards && net.kind != PV_NET_USER)
        return pv_error_set(err, EINVAL, "forward goes with net=user");
    int ret = forwards ? parse_forwards(&net, forwards, err) : 0;
    return ret < 0 ? ret : pv_vm_attach_net(vm, &net, id, err);
}

static int attach(void *opaque, struct pv_control_request *request, json_t **result,
                  struct pv_error **err)
{
    const bool disk = pv_control_argument(request, "disk");
    const char *id;

    if (disk == !!pv_control_argument(request, "net"))
        return pv_error_set(err, EINVAL, "attach: it needs disk=FILE or net=user|none");
    int ret = disk ? attach_disk(opaque, request, &id, err) : attach_net(opaque, request, &id, err);
    if (ret >= 0)
        *result = json_pack("{s:s}", "id", id);
    return ret;
}

static void detached(void *opaque, struct pv_error **err)
{
    pv_control_answer(opaque, NULL, err);
}

static int detach(void *opaque, struct pv_control_request *request, json_t **result,
                  struct pv_error **err)
{
    const char *timeout = pv_control_argument(request, "timeout");
    struct pv_vm_detach how = {.done = detached, .opaque = request};
    uint64_t seconds = DETACH_SECONDS;
    int ret = parse_yes(request, "force", &how.force, err);

    if (ret >= 0 && timeout)
        ret = pv_parse_u64(timeout, "timeout", 1, 3600, &seconds, err);
    if (ret < 0)
        return ret;
    how.timeout_ns = seconds * PV_NSEC_PER_SEC;
    ret = pv_vm_detach(opaque, pv_control_argument(request, "id"), &how, err);
    return ret == PV_VM_DETACH_LATER ? PV_CONTROL_LATER : ret;
}

static void snapshot_taken(void *opaque, uint64_t pause_us, struct pv_error **err)
{
    pv_control_answer(opaque, *err ? NULL : json_pack("{s:I}", "pause-us", (json_int_t)pause_us),
                      err);
}

static int snapshot(void *opaque, struct pv_control_request *request, json_t **result,
                    struct pv_error **err)
{
    PV_CLEANUP_FREE char *folder = pv_control_path_argument(request, "folder");
    bool full = false;

    if (!folder)
        return out_of_memory(err);
    int ret = parse_yes(request, "full", &full, err);
    if (ret >= 0)
        ret = pv_vm_snapshot(opaque, folder, pv_control_argument(request, "note"), full,
                             snapshot_taken, request, err);
    return ret < 0 ? ret : PV_CONTROL_LATER;
}

/* Who asked has the answer before the VM ends. */
static int suspend(void *opaque, struct pv_control_request *request, json_t **result,
                   struct pv_error **err)
{
    PV_CLEANUP_FREE char *folder = pv_control_path_argument(request, "folder");

    if (!folder)
        return out_of_memory(err);
    int ret = pv_vm_suspend(opaque, folder, snapshot_taken, request, err);
    return ret < 0 ? ret : PV_CONTROL_LATER;
}

static int forget_snapshot(void *opaque, struct pv_control_request *request, json_t **result,
                           struct pv_error **err)
{
    pv_vm_snapshot_forget(opaque, pv_control_argument(request, "tag"));
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
        {.name = "devices", .run = list_devices},
        {.name = "attach",
         .optional = {"disk", "net", "id", "read-only", "forward"},
         .run = attach},
        {.name = "snapshot", .required = {"folder"}, .optional = {"note", "full"}, .run = snapshot},
        {.name = "suspend", .required = {"folder"}, .run = suspend},
        {.name = "forget-snapshot", .required = {"tag"}, .run = forget_snapshot},
        {.name = "detach", .required = {"id"}, .optional = {"force", "timeout"}, .run = detach},
    };
    return pv_control_create(out, pv_vm_loop(vm), path, verbs, PV_ARRAY_SIZE(verbs), vm, err);
}
