/* SPDX-License-Identifier: MIT */
/*
 * System calls: a seccomp filter made from a table.
 *
 * The kernel runs the filter before every call, from its beginning; for calls whose verdict does
 * not depend on arguments it remembers the outcome (Linux 5.11), so the table may be long and is
 * ordered for readers. A row is a comparison and a verdict, so no jump is ever long. What no row
 * knows raises SIGSYS, whose handler names the call and ends the process.
 */
#include "host/confine.h"

#include "base/error.h"
#include "base/util.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
#define HOST_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define HOST_ARCH AUDIT_ARCH_AARCH64
#endif

#ifdef HOST_ARCH

enum test {
    ALWAYS,
    IF_IS,  /* the argument's low half is the value */
    IF_HAS, /* ... has all bits of the value */
};

struct row {
    uint32_t number;
    uint32_t verdict;
    unsigned sets; /* 0: for everyone; else for who has one of these */
    enum test test;
    unsigned argument;
    uint32_t value;
};

#define ALLOW(name)                                                                                \
    {                                                                                              \
        SYS_##name, SECCOMP_RET_ALLOW                                                              \
    }
#define ALLOW_FOR(set, name)                                                                       \
    {                                                                                              \
        SYS_##name, SECCOMP_RET_ALLOW, set                                                         \
    }
#define ALLOW_IF(name, ...)                                                                        \
    {                                                                                              \
        SYS_##name, SECCOMP_RET_ALLOW, 0, __VA_ARGS__                                              \
    }
#define REFUSE(name, error)                                                                        \
    {                                                                                              \
        SYS_##name, SECCOMP_RET_ERRNO | (error)                                                    \
    }
#define REFUSE_IF(name, error, ...)                                                                \
    {                                                                                              \
        SYS_##name, SECCOMP_RET_ERRNO | (error), 0, __VA_ARGS__                                    \
    }

/* clang-format off */
static const struct row rows[] = {
    /* Data */
    ALLOW(read), ALLOW(write), ALLOW(readv), ALLOW(writev), ALLOW(pread64), ALLOW(pwrite64),
    ALLOW(preadv), ALLOW(pwritev), ALLOW(preadv2), ALLOW(pwritev2), ALLOW(lseek), ALLOW(fsync),
    ALLOW(fdatasync), ALLOW(sync_file_range), ALLOW(ftruncate), ALLOW(fallocate),
    ALLOW(copy_file_range),

    /* Files by name: which ones is Landlock's to say */
    ALLOW(openat), ALLOW(newfstatat), ALLOW(statx), ALLOW(fstat), ALLOW(fstatfs), ALLOW(faccessat),
    ALLOW(faccessat2), ALLOW(readlinkat), ALLOW(unlinkat), ALLOW(renameat), ALLOW(renameat2),
    ALLOW(linkat), ALLOW(mkdirat),
    ALLOW(getcwd), ALLOW(getdents64), ALLOW(fchmod), ALLOW(fchmodat),
#ifdef __x86_64__
    ALLOW(open), ALLOW(stat), ALLOW(lstat), ALLOW(access), ALLOW(readlink), ALLOW(unlink),
    ALLOW(rename), ALLOW(link), ALLOW(chmod), ALLOW(mkdir), ALLOW(rmdir),
#endif

    /* Descriptors */
    ALLOW(close), ALLOW(dup), ALLOW(dup3), ALLOW(fcntl), ALLOW(flock), ALLOW(pipe2),
    ALLOW(eventfd2), ALLOW(timerfd_create), ALLOW(timerfd_settime), ALLOW(timerfd_gettime),
    ALLOW(signalfd4), ALLOW(memfd_create), ALLOW(epoll_create1), ALLOW(epoll_ctl),
    ALLOW(epoll_pwait), ALLOW(epoll_pwait2), ALLOW(ppoll), ALLOW(pselect6),
#ifdef __x86_64__
    ALLOW(epoll_wait), ALLOW(poll), ALLOW(select),
#endif
    /* Typing into one's terminal is what a program does that wants out of its shell's child. */
    REFUSE_IF(ioctl, EPERM, IF_IS, 1, TIOCSTI), REFUSE_IF(ioctl, EPERM, IF_IS, 1, TIOCLINUX),
    ALLOW(ioctl),

    /* Networks: a NAT's sockets, and unix ones. No packets, no talk with the kernel. */
    ALLOW_IF(socket, IF_IS, 0, AF_UNIX), ALLOW_IF(socket, IF_IS, 0, AF_INET),
    ALLOW_IF(socket, IF_IS, 0, AF_INET6), REFUSE(socket, EAFNOSUPPORT), ALLOW(socketpair),
    ALLOW(connect), ALLOW(bind), ALLOW(listen), ALLOW(accept), ALLOW(accept4), ALLOW(shutdown),
    ALLOW(sendto), ALLOW(recvfrom), ALLOW(sendmsg), ALLOW(recvmsg), ALLOW(sendmmsg),
    ALLOW(recvmmsg), ALLOW(getsockname), ALLOW(getpeername), ALLOW(getsockopt), ALLOW(setsockopt),

    /* Memory */
    ALLOW(mmap), ALLOW(munmap), ALLOW(mremap), ALLOW(mprotect), ALLOW(madvise), ALLOW(brk),
    ALLOW(msync), ALLOW(mlock), ALLOW(munlock), ALLOW(membarrier), ALLOW(mincore),

    /* Threads of this process, and no others */
    ALLOW_IF(clone, IF_HAS, 0, CLONE_VM | CLONE_THREAD),
    REFUSE(clone3, ENOSYS), /* its flags cannot be looked at; the C library then takes clone */
    ALLOW(futex), ALLOW(set_robust_list), ALLOW(rseq), ALLOW(gettid), ALLOW(tgkill),
    ALLOW(sched_yield), ALLOW(sched_getaffinity), ALLOW(sched_setaffinity), ALLOW(sched_getparam),
    ALLOW(sched_getscheduler), ALLOW(setpriority), ALLOW(getpriority), ALLOW(getcpu),
    ALLOW(prctl), ALLOW(exit), ALLOW(exit_group), ALLOW(rt_sigaction), ALLOW(rt_sigprocmask),
    ALLOW(rt_sigreturn), ALLOW(rt_sigtimedwait), ALLOW(rt_sigpending), ALLOW(sigaltstack),
    ALLOW(restart_syscall), ALLOW(set_tid_address),

    /* Time, chance, and who one is */
    ALLOW(clock_gettime), ALLOW(clock_getres), ALLOW(clock_nanosleep), ALLOW(nanosleep),
    ALLOW(gettimeofday), ALLOW(getrandom), ALLOW(getpid), ALLOW(getppid), ALLOW(getuid),
    ALLOW(geteuid), ALLOW(getgid), ALLOW(getegid), ALLOW(uname), ALLOW(sysinfo), ALLOW(getrusage),
    ALLOW(times),
#ifdef __x86_64__
    ALLOW(time), ALLOW(arch_prctl),
#endif
    ALLOW_IF(prlimit64, IF_IS, 2, 0), /* asking, not setting */
#ifdef __x86_64__
    ALLOW(getrlimit),
#endif

    /* A host's Vulkan driver */
    ALLOW_FOR(PV_CALLS_GPU, kcmp), ALLOW_FOR(PV_CALLS_GPU, statfs),
    ALLOW_FOR(PV_CALLS_GPU, get_mempolicy), ALLOW_FOR(PV_CALLS_GPU, mbind),
    ALLOW_FOR(PV_CALLS_GPU, set_mempolicy),
    ALLOW_FOR(PV_CALLS_GPU, sched_setscheduler), ALLOW_FOR(PV_CALLS_GPU, sched_get_priority_min),
    ALLOW_FOR(PV_CALLS_GPU, sched_get_priority_max), ALLOW_FOR(PV_CALLS_GPU, getresuid),
    ALLOW_FOR(PV_CALLS_GPU, getresgid),
};
/* clang-format on */

