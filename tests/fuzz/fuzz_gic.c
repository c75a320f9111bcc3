/* SPDX-License-Identifier: MIT */
/*
 * Distributor, redistributors, CPU interfaces and ITS, as a guest could use them: registers of any
 * size, commands and tables made of the input, messages of any device.
 */
#include "base/log.h"
#include "base/util.h"
#include "engine/engine.h"
#include "fuzz.h"
#include "machine/gicv3.h"
#include "machine/gicv3_its.h"
#include "machine/map.h"
#include "memory/address_space.h"

#define CPUS     3u
#define RAM_SIZE UINT64_C(0x100000)
/* Where the setup puts what the guest provides. */
#define QUEUE       PV_MAP_RAM
#define DEVICES     (PV_MAP_RAM + 0x10000)
#define COLLECTIONS (PV_MAP_RAM + 0x20000)
#define CONFIGS     (PV_MAP_RAM + 0x30000)
#define PENDING     (PV_MAP_RAM + 0x40000)
#define VALID       (UINT64_C(1) << 63)

struct world {
    struct pv_address_space *as;
    struct pv_gic *gic;
    struct pv_its *its;
    struct pv_msi_target msi;
    uint64_t writer;
};

static void set_line(void *opaque, unsigned vcpu, bool fiq, bool level)
{
    (void)opaque;
    (void)fiq;
    (void)level;
    FUZZ_REQUIRE(vcpu < CPUS);
}

/* A command with operands that are good more often than chance would have it. */
static void command(struct world *w, struct fuzz_input *input)
{
    uint64_t word[4], device = fuzz_take(input, 1), small = fuzz_take(input, 1);

    word[0] = device << 32 | fuzz_take(input, 1) % 17;
    word[1] = (PV_INTID_LPI + small) << 32 | small % 32;
    word[2] = VALID | (PV_MAP_RAM + (fuzz_take(input, 1) << 12)) | small % 8;
    word[3] = fuzz_take(input, 4) << 16;
    if (small & 0x80)
        word[2] = fuzz_take(input, 8);
    if (small & 0x40)
        word[1] = fuzz_take(input, 8);
    pv_as_write(w->as, QUEUE + w->writer, word, sizeof(word));
    w->writer = (w->writer + 32) % 0x1000;
    pv_as_cpu_write(w->as, PV_MAP_ITS + 0x88, 8, w->writer);
}

static void access_once(struct world *w, struct fuzz_input *input)
{
    unsigned what = (unsigned)fuzz_take(input, 1);
    unsigned size = 1u << (what >> 1 & 3);
    uint64_t offset = fuzz_take(input, 2), value = 0, address;

    switch (what >> 3 & 7) {
    case 0: address = PV_MAP_GICD + offset; break;
    case 1: address = PV_MAP_GICR + offset % 0x80 + (offset >> 14) * PV_MAP_GICR_STRIDE; break;
    case 2:
        address = PV_MAP_GICR + 0x10000 + offset % 0x1000 + (offset >> 14) * PV_MAP_GICR_STRIDE;
        break;
    case 3: address = PV_MAP_ITS + offset % 0x140; break;
    case 4: command(w, input); return;
    case 5:
        pv_msi_send(&w->msi, (uint32_t)offset % 256, PV_MAP_ITS + PV_ITS_TRANSLATER, what >> 6);
        return;
    case 6: {
        /* Any ICC register: CRn 12, or PMR. */
        uint32_t reg = offset & 0x80 ? PV_SYSREG(3, 0, 4, 6, 0)
                                     : PV_SYSREG(3, 0, 12, 8 + (offset >> 3 & 7), offset & 7);
        unsigned vcpu = (offset >> 8) % CPUS;
        if (what & 1)
            pv_gic_sysreg_read(w->gic, vcpu, reg, &value);
        else
            pv_gic_sysreg_write(w->gic, vcpu, reg, fuzz_take(input, 8));
        return;
    }
    default: address = PV_MAP_RAM + (offset << 3) % RAM_SIZE; break;
    }
    if (what & 1)
        pv_as_cpu_read(w->as, address, size, &value);
    else
        pv_as_cpu_write(w->as, address, size, fuzz_take(input, size));
}

static void set_up(struct world *w)
{
    static const uint64_t mpidr[CPUS] = {0, 1, 0x100};

    FUZZ_REQUIRE(pv_log_set_filter("off", NULL) == 0);
    FUZZ_REQUIRE(pv_as_create(&w->as, NULL) == 0);
    FUZZ_REQUIRE(pv_as_add_ram(w->as, PV_MAP_RAM, RAM_SIZE, "ram", NULL) == 0);
    const struct pv_gic_config config = {
        .as = w->as, .vcpus = CPUS, .mpidr = mpidr, .lpis = true, .set_line = set_line};
    FUZZ_REQUIRE(pv_gic_create(&w->gic, &config, NULL) == 0);
    FUZZ_REQUIRE(pv_its_create(&w->its, w->as, w->gic, CPUS, NULL) == 0);
    w->msi = pv_its_target(w->its);
    pv_as_fill(w->as, CONFIGS, 0xa1, 0x1000);
    pv_as_cpu_write(w->as, PV_MAP_GICD, 4, 3);
    for (unsigned i = 0; i < CPUS; i++) {
        uint64_t frame = PV_MAP_GICR + i * PV_MAP_GICR_STRIDE;
        pv_as_cpu_write(w->as, frame + 0x14, 4, 0);
        pv_as_cpu_write(w->as, frame + 0x70, 8, CONFIGS | 15);
        pv_as_cpu_write(w->as, frame + 0x78, 8, PENDING + i * 0x10000);
        pv_as_cpu_write(w->as, frame, 4, 1);
    }
    pv_as_cpu_write(w->as, PV_MAP_ITS + 0x100, 8, VALID | DEVICES);
    pv_as_cpu_write(w->as, PV_MAP_ITS + 0x108, 8, VALID | COLLECTIONS);
    pv_as_cpu_write(w->as, PV_MAP_ITS + 0x80, 8, VALID | QUEUE);
    pv_as_cpu_write(w->as, PV_MAP_ITS, 4, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct world w = {0};

    set_up(&w);
    while (input.size)
        access_once(&w, &input);
    pv_its_destroy(w.its);
    pv_gic_destroy(w.gic);
    pv_as_destroy(w.as);
    return 0;
}
