/* SPDX-License-Identifier: MIT */
/*
 * Disks and networks that come and go, with a guest that is played by the test: it writes to the
 * ports' registers while no vCPU runs.
 */
#include "bus.h"

#include "base/error.h"
#include "base/util.h"
#include "block/block.h"
#include "engine/engine.h"
#include "engine/fake/fake.h"
#include "host/clock.h"
#include "host/loop.h"
#include "machine/machine.h"
#include "virtio/virtio.h"
#include "virtio/virtio_pci.h"
#include "vm/hotplug.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SLOTS       2u
#define LINK_ACTIVE 0x2000u
#define CPUS        2u

enum { LINK_STA = 0x12, SLOT_CTL = 0x18, SLOT_STA = 0x1a };
enum { LISTEN = 0x1029, POWER_OFF = 0x400, BUTTON = 1, PRESENT = 0x40 };

struct fixture {
    char folder[32], kernel[64], disk[64], other[64];
    struct pv_loop *loop;
    struct pv_address_space *as;
    struct pv_machine *machine;
    struct pv_vm_hotplug *hotplug;
    unsigned answers;
    char message[200]; /* of the last answer; empty: success */
};

static int plug(void *opaque, struct pv_virtio_device *device, struct pv_error **err)
{
    struct fixture *f = opaque;
    return pv_virtio_pci_create(device, pv_machine_pci(f->machine), -1, err);
}

static void write_file(const char *path, const void *data, size_t size, off_t length)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), (ssize_t)size);
    assert_int_equal(ftruncate(fd, length), 0);
    close(fd);
}

static void fatal(void *opaque, const char *message)
{
    fail_msg("%s", message);
}

static int setup(void **state)
{
    static struct fixture fixture;
    struct fixture *f = &fixture;
    const uint32_t kernel[] = {[4] = 0x10000, [14] = 0x644d5241}; /* image_size, magic number */
    *f = (struct fixture){.folder = "/tmp/pv-hotplug-XXXXXX"};
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->kernel, sizeof(f->kernel), "%s/Image", f->folder);
    snprintf(f->disk, sizeof(f->disk), "%s/disk", f->folder);
    snprintf(f->other, sizeof(f->other), "%s/other", f->folder);
    write_file(f->kernel, kernel, sizeof(kernel), 4096);
    write_file(f->disk, "", 0, 1 << 20);
    write_file(f->other, "", 0, 1 << 20);
    assert_int_equal(pv_loop_create(&f->loop, NULL), 0);
    assert_int_equal(pv_as_create(&f->as, NULL), 0);
    const struct pv_machine_config machine = {
        .loop = f->loop,
        .as = f->as,
        .engine = pv_engine_find("fake"),
        .vcpus = CPUS,
        .ram_size = PV_MACHINE_MIN_RAM,
        .kernel = f->kernel,
        .events = {.fatal = fatal},
    };
    assert_int_equal(pv_machine_create(&f->machine, &machine, NULL), 0);
    const struct pv_vm_hotplug_config config = {
        .loop = f->loop,
        .as = f->as,
        .machine = f->machine,
        .slots = SLOTS,
        .queues = 1,
        .plug = plug,
        .opaque = f,
    };
    assert_int_equal(pv_vm_hotplug_create(&f->hotplug, &config, NULL), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    pv_machine_destroy(f->machine);
    pv_vm_hotplug_destroy(f->hotplug);
    pv_as_destroy(f->as);
    pv_loop_destroy(f->loop);
    unlink(f->kernel);
    unlink(f->disk);
    unlink(f->other);
    return rmdir(f->folder);
}

/* ---- The guest ---- */

static uint64_t port(unsigned slot)
{
    return ECAM + ((uint64_t)(32 - slot) << 15);
}

static uint64_t card(unsigned slot)
{
    return ECAM + ((uint64_t)slot << 20);
}

static uint64_t express(struct fixture *f, unsigned slot)
{
    uint64_t at = rd(f->as, port(slot) + 0x34, 1);
    while (rd(f->as, port(slot) + at, 1) != 0x10)
        at = rd(f->as, port(slot) + at + 1, 1);
    return port(slot) + at;
}

