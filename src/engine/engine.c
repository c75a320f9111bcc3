/* SPDX-License-Identifier: MIT */
/*
 * vCPU threads: power, pausing and sleeping, the same for every engine.
 *
 * Each vCPU has a thread that is always in one of three places: executing (inside ops->vcpu_run),
 * asleep in WFI, or parked because it is off, paused or not yet started. All that decides between
 * them - power states, the pause count, the wish to quit - is protected by one mutex of the
 * engine, because it changes rarely. What changes often is the attention word: an interrupt line
 * is an atomic OR, and takes the mutex only when the vCPU sleeps.
 *
 * The sleeping test is Dekker's: a vCPU about to sleep first sets `sleeping`, then looks at the
 * attention word; a waker first sets the attention bit, then looks at `sleeping`. With sequentially
 * consistent operations at least one of them sees the other.
 *
 * A suspended vCPU (PSCI CPU_SUSPEND) sleeps here, or inside vcpu_run where the engine has its
 * interrupts elsewhere and only the engine can tell when one comes.
 *
 * A sleep that ends soon is not worth the host's going to sleep and waking up, which is tens of
 * microseconds: a vCPU in WFI first looks at its attention word for a while, as long as its last
 * sleeps were short. One whose sleeps are long looks once.
 *
 * PV_ATTENTION_STOP is only ever set and cleared with the mutex held, so a reason to stop that was
 * given before the vCPU took the mutex is seen there, and one given later finds the bit set.
 */
#include "engine/engine_impl.h"

#include "base/buffer.h"
#include "base/error.h"
#include "base/log.h"
#include "base/record.h"
#include "base/util.h"
#include "host/clock.h"
#include "host/thread.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* How long a vCPU in WFI looks before it sleeps: at first, and at most. */
#define POLL_MIN_NS UINT64_C(10000)
#define POLL_MAX_NS UINT64_C(100000)

enum power {
    POWER_OFF,
    POWER_STARTING, /* on, and the reset is still to be done by the vCPU's thread */
    POWER_ON,
};

enum suspend {
    SUSPEND_NONE,
    SUSPEND_STANDBY,
    SUSPEND_POWER_DOWN, /* comes back through a reset */
};

struct pv_vcpu_runner {
    pthread_cond_t wake_up; /* with the engine's mutex */
    enum power power;
    enum suspend suspend; /* what it asked for; takes effect when it stops executing */
    enum suspend asleep;  /* what it sleeps in */
    bool wake;            /* pv_vcpu_set_wake */
    bool thread_made;
    bool ready;     /* vcpu_create has returned */
    bool executing; /* inside vcpu_run or on the way there */
    int create_error;
    struct pv_error *error; /* of vcpu_create */
    uint64_t entry, context;
    struct request *request; /* for the vCPU's thread to carry out */
    _Atomic bool sleeping;
    _Atomic uint64_t wfi_waits;
    uint64_t poll_ns; /* how long to look before the next sleep; the vCPU's thread only */
};

/* Something to be done on a vCPU's thread while it does not execute. */
struct request {
    int (*fn)(struct pv_vcpu *vcpu, const struct request *request);
    uint32_t sysreg;
    void *data;
    int result;
    bool done;
};

struct pv_engine_private {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a vCPU became ready, stopped executing or was reset */
    unsigned pauses;
    bool started;
    bool quitting;
    bool polls; /* each vCPU may have a CPU of the host's for itself */
};

/* Hardware comes first, then what is fast, then the reference. */
static const struct pv_engine_ops *const engines[] = {
#if defined(__linux__) && defined(__aarch64__)
    &pv_engine_kvm,
#endif
#if defined(__APPLE__) || defined(PV_HVF_SIMULATED) /* tests/hvf-sim */
    &pv_engine_hvf,
#endif
#ifdef __x86_64__
    &pv_engine_jit,
#endif
    &pv_engine_interp, &pv_engine_fake, NULL,
};

