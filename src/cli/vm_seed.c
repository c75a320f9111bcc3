/* SPDX-License-Identifier: MIT */
#include "cli/vm_seed.h"

#include "base/buffer.h"
#include "base/error.h"
#include "base/util.h"
#include "host/program.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <libgen.h>
#include <string.h>
#include <sys/stat.h>

#define TEXT_MAX  ((size_t)1 << 20)
#define AGENT_MAX ((size_t)8 << 20)

static const char *const keys[] = {"cloud-user",     "cloud-key",     "cloud-password-hash",
                                   "cloud-hostname", "cloud-package", "cloud-timezone",
                                   "cloud-data"};

bool cli_seed_knows(const char *key)
{
    for (size_t i = 0; i < PV_ARRAY_SIZE(keys); i++)
        if (!strcmp(key, keys[i]))
            return true;
    return false;
}

/* A file, which the structure then owns; NUL behind it. */
static int read_file(struct cli_seed *s, const char *path, size_t max, char **out, size_t *size,
                     struct pv_error **err)
{
    struct stat st;
    int ret = 0, fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return pv_error_errno(err, errno, "%s", path);
    if (s->owned_count == PV_ARRAY_SIZE(s->owned))
        ret = pv_error_set(err, E2BIG, "%s: more than %zu files", path, s->owned_count);
    else if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        ret = pv_error_set(err, EINVAL, "%s: not a file", path);
    else if ((uint64_t)st.st_size > max)
        ret = pv_error_set(err, EFBIG, "%s: larger than %zu KiB", path, max >> 10);
    char *data = ret < 0 ? NULL : calloc(1, (size_t)st.st_size + 1);
    ssize_t n = data ? pread(fd, data, (size_t)st.st_size, 0) : 0;
    close(fd);
    if (ret < 0)
        return ret;
    if (!data || n < 0) {
        free(data);
        return pv_error_errno(err, data ? errno : ENOMEM, "%s", path);
    }
    s->owned[s->owned_count++] = data;
    *out = data;
    *size = (size_t)n;
    return 0;
}

/* Each line of the file that is a key; "---" begins a private one. */
static int add_keys(struct cli_seed *s, const char *path, struct pv_error **err)
{
    struct pv_cloud_seed *seed = &s->seed;
    const size_t before = seed->key_count;
    char *text, *rest;
    size_t size;
    int ret = read_file(s, path, TEXT_MAX, &text, &size, err);
    if (ret < 0)
        return ret;
    for (char *line = strtok_r(text, "\r\n", &rest); line; line = strtok_r(NULL, "\r\n", &rest)) {
        if (!strncmp(line, "---", 3))
            return pv_error_set(err, EINVAL, "%s: a private key; the public one ends in .pub",
                                path);
        if (*line == '#' || !strchr(line, ' '))
            continue;
        if (seed->key_count == PV_SEED_LIST_MAX)
            return pv_error_set(err, E2BIG, "%s: more than %u keys", path, PV_SEED_LIST_MAX);
        seed->keys[seed->key_count++] = line;
    }
    return seed->key_count > before ? 0 : pv_error_set(err, EINVAL, "%s: no SSH key in it", path);
}

