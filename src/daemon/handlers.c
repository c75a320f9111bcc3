/* SPDX-License-Identifier: MIT */
/* What the daemon does for each operation of spec/api.json. */
#include "api_handlers.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/util.h"
#include "daemon/api.h"
#include "daemon/command.h"
#include "daemon/daemon.h"
#include "daemon/watch.h"
#include "vm/library.h"
#include "vm/vmfile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* As many words as a request's settings can make, and more. */
#define MAX_WORDS     (64 * 32 + 16)
#define DEFAULT_LIMIT (64 * 1024)

static const char *text_of(json_t *values, const char *name)
{
    return json_string_value(json_object_get(values, name));
}

static int out_of_memory(struct pv_error **err)
{
    return pv_error_set(err, ENOMEM, "out of memory");
}

static int find_vm(json_t *values, char **folder, struct pv_error **err)
{
    return pv_library_find(text_of(values, "name"), folder, err);
}

/* Finds it, in a state in which `event` can happen. */
static int find_for(json_t *values, enum pv_vm_event event, char **folder, struct pv_error **err)
{
    int ret = find_vm(values, folder, err);
    return ret < 0 ? ret
                   : pv_vm_state_check(text_of(values, "name"), pv_library_state(*folder, NULL),
                                       event, err);
}

/* ---- Commands ---- */

/* What a command is told; words that were made are its own. */
struct words {
    const char *list[MAX_WORDS + 1];
    char *owned[MAX_WORDS];
    size_t count, owned_count;
    bool failed;
};

static void add_word(struct words *words, const char *word)
{
    if (words->count < MAX_WORDS && word)
        words->list[words->count++] = word;
    else
        words->failed = true;
}

/* --KEY=VALUE */
static void add_option(struct words *words, const char *key, const char *value)
{
    char *word;
    if (asprintf(&word, "--%s=%s", key, value) < 0 || words->owned_count == MAX_WORDS) {
        words->failed = true;
        return;
    }
    words->owned[words->owned_count++] = word;
    add_word(words, word);
}

static int run(struct pv_daemon *daemon, struct words *words, struct pv_error **err)
{
    int ret = words->failed ? out_of_memory(err)
                            : pv_command_run(pv_daemon_program(daemon), words->list, err);
    for (size_t i = 0; i < words->owned_count; i++)
        free(words->owned[i]);
    free(words);
    pv_watcher_look(pv_daemon_watcher(daemon));
    return ret;
}

static struct words *begin(const char *command, struct pv_error **err)
{
    struct words *words = calloc(1, sizeof(*words));
    if (!words) {
        out_of_memory(err);
        return NULL;
    }
    add_word(words, "pearvisor");
    add_word(words, command);
    return words;
}

static int run_simple(struct pv_daemon *daemon, const char *command, const char *first,
                      const char *second, struct pv_error **err)
{
    struct words *words = begin(command, err);
    if (!words)
        return -ENOMEM;
    add_word(words, first);
    if (second)
        add_word(words, second);
    return run(daemon, words, err);
}

/* ---- What there is ---- */

int pv_api_version(struct pv_daemon *daemon, json_t *values, struct pv_api_reply *reply,
                   struct pv_error **err)
{
    reply->json = json_pack("{s:s}", "version", PV_VERSION);
    return 0;
}

int pv_api_document(struct pv_daemon *daemon, json_t *values, struct pv_api_reply *reply,
                    struct pv_error **err)
{
    reply->json = json_loads(pv_api_json, 0, NULL);
    return reply->json ? 0 : out_of_memory(err);
}

static json_t *describe(const char *name, const char *folder)
{
    PV_CLEANUP_FREE char *why = NULL;
    const enum pv_vm_state state = pv_library_state(folder, &why);
    json_t *problem = why ? json_string(why) : NULL;
    return json_pack("{s:s, s:s, s:s, s:o*}", "name", name, "state", pv_vm_state_name(state),
                     "restart", pv_restart_name(pv_restart_of(folder)), "problem", problem);
}

static void add_row(void *opaque, const char *name, const char *folder)
{
    json_array_append_new(opaque, describe(name, folder));
}

int pv_api_list(struct pv_daemon *daemon, json_t *values, struct pv_api_reply *reply,
                struct pv_error **err)
{
    json_t *rows = json_array();
    int ret = pv_watch_each(add_row, rows, err);
    reply->json = json_pack("{s:o}", "vms", rows);
    if (ret < 0)
        json_decref(PV_STEAL(reply->json));
    return ret;
}

int pv_api_get(struct pv_daemon *daemon, json_t *values, struct pv_api_reply *reply,
               struct pv_error **err)
{
    PV_CLEANUP_FREE char *folder = NULL;
    json_t *status = NULL;
    int ret = find_vm(values, &folder, err);
    if (ret < 0)
        return ret;
    reply->json = describe(text_of(values, "name"), folder);
    if (pv_library_is_alive(folder) && pv_library_ask(folder, "status", NULL, &status, NULL) >= 0)
        json_object_set_new(reply->json, "status", status);
    return reply->json ? 0 : out_of_memory(err);
}

