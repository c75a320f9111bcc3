/* SPDX-License-Identifier: MIT */
/* create, clone, delete, config: the library of VMs and what they are made of. */
#include "base/error.h"
#include "base/parse.h"
#include "base/util.h"
#include "block/disk.h"
#include "cli/cli.h"
#include "cli/run.h"
#include "cli/vm_seed.h"
#include "host/file_copy.h"
#include "vm/library.h"
#include "vm/snapshot_file.h"
#include "vm/vmfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define MAX_PAIRS 128

/* Keys and values as they were given; a key may come again. */
struct pairs {
    const char *keys[MAX_PAIRS];
    const char *values[MAX_PAIRS];
    char *owned[MAX_PAIRS]; /* values that were made here */
    size_t count;
};

static void finish_pairs(struct pairs *pairs)
{
    for (size_t i = 0; i < pairs->count; i++)
        free(pairs->owned[i]);
}

static int add_pair(struct pairs *pairs, const char *key, const char *value, struct pv_error **err)
{
    if (pairs->count == MAX_PAIRS)
        return pv_error_set(err, EINVAL, "--%s: more than %d options", key, MAX_PAIRS);
    pairs->keys[pairs->count] = key;
    pairs->values[pairs->count++] = value;
    return 0;
}

/* ---- A VM's file ---- */

/*
 * The VM runs in its own folder, so a file that was named from here is named in full. What stands
 * behind a comma are flags.
 */
static int make_absolute(struct pairs *pairs, size_t index, struct pv_error **err)
{
    static const char *const keys[] = {"kernel", "initrd", "disk", "cdrom", "vars", "grant"};
    const char *value = pairs->values[index];
    bool is_path = false;
    for (size_t i = 0; i < PV_ARRAY_SIZE(keys); i++)
        is_path |= !strcmp(pairs->keys[index], keys[i]);
    if (!is_path || *value == '/')
        return 0;
    PV_CLEANUP_FREE char *directory = getcwd(NULL, 0);
    if (!directory || asprintf(&pairs->owned[index], "%s/%s", directory, value) < 0) {
        pairs->owned[index] = NULL;
        return pv_error_set(err, ENOMEM, "out of memory");
    }
    pairs->values[index] = pairs->owned[index];
    return 0;
}

/* All values of a key together, where the key comes first. */
static int write_pairs(struct pv_vm_file *file, const struct pairs *pairs, struct pv_error **err)
{
    for (size_t i = 0; i < pairs->count; i++) {
        const char *values[MAX_PAIRS];
        size_t count = 0;
        bool seen = false;
        for (size_t j = 0; j < i; j++)
            seen |= !strcmp(pairs->keys[j], pairs->keys[i]);
        for (size_t j = i; j < pairs->count; j++) {
            if (!strcmp(pairs->keys[j], pairs->keys[i]))
                values[count++] = pairs->values[j];
        }
        int ret = seen ? 0 : pv_vm_file_set(file, pairs->keys[i], values, count, err);
        if (ret < 0)
            return ret;
    }
    return 0;
}

static int apply(void *opaque, const char *key, char *value, struct pv_error **err)
{
    return cli_run_set(opaque, key, value, err);
}

/* Whether run would take it, without running it. */
static int check_file(struct pv_vm_file *file, struct pv_error **err)
{
    struct cli_run run = {0};
    cli_run_init(&run);
    int ret = pv_vm_file_each(file, apply, &run, err);
    if (ret >= 0)
        ret = cli_run_complete(&run, err);
    cli_run_finish(&run);
    return ret;
}

/* ---- create ---- */

struct request {
    const char *name, *image;
    uint64_t disk_size; /* 0: as the image's */
    struct cli_seed seed;
    struct pairs pairs;
};

