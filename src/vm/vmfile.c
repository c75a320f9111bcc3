/* SPDX-License-Identifier: MIT */
/*
 * libfyaml parses; values stay the text they are in the file: `cpus: 2` is the string "2", so that
 * one parser says what is wrong with it, wherever it was written. Changes are made to the text, a
 * key's lines for others, because what a person wrote between them (comments, order, blank lines)
 * is to stay, and libfyaml does not keep it.
 */
#include "vm/vmfile.h"

#include "base/buffer.h"
#include "base/error.h"
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <libfyaml.h>
#include <string.h>

#define VERSION     "1"
#define VERSION_KEY "version"
#define TEXT_MAX    (1024 * 1024u)

struct pv_vm_file {
    struct fy_document *document; /* of the text */
    struct pv_buffer text;
    char *path;
    char **values; /* copies that were handed out */
    size_t value_count;
};

static int out_of_memory(const char *path, struct pv_error **err)
{
    return pv_error_set(err, ENOMEM, "%s: out of memory", path);
}

/* ---- Reading ---- */

/* libfyaml's first complaint, "NAME:LINE:COLUMN: error: TEXT", without what follows. */
static int parse_error(const char *path, const char *complaint, struct pv_error **err)
{
    static const char word[] = ": error: ";
    const char *text = strstr(complaint, word);
    if (!text)
        return pv_error_set(err, EINVAL, "%s: a mapping of keys to values is needed", path);
    const char *place = text;
    for (unsigned colons = 0; place > complaint && (place[-1] != ':' || colons++ < 1);)
        place--;
    const char *what = text + strlen(word);
    return pv_error_set(err, EINVAL, "%s:%.*s: %.*s", path, (int)(text - place), place,
                        (int)strcspn(what, "\n"), what);
}

static int parse(struct pv_vm_file *file, struct pv_error **err)
{
    PV_CLEANUP_FREE char *complaint = NULL;
    size_t len = 0;
    FILE *memory = open_memstream(&complaint, &len);
    if (!memory)
        return out_of_memory(file->path, err);
    const struct fy_diag_cfg diag_cfg = {.fp = memory,
                                         .level = FYET_ERROR,
                                         .module_mask = ~0u,
                                         .show_position = true,
                                         .show_type = true};
    struct fy_diag *diag = fy_diag_create(&diag_cfg);
    const struct fy_parse_cfg cfg = {.diag = diag};
    fy_document_destroy(file->document);
    file->document = fy_document_build_from_string(&cfg, file->text.data, file->text.size);
    fclose(memory);
    int ret = file->document ? 0 : parse_error(file->path, complaint, err);
    fy_diag_destroy(diag);
    return ret;
}

static const struct fy_mark *mark_of(struct fy_node *node)
{
    struct fy_token *token =
        node && fy_node_is_scalar(node) ? fy_node_get_scalar_token(node) : NULL;
    return token ? fy_token_start_mark(token) : NULL;
}

/* Prefixes the error with where `node` stands. */
static int at_node(const struct pv_vm_file *file, struct fy_node *node, struct pv_error **err)
{
    const struct fy_mark *mark = mark_of(node);
    return mark ? pv_error_prefix(err, "%s:%d:%d", file->path, mark->line + 1, mark->column + 1)
                : pv_error_prefix(err, "%s", file->path);
}

static char *copy_value(struct pv_vm_file *file, struct fy_node *node)
{
    size_t len;
    const char *text = fy_node_get_scalar(node, &len);
    char **values = realloc(file->values, (file->value_count + 1) * sizeof(*values));
    if (!values)
        return NULL;
    file->values = values;
    values[file->value_count] = strndup(text ? text : "", text ? len : 0);
    return values[file->value_count] ? values[file->value_count++] : NULL;
}

static int one_value(struct pv_vm_file *file, struct fy_node *key, struct fy_node *node,
                     pv_vm_file_fn *fn, void *opaque, struct pv_error **err)
{
    const char *name = fy_node_get_scalar0(key);
    if (!node || !fy_node_is_scalar(node)) {
        pv_error_set(err, EINVAL, "%s: a value or a list of values is needed", name);
        return at_node(file, key, err);
    }
    char *value = copy_value(file, node);
    if (!value)
        return out_of_memory(file->path, err);
    return fn(opaque, name, value, err) < 0 ? at_node(file, node, err) : 0;
}