static void listen_to(struct fixture *f, unsigned slot)
{
    wr(f->as, port(slot) + 0x18, 4, slot << 16 | slot << 8);
    wr(f->as, express(f, slot) + SLOT_STA, 2, 0xffff);
    wr(f->as, express(f, slot) + SLOT_CTL, 2, LISTEN);
}

static void power_off(struct fixture *f, unsigned slot)
{
    wr(f->as, express(f, slot) + SLOT_CTL, 2, LISTEN | POWER_OFF);
}

static bool is_present(struct fixture *f, unsigned slot)
{
    return rd(f->as, express(f, slot) + SLOT_STA, 2) & PRESENT;
}

static void stop_loop(void *opaque)
{
    pv_loop_stop(opaque);
}

/* What waits for the loop's thread is done. */
static void turn(struct fixture *f)
{
    assert_int_equal(pv_loop_post(f->loop, stop_loop, f->loop), 0);
    assert_int_equal(pv_loop_run(f->loop, NULL), 0);
}

/* ---- The owner ---- */

static void answered(void *opaque, struct pv_error **err)
{
    struct fixture *f = opaque;
    f->answers++;
    snprintf(f->message, sizeof(f->message), "%s", *err ? pv_error_message(*err) : "");
    pv_error_free(err);
    pv_loop_stop(f->loop);
}

static int attach(struct fixture *f, const char *path, const char *id, struct pv_error **err)
{
    const struct pv_config_disk disk = {.id = id, .path = path};
    return pv_vm_hotplug_attach_disk(f->hotplug, &disk, NULL, err);
}

static int detach(struct fixture *f, const char *id, bool force, struct pv_error **err)
{
    const struct pv_vm_detach how = {
        .force = force, .timeout_ns = 3600 * PV_NSEC_PER_SEC, .done = answered, .opaque = f};
    return pv_vm_hotplug_detach(f->hotplug, id, &how, err);
}

static size_t device_count(struct fixture *f)
{
    struct pv_vm_device device;
    size_t count = 0;
    while (pv_vm_hotplug_device(f->hotplug, count, &device))
        count++;
    return count;
}

#define assert_refused(f, code, text, call)                                                        \
    do {                                                                                           \
        struct pv_error *err = NULL;                                                               \
        const size_t before = device_count(f);                                                     \
        assert_int_equal(call, -(code));                                                           \
        assert_non_null(strstr(pv_error_message(err), text));                                      \
        assert_int_equal(device_count(f), before);                                                 \
        pv_error_free(&err);                                                                       \
    } while (0)

/* ---- Tests ---- */

/* Whether someone else could have the disk. */
static int open_disk(struct fixture *f)
{
    const struct pv_block_options options = {0};
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    struct pv_block *block;
    int ret = pv_block_open(&block, f->loop, f->disk, &options, &err);
    if (ret == 0)
        pv_block_close(block);
    return ret;
}

static void test_come_and_go(void **state)
{
    struct fixture *f = *state;
    struct pv_vm_device device;
    const char *id;
    listen_to(f, 1);
    for (unsigned round = 0; round < 3; round++) {
        const struct pv_config_disk disk = {.path = f->disk};
        assert_int_equal(pv_vm_hotplug_attach_disk(f->hotplug, &disk, &id, NULL), 0);
        assert_string_equal(id, "disk0");
        assert_true(is_present(f, 1));
        wr(f->as, express(f, 1) + SLOT_CTL, 2, LISTEN);
        assert_int_equal(rd(f->as, card(1), 4), 0x10421af4);
        assert_true(pv_vm_hotplug_device(f->hotplug, 0, &device));
        assert_string_equal(device.id, "disk0");
        assert_string_equal(device.detail, f->disk);
        assert_int_equal(device.kind, PV_VM_DISK);
        assert_int_equal(device.slot, 1);
        assert_false(device.leaving);

        assert_int_equal(detach(f, "disk0", false, NULL), PV_VM_DETACH_LATER);
        assert_true(rd(f->as, express(f, 1) + SLOT_STA, 2) & BUTTON);
        turn(f);
        assert_int_equal(f->answers, round);
        assert_true(pv_vm_hotplug_device(f->hotplug, 0, &device));
        assert_true(device.leaving);

        power_off(f, 1);
        assert_false(is_present(f, 1));
        assert_int_equal(open_disk(f), -EBUSY); /* not before the loop's turn */
        turn(f);
        assert_int_equal(f->answers, round + 1);
        assert_string_equal(f->message, "");
        assert_int_equal(device_count(f), 0);
        assert_int_equal(open_disk(f), 0);
        wr(f->as, express(f, 1) + SLOT_STA, 2, 0xffff);
    }
}