static int parse_create(const struct cli_command *command, struct request *request, int argc,
                        char **argv, struct pv_error **err)
{
    for (int i = 1; i < argc; i++) {
        char *word = argv[i], *equals = strchr(word, '=');
        if (strncmp(word, "--", 2) != 0) {
            if (request->name)
                return pv_error_set(err, EINVAL, "unexpected argument '%s'", word);
            request->name = word;
            continue;
        }
        const char *key = word + 2, *value = equals ? equals + 1 : argv[i + 1];
        if (equals)
            *equals = '\0';
        const bool seed = cli_seed_knows(key);
        bool own = seed || !strcmp(key, "image") || !strcmp(key, "disk-size");
        if (!own && !cli_run_knows(key))
            return pv_error_set(err, EINVAL, "unknown option '--%s'", key);
        if (!equals && ++i == argc)
            return pv_error_set(err, EINVAL, "option '--%s' needs a value", key);
        int ret = 0;
        if (!strcmp(key, "image"))
            request->image = value;
        else if (seed)
            ret = cli_seed_set(&request->seed, key, value, err);
        else if (own)
            ret = pv_parse_size(value, "--disk-size", PV_MIB, 16 * PV_GIB * 1024,
                                &request->disk_size, err);
        else
            ret = add_pair(&request->pairs, key, value, err);
        if (ret < 0)
            return ret;
    }
    return request->name ? pv_library_check_name(request->name, err)
                         : pv_error_set(err, EINVAL, "a name for the VM is needed");
}

static int grow_disk(const char *path, uint64_t size, struct pv_error **err)
{
    struct stat st;
    if (!size)
        return 0;
    if (stat(path, &st) < 0)
        return pv_error_errno(err, errno, "%s", path);
    if ((uint64_t)st.st_size > size) {
        char has[16];
        return pv_error_set(err, EINVAL, "--disk-size: the image's disk has %s already",
                            pv_format_size((uint64_t)st.st_size, has));
    }
    return truncate(path, (off_t)size) < 0 ? pv_error_errno(err, errno, "%s", path) : 0;
}

static int copy_kernel(struct pairs *pairs, const struct cli_image *image, struct pv_error **err)
{
    int ret = pv_file_copy(image->kernel, "vmlinuz", err);
    if (ret >= 0)
        ret = pv_file_copy(image->initrd, "initrd.img", err);
    if (ret >= 0)
        ret = add_pair(pairs, "kernel", "vmlinuz", err);
    if (ret >= 0)
        ret = add_pair(pairs, "initrd", "initrd.img", err);
    return ret < 0 ? ret : add_pair(pairs, "append", image->append, err);
}

/* The image's files, so that the VM does not depend on the library of images. */
static int copy_image(struct pairs *pairs, const struct cli_image *image, uint64_t disk_size,
                      struct pv_error **err)
{
    fprintf(stderr, "copying the image\n");
    int ret = pv_file_copy(image->disk, "disk.img", err);
    if (ret >= 0)
        ret = grow_disk("disk.img", disk_size, err);
    if (ret >= 0)
        ret = add_pair(pairs, "disk", "disk.img", err);
    return ret < 0 || !image->kernel ? ret : copy_kernel(pairs, image, err);
}

/* A kernel command line of the user's goes behind the image's, as with run. */
static int join_append(struct pairs *pairs, const char *more, struct pv_error **err)
{
    size_t i = 0;
    while (i < pairs->count && strcmp(pairs->keys[i], "append") != 0)
        i++;
    char *joined;
    if (i == pairs->count)
        return add_pair(pairs, "append", more, err);
    if (asprintf(&joined, "%s %s", pairs->values[i], more) < 0)
        return pv_error_set(err, ENOMEM, "out of memory");
    free(pairs->owned[i]);
    pairs->values[i] = pairs->owned[i] = joined;
    return 0;
}

/* Behind the image's own disk, which firmware boots from. */
static int add_seed(struct request *request, struct pairs *pairs, struct pv_error **err)
{
    int ret = cli_seed_write(&request->seed, request->name, "seed.iso", err);
    return ret < 0 ? ret : add_pair(pairs, "disk", "seed.iso,ro", err);
}

