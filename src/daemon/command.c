/* SPDX-License-Identifier: MIT */
#include "daemon/command.h"

#include "base/buffer.h"
#include "base/error.h"
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

#define MAX_OUTPUT ((size_t)64 << 10)

extern char **environ;

static int spawn(pid_t *pid, const char *program, const char *const *words, int output)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    /* The daemon's threads block signals, which the VM's process must not. */
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
    int code = posix_spawn(pid, program, &actions, &attributes, (char *const *)words, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return code;
}

/* What it said, until it has closed its end. More than is kept is read and dropped. */
static void listen_to(int fd, struct pv_buffer *said)
{
    char chunk[4096];
    ssize_t n;
    while ((n = read(fd, chunk, sizeof(chunk))) > 0 || (n < 0 && errno == EINTR)) {
        if (n > 0 && pv_buffer_append(said, chunk, (size_t)n) == -E2BIG)
            pv_buffer_consume(said, said->size);
    }
}

static const char *last_line(struct pv_buffer *said)
{
    static const char prefix[] = "pearvisor: ";
    while (said->size && said->data[said->size - 1] == '\n')
        said->data[--said->size] = '\0';
    char *line = said->size ? strrchr(said->data, '\n') : NULL;
    const char *text = line ? line + 1 : said->size ? said->data : "it ended without a word";
    return strncmp(text, prefix, strlen(prefix)) ? text : text + strlen(prefix);
}

int pv_command_run(const char *program, const char *const *words, struct pv_error **err)
{
    PV_CLEANUP_BUFFER struct pv_buffer said = PV_BUFFER_INIT(MAX_OUTPUT);
    int pipes[2], status;
    pid_t pid;
    if (pipe2(pipes, O_CLOEXEC) < 0)
        return pv_error_errno(err, errno, "%s", words[1]);
    int code = spawn(&pid, program, words, pipes[1]);
    close(pipes[1]);
    if (!code)
        listen_to(pipes[0], &said);
    close(pipes[0]);
    if (code)
        return pv_error_errno(err, code, "%s", program);
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return pv_error_errno(err, errno, "%s", words[1]);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    /* The command line's usage errors (2) are those of a request that is wrong. */
    return pv_error_set(err, WIFEXITED(status) && WEXITSTATUS(status) == 2 ? EINVAL : EIO, "%s",
                        last_line(&said));
}
