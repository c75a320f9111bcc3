/* SPDX-License-Identifier: MIT */
#include "vm/snapshot_file.h"

#include "base/error.h"
#include "base/record.h"
#include "base/util.h"
#include "vm/memory_load.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the state's head is little-endian");

#define FORMAT       2 /* of snapshot.json: the newest known */
#define FORMAT_WHOLE 1 /* what is written when memory is all there */
#define STATE_FORMAT 1

static const char *const files[] = {"snapshot.json", "state", "memory"};
enum { FILE_INFO, FILE_STATE, FILE_MEMORY };

/* Before the record. */
struct state_head {
    char magic[8];
    uint32_t version;
    uint32_t crc; /* of the record */
    uint64_t size;
};

static const char state_magic[8] = {'P', 'V', 'S', 'T', 'A', 'T', 'E', 0};

static char *path_of(const char *folder, int file)
{
    char *path;
    return asprintf(&path, "%s/%s", folder, files[file]) < 0 ? NULL : path;
}

/* The memory's file, and with a number one that it rests on. */
static char *memory_path(const char *folder, unsigned number)
{
    char *path;

    if (!number)
        return path_of(folder, FILE_MEMORY);
    return asprintf(&path, "%s/%s.%u", folder, files[FILE_MEMORY], number) < 0 ? NULL : path;
}

static int out_of_memory(struct pv_error **err)
{
    return pv_error_set(err, ENOMEM, "out of memory for the snapshot");
}

/* ---- What it is ---- */

void pv_snapshot_info_finish(struct pv_snapshot_info *info)
{
    free(info->note);
    free(info->engine);
    free(info->tag);
    free(info->parent);
    for (size_t i = 0; i < info->disk_count; i++)
        free(info->disks[i]);
    *info = (struct pv_snapshot_info){0};
}

static int read_disks(struct pv_snapshot_info *info, json_t *disks, struct pv_error **err)
{
    size_t i;
    json_t *disk;

    if (json_array_size(disks) > PV_SNAPSHOT_MAX_DISKS)
        return pv_error_set(err, EINVAL, "%zu disks, at most %u", json_array_size(disks),
                            PV_SNAPSHOT_MAX_DISKS);
    json_array_foreach(disks, i, disk)
    {
        const char *path = json_string_value(disk);
        if (!path)
            return pv_error_set(err, EINVAL, "disk %zu has no path", i);
        info->disks[info->disk_count] = strdup(path);
        if (!info->disks[info->disk_count++])
            return out_of_memory(err);
    }
    return 0;
}

static int parse_info(struct pv_snapshot_info *info, json_t *root, struct pv_error **err)
{
    const char *note, *engine, *tag, *parent = "";
    json_int_t format = 0, created, memory, cpus, pages, pause, bases = 0;
    json_t *disks;
    json_error_t why;

    if (json_unpack(root, "{s:I}", "format", &format) < 0 || format < 1)
        return pv_error_set(err, EINVAL, "not a snapshot");
    if (format > FORMAT)
        return pv_error_set(err, ENOTSUP, "of format %lld; up to %d is known", (long long)format,
                            FORMAT);
    if (json_unpack_ex(root, &why, 0, "{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:o, s?s, s?I}",
                       "note", &note, "engine", &engine, "tag", &tag, "created", &created, "memory",
                       &memory, "cpus", &cpus, "pages", &pages, "pause-us", &pause, "disks", &disks,
                       "parent", &parent, "bases", &bases) < 0)
        return pv_error_set(err, EINVAL, "%s", why.text);
    if (bases < 0 || bases >= PV_MEMORY_MAX_FILES)
        return pv_error_set(err, EINVAL, "its memory rests on %lld files, at most %u are known",
                            (long long)bases, PV_MEMORY_MAX_FILES - 1);
    info->note = strdup(note);
    info->engine = strdup(engine);
    info->tag = strdup(tag);
    info->parent = strdup(parent);
    info->bases = (unsigned)bases;
    info->created = (uint64_t)created;
    info->memory = (uint64_t)memory;
    info->cpus = (unsigned)cpus;
    info->pages = (uint64_t)pages;
    info->pause_us = (uint64_t)pause;
    if (!info->note || !info->engine || !info->tag || !info->parent)
        return out_of_memory(err);
    return read_disks(info, disks, err);
}

int pv_snapshot_info_read(struct pv_snapshot_info *info, const char *folder, struct pv_error **err)
{
    PV_CLEANUP_FREE char *path = path_of(folder, FILE_INFO);
    json_error_t why;

    *info = (struct pv_snapshot_info){0};
    if (!path)
        return out_of_memory(err);
    if (access(path, R_OK) < 0)
        return pv_error_set(err, errno, "'%s' is not a snapshot: %s", folder, strerror(errno));
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    if (!root)
        return pv_error_set(err, EINVAL, "snapshot '%s': %s", folder, why.text);
    int ret = parse_info(info, root, err);
    json_decref(root);
    return ret < 0 ? pv_error_prefix(err, "snapshot '%s'", folder) : 0;
}

