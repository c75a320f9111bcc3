/* SPDX-License-Identifier: MIT */
/*
 * Exclusives, ordered accesses and the atomics of FEAT_LSE.
 *
 * The exclusive monitor remembers the address and the value that a load-exclusive saw, and the word
 * of its granule: one of a table shared by all vCPUs, chosen by the granule's host address. The
 * word has a count and two flags. A load-exclusive sets WATCHED before it reads the location. A
 * store-exclusive takes the word if it still is what was remembered, by setting BUSY, stores by a
 * host compare-and-swap, and gives the word back with another count. An atomic instruction looks
 * at the word first. If it is watched, it takes it too, and gives it back with another count and
 * unwatched, for nobody's monitor holds any more. So a location that another PE changed and changed
 * back (ABA) fails the store-exclusive as the architecture's monitor would have it, although the
 * value is the same, and an atomic that nobody watches costs one locked host instruction and a
 * load. Whoever finds a word BUSY need not wait: monitors older than that are lost when it is given
 * back, and younger ones are born lost.
 *
 * An atomic that found its word unwatched may store just after a load-exclusive has set WATCHED. If
 * that read the location before the store, the next atomic of the same PE comes after WATCHED was
 * set, and finds it: the first one made the value differ, and a change back is counted. Two
 * granules with one word make each other fail, which the architecture allows (B2.12.2).
 *
 * What goes unnoticed is ABA by plain stores alone: they count nothing, because that would cost
 * every store. The store-exclusive then still finds the value that its load-exclusive read. So do
 * two atomics of two other PEs that both looked before WATCHED was set and stored after that.
 *
 * The address compared is the virtual one: a context switch clears the monitor by its ERET, and
 * code that stores through another alias may fail by the architecture's leave.
 *
 * Ordering: acquire and release instructions are sequentially consistent among themselves
 * (B2.3.11). Load-acquire is an acquire fence behind the load; store-release a release fence before
 * and a full one behind the store, so that a later load-acquire stays behind it.
 */
#include "engine/interp/idregs.h"
#include "engine/interp/interp.h"
#include "engine/interp/ldst.h"

#include <sched.h>

static inline unsigned size_of(const struct a64_insn *i)
{
    return 1u << (i->word >> 30);
}

static inline void acquire(void)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
}

static inline uint64_t load_aligned(struct cpu *c, uint64_t va, unsigned size)
{
    return mem_read_slow(c, va, size, MEM_ALIGNED);
}

/* The host location for a read-modify-write. */
static inline void *location(struct cpu *c, uint64_t va, unsigned size)
{
    void *host = mem_atomic(c, va, size);
    if (PV_UNLIKELY(!host))
        mem_abort(c, va, true, FSC_UNSUPPORTED_ATOMIC);
    return host;
}

/* ---- Ordered loads and stores ---- */

static void load_acquire(struct cpu *c, const struct a64_insn *i)
{
    uint64_t value = load_aligned(c, ldst_base(c, i), size_of(i));
    acquire();
    cpu_set_x(c, i->rd, value);
}

