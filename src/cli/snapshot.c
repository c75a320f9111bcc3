/* SPDX-License-Identifier: MIT */
/*
 * snapshot: those of the library's VMs, which are in their folders under snapshots/, and folders of
 * others.
 */
#include "base/error.h"
#include "base/parse.h"
#include "base/util.h"
#include "block/disk.h"
#include "cli/cli.h"
#include "cli/run.h"
#include "vm/library.h"
#include "vm/snapshot_file.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define FOLDER PV_LIBRARY_SNAPSHOTS

struct arguments {
    const char *vm, *name; /* NAME may be missing */
    const char *note;      /* or NULL */
    bool full;
    uint64_t keep; /* how many of a schedule's are kept; 0: it is none of a schedule */
};

static char *folder_of(const char *name)
{
    char *path;
    return asprintf(&path, FOLDER "/%s", name) < 0 ? NULL : path;
}

/* Into the VM's folder; the snapshot's is the caller's. */
static int enter(const struct arguments *args, char **folder, struct pv_error **err)
{
    int ret = pv_library_check_name(args->name, err);
    if (ret >= 0)
        ret = pv_library_enter(args->vm, err);
    if (ret < 0)
        return ret;
    *folder = folder_of(args->name);
    return *folder ? 0 : pv_error_set(err, ENOMEM, "out of memory");
}

static int exists(const struct arguments *args, const char *folder, struct pv_error **err)
{
    return access(folder, F_OK) == 0
               ? 0
               : pv_error_set(err, ENOENT, "VM '%s' has no snapshot '%s'", args->vm, args->name);
}

/* ---- Verbs ---- */

static int create_one(const struct arguments *args, struct pv_error **err)
{
    PV_CLEANUP_FREE char *folder = NULL, *path = NULL, *here = NULL;
    json_t *result = NULL;
    int ret = enter(args, &folder, err);

    if (ret < 0)
        return ret;
    if (!pv_library_is_alive("."))
        return pv_error_set(err, ENOENT,
                            "VM '%s' is not running; 'pearvisor disk snapshot' keeps a disk",
                            args->vm);
    here = getcwd(NULL, 0);
    if (!here || asprintf(&path, "%s/%s", here, folder) < 0) {
        path = NULL;
        return pv_error_set(err, ENOMEM, "out of memory");
    }
    json_t *arguments = json_pack("{s:s, s:s, s:s}", "folder", path, "note",
                                  args->note ? args->note : "", "full", args->full ? "yes" : "no");
    ret = arguments ? pv_library_ask(".", "snapshot", arguments, &result, err)
                    : pv_error_set(err, EINVAL, "the note is not UTF-8");
    json_decref(arguments);
    if (ret >= 0)
        printf("'%s' is there; the guest stood still for %.1f ms\n", args->name,
               (double)json_integer_value(json_object_get(result, "pause-us")) / 1000);
    json_decref(result);
    return ret;
}

