/* SPDX-License-Identifier: MIT */
/*
 * Logging with a level for each component.
 *
 * The filter and the sink are the only mutable state in libpearvisor that is not reached through
 * an object: a log line must be possible from anywhere, and an embedder sets it up once.
 * Filter syntax: "LEVEL" or "COMPONENT=LEVEL[,...]", e.g. "warn,gic=debug,virtio=trace".
 */
#ifndef PV_BASE_LOG_H
#define PV_BASE_LOG_H

#include <stdbool.h>

struct pv_error;

#define PV_LOG_COMPONENTS(X)                                                                       \
    X(BASE, "base")                                                                                \
    X(HOST, "host")                                                                                \
    X(MEMORY, "memory")                                                                            \
    X(ENGINE, "engine")                                                                            \
    X(INTERP, "interp")                                                                            \
    X(JIT, "jit")                                                                                  \
    X(KVM, "kvm")                                                                                  \
    X(HVF, "hvf")                                                                                  \
    X(MACHINE, "machine")                                                                          \
    X(GIC, "gic")                                                                                  \
    X(TIMER, "timer")                                                                              \
    X(PCI, "pci")                                                                                  \
    X(VIRTIO, "virtio")                                                                            \
    X(BLK, "blk")                                                                                  \
    X(NET, "net")                                                                                  \
    X(CONSOLE, "console")                                                                          \
    X(RNG, "rng")                                                                                  \
    X(GPU, "gpu")                                                                                  \
    X(DISPLAY, "display")                                                                          \
    X(AUDIO, "audio")                                                                              \
    X(VENUS, "venus")                                                                              \
    X(VM, "vm")                                                                                    \
    X(IMAGE, "image")                                                                              \
    X(CLI, "cli")

enum pv_log_component {
#define X(id, name) PV_LOG_##id,
    PV_LOG_COMPONENTS(X)
#undef X
        PV_LOG_COMPONENT_COUNT
};

enum pv_log_level {
    PV_LOG_OFF,
    PV_LOG_ERROR,
    PV_LOG_WARN,
    PV_LOG_INFO,
    PV_LOG_DEBUG,
    PV_LOG_TRACE,
};

/* Receives one finished line without a newline. May be called from any thread. */
typedef void pv_log_sink_fn(void *opaque, enum pv_log_component component, enum pv_log_level level,
                            const char *line);

/* Sets the filter; on a bad one nothing changes and the error names the accepted values. */
int pv_log_set_filter(const char *filter, struct pv_error **err);

/* Replaces the sink (default: stderr). Call before other threads log. NULL restores stderr. */
void pv_log_set_sink(pv_log_sink_fn *sink, void *opaque);

bool pv_log_enabled(enum pv_log_component component, enum pv_log_level level);

void pv_log_write(enum pv_log_component component, enum pv_log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Arguments are evaluated only when the line is wanted. */
#define pv_log(component, level, ...)                                                              \
    do {                                                                                           \
        if (pv_log_enabled(component, level))                                                      \
            pv_log_write(component, level, __VA_ARGS__);                                           \
    } while (0)

#define pv_error_log(component, ...) pv_log(component, PV_LOG_ERROR, __VA_ARGS__)
#define pv_warn(component, ...)      pv_log(component, PV_LOG_WARN, __VA_ARGS__)
#define pv_info(component, ...)      pv_log(component, PV_LOG_INFO, __VA_ARGS__)
#define pv_debug(component, ...)     pv_log(component, PV_LOG_DEBUG, __VA_ARGS__)
#define pv_trace(component, ...)     pv_log(component, PV_LOG_TRACE, __VA_ARGS__)

#endif
