/* SPDX-License-Identifier: MIT */
/* One byte in BAR 0: reading tells which events there are, a bit each; writing makes them happen.
 */
#include "device/pvpanic.h"

#include "base/error.h"
#include "base/util.h"
#include "memory/address_space.h"
#include "pci/pci.h"

#include <errno.h>
#include <stdlib.h>

#define EVENT_PANICKED    1u
#define EVENT_CRASHLOADED 2u

struct pvpanic {
    void (*happened)(void *opaque, enum pv_panic_event event);
    void *opaque;
};

static uint64_t bar_read(void *opaque, uint64_t offset, unsigned size)
{
    (void)opaque;
    (void)size;
    return offset == 0 ? EVENT_PANICKED | EVENT_CRASHLOADED : 0;
}

static void bar_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    const struct pvpanic *panic = opaque;

    (void)size;
    if (offset != 0)
        return;
    if (value & EVENT_PANICKED)
        panic->happened(panic->opaque, PV_PANIC_PANICKED);
    if (value & EVENT_CRASHLOADED)
        panic->happened(panic->opaque, PV_PANIC_CRASHLOADED);
}

int pv_pvpanic_create(struct pv_pci_bus *bus,
                      void (*happened)(void *opaque, enum pv_panic_event event), void *opaque,
                      struct pv_error **err)
{
    static const struct pv_mmio_ops bar = {.read = bar_read, .write = bar_write};
    static const struct pv_pci_function_ops ops = {.name = "pvpanic", .destroy = free};
    static const struct pv_pci_function_config config = {
        .vendor = 0x1b36,
        .device = 0x0011,
        .subsystem_vendor = 0x1af4,
        .subsystem = 0x1100,
        .class_code = 0x088000, /* a system peripheral, other */
        .revision = 1,
    };
    struct pvpanic *panic = malloc(sizeof(*panic));
    struct pv_pci_function *function;

    if (!panic)
        return pv_error_set(err, ENOMEM, "out of memory for pvpanic");
    *panic = (struct pvpanic){happened, opaque};
    int ret = pv_pci_function_create(&function, bus, -1, &config, &ops, panic, err);
    if (ret < 0) {
        free(panic);
        return ret;
    }
    ret = pv_pci_add_bar(function, 0, PV_GUEST_PAGE, false, false, &bar, panic, err);
    if (ret < 0)
        pv_pci_function_destroy(function);
    return PV_MIN(ret, 0);
}