const struct pv_engine_ops *const *pv_engine_list(void)
{
    return engines;
}

const struct pv_engine_ops *pv_engine_find(const char *name)
{
    for (size_t i = 0; engines[i]; i++)
        if (!strcmp(engines[i]->name, name))
            return engines[i];
    return NULL;
}

const char *pv_engine_name(const struct pv_engine_ops *ops)
{
    return ops->name;
}

const char *pv_engine_description(const struct pv_engine_ops *ops)
{
    return ops->description;
}

bool pv_engine_is_test_only(const struct pv_engine_ops *ops)
{
    return ops->test_only;
}

bool pv_engine_has_gic(const struct pv_engine_ops *ops)
{
    return ops->gic;
}

bool pv_engine_has_timer(const struct pv_engine_ops *ops)
{
    return ops->timer;
}

int pv_engine_probe(const struct pv_engine_ops *ops, struct pv_error **err)
{
    return ops->probe ? ops->probe(err) : 0;
}

const struct pv_engine_ops *pv_engine_default(void)
{
    for (size_t i = 0; engines[i]; i++)
        if (!engines[i]->test_only && pv_engine_probe(engines[i], NULL) == 0)
            return engines[i];
    return NULL;
}

/* ---- Life ---- */

static void free_generic(struct pv_engine *engine)
{
    struct pv_engine_private *private = engine->private;
    for (unsigned i = 0; engine->vcpus && i < engine->config.vcpus; i++) {
        struct pv_vcpu_runner *runner = engine->vcpus[i].runner;
        if (!runner)
            continue;
        pv_error_free(&runner->error);
        pthread_cond_destroy(&runner->wake_up);
        free(runner);
    }
    free(engine->vcpus);
    if (private) {
        pthread_cond_destroy(&private->changed);
        pthread_mutex_destroy(&private->lock);
        free(private);
    }
    free((void *)engine->config.mpidr);
    free(engine);
}

static int alloc_vcpus(struct pv_engine *engine)
{
    engine->vcpus = calloc(engine->config.vcpus, sizeof(*engine->vcpus));
    if (!engine->vcpus)
        return -ENOMEM;
    for (unsigned i = 0; i < engine->config.vcpus; i++) {
        struct pv_vcpu *vcpu = &engine->vcpus[i];
        vcpu->engine = engine;
        vcpu->index = i;
        vcpu->mpidr = engine->config.mpidr[i];
        vcpu->runner = calloc(1, sizeof(*vcpu->runner));
        if (!vcpu->runner)
            return -ENOMEM;
        pv_cond_init(&vcpu->runner->wake_up);
    }
    return 0;
}

static int alloc_generic(struct pv_engine **out, const struct pv_engine_ops *ops,
                         const struct pv_engine_config *config)
{
    struct pv_engine *engine = calloc(1, sizeof(*engine));
    if (!engine)
        return -ENOMEM;
    engine->ops = ops;
    engine->config = *config;
    uint64_t *mpidr = calloc(config->vcpus, sizeof(*mpidr));
    engine->config.mpidr = mpidr;
    if (config->gic) {
        engine->gic = *config->gic;
        engine->config.gic = &engine->gic;
    }
    engine->private = calloc(1, sizeof(*engine->private));
    if (!mpidr || !engine->private) {
        free(mpidr);
        free(engine->private);
        free(engine);
        return -ENOMEM;
    }
    memcpy(mpidr, config->mpidr, config->vcpus * sizeof(*mpidr));
    engine->private->polls = config->vcpus <= pv_host_cpus();
    pthread_mutex_init(&engine->private->lock, NULL);
    pthread_cond_init(&engine->private->changed, NULL);
    if (alloc_vcpus(engine) < 0) {
        free_generic(engine);
        return -ENOMEM;
    }
    *out = engine;
    return 0;
}

