/* SPDX-License-Identifier: MIT */
/* The NVMe controller, driven through its registers, queues and PRPs. */
#include "bus.h"

#include "base/record.h"
#include "base/util.h"
#include "block/block.h"
#include "device/nvme.h"
#include "host/loop.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SLOT     (ECAM + UINT64_C(0x8000)) /* the first free one */
#define BAR      (MEM64 + UINT64_C(0x10000))
#define RAM      UINT64_C(0x40000000)
#define RAM_SIZE UINT64_C(0x800000)
#define PAGE     UINT64_C(4096)
#define SECTORS  16384u

#define ASQ   RAM
#define ACQ   (RAM + PAGE)
#define SQ    (RAM + 2 * PAGE)
#define CQ    (RAM + 3 * PAGE)
#define LIST  (RAM + 16 * PAGE)
#define DATA  (RAM + 32 * PAGE)
#define DATA2 (RAM + 512 * PAGE)

/* Registers. */
enum { CAP = 0, INTMS = 0xc, INTMC = 0x10, CC = 0x14, CSTS = 0x1c, AQA = 0x24 };
#define READY   0x00460001u
#define ENTRIES 8u /* of each queue */

struct queue {
    uint64_t sq, cq;
    unsigned tail, head;
    bool phase;
};

struct fixture {
    struct pv_loop *loop;
    struct pv_timer *tick;
    struct pv_address_space *as;
    struct pv_pci_bus *bus;
    char path[64];
    bool level;
    struct queue queues[3];
    uint16_t cid;
    uint32_t result; /* of the last completion */
};

struct command {
    uint8_t opcode, flags;
    uint16_t cid;
    uint32_t nsid;
    uint64_t reserved, metadata, prp1, prp2;
    uint32_t dw[6];
};

static void set_wire(void *opaque, unsigned line, bool level)
{
    ((struct fixture *)opaque)->level = level;
}

static void tick(void *opaque)
{
    pv_loop_stop(((struct fixture *)opaque)->loop);
}

static void run_loop(struct fixture *f)
{
    pv_timer_set(f->tick, 0);
    assert_int_equal(pv_loop_run(f->loop, NULL), 0);
}

static void reg(struct fixture *f, unsigned offset, uint32_t value)
{
    wr(f->as, BAR + offset, 4, value);
}

static uint32_t get(struct fixture *f, unsigned offset)
{
    return (uint32_t)rd(f->as, BAR + offset, 4);
}

static void enable(struct fixture *f)
{
    reg(f, AQA, (ENTRIES - 1) << 16 | (ENTRIES - 1));
    wr(f->as, BAR + 0x28, 8, ASQ);
    reg(f, 0x30, (uint32_t)ACQ);
    reg(f, 0x34, ACQ >> 32);
    reg(f, CC, READY);
    assert_int_equal(get(f, CSTS), 1);
    assert_int_equal(pv_as_fill(f->as, RAM, 0, 16 * PAGE), 0);
    f->queues[0] = (struct queue){.sq = ASQ, .cq = ACQ, .phase = true};
}

static void setup_disk(struct fixture *f, bool read_only)
{
    const struct pv_block_options options = {.read_only = read_only};
    const struct pv_nvme_options nvme = {.serial = "pear0", .queues = 2};
    struct pv_block *block;
    *f = (struct fixture){.path = "/tmp/pv-test-nvme-XXXXXX"};
    int fd = mkstemp(f->path);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, SECTORS * 512), 0);
    close(fd);
    assert_int_equal(pv_loop_create(&f->loop, NULL), 0);
    assert_int_equal(pv_timer_create(&f->tick, f->loop, tick, f, NULL), 0);
    assert_int_equal(pv_as_create(&f->as, NULL), 0);
    assert_int_equal(pv_as_add_ram(f->as, RAM, RAM_SIZE, "ram", NULL), 0);
    f->bus =
        bus_create(f->as, (struct pv_irq){.set = set_wire, .opaque = f}, (struct pv_msi_target){0});
    assert_int_equal(pv_block_open(&block, f->loop, f->path, &options, NULL), 0);
    assert_int_equal(pv_nvme_create(f->bus, f->loop, f->as, block, &nvme, NULL), 0);
    assert_int_equal(rd(f->as, SLOT + 8, 4) >> 8, 0x010802);
    wr(f->as, SLOT + 0x10, 4, (uint32_t)BAR);
    wr(f->as, SLOT + 0x14, 4, BAR >> 32);
    wr(f->as, SLOT + 4, 2, 6);
    enable(f);
}