static int fill_folder(struct request *request, const struct cli_image *image,
                       struct pv_error **err)
{
    struct pairs all = {0};
    struct pv_vm_file *file = NULL;
    int ret = image->disk ? copy_image(&all, image, request->disk_size, err) : 0;
    if (ret >= 0 && request->seed.wanted)
        ret = add_seed(request, &all, err);
    for (size_t i = 0; ret >= 0 && i < request->pairs.count; i++) {
        if (image->append && !strcmp(request->pairs.keys[i], "append"))
            ret = join_append(&all, request->pairs.values[i], err);
        else
            ret = add_pair(&all, request->pairs.keys[i], request->pairs.values[i], err);
    }
    if (ret >= 0)
        ret = pv_vm_file_create(&file, PV_LIBRARY_FILE, err);
    if (ret >= 0)
        ret = write_pairs(file, &all, err);
    if (ret >= 0)
        ret = check_file(file, err);
    if (ret >= 0)
        ret = pv_vm_file_save(file, err);
    pv_vm_file_close(file);
    finish_pairs(&all);
    return ret;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *where)
{
    return remove(path);
}

static int remove_folder(const char *path, struct pv_error **err)
{
    return nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) < 0
               ? pv_error_errno(err, errno, "%s", path)
               : 0;
}

/* Makes NAME's folder under another name, which `fill` fills from within, and renames it. */
static int make_vm(const char *name, int (*fill)(void *opaque, struct pv_error **err), void *opaque,
                   struct pv_error **err)
{
    PV_CLEANUP_FREE char *folder = NULL;
    PV_CLEANUP_FREE char *temporary = NULL;
    int ret = pv_library_folder(&folder, err);
    if (ret < 0)
        return ret;
    if (chdir(folder) < 0)
        return pv_error_errno(err, errno, "%s", folder);
    if (access(name, F_OK) == 0)
        return pv_error_set(err, EEXIST, "there is a VM '%s' already", name);
    if (asprintf(&temporary, "%s/.%s.new-XXXXXX", folder, name) < 0 || !mkdtemp(temporary))
        return pv_error_errno(err, errno, "%s", folder);
    ret = chdir(temporary) < 0 ? pv_error_errno(err, errno, "%s", temporary) : fill(opaque, err);
    if (ret >= 0 && (chdir(folder) < 0 || rename(temporary, name) < 0))
        ret = errno == EEXIST || errno == ENOTEMPTY
                  ? pv_error_set(err, EEXIST, "there is a VM '%s' already", name)
                  : pv_error_errno(err, errno, "%s/%s", folder, name);
    if (ret < 0)
        remove_folder(temporary, NULL);
    return ret;
}

struct creation {
    struct request *request;
    struct cli_image image;
};

static int fill_created(void *opaque, struct pv_error **err)
{
    struct creation *creation = opaque;
    return fill_folder(creation->request, &creation->image, err);
}

static int create(const struct cli_command *command, int argc, char **argv)
{
    struct request request = {0};
    struct creation creation = {.request = &request};
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
        fputs(command->help, stdout);
        return CLI_OK;
    }
    if (parse_create(command, &request, argc, argv, &err) < 0) {
        cli_seed_finish(&request.seed);
        return cli_usage_error(command, &err);
    }
    int ret = request.image ? cli_image_find(&creation.image, request.image, &err) : 0;
    for (size_t i = 0; ret >= 0 && i < request.pairs.count; i++)
        ret = make_absolute(&request.pairs, i, &err);
    if (ret >= 0)
        ret = make_vm(request.name, fill_created, &creation, &err);
    cli_image_finish(&creation.image);
    cli_seed_finish(&request.seed);
    finish_pairs(&request.pairs);
    return ret < 0 ? cli_fail(&err) : CLI_OK;
}

