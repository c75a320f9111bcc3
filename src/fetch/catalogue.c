/* SPDX-License-Identifier: MIT */
#include "fetch/catalogue.h"

#include "base/buffer.h"
#include "base/error.h"
#include "base/util.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#define FORMAT    1
#define NAMES_MAX 4096u /* bytes, in a message */

/* A member that is text, or not there. */
static int copy_member(char **out, json_t *object, const char *key, const char *where,
                       struct pv_error **err)
{
    json_t *value = json_object_get(object, key);
    if (!value)
        return 0;
    if (!json_is_string(value))
        return pv_error_set(err, EINVAL, "%s: '%s' is not text", where, key);
    *out = strdup(json_string_value(value));
    return *out ? 0 : pv_error_set(err, ENOMEM, "%s: out of memory", where);
}

static int read_entry(struct catalogue_entry *entry, json_t *object, const char *where,
                      struct pv_error **err)
{
    const char *reason = json_string_value(json_object_get(object, "unavailable"));
    if (reason)
        return pv_error_set(err, EINVAL, "%s: %s", where, reason);
    int ret = copy_member(&entry->url, object, "url", where, err);
    if (ret == 0)
        ret = copy_member(&entry->sums, object, "sums", where, err);
    if (ret == 0)
        ret = copy_member(&entry->signature, object, "signature", where, err);
    if (ret == 0)
        ret = copy_member(&entry->keyring, object, "keyring", where, err);
    if (ret == 0 && !entry->url)
        ret = pv_error_set(err, EINVAL, "%s: no 'url' in the catalogue", where);
    if (ret == 0 && entry->signature && (!entry->sums || !entry->keyring))
        ret = pv_error_set(err, EINVAL, "%s: a 'signature' needs 'sums' and a 'keyring'", where);
    return ret;
}

/* NULL without an error: the file is not there. */
static json_t *load(const char *path, struct pv_error **err)
{
    json_error_t problem;
    if (access(path, F_OK) < 0)
        return NULL;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &problem);
    if (!root) {
        pv_error_set(err, EINVAL, "%s:%d: %s", path, problem.line, problem.text);
        return NULL;
    }
    if (json_integer_value(json_object_get(root, "format")) == FORMAT &&
        json_is_object(json_object_get(root, "images")))
        return root;
    pv_error_set(err, EINVAL, "%s: not a catalogue of format %d", path, FORMAT);
    json_decref(root);
    return NULL;
}

static void add_names(struct pv_buffer *names, json_t *images)
{
    const char *name;
    json_t *entry;
    json_object_foreach(images, name, entry) if (!json_object_get(entry, "unavailable"))
        pv_buffer_printf(names, "%s%s", names->size ? ", " : "", name);
}

int catalogue_find(struct catalogue_entry *entry, const char *name, const char *const *files,
                   unsigned count, struct pv_error **err)
{
    PV_CLEANUP_BUFFER struct pv_buffer names = PV_BUFFER_INIT(NAMES_MAX);
    PV_CLEANUP_ERROR struct pv_error *problem = NULL;
    *entry = (struct catalogue_entry){0};
    int ret = -ENOENT;
    for (unsigned i = 0; i < count && ret == -ENOENT; i++) {
        json_t *root = load(files[i], &problem);
        json_t *images = json_object_get(root, "images"), *found = json_object_get(images, name);
        if (problem)
            ret = -EINVAL;
        else if (found)
            ret = read_entry(entry, found, name, &problem);
        else if (root)
            add_names(&names, images);
        json_decref(root);
    }
    if (ret == -ENOENT)
        pv_error_set(err, ENOENT, "'%s': neither a file, a URL nor one of: %s", name,
                     names.size ? names.data : "none");
    else if (ret < 0)
        pv_error_set(err, EINVAL, "%s", pv_error_message(problem));
    if (ret < 0)
        catalogue_entry_finish(entry);
    return ret;
}

void catalogue_entry_finish(struct catalogue_entry *entry)
{
    free(entry->url);
    free(entry->sums);
    free(entry->signature);
    free(entry->keyring);
    *entry = (struct catalogue_entry){0};
}