int pv_engine_create(struct pv_engine **out, const struct pv_engine_ops *ops,
                     const struct pv_engine_config *config, struct pv_error **err)
{
    if (config->vcpus < 1 || config->vcpus > PV_MAX_VCPUS)
        return pv_error_set(err, EINVAL, "%u vCPUs: must be 1 to %u", config->vcpus, PV_MAX_VCPUS);
    if (config->gic && !ops->gic)
        return pv_error_set(err, EINVAL, "engine %s has no interrupt controller", ops->name);
    if ((config->watch.trace || config->watch.perf_map) && !ops->watches)
        return pv_error_set(err, EINVAL,
                            "engine %s translates nothing: only jit has a trace or a perf map",
                            ops->name);
    struct pv_engine *engine = NULL;
    if (alloc_generic(&engine, ops, config) < 0)
        return pv_error_set(err, ENOMEM, "engine %s: out of memory", ops->name);
    int ret = ops->create(engine, err);
    if (ret < 0) {
        free_generic(engine);
        return pv_error_prefix(err, "engine %s", ops->name);
    }
    *out = engine;
    return 0;
}

static void *vcpu_thread(void *arg);

int pv_engine_start(struct pv_engine *engine, struct pv_error **err)
{
    struct pv_engine_private *private = engine->private;
    int ret = 0;

    pthread_mutex_lock(&private->lock);
    if (private->started)
        ret = pv_error_set(err, EALREADY, "engine %s: already started", engine->ops->name);
    private->started = true;
    for (unsigned i = 0; i < engine->config.vcpus && !ret; i++) {
        struct pv_vcpu *vcpu = &engine->vcpus[i];
        struct pv_vcpu_runner *runner = vcpu->runner;
        int error = pv_thread_create(&vcpu->thread, vcpu_thread, vcpu);
        if (error) {
            ret = pv_error_errno(err, error, "vCPU %u: cannot make its thread", i);
            break;
        }
        runner->thread_made = true;
        while (!runner->ready)
            pthread_cond_wait(&private->changed, &private->lock);
        if (runner->create_error < 0) {
            ret = runner->create_error;
            if (err) {
                *err = PV_STEAL(runner->error);
                pv_error_prefix(err, "vCPU %u", i);
            }
        }
    }
    if (!ret && engine->ops->start)
        ret = engine->ops->start(engine, err);
    pthread_mutex_unlock(&private->lock);
    return ret;
}

static void stop_locked(struct pv_vcpu *vcpu)
{
    atomic_fetch_or(&vcpu->attention, PV_ATTENTION_STOP);
    pthread_cond_broadcast(&vcpu->runner->wake_up);
    if (vcpu->runner->executing && vcpu->engine->ops->vcpu_kick)
        vcpu->engine->ops->vcpu_kick(vcpu);
}

void pv_engine_destroy(struct pv_engine *engine)
{
    if (!engine)
        return;
    pthread_mutex_lock(&engine->private->lock);
    engine->private->quitting = true;
    for (unsigned i = 0; i < engine->config.vcpus; i++)
        stop_locked(&engine->vcpus[i]);
    pthread_mutex_unlock(&engine->private->lock);
    for (unsigned i = 0; i < engine->config.vcpus; i++)
        if (engine->vcpus[i].runner->thread_made)
            pthread_join(engine->vcpus[i].thread, NULL);
    engine->ops->destroy(engine);
    free_generic(engine);
}

void pv_engine_pause(struct pv_engine *engine)
{
    struct pv_engine_private *private = engine->private;
    pthread_mutex_lock(&private->lock);
    if (private->pauses++ == 0)
        for (unsigned i = 0; i < engine->config.vcpus; i++)
            stop_locked(&engine->vcpus[i]);
    for (unsigned i = 0; i < engine->config.vcpus; i++)
        while (engine->vcpus[i].runner->executing)
            pthread_cond_wait(&private->changed, &private->lock);
    pthread_mutex_unlock(&private->lock);
}