static void test_networks(void **state)
{
    struct fixture *f = *state;
    const struct pv_config_net none = {.kind = PV_NET_NONE}, user = {.id = "lan"};
    struct pv_vm_device device;
    const char *id;
    assert_int_equal(pv_vm_hotplug_add_net(f->hotplug, &none, NULL), 0);
    assert_int_equal(pv_vm_hotplug_attach_net(f->hotplug, &user, &id, NULL), 0);
    assert_string_equal(id, "lan");
    assert_int_equal(pv_vm_hotplug_attach_net(f->hotplug, &none, &id, NULL), 0);
    assert_string_equal(id, "net1");
    assert_true(pv_vm_hotplug_device(f->hotplug, 1, &device));
    assert_string_equal(device.detail, "user");
    assert_int_equal(device.kind, PV_VM_NET);
    pv_vm_hotplug_announce(f->hotplug);

    /* Those that stay keep the first place that they had without slots. */
    assert_int_equal(rd(f->as, ECAM + 0x8000, 4), 0x10411af4);
    assert_int_equal(rd(f->as, ECAM + 0x10000, 4), UINT32_MAX);

    /* The one before it in the list goes; the other is still there, and its name with it. */
    assert_int_equal(detach(f, "lan", true, NULL), 0);
    assert_true(pv_vm_hotplug_device(f->hotplug, 1, &device));
    assert_string_equal(device.id, "net1");
    assert_int_equal(device.slot, 2);
    pv_vm_hotplug_announce(f->hotplug);
    assert_int_equal(f->answers, 0);
}

static void test_what_is_refused(void **state)
{
    struct fixture *f = *state;
    const struct pv_config_disk fixed = {.path = f->disk};
    assert_int_equal(pv_vm_hotplug_add_disk(f->hotplug, &fixed, NULL), 0);
    assert_refused(f, ENOENT, "/nonexistent", attach(f, "/nonexistent", NULL, &err));
    assert_refused(f, EBUSY, "/disk", attach(f, f->disk, NULL, &err)); /* locked by itself */
    assert_refused(f, EEXIST, "'disk0' already", attach(f, f->other, "disk0", &err));
    assert_refused(f, EINVAL, "1 to 20", attach(f, f->other, "", &err));
    assert_refused(f, EINVAL, "1 to 20", attach(f, f->other, "a-name-of-21-letters-", &err));
    assert_refused(f, EINVAL, "'a b'", attach(f, f->other, "a b", &err));
    assert_refused(f, EPERM, "stays", detach(f, "disk0", true, &err));
    assert_refused(f, ENOENT, "none", detach(f, "disk1", false, &err));

    assert_int_equal(attach(f, f->other, "a-name-of-20-letters", NULL), 0);
    assert_refused(f, ENOENT, "a-name-of-20-letters", detach(f, "disk1", false, &err));
    const struct pv_config_net net = {.kind = PV_NET_NONE};
    assert_int_equal(pv_vm_hotplug_attach_net(f->hotplug, &net, NULL, NULL), 0);
    assert_refused(f, ENOSPC, "all slots", attach(f, f->other, NULL, &err));
    wr(f->as, express(f, 2) + SLOT_CTL, 2, 0); /* powered by firmware, say */
    assert_refused(f, EAGAIN, "does not listen", detach(f, "net0", false, &err));
    turn(f);
    assert_int_equal(f->answers, 0);
}

