/* SPDX-License-Identifier: MIT */
#include "vm/library.h"

#include "agent/client.h"
#include "agent/wire.h"
#include "base/error.h"
#include "base/util.h"
#include "host/unix_socket.h"
#include "vm/ask.h"
#include "vm/snapshot_file.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#define NAME_MAX_LEN 63u
/* What is asked may have to wait for the guest, at most as long as detach does by default. */
#define ASK_SECONDS   60u
#define STATE_SECONDS 2u
/* All of a guest's memory is written, and what ends then closes its disks. */
#define SUSPEND_SECONDS 3600u
#define END_SECONDS     60u

/* ---- Folders ---- */

/* mkdir -p */
static int make_folders(const char *path, struct pv_error **err)
{
    PV_CLEANUP_FREE char *copy = strdup(path);
    if (!copy)
        return pv_error_set(err, ENOMEM, "out of memory");
    for (char *slash = copy + 1;; slash++) {
        char kept = *slash;
        if (kept && kept != '/')
            continue;
        *slash = '\0';
        if (mkdir(copy, 0700) < 0 && errno != EEXIST)
            return pv_error_errno(err, errno, "%s", copy);
        *slash = kept;
        if (!kept)
            return 0;
    }
}

int pv_library_folder(char **out, struct pv_error **err)
{
    const char *home = getenv("PEARVISOR_HOME");
    const char *data = getenv("XDG_DATA_HOME");
    const char *user = getenv("HOME");
    int len;
    if (home && *home)
        len = asprintf(out, "%s/vms", home);
    else if (data && *data)
        len = asprintf(out, "%s/pearvisor/vms", data);
    else if (user && *user)
        len = asprintf(out, "%s/.local/share/pearvisor/vms", user);
    else
        return pv_error_set(err, ENOENT, "HOME is not set; set PEARVISOR_HOME");
    if (len < 0) {
        *out = NULL;
        return pv_error_set(err, ENOMEM, "out of memory");
    }
    int ret = make_folders(*out, err);
    if (ret < 0) {
        free(*out);
        *out = NULL;
    }
    return ret;
}

int pv_library_check_name(const char *name, struct pv_error **err)
{
    size_t len = strlen(name);
    bool good = len && len <= NAME_MAX_LEN && isalnum((unsigned char)*name);
    for (size_t i = 0; good && i < len; i++)
        good = isalnum((unsigned char)name[i]) || strchr("._-", name[i]);
    return good ? 0
                : pv_error_set(err, EINVAL,
                               "'%s': a name has letters, digits, '.', '_' and '-', begins with a "
                               "letter or digit, and is at most %u long",
                               name, NAME_MAX_LEN);
}

int pv_library_find(const char *name, char **folder, struct pv_error **err)
{
    PV_CLEANUP_FREE char *all = NULL;
    PV_CLEANUP_FREE char *file = NULL;
    int ret = pv_library_check_name(name, err);
    if (ret >= 0)
        ret = pv_library_folder(&all, err);
    if (ret < 0)
        return ret;
    if (asprintf(&file, "%s/%s/" PV_LIBRARY_FILE, all, name) < 0) {
        file = NULL;
        return pv_error_set(err, ENOMEM, "out of memory");
    }
    if (access(file, F_OK) < 0)
        return pv_error_set(err, ENOENT,
                            "there is no VM '%s'; 'pearvisor list' shows those there are", name);
    *strrchr(file, '/') = '\0';
    *folder = PV_STEAL(file);
    return 0;
}

int pv_library_enter(const char *name, struct pv_error **err)
{
    PV_CLEANUP_FREE char *folder = NULL;
    int ret = pv_library_find(name, &folder, err);
    if (ret < 0)
        return ret;
    if (chdir(folder) < 0)
        return pv_error_errno(err, errno, "%s", folder);
    mkdir(PV_LIBRARY_RUN, 0700);
    mkdir(PV_LIBRARY_LOGS, 0700);
    return 0;
}

/* ---- State ---- */

/* A file of a VM's; -1 and errno when it cannot be opened. */
static int open_in(const char *folder, const char *name, int flags)
{
    PV_CLEANUP_FREE char *path = NULL;
    if (asprintf(&path, "%s/%s", folder, name) < 0) {
        path = NULL;
        errno = ENOMEM;
        return -1;
    }
    return open(path, flags | O_CLOEXEC, 0600);
}

static char *read_last(const char *folder)
{
    char text[1024];
    PV_CLEANUP_FD int fd = open_in(folder, PV_LIBRARY_LAST, O_RDONLY);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof(text));
    return len < 0 ? NULL : strndup(text, (size_t)len);
}

void pv_library_write_last(const char *text)
{
    PV_CLEANUP_FILE FILE *file = fopen(PV_LIBRARY_LAST ".new", "we");
    if (!file || fputs(text, file) < 0 || fflush(file) < 0 ||
        rename(PV_LIBRARY_LAST ".new", PV_LIBRARY_LAST) < 0)
        unlink(PV_LIBRARY_LAST ".new");
}