void pv_engine_resume(struct pv_engine *engine)
{
    struct pv_engine_private *private = engine->private;
    pthread_mutex_lock(&private->lock);
    if (private->pauses && --private->pauses == 0)
        for (unsigned i = 0; i < engine->config.vcpus; i++)
            pthread_cond_broadcast(&engine->vcpus[i].runner->wake_up);
    pthread_mutex_unlock(&private->lock);
}

unsigned pv_engine_vcpu_count(const struct pv_engine *engine)
{
    return engine->config.vcpus;
}

struct pv_vcpu *pv_engine_vcpu(struct pv_engine *engine, unsigned index)
{
    return index < engine->config.vcpus ? &engine->vcpus[index] : NULL;
}

/* ---- The vCPU's thread ---- */

/*
 * Waits for something to change, and does what the vCPU's thread was asked to do meanwhile. Called
 * and returns with the lock.
 */
static void park(struct pv_vcpu *vcpu, uint64_t until)
{
    struct pv_engine_private *private = vcpu->engine->private;
    struct pv_vcpu_runner *runner = vcpu->runner;

    if (!runner->request && !until) {
        pthread_cond_wait(&runner->wake_up, &private->lock);
    } else if (!runner->request) {
        uint64_t now = pv_clock_ns();
        if (until > now)
            pv_cond_wait_for(&runner->wake_up, &private->lock, until - now);
    }
    if (runner->request) {
        runner->request->result = runner->request->fn(vcpu, runner->request);
        runner->request->done = true;
        runner->request = NULL;
        pthread_cond_broadcast(&private->changed);
    }
}

static bool time_to_wake(const struct pv_vcpu *vcpu)
{
    return vcpu->wake_at && pv_clock_ns() >= vcpu->wake_at;
}

/* Waits until the vCPU may run; false when it should end. Called and returns with the lock. */
static bool wait_runnable(struct pv_vcpu *vcpu)
{
    struct pv_engine_private *private = vcpu->engine->private;
    struct pv_vcpu_runner *runner = vcpu->runner;

    while (!private->quitting) {
        if (runner->power == POWER_STARTING) {
            /* Also while paused, so that whoever paused sees the state the vCPU will start in. */
            vcpu->engine->ops->vcpu_reset(vcpu, runner->entry, runner->context);
            runner->power = POWER_ON;
            pthread_cond_broadcast(&private->changed);
        }
        if (!private->pauses && runner->power == POWER_ON)
            return true;
        park(vcpu, 0);
    }
    return false;
}

/* In WFI: whether the sleep is over before it has begun. */
static bool poll_wfi(struct pv_vcpu *vcpu, uint64_t since)
{
    const uint64_t until = since + vcpu->runner->poll_ns;
    for (;;) {
        if (atomic_load_explicit(&vcpu->attention, memory_order_relaxed))
            return true;
        const uint64_t now = pv_clock_ns();
        if (vcpu->wake_at && now >= vcpu->wake_at)
            return true;
        if (now >= until)
            return false;
        pv_thread_relax();
    }
}

/* Learns from a sleep how long to look before the next one. */
static void learn_poll(struct pv_vcpu_runner *runner, uint64_t slept)
{
    if (slept > POLL_MAX_NS)
        runner->poll_ns = 0;
    else if (slept > runner->poll_ns)
        runner->poll_ns = PV_MIN(PV_MAX(2 * runner->poll_ns, POLL_MIN_NS), POLL_MAX_NS);
}

/* Lock held; gives it up while sleeping. */
static void sleep_wfi(struct pv_vcpu *vcpu)
{
    struct pv_engine_private *private = vcpu->engine->private;
    struct pv_vcpu_runner *runner = vcpu->runner;
    atomic_fetch_add_explicit(&runner->wfi_waits, 1, memory_order_relaxed);
    const uint64_t since = private->polls ? pv_clock_ns() : 0;
    if (runner->poll_ns) {
        pthread_mutex_unlock(&private->lock);
        const bool over = poll_wfi(vcpu, since);
        pthread_mutex_lock(&private->lock);
        if (over)
            return;
    }
    atomic_store(&runner->sleeping, true);
    while (!atomic_load(&vcpu->attention) && !time_to_wake(vcpu))
        park(vcpu, vcpu->wake_at);
    atomic_store(&runner->sleeping, false);
    if (private->polls)
        learn_poll(runner, pv_clock_ns() - since);
}

