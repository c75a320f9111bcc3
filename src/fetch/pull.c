/* SPDX-License-Identifier: MIT */
#include "fetch/pull.h"

#include "base/error.h"
#include "base/util.h"
#include "block/disk.h"
#include "fetch/digest.h"
#include "fetch/unpack.h"
#include "fetch/verify.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define DOWNLOADS ".downloads" /* in the library: what is half there */

struct work {
    const struct pull *pull;
    struct catalogue_entry entry;
    char *name;
    char *downloads, *folder; /* of the library; where the image is made */
    char *file;               /* what was downloaded, or was given */
    bool downloaded;
    bool summed; /* what it must have is known: */
    enum digest_kind kind;
    char sum[DIGEST_TEXT_MAX];
};

static int out_of_memory(struct pv_error **err)
{
    return pv_error_set(err, ENOMEM, "out of memory");
}

static void stage(const struct work *w, const char *text)
{
    if (w->pull->stage)
        w->pull->stage(w->pull->opaque, text);
}

static bool is_url(const char *what)
{
    return strstr(what, "://");
}

/* Of a path or URL: the last part, without what is behind '?' or '#'. */
static void last_part(const char *path, const char **start, size_t *length)
{
    const size_t all = is_url(path) ? strcspn(path, "?#") : strlen(path);
    size_t from = all;
    while (from && path[from - 1] != '/')
        from--;
    *start = path + from;
    *length = all - from;
}

/* ---- Names ---- */

/* Without ".qcow2", ".img.xz" and the like. */
static size_t without_endings(const char *text, size_t length)
{
    static const char *const endings[] = {".xz", ".qcow2", ".img", ".raw"};
    for (size_t i = 0; i < PV_ARRAY_SIZE(endings); i++) {
        const size_t n = strlen(endings[i]);
        if (length > n && !memcmp(text + length - n, endings[i], n))
            length -= n;
    }
    return length;
}

static bool good_name(const char *name)
{
    if (!isalnum((unsigned char)*name))
        return false;
    for (; *name; name++)
        if (!isalnum((unsigned char)*name) && !strchr("-_.+", *name))
            return false;
    return true;
}

int pull_name(const char *what, char **name, struct pv_error **err)
{
    const char *start;
    size_t length;
    last_part(what, &start, &length);
    length = without_endings(start, length);
    char *made = strndup(start, length);
    if (!made)
        return out_of_memory(err);
    for (char *c = made; *c; c++)
        if (*c == ':')
            *c = '-';
    if (!good_name(made)) {
        free(made);
        return pv_error_set(err, EINVAL, "'%s': makes no name for the library; use --name", what);
    }
    *name = made;
    return 0;
}

/* ---- Folders ---- */

