/* SPDX-License-Identifier: MIT */
#include "cli/vms.h"

#include "base/error.h"
#include "base/util.h"
#include "cli/ask.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define NAME_MAX_LEN 63u

const char *cli_vm_state_name(enum cli_vm_state state)
{
    static const char *const names[] = {
        [CLI_VM_CREATED] = "created", [CLI_VM_STARTING] = "starting", [CLI_VM_RUNNING] = "running",
        [CLI_VM_PAUSED] = "paused",   [CLI_VM_STOPPED] = "stopped",   [CLI_VM_FAILED] = "failed",
    };
    return names[state];
}

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

int cli_vms_folder(char **out, struct pv_error **err)
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

int cli_vm_check_name(const char *name, struct pv_error **err)
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

int cli_vm_enter(const char *name, struct pv_error **err)
{
    PV_CLEANUP_FREE char *folder = NULL;
    int ret = cli_vm_check_name(name, err);
    if (ret >= 0)
        ret = cli_vms_folder(&folder, err);
    if (ret < 0)
        return ret;
    if (chdir(folder) < 0 || (chdir(name) < 0 && errno != ENOENT))
        return pv_error_errno(err, errno, "%s/%s", folder, name);
    if (access(CLI_VM_FILE, F_OK) < 0)
        return pv_error_set(err, ENOENT,
                            "there is no VM '%s'; 'pearvisor list' shows those there are", name);
    mkdir(CLI_VM_RUN, 0700);
    mkdir(CLI_VM_LOGS, 0700);
    return 0;
}

/* ---- State ---- */

static char *read_last(void)
{
    char text[1024];
    PV_CLEANUP_FILE FILE *file = fopen(CLI_VM_LAST, "re");
    size_t len = file ? fread(text, 1, sizeof(text), file) : 0;
    return file ? strndup(text, len) : NULL;
}

void cli_vm_write_last(const char *text)
{
    PV_CLEANUP_FILE FILE *file = fopen(CLI_VM_LAST ".new", "we");
    if (!file || fputs(text, file) < 0 || fflush(file) < 0 ||
        rename(CLI_VM_LAST ".new", CLI_VM_LAST) < 0)
        unlink(CLI_VM_LAST ".new");
}

bool cli_vm_is_alive(void)
{
    PV_CLEANUP_FD int fd = open(CLI_VM_LOCK, O_RDWR | O_CLOEXEC);
    return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

int cli_vm_lock(const char *name, int *fd, struct pv_error **err)
{
    PV_CLEANUP_FD int lock = open(CLI_VM_LOCK, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0)
        return pv_error_errno(err, errno, "VM '%s': %s", name, CLI_VM_LOCK);
    if (flock(lock, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK
                   ? pv_error_set(err, EBUSY, "VM '%s' is running; 'pearvisor stop %s' ends it",
                                  name, name)
                   : pv_error_errno(err, errno, "VM '%s': %s", name, CLI_VM_LOCK);
    *fd = PV_STEAL_FD(lock);
    return 0;
}

static enum cli_vm_state state_of_living(void)
{
    json_t *status = NULL;
    if (cli_ask(CLI_VM_CONTROL, "status", NULL, &status, NULL) < 0)
        return CLI_VM_STARTING;
    const char *state = json_string_value(json_object_get(status, "state"));
    bool paused = state && !strcmp(state, "paused");
    json_decref(status);
    return paused ? CLI_VM_PAUSED : CLI_VM_RUNNING;
}

enum cli_vm_state cli_vm_state(char **why)
{
    static const char failed[] = "failed: ";
    PV_CLEANUP_FREE char *last = read_last();
    const char *reason = NULL;
    if (cli_vm_is_alive())
        return state_of_living();
    if (!last)
        return CLI_VM_CREATED;
    if (!strcmp(last, "stopped"))
        return CLI_VM_STOPPED;
    if (!strncmp(last, failed, strlen(failed)))
        reason = last + strlen(failed);
    else
        reason = "its process ended without a word";
    if (why)
        *why = strdup(reason);
    return CLI_VM_FAILED;
}