static void setup(struct fixture *f)
{
    setup_disk(f, false);
}

static void teardown(struct fixture *f)
{
    pv_pci_bus_destroy(f->bus);
    pv_as_destroy(f->as);
    pv_timer_destroy(f->tick);
    pv_loop_destroy(f->loop);
    unlink(f->path);
}

static void submit(struct fixture *f, unsigned queue, struct command command)
{
    struct queue *q = &f->queues[queue];
    command.cid = ++f->cid;
    assert_int_equal(pv_as_write(f->as, q->sq + q->tail * 64, &command, 64), 0);
    q->tail = (q->tail + 1) % ENTRIES;
    reg(f, 0x1000 + queue * 8, q->tail);
}

/* Waits for a completion and takes it: its status. */
static unsigned complete(struct fixture *f, unsigned queue, uint16_t *cid)
{
    struct queue *q = &f->queues[queue];
    const uint64_t at = q->cq + q->head * 16;
    for (unsigned i = 0; (rd(f->as, at + 14, 2) & 1) != q->phase; i++) {
        assert_true(i < 100000);
        run_loop(f);
    }
    f->result = (uint32_t)rd(f->as, at, 4);
    assert_int_equal(rd(f->as, at + 10, 2), queue);
    *cid = (uint16_t)rd(f->as, at + 12, 2);
    const unsigned status = (unsigned)rd(f->as, at + 14, 2) >> 1;
    if (++q->head == ENTRIES) {
        q->head = 0;
        q->phase = !q->phase;
    }
    reg(f, 0x1004 + queue * 8, q->head);
    return status & 0x7ff;
}

static unsigned run(struct fixture *f, unsigned queue, struct command command)
{
    uint16_t cid;
    submit(f, queue, command);
    unsigned status = complete(f, queue, &cid);
    assert_int_equal(cid, f->cid);
    return status;
}

static unsigned admin(struct fixture *f, uint8_t opcode, uint64_t prp, uint32_t dw10, uint32_t dw11)
{
    return run(f, 0,
               (struct command){.opcode = opcode, .nsid = 1, .prp1 = prp, .dw = {dw10, dw11}});
}

static void make_queues(struct fixture *f)
{
    assert_int_equal(admin(f, 5, CQ, (ENTRIES - 1) << 16 | 1, 1 << 16 | 3), 0);
    assert_int_equal(admin(f, 1, SQ, (ENTRIES - 1) << 16 | 1, 1 << 16 | 1), 0);
    assert_int_equal(pv_as_fill(f->as, CQ, 0, PAGE), 0);
    f->queues[1] = (struct queue){.sq = SQ, .cq = CQ, .phase = true};
}

static unsigned io(struct fixture *f, uint8_t opcode, uint64_t lba, unsigned count, uint64_t prp1,
                   uint64_t prp2)
{
    return run(f, 1,
               (struct command){.opcode = opcode,
                                .nsid = 1,
                                .prp1 = prp1,
                                .prp2 = prp2,
                                .dw = {(uint32_t)lba, (uint32_t)(lba >> 32), count - 1}});
}

static void fill(struct fixture *f, uint64_t at, unsigned seed, size_t size)
{
    for (size_t i = 0; i < size; i += 8)
        wr(f->as, at + i, 8, (i + seed) * UINT64_C(0x9e3779b97f4a7c15));
}

static bool same(struct fixture *f, uint64_t a, uint64_t b, size_t size)
{
    return memcmp(pv_as_ram(f->as, a, size, false), pv_as_ram(f->as, b, size, false), size) == 0;
}

/* ---- Tests ---- */