/*
 * A suspended vCPU. It is not executing, so that pausing need not disturb it: only an interrupt, a
 * wake-up, power or the end do. Lock held; gives it up while sleeping.
 */
static void sleep_suspended(struct pv_vcpu *vcpu)
{
    struct pv_engine_private *private = vcpu->engine->private;
    struct pv_vcpu_runner *runner = vcpu->runner;

    runner->asleep = runner->suspend;
    runner->suspend = SUSPEND_NONE;
    atomic_store(&runner->sleeping, true);
    while (runner->power == POWER_ON && !private->quitting && !runner->wake &&
           !time_to_wake(vcpu) &&
           !(atomic_load(&vcpu->attention) & (PV_ATTENTION_IRQ | PV_ATTENTION_FIQ)))
        park(vcpu, vcpu->wake_at);
    atomic_store(&runner->sleeping, false);
    if (runner->asleep == SUSPEND_POWER_DOWN && runner->power == POWER_ON)
        runner->power = POWER_STARTING;
    runner->asleep = SUSPEND_NONE;
}

static void handle_fatal(struct pv_vcpu *vcpu, struct pv_error *error)
{
    struct pv_engine *engine = vcpu->engine;
    pv_error_log(PV_LOG_ENGINE, "vCPU %u: %s", vcpu->index, pv_error_message(error));
    if (engine->config.client->fatal)
        engine->config.client->fatal(engine->config.client_opaque, vcpu->index,
                                     pv_error_message(error));
}

/* Suspending where it is the engine that notices interrupts. Lock held. */
static void suspend_in_engine(struct pv_vcpu *vcpu, enum pv_exit why)
{
    const struct pv_engine_ops *ops = vcpu->engine->ops;
    struct pv_vcpu_runner *runner = vcpu->runner;

    if (runner->suspend) {
        ops->vcpu_suspend(vcpu, true);
        runner->asleep = runner->suspend;
        runner->suspend = SUSPEND_NONE;
    }
    if (runner->asleep && (why == PV_EXIT_WAKE || runner->wake)) {
        ops->vcpu_suspend(vcpu, false);
        if (runner->asleep == SUSPEND_POWER_DOWN)
            runner->power = POWER_STARTING;
        runner->asleep = SUSPEND_NONE;
    }
}

/* The vCPU has stopped executing: what it is to do instead. Lock held. */
static void after_run(struct pv_vcpu *vcpu, enum pv_exit why)
{
    struct pv_vcpu_runner *runner = vcpu->runner;

    if (why == PV_EXIT_FATAL)
        runner->power = POWER_OFF;
    if (runner->power != POWER_ON)
        return;
    if (vcpu->engine->ops->vcpu_suspend)
        suspend_in_engine(vcpu, why);
    else if (runner->suspend)
        sleep_suspended(vcpu);
    else if (why == PV_EXIT_WFI)
        sleep_wfi(vcpu);
}

static void run_until_quit(struct pv_vcpu *vcpu)
{
    struct pv_engine *engine = vcpu->engine;
    struct pv_engine_private *private = engine->private;
    struct pv_vcpu_runner *runner = vcpu->runner;

    while (wait_runnable(vcpu)) {
        PV_CLEANUP_ERROR struct pv_error *error = NULL;
        if (runner->suspend) { /* as it was loaded: it goes on sleeping */
            after_run(vcpu, PV_EXIT_KICK);
            continue;
        }
        atomic_fetch_and(&vcpu->attention, ~PV_ATTENTION_STOP);
        runner->executing = true;
        pthread_mutex_unlock(&private->lock);
        enum pv_exit why = engine->ops->vcpu_run(vcpu, &error);
        if (why == PV_EXIT_FATAL)
            handle_fatal(vcpu, error);
        pthread_mutex_lock(&private->lock);
        runner->executing = false;
        pthread_cond_broadcast(&private->changed);
        after_run(vcpu, why);
    }
}