static int check_version(const struct pv_vm_file *file, struct pv_error **err)
{
    struct fy_node *root = fy_document_root(file->document);
    if (!root || !fy_node_is_mapping(root))
        return pv_error_set(err, EINVAL, "%s: a mapping of keys to values is needed", file->path);
    struct fy_node *node = fy_node_mapping_lookup_by_string(root, VERSION_KEY, FY_NT);
    const char *version = node && fy_node_is_scalar(node) ? fy_node_get_scalar0(node) : NULL;
    if (!version)
        return pv_error_set(err, EINVAL, "%s: 'version: " VERSION "' is missing", file->path);
    if (strcmp(version, VERSION) != 0) {
        pv_error_set(err, EINVAL, "version '%s': this program knows version " VERSION, version);
        return at_node(file, node, err);
    }
    return 0;
}

int pv_vm_file_each(struct pv_vm_file *file, pv_vm_file_fn *fn, void *opaque, struct pv_error **err)
{
    struct fy_node *root = fy_document_root(file->document);
    struct fy_node_pair *pair;
    void *at = NULL;
    int ret = 0;

    while (ret >= 0 && (pair = fy_node_mapping_iterate(root, &at))) {
        struct fy_node *key = fy_node_pair_key(pair), *value = fy_node_pair_value(pair), *item;
        const char *name = key && fy_node_is_scalar(key) ? fy_node_get_scalar0(key) : NULL;
        void *item_at = NULL;
        if (!name)
            return pv_error_set(err, EINVAL, "%s: a key is not a word", file->path);
        if (!strcmp(name, VERSION_KEY))
            continue;
        if (!value || !fy_node_is_sequence(value)) {
            ret = one_value(file, key, value, fn, opaque, err);
            continue;
        }
        while (ret >= 0 && (item = fy_node_sequence_iterate(value, &item_at)))
            ret = one_value(file, key, item, fn, opaque, err);
    }
    return ret;
}

static int new_file(struct pv_vm_file **out, const char *path, struct pv_error **err)
{
    struct pv_vm_file *file = calloc(1, sizeof(*file));
    if (file) {
        file->text = PV_BUFFER_INIT(TEXT_MAX);
        file->path = strdup(path);
    }
    if (!file || !file->path) {
        free(file);
        return out_of_memory(path, err);
    }
    *out = file;
    return 0;
}

static int read_text(struct pv_vm_file *file, struct pv_error **err)
{
    PV_CLEANUP_FILE FILE *in = fopen(file->path, "re");
    char chunk[4096];
    size_t n;
    if (!in)
        return pv_error_errno(err, errno, "%s", file->path);
    while ((n = fread(chunk, 1, sizeof(chunk), in)) > 0) {
        if (pv_buffer_append(&file->text, chunk, n) < 0)
            return pv_error_set(err, EFBIG, "%s: a VM's file has at most 1 MiB", file->path);
    }
    if (ferror(in))
        return pv_error_errno(err, errno, "%s", file->path);
    return file->text.size ? 0 : pv_error_set(err, EINVAL, "%s: it is empty", file->path);
}

int pv_vm_file_open(struct pv_vm_file **out, const char *path, struct pv_error **err)
{
    struct pv_vm_file *file;
    int ret = new_file(&file, path, err);
    if (ret < 0)
        return ret;
    ret = read_text(file, err);
    if (ret >= 0)
        ret = parse(file, err);
    if (ret >= 0)
        ret = check_version(file, err);
    if (ret < 0) {
        pv_vm_file_close(file);
        return ret;
    }
    *out = file;
    return 0;
}

void pv_vm_file_close(struct pv_vm_file *file)
{
    if (!file)
        return;
    fy_document_destroy(file->document);
    pv_buffer_finish(&file->text);
    for (size_t i = 0; i < file->value_count; i++)
        free(file->values[i]);
    free(file->values);
    free(file->path);
    free(file);
}

/* ---- Writing ---- */

int pv_vm_file_create(struct pv_vm_file **out, const char *path, struct pv_error **err)
{
    static const char text[] = VERSION_KEY ": " VERSION "\n";
    struct pv_vm_file *file;
    int ret = new_file(&file, path, err);
    if (ret < 0)
        return ret;
    ret = pv_buffer_append(&file->text, text, strlen(text));
    ret = ret < 0 ? out_of_memory(path, err) : parse(file, err);
    if (ret < 0) {
        pv_vm_file_close(file);
        return ret;
    }
    *out = file;
    return 0;
}