static void test_registers(void **state)
{
    struct fixture f;
    setup(&f);
    assert_int_equal(rd(f.as, BAR, 8) & 0xffff, 1023);
    assert_int_equal(rd(f.as, BAR, 8) >> 37 & 1, 1);
    assert_int_equal(rd(f.as, BAR + 9, 1), 4);
    assert_int_equal(get(&f, 8), 0x10400);
    reg(&f, CC, READY & ~1u);
    assert_int_equal(get(&f, CSTS), 0);
    /* Pages of 8 KiB, another command set, entries of 32 bytes, a queue that is not aligned. */
    static const uint32_t bad[] = {READY | 1 << 7, READY | 1 << 4, (READY & ~0xf0000u) | 5 << 16};
    for (unsigned i = 0; i < PV_ARRAY_SIZE(bad); i++) {
        reg(&f, CC, bad[i]);
        assert_int_equal(get(&f, CSTS), 2);
        reg(&f, CC, 0);
    }
    wr(f.as, BAR + 0x28, 8, ASQ + 64);
    reg(&f, CC, READY);
    assert_int_equal(get(&f, CSTS), 2);
    reg(&f, CC, 0);
    enable(&f);
    assert_int_equal(admin(&f, 6, DATA, 1, 0), 0);
    teardown(&f);
}

static void test_identify(void **state)
{
    struct fixture f;
    char text[21] = "";
    setup(&f);
    assert_int_equal(admin(&f, 6, DATA, 1, 0), 0);
    pv_as_read(f.as, DATA + 4, text, 20);
    assert_string_equal(text, "pear0               ");
    assert_int_equal(rd(f.as, DATA + 516, 4), 1);
    assert_int_equal(admin(&f, 6, DATA, 0, 0), 0);
    assert_int_equal(rd(f.as, DATA, 8), SECTORS);
    assert_int_equal(rd(f.as, DATA + 130, 1), 9);
    assert_int_equal(admin(&f, 6, DATA, 2, 0), 0); /* above namespace 1 */
    assert_int_equal(rd(f.as, DATA, 8), 0);
    /* Over two pages. */
    struct command c = {.opcode = 6, .prp1 = DATA + 0x800, .prp2 = DATA + 2 * PAGE, .dw = {1}};
    assert_int_equal(run(&f, 0, c), 0);
    assert_int_equal(rd(f.as, DATA + 0x804, 4), 0x72616570);
    assert_int_equal(rd(f.as, DATA + 2 * PAGE, 2), 2500);
    assert_int_equal(admin(&f, 6, DATA, 0x77, 0), 2);
    c.nsid = 2;
    c.dw[0] = 0;
    assert_int_equal(run(&f, 0, c), 0xb);
    c = (struct command){.opcode = 6, .prp1 = RAM + RAM_SIZE, .dw = {1}};
    assert_int_equal(run(&f, 0, c), 4);
    c.prp1 = DATA + 2;
    assert_int_equal(run(&f, 0, c), 0x13);
    teardown(&f);
}

static void test_features(void **state)
{
    struct fixture f;
    setup(&f);
    assert_int_equal(admin(&f, 9, 0, 7, 15 << 16 | 15), 0);
    assert_int_equal(f.result, 1 << 16 | 1); /* two pairs, less one */
    assert_int_equal(admin(&f, 10, 0, 6, 0), 0);
    assert_int_equal(f.result, 1);
    assert_int_equal(admin(&f, 9, 0, 6, 0), 0);
    assert_int_equal(admin(&f, 10, 0, 6, 0), 0);
    assert_int_equal(f.result, 0);
    assert_int_equal(admin(&f, 9, 0, 0x80000006, 1), 0x10d);
    assert_int_equal(admin(&f, 9, 0, 0x80, 1), 2);
    assert_int_equal(admin(&f, 10, 0, 3, 1), 2);
    assert_int_equal(admin(&f, 2, DATA, 127 << 16 | 2, 0), 0);
    assert_int_equal(rd(f.as, DATA + 1, 2), 298);
    assert_int_equal(admin(&f, 2, DATA, 0x55, 0), 0x109);
    assert_int_equal(admin(&f, 2, DATA, 0xffffu << 16 | 1, 0), 2);
    assert_int_equal(admin(&f, 8, 0, 0, 0), 0);
    assert_int_equal(f.result, 1);
    assert_int_equal(admin(&f, 0x7f, 0, 0, 0), 1);
    /* Events never come; the fifth request is one too many. */
    for (unsigned i = 0; i < 4; i++)
        submit(&f, 0, (struct command){.opcode = 12});
    assert_int_equal(run(&f, 0, (struct command){.opcode = 12}), 0x105);
    teardown(&f);
}