static void test_guest_that_does_not_let_go(void **state)
{
    struct fixture *f = *state;
    listen_to(f, 1);
    assert_int_equal(attach(f, f->disk, NULL, NULL), 0);
    struct pv_vm_detach how = {.timeout_ns = 1, .done = answered, .opaque = f};
    assert_int_equal(pv_vm_hotplug_detach(f->hotplug, "disk0", &how, NULL), PV_VM_DETACH_LATER);
    assert_refused(f, EALREADY, "already", detach(f, "disk0", false, &err));
    assert_int_equal(pv_loop_run(f->loop, NULL), 0); /* until it is answered */
    assert_int_equal(f->answers, 1);
    assert_non_null(strstr(f->message, "not let go of 'disk0'"));
    assert_int_equal(device_count(f), 1);
    assert_true(is_present(f, 1));

    /* It may yet, when nobody waits any more. */
    power_off(f, 1);
    turn(f);
    assert_int_equal(device_count(f), 0);
    assert_int_equal(f->answers, 1);

    /* Taken by force, which answers who was asking politely. */
    listen_to(f, 1);
    assert_int_equal(attach(f, f->disk, NULL, NULL), 0);
    assert_int_equal(detach(f, "disk0", false, NULL), PV_VM_DETACH_LATER);
    assert_int_equal(detach(f, "disk0", true, NULL), 0);
    assert_int_equal(f->answers, 2);
    assert_string_equal(f->message, "");
    assert_false(is_present(f, 1));
    assert_int_equal(device_count(f), 0);
}

/* Force comes between the guest's letting go and the loop's turn: the next device is not meant. */
static void test_force_and_release_together(void **state)
{
    struct fixture *f = *state;
    listen_to(f, 1);
    assert_int_equal(attach(f, f->disk, NULL, NULL), 0);
    assert_int_equal(detach(f, "disk0", false, NULL), PV_VM_DETACH_LATER);
    power_off(f, 1);
    assert_int_equal(detach(f, "disk0", true, NULL), 0);
    assert_int_equal(f->answers, 1);
    assert_int_equal(attach(f, f->disk, NULL, NULL), 0);
    turn(f);
    assert_int_equal(device_count(f), 1);
    assert_true(is_present(f, 1));
}

/*
 * Two vCPUs use the slot and what is in it, and switch it on and off, as fast as they can, while
 * devices come and go. What they see is of no matter; that nothing is used after it is gone is for
 * the sanitizers to say.
 */