static int remove_folder(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir)
        return errno == ENOENT ? 0 : -errno;
    for (struct dirent *entry; (entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
    return rmdir(path) < 0 ? -errno : 0;
}

static int make_folders(char *path, struct pv_error **err)
{
    for (char *at = path + 1;; at++) {
        if (*at && *at != '/')
            continue;
        const char end = *at;
        *at = 0;
        int ret = mkdir(path, 0777);
        *at = end;
        if (ret < 0 && errno != EEXIST)
            return pv_error_errno(err, errno, "%s", path);
        if (!end)
            return 0;
    }
}

static int prepare(struct work *w, struct pv_error **err)
{
    const char *library = w->pull->library;
    int ret = 0;
    if (w->pull->name)
        w->name = strdup(w->pull->name);
    else
        ret = pull_name(w->pull->what, &w->name, err);
    if (ret < 0)
        return ret;
    if (!w->name || asprintf(&w->downloads, "%s/" DOWNLOADS, library) < 0 ||
        asprintf(&w->folder, "%s/.%s.pull", library, w->name) < 0)
        return out_of_memory(err);
    if (!good_name(w->name))
        return pv_error_set(err, EINVAL,
                            "'%s': a name in the library is of letters, digits, '-', '_', '+' and "
                            "'.', and begins with a letter or digit",
                            w->name);
    PV_CLEANUP_FREE char *there = NULL;
    if (asprintf(&there, "%s/%s", library, w->name) < 0)
        return out_of_memory(err);
    if (!w->pull->force && access(there, F_OK) == 0)
        return pv_error_set(err, EEXIST,
                            "image '%s': in the library already; --force replaces it, --name gives "
                            "this one another name",
                            w->name);
    return make_folders(w->downloads, err);
}

/* ---- Where it comes from ---- */

static int resolve(struct work *w, struct pv_error **err)
{
    const char *what = w->pull->what;
    if (w->pull->sum && digest_parse(w->pull->sum, &w->kind, w->sum) < 0)
        return pv_error_set(err, EINVAL,
                            "--sum '%s': a SHA256 is 64 hexadecimal digits, a SHA512 128",
                            w->pull->sum);
    w->summed = w->pull->sum;
    if (is_url(what)) {
        w->entry.url = strdup(what);
        return w->entry.url ? 0 : out_of_memory(err);
    }
    if (strchr(what, '/') || access(what, F_OK) == 0) {
        w->file = strdup(what);
        return w->file ? 0 : out_of_memory(err);
    }
    return catalogue_find(&w->entry, what, w->pull->catalogues, w->pull->catalogue_count, err);
}

static int write_file(const char *path, const char *data, size_t size, struct pv_error **err)
{
    FILE *file = fopen(path, "w");
    bool fine = file && fwrite(data, 1, size, file) == size;
    if (file)
        fine &= fclose(file) == 0;
    return fine ? 0 : pv_error_errno(err, errno, "%s", path);
}

/* The list itself is whole and its publisher's. */
static int check_signature(struct work *w, const char *list, size_t size, struct pv_error **err)
{
    PV_CLEANUP_FREE char *signature = NULL, *list_path = NULL, *signature_path = NULL;
    size_t signature_size = 0;
    if (asprintf(&list_path, "%s/%s.sums", w->downloads, w->name) < 0 ||
        asprintf(&signature_path, "%s/%s.sums.sig", w->downloads, w->name) < 0)
        return out_of_memory(err);
    int ret = fetch_text(w->entry.signature, &signature, &signature_size, err);
    if (ret == 0)
        ret = write_file(list_path, list, size, err);
    if (ret == 0)
        ret = write_file(signature_path, signature, signature_size, err);
    if (ret == 0)
        ret = verify_signature(list_path, signature_path, w->entry.keyring, err);
    unlink(list_path);
    unlink(signature_path);
    if (ret < 0)
        return pv_error_prefix(err, "%s", w->entry.sums);
    stage(w, ret ? "the signature of its checksums is right"
                 : "the signature of its checksums cannot be checked here: no gpgv or no keyring");
    return 0;
}

static int find_sum(struct work *w, struct pv_error **err)
{
    PV_CLEANUP_FREE char *list = NULL, *name = NULL;
    const char *start;
    size_t length, size = 0;
    if (!w->entry.sums || w->summed)
        return 0;
    last_part(w->entry.url, &start, &length);
    name = strndup(start, length);
    if (!name)
        return out_of_memory(err);
    int ret = fetch_text(w->entry.sums, &list, &size, err);
    if (ret == 0 && w->entry.signature)
        ret = check_signature(w, list, size, err);
    if (ret == 0 && digest_in_list(list, name, &w->kind, w->sum) < 0)
        ret = pv_error_set(err, EINVAL, "%s: has no checksum of %s", w->entry.sums, name);
    w->summed = ret == 0;
    return ret;
}

/* Downloaded by a run that then found no room for the image. */
static bool is_there_already(const struct work *w)
{
    char has[DIGEST_TEXT_MAX];
    return w->summed && digest_file(w->file, w->kind, has, NULL) == 0 && !strcmp(has, w->sum);
}

static int download(struct work *w, struct pv_error **err)
{
    if (w->file)
        return 0;
    int ret = find_sum(w, err);
    if (ret < 0)
        return ret;
    if (asprintf(&w->file, "%s/%s", w->downloads, w->name) < 0) {
        w->file = NULL;
        return out_of_memory(err);
    }
    w->downloaded = true;
    if (is_there_already(w))
        return 0;
    stage(w, "downloading");
    return fetch_file(w->entry.url, w->file, &w->pull->progress, err);
}

/* What is known to be wrong is not kept to go on with. */
static int check_sum(struct work *w, struct pv_error **err)
{
    char has[DIGEST_TEXT_MAX];
    if (!w->summed) {
        stage(w, "no checksum is known for it (--sum gives one)");
        return 0;
    }
    stage(w, "checking");
    int ret = digest_file(w->file, w->kind, has, err);
    if (ret < 0 || !strcmp(has, w->sum))
        return ret;
    return pv_error_set(err, EBADMSG, "%s: its %s is %s and has to be %s%s",
                        w->entry.url ? w->entry.url : w->file, digest_name(w->kind), has, w->sum,
                        w->downloaded ? "; it was removed" : "");
}

/* ---- Into the library ---- */

/* An image from elsewhere names no other files: they would be the host's. */
static int check_image(const char *path, struct pv_error **err)
{
    struct pv_disk_info info = {0};
    int ret = pv_disk_info(&info, path, err);
    if (ret < 0)
        return ret;
    if (strcmp(info.format, "raw") != 0 && strcmp(info.format, "qcow2") != 0)
        ret = pv_error_set(err, EINVAL, "%s: of format %s; images are raw or qcow2", path,
                           info.format);
    else if (info.backing || info.data_file)
        ret = pv_error_set(err, EINVAL, "%s: rests on another file (%s), which images may not",
                           path, info.backing ? info.backing : info.data_file);
    pv_disk_info_finish(&info);
    return ret;
}

/* Firmware looks for a partition table, whose first sector ends like this in either kind. */
static int check_bootable(const char *disk, struct pv_error **err)
{
    uint8_t end[2] = {0};
    int fd = open(disk, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? pread(fd, end, sizeof(end), 510) : -1;
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return pv_error_errno(err, errno, "%s", disk);
    return n == sizeof(end) && end[0] == 0x55 && end[1] == 0xaa
               ? 0
               : pv_error_set(err, EINVAL, "no disk image: there is no partition table in it");
}

static int make_disk(struct work *w, const char *disk, uint64_t *size, struct pv_error **err)
{
    const struct pv_disk_conversion conversion = {
        .format = "raw",
        .progress = {w->pull->progress.show, w->pull->progress.opaque},
    };
    PV_CLEANUP_FREE char *plain = NULL;
    const char *from = w->file;
    struct stat st;
    int ret = 0;
    if (unpack_is_xz(from)) {
        if (asprintf(&plain, "%s/unpacked", w->folder) < 0)
            return out_of_memory(err);
        stage(w, "unpacking");
        ret = unpack_xz(from, plain, err);
        from = plain;
    }
    if (ret == 0)
        ret = check_image(from, err);
    if (ret < 0)
        return ret;
    stage(w, "putting it into the library");
    ret = pv_disk_convert(from, disk, &conversion, err);
    if (plain)
        unlink(plain);
    if (ret >= 0)
        ret = check_bootable(disk, err);
    if (ret >= 0 && stat(disk, &st) < 0)
        ret = pv_error_errno(err, errno, "%s", disk);
    *size = ret >= 0 ? (uint64_t)st.st_size : 0;
    return ret < 0 ? ret : 0;
}

/* Like the builder's, without a kernel: such an image boots by firmware. */
static int write_manifest(const struct work *w, uint64_t size, struct pv_error **err)
{
    PV_CLEANUP_FREE char *path = NULL;
    const char *what = w->pull->what, *colon = is_url(what) ? NULL : strchr(what, ':');
    PV_CLEANUP_FREE char *distribution =
        colon ? strndup(what, (size_t)(colon - what)) : strdup(w->entry.sums ? what : "other");
    json_t *sums = json_object();
    if (w->summed)
        json_object_set_new(sums, digest_name(w->kind), json_string(w->sum));
    json_t *root =
        json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:s, s:s, s:o, s:[]}", "format", 1,
                  "name", w->name, "distribution", distribution, "release", colon ? colon + 1 : "",
                  "architecture", "arm64", "profile", "cloud", "created", (json_int_t)time(NULL),
                  "disk_size", (json_int_t)size, "boot", "uefi", "source",
                  w->entry.url ? w->entry.url : w->file, "source_sum", sums, "packages");
    int ret = root && asprintf(&path, "%s/image.json", w->folder) >= 0 ? 0 : out_of_memory(err);
    if (ret == 0 && json_dump_file(root, path, JSON_INDENT(2)) < 0)
        ret = pv_error_errno(err, errno, "%s", path);
    json_decref(root);
    return ret;
}

