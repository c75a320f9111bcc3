/* SPDX-License-Identifier: MIT */
/*
 * A whole guest in lockstep: lockstep-boot [--memory SIZE] KERNEL INITRD COMMAND-LINE
 *
 * The left PE is the translator's, of a real machine with its console, GIC and timer. The right one
 * is the interpreter's, with memory of its own that began as a copy. Whenever the left has done a
 * block (jit->on_block), the right executes as many instructions, and must then have the same
 * registers; system registers are compared every 64 blocks, and all of memory every 2^24.
 *
 * What comes from outside the CPU is recorded on the left and replayed on the right: device
 * accesses (by wrapping pv_as_cpu_read and pv_as_cpu_write in the linker), SMCCC calls, the
 * registers of GIC and timer, which must come in the same order with the same operands, and the
 * moment of each interrupt. Nothing writes to the left's memory but its CPU: there are no disks and
 * no networks, and MSIs are not taken by an ITS, which keeps tables in memory.
 *
 * How many instructions the left has executed is known from where its block began and cpu_jit.at.
 * An exception in the middle, or none, is the right's to find out by itself. An instruction abort
 * belongs to no block: the right is then allowed one more step, as long as it raises.
 *
 * Between a write to code and the IC that follows, a PE may execute the old or the new (Arm ARM
 * B2.3.8), and kernels do so: one calls the function it has just patched, which maps the page to
 * patch. So the right executes the instructions that the left has translated, at its own addresses
 * and rights; but once it has seen an IC for their page they must be what is in memory.
 */
#include "base/error.h"
#include "base/parse.h"
#include "base/util.h"
#include "engine/interp/exception.h"
#include "engine/interp/handlers.h"
#include "engine/interp/mem.h"
#include "engine/interp/run.h"
#include "engine/interp/sysreg.h"
#include "engine/jit/jit.h"
#include "host/chardev.h"
#include "host/loop.h"
#include "machine/machine.h"
#include "memory/address_space.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS         256u /* outside the CPU, in one block */
#define SYSREGS_EVERY  64u
#define MEMORY_EVERY   (1u << 24)
#define PROGRESS_EVERY (1u << 26)
#define CODE_ALIGN     16u /* of blocks in code memory */
#define PAGES          (1u << 16)
#define RAISES_MAX     4u /* instruction aborts, one leading to the next */

enum event_kind { EVENT_READ, EVENT_WRITE, EVENT_SYSREG_READ, EVENT_SYSREG_WRITE, EVENT_SMCCC };

struct event {
    enum event_kind kind;
    unsigned size;
    uint64_t address, value;
    int result;
    uint64_t x[18];
};

/* A translated block, by its place in code memory. */
struct seen {
    struct a64_insn *insns; /* NULL: not seen yet */
    uint64_t pa;
    unsigned count;
    uint32_t invalidated; /* the page's count of IC when it was translated */
};

struct lockstep {
    struct pv_engine_ops ops; /* the translator's, with some of them replaced */
    struct pv_loop *loop;
    struct pv_machine *machine;
    struct pv_address_space *left, *right;
    const struct pv_engine_client *client; /* the machine */
    void *client_opaque;
    struct pv_engine *engine; /* the right one */
    struct cpu *cpu;          /* its PE */

    bool began;     /* a block is being executed, or was */
    uint64_t start; /* its address */
    const struct seen *block;
    uint64_t interrupts;

    struct seen *seen;           /* JIT_CODE_SIZE / CODE_ALIGN of them */
    uint64_t emptied;            /* the translator's count when they were right */
    uint32_t invalidated[PAGES]; /* by the right, by a hash of pages */

    struct event events[EVENTS];
    unsigned recorded, replayed;

    uint64_t blocks, instructions, aborts, accesses;
};

/* The wrapped functions have nothing to find it by. */
static struct lockstep the;

/* ---- Differences ---- */

static void show(const char *name, uint64_t left, uint64_t right)
{
    if (left != right)
        fprintf(stderr, "  %-8s jit %016" PRIx64 "  interp %016" PRIx64 "\n", name, left, right);
}