static void *vcpu_thread(void *arg)
{
    struct pv_vcpu *vcpu = arg;
    struct pv_engine *engine = vcpu->engine;
    struct pv_vcpu_runner *runner = vcpu->runner;

    char name[16];
    snprintf(name, sizeof(name), "vcpu%u", vcpu->index);
#ifdef __linux__
    pthread_setname_np(pthread_self(), name);
#else
    pthread_setname_np(name);
#endif
    int ret = engine->ops->vcpu_create(vcpu, &runner->error);
    pthread_mutex_lock(&engine->private->lock);
    runner->create_error = ret;
    runner->ready = true;
    pthread_cond_broadcast(&engine->private->changed);
    if (ret == 0)
        run_until_quit(vcpu);
    pthread_mutex_unlock(&engine->private->lock);
    if (ret == 0)
        engine->ops->vcpu_destroy(vcpu);
    return NULL;
}

/* ---- vCPUs ---- */

int pv_vcpu_power_on(struct pv_vcpu *vcpu, uint64_t entry, uint64_t context)
{
    struct pv_engine_private *private = vcpu->engine->private;
    struct pv_vcpu_runner *runner = vcpu->runner;
    int ret = -EALREADY;
    pthread_mutex_lock(&private->lock);
    if (runner->power == POWER_OFF) {
        runner->power = POWER_STARTING;
        runner->suspend = runner->asleep = SUSPEND_NONE;
        runner->entry = entry;
        runner->context = context;
        pthread_cond_broadcast(&runner->wake_up);
        ret = 0;
    }
    pthread_mutex_unlock(&private->lock);
    return ret;
}

void pv_vcpu_power_off(struct pv_vcpu *vcpu)
{
    pthread_mutex_lock(&vcpu->engine->private->lock);
    vcpu->runner->power = POWER_OFF;
    stop_locked(vcpu);
    pthread_mutex_unlock(&vcpu->engine->private->lock);
}

static void suspend(struct pv_vcpu *vcpu, enum suspend how, uint64_t entry, uint64_t context)
{
    struct pv_vcpu_runner *runner = vcpu->runner;

    pthread_mutex_lock(&vcpu->engine->private->lock);
    if (runner->power == POWER_ON) {
        runner->suspend = how;
        runner->entry = entry;
        runner->context = context;
        stop_locked(vcpu);
    }
    pthread_mutex_unlock(&vcpu->engine->private->lock);
}

void pv_vcpu_standby(struct pv_vcpu *vcpu)
{
    suspend(vcpu, SUSPEND_STANDBY, 0, 0);
}

void pv_vcpu_power_down(struct pv_vcpu *vcpu, uint64_t entry, uint64_t context)
{
    suspend(vcpu, SUSPEND_POWER_DOWN, entry, context);
}

void pv_vcpu_set_wake(struct pv_vcpu *vcpu, bool level)
{
    pthread_mutex_lock(&vcpu->engine->private->lock);
    vcpu->runner->wake = level;
    if (level && vcpu->runner->asleep)
        stop_locked(vcpu);
    pthread_cond_broadcast(&vcpu->runner->wake_up);
    pthread_mutex_unlock(&vcpu->engine->private->lock);
}

bool pv_vcpu_is_on(const struct pv_vcpu *vcpu)
{
    pthread_mutex_lock(&vcpu->engine->private->lock);
    bool on = vcpu->runner->power != POWER_OFF;
    pthread_mutex_unlock(&vcpu->engine->private->lock);
    return on;
}