static void test_queues(void **state)
{
    struct fixture f;
    setup(&f);
    assert_int_equal(admin(&f, 1, SQ, 7 << 16 | 1, 1 << 16 | 1), 0x100);
    assert_int_equal(admin(&f, 1, SQ, 7 << 16 | 1, 9 << 16 | 1), 0x101);
    assert_int_equal(admin(&f, 5, CQ, 7 << 16 | 3, 3), 0x101);
    assert_int_equal(admin(&f, 5, CQ, 7 << 16, 3), 0x101);
    assert_int_equal(admin(&f, 5, CQ, 1, 3), 0x102);
    assert_int_equal(admin(&f, 5, CQ, 1024u << 16 | 1, 3), 0x102);
    assert_int_equal(admin(&f, 5, CQ, 7 << 16 | 1, 2), 2);
    assert_int_equal(admin(&f, 5, CQ + 8, 7 << 16 | 1, 3), 0x13);
    assert_int_equal(admin(&f, 5, CQ, 7 << 16 | 1, 3 << 16 | 3), 0x108);
    make_queues(&f);
    assert_int_equal(admin(&f, 5, CQ, 7 << 16 | 1, 3), 0x101);
    assert_int_equal(admin(&f, 4, 0, 1, 0), 0x10c);
    assert_int_equal(io(&f, 2, 0, 8, DATA, 0), 0);
    assert_int_equal(admin(&f, 0, 0, 1, 0), 0);
    assert_int_equal(admin(&f, 0, 0, 1, 0), 0x101);
    assert_int_equal(admin(&f, 4, 0, 1, 0), 0);
    make_queues(&f);
    assert_int_equal(io(&f, 2, 0, 8, DATA, 0), 0);
    teardown(&f);
}

static void test_transfers(void **state)
{
    static const struct {
        unsigned sectors;
        uint64_t offset; /* in the first page */
    } cases[] = {{1, 0}, {8, 0}, {8, 512}, {16, 0}, {17, 0xe00}, {100, 0x400}, {1024, 0}};
    struct fixture f;
    setup(&f);
    make_queues(&f);
    for (unsigned i = 0; i < PV_ARRAY_SIZE(cases); i++) {
        const size_t size = cases[i].sectors * 512;
        const uint64_t from = DATA + cases[i].offset, to = DATA2 + cases[i].offset;
        const bool list = cases[i].offset + size > 2 * PAGE;
        uint64_t prp2[2] = {DATA + PAGE, DATA2 + PAGE};
        /* The list begins near its page's end, where its last entry says where it goes on. */
        for (unsigned k = 0; k < 2 && list; k++) {
            const uint64_t base = prp2[k], start = LIST + k * 4 * PAGE;
            const unsigned here = 4; /* entries in the first page */
            prp2[k] = start + PAGE - 8 * (here + 1);
            for (unsigned page = 0; page < 140; page++) {
                const uint64_t at =
                    page < here ? prp2[k] + page * 8 : start + PAGE + (page - here) * 8;
                wr(f.as, at, 8, base + page * PAGE);
            }
            wr(f.as, start + PAGE - 8, 8, start + PAGE);
        }
        fill(&f, from, i + 1, size);
        pv_as_fill(f.as, to, 0, size);
        assert_int_equal(io(&f, 1, i * 2048, cases[i].sectors, from, prp2[0]), 0);
        assert_int_equal(io(&f, 2, i * 2048, cases[i].sectors, to, prp2[1]), 0);
        assert_true(same(&f, from, to, size));
    }
    assert_int_equal(io(&f, 0, 0, 1, 0, 0), 0);
    teardown(&f);
}

static void test_bad_transfers(void **state)
{
    struct fixture f;
    setup(&f);
    make_queues(&f);
    assert_int_equal(io(&f, 2, SECTORS, 1, DATA, 0), 0x80);
    assert_int_equal(io(&f, 2, SECTORS - 1, 2, DATA, 0), 0x80);
    assert_int_equal(io(&f, 2, UINT64_MAX, 2, DATA, 0), 0x80);
    assert_int_equal(io(&f, 2, SECTORS - 1, 1, DATA, 0), 0);
    assert_int_equal(io(&f, 2, 0, 1025, DATA, LIST), 2);
    assert_int_equal(io(&f, 2, 0, 8, RAM + RAM_SIZE, 0), 4);
    assert_int_equal(io(&f, 2, 0, 9, DATA, DATA + 8), 0x13);
    assert_int_equal(io(&f, 2, 0, 9, DATA, RAM + RAM_SIZE), 4);
    assert_int_equal(io(&f, 2, 0, 32, DATA, LIST + 4), 0x13);
    assert_int_equal(io(&f, 2, 0, 32, DATA, RAM + RAM_SIZE), 4);
    wr(f.as, LIST, 8, DATA + 1);
    assert_int_equal(io(&f, 2, 0, 32, DATA, LIST), 0x13);
    assert_int_equal(io(&f, 0x55, 0, 1, 0, 0), 1);
    assert_int_equal(run(&f, 1, (struct command){.opcode = 2, .nsid = 2, .prp1 = DATA}), 0xb);
    assert_int_equal(
        run(&f, 1, (struct command){.opcode = 2, .flags = 0x40, .nsid = 1, .prp1 = DATA}), 2);
    assert_int_equal(run(&f, 1, (struct command){.opcode = 0, .nsid = UINT32_MAX}), 0);
    teardown(&f);
}