static void show_registers(const struct cpu *l, const struct cpu *r)
{
    char name[16];
    for (unsigned i = 0; i < 31; i++) {
        snprintf(name, sizeof(name), "x%u", i);
        show(name, l->x[i], r->x[i]);
    }
    for (unsigned i = 0; i < 64; i++) {
        snprintf(name, sizeof(name), "v%u.d[%u]", i / 2, i & 1);
        show(name, l->v[i / 2].d[i & 1], r->v[i / 2].d[i & 1]);
    }
    show("pc", l->pc, r->pc);
    show("sp", l->sp, r->sp);
    show("sp_el0", l->sp_el[0], r->sp_el[0]);
    show("sp_el1", l->sp_el[1], r->sp_el[1]);
    show("pstate", exception_pstate(l), exception_pstate(r));
    show("fpcr", l->fpcr, r->fpcr);
    show("fpsr", l->fpsr, r->fpsr);
    for (unsigned i = 0; i < SYSREG_COUNT; i++) {
        snprintf(name, sizeof(name), "sys[%u]", i);
        show(name, l->sys->reg[i], r->sys->reg[i]);
    }
}

static void show_block(uint64_t last)
{
    for (unsigned i = 0; i <= (last - the.start) / 4 && i < the.block->count; i++)
        fprintf(stderr, " %08x", the.block->insns[i].word);
    fprintf(stderr, "\n");
}

static _Noreturn void differ(const struct cpu *left, const char *what)
{
    const uint64_t last = left->jit.at | (the.start & ~MMU_PAGE_MASK);
    fprintf(stderr,
            "\nlockstep-boot: %s, after %" PRIu64 " instructions in %" PRIu64
            " blocks; the last block from %#" PRIx64 " to %#" PRIx64 ", mode %#x\n",
            what, the.instructions, the.blocks, the.start, last, left->jit.mode);
    show_block(last);
    show_registers(left, the.cpu);
    exit(1);
}

/* ---- What comes from outside ---- */

static struct event *record(enum event_kind kind, uint64_t address, unsigned size)
{
    if (the.recorded == EVENTS) {
        fprintf(stderr, "lockstep-boot: more than %u events in a block\n", EVENTS);
        exit(1);
    }
    struct event *e = &the.events[the.recorded++];
    *e = (struct event){.kind = kind, .address = address, .size = size};
    the.accesses++;
    return e;
}

static struct event *replay(enum event_kind kind, uint64_t address, unsigned size)
{
    struct event *e = &the.events[the.replayed];
    if (the.replayed == the.recorded || e->kind != kind || e->address != address ||
        e->size != size) {
        fprintf(stderr, "lockstep-boot: the interpreter does %u at %#" PRIx64 ", size %u\n", kind,
                address, size);
        differ(atomic_load(&((struct interp *)pv_machine_engine(the.machine)->impl)->cpus[0]),
               "something else reached the outside");
    }
    the.replayed++;
    return e;
}

static void replay_value(enum event_kind kind, uint64_t address, unsigned size, uint64_t value,
                         int *result)
{
    const struct event *e = replay(kind, address, size);
    if (e->value != value)
        differ(atomic_load(&((struct interp *)pv_machine_engine(the.machine)->impl)->cpus[0]),
               "another value was written to the outside");
    *result = e->result;
}

int __real_pv_as_cpu_read(struct pv_address_space *as, uint64_t address, unsigned size,
                          uint64_t *value);
int __real_pv_as_cpu_write(struct pv_address_space *as, uint64_t address, unsigned size,
                           uint64_t value);
int __wrap_pv_as_cpu_read(struct pv_address_space *as, uint64_t address, unsigned size,
                          uint64_t *value);
int __wrap_pv_as_cpu_write(struct pv_address_space *as, uint64_t address, unsigned size,
                           uint64_t value);

