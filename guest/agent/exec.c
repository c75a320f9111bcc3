/* SPDX-License-Identifier: MIT */
/*
 * exec [rows=N columns=N] [directory=D] [environment NAME=VALUE]... -- PROGRAM [ARGUMENT...]
 *
 * With rows and columns the program gets a terminal, else three pipes. Its input is acknowledged as
 * the program takes it (TAKEN), so no more than PV_AGENT_WINDOW bytes ever wait here.
 */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct job {
    struct request *r;
    bool terminal;
    struct winsize size;
    const char *directory;
    char **argv;
    pid_t pid;
    int process;           /* readable when the program has ended */
    int input, out[2];     /* ours; -1 once closed. out: standard output and error */
    bool input_ended;      /* the host has no more */
    uint32_t from, filled; /* in `waiting` */
    uint8_t waiting[PV_AGENT_WINDOW];
};

static int parse(struct job *job)
{
    struct request *r = job->r;
    for (int i = 1; i < r->count; i++) {
        const char *word = r->words[i];
        if (!strncmp(word, "rows=", 5))
            job->size.ws_row = (unsigned short)atoi(word + 5);
        else if (!strncmp(word, "columns=", 8))
            job->size.ws_col = (unsigned short)atoi(word + 8);
        else if (!strncmp(word, "directory=", 10))
            job->directory = word + 10;
        else if (!strcmp(word, "environment") && i + 1 < r->count)
            putenv(r->words[++i]);
        else if (!strcmp(word, "--") && i + 1 < r->count) {
            job->argv = &r->words[i + 1];
            job->terminal = job->size.ws_row || job->size.ws_col;
            return 0;
        } else
            return fail(r, 0, "exec: '%.40s' is not an option", word);
    }
    return fail(r, 0, "exec: no program");
}

/* ---- The program ---- */

static void become(const struct job *job, int input, int output, int error, int report)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int number = 1; number < 32; number++)
        signal(number, SIG_DFL);
    setsid();
    if (job->terminal)
        ioctl(input, TIOCSCTTY, 0);
    if (dup2(input, 0) >= 0 && dup2(output, 1) >= 0 && dup2(error, 2) >= 0 &&
        chdir(job->directory ? job->directory : "/root") < 0 &&
        (job->directory || chdir("/") < 0)) {
        int number = errno;
        (void)!write(report, &number, sizeof(number));
        _exit(126);
    }
    execvp(job->argv[0], job->argv);
    int number = errno;
    (void)!write(report, &number, sizeof(number));
    _exit(127);
}

struct ends {
    int input, output, error; /* the program's */
};

static int open_terminal(struct job *job, struct ends *theirs)
{
    int ours, slave;
    if (openpty(&ours, &slave, NULL, NULL, &job->size) < 0)
        return -1;
    fcntl(ours, F_SETFD, FD_CLOEXEC);
    fcntl(slave, F_SETFD, FD_CLOEXEC);
    *theirs = (struct ends){slave, slave, slave};
    job->out[0] = ours;
    job->out[1] = -1;
    job->input = fcntl(ours, F_DUPFD_CLOEXEC, 0);
    return job->input < 0 ? -1 : 0;
}

static int open_pipes(struct job *job, struct ends *theirs)
{
    int pipes[3][2];
    for (int i = 0; i < 3; i++)
        if (pipe2(pipes[i], O_CLOEXEC) < 0)
            return -1;
    *theirs = (struct ends){pipes[0][0], pipes[1][1], pipes[2][1]};
    job->input = pipes[0][1];
    job->out[0] = pipes[1][0];
    job->out[1] = pipes[2][0];
    return 0;
}

static int start(struct job *job)
{
    struct ends theirs;
    int report[2], number = 0;
    if ((job->terminal ? open_terminal(job, &theirs) : open_pipes(job, &theirs)) < 0 ||
        pipe2(report, O_CLOEXEC) < 0)
        return fail(job->r, errno, "exec");
    job->pid = fork();
    if (job->pid < 0)
        return fail(job->r, errno, "exec");
    if (job->pid == 0)
        become(job, theirs.input, theirs.output, theirs.error, report[1]);
    close(report[1]);
    close(theirs.input);
    if (!job->terminal) {
        close(theirs.output);
        close(theirs.error);
    }
    if (read(report[0], &number, sizeof(number)) == sizeof(number)) {
        waitpid(job->pid, NULL, 0);
        return fail(job->r, number, "cannot run '%.200s'", job->argv[0]);
    }
    close(report[0]);
    fcntl(job->input, F_SETFL, O_NONBLOCK);
    for (int i = 0; i < 2; i++)
        if (job->out[i] >= 0)
            fcntl(job->out[i], F_SETFL, O_NONBLOCK);
    job->process = (int)syscall(SYS_pidfd_open, job->pid, 0);
    if (job->process < 0) {
        kill(job->pid, SIGKILL);
        return fail(job->r, errno, "exec");
    }
    return ready(job->r, NULL, 0);
}

/* ---- What goes to and fro ---- */