#define PROLOGUE 6u
#define MAX_ROW  6u

struct program {
    struct sock_filter code[PROLOGUE + PV_ARRAY_SIZE(rows) * MAX_ROW + 1];
    unsigned short len;
};

static void emit(struct program *program, struct sock_filter instruction)
{
    program->code[program->len++] = instruction;
}

static void load(struct program *program, size_t offset)
{
    emit(program, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

static void give(struct program *program, uint32_t verdict)
{
    emit(program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, verdict));
}

/* Goes on with the next instruction when the loaded value is `value`, else behind `skip` of them.
 */
static void unless(struct program *program, uint32_t value, uint8_t skip)
{
    emit(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, skip));
}

static void emit_row(struct program *program, const struct row *row)
{
    if (row->test == ALWAYS) {
        unless(program, row->number, 1);
        give(program, row->verdict);
        return;
    }
    unless(program, row->number, row->test == IF_HAS ? 5 : 4);
    load(program, offsetof(struct seccomp_data, args[row->argument])); /* hosts are little-endian */
    if (row->test == IF_HAS)
        emit(program, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, row->value));
    unless(program, row->value, 1);
    give(program, row->verdict);
    load(program, offsetof(struct seccomp_data, nr));
}

static void build(struct program *program, unsigned sets)
{
    load(program, offsetof(struct seccomp_data, arch));
    emit(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, HOST_ARCH, 1, 0));
    give(program, SECCOMP_RET_KILL_PROCESS);
    load(program, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < PV_ARRAY_SIZE(rows); i++) {
        if (!rows[i].sets || (rows[i].sets & sets))
            emit_row(program, &rows[i]);
    }
    give(program, SECCOMP_RET_TRAP);
}

/* Nothing here may allocate or lock: any code may have been interrupted. */
static void on_refused(int signal_number, siginfo_t *info, void *context)
{
    static const char before[] = "pearvisor: ended for system call ";
    static const char after[] = ", which its list has not\n";
    char text[sizeof(before) + sizeof(after) + 10];
    char digits[10];
    size_t len = sizeof(before) - 1, count = 0;
    memcpy(text, before, len);
    for (unsigned number = (unsigned)info->si_syscall; count == 0 || number; number /= 10)
        digits[count++] = (char)('0' + number % 10);
    while (count)
        text[len++] = digits[--count];
    memcpy(text + len, after, sizeof(after) - 1);
    len += sizeof(after) - 1;
    ssize_t ignored = write(STDERR_FILENO, text, len);
    (void)ignored;
    _exit(128 + SIGSYS);
}

int pv_confine_calls(unsigned sets, struct pv_error **err)
{
    struct program program = {.len = 0};
    struct sigaction action = {.sa_sigaction = on_refused, .sa_flags = SA_SIGINFO};
    build(&program, sets);
    const struct sock_fprog filter = {.len = program.len, .filter = program.code};
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGSYS, &action, NULL) < 0)
        return pv_error_errno(err, errno, "confinement: SIGSYS");
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter) == 0)
        return 1;
    if (errno == ENOSYS || errno == EINVAL)
        return 0; /* a kernel without it */
    return pv_error_errno(err, errno, "confinement: system calls");
}

#else

int pv_confine_calls(unsigned sets, struct pv_error **err)
{
    return 0;
}

#endif