static int add_setting(void *opaque, const char *key, char *value, struct pv_error **err)
{
    json_t *list = json_object_get(opaque, key);
    if (!list)
        json_object_set_new(opaque, key, list = json_array());
    json_array_append_new(list, json_string(value));
    return 0;
}

int pv_api_config(struct pv_daemon *daemon, json_t *values, struct pv_api_reply *reply,
                  struct pv_error **err)
{
    PV_CLEANUP_FREE char *folder = NULL;
    PV_CLEANUP_FREE char *path = NULL;
    struct pv_vm_file *file = NULL;
    int ret = find_vm(values, &folder, err);
    if (ret < 0)
        return ret;
    if (asprintf(&path, "%s/" PV_LIBRARY_FILE, folder) < 0) {
        path = NULL;
        return out_of_memory(err);
    }
    json_t *settings = json_object();
    ret = pv_vm_file_open(&file, path, err);
    if (ret >= 0)
        ret = pv_vm_file_each(file, add_setting, settings, err);
    pv_vm_file_close(file);
    if (ret < 0)
        json_decref(settings);
    else
        reply->json = settings;
    return ret;
}

/* ---- The library ---- */

int pv_api_create(struct pv_daemon *daemon, json_t *values, struct pv_api_reply *reply,
                  struct pv_error **err)
{
    PV_CLEANUP_FREE char *folder = NULL;
    const char *key;
    json_t *setting;
    if (pv_library_find(text_of(values, "name"), &folder, NULL) >= 0)
        return pv_error_set(err, EEXIST, "there is a VM '%s' already", text_of(values, "name"));
    struct words *words = begin("create", err);
    if (!words)
        return -ENOMEM;
    add_word(words, text_of(values, "name"));
    if (text_of(values, "image"))
        add_option(words, "image", text_of(values, "image"));
    if (text_of(values, "disk-size"))
        add_option(words, "disk-size", text_of(values, "disk-size"));
    json_object_foreach(json_object_get(values, "config"), key, setting)
    {
        size_t i;
        json_t *value;
        if (json_is_string(setting))
            add_option(words, key, json_string_value(setting));
        json_array_foreach(setting, i, value) add_option(words, key, json_string_value(value));
    }
    int ret = run(daemon, words, err);
    return ret < 0 ? ret : pv_api_get(daemon, values, reply, err);
}

int pv_api_delete(struct pv_daemon *daemon, json_t *values, struct pv_api_reply *reply,
                  struct pv_error **err)
{
    PV_CLEANUP_FREE char *folder = NULL;
    int ret = find_for(values, PV_VM_DELETE, &folder, err);
    return ret < 0 ? ret : run_simple(daemon, "delete", text_of(values, "name"), NULL, err);
}

int pv_api_clone(struct pv_daemon *daemon, json_t *values, struct pv_api_reply *reply,
                 struct pv_error **err)
{
    PV_CLEANUP_FREE char *folder = NULL;
    PV_CLEANUP_FREE char *other = NULL;
    int ret = find_for(values, PV_VM_DELETE, &folder, err);
    if (ret >= 0 && pv_library_find(text_of(values, "to"), &other, NULL) >= 0)
        return pv_error_set(err, EEXIST, "there is a VM '%s' already", text_of(values, "to"));
    return ret < 0
               ? ret
               : run_simple(daemon, "clone", text_of(values, "name"), text_of(values, "to"), err);
}

int pv_api_configure(struct pv_daemon *daemon, json_t *values, struct pv_api_reply *reply,
                     struct pv_error **err)
{
    PV_CLEANUP_FREE char *folder = NULL;
    int ret = find_vm(values, &folder, err);
    struct words *words = ret < 0 ? NULL : begin("config", err);
    json_t *given = json_object_get(values, "values"), *value;
    size_t i;
    if (!words)
        return ret < 0 ? ret : -ENOMEM;
    add_word(words, "--"); /* a value may look like an option */
    add_word(words, text_of(values, "name"));
    add_word(words, "set");
    add_word(words, text_of(values, "key"));
    if (json_is_string(given))
        add_word(words, json_string_value(given));
    json_array_foreach(given, i, value) add_word(words, json_string_value(value));
    return run(daemon, words, err);
}

/* ---- Lives ---- */

int pv_api_start(struct pv_daemon *daemon, json_t *values, struct pv_api_reply *reply,
                 struct pv_error **err)
{
    PV_CLEANUP_FREE char *folder = NULL;
    int ret = find_for(values, PV_VM_START, &folder, err);
    return ret < 0 ? ret : run_simple(daemon, "start", text_of(values, "name"), NULL, err);
}

int pv_api_suspend(struct pv_daemon *daemon, json_t *values, struct pv_api_reply *reply,
                   struct pv_error **err)
{
    PV_CLEANUP_FREE char *folder = NULL;
    int ret = find_for(values, PV_VM_SUSPEND, &folder, err);
    return ret < 0 ? ret : run_simple(daemon, "suspend", text_of(values, "name"), NULL, err);
}

