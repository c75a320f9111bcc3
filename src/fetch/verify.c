/* SPDX-License-Identifier: MIT */
#include "fetch/verify.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* gpgv's exit status; -ENOENT: it is not installed. What it says is for people who know it. */
static int run_gpgv(const char *file, const char *signature, const char *keyring)
{
    const char *const words[] = {"gpgv", "--quiet", "--keyring", keyring, signature, file, NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status;
    if (posix_spawn_file_actions_init(&actions))
        return -ENOMEM;
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    int code = posix_spawnp(&pid, words[0], &actions, NULL, (char *const *)words, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (code)
        return -code;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return -ENOENT;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int verify_signature(const char *file, const char *signature, const char *keyring,
                     struct pv_error **err)
{
    if (access(keyring, R_OK) < 0)
        return 0;
    int ret = run_gpgv(file, signature, keyring);
    if (ret == -ENOENT)
        return 0;
    if (ret < 0)
        return pv_error_errno(err, -ret, "gpgv");
    return ret == 0 ? 1 : pv_error_set(err, EBADMSG, "signed by no key in %s", keyring);
}