bool pv_library_is_alive(const char *folder)
{
    PV_CLEANUP_FD int fd = open_in(folder, PV_LIBRARY_LOCK, O_RDWR);
    return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

bool pv_library_was_told_to_end(const char *folder)
{
    PV_CLEANUP_FREE char *last = read_last(folder);
    return last && !strcmp(last, "ended");
}

bool pv_library_was_suspended(const char *folder)
{
    PV_CLEANUP_FREE char *last = read_last(folder);
    return last && !strcmp(last, "suspended");
}

int pv_library_lock(const char *folder, const char *name, int *fd, struct pv_error **err)
{
    PV_CLEANUP_FD int lock = open_in(folder, PV_LIBRARY_LOCK, O_RDWR | O_CREAT);
    if (lock < 0)
        return pv_error_errno(err, errno, "VM '%s': %s", name, PV_LIBRARY_LOCK);
    if (flock(lock, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK
                   ? pv_error_set(err, EBUSY, "VM '%s' is running; 'pearvisor stop %s' ends it",
                                  name, name)
                   : pv_error_errno(err, errno, "VM '%s': %s", name, PV_LIBRARY_LOCK);
    *fd = PV_STEAL_FD(lock);
    return 0;
}

/*
 * A socket's address holds a short path. Where the VM's is too long, Linux has another name for
 * what an open folder holds; *holder is that folder's descriptor then, else -1.
 */
static char *socket_path(const char *folder, const char *name, int *holder)
{
    char *path = NULL;
    int len = asprintf(&path, "%s/%s", folder, name);
    if (len > (int)PV_UNIX_PATH_MAX && (*holder = open(folder, O_RDONLY | O_CLOEXEC)) >= 0) {
        free(path);
        len = asprintf(&path, "/proc/self/fd/%d/%s", *holder, name);
    }
    return len < 0 ? NULL : path;
}

static int ask(const char *folder, const char *verb, json_t *arguments, unsigned seconds,
               json_t **result, struct pv_error **err)
{
    PV_CLEANUP_FD int holder = -1;
    PV_CLEANUP_FREE char *path = socket_path(folder, PV_LIBRARY_CONTROL, &holder);
    return path ? pv_control_ask(path, verb, arguments, seconds, result, err)
                : pv_error_set(err, ENOMEM, "out of memory");
}

int pv_library_ask(const char *folder, const char *verb, json_t *arguments, json_t **result,
                   struct pv_error **err)
{
    return ask(folder, verb, arguments, ASK_SECONDS, result, err);
}

static enum pv_vm_state state_of_living(const char *folder)
{
    json_t *status = NULL;
    enum pv_vm_state state = PV_VM_STARTING;
    if (ask(folder, "status", NULL, STATE_SECONDS, &status, NULL) < 0)
        return state;
    const char *name = json_string_value(json_object_get(status, "state"));
    if (name)
        pv_vm_state_parse(name, &state);
    json_decref(status);
    return pv_vm_state_lives(state) ? state : PV_VM_RUNNING;
}

enum pv_vm_state pv_library_state(const char *folder, char **why)
{
    static const char failed[] = "failed: ";
    const char *reason = NULL;
    if (pv_library_is_alive(folder))
        return state_of_living(folder);
    PV_CLEANUP_FREE char *last = read_last(folder);
    if (!last)
        return PV_VM_CREATED;
    if (!strcmp(last, "stopped") || !strcmp(last, "ended"))
        return PV_VM_STOPPED;
    if (!strcmp(last, "suspended"))
        return PV_VM_SUSPENDED;
    if (!strncmp(last, failed, strlen(failed)))
        reason = last + strlen(failed);
    else
        reason = "its process ended without a word";
    if (why)
        *why = strdup(reason);
    return PV_VM_FAILED;
}

bool pv_library_wait_for_end(const char *folder, unsigned seconds)
{
    for (unsigned i = 0; i < seconds * 20; i++) {
        if (!pv_library_is_alive(folder))
            return true;
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    return !pv_library_is_alive(folder);
}

/* What an earlier one left behind is of no use to anybody while the VM runs. */
int pv_library_suspend(const char *name, struct pv_error **err)
{
    PV_CLEANUP_FREE char *here = getcwd(NULL, 0);
    PV_CLEANUP_FREE char *path = NULL;
    if (!here || asprintf(&path, "%s/" PV_LIBRARY_SUSPENDED, here) < 0) {
        path = NULL;
        return pv_error_set(err, ENOMEM, "out of memory");
    }
    int ret = pv_vm_state_check(name, pv_library_state(".", NULL), PV_VM_SUSPEND, err);
    if (ret < 0)
        return ret;
    if (access(path, F_OK) == 0 && (ret = pv_snapshot_remove(path, err)) < 0)
        return ret;
    json_t *arguments = json_pack("{s:s}", "folder", path);
    ret = arguments ? ask(".", "suspend", arguments, SUSPEND_SECONDS, NULL, err)
                    : pv_error_set(err, EINVAL, "'%s' is not UTF-8", path);
    json_decref(arguments);
    if (ret >= 0 && !pv_library_wait_for_end(".", END_SECONDS))
        ret = pv_error_set(err, ETIMEDOUT, "VM '%s' is saved, but its process does not end", name);
    return ret;
}

int pv_library_agent(const char *name, struct pv_error **err)
{
    PV_CLEANUP_FREE char *folder = NULL;
    PV_CLEANUP_FD int holder = -1;
    int ret = pv_library_find(name, &folder, err);
    if (ret < 0)
        return ret;
    if (!pv_library_is_alive(folder))
        return pv_error_set(err, ESRCH, "VM '%s' is not running", name);
    PV_CLEANUP_FREE char *path = socket_path(folder, PV_LIBRARY_VSOCK, &holder);
    if (!path)
        return pv_error_set(err, ENOMEM, "out of memory");
    ret = pv_agent_connect(path, PV_AGENT_PORT, err);
    return ret < 0 ? pv_error_prefix(err, "VM '%s'", name) : ret;
}