static int write_file(const char *path, const void *head, size_t head_size, const void *data,
                      size_t size, struct pv_error **err)
{
    PV_CLEANUP_FD int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    const void *const parts[] = {head, data};
    const size_t sizes[] = {head_size, size};

    if (fd < 0)
        return pv_error_errno(err, errno, "'%s'", path);
    for (unsigned i = 0; i < PV_ARRAY_SIZE(parts); i++) {
        for (size_t done = 0; done < sizes[i];) {
            ssize_t n = write(fd, (const char *)parts[i] + done, sizes[i] - done);
            if (n < 0 && errno == EINTR)
                continue;
            if (n <= 0)
                return pv_error_errno(err, n < 0 ? errno : EIO, "'%s'", path);
            done += (size_t)n;
        }
    }
    return fsync(fd) < 0 ? pv_error_errno(err, errno, "'%s'", path) : 0;
}

int pv_snapshot_info_write(const struct pv_snapshot_info *info, const char *folder,
                           struct pv_error **err)
{
    PV_CLEANUP_FREE char *path = path_of(folder, FILE_INFO);
    json_t *disks = json_array();
    json_t *root = json_pack(
        "{s:i, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:s, s:I}", "format",
        info->bases ? FORMAT : FORMAT_WHOLE, "note", info->note, "engine", info->engine, "tag",
        info->tag, "created", (json_int_t)info->created, "memory", (json_int_t)info->memory, "cpus",
        (json_int_t)info->cpus, "pages", (json_int_t)info->pages, "pause-us",
        (json_int_t)info->pause_us, "parent", info->parent, "bases", (json_int_t)info->bases);

    for (size_t i = 0; i < info->disk_count; i++)
        json_array_append_new(disks, json_string(info->disks[i]));
    json_object_set_new(root, "disks", disks);
    PV_CLEANUP_FREE char *text = json_dumps(root, JSON_INDENT(2));
    json_decref(root);
    if (!path || !text)
        return out_of_memory(err);
    return write_file(path, text, strlen(text), "\n", 1, err);
}

/* ---- State ---- */

int pv_snapshot_state_write(const void *data, size_t size, const char *folder,
                            struct pv_error **err)
{
    PV_CLEANUP_FREE char *path = path_of(folder, FILE_STATE);
    struct state_head head = {.version = STATE_FORMAT, .size = size};

    memcpy(head.magic, state_magic, sizeof(head.magic));
    head.crc = (uint32_t)crc32_z(0, data, size);
    return path ? write_file(path, &head, sizeof(head), data, size, err) : out_of_memory(err);
}

static int read_exactly(int fd, void *data, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = read(fd, (char *)data + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ENODATA;
        done += (size_t)n;
    }
    return 0;
}

static int check_state_head(const struct state_head *head, struct pv_error **err)
{
    if (memcmp(head->magic, state_magic, sizeof(state_magic)) != 0)
        return pv_error_set(err, EINVAL, "not a VM's state");
    if (head->version != STATE_FORMAT)
        return pv_error_set(err, ENOTSUP, "the state is of version %u; %d is known", head->version,
                            FORMAT);
    if (head->size > PV_RECORD_MAX)
        return pv_error_set(err, EINVAL, "the state has %llu bytes, at most %zu",
                            (unsigned long long)head->size, PV_RECORD_MAX);
    return 0;
}

int pv_snapshot_state_read(void **data, size_t *size, const char *folder, struct pv_error **err)
{
    PV_CLEANUP_FREE char *path = path_of(folder, FILE_STATE);
    struct state_head head;
    struct stat st;

    if (!path)
        return out_of_memory(err);
    PV_CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    int ret = fd < 0 || fstat(fd, &st) < 0 ? -errno : read_exactly(fd, &head, sizeof(head));
    if (ret < 0)
        return pv_error_errno(err, -ret, "'%s'", path);
    ret = check_state_head(&head, err);
    if (ret >= 0 && (uint64_t)st.st_size != sizeof(head) + head.size)
        ret = pv_error_set(err, EIO, "it has %lld bytes where %llu should be",
                           (long long)st.st_size, (unsigned long long)(sizeof(head) + head.size));
    if (ret < 0)
        return pv_error_prefix(err, "'%s'", path);
    PV_CLEANUP_FREE void *bytes = malloc((size_t)head.size + 1);
    if (!bytes)
        return out_of_memory(err);
    ret = read_exactly(fd, bytes, (size_t)head.size);
    if (ret < 0)
        return pv_error_errno(err, -ret, "'%s'", path);
    if ((uint32_t)crc32_z(0, bytes, (size_t)head.size) != head.crc)
        return pv_error_set(err, EIO, "'%s': damaged: its checksum is wrong", path);
    *size = (size_t)head.size;
    *data = PV_STEAL(bytes);
    return 0;
}