static int add_own_keys(struct cli_seed *s, struct pv_error **err)
{
    const char *home = getenv("HOME");
    PV_CLEANUP_FREE char *pattern = NULL;
    glob_t found = {0};
    int ret = 0;
    if (!home || asprintf(&pattern, "%s/.ssh/*.pub", home) < 0)
        return 0;
    if (glob(pattern, 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc && ret == 0; i++)
            ret = add_keys(s, found.gl_pathv[i], err);
    globfree(&found);
    return ret;
}

/* useradd's rule, and that of names in DNS. */
static int check_name(const char *key, const char *value, struct pv_error **err)
{
    bool good = isalnum((unsigned char)*value) || *value == '_';
    for (const char *c = value; *c; c++)
        good &= isalnum((unsigned char)*c) || strchr("-_.", *c) != NULL;
    return good && strlen(value) <= 63
               ? 0
               : pv_error_set(err, EINVAL,
                              "--%s '%s': letters, digits, '-', '_' and '.', at most 63", key,
                              value);
}

int cli_seed_set(struct cli_seed *s, const char *key, const char *value, struct pv_error **err)
{
    struct pv_cloud_seed *seed = &s->seed;
    char *text;
    size_t size;
    int ret = 0;
    s->wanted = true;
    if (!strcmp(key, "cloud-user")) {
        seed->user = value;
        ret = check_name(key, value, err);
    } else if (!strcmp(key, "cloud-hostname")) {
        seed->hostname = value;
        ret = check_name(key, value, err);
    } else if (!strcmp(key, "cloud-key")) {
        ret = add_keys(s, value, err);
    } else if (!strcmp(key, "cloud-password-hash")) {
        seed->password_hash = value;
        if (*value != '$')
            ret = pv_error_set(err, EINVAL,
                               "--%s: a password's hash begins with '$'; 'openssl passwd -6' "
                               "makes one",
                               key);
    } else if (!strcmp(key, "cloud-timezone")) {
        seed->timezone = value;
    } else if (!strcmp(key, "cloud-package")) {
        if (seed->package_count == PV_SEED_LIST_MAX)
            return pv_error_set(err, E2BIG, "--%s: at most %u", key, PV_SEED_LIST_MAX);
        seed->packages[seed->package_count++] = value;
    } else {
        ret = read_file(s, value, TEXT_MAX, &text, &size, err);
        if (ret == 0)
            seed->user_data = text;
    }
    return ret;
}

/* The agent that was built or installed with this program; it does no harm when there is none. */
static void find_agent(struct cli_seed *s)
{
    static const char *const places[] = {"guest/agent/pearvisor-agent",
                                         "../libexec/pearvisor/pearvisor-agent"};
    PV_CLEANUP_FREE char *program = pv_program_path();
    const char *folder = program ? dirname(program) : ".";
    for (size_t i = 0; i < PV_ARRAY_SIZE(places) && !s->seed.agent; i++) {
        PV_CLEANUP_FREE char *path = NULL;
        char *data;
        if (asprintf(&path, "%s/%s", folder, places[i]) >= 0 &&
            read_file(s, path, AGENT_MAX, &data, &s->seed.agent_size, NULL) == 0)
            s->seed.agent = data;
    }
}

static int complete(struct cli_seed *s, const char *name, struct pv_error **err)
{
    struct pv_cloud_seed *seed = &s->seed;
    if (!seed->hostname)
        seed->hostname = name;
    if (seed->user_data) {
        if (seed->user || seed->key_count || seed->password_hash || seed->timezone ||
            seed->package_count)
            return pv_error_set(err, EINVAL,
                                "--cloud-data: the file says all; leave the other options away");
        return 0;
    }
    if (seed->password_hash && !seed->user)
        return pv_error_set(err, EINVAL, "--cloud-password-hash: whose? --cloud-user says it");
    int ret = seed->key_count ? 0 : add_own_keys(s, err);
    if (ret == 0 && seed->user && !seed->key_count && !seed->password_hash)
        ret = pv_error_set(err, EINVAL,
                           "--cloud-user %s: could not log in; there is no key in ~/.ssh, so give "
                           "--cloud-key or --cloud-password-hash",
                           seed->user);
    find_agent(s);
    return ret;
}

int cli_seed_write(struct cli_seed *s, const char *name, const char *path, struct pv_error **err)
{
    PV_CLEANUP_BUFFER struct pv_buffer iso = PV_BUFFER_INIT(PV_SEED_BYTES_MAX);
    int ret = complete(s, name, err);
    if (ret == 0)
        ret = pv_cloud_seed_make(&iso, &s->seed, err);
    if (ret < 0)
        return ret;
    FILE *file = fopen(path, "wx");
    bool fine = file && fwrite(iso.data, 1, iso.size, file) == iso.size;
    if (file)
        fine &= fclose(file) == 0;
    return fine ? 0 : pv_error_errno(err, errno, "%s", path);
}

void cli_seed_finish(struct cli_seed *s)
{
    for (size_t i = 0; i < s->owned_count; i++)
        free(s->owned[i]);
    *s = (struct cli_seed){0};
}