const struct cli_command cli_create = {
    .name = "create",
    .summary = "make a virtual machine that is kept",
    .help =
        "usage: pearvisor create NAME [--image IMAGE] [--disk-size SIZE] [--cloud-...]\n"
        "                        [RUN-OPTION...]\n\n"
        "Makes a VM of the library, to be started by 'pearvisor start NAME'.\n\n"
        "  --image IMAGE       its disk, kernel and initial RAM disk are a copy of this\n"
        "                      image's ('pearvisor image list')\n"
        "  --disk-size SIZE    the copied disk is made larger; the guest grows its file\n"
        "                      system itself\n\n"
        "For images with cloud-init, as those of 'image pull' are:\n\n"
        "  --cloud-user NAME   a user who may become root by sudo\n"
        "  --cloud-key FILE    SSH keys that may log in as that user (repeatable; default:\n"
        "                      ~/.ssh/*.pub)\n"
        "  --cloud-password-hash HASH\n"
        "                      as in /etc/shadow ('mkpasswd' or 'openssl passwd -6' make one)\n"
        "  --cloud-hostname NAME, --cloud-timezone AREA/CITY\n"
        "                      the guest's name (default: the VM's), and time zone\n"
        "  --cloud-package NAME\n"
        "                      installed at the first boot (repeatable)\n"
        "  --cloud-data FILE   user-data of your own instead of these\n\n"
        "All options of 'pearvisor run' that take a value can be given, and are kept in the\n"
        "VM's file, where each is a key ('pearvisor config'). One more is for VMs only:\n\n"
        "  --restart never|on-failure|always\n"
        "                      whether pearvisord starts it again when it ended: after a\n"
        "                      failure, or always but when its owner ended it (default never)\n",
    .run = create,
};

/* ---- clone ---- */

static int copy_entry(const char *from_folder, const char *name, struct pv_error **err)
{
    PV_CLEANUP_FREE char *from = NULL;
    struct stat st;
    if (asprintf(&from, "%s/%s", from_folder, name) < 0) {
        from = NULL;
        return pv_error_set(err, ENOMEM, "out of memory");
    }
    if (lstat(from, &st) < 0 || !S_ISREG(st.st_mode))
        return 0;
    return pv_file_copy(from, name, err);
}

static int fill_clone(void *opaque, struct pv_error **err)
{
    const char *from = opaque;
    struct dirent *entry;
    DIR *folder = opendir(from);
    int ret = folder ? 0 : pv_error_errno(err, errno, "%s", from);
    while (ret >= 0 && (entry = readdir(folder)))
        ret = copy_entry(from, entry->d_name, err);
    if (folder)
        closedir(folder);
    return ret;
}

/* ---- clone of one that runs ---- */

#define ORIGIN "origin" /* the clone's first snapshot */

struct running_clone {
    const char *from; /* its folder */
    char *snapshot;   /* in there */
    struct pv_snapshot_info info;
};

/* Disks the guest can write to have to be copied, and so lie in the VM's folder. */
static int rescue_disks(const struct running_clone *clone, struct pv_error **err)
{
    for (size_t i = 0; i < clone->info.disk_count; i++) {
        const char *slash = strrchr(clone->info.disks[i], '/');
        const char *name = slash ? slash + 1 : clone->info.disks[i];
        if (access(name, F_OK) < 0)
            return pv_error_set(err, EINVAL,
                                "disk '%s' is not in the VM's folder and cannot be copied",
                                clone->info.disks[i]);
        int ret = pv_disk_snapshot_rescue(name, clone->info.tag, err);
        if (ret < 0)
            return ret;
    }
    return 0;
}