void pv_vcpu_attention(struct pv_vcpu *vcpu, uint32_t bits)
{
    atomic_fetch_or(&vcpu->attention, bits);
    if (vcpu->engine->ops->vcpu_kick)
        vcpu->engine->ops->vcpu_kick(vcpu);
    if (!atomic_load(&vcpu->runner->sleeping))
        return;
    pthread_mutex_lock(&vcpu->engine->private->lock);
    pthread_cond_broadcast(&vcpu->runner->wake_up);
    pthread_mutex_unlock(&vcpu->engine->private->lock);
}

void pv_vcpu_set_line(struct pv_vcpu *vcpu, enum pv_vcpu_line line, bool level)
{
    if (vcpu->engine->ops->vcpu_set_line)
        vcpu->engine->ops->vcpu_set_line(vcpu, line, level);
    else if (level)
        pv_vcpu_attention(vcpu, 1u << line);
    else
        atomic_fetch_and(&vcpu->attention, ~(1u << line));
}

/* ---- The engine's interrupt controller and timers ---- */

void pv_engine_set_spi(struct pv_engine *engine, unsigned intid, bool level)
{
    engine->ops->gic->set_spi(engine, intid, level);
}

void pv_engine_send_msi(struct pv_engine *engine, uint32_t device_id, uint64_t address,
                        uint32_t data)
{
    engine->ops->gic->send_msi(engine, device_id, address, data);
}

int pv_engine_reset_gic(struct pv_engine *engine, struct pv_error **err)
{
    return engine->ops->gic->reset(engine, err);
}

uint64_t pv_engine_counter_frequency(const struct pv_engine_ops *ops)
{
    return ops->timer->counter_frequency();
}

int pv_engine_get_counter(struct pv_engine *engine, uint64_t *count)
{
    return engine->ops->timer->get_counter(engine, count);
}

int pv_engine_set_counter(struct pv_engine *engine, uint64_t count)
{
    return engine->ops->timer->set_counter(engine, count);
}

/* ---- State ---- */

/* Takes the lock; 0 when the vCPU's state is the caller's to look at and change. */
static int hold_state(struct pv_vcpu *vcpu)
{
    struct pv_engine_private *private = vcpu->engine->private;
    struct pv_vcpu_runner *runner = vcpu->runner;

    pthread_mutex_lock(&private->lock);
    if (!runner->ready || runner->create_error < 0)
        return -ENODEV;
    if (!private->pauses && runner->power != POWER_OFF)
        return -EBUSY;
    /* On its way out, or into reset. */
    while (runner->executing || runner->power == POWER_STARTING)
        pthread_cond_wait(&private->changed, &private->lock);
    return 0;
}

/* Holds the state, runs the request where the engine wants it, and lets go. */
static int with_state(struct pv_vcpu *vcpu, struct request *request)
{
    struct pv_engine_private *private = vcpu->engine->private;
    struct pv_vcpu_runner *runner = vcpu->runner;
    int ret = hold_state(vcpu);

    if (!ret && !vcpu->engine->ops->thread_bound) {
        ret = request->fn(vcpu, request);
    } else if (!ret) {
        while (runner->request)
            pthread_cond_wait(&private->changed, &private->lock);
        runner->request = request;
        pthread_cond_broadcast(&runner->wake_up);
        while (!request->done)
            pthread_cond_wait(&private->changed, &private->lock);
        ret = request->result;
    }
    pthread_mutex_unlock(&private->lock);
    return ret;
}

static int do_get_state(struct pv_vcpu *vcpu, const struct request *request)
{
    return vcpu->engine->ops->get_state(vcpu, request->data);
}

static int do_set_state(struct pv_vcpu *vcpu, const struct request *request)
{
    return vcpu->engine->ops->set_state(vcpu, request->data);
}

static int do_get_sysreg(struct pv_vcpu *vcpu, const struct request *request)
{
    return vcpu->engine->ops->get_sysreg(vcpu, request->sysreg, request->data);
}

static int do_set_sysreg(struct pv_vcpu *vcpu, const struct request *request)
{
    return vcpu->engine->ops->set_sysreg(vcpu, request->sysreg, *(uint64_t *)request->data);
}