static void test_guest_that_is_busy(void **state)
{
    struct fixture *f = *state;
    const uint64_t window = MEM64 + 0x100000, slot_control = express(f, 1) + SLOT_CTL;
    /* vCPUs are executing them until the machine is gone, which is after this function. */
    static struct pv_fake_step programs[2][32];
    const struct pv_fake_step setting_up[] = {
        {PV_FAKE_SET, 0, 0, 0x010100},
        {PV_FAKE_WRITE, 0, 4, port(1) + 0x18},
        {PV_FAKE_SET, 0, 0, 0x00110011},
        {PV_FAKE_WRITE, 0, 4, port(1) + 0x24},
        {PV_FAKE_SET, 0, 0, (MEM64 >> 32) * UINT64_C(0x100000001)},
        {PV_FAKE_WRITE, 0, 8, port(1) + 0x28},
        {PV_FAKE_SET, 0, 0, 6},
        {PV_FAKE_WRITE, 0, 2, port(1) + 4},
        {PV_FAKE_SET, 0, 0, LISTEN},
        {PV_FAKE_WRITE, 0, 2, slot_control}, /* power on */
        {PV_FAKE_SET, 0, 0, UINT64_MAX},
        {PV_FAKE_WRITE, 0, 2, express(f, 1) + SLOT_STA},
        {PV_FAKE_SET, 0, 0, window},
        {PV_FAKE_WRITE, 0, 8, card(1) + 0x20},
        {PV_FAKE_SET, 0, 0, 6},
        {PV_FAKE_WRITE, 0, 2, card(1) + 4},
        {PV_FAKE_READ, 0, 4, window},
        {PV_FAKE_SET, 0, 0, LISTEN | POWER_OFF},
        {PV_FAKE_WRITE, 0, 2, slot_control},
        {PV_FAKE_JUMP, 0, 0, 0},
    };
    const struct pv_fake_step using[] = {
        {PV_FAKE_READ, 31, 4, card(1)},
        {PV_FAKE_READ, 31, 2, window + 0x12},
        {PV_FAKE_SET, 0, 0, 1},
        {PV_FAKE_WRITE, 0, 1, window + 0x14},   /* status */
        {PV_FAKE_WRITE, 0, 2, window + 0x3000}, /* a kick */
        {PV_FAKE_WRITE, 31, 1, window + 0x14},
        {PV_FAKE_READ, 31, 4, window + 0x2000}, /* its configuration */
        {PV_FAKE_WRITE, 0, 4, card(1) + 0x3c},
        {PV_FAKE_JUMP, 0, 0, 0},
    };
    struct pv_engine *engine = pv_machine_engine(f->machine);
    memcpy(programs[0], setting_up, sizeof(setting_up));
    memcpy(programs[1], using, sizeof(using));
    pv_fake_set_program(pv_engine_vcpu(engine, 0), programs[0], PV_ARRAY_SIZE(setting_up));
    pv_fake_set_program(pv_engine_vcpu(engine, 1), programs[1], PV_ARRAY_SIZE(using));
    assert_int_equal(pv_machine_start(f->machine, NULL), 0);
    assert_int_equal(pv_vcpu_power_on(pv_engine_vcpu(engine, 1), 0, 0), 0);

    for (unsigned round = 0; round < 100; round++) {
        const unsigned answers = f->answers;
        assert_int_equal(attach(f, f->disk, NULL, NULL), 0);
        while (!(rd(f->as, express(f, 1) + LINK_STA, 2) & LINK_ACTIVE))
            sched_yield();
        if (round % 2) {
            assert_int_equal(detach(f, "disk0", true, NULL), 0);
        } else {
            assert_int_equal(detach(f, "disk0", false, NULL), PV_VM_DETACH_LATER);
            while (f->answers == answers)
                assert_int_equal(pv_loop_run(f->loop, NULL), 0);
            assert_string_equal(f->message, "");
        }
        assert_int_equal(device_count(f), 0);
        turn(f);
    }
    pv_machine_stop(f->machine);
}

static void test_too_many_slots(void **state)
{
    struct fixture *f = *state;
    struct pv_vm_hotplug_config config = {
        .loop = f->loop, .machine = f->machine, .slots = PV_CONFIG_MAX_SLOTS + 1};
    struct pv_vm_hotplug *hotplug;
    assert_int_equal(pv_vm_hotplug_create(&hotplug, &config, NULL), -EINVAL);
    pv_vm_hotplug_destroy(hotplug);
    config.slots = 0;
    assert_int_equal(pv_vm_hotplug_create(&hotplug, &config, NULL), 0);
    const struct pv_config_disk disk = {.path = f->disk};
    struct pv_error *err = NULL;
    assert_int_equal(pv_vm_hotplug_attach_disk(hotplug, &disk, NULL, &err), -ENOSPC);
    assert_non_null(strstr(pv_error_message(err), "has no slots"));
    pv_error_free(&err);
    pv_vm_hotplug_destroy(hotplug);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_come_and_go, setup, teardown),
        cmocka_unit_test_setup_teardown(test_networks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_guest_that_does_not_let_go, setup, teardown),
        cmocka_unit_test_setup_teardown(test_force_and_release_together, setup, teardown),
        cmocka_unit_test_setup_teardown(test_guest_that_is_busy, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_many_slots, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
