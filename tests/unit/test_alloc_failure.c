/* SPDX-License-Identifier: MIT */
/*
 * A VM is made, run until its guest powers off, and destroyed, again and again; the n-th time the
 * n-th request for memory, a descriptor or a thread fails. Each time there must be an error or a VM
 * that works, and nothing left behind.
 *
 * The linker's --wrap (meson.build) leads the library's calls here. What other libraries ask for
 * does not come this way.
 */
#include "base/error.h"
#include "base/util.h"
#include "engine/engine.h"
#include "vm/vm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- The calls that may fail ---- */

static atomic_long countdown; /* the call that finds 1 here fails; 0 and less: none does */
static atomic_long living;    /* blocks and mappings that have not been given back */

static bool fails(int code)
{
    if (atomic_fetch_sub(&countdown, 1) != 1)
        return false;
    errno = code;
    return true;
}

static void *born(void *block)
{
    if (block && block != MAP_FAILED)
        atomic_fetch_add(&living, 1);
    return block;
}

#define WRAP(type, name, parameters, arguments, code, failed)                                      \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        if (fails(code))                                                                           \
            return failed;                                                                         \
        return __real_##name arguments;                                                            \
    }
#define WRAP_BLOCK(name, parameters, arguments)                                                    \
    void *__real_##name parameters;                                                                \
    void *__wrap_##name parameters;                                                                \
    void *__wrap_##name parameters                                                                 \
    {                                                                                              \
        return fails(ENOMEM) ? NULL : born(__real_##name arguments);                               \
    }

WRAP_BLOCK(malloc, (size_t size), (size))
WRAP_BLOCK(calloc, (size_t count, size_t size), (count, size))
WRAP_BLOCK(aligned_alloc, (size_t alignment, size_t size), (alignment, size))
WRAP_BLOCK(strdup, (const char *text), (text))
WRAP(int, memfd_create, (const char *name, unsigned flags), (name, flags), EMFILE, -1)
WRAP(int, eventfd, (unsigned value, int flags), (value, flags), EMFILE, -1)
WRAP(int, epoll_create1, (int flags), (flags), EMFILE, -1)
WRAP(int, timerfd_create, (clockid_t clock, int flags), (clock, flags), EMFILE, -1)
WRAP(int, epoll_ctl, (int epfd, int op, int fd, struct epoll_event *event), (epfd, op, fd, event),
     ENOSPC, -1)
WRAP(int, pthread_create,
     (pthread_t * thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg),
     (thread, attr, start, arg), EAGAIN, EAGAIN)

void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size)
{
    if (fails(ENOMEM))
        return NULL;
    return old ? __real_realloc(old, size) : born(__real_realloc(old, size));
}

void __real_free(void *block);
void __wrap_free(void *block);
void __wrap_free(void *block)
{
    if (block)
        atomic_fetch_sub(&living, 1);
    __real_free(block);
}

/* The library gets these from the C library and frees them. */
char *__real_realpath(const char *path, char *resolved);
char *__wrap_realpath(const char *path, char *resolved);
char *__wrap_realpath(const char *path, char *resolved)
{
    if (fails(ENOMEM))
        return NULL;
    return resolved ? __real_realpath(path, resolved) : born(__real_realpath(path, NULL));
}

int __real_vasprintf(char **out, const char *fmt, va_list ap);
int __wrap_vasprintf(char **out, const char *fmt, va_list ap);
int __wrap_asprintf(char **out, const char *fmt, ...);
int __wrap_vasprintf(char **out, const char *fmt, va_list ap)
{
    if (fails(ENOMEM))
        return -1;
    int length = __real_vasprintf(out, fmt, ap);
    if (length >= 0)
        born(*out);
    return length;
}
int __wrap_asprintf(char **out, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int length = __wrap_vasprintf(out, fmt, ap);
    va_end(ap);
    return length;
}

void *__real_mmap64(void *at, size_t size, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *at, size_t size, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
    if (fails(ENOMEM))
        return MAP_FAILED;
    return born(__real_mmap64(at, size, prot, flags, fd, offset));
}

int __real_munmap(void *at, size_t size);
int __wrap_munmap(void *at, size_t size);
int __wrap_munmap(void *at, size_t size)
{
    atomic_fetch_sub(&living, 1);
    return __real_munmap(at, size);
}

/* ---- The VM ---- */

struct files {
    char folder[32];
    char kernel[64], disk[64], card[64], vars[64], log[64];
    char socket[64], control[64], screen[64], sound[64];
};

