/* SPDX-License-Identifier: MIT */
/*
 * The NVMe controller: registers and doorbells written with anything, and commands of which every
 * field is the input's, in queues that the input makes. Transfers run on worker threads, so that
 * resets meet them under way.
 */
#include "base/log.h"
#include "base/util.h"
#include "block/block.h"
#include "device/nvme.h"
#include "fuzz.h"
#include "host/loop.h"
#include "memory/address_space.h"
#include "pci/pci.h"

#include <unistd.h>

#define RAM_SIZE  UINT64_C(0x40000)
#define MEM32     UINT64_C(0x10000000)
#define ECAM      UINT64_C(0x20000000)
#define FUNCTION  (ECAM + UINT64_C(0x8000))
#define DISK_SIZE ((1u << 20) + 100u) /* its last piece is not a whole sector */
#define PAGE      UINT64_C(4096)
#define QUEUES    3u
#define ENTRIES   16u

struct world {
    struct pv_loop *loop;
    struct pv_address_space *as;
    struct pv_pci_bus *bus;
    uint32_t tails[QUEUES];
    struct fuzz_input input;
};

static struct pv_block *open_image(struct world *w, bool read_only)
{
    char path[] = "/tmp/pv-fuzz-nvme-XXXXXX";
    const struct pv_block_options options = {.read_only = read_only};
    struct pv_block *block;
    int fd = mkstemp(path);
    FUZZ_REQUIRE(fd >= 0 && ftruncate(fd, DISK_SIZE) == 0);
    FUZZ_REQUIRE(pv_block_open(&block, w->loop, path, &options, NULL) == 0);
    close(fd);
    unlink(path);
    return block;
}

static void stop_loop(void *opaque)
{
    pv_loop_stop(opaque);
}

static void run_loop(struct world *w)
{
    FUZZ_REQUIRE(pv_loop_post(w->loop, stop_loop, w->loop) == 0);
    FUZZ_REQUIRE(pv_loop_run(w->loop, NULL) == 0);
}

static void reg(struct world *w, uint64_t offset, uint64_t value)
{
    pv_as_cpu_write(w->as, MEM32 + offset, 4, value);
}

/* As a driver does, at page `queue` and the next. */
static void enable(struct world *w)
{
    reg(w, 0x24, (ENTRIES - 1) << 16 | (ENTRIES - 1));
    pv_as_cpu_write(w->as, MEM32 + 0x28, 8, 0);
    pv_as_cpu_write(w->as, MEM32 + 0x30, 8, PAGE);
    reg(w, 0x14, 0x00460001);
    memset(w->tails, 0, sizeof(w->tails));
}

/* Where memory is, or nearly. */
static uint64_t take_address(struct world *w)
{
    const unsigned how = (unsigned)fuzz_take(&w->input, 1);
    const uint64_t page = (how & 63) * PAGE;
    return how & 0x80   ? fuzz_take(&w->input, 8)
           : how & 0x40 ? page + fuzz_take(&w->input, 2) % PAGE
                        : page;
}

static void put_command(struct world *w)
{
    const unsigned what = (unsigned)fuzz_take(&w->input, 1), queue = what % QUEUES;
    struct {
        uint8_t opcode, flags;
        uint16_t cid;
        uint32_t nsid;
        uint64_t reserved[2], prp1, prp2;
        uint32_t dw[6];
    } command = {.opcode = what >> 2 & 15, .nsid = 1};
    if (what & 0x40) {
        command.flags = (uint8_t)fuzz_take(&w->input, 1);
        command.nsid = (uint32_t)fuzz_take(&w->input, 4);
        command.opcode = (uint8_t)fuzz_take(&w->input, 1);
    }
    command.prp1 = take_address(w);
    command.prp2 = take_address(w);
    for (unsigned i = 0; i < 4; i++)
        command.dw[i] = (uint32_t)fuzz_take(&w->input, what & 0x80 ? 4 : 2);
    /* Queues at pages of their own, if it makes any. */
    pv_as_write(w->as, queue * 2 * PAGE + w->tails[queue] * 64, &command, sizeof(command));
    w->tails[queue] = (w->tails[queue] + 1) % ENTRIES;
    reg(w, 0x1000 + queue * 8, w->tails[queue]);
}

