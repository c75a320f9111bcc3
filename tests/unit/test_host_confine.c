/* SPDX-License-Identifier: MIT */
/*
 * Confinement tried from inside: in a child each, as there is no way back. A child's exit status
 * says how far it came.
 */
#include "base/error.h"
#include "base/util.h"
#include "host/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

#define CANNOT 77 /* this kernel has no such thing */
#define ENDED  (128 + SIGSYS)

static int status_of(int (*child)(void))
{
    pid_t pid = fork();
    int status;
    if (pid == 0) {
        close(STDERR_FILENO); /* what SIGSYS's handler says is expected */
        _exit(child());
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void expect_status(int (*child)(void), int expected)
{
    int status = status_of(child);
    if (status == CANNOT)
        skip();
    assert_int_equal(status, expected);
}

/* ---- Files ---- */

static const char *const folders[] = {"read", "write", "create", "none"};

static int make_folders(void **state)
{
    char path[] = "/tmp/pv-confine-XXXXXX";
    if (!mkdtemp(path) || chdir(path) < 0)
        return -1;
    *state = strdup(path);
    for (size_t i = 0; i < PV_ARRAY_SIZE(folders); i++) {
        char name[32];
        if (mkdir(folders[i], 0700) < 0)
            return -1;
        snprintf(name, sizeof(name), "%s/file", folders[i]);
        close(open(name, O_CREAT | O_WRONLY, 0600));
    }
    return 0;
}

static int remove_folders(void **state)
{
    for (size_t i = 0; i < PV_ARRAY_SIZE(folders); i++) {
        char name[32];
        snprintf(name, sizeof(name), "%s/file", folders[i]);
        unlink(name);
        rmdir(folders[i]);
    }
    rmdir(*state);
    free(*state);
    return 0;
}

static bool opens(const char *path, int flags)
{
    PV_CLEANUP_FD int fd = open(path, flags, 0600);
    return fd >= 0;
}

static bool refused(const char *path, int flags)
{
    return !opens(path, flags) && errno == EACCES;
}

static int confine(void)
{
    static const struct pv_grant grants[] = {
        {"read", PV_GRANT_READ},
        {"write/file", PV_GRANT_WRITE},
        {"create", PV_GRANT_CREATE},
        {"not-there", PV_GRANT_READ},
    };
    return pv_confine_files(grants, PV_ARRAY_SIZE(grants), NULL);
}

static int try_files(void)
{
    int before = open("none/file", O_RDWR);
    int ret = confine();
    if (ret <= 0)
        return ret ? 1 : CANNOT;
    if (!opens("read/file", O_RDONLY) || !refused("read/file", O_WRONLY))
        return 2;
    if (!opens("write/file", O_RDWR) || !refused("write/new", O_WRONLY | O_CREAT))
        return 3;
    if (!opens("create/new", O_RDWR | O_CREAT) || rename("create/new", "create/other") < 0 ||
        unlink("create/other") < 0)
        return 4;
    if (!refused("none/file", O_RDONLY) || !refused("/etc/passwd", O_RDONLY) ||
        !refused("read/../none/file", O_RDONLY))
        return 5;
    if (unlink("read/file") == 0 || rename("create/file", "none/moved") == 0)
        return 6;
    return write(before, "x", 1) == 1 ? 0 : 7; /* what was open stays */
}

static void files_outside_the_grants_are_refused(void **state)
{
    expect_status(try_files, 0);
}

static void *try_passwd(void *opaque)
{
    *(bool *)opaque = refused("/etc/passwd", O_RDONLY);
    return NULL;
}

static int try_thread(void)
{
    pthread_t thread;
    bool kept_out = false;
    int ret = confine();
    if (ret <= 0)
        return ret ? 1 : CANNOT;
    if (pthread_create(&thread, NULL, try_passwd, &kept_out))
        return 2;
    pthread_join(thread, NULL);
    return kept_out ? 0 : 3;
}

static void threads_made_later_are_confined_too(void **state)
{
    expect_status(try_thread, 0);
}

static int try_privileges(void)
{
    struct rlimit core;
    if (pv_confine_files(NULL, 0, NULL) < 0)
        return 1;
    if (getrlimit(RLIMIT_CORE, &core) < 0 || core.rlim_max)
        return 2;
    /* It takes a capability, or is refused anyway. The C library would signal all threads, those
     * of sanitizers too, which do not live through that. */
    return syscall(SYS_setuid, getuid() + 1) == 0 ? 3 : 0;
}

static void privileges_are_gone(void **state)
{
    expect_status(try_privileges, 0);
}

/* ---- System calls ---- */

static int confine_calls(void)
{
    if (pv_confine_files(NULL, 0, NULL) < 0)
        return -1;
    return pv_confine_calls(0, NULL);
}

static void *do_nothing(void *opaque)
{
    return opaque;
}

static int try_what_a_vmm_does(void)
{
    pthread_t thread;
    int ret = confine_calls();
    if (ret <= 0)
        return ret ? 1 : CANNOT;
    PV_CLEANUP_FD int local = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    PV_CLEANUP_FD int net = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (local < 0 || net < 0)
        return 2;
    if (pthread_create(&thread, NULL, do_nothing, NULL) || pthread_join(thread, NULL))
        return 3;
    if (socket(AF_NETLINK, SOCK_RAW, 0) >= 0 || errno != EAFNOSUPPORT)
        return 4;
    /* TIOCSTI */
    if (syscall(SYS_ioctl, 0, 0x5412, "x") >= 0 || errno != EPERM)
        return 5;
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) < 0 ? 6 : 0;
}

static void what_a_vmm_does_it_still_can(void **state)
{
    expect_status(try_what_a_vmm_does, 0);
}

#define TRY_CALL(name, ...)                                                                        \
    static int try_##name(void)                                                                    \
    {                                                                                              \
        int ret = confine_calls();                                                                 \
        if (ret <= 0)                                                                              \
            return ret ? 1 : CANNOT;                                                               \
        syscall(SYS_##name, __VA_ARGS__);                                                          \
        return 0;                                                                                  \
    }
TRY_CALL(execve, "/bin/true", NULL, NULL)
TRY_CALL(clone, SIGCHLD, NULL, NULL, NULL, NULL)
TRY_CALL(ptrace, 0, 0, NULL, NULL)
TRY_CALL(kill, 0, 0)
TRY_CALL(mount, NULL, NULL, NULL, 0, NULL)
TRY_CALL(process_vm_readv, 1, NULL, 0, NULL, 0, 0)
TRY_CALL(prlimit64, 0, RLIMIT_CORE, &(struct rlimit){0}, NULL)
TRY_CALL(unshare, 0)
TRY_CALL(bpf, 0, NULL, 0)
TRY_CALL(io_uring_setup, 1, NULL)

static void what_it_does_not_do_ends_it(void **state)
{
    int (*const tries[])(void) = {
        try_execve,           try_clone,   try_ptrace,    try_kill, try_mount,
        try_process_vm_readv, try_unshare, try_prlimit64, try_bpf,  try_io_uring_setup,
    };
    for (size_t i = 0; i < PV_ARRAY_SIZE(tries); i++)
        expect_status(tries[i], ENDED);
}

static void *try_execve_later(void *opaque)
{
    while (!__atomic_load_n((bool *)opaque, __ATOMIC_ACQUIRE))
        sched_yield();
    syscall(SYS_execve, "/bin/true", NULL, NULL);
    return NULL;
}

/* A thread that was there before is under the list as well. */
static int try_other_thread(void)
{
    pthread_t thread;
    bool go = false;
    if (pthread_create(&thread, NULL, try_execve_later, &go))
        return 1;
    int ret = confine_calls();
    if (ret <= 0)
        return ret ? 1 : CANNOT;
    __atomic_store_n(&go, true, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    return 0;
}

static void all_threads_are_under_the_list(void **state)
{
    expect_status(try_other_thread, ENDED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_outside_the_grants_are_refused),
        cmocka_unit_test(threads_made_later_are_confined_too),
        cmocka_unit_test(privileges_are_gone),
        cmocka_unit_test(what_a_vmm_does_it_still_can),
        cmocka_unit_test(what_it_does_not_do_ends_it),
        cmocka_unit_test(all_threads_are_under_the_list),
    };
    return cmocka_run_group_tests(tests, make_folders, remove_folders);
}