int __wrap_pv_as_cpu_read(struct pv_address_space *as, uint64_t address, unsigned size,
                          uint64_t *value)
{
    if (as == the.right) {
        const struct event *e = replay(EVENT_READ, address, size);
        *value = e->value;
        return e->result;
    }
    struct event *e = record(EVENT_READ, address, size);
    e->result = __real_pv_as_cpu_read(as, address, size, value);
    e->value = *value;
    return e->result;
}

int __wrap_pv_as_cpu_write(struct pv_address_space *as, uint64_t address, unsigned size,
                           uint64_t value)
{
    int result;
    if (as == the.right) {
        replay_value(EVENT_WRITE, address, size, value, &result);
        return result;
    }
    struct event *e = record(EVENT_WRITE, address, size);
    e->value = value;
    e->result = __real_pv_as_cpu_write(as, address, size, value);
    return e->result;
}

static void left_smccc(void *opaque, unsigned vcpu, bool smc, uint64_t x[18])
{
    struct event *e = record(EVENT_SMCCC, x[0], smc);
    the.client->smccc(the.client_opaque, vcpu, smc, x);
    memcpy(e->x, x, sizeof(e->x));
}

static bool left_sysreg_read(void *opaque, unsigned vcpu, uint32_t sysreg, uint64_t *value)
{
    struct event *e = record(EVENT_SYSREG_READ, sysreg, 8);
    e->result = the.client->sysreg_read(the.client_opaque, vcpu, sysreg, value);
    e->value = *value;
    return e->result;
}

static bool left_sysreg_write(void *opaque, unsigned vcpu, uint32_t sysreg, uint64_t value)
{
    struct event *e = record(EVENT_SYSREG_WRITE, sysreg, 8);
    e->value = value;
    e->result = the.client->sysreg_write(the.client_opaque, vcpu, sysreg, value);
    return e->result;
}

static void left_fatal(void *opaque, unsigned vcpu, const char *message)
{
    the.client->fatal(the.client_opaque, vcpu, message);
}

static void right_smccc(void *opaque, unsigned vcpu, bool smc, uint64_t x[18])
{
    memcpy(x, replay(EVENT_SMCCC, x[0], smc)->x, 18 * sizeof(*x));
}

static bool right_sysreg_read(void *opaque, unsigned vcpu, uint32_t sysreg, uint64_t *value)
{
    const struct event *e = replay(EVENT_SYSREG_READ, sysreg, 8);
    *value = e->value;
    return e->result;
}

static bool right_sysreg_write(void *opaque, unsigned vcpu, uint32_t sysreg, uint64_t value)
{
    int result;
    replay_value(EVENT_SYSREG_WRITE, sysreg, 8, value, &result);
    return result;
}

static const struct pv_engine_client left_client = {
    .smccc = left_smccc,
    .sysreg_read = left_sysreg_read,
    .sysreg_write = left_sysreg_write,
    .fatal = left_fatal,
};

static const struct pv_engine_client right_client = {
    .smccc = right_smccc,
    .sysreg_read = right_sysreg_read,
    .sysreg_write = right_sysreg_write,
    .fatal = left_fatal,
};

/* ---- Code ---- */

void __real_interp_icache_invalidate(struct interp *interp, uint64_t pa);
void __real_interp_icache_invalidate_all(struct interp *interp);
void __wrap_interp_icache_invalidate(struct interp *interp, uint64_t pa);
void __wrap_interp_icache_invalidate_all(struct interp *interp);

static uint32_t *invalidations(uint64_t pa)
{
    const uint64_t page = pa >> MMU_PAGE_SHIFT;
    return &the.invalidated[(page ^ page >> 16) & (PAGES - 1)];
}

void __wrap_interp_icache_invalidate(struct interp *interp, uint64_t pa)
{
    if (interp->as == the.right)
        ++*invalidations(pa);
    __real_interp_icache_invalidate(interp, pa);
}

void __wrap_interp_icache_invalidate_all(struct interp *interp)
{
    for (unsigned i = 0; interp->as == the.right && i < PAGES; i++)
        the.invalidated[i]++;
    __real_interp_icache_invalidate_all(interp);
}

