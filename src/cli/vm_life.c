/* SPDX-License-Identifier: MIT */
/*
 * start, stop, suspend, pause, resume, reset, list: VMs of the library as they live. `start` leaves
 * a process behind that is the VM; everybody else finds it by its lock and asks it on its control
 * socket.
 */
#include "base/error.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/util.h"
#include "cli/cli.h"
#include "cli/run.h"
#include "device/vsock.h"
#include "vm/ask.h"
#include "vm/firmware.h"
#include "vm/library.h"
#include "vm/snapshot_file.h"
#include "vm/vmfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define LOG_MAX      ((off_t)1 << 20)
#define OUTPUT_MAX   (16 * PV_MIB)
#define STOP_SECONDS 60

/* ---- The process that is a VM ---- */

struct life {
    int told;            /* where `start` waits for the first word; -1 once it has been said */
    const char *restore; /* the snapshot to go on from, or NULL */
    bool resumes;        /* it is where the VM was suspended, which stays so unless it is ready */
};

static void tell(struct life *life, const char *text)
{
    if (life->told < 0)
        return;
    ssize_t ignored = write(life->told, text, strlen(text));
    (void)ignored;
    close(life->told);
    life->told = -1;
}

/*
 * The order matters: whoever goes on from where a VM was suspended changes its disks, and so
 * nobody may do that again, whatever becomes of this process.
 */
static void is_ready(void *opaque)
{
    struct life *life = opaque;
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    life->resumes = false;
    pv_library_write_last("running");
    if (access(PV_LIBRARY_SUSPENDED, F_OK) == 0 &&
        pv_snapshot_remove(PV_LIBRARY_SUSPENDED, &err) < 0)
        pv_warn(PV_LOG_VM, "%s", pv_error_message(err));
    tell(life, "ready");
}

static int apply(void *opaque, const char *key, char *value, struct pv_error **err)
{
    return cli_run_set(opaque, key, value, err);
}

/* Where the confined process may make snapshots. */
static int grant_snapshots(struct pv_config *config, struct pv_error **err)
{
    if (mkdir(PV_LIBRARY_SNAPSHOTS, 0700) < 0 && errno != EEXIST)
        return pv_error_errno(err, errno, "'%s'", PV_LIBRARY_SNAPSHOTS);
    if (config->grant_count == PV_CONFIG_MAX_GRANTS)
        return pv_error_set(err, EINVAL, "grant: at most %u", PV_CONFIG_MAX_GRANTS - 1);
    config->grants[config->grant_count++] = (struct pv_config_grant){.path = PV_LIBRARY_SNAPSHOTS};
    return 0;
}

static int live(struct life *life, enum pv_vm_end *end, struct pv_error **err)
{
    struct cli_run run = {0};
    struct pv_vm_file *file = NULL;
    cli_run_init(&run);
    run.config.confine = true;
    int ret = pv_vm_file_open(&file, PV_LIBRARY_FILE, err);
    if (ret >= 0)
        ret = pv_vm_file_each(file, apply, &run, err);
    if (ret >= 0)
        ret = cli_run_complete(&run, err);
    if (ret >= 0) {
        run.config.console = PV_CONSOLE_UNIX;
        run.config.console_path = PV_LIBRARY_CONSOLE;
        run.config.console_log = PV_LIBRARY_OUTPUT;
        run.config.console_log_max = OUTPUT_MAX;
        run.config.control_path = PV_LIBRARY_CONTROL;
        if (!run.config.vars && pv_firmware_wanted(&run.config))
            run.config.vars = PV_LIBRARY_VARS;
        if (!run.config.vsock_cid) { /* the agent's way */
            run.config.vsock_cid = PV_VSOCK_MIN_CID;
            run.config.vsock_directory = PV_LIBRARY_RUN;
        }
        run.config.restore = life->restore;
        ret = grant_snapshots(&run.config, err);
    }
    if (ret >= 0)
        ret = cli_run_vm(&run, is_ready, life, end, err);
    cli_run_finish(&run);
    pv_vm_file_close(file);
    return ret;
}