static uint64_t size_of(const char *folder)
{
    PV_CLEANUP_FREE char *path = NULL;
    struct stat st;
    if (asprintf(&path, "%s/memory", folder) < 0) {
        path = NULL;
        return 0;
    }
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* One of a VM's. */
struct row {
    char *name;
    struct pv_snapshot_info info; /* empty when it could not be read */
    bool shown;
};

/* What came from another one is under it, further to the right. */
static void print_row(const struct row *row, unsigned depth)
{
    PV_CLEANUP_FREE char *folder = folder_of(row->name);
    const time_t created = (time_t)row->info.created;
    const int indent = (int)PV_MIN(2 * depth, 12u);
    char when[32] = "";
    struct tm tm;

    if (!folder)
        return;
    if (!row->info.tag) {
        printf("%-20s cannot be read; 'pearvisor snapshot verify' says why\n", row->name);
        return;
    }
    if (localtime_r(&created, &tm))
        strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
    printf("%*s%-*s %s  %6.1f MiB  %s\n", indent, "", 20 - indent, row->name, when,
           (double)size_of(folder) / PV_MIB, row->info.note);
}

static void print_tree(struct row *rows, int count, const char *parent, unsigned depth)
{
    for (int i = 0; i < count; i++) {
        struct row *row = &rows[i];
        if (row->shown || strcmp(row->info.parent ? row->info.parent : "", parent) != 0)
            continue;
        row->shown = true;
        print_row(row, depth);
        print_tree(rows, count, row->name, depth + 1);
    }
}

/* Those whose parents are gone come last. */
static void print_rows(struct row *rows, int count)
{
    print_tree(rows, count, "", 0);
    for (int i = 0; i < count; i++)
        if (!rows[i].shown) {
            bool orphan = true;
            for (int j = 0; j < count; j++)
                orphan &= strcmp(rows[j].name, rows[i].info.parent) != 0;
            if (orphan)
                print_tree(rows, count, rows[i].info.parent, 0);
        }
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* Folders under a name in the making (NAME.new) are not listed: they are no snapshots yet. */
static int is_snapshot(const struct dirent *entry)
{
    PV_CLEANUP_FREE char *path = NULL;
    if (*entry->d_name == '.' || asprintf(&path, FOLDER "/%s/snapshot.json", entry->d_name) < 0)
        return 0;
    return access(path, F_OK) == 0;
}

static int list(const struct arguments *args, struct pv_error **err)
{
    struct dirent **entries;
    int ret = pv_library_enter(args->vm, err);

    if (ret < 0)
        return ret;
    int count = scandir(FOLDER, &entries, is_snapshot, by_name);
    if (count < 0)
        return errno == ENOENT ? 0 : pv_error_errno(err, errno, "'%s'", FOLDER);
    struct row *rows = calloc((size_t)count + 1, sizeof(*rows));
    for (int i = 0; i < count && rows; i++) {
        PV_CLEANUP_FREE char *folder = folder_of(entries[i]->d_name);
        rows[i].name = entries[i]->d_name;
        if (folder)
            pv_snapshot_info_read(&rows[i].info, folder, NULL);
    }
    if (rows)
        print_rows(rows, count);
    for (int i = 0; i < count; i++) {
        if (rows)
            pv_snapshot_info_finish(&rows[i].info);
        free(entries[i]);
    }
    free(entries);
    free(rows);
    return rows ? 0 : pv_error_set(err, ENOMEM, "out of memory");
}

static int restore(const struct arguments *args, struct pv_error **err)
{
    PV_CLEANUP_FREE char *folder = NULL;
    int ret = enter(args, &folder, err);

    if (ret >= 0)
        ret = exists(args, folder, err);
    return ret < 0 ? ret : cli_start_vm(args->vm, folder, err);
}

/* By the VM itself while it runs, or from the files. */
static int forget_disks(const struct arguments *args, const struct pv_snapshot_info *info,
                        struct pv_error **err)
{
    PV_CLEANUP_FD int lock = -1;
    int ret = 0;

    if (pv_library_is_alive(".")) {
        json_t *result = NULL, *arguments = json_pack("{s:s}", "tag", info->tag);
        ret = pv_library_ask(".", "forget-snapshot", arguments, &result, err);
        json_decref(arguments);
        json_decref(result);
        return ret;
    }
    ret = pv_library_lock(".", args->vm, &lock, err);
    for (size_t i = 0; i < info->disk_count && ret >= 0; i++) {
        ret = pv_disk_snapshot_delete(info->disks[i], info->tag, err);
        if (ret == -ENOENT) {
            pv_error_free(err);
            ret = 0;
        }
    }
    return ret;
}

/* From the images first: a folder whose disks know nothing of it would be of no use. */
static int delete (const struct arguments *args, struct pv_error **err)
{
    PV_CLEANUP_FREE char *folder = NULL;
    struct pv_snapshot_info info = {0};
    int ret = enter(args, &folder, err);

    if (ret >= 0)
        ret = exists(args, folder, err);
    if (ret >= 0)
        ret = pv_snapshot_info_read(&info, folder, err);
    if (ret >= 0)
        ret = forget_disks(args, &info, err);
    pv_snapshot_info_finish(&info);
    return ret < 0 ? ret : pv_snapshot_remove(folder, err);
}

/* ---- Those of a schedule: NAME-20261123-104500, in UTC ---- */

#define DATE_SIZE 15u

static char *dated(const char *name)
{
    const time_t now = time(NULL);
    char date[DATE_SIZE + 1];
    struct tm tm;
    char *path;

    if (!gmtime_r(&now, &tm) || strftime(date, sizeof(date), "%Y%m%d-%H%M%S", &tm) != DATE_SIZE)
        return NULL;
    return asprintf(&path, "%s-%s", name, date) < 0 ? NULL : path;
}

static bool is_dated(const char *text, const char *name)
{
    const size_t length = strlen(name);

    return strncmp(text, name, length) == 0 && text[length] == '-' &&
           strlen(text + length + 1) == DATE_SIZE && strspn(text + length + 1, "0123456789") == 8 &&
           text[length + 9] == '-' && strspn(text + length + 10, "0123456789") == 6;
}

/* Deletes all but the newest. */
static int prune(const struct arguments *args, struct pv_error **err)
{
    struct dirent **entries;
    const int count = scandir(FOLDER, &entries, is_snapshot, by_name);
    uint64_t there = 0;
    int ret = count < 0 ? pv_error_errno(err, errno, "'%s'", FOLDER) : 0;

    for (int i = 0; i < count; i++)
        there += is_dated(entries[i]->d_name, args->name);
    for (int i = 0; i < count; i++) {
        const struct arguments old = {.vm = args->vm, .name = entries[i]->d_name};
        if (ret >= 0 && there > args->keep && is_dated(old.name, args->name)) {
            ret = delete (&old, err);
            there--;
        }
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    return ret;
}

static int create(const struct arguments *args, struct pv_error **err)
{
    PV_CLEANUP_FREE char *name = args->keep ? dated(args->name) : NULL;
    struct arguments one = *args;

    if (!args->keep)
        return create_one(args, err);
    one.name = name;
    if (!name)
        return pv_error_set(err, ENOMEM, "out of memory");
    int ret = create_one(&one, err);
    return ret < 0 ? ret : prune(args, err);
}

/* Of a VM, or of any folder. */
static int verify(const struct arguments *args, struct pv_error **err)
{
    PV_CLEANUP_FREE char *folder = NULL;
    int ret = 0;

    if (!args->name)
        return pv_snapshot_verify(args->vm, err);
    ret = enter(args, &folder, err);
    if (ret >= 0)
        ret = exists(args, folder, err);
    return ret < 0 ? ret : pv_snapshot_verify(folder, err);
}

/* ---- The command ---- */

static const struct verb {
    const char *name;
    int least, most; /* words behind it */
    int (*run)(const struct arguments *args, struct pv_error **err);
} verbs[] = {
    {"create", 2, 2, create}, {"list", 1, 1, list},     {"restore", 2, 2, restore},
    {"delete", 2, 2, delete}, {"verify", 1, 2, verify},
};

static int run(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {{"note", required_argument, NULL, 'n'},
                                            {"full", no_argument, NULL, 'f'},
                                            {"keep", required_argument, NULL, 'k'},
                                            CLI_HELP_OPTION,
                                            {0}};
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    struct arguments args = {0};
    int option;

    while ((option = cli_next_option(command, argc, argv, options)) != -1) {
        if (option == CLI_OPTION_HELP || option == '?')
            return option == CLI_OPTION_HELP ? CLI_OK : CLI_USAGE;
        if (option == 'k' && pv_parse_u64(optarg, "keep", 1, 1000, &args.keep, &err) < 0)
            return cli_usage_error(command, &err);
        if (option == 'f')
            args.full = true;
        else if (option == 'n')
            args.note = optarg;
    }
    const int words = argc - optind - 1;
    if (words < 0)
        return cli_usage(command, "use create, list, restore, delete or verify");
    for (size_t i = 0; i < PV_ARRAY_SIZE(verbs); i++) {
        const struct verb *verb = &verbs[i];
        if (strcmp(verb->name, argv[optind]) != 0)
            continue;
        if (words < verb->least || words > verb->most)
            return cli_usage(command, "%s: a VM%s", verb->name,
                             verb->most == 1 ? "" : " and a snapshot's name are needed");
        if ((args.note || args.full || args.keep) && verb->run != create)
            return cli_usage(command, "--note, --full and --keep go with create");
        args.vm = argv[optind + 1];
        args.name = words > 1 ? argv[optind + 2] : NULL;
        return verb->run(&args, &err) < 0 ? cli_fail(&err) : CLI_OK;
    }
    return cli_usage(command, "'%s': use create, list, restore, delete or verify", argv[optind]);
}

const struct cli_command cli_snapshot = {
    .name = "snapshot",
    .summary = "keep a running VM as it is, and go back to it",
    .help = "usage: pearvisor snapshot create [--note TEXT] [--full] [--keep N] VM NAME\n"
            "       pearvisor snapshot list VM\n"
            "       pearvisor snapshot restore VM NAME\n"
            "       pearvisor snapshot delete VM NAME\n"
            "       pearvisor snapshot verify VM NAME\n"
            "       pearvisor snapshot verify FOLDER\n\n"
            "A snapshot is a running VM at one moment: memory, CPUs, devices and what its disks\n"
            "hold. Disks have to be qcow2 images, which keep it inside, or read-only. Memory that\n"
            "did not change since the snapshot before is shared with it; either can be deleted.\n\n"
            "  create    take one; the guest goes on, but for some milliseconds\n"
            "  list      those there are, each under the one that it came from\n"
            "  restore   start the VM, which must not run, from one. What its disks have got\n"
            "            since, and no snapshot has, is lost\n"
            "  delete    give one up\n"
            "  verify    read all of one and look at every checksum\n\n"
            "  --note TEXT   what it is good for, shown by list\n"
            "  --full        share nothing with the snapshot before\n"
            "  --keep N      for schedules: the time is added to NAME, and of those that have one\n"
            "                all but the newest N are deleted\n",
    .run = run,
};
