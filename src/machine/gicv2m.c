/* SPDX-License-Identifier: MIT */
#include "machine/gicv2m.h"

#include "base/error.h"
#include "base/log.h"
#include "machine/map.h"
#include "memory/address_space.h"

#include <errno.h>
#include <stdlib.h>

enum {
    MSI_TYPER = 0x008,
    MSI_IIDR = 0xfcc,
};

struct pv_v2m {
    struct pv_address_space *as;
    void (*pulse)(void *opaque, unsigned intid);
    void *opaque;
};

static void set_spi(struct pv_v2m *v2m, uint32_t intid)
{
    if (intid >= PV_INTID_V2M && intid < PV_INTID_END)
        v2m->pulse(v2m->opaque, intid);
    else
        pv_debug(PV_LOG_GIC, "message for INTID %u, which is not the frame's", intid);
}

static uint64_t v2m_read(void *opaque, uint64_t offset, unsigned size)
{
    (void)opaque;
    if (size != 4)
        return 0;
    if (offset == MSI_TYPER)
        return PV_INTID_V2M << 16 | PV_V2M_SPIS;
    return offset == MSI_IIDR ? 0x43b : 0;
}

static void v2m_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    if (offset == PV_V2M_SETSPI_NS && size >= 2)
        set_spi(opaque, (uint32_t)value & 0x3ff);
}

static void send(void *opaque, uint32_t device_id, uint64_t address, uint32_t data)
{
    (void)device_id; /* the frame does not tell devices apart; an ITS does */
    if (address == PV_MAP_V2M + PV_V2M_SETSPI_NS)
        set_spi(opaque, data & 0x3ff);
    else
        pv_debug(PV_LOG_GIC, "message to %#llx, where no frame is", (unsigned long long)address);
}

struct pv_msi_target pv_v2m_target(struct pv_v2m *v2m)
{
    return (struct pv_msi_target){.send = send, .opaque = v2m};
}

int pv_v2m_create(struct pv_v2m **out, struct pv_address_space *as,
                  void (*pulse)(void *opaque, unsigned intid), void *opaque, struct pv_error **err)
{
    static const struct pv_mmio_ops ops = {v2m_read, v2m_write};
    struct pv_v2m *v2m = calloc(1, sizeof(*v2m));

    if (!v2m)
        return pv_error_set(err, ENOMEM, "out of memory for the MSI frame");
    v2m->as = as;
    v2m->pulse = pulse;
    v2m->opaque = opaque;
    int ret = pv_as_add_mmio(as, PV_MAP_V2M, PV_MAP_V2M_SIZE, &ops, v2m, "v2m", err);
    if (ret < 0) {
        free(v2m);
        return ret;
    }
    *out = v2m;
    return 0;
}

void pv_v2m_destroy(struct pv_v2m *v2m)
{
    if (!v2m)
        return;
    pv_as_remove(v2m->as, PV_MAP_V2M);
    free(v2m);
}
