/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include "base/error.h"
#include "base/util.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static const char *const component_names[] = {
#define X(id, name) [PV_LOG_##id] = name,
    PV_LOG_COMPONENTS(X)
#undef X
};

static const char *const level_names[] = {"off", "error", "warn", "info", "debug", "trace"};

static void stderr_sink(void *opaque, enum pv_log_component component, enum pv_log_level level,
                        const char *line)
{
    fprintf(stderr, "pearvisor: %s: %s: %s\n", level_names[level], component_names[component],
            line);
}

static struct {
    /* Offset by one so that the zero-initialised value means "not set": warn. */
    _Atomic unsigned char level_plus_one[PV_LOG_COMPONENT_COUNT];
    pv_log_sink_fn *sink;
    void *opaque;
} log_state = {.sink = stderr_sink};

static int find(const char *const *names, size_t count, const char *text, size_t len)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(names[i]) == len && !memcmp(names[i], text, len))
            return (int)i;
    return -1;
}

int pv_log_set_filter(const char *filter, struct pv_error **err)
{
    unsigned char levels[PV_LOG_COMPONENT_COUNT];
    for (size_t i = 0; i < PV_ARRAY_SIZE(levels); i++)
        levels[i] = atomic_load_explicit(&log_state.level_plus_one[i], memory_order_relaxed);

    const char *p = filter;
    while (*p) {
        size_t len = strcspn(p, ",");
        const char *eq = memchr(p, '=', len);
        const char *level_text = eq ? eq + 1 : p;
        int level = find(level_names, PV_ARRAY_SIZE(level_names), level_text,
                         len - (size_t)(level_text - p));
        if (level < 0)
            return pv_error_set(err, EINVAL,
                                "log filter '%.*s': unknown level; use off, error, warn, info, "
                                "debug or trace",
                                (int)len, p);
        if (eq) {
            int component =
                find(component_names, PV_ARRAY_SIZE(component_names), p, (size_t)(eq - p));
            if (component < 0)
                return pv_error_set(err, EINVAL,
                                    "log filter '%.*s': unknown component; use engine, interp, "
                                    "gic, pci, virtio, blk, net, ...",
                                    (int)len, p);
            levels[component] = (unsigned char)(level + 1);
        } else {
            memset(levels, level + 1, sizeof(levels));
        }
        p += len;
        if (*p == ',')
            p++;
    }
    for (size_t i = 0; i < PV_ARRAY_SIZE(levels); i++)
        atomic_store_explicit(&log_state.level_plus_one[i], levels[i], memory_order_relaxed);
    return 0;
}

void pv_log_set_sink(pv_log_sink_fn *sink, void *opaque)
{
    log_state.sink = sink ? sink : stderr_sink;
    log_state.opaque = sink ? opaque : NULL;
}

bool pv_log_enabled(enum pv_log_component component, enum pv_log_level level)
{
    unsigned char set =
        atomic_load_explicit(&log_state.level_plus_one[component], memory_order_relaxed);
    return level <= (set ? (enum pv_log_level)(set - 1) : PV_LOG_WARN);
}

void pv_log_write(enum pv_log_component component, enum pv_log_level level, const char *fmt, ...)
{
    char line[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    log_state.sink(log_state.opaque, component, level, line);
}