static void test_zeroes_and_ranges(void **state)
{
    struct fixture f;
    setup(&f);
    make_queues(&f);
    fill(&f, DATA, 5, 2 * PAGE);
    assert_int_equal(io(&f, 1, 0, 16, DATA, DATA + PAGE), 0);
    struct command c = {.opcode = 8, .nsid = 1, .dw = {2, 0, 1u << 25 | 3}};
    assert_int_equal(run(&f, 1, c), 0);
    assert_int_equal(io(&f, 2, 0, 16, DATA2, DATA2 + PAGE), 0);
    pv_as_fill(f.as, DATA + 1024, 0, 2048);
    assert_true(same(&f, DATA, DATA2, 2 * PAGE));
    /* Two ranges, of which one is empty, and one that reaches beyond the end. */
    const struct {
        uint32_t attributes, sectors;
        uint64_t start;
    } ranges[] = {{0, 0, 0}, {0, 8, 8}, {0, 2, SECTORS - 1}};
    pv_as_write(f.as, LIST, ranges, sizeof(ranges));
    c = (struct command){.opcode = 9, .nsid = 1, .prp1 = LIST, .dw = {1, 4}};
    assert_int_equal(run(&f, 1, c), 0);
    c.dw[0] = 2;
    assert_int_equal(run(&f, 1, c), 0x80);
    c.dw[1] = 1; /* a hint */
    assert_int_equal(run(&f, 1, c), 0);
    assert_int_equal(io(&f, 2, 0, 8, DATA2, 0), 0);
    assert_true(same(&f, DATA, DATA2, PAGE));
    teardown(&f);
}

static void test_read_only(void **state)
{
    struct fixture f;
    setup_disk(&f, true);
    make_queues(&f);
    assert_int_equal(io(&f, 1, 0, 8, DATA, 0), 0x20);
    assert_int_equal(io(&f, 8, 0, 8, 0, 0), 0x20);
    assert_int_equal(io(&f, 2, 0, 8, DATA, 0), 0);
    assert_int_equal(admin(&f, 6, DATA, 0, 0), 0);
    assert_int_equal(rd(f.as, DATA + 99, 1), 1);
    teardown(&f);
}

/* The completion queue is never overrun, however few completions the guest takes. */
static void test_full_completion_queue(void **state)
{
    struct fixture f;
    uint16_t cid;
    setup(&f);
    make_queues(&f);
    for (unsigned i = 0; i < 7; i++)
        submit(&f, 1, (struct command){.opcode = 2, .nsid = 1, .prp1 = DATA});
    for (unsigned i = 0; i < 200; i++)
        run_loop(&f);
    f.queues[1].tail = 7;
    submit(&f, 1, (struct command){.opcode = 2, .nsid = 1, .prp1 = DATA});
    submit(&f, 1, (struct command){.opcode = 2, .nsid = 1, .prp1 = DATA});
    for (unsigned i = 0; i < 9; i++)
        assert_int_equal(complete(&f, 1, &cid), 0);
    teardown(&f);
}

static void test_interrupts(void **state)
{
    struct fixture f;
    uint16_t cid;
    setup(&f);
    make_queues(&f);
    assert_false(f.level);
    submit(&f, 1, (struct command){.opcode = 0, .nsid = 1});
    for (unsigned i = 0; i < 100000 && !f.level; i++)
        run_loop(&f);
    assert_true(f.level);
    reg(&f, INTMS, 2); /* vector 1 */
    assert_false(f.level);
    reg(&f, INTMC, 2);
    assert_true(f.level);
    assert_int_equal(complete(&f, 1, &cid), 0);
    assert_false(f.level);
    teardown(&f);
}