/* The snapshot first: its files do not change, and copying the disks takes longest. */
static int fill_running_clone(void *opaque, struct pv_error **err)
{
    struct running_clone *clone = opaque;
    struct dirent *entry;
    int ret = 0;

    if (mkdir(PV_LIBRARY_SNAPSHOTS, 0700) < 0 || mkdir(PV_LIBRARY_SNAPSHOTS "/" ORIGIN, 0700) < 0)
        return pv_error_errno(err, errno, PV_LIBRARY_SNAPSHOTS);
    DIR *folder = opendir(clone->snapshot);
    if (!folder)
        return pv_error_errno(err, errno, "%s", clone->snapshot);
    while (ret >= 0 && (entry = readdir(folder))) {
        PV_CLEANUP_FREE char *from = NULL, *to = NULL;
        if (*entry->d_name == '.')
            continue;
        if (asprintf(&from, "%s/%s", clone->snapshot, entry->d_name) < 0 ||
            asprintf(&to, PV_LIBRARY_SNAPSHOTS "/" ORIGIN "/%s", entry->d_name) < 0)
            ret = pv_error_set(err, ENOMEM, "out of memory");
        else if (link(from, to) < 0)
            ret = pv_file_copy(from, to, err);
    }
    closedir(folder);
    if (ret >= 0)
        ret = fill_clone((void *)clone->from, err);
    return ret < 0 ? ret : rescue_disks(clone, err);
}

static int ask_for_snapshot(const struct running_clone *clone, const char *to,
                            struct pv_error **err)
{
    PV_CLEANUP_FREE char *note = NULL;
    json_t *result = NULL;

    if (asprintf(&note, "where '%s' began", to) < 0) {
        note = NULL;
        return pv_error_set(err, ENOMEM, "out of memory");
    }
    json_t *arguments = json_pack("{s:s, s:s}", "folder", clone->snapshot, "note", note);
    int ret = pv_library_ask(clone->from, "snapshot", arguments, &result, err);
    json_decref(arguments);
    json_decref(result);
    return ret;
}

/* Also when nothing came of it, so an error of its own is none. */
static void forget_snapshot(const struct running_clone *clone)
{
    json_t *result = NULL;
    json_t *arguments = json_pack("{s:s}", "tag", clone->info.tag);

    pv_library_ask(clone->from, "forget-snapshot", arguments, &result, NULL);
    json_decref(arguments);
    json_decref(result);
    pv_snapshot_remove(clone->snapshot, NULL);
}

/* In its folder. */
static int clone_running(const char *from, const char *to, struct pv_error **err)
{
    PV_CLEANUP_FREE char *folder = getcwd(NULL, 0);
    struct running_clone clone = {.from = folder};

    if (!folder)
        return pv_error_errno(err, errno, "VM '%s'", from);
    if (asprintf(&clone.snapshot, "%s/" PV_LIBRARY_SNAPSHOTS "/.%s.clone", folder, to) < 0)
        return pv_error_set(err, ENOMEM, "out of memory");
    /* Of a clone that was killed. */
    if (pv_snapshot_info_read(&clone.info, clone.snapshot, NULL) >= 0)
        forget_snapshot(&clone);
    pv_snapshot_info_finish(&clone.info);
    int ret = ask_for_snapshot(&clone, to, err);
    if (ret >= 0)
        ret = pv_snapshot_info_read(&clone.info, clone.snapshot, err);
    if (ret >= 0) {
        ret = make_vm(to, fill_running_clone, &clone, err);
        forget_snapshot(&clone);
    }
    if (ret >= 0)
        printf("'pearvisor snapshot restore %s " ORIGIN "' lets it go on from where '%s' was\n", to,
               from);
    pv_snapshot_info_finish(&clone.info);
    free(clone.snapshot);
    return ret;
}

static int clone_vm(const char *from, const char *to, struct pv_error **err)
{
    PV_CLEANUP_FD int lock = -1;
    int ret = pv_library_check_name(to, err);
    if (ret >= 0)
        ret = pv_library_enter(from, err);
    if (ret >= 0 && pv_library_is_alive("."))
        return clone_running(from, to, err);
    if (ret >= 0)
        ret = pv_library_lock(".", from, &lock, err);
    if (ret < 0)
        return ret;
    PV_CLEANUP_FREE char *folder = getcwd(NULL, 0);
    return folder ? make_vm(to, fill_clone, folder, err)
                  : pv_error_errno(err, errno, "VM '%s'", from);
}