static void forget_blocks(void)
{
    for (unsigned i = 0; i < JIT_CODE_SIZE / CODE_ALIGN; i++)
        free(the.seen[i].insns);
    memset(the.seen, 0, JIT_CODE_SIZE / CODE_ALIGN * sizeof(*the.seen));
}

/* The first time, it has just been translated: it is the newest block. */
static void see(const struct jit *jit, struct seen *seen, uint32_t code)
{
    const struct jit_block *block = &jit->blocks[jit->block_count - 1];
    const uint32_t *words = pv_as_host(the.left, block->pa, 4, false);
    struct a64_insn *insns = calloc(block->count, sizeof(*insns));
    if (block->code != code || !insns || !words) {
        fprintf(stderr, "lockstep-boot: a block is entered that was not translated\n");
        exit(1);
    }
    for (unsigned i = 0; i < block->count; i++) {
        a64_decode(words[i], &insns[i]);
        insns[i].at = (uint16_t)((block->pa & MMU_PAGE_MASK) + 4 * i);
    }
    *seen = (struct seen){insns, block->pa, block->count, *invalidations(block->pa)};
}

static void check_code(const struct cpu *left, const struct seen *seen)
{
    if (seen->invalidated == *invalidations(seen->pa))
        return;
    const uint32_t *words = pv_as_host(the.right, seen->pa, 4, false);
    for (unsigned i = 0; i < seen->count; i++)
        if (words[i] != seen->insns[i].word)
            differ(left, "code was executed that IC had invalidated");
}

static const struct seen *seen_block(struct cpu *left, const void *code)
{
    const struct jit *jit = left->interp->jit;
    const uint32_t at = (uint32_t)((const uint8_t *)code - jit->memory.exec);
    struct seen *seen = &the.seen[at / CODE_ALIGN];
    if (the.emptied != atomic_load(&jit->stats.emptied))
        forget_blocks();
    the.emptied = atomic_load(&jit->stats.emptied);
    if (!seen->insns)
        see(jit, seen, at);
    return seen;
}

/* ---- In step ---- */

/*
 * The first instructions of a block, or the exceptions that they raise. Where the page is not where
 * the left found it, PC or registers will tell.
 */
static void step_block(struct cpu *c, const struct seen *block, unsigned count)
{
    if (_setjmp(c->unwind))
        return;
    for (unsigned i = 0; i < count; i++) {
        uint64_t pa;
        mem_fetch(c, c->pc, &pa);
        if (pa != block->pa + 4 * i)
            return;
        c->branched = false;
        interp_handlers[block->insns[i].op](c, &block->insns[i]);
        if (!c->branched)
            c->pc += 4;
    }
}

/* One instruction, or the exception that it raises; true in that case. */
static bool step(struct cpu *c)
{
    if (_setjmp(c->unwind))
        return true;
    run_one(c);
    return false;
}

static void interrupt(struct cpu *c)
{
    atomic_fetch_or(&c->vcpu->attention, PV_ATTENTION_IRQ);
    interp_attend(c);
    atomic_fetch_and(&c->vcpu->attention, ~PV_ATTENTION_IRQ);
}

static bool same_registers(const struct cpu *l, const struct cpu *r)
{
    const unsigned other_sp = !(l->el && l->spsel);
    return !memcmp(l->x, r->x, 31 * sizeof(l->x[0])) && l->pc == r->pc && l->sp == r->sp &&
           l->sp_el[other_sp] == r->sp_el[other_sp] && l->nzcv == r->nzcv && l->daif == r->daif &&
           l->el == r->el && l->spsel == r->spsel && l->pan == r->pan && l->uao == r->uao &&
           l->ssbs == r->ssbs && l->dit == r->dit && l->il == r->il && l->ss == r->ss &&
           !memcmp(l->v, r->v, sizeof(l->v)) && l->fpcr == r->fpcr && l->fpsr == r->fpsr;
}