/* The new image takes its place at once; one that was there goes after that. */
static int install(struct work *w, struct pv_error **err)
{
    PV_CLEANUP_FREE char *place = NULL, *old = NULL;
    if (asprintf(&place, "%s/%s", w->pull->library, w->name) < 0 ||
        asprintf(&old, "%s/.%s.removed", w->pull->library, w->name) < 0)
        return out_of_memory(err);
    if (w->pull->force && access(place, F_OK) == 0) {
        remove_folder(old);
        if (rename(place, old) < 0)
            return pv_error_errno(err, errno, "%s", place);
    }
    if (rename(w->folder, place) < 0)
        return pv_error_errno(err, errno, "%s", place);
    remove_folder(old);
    return 0;
}

static int make_image(struct work *w, struct pv_error **err)
{
    PV_CLEANUP_FREE char *disk = NULL;
    uint64_t size = 0;
    if (asprintf(&disk, "%s/disk.img", w->folder) < 0)
        return out_of_memory(err);
    remove_folder(w->folder); /* of a run that was killed */
    if (mkdir(w->folder, 0777) < 0)
        return pv_error_errno(err, errno, "%s", w->folder);
    int ret = make_disk(w, disk, &size, err);
    if (ret == 0)
        ret = write_manifest(w, size, err);
    if (ret == 0)
        ret = install(w, err);
    if (ret < 0)
        remove_folder(w->folder);
    return ret;
}

static int run(struct work *w, struct pv_error **err)
{
    int ret = prepare(w, err);
    if (ret == 0)
        ret = resolve(w, err);
    if (ret == 0)
        ret = download(w, err);
    if (ret < 0)
        return ret;
    ret = check_sum(w, err);
    if (ret == 0)
        ret = make_image(w, err);
    /* Kept only where the same file could still become an image: there was no room. */
    if (w->downloaded && ret != -ENOSPC)
        fetch_forget(w->file);
    return ret;
}

int pull_run(const struct pull *pull, struct pv_error **err)
{
    struct work w = {.pull = pull};
    int ret = run(&w, err);
    catalogue_entry_finish(&w.entry);
    free(w.name);
    free(w.downloads);
    free(w.folder);
    free(w.file);
    return ret;
}
