/* SPDX-License-Identifier: MIT */
/* An engine's GIC taken over into ours and given back: nothing is lost on the way. */
#include "base/record.h"
#include "base/util.h"
#include "engine/engine_impl.h"
#include "machine/gicv3.h"
#include "machine/map.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define CPUS 2u

static const uint64_t mpidr[CPUS] = {0, 1};

static void ignore_line(void *opaque, unsigned vcpu, bool fiq, bool level)
{
    (void)opaque, (void)vcpu, (void)fiq, (void)level;
}

static struct pv_gic *create(void)
{
    const struct pv_gic_config config = {.vcpus = CPUS, .mpidr = mpidr, .set_line = ignore_line};
    struct pv_gic *gic = NULL;

    assert_int_equal(pv_gic_create(&gic, &config, NULL), 0);
    return gic;
}

/* ---- An engine whose GIC is one of ours ---- */

static uint64_t offset_of(const struct pv_engine_gic_reg *reg)
{
    return reg->frame == PV_ENGINE_GICR ? reg->vcpu * PV_MAP_GICR_STRIDE + reg->number
                                        : reg->number;
}

static int read_reg(struct pv_engine *engine, const struct pv_engine_gic_reg *reg, uint64_t *value)
{
    if (reg->frame == PV_ENGINE_ICC)
        return pv_gic_sysreg_read(engine->impl, reg->vcpu, reg->number, value) ? 0 : -ENOENT;
    *value = reg->frame == PV_ENGINE_GICR ? pv_gic_redist_read(engine->impl, offset_of(reg), 4)
                                          : pv_gic_dist_read(engine->impl, offset_of(reg), 4);
    return 0;
}

static void write_frame(void *gic, const struct pv_engine_gic_reg *reg, uint64_t behind,
                        uint64_t value)
{
    if (reg->frame == PV_ENGINE_GICR)
        pv_gic_redist_write(gic, offset_of(reg) + behind, 4, value);
    else
        pv_gic_dist_write(gic, offset_of(reg) + behind, 4, value);
}

static int write_reg(struct pv_engine *engine, const struct pv_engine_gic_reg *reg, uint64_t value)
{
    const uint32_t offset = reg->number & 0xffff;

    if (reg->frame == PV_ENGINE_ICC)
        return pv_gic_sysreg_write(engine->impl, reg->vcpu, reg->number, value) ? 0 : -ENOENT;
    for (uint32_t sets = 0x100; sets <= 0x300; sets += 0x100)
        if (offset >= sets && offset < sets + 0x80)
            write_frame(engine->impl, reg, 0x80, UINT32_MAX);
    write_frame(engine->impl, reg, 0, value);
    return 0;
}

/* One whose priorities have three bits less. */
static int read_coarse(struct pv_engine *engine, const struct pv_engine_gic_reg *reg,
                       uint64_t *value)
{
    int ret = read_reg(engine, reg, value);

    if (reg->frame == PV_ENGINE_ICC && reg->number == PV_SYSREG(3, 0, 12, 12, 4))
        *value = (*value & ~UINT64_C(0x700)) | 0x100;
    return ret;
}

static const struct pv_engine_gic_ops gic_ops = {.read = read_reg, .write = write_reg};
static const struct pv_engine_gic_ops coarse_ops = {.read = read_coarse, .write = write_reg};
static const struct pv_engine_ops ops = {.name = "one", .gic = &gic_ops};
static const struct pv_engine_ops coarse = {.name = "coarse", .gic = &coarse_ops};

/* ---- Cases ---- */