static void compare_memory(const struct cpu *left)
{
    struct pv_region_info region;
    for (uint64_t at = 0; pv_as_next(the.left, at, &region); at = region.address + region.size) {
        if (region.kind != PV_REGION_RAM)
            continue;
        const uint8_t *l = region.host, *r = pv_as_host(the.right, region.address, 1, false);
        if (!memcmp(l, r, region.size))
            continue;
        for (uint64_t i = 0; i < region.size; i++) {
            if (l[i] == r[i])
                continue;
            fprintf(stderr, "\nlockstep-boot: byte %#" PRIx64 ": jit %02x, interp %02x\n",
                    region.address + i, l[i], r[i]);
            break;
        }
        differ(left, "memory differs");
    }
}

/* The left has done the block that began last, and may have been interrupted: so does the right. */
static void catch_up(struct cpu *left)
{
    struct cpu *right = the.cpu;
    if (atomic_load(&right->vcpu->attention))
        mmu_serve(right);
    if (the.began) {
        const unsigned count = (left->jit.at - (unsigned)(the.start & MMU_PAGE_MASK)) / 4 + 1;
        the.instructions += count;
        the.blocks++;
        step_block(right, the.block, count);
    }
    const uint64_t interrupts = atomic_load(&left->sys->interrupts);
    if (interrupts != the.interrupts)
        interrupt(right);
    the.interrupts = interrupts;
    for (unsigned i = 0; right->pc != left->pc && i < RAISES_MAX; i++) {
        the.aborts++;
        if (!step(right))
            differ(left, "PC differs");
    }
    if (!same_registers(left, right))
        differ(left, "registers differ");
    if (the.replayed != the.recorded)
        differ(left, "the interpreter did not reach the outside as often");
    the.recorded = the.replayed = 0;
    if (the.blocks % SYSREGS_EVERY == 0 &&
        memcmp(left->sys->reg, right->sys->reg, sizeof(left->sys->reg)) != 0)
        differ(left, "system registers differ");
    if (the.blocks % MEMORY_EVERY == 0)
        compare_memory(left);
    if (the.blocks % PROGRESS_EVERY == 0)
        fprintf(stderr, "\nlockstep-boot: %" PRIu64 " instructions so far\n", the.instructions);
}

static void on_block(struct cpu *c, const void *code)
{
    catch_up(c);
    the.began = true;
    the.start = c->pc;
    the.block = seen_block(c, code);
    check_code(c, the.block);
}

/* ---- The machines ---- */

static int create(struct pv_engine *engine, struct pv_error **err)
{
    static const uint64_t mpidr[1];
    the.client = engine->config.client;
    the.client_opaque = engine->config.client_opaque;
    engine->config.client = &left_client;
    int ret = pv_engine_jit.create(engine, err);
    if (ret < 0)
        return ret;
    ((struct interp *)engine->impl)->jit->on_block = on_block;
    const struct pv_engine_config right = {
        .as = the.right, .vcpus = 1, .client = &right_client, .mpidr = mpidr};
    ret = pv_engine_create(&the.engine, &pv_engine_interp, &right, err);
    return ret < 0 ? ret : pv_engine_start(the.engine, err);
}

/* The kernel has been loaded: from here on the right has its own memory. */
static void reset(struct pv_vcpu *vcpu, uint64_t entry, uint64_t context)
{
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    struct pv_region_info region;
    struct pv_vcpu *right = pv_engine_vcpu(the.engine, 0);
    if (the.cpu) {
        fprintf(stderr, "lockstep-boot: a reset ends it\n");
        exit(1);
    }
    for (uint64_t at = 0; pv_as_next(the.left, at, &region); at = region.address + region.size) {
        if (region.kind != PV_REGION_RAM)
            continue;
        if (pv_as_add_ram(the.right, region.address, region.size, "ram", &err) < 0) {
            fprintf(stderr, "lockstep-boot: %s\n", pv_error_message(err));
            exit(1);
        }
        for (uint64_t i = 0; i < region.size; i += PV_GUEST_PAGE) {
            static const uint8_t zeroes[PV_GUEST_PAGE];
            const uint8_t *page = (const uint8_t *)region.host + i;
            if (memcmp(page, zeroes, PV_GUEST_PAGE) != 0)
                pv_as_write(the.right, region.address + i, page, PV_GUEST_PAGE);
        }
    }
    pv_engine_jit.vcpu_reset(vcpu, entry, context);
    pv_engine_interp.vcpu_reset(right, entry, context);
    the.cpu = right->impl;
}