/* From what rests on nothing to what is the newest. */
int pv_snapshot_memory_open(struct pv_memory_load **load, struct pv_address_space *as,
                            const char *folder, struct pv_error **err)
{
    struct pv_snapshot_info info;
    int fds[PV_MEMORY_MAX_FILES];
    size_t count = 0;
    int ret = pv_snapshot_info_read(&info, folder, err);

    for (unsigned i = 0; ret >= 0 && i <= info.bases; i++) {
        PV_CLEANUP_FREE char *path = memory_path(folder, info.bases - i);
        fds[count] = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        if (!path)
            ret = out_of_memory(err);
        else if (fds[count] < 0)
            ret = pv_error_errno(err, errno, "'%s'", path);
        else
            count++;
    }
    pv_snapshot_info_finish(&info);
    if (ret >= 0)
        return pv_memory_load_create(load, fds, count, as, err);
    while (count)
        close(fds[--count]);
    return ret;
}

/* ---- The folder ---- */

/* Takes `path`. */
static int remove_file(char *path, struct pv_error **err)
{
    int ret = path ? 0 : out_of_memory(err);

    if (path && unlink(path) < 0 && errno != ENOENT)
        ret = pv_error_errno(err, errno, "'%s'", path);
    free(path);
    return ret;
}

static int remove_files(const char *folder, struct pv_error **err)
{
    int ret = 0;

    for (int i = 0; i < (int)PV_ARRAY_SIZE(files) && ret >= 0; i++)
        ret = remove_file(path_of(folder, i), err);
    for (unsigned i = 1; i < PV_MEMORY_MAX_FILES && ret >= 0; i++)
        ret = remove_file(memory_path(folder, i), err);
    return ret;
}

int pv_snapshot_remove(const char *folder, struct pv_error **err)
{
    int ret = remove_files(folder, err);

    if (ret >= 0 && rmdir(folder) < 0)
        ret = pv_error_errno(err, errno, "'%s'", folder);
    return ret;
}

int pv_snapshot_begin(char **temporary, const char *folder, struct pv_error **err)
{
    PV_CLEANUP_FREE char *path = NULL;

    if (access(folder, F_OK) == 0)
        return pv_error_set(err, EEXIST, "'%s' is there already", folder);
    if (asprintf(&path, "%s.new", folder) < 0) {
        path = NULL;
        return out_of_memory(err);
    }
    if (mkdir(path, 0700) < 0) {
        if (errno != EEXIST)
            return pv_error_errno(err, errno, "'%s'", path);
        int ret = remove_files(path, err);
        if (ret < 0)
            return ret;
    }
    *temporary = PV_STEAL(path);
    return 0;
}

/* Links `from` number `number` of another folder. */
static bool link_memory(const char *temporary, const char *base, unsigned number)
{
    PV_CLEANUP_FREE char *from = memory_path(base, number);
    PV_CLEANUP_FREE char *to = memory_path(temporary, number + 1);

    return from && to && link(from, to) == 0;
}

unsigned pv_snapshot_rest_on(const char *temporary, const char *base, const char *tag)
{
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    struct pv_snapshot_info info;
    unsigned linked = 0;
    const bool same = pv_snapshot_info_read(&info, base, &err) >= 0 && !strcmp(info.tag, tag);

    /* Too long a line begins anew with all of memory, so that older snapshots need not stay. */
    const unsigned want = same && info.bases + 2 <= PV_MEMORY_MAX_FILES ? info.bases + 1 : 0;
    pv_snapshot_info_finish(&info);
    while (linked < want && link_memory(temporary, base, linked))
        linked++;
    if (linked == want)
        return want;
    for (unsigned i = 1; i <= linked; i++)
        remove_file(memory_path(temporary, i), NULL);
    return 0;
}

/* The folder that a path is in, so that its new name is on the medium too. */
static void sync_parent(const char *path)
{
    const char *slash = strrchr(path, '/');
    PV_CLEANUP_FREE char *parent = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    PV_CLEANUP_FD int fd = parent ? open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

    if (fd >= 0)
        fsync(fd);
}

int pv_snapshot_commit(const char *temporary, const char *folder, struct pv_error **err)
{
    if (rename(temporary, folder) < 0)
        return pv_error_errno(err, errno, "'%s'", folder);
    sync_parent(folder);
    return 0;
}

int pv_snapshot_verify(const char *folder, struct pv_error **err)
{
    struct pv_snapshot_info info;
    PV_CLEANUP_FREE void *state = NULL;
    struct pv_memory_load *memory = NULL;
    size_t size;
    int ret = pv_snapshot_info_read(&info, folder, err);

    pv_snapshot_info_finish(&info);
    if (ret >= 0)
        ret = pv_snapshot_state_read(&state, &size, folder, err);
    if (ret >= 0)
        ret = pv_snapshot_memory_open(&memory, NULL, folder, err);
    if (ret >= 0)
        ret = pv_memory_load_all(memory, err);
    pv_memory_load_destroy(memory);
    return ret < 0 ? pv_error_prefix(err, "snapshot '%s'", folder) : 0;
}