/* For commands that take names and nothing else. -1: go on at optind. */
static int only_names(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {CLI_HELP_OPTION, {0}};
    int option = cli_next_option(command, argc, argv, options);
    if (option != -1)
        return option == CLI_OPTION_HELP ? CLI_OK : CLI_USAGE;
    return -1;
}

static int clone_command(const struct cli_command *command, int argc, char **argv)
{
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    int status = only_names(command, argc, argv);
    if (status >= 0)
        return status;
    if (argc - optind != 2)
        return cli_usage(command, "the VM to copy and a name for the copy are needed");
    return clone_vm(argv[optind], argv[optind + 1], &err) < 0 ? cli_fail(&err) : CLI_OK;
}

const struct cli_command cli_clone = {
    .name = "clone",
    .summary = "copy a virtual machine, running or not",
    .help =
        "usage: pearvisor clone NAME NEW\n\n"
        "Copies the VM's file and all that lies beside it. Disks elsewhere are shared, and can\n"
        "be used by one of the two at a time.\n\n"
        "Of a VM that runs, and goes on running but for some milliseconds, the copy has a\n"
        "snapshot 'origin' of that moment to go on from ('pearvisor snapshot restore NEW\n"
        "origin'), or starts with what the disks held then. Its disks have to be qcow2 images\n"
        "in the VM's folder, or read-only.\n",
    .run = clone_command,
};

/* ---- delete ---- */

static int delete_vm(const char *name, struct pv_error **err)
{
    PV_CLEANUP_FD int lock = -1;
    PV_CLEANUP_FREE char *folder = NULL;
    int ret = pv_library_enter(name, err);
    if (ret >= 0)
        ret = pv_library_lock(".", name, &lock, err);
    if (ret < 0)
        return ret;
    folder = getcwd(NULL, 0);
    return folder ? remove_folder(folder, err) : pv_error_errno(err, errno, "VM '%s'", name);
}

static int delete_command(const struct cli_command *command, int argc, char **argv)
{
    int status = only_names(command, argc, argv);
    if (status >= 0)
        return status;
    if (optind == argc)
        return cli_usage(command, "a VM's name is needed");
    status = CLI_OK;
    for (; optind < argc; optind++) {
        PV_CLEANUP_ERROR struct pv_error *err = NULL;
        if (delete_vm(argv[optind], &err) < 0)
            status = cli_fail(&err);
    }
    return status;
}

const struct cli_command cli_delete = {
    .name = "delete",
    .summary = "remove virtual machines with their disks",
    .help =
        "usage: pearvisor delete NAME...\n\n"
        "Removes VMs that are not running, with all that lies in their folders. Disks elsewhere\n"
        "stay.\n",
    .run = delete_command,
};

/* ---- config ---- */

static int show(void)
{
    PV_CLEANUP_FILE FILE *file = fopen(PV_LIBRARY_FILE, "re");
    for (int c; file && (c = getc(file)) != EOF;)
        putchar(c);
    return CLI_OK;
}

struct wanted {
    const char *key;
    bool found;
};

static int print_wanted(void *opaque, const char *key, char *value, struct pv_error **err)
{
    struct wanted *wanted = opaque;
    if (!strcmp(key, wanted->key)) {
        wanted->found = true;
        puts(value);
    }
    return 0;
}

static int get(struct pv_vm_file *file, const char *key, struct pv_error **err)
{
    struct wanted wanted = {.key = key};
    int ret = pv_vm_file_each(file, print_wanted, &wanted, err);
    if (ret >= 0 && !wanted.found)
        return pv_error_set(err, ENOENT, "'%s' is not set", key);
    return ret;
}