static void close_input(struct job *job)
{
    /* A terminal has no end: its end-of-file character says it. */
    if (job->terminal)
        (void)!write(job->input, "\4", 1);
    close(job->input);
    job->input = -1;
}

static int feed(struct job *job)
{
    uint8_t taken[4];
    if (job->input < 0)
        return 0;
    uint32_t n = 0;
    if (job->filled > 0) {
        ssize_t part = write(job->input, job->waiting + job->from, job->filled);
        if (part < 0 && (errno == EAGAIN || errno == EINTR))
            return 0;
        if (part < 0) { /* nobody reads it any more: away with it */
            n = job->filled;
            close_input(job);
        } else {
            n = (uint32_t)part;
        }
    }
    job->from += n;
    job->filled -= n;
    if (job->filled == 0)
        job->from = 0;
    if (job->input >= 0 && job->filled == 0 && job->input_ended)
        close_input(job);
    pv_agent_put32(taken, n);
    return n > 0 ? pv_agent_send(job->r->fd, PV_AGENT_TAKEN, taken, sizeof(taken)) : 0;
}

static int take_input(struct job *job, const struct pv_agent_frame *frame)
{
    uint8_t taken[4];
    if (frame->size == 0) {
        job->input_ended = true;
        return feed(job);
    }
    if (job->input < 0) {
        pv_agent_put32(taken, frame->size);
        return pv_agent_send(job->r->fd, PV_AGENT_TAKEN, taken, sizeof(taken));
    }
    if (frame->size > sizeof(job->waiting) - job->filled)
        return -1; /* more than the window */
    memmove(job->waiting, job->waiting + job->from, job->filled);
    job->from = 0;
    memcpy(job->waiting + job->filled, frame->payload, frame->size);
    job->filled += frame->size;
    return feed(job);
}

static int take(struct job *job)
{
    const struct pv_agent_frame *frame = job->r->frame;
    if (pv_agent_receive(job->r->fd, job->r->frame) < 0)
        return -1;
    if (frame->type == PV_AGENT_STDIN)
        return take_input(job, frame);
    if (frame->type == PV_AGENT_SIGNAL && frame->size == 1 && frame->payload[0] < 32)
        return kill(-job->pid, frame->payload[0]) < 0 && errno == EINVAL ? -1 : 0;
    if (frame->type != PV_AGENT_RESIZE || frame->size != 4)
        return -1;
    job->size.ws_row = pv_agent_get16(frame->payload);
    job->size.ws_col = pv_agent_get16(frame->payload + 2);
    if (job->terminal)
        ioctl(job->out[0], TIOCSWINSZ, &job->size);
    return 0;
}

/* Sends what there is of an output, at most a frame; 1 when there was something. */
static int drain(struct job *job, int which)
{
    struct pv_agent_frame *frame = job->r->frame;
    if (job->out[which] < 0)
        return 0;
    ssize_t n = read(job->out[which], frame->payload, PV_AGENT_PAYLOAD_MAX);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0) { /* a terminal whose other side is closed says EIO */
        close(job->out[which]);
        job->out[which] = -1;
        return 0;
    }
    const enum pv_agent_type type = which ? PV_AGENT_STDERR : PV_AGENT_STDOUT;
    return pv_agent_send(job->r->fd, type, frame->payload, (size_t)n) < 0 ? -1 : 1;
}

/* The program has ended. Whom it left behind may hold its output: what is there now is its own. */
static int say_end(struct job *job)
{
    int status = 0, more;
    do {
        more = drain(job, 0);
        if (more >= 0)
            more |= drain(job, 1);
    } while (more > 0);
    waitpid(job->pid, &status, 0);
    const uint8_t end[2] = {
        WIFSIGNALED(status),
        (uint8_t)(WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status))};
    return pv_agent_send(job->r->fd, PV_AGENT_EXIT, end, sizeof(end));
}

static int carry(struct job *job)
{
    for (;;) {
        struct pollfd fds[] = {
            {job->r->fd, POLLIN, 0},
            {job->process, POLLIN, 0},
            {job->input, job->filled > 0 ? POLLOUT : 0, 0},
            {job->out[0], POLLIN, 0},
            {job->out[1], POLLIN, 0},
        };
        if (poll(fds, 5, -1) < 0)
            continue;
        if ((fds[2].revents && job->filled > 0 && feed(job) < 0) ||
            (fds[3].revents && drain(job, 0) < 0) || (fds[4].revents && drain(job, 1) < 0) ||
            (fds[0].revents && take(job) < 0)) {
            /* The host went away, or talks nonsense: nobody wants the program any more. */
            kill(-job->pid, SIGHUP);
            return -1;
        }
        if (fds[1].revents)
            return say_end(job);
        if (fds[2].revents & POLLERR && job->filled == 0 && job->input >= 0)
            close_input(job);
    }
}

int serve_exec(struct request *r)
{
    static struct job job = {.input = -1, .out = {-1, -1}};
    job.r = r;
    setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 0);
    setenv("HOME", "/root", 0);
    setenv("USER", "root", 0);
    return parse(&job) < 0 || start(&job) < 0 ? -1 : carry(&job);
}