static void write_file(const char *path, const void *data, size_t size, off_t length)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), (ssize_t)size);
    assert_int_equal(ftruncate(fd, length), 0);
    close(fd);
}

static int make_files(void **state)
{
    /* An arm64 Image (Documentation/arch/arm64/booting.rst) that calls PSCI SYSTEM_OFF. */
    static const uint32_t kernel[] = {
        [0] = 0x14000010,  /* b 0x40 */
        [4] = 0x10000,     /* image_size */
        [14] = 0x644d5241, /* the magic number */
        [16] = 0x52b08000, /* mov w0, #0x84000000 */
        0x72800100,        /* movk w0, #8 */
        0xd4000002,        /* hvc #0 */
    };
    static struct files files;
    strcpy(files.folder, "/tmp/pv-alloc-XXXXXX");
    assert_non_null(mkdtemp(files.folder));
    snprintf(files.kernel, sizeof(files.kernel), "%s/Image", files.folder);
    snprintf(files.disk, sizeof(files.disk), "%s/disk", files.folder);
    snprintf(files.card, sizeof(files.card), "%s/card", files.folder);
    snprintf(files.vars, sizeof(files.vars), "%s/vars", files.folder);
    snprintf(files.log, sizeof(files.log), "%s/log", files.folder);
    snprintf(files.socket, sizeof(files.socket), "%s/socket", files.folder);
    snprintf(files.control, sizeof(files.control), "%s/control", files.folder);
    snprintf(files.screen, sizeof(files.screen), "%s/screen", files.folder);
    snprintf(files.sound, sizeof(files.sound), "%s/sound", files.folder);
    write_file(files.kernel, kernel, sizeof(kernel), 4096);
    write_file(files.disk, "", 0, 1 << 20);
    write_file(files.card, "", 0, 1 << 20);
    *state = &files;
    return 0;
}

static int remove_files(void **state)
{
    struct files *files = *state;
    unlink(files->kernel);
    unlink(files->disk);
    unlink(files->card);
    unlink(files->vars);
    unlink(files->log);
    unlink(files->socket);
    unlink(files->control);
    unlink(files->screen);
    unlink(files->sound);
    return rmdir(files->folder);
}