/* Numbers that are the same each time, everywhere that a guest can write. */
static void scribble(struct pv_gic *gic)
{
    static const uint32_t rows[] = {0x80, 0x100, 0x200, 0x300};
    struct pv_engine engine = {.ops = &ops, .impl = gic};
    uint32_t x = 1;

    for (unsigned cpu = 0; cpu <= CPUS; cpu++) {
        const bool dist = cpu == CPUS;
        struct pv_engine_gic_reg reg = {dist ? PV_ENGINE_GICD : PV_ENGINE_GICR, dist ? 0 : cpu, 0};
        const uint32_t frame = dist ? 0 : 0x10000;
        const unsigned first = dist ? 1 : 0, end = dist ? PV_INTID_END / 32 : 1;
        for (unsigned word = first; word < end; word++) {
            for (size_t i = 0; i < PV_ARRAY_SIZE(rows); i++) {
                reg.number = frame + rows[i] + 4 * word;
                write_reg(&engine, &reg, x = x * 1664525 + 1013904223);
            }
            for (uint32_t at = 0x400 + 32 * word; at < 0x420 + 32 * word; at += 4) {
                reg.number = frame + at;
                write_reg(&engine, &reg, x = x * 1664525 + 1013904223);
            }
            reg.number = frame + 0xc04 + 8 * word;
            write_reg(&engine, &reg, x = x * 1664525 + 1013904223);
        }
    }
    for (unsigned intid = PV_INTID_SPI; intid < PV_INTID_END; intid++)
        pv_gic_dist_write(gic, 0x6000 + 8 * intid, 8, intid % 3 == 2 ? 1u << 31 : intid % 3);
    pv_gic_dist_write(gic, 0, 4, 3);
    pv_gic_sysreg_write(gic, 0, PV_SYSREG(3, 0, 4, 6, 0), 0xf0);
    pv_gic_sysreg_write(gic, 0, PV_SYSREG(3, 0, 12, 12, 7), 1);
    pv_gic_sysreg_write(gic, 0, PV_SYSREG(3, 0, 12, 12, 3), 5);
    pv_gic_sysreg_write(gic, 0, PV_SYSREG(3, 0, 12, 9, 0), 0x10);
    pv_gic_sysreg_write(gic, 1, PV_SYSREG(3, 0, 12, 12, 4), 2);
    pv_gic_sysreg_write(gic, 1, PV_SYSREG(3, 0, 12, 8, 3), 4);
    pv_gic_sysreg_write(gic, 1, PV_SYSREG(3, 0, 12, 8, 4), 0x200);
    pv_gic_sysreg_write(gic, 1, PV_SYSREG(3, 0, 12, 12, 6), 1);
}

static struct pv_record *save(struct pv_gic *gic)
{
    struct pv_record *record = pv_record_save();

    assert_non_null(record);
    pv_gic_record(gic, record);
    assert_int_equal(pv_record_error(record, NULL), 0);
    return record;
}

static void expect_same(struct pv_gic *one, struct pv_gic *other)
{
    struct pv_record *a = save(one), *b = save(other);
    size_t a_size, b_size;
    const void *a_data = pv_record_data(a, &a_size), *b_data = pv_record_data(b, &b_size);

    assert_int_equal(a_size, b_size);
    assert_memory_equal(a_data, b_data, a_size);
    pv_record_free(a);
    pv_record_free(b);
}

static void test_there_and_back(void **state)
{
    struct pv_gic *theirs = create(), *ours = create(), *next = create(), *fresh = create();
    struct pv_engine from = {.ops = &ops, .impl = theirs}, to = {.ops = &ops, .impl = next};
    (void)state;

    scribble(theirs);
    assert_int_equal(pv_gic_take(ours, &from), 0);
    expect_same(theirs, ours);
    scribble(next); /* what was there before is gone */
    pv_gic_dist_write(next, 0x104, 4, UINT32_MAX);
    assert_int_equal(pv_gic_give(ours, &to), 0);
    expect_same(theirs, next);
    assert_int_equal(pv_gic_give(fresh, &to), 0);
    expect_same(fresh, next);
    pv_gic_destroy(theirs);
    pv_gic_destroy(ours);
    pv_gic_destroy(next);
    pv_gic_destroy(fresh);
}

static void test_other_priorities(void **state)
{
    struct pv_gic *theirs = create(), *ours = create();
    struct pv_engine engine = {.ops = &coarse, .impl = theirs};
    (void)state;

    assert_int_equal(pv_gic_take(ours, &engine), -ENOTSUP);
    assert_int_equal(pv_gic_give(ours, &engine), -ENOTSUP);
    pv_gic_destroy(theirs);
    pv_gic_destroy(ours);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_other_priorities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