static int set(struct pv_vm_file *file, const char *key, char **values, int count,
               struct pv_error **err)
{
    int ret = cli_run_knows(key)
                  ? pv_vm_file_set(file, key, (const char *const *)values, (size_t)count, err)
                  : pv_error_set(err, EINVAL,
                                 "'%s' is not a key; keys are the options of 'pearvisor run', "
                                 "without the dashes",
                                 key);
    if (ret >= 0)
        ret = check_file(file, err);
    return ret < 0 ? ret : pv_vm_file_save(file, err);
}

/* An editor on a copy, which becomes the file when it is good. */
static int edit(struct pv_error **err)
{
    static const char copy[] = "edited.yaml";
    const char *editor = getenv("VISUAL") ?: getenv("EDITOR") ?: "vi";
    PV_CLEANUP_FREE char *command = NULL;
    struct pv_vm_file *file = NULL;
    unlink(copy);
    int ret = pv_file_copy(PV_LIBRARY_FILE, copy, err);
    if (ret < 0)
        return ret;
    if (asprintf(&command, "%s %s", editor, copy) < 0) {
        command = NULL;
        return pv_error_set(err, ENOMEM, "out of memory");
    }
    int status = system(command);
    if (status < 0 || !WIFEXITED(status) || WEXITSTATUS(status))
        ret = pv_error_set(err, ECANCELED, "'%s' failed; nothing was changed", editor);
    if (ret >= 0)
        ret = pv_vm_file_open(&file, copy, err);
    if (ret >= 0)
        ret = check_file(file, err);
    pv_vm_file_close(file);
    if (ret >= 0 && rename(copy, PV_LIBRARY_FILE) < 0)
        ret = pv_error_errno(err, errno, "%s", PV_LIBRARY_FILE);
    if (ret < 0)
        pv_error_prefix(err, "nothing was changed");
    unlink(copy);
    return ret;
}

static int config(const struct cli_command *command, int argc, char **argv)
{
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    struct pv_vm_file *file = NULL;
    int status = only_names(command, argc, argv), ret;
    char **words = argv + optind;
    int count = argc - optind;
    if (status >= 0)
        return status;
    if (!count)
        return cli_usage(command, "a VM's name is needed");
    const char *verb = count > 1 ? words[1] : "show";
    bool good = (!strcmp(verb, "show") && count <= 2) || (!strcmp(verb, "edit") && count == 2) ||
                (!strcmp(verb, "get") && count == 3) || (!strcmp(verb, "set") && count >= 3);
    if (!good)
        return cli_usage(command, "use show, edit, get KEY, or set KEY VALUE...");
    ret = pv_library_enter(words[0], &err);
    if (ret >= 0 && !strcmp(verb, "show"))
        return show();
    if (ret >= 0 && !strcmp(verb, "edit"))
        return edit(&err) < 0 ? cli_fail(&err) : CLI_OK;
    if (ret >= 0)
        ret = pv_vm_file_open(&file, PV_LIBRARY_FILE, &err);
    if (ret >= 0)
        ret = !strcmp(verb, "get") ? get(file, words[2], &err)
                                   : set(file, words[2], words + 3, count - 3, &err);
    pv_vm_file_close(file);
    return ret < 0 ? cli_fail(&err) : CLI_OK;
}

const struct cli_command cli_config = {
    .name = "config",
    .summary = "look at or change what a virtual machine is made of",
    .help = "usage: pearvisor config NAME [show | edit | get KEY | set KEY [VALUE...]]\n\n"
            "A VM's file is YAML. Its keys are the options of 'pearvisor run' without the dashes,\n"
            "their values what would stand behind them; an option that can be repeated may have a\n"
            "list. Paths are meant from the VM's folder.\n\n"
            "  show                print the file (what is done without a verb)\n"
            "  edit                open a copy in $VISUAL or $EDITOR, and keep it if it is good\n"
            "  get KEY             print a key's values, one a line\n"
            "  set KEY VALUE...    give a key these values; none removes it\n\n"
            "A running VM notices at its next start.\n",
    .run = config,
};