/* What was under way is not heard of any more, and the next driver begins anew. */
static void test_reset(void **state)
{
    struct fixture f;
    setup(&f);
    for (unsigned round = 0; round < 20; round++) {
        make_queues(&f);
        fill(&f, DATA, round, 8 * PAGE);
        for (unsigned i = 0; i < 6; i++)
            submit(&f, 1, (struct command){.opcode = 1, .nsid = 1, .prp1 = DATA, .dw = {8 * i}});
        if (round % 2)
            run_loop(&f);
        reg(&f, CC, 0);
        assert_int_equal(get(&f, CSTS), 0);
        enable(&f);
    }
    /* A shutdown ends when all is on the medium. */
    reg(&f, CC, READY | 1 << 14);
    for (unsigned i = 0; i < 100000 && get(&f, CSTS) != 9; i++)
        run_loop(&f);
    assert_int_equal(get(&f, CSTS), 9);
    teardown(&f);
}

static void test_bad_queue_memory(void **state)
{
    struct fixture f;
    setup(&f);
    reg(&f, CC, 0);
    wr(f.as, BAR + 0x28, 8, RAM + RAM_SIZE);
    reg(&f, CC, READY);
    reg(&f, 0x1000, 1);
    run_loop(&f);
    run_loop(&f);
    assert_int_equal(get(&f, CSTS), 3);
    reg(&f, CC, 0);
    enable(&f);
    reg(&f, 0x1000, 77); /* beyond its end: nothing */
    assert_int_equal(admin(&f, 6, DATA, 1, 0), 0);
    teardown(&f);
}

/* Nothing is fetched without bus mastering. */
static void test_not_master(void **state)
{
    struct fixture f;
    uint16_t cid;
    setup(&f);
    wr(f.as, SLOT + 4, 2, 2);
    submit(&f, 0, (struct command){.opcode = 6, .prp1 = DATA, .dw = {1}});
    for (unsigned i = 0; i < 20; i++)
        run_loop(&f);
    assert_int_equal(rd(f.as, ACQ + 14, 2), 0);
    wr(f.as, SLOT + 4, 2, 6);
    assert_int_equal(complete(&f, 0, &cid), 0);
    teardown(&f);
}

/* A snapshot of one with queues, loaded into one that has none. */
static void test_record(void **state)
{
    struct fixture f, g;
    size_t size;
    setup(&f);
    setup(&g);
    make_queues(&f);
    assert_int_equal(io(&f, 2, 0, 8, DATA, 0), 0);
    assert_true(pv_pci_bus_quiet(f.bus, true));
    struct pv_record *record = pv_record_save();
    pv_pci_bus_record(f.bus, record);
    assert_true(pv_record_ok(record));
    const void *data = pv_record_data(record, &size);
    struct pv_record *load = pv_record_load(data, size);
    pv_pci_bus_quiet(g.bus, true);
    pv_pci_bus_record(g.bus, load);
    assert_int_equal(pv_record_error(load, NULL), 0);
    pv_record_free(load);
    pv_record_free(record);
    /* Its queues are where the other's were, and as far. */
    memcpy(pv_as_ram(g.as, RAM, 16 * PAGE, true), pv_as_ram(f.as, RAM, 16 * PAGE, false),
           16 * PAGE);
    memcpy(g.queues, f.queues, sizeof(g.queues));
    pv_pci_bus_quiet(g.bus, false);
    fill(&g, DATA, 9, PAGE);
    assert_int_equal(io(&g, 1, 0, 8, DATA, 0), 0);
    assert_int_equal(io(&g, 2, 0, 8, DATA2, 0), 0);
    assert_true(same(&g, DATA, DATA2, PAGE));
    teardown(&f);
    teardown(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_registers),
        cmocka_unit_test(test_identify),
        cmocka_unit_test(test_features),
        cmocka_unit_test(test_queues),
        cmocka_unit_test(test_transfers),
        cmocka_unit_test(test_bad_transfers),
        cmocka_unit_test(test_zeroes_and_ranges),
        cmocka_unit_test(test_read_only),
        cmocka_unit_test(test_full_completion_queue),
        cmocka_unit_test(test_interrupts),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_bad_queue_memory),
        cmocka_unit_test(test_not_master),
        cmocka_unit_test(test_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