static void store_release(struct cpu *c, const struct a64_insn *i)
{
    uint64_t va = ldst_base(c, i);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    mem_write_slow(c, va, size_of(i), cpu_x(c, i->rd), MEM_ALIGNED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void interp_LDAR(struct cpu *c, const struct a64_insn *i)
{
    load_acquire(c, i);
}

void interp_LDLAR(struct cpu *c, const struct a64_insn *i)
{
    load_acquire(c, i);
}

void interp_LDAPR(struct cpu *c, const struct a64_insn *i)
{
    load_acquire(c, i);
}

void interp_STLR(struct cpu *c, const struct a64_insn *i)
{
    store_release(c, i);
}

void interp_STLLR(struct cpu *c, const struct a64_insn *i)
{
    store_release(c, i);
}

/* ---- Exclusives ---- */

static _Atomic uint32_t *granule_of(struct cpu *c, const void *host)
{
    return &c->interp->granules[(uintptr_t)host / EXCLUSIVE_GRANULE % INTERP_GRANULE_WORDS];
}

/* The granule's word, watched, to be read before the location is. */
static uint32_t watch(struct cpu *c, uint64_t va, unsigned size)
{
    const void *host = mem_exclusive(c, va, size);
    if (!host) /* a device: a store-exclusive to it is refused anyway */
        return 0;
    _Atomic uint32_t *granule = granule_of(c, host);
    uint32_t word = atomic_load_explicit(granule, memory_order_acquire);
    if (!(word & (INTERP_GRANULE_WATCHED | INTERP_GRANULE_BUSY)))
        word = atomic_fetch_or(granule, INTERP_GRANULE_WATCHED) | INTERP_GRANULE_WATCHED;
    if (word & INTERP_GRANULE_BUSY)
        sched_yield(); /* its owner may wait for a host CPU, and until then no one can store */
    return word;
}

/* True if the word was `word` and is the caller's now, until give_back(). */
static bool take(_Atomic uint32_t *granule, uint32_t word)
{
    return (word & INTERP_GRANULE_WATCHED) && !(word & INTERP_GRANULE_BUSY) &&
           atomic_compare_exchange_strong(granule, &word, word | INTERP_GRANULE_BUSY);
}

static void give_back(_Atomic uint32_t *granule, uint32_t next)
{
    atomic_store_explicit(granule, next, memory_order_release);
}

static void mark(struct cpu *c, uint64_t va, unsigned size, uint32_t granule, uint64_t low,
                 uint64_t high)
{
    c->monitor =
        (struct cpu_monitor){.va = va, .size = size, .granule = granule, .value = {low, high}};
}

static void load_exclusive(struct cpu *c, const struct a64_insn *i)
{
    uint64_t va = ldst_base(c, i);
    unsigned size = size_of(i);
    uint32_t granule = watch(c, va, size);
    uint64_t value = load_aligned(c, va, size);
    acquire();
    mark(c, va, size, granule, value, 0);
    cpu_set_x(c, i->rd, value);
}

static unsigned pair_bytes(const struct a64_insn *i)
{
    return i->word >> 30 & 1 ? 16 : 8;
}

static void load_exclusive_pair(struct cpu *c, const struct a64_insn *i)
{
    uint64_t va = ldst_base(c, i);
    unsigned bytes = pair_bytes(i);
    uint32_t granule = watch(c, va, bytes);
    uint64_t value[2] = {0};
    if (bytes == 8) {
        value[0] = load_aligned(c, va, 8);
        acquire();
        mark(c, va, bytes, granule, value[0], 0);
        cpu_set_w(c, i->rd, (uint32_t)value[0]);
        cpu_set_w(c, i->ra, (uint32_t)(value[0] >> 32));
        return;
    }
    mem_read128(c, va, value);
    acquire();
    mark(c, va, bytes, granule, value[0], value[1]);
    cpu_set_x(c, i->rd, value[0]);
    cpu_set_x(c, i->ra, value[1]);
}

/* TSan's compare-and-swap of 16 bytes takes a lock, which translated code does not know of. */
#if __has_attribute(disable_sanitizer_instrumentation)
#define BY_THE_HOST __attribute__((disable_sanitizer_instrumentation, noinline))
#else
#define BY_THE_HOST
#endif

/* The __sync form is inlined (cmpxchg16b, casp) where the __atomic one calls a library. */
BY_THE_HOST static bool swap_pair(void *host, uint64_t expected[2], const uint64_t desired[2])
{
    unsigned __int128 want = (unsigned __int128)expected[1] << 64 | expected[0];
    unsigned __int128 with = (unsigned __int128)desired[1] << 64 | desired[0];
    unsigned __int128 old = __sync_val_compare_and_swap((unsigned __int128 *)host, want, with);
    expected[0] = (uint64_t)old;
    expected[1] = (uint64_t)(old >> 64);
    return old == want;
}

/* A host location of `size` bytes that is `expected` becomes `desired`; *expected is what it was.
 */
static bool compare_and_swap(void *host, unsigned size, uint64_t expected[2],
                             const uint64_t desired[2])
{
    switch (size) {
    case 1: {
        uint8_t old = (uint8_t)expected[0];
        bool done = __atomic_compare_exchange_n((uint8_t *)host, &old, (uint8_t)desired[0], false,
                                                __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        expected[0] = old;
        return done;
    }
    case 2: {
        uint16_t old = (uint16_t)expected[0];
        bool done = __atomic_compare_exchange_n((uint16_t *)host, &old, (uint16_t)desired[0], false,
                                                __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        expected[0] = old;
        return done;
    }
    case 4: {
        uint32_t old = (uint32_t)expected[0];
        bool done = __atomic_compare_exchange_n((uint32_t *)host, &old, (uint32_t)desired[0], false,
                                                __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        expected[0] = old;
        return done;
    }
    case 8:
        return __atomic_compare_exchange_n((uint64_t *)host, &expected[0], desired[0], false,
                                           __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    default: return swap_pair(host, expected, desired);
    }
}

static bool store_unless_changed(struct cpu *c, void *host, struct cpu_monitor *monitor,
                                 const uint64_t desired[2])
{
    _Atomic uint32_t *granule = granule_of(c, host);
    if (atomic_load(&c->interp->alone)) /* jit/a64/atomic.c does not watch then */
        return compare_and_swap(host, monitor->size, monitor->value, desired);
    if (!take(granule, monitor->granule))
        return false;
    const bool stored = compare_and_swap(host, monitor->size, monitor->value, desired);
    give_back(granule, monitor->granule + INTERP_GRANULE_STEP);
    return stored;
}

/* Stores if the monitor still holds; the status register gets 0 for success. */
static void store_exclusive(struct cpu *c, const struct a64_insn *i, unsigned size, uint64_t low,
                            uint64_t high)
{
    uint64_t va = ldst_base(c, i);
    struct cpu_monitor monitor = c->monitor;
    const uint64_t desired[2] = {low, high};
    bool stored = false;
    if (va % size)
        mem_abort(c, va, true, FSC_ALIGNMENT);
    if (monitor.size == size && monitor.va == va)
        stored = store_unless_changed(c, location(c, va, size), &monitor, desired);
    cpu_clear_monitor(c);
    cpu_set_w(c, i->rm, !stored);
}

static void store_exclusive_pair(struct cpu *c, const struct a64_insn *i)
{
    if (pair_bytes(i) == 8)
        store_exclusive(c, i, 8, cpu_w(c, i->rd) | cpu_x(c, i->ra) << 32, 0);
    else
        store_exclusive(c, i, 16, cpu_x(c, i->rd), cpu_x(c, i->ra));
}

#define ALIAS(name, function)                                                                      \
    void interp_##name(struct cpu *c, const struct a64_insn *i)                                    \
    {                                                                                              \
        function;                                                                                  \
    }
ALIAS(LDXR, load_exclusive(c, i))
ALIAS(LDAXR, load_exclusive(c, i))
ALIAS(LDXP, load_exclusive_pair(c, i))
ALIAS(LDAXP, load_exclusive_pair(c, i))
ALIAS(STXR, store_exclusive(c, i, size_of(i), cpu_x(c, i->rd), 0))
ALIAS(STLXR, store_exclusive(c, i, size_of(i), cpu_x(c, i->rd), 0))
ALIAS(STXP, store_exclusive_pair(c, i))
ALIAS(STLXP, store_exclusive_pair(c, i))

/* ---- FEAT_LSE ---- */

/* Around an atomic instruction's access: what exclusives watched there is lost. */
struct change {
    _Atomic uint32_t *granule; /* NULL: nobody watches */
    uint32_t word;
};

static struct change begin_change(struct cpu *c, const void *host)
{
    struct change change = {granule_of(c, host), 0};
    for (;;) {
        change.word = atomic_load(change.granule);
        if (!(change.word & INTERP_GRANULE_WATCHED))
            return (struct change){0};
        if (take(change.granule, change.word))
            return change;
        if (change.word & INTERP_GRANULE_BUSY)
            sched_yield();
    }
}

static void end_change(const struct change *change)
{
    if (change->granule)
        give_back(change->granule, (change->word & ~INTERP_GRANULE_WATCHED) + INTERP_GRANULE_STEP);
}

void interp_CAS(struct cpu *c, const struct a64_insn *i)
{
    unsigned size = size_of(i);
    void *host = location(c, ldst_base(c, i), size);
    uint64_t expected[2] = {cpu_x(c, i->rm), 0};
    const uint64_t desired[2] = {cpu_x(c, i->rd), 0};
    if (size < 8)
        expected[0] &= (UINT64_C(1) << 8 * size) - 1;
    struct change change = begin_change(c, host);
    compare_and_swap(host, size, expected, desired);
    end_change(&change);
    cpu_set_x(c, i->rm, expected[0]);
}

void interp_CASP(struct cpu *c, const struct a64_insn *i)
{
    unsigned size = pair_bytes(i);
    void *host = location(c, ldst_base(c, i), size);
    /* The pairs are even and odd registers: 30 pairs with XZR. */
    uint64_t expected[2] = {cpu_x(c, i->rm), cpu_x(c, i->rm + 1u)};
    uint64_t desired[2] = {cpu_x(c, i->rd), cpu_x(c, i->rd + 1u)};
    if (size == 8) {
        expected[0] = (uint32_t)expected[0] | expected[1] << 32;
        desired[0] = (uint32_t)desired[0] | desired[1] << 32;
    }
    struct change change = begin_change(c, host);
    compare_and_swap(host, size, expected, desired);
    end_change(&change);
    if (size == 8) {
        expected[1] = expected[0] >> 32;
        expected[0] = (uint32_t)expected[0];
    }
    cpu_set_x(c, i->rm, expected[0]);
    cpu_set_x(c, i->rm + 1u, expected[1]);
}

/*
 * An atomic operation for all four sizes. EXPR is one of __atomic_fetch_*'s calls, in terms of
 * `p` (typed) and `v` (the operand).
 */
#define FETCH(type, EXPR)                                                                          \
    {                                                                                              \
        type *p = host, v = (type)operand;                                                         \
        old = EXPR;                                                                                \
        break;                                                                                     \
    }
#define ATOMIC(name, EXPR)                                                                         \
    void interp_##name(struct cpu *c, const struct a64_insn *i)                                    \
    {                                                                                              \
        void *host = location(c, ldst_base(c, i), size_of(i));                                     \
        const uint64_t operand = cpu_x(c, i->rm);                                                  \
        struct change change = begin_change(c, host);                                              \
        uint64_t old;                                                                              \
        switch (i->word >> 30) {                                                                   \
        case 0: FETCH(uint8_t, EXPR)                                                               \
        case 1: FETCH(uint16_t, EXPR)                                                              \
        case 2: FETCH(uint32_t, EXPR)                                                              \
        default: FETCH(uint64_t, EXPR)                                                             \
        }                                                                                          \
        end_change(&change);                                                                       \
        cpu_set_x(c, i->rd, old);                                                                  \
    }
ATOMIC(LDADD, __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST))
ATOMIC(LDCLR, __atomic_fetch_and(p, (__typeof__(v))~v, __ATOMIC_SEQ_CST))
ATOMIC(LDEOR, __atomic_fetch_xor(p, v, __ATOMIC_SEQ_CST))
ATOMIC(LDSET, __atomic_fetch_or(p, v, __ATOMIC_SEQ_CST))
ATOMIC(SWP, __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST))

/* Maximum and minimum: no host has them, so compare and swap until it holds. `keep` is in terms of
 * a (memory) and b (operand). */
#define FETCH_IF(type, signed_type, keep)                                                          \
    {                                                                                              \
        type *p = host, seen = __atomic_load_n(p, __ATOMIC_RELAXED);                               \
        const signed_type b = (signed_type)operand;                                                \
        signed_type a;                                                                             \
        do {                                                                                       \
            a = (signed_type)seen;                                                                 \
        } while (!__atomic_compare_exchange_n(p, &seen, (type)((keep) ? a : b), false,             \
                                              __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));                \
        old = seen;                                                                                \
        break;                                                                                     \
    }
#define ATOMIC_IF(name, keep, prefix)                                                              \
    void interp_##name(struct cpu *c, const struct a64_insn *i)                                    \
    {                                                                                              \
        void *host = location(c, ldst_base(c, i), size_of(i));                                     \
        const uint64_t operand = cpu_x(c, i->rm);                                                  \
        struct change change = begin_change(c, host);                                              \
        uint64_t old;                                                                              \
        switch (i->word >> 30) {                                                                   \
        case 0: FETCH_IF(uint8_t, prefix##int8_t, keep)                                            \
        case 1: FETCH_IF(uint16_t, prefix##int16_t, keep)                                          \
        case 2: FETCH_IF(uint32_t, prefix##int32_t, keep)                                          \
        default: FETCH_IF(uint64_t, prefix##int64_t, keep)                                         \
        }                                                                                          \
        end_change(&change);                                                                       \
        cpu_set_x(c, i->rd, old);                                                                  \
    }
ATOMIC_IF(LDSMAX, a > b, )
ATOMIC_IF(LDSMIN, a < b, )
ATOMIC_IF(LDUMAX, a > b, u)
ATOMIC_IF(LDUMIN, a < b, u)
