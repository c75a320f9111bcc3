/* SPDX-License-Identifier: MIT */
/* Figures for Prometheus, in its text format (version 0.0.4). */
#include "api_handlers.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/util.h"
#include "daemon/api.h"
#include "daemon/watch.h"
#include "vm/library.h"

#include <errno.h>
#include <string.h>

#define MAX_TEXT ((size_t)4 << 20)

/* What a VM's status has that is a figure. */
static const struct {
    const char *key, *name, *help;
} gauges[] = {
    {"cpus", "pearvisor_vm_cpus", "Virtual CPUs of a running VM."},
    {"memory", "pearvisor_vm_memory_bytes", "Memory of a running VM, as configured."},
    {"cpu-seconds", "pearvisor_vm_cpu_seconds", "CPU time its process has had."},
    {"balloon-actual", "pearvisor_vm_balloon_bytes", "What its balloon has taken from it."},
};

static void add_vm(void *opaque, const char *name, const char *folder)
{
    json_t *status = NULL;
    const enum pv_vm_state state = pv_library_state(folder, NULL);
    if (pv_vm_state_lives(state))
        pv_library_ask(folder, "status", NULL, &status, NULL);
    json_t *row =
        json_pack("{s:s, s:i, s:o*}", "name", name, "state", (int)state, "status", status);
    json_array_append_new(opaque, row);
}

static void print_states(struct pv_buffer *text, json_t *rows)
{
    size_t i;
    json_t *row;
    pv_buffer_printf(text, "# HELP pearvisor_vm_state 1 for the state that a VM is in.\n"
                           "# TYPE pearvisor_vm_state gauge\n");
    json_array_foreach(rows, i, row)
    {
        const json_int_t now = json_integer_value(json_object_get(row, "state"));
        for (unsigned state = 0; state < PV_VM_STATE_COUNT; state++)
            pv_buffer_printf(text, "pearvisor_vm_state{vm=\"%s\",state=\"%s\"} %d\n",
                             json_string_value(json_object_get(row, "name")),
                             pv_vm_state_name(state), state == now);
    }
}

static void print_gauge(struct pv_buffer *text, json_t *rows, size_t index)
{
    size_t i;
    json_t *row;
    pv_buffer_printf(text, "# HELP %s %s\n# TYPE %s gauge\n", gauges[index].name,
                     gauges[index].help, gauges[index].name);
    json_array_foreach(rows, i, row)
    {
        json_t *value = json_object_get(json_object_get(row, "status"), gauges[index].key);
        if (json_is_number(value))
            pv_buffer_printf(text, "%s{vm=\"%s\"} %.15g\n", gauges[index].name,
                             json_string_value(json_object_get(row, "name")),
                             json_number_value(value));
    }
}

int pv_api_metrics(struct pv_daemon *daemon, json_t *values, struct pv_api_reply *reply,
                   struct pv_error **err)
{
    struct pv_buffer text = PV_BUFFER_INIT(MAX_TEXT);
    json_t *rows = json_array();
    int ret = pv_watch_each(add_vm, rows, err);
    print_states(&text, rows);
    for (size_t i = 0; i < PV_ARRAY_SIZE(gauges); i++)
        print_gauge(&text, rows, i);
    json_decref(rows);
    if (ret >= 0 && !text.data)
        ret = pv_error_set(err, ENOMEM, "out of memory");
    if (ret < 0) {
        pv_buffer_finish(&text);
        return ret;
    }
    reply->text = text.data;
    reply->size = text.size;
    reply->type = "text/plain; version=0.0.4";
    return 0;
}