static int open_log(struct pv_error **err)
{
    struct stat st;
    if (stat(PV_LIBRARY_LOG, &st) == 0 && st.st_size > LOG_MAX)
        rename(PV_LIBRARY_LOG, PV_LIBRARY_LOG ".1");
    PV_CLEANUP_FD int log = open(PV_LIBRARY_LOG, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    PV_CLEANUP_FD int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (log < 0 || nothing < 0 || dup2(nothing, STDIN_FILENO) < 0 || dup2(log, STDOUT_FILENO) < 0 ||
        dup2(log, STDERR_FILENO) < 0)
        return pv_error_errno(err, errno, "%s", PV_LIBRARY_LOG);
    return 0;
}

static const char *last_word(enum pv_vm_end end)
{
    switch (end) {
    case PV_VM_POWERED_OFF: return "stopped";
    case PV_VM_SAVED: return "suspended";
    default: return "ended";
    }
}

static int be_vm(struct life life)
{
    enum pv_vm_end end = PV_VM_POWERED_OFF;
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    setsid();
    int ret = open_log(&err);
    if (ret >= 0)
        ret = live(&life, &end, &err);
    if (ret >= 0) {
        pv_library_write_last(last_word(end));
        return CLI_OK;
    }
    PV_CLEANUP_FREE char *last = NULL;
    if (asprintf(&last, "failed: %s", pv_error_message(err)) < 0)
        last = NULL;
    if (!life.resumes)
        pv_library_write_last(last ? last : "failed");
    tell(&life, pv_error_message(err));
    return cli_fail(&err);
}

/* ---- start ---- */

/* What the new process says first: "ready", or what is wrong. */
static int wait_for_word(const char *name, int from, struct pv_error **err)
{
    char word[1024];
    size_t len = 0;
    ssize_t n;
    while (len < sizeof(word) - 1 &&
           ((n = read(from, word + len, sizeof(word) - 1 - len)) > 0 || (n < 0 && errno == EINTR)))
        len += n > 0 ? (size_t)n : 0;
    word[len] = '\0';
    if (!strcmp(word, "ready"))
        return 0;
    return pv_error_set(err, EIO, "VM '%s': %s", name,
                        len ? word
                            : "its process ended without a word; 'pearvisor logs --vm' may "
                              "say more");
}

static int start_vm(const char *name, const char *restore, bool resume, struct pv_error **err)
{
    PV_CLEANUP_FD int lock = -1;
    int pipes[2];
    int ret = pv_library_enter(name, err);
    if (ret >= 0)
        ret = pv_vm_state_check(name, pv_library_state(".", NULL), PV_VM_START, err);
    if (ret >= 0)
        ret = pv_library_lock(".", name, &lock, err);
    if (ret < 0)
        return ret;
    /* Nobody but who has the lock changes that. */
    resume = resume && pv_library_was_suspended(".");
    if (pipe(pipes) < 0)
        return pv_error_errno(err, errno, "VM '%s'", name);
    fcntl(pipes[0], F_SETFD, FD_CLOEXEC);
    fcntl(pipes[1], F_SETFD, FD_CLOEXEC);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        close(pipes[0]);
        /* The lock is the open file's, which this process has too, and keeps. */
        _exit(be_vm((struct life){.told = pipes[1],
                                  .restore = resume ? PV_LIBRARY_SUSPENDED : restore,
                                  .resumes = resume}));
    }
    close(pipes[1]);
    ret = child < 0 ? pv_error_errno(err, errno, "VM '%s'", name)
                    : wait_for_word(name, pipes[0], err);
    close(pipes[0]);
    /* It has the lock until it is gone, and would be "starting" for who looks before. */
    if (ret < 0 && child > 0)
        waitpid(child, NULL, 0);
    return ret;
}

int cli_start_vm(const char *name, const char *restore, struct pv_error **err)
{
    return start_vm(name, restore, !restore, err);
}

int cli_boot_vm(const char *name, struct pv_error **err)
{
    return start_vm(name, NULL, false, err);
}

/* ---- stop ---- */

static int stop_vm(const char *name, bool now, unsigned seconds, struct pv_error **err)
{
    int ret = pv_library_enter(name, err);
    if (ret < 0)
        return ret;
    ret = pv_vm_state_check(name, pv_library_state(".", NULL), now ? PV_VM_KILL : PV_VM_STOP, err);
    if (ret < 0)
        return ret;
    ret = pv_library_ask(".", now ? "kill" : "power-button", NULL, NULL, err);
    /* It may have ended just now, which is what was wanted. */
    if (ret < 0 && !pv_library_wait_for_end(".", 1))
        return ret;
    pv_error_free(err);
    if (!pv_library_wait_for_end(".", seconds))
        return pv_error_set(err, ETIMEDOUT,
                            "VM '%s' still runs after %u s; 'pearvisor stop --now %s' ends it",
                            name, seconds, name);
    return 0;
}