static void powered_off(void *opaque)
{
    pv_loop_stop(the.loop);
}

static void fatal(void *opaque, const char *message)
{
    fprintf(stderr, "lockstep-boot: %s\n", message);
    exit(1);
}

static int boot(const struct pv_machine_config *config, struct pv_error **err)
{
    struct pv_machine_config machine = *config;
    struct pv_chardev *console = NULL;
    int ret = pv_loop_create(&the.loop, err);
    if (ret >= 0)
        ret = pv_as_create(&the.left, err);
    if (ret >= 0)
        ret = pv_as_create(&the.right, err);
    if (ret >= 0)
        ret = pv_chardev_stdio_create(&console, the.loop, powered_off, NULL, err);
    machine.loop = the.loop;
    machine.as = the.left;
    machine.uart = console;
    if (ret >= 0)
        ret = pv_machine_create(&the.machine, &machine, err);
    if (ret >= 0)
        ret = pv_machine_start(the.machine, err);
    if (ret >= 0)
        ret = pv_loop_run(the.loop, err);
    if (ret >= 0) {
        pv_machine_stop(the.machine);
        const struct interp *left = pv_machine_engine(the.machine)->impl;
        compare_memory(atomic_load(&left->cpus[0]));
        pv_chardev_destroy(PV_STEAL(console));
        printf("\nlockstep-boot: %" PRIu64 " instructions in %" PRIu64 " blocks, %" PRIu64
               " interrupts, %" PRIu64 " accesses to the outside, %" PRIu64
               " instruction aborts: no difference\n",
               the.instructions, the.blocks, the.interrupts, the.accesses, the.aborts);
    }
    pv_machine_destroy(the.machine);
    pv_engine_destroy(the.engine);
    pv_chardev_destroy(console);
    pv_as_destroy(the.left);
    pv_as_destroy(the.right);
    pv_loop_destroy(the.loop);
    return ret;
}

int main(int argc, char **argv)
{
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    uint64_t memory = PV_GIB;
    const bool sized = argc == 6 && !strcmp(argv[1], "--memory");
    if (argc != (sized ? 6 : 4)) {
        fprintf(stderr, "usage: lockstep-boot [--memory SIZE] KERNEL INITRD COMMAND-LINE\n");
        return 2;
    }
    if (pv_engine_probe(&pv_engine_jit, NULL) < 0)
        return 77; /* not on this host: skipped */
    if (sized &&
        pv_parse_size(argv[2], "--memory", PV_MACHINE_MIN_RAM, 16 * PV_GIB, &memory, &err) < 0) {
        fprintf(stderr, "lockstep-boot: %s\n", pv_error_message(err));
        return 2;
    }
    the.seen = calloc(JIT_CODE_SIZE / CODE_ALIGN, sizeof(*the.seen));
    if (!the.seen)
        return 1;
    the.ops = pv_engine_jit;
    the.ops.create = create;
    the.ops.vcpu_reset = reset;
    argv += sized ? 2 : 0;
    const struct pv_machine_config config = {
        .engine = &the.ops,
        .vcpus = 1,
        .msi = PV_MSI_V2M,
        .ram_size = memory,
        .kernel = argv[1],
        .initrd = argv[2],
        .append = argv[3],
        .events = {.powered_off = powered_off, .reset = powered_off, .fatal = fatal},
    };
    if (boot(&config, &err) >= 0)
        return 0;
    fprintf(stderr, "lockstep-boot: %s\n", err ? pv_error_message(err) : "cannot run");
    return 1;
}