/* `key: value` or the key and a list, quoted where it must be. The caller frees it. */
static char *emit_pair(const char *key, const char *const *values, size_t count)
{
    const struct fy_parse_cfg cfg = {.flags = FYPCF_QUIET};
    struct fy_document *document = fy_document_create(&cfg);
    struct fy_node *root = fy_node_create_mapping(document);
    struct fy_node *name = fy_node_create_scalar_copy(document, key, FY_NT);
    struct fy_node *value = count == 1 ? fy_node_create_scalar_copy(document, values[0], FY_NT)
                                       : fy_node_create_sequence(document);
    char *text = NULL;
    for (size_t i = 0; count > 1 && i < count; i++)
        fy_node_sequence_append(value, fy_node_create_scalar_copy(document, values[i], FY_NT));
    if (fy_node_mapping_append(root, name, value) == 0 && fy_document_set_root(document, root) == 0)
        text = fy_emit_document_to_string(document, FYECF_WIDTH_INF | FYECF_MODE_BLOCK);
    fy_document_destroy(document);
    return text;
}

/* Where line `number` (from 0) begins; the end of the text when it has fewer. */
static size_t line_start(const struct pv_buffer *text, int number)
{
    size_t at = 0;
    for (int i = 0; i < number && at < text->size; i++) {
        const char *end = memchr(text->data + at, '\n', text->size - at);
        at = end ? (size_t)(end - text->data) + 1 : text->size;
    }
    return at;
}

/* The end of the last line from `from` to `to` that is neither blank nor a comment of its own. */
static size_t last_content(const struct pv_buffer *text, size_t from, size_t to)
{
    size_t last = from;
    while (from < to) {
        const char *line = text->data + from;
        const char *end = memchr(line, '\n', to - from);
        from = end ? (size_t)(end - text->data) + 1 : to;
        if (*line != '#' && strspn(line, " \t\r") != strcspn(line, "\n"))
            last = from;
    }
    return last;
}

/* The lines of a key and its value. A key that is not there has none, at the end. */
static void find_lines(struct pv_vm_file *file, const char *key, size_t *from, size_t *to)
{
    struct fy_node_pair *pair;
    bool found = false;
    void *at = NULL;
    *from = *to = file->text.size;
    while ((pair = fy_node_mapping_iterate(fy_document_root(file->document), &at))) {
        const struct fy_mark *mark = mark_of(fy_node_pair_key(pair));
        const char *name = mark ? fy_node_get_scalar0(fy_node_pair_key(pair)) : NULL;
        if (!name)
            continue;
        if (found) {
            *to = line_start(&file->text, mark->line);
            break;
        }
        found = !strcmp(name, key);
        if (found)
            *from = line_start(&file->text, mark->line);
    }
    *to = last_content(&file->text, *from, *to);
}

int pv_vm_file_set(struct pv_vm_file *file, const char *key, const char *const *values,
                   size_t count, struct pv_error **err)
{
    struct pv_buffer text = PV_BUFFER_INIT(TEXT_MAX);
    PV_CLEANUP_FREE char *pair = count ? emit_pair(key, values, count) : NULL;
    const struct pv_buffer *old = &file->text;
    size_t from, to;
    if (count && !pair)
        return out_of_memory(file->path, err);
    find_lines(file, key, &from, &to);
    const char *newline = from && old->data[from - 1] != '\n' ? "\n" : "";
    if (pv_buffer_append(&text, old->data, from) < 0 ||
        pv_buffer_printf(&text, "%s%s", newline, pair ? pair : "") < 0 ||
        pv_buffer_append(&text, old->data + to, old->size - to) < 0) {
        pv_buffer_finish(&text);
        return out_of_memory(file->path, err);
    }
    pv_buffer_finish(&file->text);
    file->text = text;
    return parse(file, err);
}

static int write_all(int fd, const char *text, size_t len)
{
    while (len) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno != EINTR)
            return -errno;
        text += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

int pv_vm_file_save(struct pv_vm_file *file, struct pv_error **err)
{
    PV_CLEANUP_FREE char *temporary = NULL;
    if (asprintf(&temporary, "%s.new", file->path) < 0) {
        temporary = NULL;
        return out_of_memory(file->path, err);
    }
    PV_CLEANUP_FD int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return pv_error_errno(err, errno, "%s", temporary);
    int ret = write_all(fd, file->text.data, file->text.size);
    if (ret >= 0 && (fsync(fd) < 0 || rename(temporary, file->path) < 0))
        ret = -errno;
    if (ret < 0) {
        unlink(temporary);
        return pv_error_errno(err, -ret, "%s", file->path);
    }
    return 0;
}