int pv_vcpu_get_state(struct pv_vcpu *vcpu, struct pv_vcpu_state *state)
{
    return with_state(vcpu, &(struct request){.fn = do_get_state, .data = state});
}

int pv_vcpu_set_state(struct pv_vcpu *vcpu, const struct pv_vcpu_state *state)
{
    struct pv_vcpu_state copy = *state;
    return with_state(vcpu, &(struct request){.fn = do_set_state, .data = &copy});
}

/*
 * A vCPU that is on is loaded by way of a reset, which also sets what is not part of the state.
 * What it is suspended in takes effect when it would go on.
 */
void pv_vcpu_record_power(struct pv_vcpu *vcpu, struct pv_record *record)
{
    struct pv_engine_private *private = vcpu->engine->private;
    struct pv_vcpu_runner *runner = vcpu->runner;

    pthread_mutex_lock(&private->lock);
    bool on = runner->power != POWER_OFF;
    uint32_t suspend = runner->suspend ? runner->suspend : runner->asleep;
    pv_record_bool(record, &on);
    pv_record_limited(record, &suspend, SUSPEND_POWER_DOWN);
    pv_record_u64(record, &runner->entry);
    pv_record_u64(record, &runner->context);
    if (pv_record_loading(record) && pv_record_ok(record)) {
        runner->power = on ? POWER_STARTING : POWER_OFF;
        runner->suspend = suspend;
        runner->asleep = SUSPEND_NONE;
        pthread_cond_broadcast(&runner->wake_up);
    }
    pthread_mutex_unlock(&private->lock);
}

int pv_vcpu_get_sysreg(struct pv_vcpu *vcpu, uint32_t sysreg, uint64_t *value)
{
    return with_state(vcpu,
                      &(struct request){.fn = do_get_sysreg, .sysreg = sysreg, .data = value});
}

int pv_vcpu_set_sysreg(struct pv_vcpu *vcpu, uint32_t sysreg, uint64_t value)
{
    return with_state(vcpu,
                      &(struct request){.fn = do_set_sysreg, .sysreg = sysreg, .data = &value});
}

void pv_vcpu_get_stats(const struct pv_vcpu *vcpu, struct pv_vcpu_stats *stats)
{
    *stats = (struct pv_vcpu_stats){0};
    pthread_mutex_lock(&vcpu->engine->private->lock);
    bool there = vcpu->runner->ready && vcpu->runner->create_error == 0;
    pthread_mutex_unlock(&vcpu->engine->private->lock);
    if (there && vcpu->engine->ops->get_stats)
        vcpu->engine->ops->get_stats(vcpu, stats);
    stats->wfi_waits = atomic_load_explicit(&vcpu->runner->wfi_waits, memory_order_relaxed);
    stats->cpu_ns = there ? pv_thread_cpu_ns(vcpu->thread) : 0;
}

void pv_engine_report(struct pv_engine *engine, struct pv_buffer *out)
{
    pv_buffer_printf(out, "engine: %s\n", engine->ops->name);
    for (unsigned i = 0; i < engine->config.vcpus; i++) {
        struct pv_vcpu_stats s;
        pv_vcpu_get_stats(&engine->vcpus[i], &s);
        pv_buffer_printf(out, "vCPU %u: %.3f s of CPU time", i, (double)s.cpu_ns / 1e9);
        if (s.instructions)
            pv_buffer_printf(out, ", %" PRIu64 " instructions", s.instructions);
        pv_buffer_printf(
            out,
            ", %" PRIu64 " device accesses, %" PRIu64 " interrupts, %" PRIu64 " waits; %" PRIu64
            " translations not in the first level of the TLB, %" PRIu64 " nor in the second\n",
            s.mmio_exits, s.interrupts, s.wfi_waits, s.tlb_lookups, s.tlb_walks);
    }
    if (engine->ops->report)
        engine->ops->report(engine, out);
}