/* Asks the VM with these of the request's values, as text. */
static int ask(struct pv_daemon *daemon, json_t *values, enum pv_vm_event event, const char *verb,
               const char *const *arguments, struct pv_api_reply *reply, struct pv_error **err)
{
    PV_CLEANUP_FREE char *folder = NULL;
    int ret = find_for(values, event, &folder, err);
    if (ret < 0)
        return ret;
    json_t *told = json_object();
    for (size_t i = 0; arguments && arguments[i]; i++) {
        json_t *value = json_object_get(values, arguments[i]);
        if (json_is_boolean(value))
            json_object_set_new(told, arguments[i],
                                json_string(json_is_true(value) ? "yes" : "no"));
        else if (value)
            json_object_set(told, arguments[i], value);
    }
    ret = pv_library_ask(folder, verb, told, &reply->json, err);
    json_decref(told);
    pv_watcher_look(pv_daemon_watcher(daemon));
    return ret;
}

int pv_api_stop(struct pv_daemon *daemon, json_t *values, struct pv_api_reply *reply,
                struct pv_error **err)
{
    PV_CLEANUP_FREE char *folder = NULL;
    if (!json_is_true(json_object_get(values, "now")))
        return ask(daemon, values, PV_VM_STOP, "power-button", NULL, reply, err);
    int ret = find_for(values, PV_VM_KILL, &folder, err);
    return ret < 0 ? ret : run_simple(daemon, "stop", "--now", text_of(values, "name"), err);
}

int pv_api_power_button(struct pv_daemon *daemon, json_t *values, struct pv_api_reply *reply,
                        struct pv_error **err)
{
    return ask(daemon, values, PV_VM_STOP, "power-button", NULL, reply, err);
}

int pv_api_pause(struct pv_daemon *daemon, json_t *values, struct pv_api_reply *reply,
                 struct pv_error **err)
{
    return ask(daemon, values, PV_VM_PAUSE, "pause", NULL, reply, err);
}

int pv_api_resume(struct pv_daemon *daemon, json_t *values, struct pv_api_reply *reply,
                  struct pv_error **err)
{
    return ask(daemon, values, PV_VM_RESUME, "resume", NULL, reply, err);
}

int pv_api_reset(struct pv_daemon *daemon, json_t *values, struct pv_api_reply *reply,
                 struct pv_error **err)
{
    return ask(daemon, values, PV_VM_RESET, "reset", NULL, reply, err);
}

int pv_api_balloon(struct pv_daemon *daemon, json_t *values, struct pv_api_reply *reply,
                   struct pv_error **err)
{
    static const char *const arguments[] = {"size", NULL};
    return ask(daemon, values, PV_VM_CHANGE, "balloon", arguments, reply, err);
}

int pv_api_devices(struct pv_daemon *daemon, json_t *values, struct pv_api_reply *reply,
                   struct pv_error **err)
{
    return ask(daemon, values, PV_VM_CHANGE, "devices", NULL, reply, err);
}

int pv_api_attach(struct pv_daemon *daemon, json_t *values, struct pv_api_reply *reply,
                  struct pv_error **err)
{
    static const char *const arguments[] = {"disk", "net", "id", "read-only", "forward", NULL};
    return ask(daemon, values, PV_VM_CHANGE, "attach", arguments, reply, err);
}

int pv_api_detach(struct pv_daemon *daemon, json_t *values, struct pv_api_reply *reply,
                  struct pv_error **err)
{
    static const char *const arguments[] = {"id", "force", NULL};
    return ask(daemon, values, PV_VM_CHANGE, "detach", arguments, reply, err);
}

/* ---- What was said, and what happens ---- */

int pv_api_logs(struct pv_daemon *daemon, json_t *values, struct pv_api_reply *reply,
                struct pv_error **err)
{
    PV_CLEANUP_FREE char *folder = NULL;
    PV_CLEANUP_FREE char *path = NULL;
    const char *which = text_of(values, "which");
    const bool of_process = which && !strcmp(which, "vm");
    json_t *limit = json_object_get(values, "limit");
    const off_t most = limit ? (off_t)json_integer_value(limit) : DEFAULT_LIMIT;
    struct stat st;
    int ret = find_vm(values, &folder, err);
    if (ret < 0)
        return ret;
    if (asprintf(&path, "%s/%s", folder, of_process ? PV_LIBRARY_LOG : PV_LIBRARY_OUTPUT) < 0) {
        path = NULL;
        return out_of_memory(err);
    }
    reply->type = "text/plain";
    reply->text = malloc((size_t)most);
    if (!reply->text)
        return out_of_memory(err);
    PV_CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return 0; /* never started: nothing was said */
    ssize_t n = pread(fd, reply->text, (size_t)most, PV_MAX(st.st_size - most, (off_t)0));
    reply->size = n > 0 ? (size_t)n : 0;
    return 0;
}

int pv_api_events(struct pv_daemon *daemon, json_t *values, struct pv_api_reply *reply,
                  struct pv_error **err)
{
    json_t *since = json_object_get(values, "since");
    reply->is_stream = true;
    reply->since = since ? json_integer_value(since) : pv_watcher_last(pv_daemon_watcher(daemon));
    return 0;
}