/* ---- list ---- */

static int count_memory(void *opaque, const char *key, char *value, struct pv_error **err)
{
    json_t *row = opaque;
    if (!strcmp(key, "cpus") || !strcmp(key, "memory"))
        json_object_set_new(row, key, json_string(value));
    return 0;
}

static json_t *describe(const char *name)
{
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    PV_CLEANUP_FREE char *why = NULL;
    struct pv_vm_file *file = NULL;
    if (pv_library_enter(name, NULL) < 0)
        return NULL;
    json_t *row =
        json_pack("{s:s, s:s, s:s, s:s}", "name", name, "state",
                  pv_vm_state_name(pv_library_state(".", &why)), "cpus", "1", "memory", "1G");
    if (pv_vm_file_open(&file, PV_LIBRARY_FILE, &err) < 0 ||
        pv_vm_file_each(file, count_memory, row, &err) < 0)
        json_object_set_new(row, "problem", json_string(pv_error_message(err)));
    else if (why)
        json_object_set_new(row, "problem", json_string(why));
    pv_vm_file_close(file);
    return row;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static const char *cell(json_t *row, const char *key)
{
    const char *text = json_string_value(json_object_get(row, key));
    return text ? text : "";
}

static void print_table(json_t *rows)
{
    size_t i;
    json_t *row;
    printf("%-20s %-9s %4s %8s\n", "NAME", "STATE", "CPUS", "MEMORY");
    json_array_foreach(rows, i, row)
    {
        printf("%-20s %-9s %4s %8s", cell(row, "name"), cell(row, "state"), cell(row, "cpus"),
               cell(row, "memory"));
        printf("%s%s\n", json_object_get(row, "problem") ? "  " : "", cell(row, "problem"));
    }
}

static int list(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'}, CLI_HELP_OPTION, {0}};
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    PV_CLEANUP_FREE char *folder = NULL;
    struct dirent **entries;
    bool as_json = false;
    int option;
    while ((option = cli_next_option(command, argc, argv, options)) != -1) {
        if (option != 'j')
            return option == CLI_OPTION_HELP ? CLI_OK : CLI_USAGE;
        as_json = true;
    }
    if (optind < argc)
        return cli_usage(command, "unexpected argument '%s'", argv[optind]);
    if (pv_library_folder(&folder, &err) < 0)
        return cli_fail(&err);
    int count = scandir(folder, &entries, NULL, by_name);
    json_t *rows = json_array();
    for (int i = 0; i < count; i++) {
        json_t *row = describe(entries[i]->d_name);
        if (row)
            json_array_append_new(rows, row);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    if (as_json) {
        json_dumpf(rows, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        print_table(rows);
    }
    json_decref(rows);
    return CLI_OK;
}

const struct cli_command cli_list = {
    .name = "list",
    .summary = "show the virtual machines there are, and their state",
    .help = "usage: pearvisor list [--json]\n\n"
            "A VM is created (never started), starting, running, paused, stopping, suspended,\n"
            "stopped, or failed, and then it says why.\n",
    .run = list,
};

/* ---- Commands that take names ---- */

/* Does `one` for each name; all are tried. */
static int for_each(const struct cli_command *command, int argc, char **argv,
                    int (*one)(const char *name, void *opaque, struct pv_error **err), void *opaque)
{
    int status = CLI_OK;
    if (optind == argc)
        return cli_usage(command, "a VM's name is needed");
    for (; optind < argc; optind++) {
        PV_CLEANUP_ERROR struct pv_error *err = NULL;
        if (one(argv[optind], opaque, &err) < 0)
            status = cli_fail(&err);
    }
    return status;
}

static int start_one(const char *name, void *opaque, struct pv_error **err)
{
    const bool *boot = opaque;
    return *boot ? cli_boot_vm(name, err) : cli_start_vm(name, NULL, err);
}

static int suspend_one(const char *name, void *opaque, struct pv_error **err)
{
    int ret = pv_library_enter(name, err);
    return ret < 0 ? ret : pv_library_suspend(name, err);
}

struct change {
    const char *verb;
    enum pv_vm_event event;
};

static int ask_one(const char *name, void *opaque, struct pv_error **err)
{
    int ret = pv_library_enter(name, err);
    const struct change *change = opaque;
    if (ret >= 0)
        ret = pv_vm_state_check(name, pv_library_state(".", NULL), change->event, err);
    if (ret >= 0)
        ret = pv_library_ask(".", change->verb, NULL, NULL, err);
    return ret;
}

struct stopping {
    bool now;
    uint64_t seconds;
};

static int stop_one(const char *name, void *opaque, struct pv_error **err)
{
    const struct stopping *stopping = opaque;
    return stop_vm(name, stopping->now, (unsigned)stopping->seconds, err);
}

static int stop(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {{"now", no_argument, NULL, 'n'},
                                            {"timeout", required_argument, NULL, 't'},
                                            CLI_HELP_OPTION,
                                            {0}};
    struct stopping stopping = {.seconds = STOP_SECONDS};
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    int option;
    while ((option = cli_next_option(command, argc, argv, options)) != -1) {
        if (option == 'n')
            stopping.now = true;
        else if (option != 't')
            return option == CLI_OPTION_HELP ? CLI_OK : CLI_USAGE;
        else if (pv_parse_u64(optarg, "--timeout", 0, 86400, &stopping.seconds, &err) < 0)
            return cli_usage_error(command, &err);
    }
    return for_each(command, argc, argv, stop_one, &stopping);
}

static int start(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {{"boot", no_argument, NULL, 'b'}, CLI_HELP_OPTION, {0}};
    bool boot = false;
    int option;
    while ((option = cli_next_option(command, argc, argv, options)) != -1) {
        if (option != 'b')
            return option == CLI_OPTION_HELP ? CLI_OK : CLI_USAGE;
        boot = true;
    }
    return for_each(command, argc, argv, start_one, &boot);
}

static int run_names(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {CLI_HELP_OPTION, {0}};
    int option = cli_next_option(command, argc, argv, options);
    if (option != -1)
        return option == CLI_OPTION_HELP ? CLI_OK : CLI_USAGE;
    if (command == &cli_suspend)
        return for_each(command, argc, argv, suspend_one, NULL);
    struct change change = {command->name, command == &cli_pause    ? PV_VM_PAUSE
                                           : command == &cli_resume ? PV_VM_RESUME
                                                                    : PV_VM_RESET};
    return for_each(command, argc, argv, ask_one, &change);
}

const struct cli_command cli_start = {
    .name = "start",
    .summary = "start virtual machines in the background",
    .help = "usage: pearvisor start [--boot] NAME...\n\n"
            "Comes back when the guest has begun to run. 'pearvisor console' connects to it. One\n"
            "that was suspended goes on from there.\n\n"
            "  --boot   begin anew instead, as if the power had failed when it was suspended\n",
    .run = start,
};

const struct cli_command cli_suspend = {
    .name = "suspend",
    .summary = "keep running guests on disk, to go on with 'start'",
    .help =
        "usage: pearvisor suspend NAME...\n\n"
        "Writes memory, CPUs and devices to the VM's folder and ends its process. 'start' goes\n"
        "on from there, whether the VM ran or was paused; 'start --boot' and 'snapshot restore'\n"
        "give it up. Its disks must not be changed meanwhile.\n",
    .run = run_names,
};

const struct cli_command cli_stop = {
    .name = "stop",
    .summary = "ask guests to power off, and wait until they have",
    .help = "usage: pearvisor stop [--now] [--timeout SECONDS] NAME...\n\n"
            "  --now               end them at once, as if the power failed\n"
            "  --timeout SECONDS   how long to wait (default 60)\n",
    .run = stop,
};

const struct cli_command cli_pause = {
    .name = "pause",
    .summary = "stop guests and their clocks, until 'resume'",
    .help = "usage: pearvisor pause NAME...\n",
    .run = run_names,
};

const struct cli_command cli_resume = {
    .name = "resume",
    .summary = "let paused guests go on",
    .help = "usage: pearvisor resume NAME...\n",
    .run = run_names,
};

const struct cli_command cli_reset = {
    .name = "reset",
    .summary = "restart guests at once, as by a reset button",
    .help = "usage: pearvisor reset NAME...\n",
    .run = run_names,
};