static void make_queues(struct world *w)
{
    const uint16_t vector = (uint16_t)fuzz_take(&w->input, 1) % QUEUES;
    for (uint32_t queue = 1; queue < QUEUES; queue++) {
        for (unsigned kind = 0; kind < 2; kind++) {
            uint32_t command[16] = {kind ? 1 : 5, 1};
            command[6] = (uint32_t)((queue * 2 + !kind) * PAGE);
            command[10] = (ENTRIES - 1) << 16 | queue;
            command[11] = (kind ? queue : vector) << 16 | 3;
            pv_as_write(w->as, w->tails[0] * 64, command, sizeof(command));
            w->tails[0] = (w->tails[0] + 1) % ENTRIES;
        }
    }
    reg(w, 0x1000, w->tails[0]);
}

static void step(struct world *w)
{
    const unsigned what = (unsigned)fuzz_take(&w->input, 1);
    uint64_t value;

    switch (what & 15) {
    case 0: enable(w); break;
    case 1: reg(w, 0x14, 0); break;
    case 2: make_queues(w); break;
    case 3: /* completions are consumed, or are said to be */
        reg(w, 0x1004 + (what >> 4) % QUEUES * 8, fuzz_take(&w->input, 1) % ENTRIES);
        break;
    case 4: reg(w, fuzz_take(&w->input, 2) % 0x1100 & ~3u, fuzz_take(&w->input, 4)); break;
    case 5:
        pv_as_cpu_read(w->as, MEM32 + fuzz_take(&w->input, 2) % 0x4000, 1u << (what >> 4 & 3),
                       &value);
        break;
    case 6: pv_as_cpu_write(w->as, FUNCTION + 4, 2, fuzz_take(&w->input, 2)); break;
    case 7:
        value = take_address(w);
        pv_as_write(w->as, fuzz_take(&w->input, 3) % RAM_SIZE & ~7u, &value, 8);
        break;
    case 8:
        pv_pci_bus_reset(w->bus);
        pv_as_cpu_write(w->as, FUNCTION + 0x10, 4, MEM32);
        pv_as_cpu_write(w->as, FUNCTION + 4, 2, 6);
        break;
    case 9:
        pv_as_cpu_write(w->as, MEM32 + fuzz_take(&w->input, 2) % 0x4000, 1u << (what >> 4 & 3),
                        fuzz_take(&w->input, 8));
        break;
    case 10: run_loop(w); break;
    default: put_command(w); break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world w = {.input = {data, size}};
    const struct pv_nvme_options options = {.serial = "a serial of more than 20 bytes",
                                            .queues = QUEUES - 1};
    FUZZ_REQUIRE(pv_log_set_filter("off", NULL) == 0);
    FUZZ_REQUIRE(pv_loop_create(&w.loop, NULL) == 0);
    FUZZ_REQUIRE(pv_as_create(&w.as, NULL) == 0);
    FUZZ_REQUIRE(pv_as_add_ram(w.as, 0, RAM_SIZE, "ram", NULL) == 0);
    const struct pv_pci_bus_config config = {
        .as = w.as,
        .ecam_base = ECAM,
        .ecam_size = PV_MIB,
        .mem32_base = MEM32,
        .mem32_size = PV_MIB,
    };
    FUZZ_REQUIRE(pv_pci_bus_create(&w.bus, &config, NULL) == 0);
    struct pv_block *block = open_image(&w, fuzz_take(&w.input, 1) % 4 == 0);
    FUZZ_REQUIRE(pv_nvme_create(w.bus, w.loop, w.as, block, &options, NULL) == 0);
    pv_as_cpu_write(w.as, FUNCTION + 0x10, 4, MEM32);
    pv_as_cpu_write(w.as, FUNCTION + 4, 2, 6);
    FUZZ_REQUIRE(pv_as_cpu_read(w.as, MEM32 + 8, 4, &(uint64_t){0}) == 0);
    enable(&w);
    make_queues(&w);
    run_loop(&w);
    while (w.input.size)
        step(&w);
    run_loop(&w);
    pv_pci_bus_destroy(w.bus);
    pv_as_destroy(w.as);
    pv_loop_destroy(w.loop);
    return 0;
}