static unsigned open_descriptors(void)
{
    unsigned count = 0;
    DIR *folder = opendir("/proc/self/fd");
    assert_non_null(folder);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

/* A disk, unless NULL, and a network come, and the disk goes. */
static int plug(struct pv_vm *vm, const char *card, struct pv_error **err)
{
    const struct pv_config_disk disk = {.id = "card", .path = card};
    const struct pv_config_net net = {.kind = PV_NET_USER};
    int ret = card ? pv_vm_attach_disk(vm, &disk, NULL, err) : 0;
    if (ret >= 0 && card)
        ret = pv_vm_attach_net(vm, &net, NULL, err);
    if (ret >= 0 && card)
        ret = pv_vm_detach(vm, "card", &(struct pv_vm_detach){.force = true}, err);
    return ret;
}

/* 0 when the guest ran and powered off; otherwise what failed is in `err`. */
static int live(const struct pv_config *config, const char *card, struct pv_error **err)
{
    struct pv_vm *vm = NULL;
    enum pv_vm_end end = PV_VM_KILLED;
    int ret = pv_vm_create(&vm, config, NULL, err);
    if (ret < 0) {
        assert_null(vm);
        return ret;
    }
    ret = plug(vm, card, err);
    if (ret >= 0)
        ret = pv_vm_run(vm, &end, err);
    if (ret == 0)
        assert_int_equal(end, PV_VM_POWERED_OFF);
    pv_vm_destroy(vm);
    return ret;
}

static void fail_each_with(const struct pv_config *config, const char *card)
{
    unsigned errors = 0;
    atomic_store(&countdown, 0);
    assert_int_equal(live(config, card, NULL), 0); /* what is made once per process is there now */
    const unsigned descriptors = open_descriptors();
    for (long n = 1;; n++) {
        struct pv_error *err = NULL;
        const long before = atomic_load(&living);
        atomic_store(&countdown, n);
        int ret = live(config, card, &err);
        const bool all = atomic_exchange(&countdown, 0) > 0;
        if (ret < 0)
            assert_true(strlen(pv_error_message(err)) > 0);
        errors += ret < 0;
        pv_error_free(&err);
        if (atomic_load(&living) != before || open_descriptors() != descriptors)
            fail_msg("failure %ld: %ld blocks and %d descriptors are left", n,
                     atomic_load(&living) - before, (int)(open_descriptors() - descriptors));
        if (all) {
            assert_int_equal(ret, 0);
            break;
        }
    }
    /* Most of them cannot be done without. */
    assert_true(errors > 50);
}

static void fail_each(const struct pv_config *config)
{
    fail_each_with(config, NULL);
}

static void over_pci(void **state)
{
    const struct files *files = *state;
    struct pv_config config;
    pv_config_init(&config);
    config.engine = "interp";
    config.cpus = 2;
    config.memory = 64 << 20;
    config.kernel = files->kernel;
    config.disks[config.disk_count++].path = files->disk;
    config.nets[config.net_count++].kind = PV_NET_USER;
    config.console = PV_CONSOLE_UNIX;
    config.console_path = files->socket;
    config.console_virtio = true;
    fail_each_with(&config, files->card);
}

static void with_every_device(void **state)
{
    const struct files *files = *state;
    struct pv_config config;
    pv_config_init(&config);
    config.engine = "interp";
    config.memory = 64 << 20;
    config.kernel = files->kernel;
    config.disks[config.disk_count++] =
        (struct pv_config_disk){.path = files->disk, .bus = PV_DISK_SCSI};
    config.console = PV_CONSOLE_PTY;
    config.ports[config.port_count++] =
        (struct pv_config_port){.name = "port", .path = files->socket};
    config.balloon = true;
    config.vsock_cid = 3;
    config.vsock_directory = files->folder;
    config.inputs[config.input_count++] = PV_INPUT_TABLET;
    config.sound = PV_SOUND_FILE;
    config.sound_play = files->sound;
    config.watchdog = config.on_panic = PV_ACTION_POWEROFF;
    config.control_path = files->control;
    config.console_log = files->log;
    fail_each(&config);
}

/* The same program from flash, with variables, and with a kernel and ACPI tables for firmware. */
static void by_firmware(void **state)
{
    const struct files *files = *state;
    struct pv_config config;
    pv_config_init(&config);
    config.engine = "interp";
    config.memory = 64 << 20;
    config.firmware = files->kernel;
    config.vars = files->vars;
    config.acpi = PV_ACPI_ON;
    config.kernel = files->kernel;
    config.initrd = files->disk;
    config.append = "quiet";
    config.console = PV_CONSOLE_NULL;
    fail_each(&config);
}

/* Two heads that are drawn to a file, or that a viewer could connect to. */
static void with_a_display(void **state)
{
    const struct files *files = *state;
    struct pv_config config;
    pv_config_init(&config);
    config.engine = "interp";
    config.memory = 64 << 20;
    config.kernel = files->kernel;
    config.console = PV_CONSOLE_NULL;
    config.gpu = PV_GPU_2D;
    config.gpu_heads = 2;
    config.display_path = files->screen;
    for (config.display = PV_DISPLAY_PNG; config.display <= PV_DISPLAY_VNC; config.display++)
        fail_each(&config);
}

static void over_mmio(void **state)
{
    const struct files *files = *state;
    struct pv_config config;
    pv_config_init(&config);
    config.engine = "interp";
    config.memory = 64 << 20;
    config.kernel = files->kernel;
    config.initrd = files->disk;
    config.append = "quiet";
    config.transport = PV_TRANSPORT_MMIO;
    config.nets[config.net_count++].kind = PV_NET_NONE;
    config.console = PV_CONSOLE_PTY;
    fail_each(&config);
}

/* Every engine that this host has, without more around it than must be. */
static void with_each_engine(void **state)
{
    const struct files *files = *state;
    struct pv_config config;
    pv_config_init(&config);
    config.cpus = 2;
    config.memory = 64 << 20;
    config.kernel = files->kernel;
    config.console = PV_CONSOLE_NULL;
    for (const struct pv_engine_ops *const *ops = pv_engine_list(); *ops; ops++) {
        config.engine = pv_engine_name(*ops);
        if (!pv_engine_is_test_only(*ops) && pv_engine_probe(*ops, NULL) == 0)
            fail_each(&config);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(over_pci),    cmocka_unit_test(with_every_device),
        cmocka_unit_test(by_firmware), cmocka_unit_test(with_a_display),
        cmocka_unit_test(over_mmio),   cmocka_unit_test(with_each_engine),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
