/* SPDX-License-Identifier: MIT */
#include "daemon/api.h"

#include "base/error.h"
#include "base/parse.h"
#include "base/util.h"

#include <errno.h>
#include <regex.h>
#include <string.h>

#define MAX_VALUES 32u

/* ---- Paths ---- */

/* Takes a segment's end; true when both have one more behind it. */
static bool next_segment(const char **at, size_t *len)
{
    if (**at != '/')
        return false;
    *len = strcspn(++*at, "/");
    return true;
}

/* Whether `path` is `pattern` with something for each {field}, which goes into `values`. */
static bool match(const char *pattern, const char *path, json_t *values)
{
    size_t want, have;
    while (next_segment(&pattern, &want)) {
        if (!next_segment(&path, &have))
            return false;
        if (*pattern == '{') {
            PV_CLEANUP_FREE char *name = strndup(pattern + 1, want - 2);
            /* Not all bytes are text; those of a path that are not are nobody's name. */
            if (!name || json_object_set_new(values, name, json_stringn(path, have)) < 0)
                return false;
        } else if (want != have || memcmp(pattern, path, want) != 0) {
            return false;
        }
        pattern += want;
        path += have;
    }
    return !*path;
}

const struct pv_api_operation *pv_api_find(const char *method, const char *path, json_t *values,
                                           unsigned *status)
{
    *status = 404;
    for (size_t i = 0; i < pv_api_operation_count; i++) {
        const struct pv_api_operation *operation = &pv_api_operations[i];
        json_object_clear(values);
        if (!match(operation->path, path, values))
            continue;
        if (!strcmp(operation->method, method))
            return operation;
        *status = 405;
    }
    json_object_clear(values);
    return NULL;
}

/* ---- Values ---- */

static bool fits(const char *pattern, const char *text)
{
    regex_t regex;
    if (!pattern)
        return true;
    if (regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB))
        return false;
    bool found = regexec(&regex, text, 0, NULL, 0) == 0;
    regfree(&regex);
    return found;
}

static int check_choice(const struct pv_api_field *field, const char *text, struct pv_error **err)
{
    for (size_t i = 0; field->choices[i]; i++) {
        if (!strcmp(field->choices[i], text))
            return 0;
    }
    return pv_error_set(err, EINVAL, "%s: use one of those that the description has", field->name);
}

static int check_string(const struct pv_api_field *field, json_t *value, struct pv_error **err)
{
    const char *text = json_string_value(value);
    if (!text)
        return pv_error_set(err, EINVAL, "%s is to be a string", field->name);
    if ((json_int_t)json_string_length(value) > field->most)
        return pv_error_set(err, EINVAL, "%s has more than %lld bytes", field->name,
                            (long long)field->most);
    if (field->choices)
        return check_choice(field, text, err);
    if (!fits(field->pattern, text))
        return pv_error_set(err, EINVAL, "%s '%.80s' is not of the form %s", field->name, text,
                            field->pattern);
    return 0;
}

static int check_values(const struct pv_api_field *field, json_t *value, struct pv_error **err)
{
    /* The pattern of settings is for their keys. */
    const struct pv_api_field one = {.name = field->name, .most = 4096};
    size_t i;
    json_t *element;
    if (!json_is_array(value))
        return check_string(&one, value, err);
    if (json_array_size(value) > MAX_VALUES)
        return pv_error_set(err, E2BIG, "%s: more than %u values", field->name, MAX_VALUES);
    json_array_foreach(value, i, element)
    {
        int ret = check_string(&one, element, err);
        if (ret < 0)
            return ret;
    }
    return 0;
}

static int check_settings(const struct pv_api_field *field, json_t *value, struct pv_error **err)
{
    const char *key;
    json_t *setting;
    if (!json_is_object(value))
        return pv_error_set(err, EINVAL, "%s is to be an object", field->name);
    if ((json_int_t)json_object_size(value) > field->most)
        return pv_error_set(err, E2BIG, "%s: more than %lld keys", field->name,
                            (long long)field->most);
    json_object_foreach(value, key, setting)
    {
        if (!fits(field->pattern, key))
            return pv_error_set(err, EINVAL, "%s: '%.80s' is not a key", field->name, key);
        int ret = check_values(field, setting, err);
        if (ret < 0)
            return ret;
    }
    return 0;
}

static int check_value(const struct pv_api_field *field, json_t *value, struct pv_error **err)
{
    switch (field->type) {
    case PV_API_STRING: return check_string(field, value, err);
    case PV_API_VALUES: return check_values(field, value, err);
    case PV_API_SETTINGS: return check_settings(field, value, err);
    case PV_API_BOOLEAN:
        return json_is_boolean(value)
                   ? 0
                   : pv_error_set(err, EINVAL, "%s is to be true or false", field->name);
    case PV_API_INTEGER:
        if (!json_is_integer(value) || json_integer_value(value) < field->least ||
            json_integer_value(value) > field->most)
            return pv_error_set(err, EINVAL, "%s is to be a number from %lld to %lld", field->name,
                                (long long)field->least, (long long)field->most);
        return 0;
    }
    return 0;
}

/* Queries are text, whatever they mean. */
static json_t *read_query(const struct pv_api_field *field, json_t *value)
{
    uint64_t number;
    const char *text = json_string_value(value);
    if (field->type != PV_API_INTEGER || !text)
        return json_incref(value);
    if (pv_parse_u64(text, field->name, 0, INT64_MAX, &number, NULL) < 0)
        return json_incref(value);
    return json_integer((json_int_t)number);
}

static const struct pv_api_field *find_field(const struct pv_api_operation *operation,
                                             enum pv_api_place place, const char *name)
{
    for (size_t i = 0; i < operation->field_count; i++) {
        const struct pv_api_field *field = &operation->fields[i];
        if (field->place == place && !strcmp(field->name, name))
            return field;
    }
    return NULL;
}

static int take(const struct pv_api_operation *operation, enum pv_api_place place, json_t *given,
                json_t *values, struct pv_error **err)
{
    const char *name;
    json_t *value;
    json_object_foreach(given, name, value)
    {
        const struct pv_api_field *field = find_field(operation, place, name);
        if (!field)
            return pv_error_set(err, EINVAL, "'%.80s' is not known here", name);
        json_t *read = place == PV_API_QUERY ? read_query(field, value) : json_incref(value);
        int ret = check_value(field, read, err);
        if (ret >= 0 && json_object_set(values, name, read) < 0)
            ret = pv_error_set(err, ENOMEM, "out of memory");
        json_decref(read);
        if (ret < 0)
            return ret;
    }
    return 0;
}

int pv_api_check(const struct pv_api_operation *operation, json_t *query, json_t *body,
                 json_t *values, struct pv_error **err)
{
    if (body && !json_is_object(body))
        return pv_error_set(err, EINVAL, "the body is to be an object");
    json_t *path = json_copy(values);
    int ret = take(operation, PV_API_PATH, path, values, err);
    json_decref(path);
    if (ret >= 0)
        ret = take(operation, PV_API_QUERY, query, values, err);
    if (ret >= 0)
        ret = take(operation, PV_API_BODY, body, values, err);
    for (size_t i = 0; i < operation->field_count && ret >= 0; i++) {
        const struct pv_api_field *field = &operation->fields[i];
        if (field->required && !json_object_get(values, field->name))
            ret = pv_error_set(err, EINVAL, "'%s' is needed", field->name);
    }
    return ret;
}

unsigned pv_api_status(int code)
{
    static const struct {
        int code;
        unsigned status;
    } statuses[] = {
        {EINVAL, 400},   {ENOENT, 404}, {EEXIST, 409}, {EBUSY, 409},
        {EALREADY, 409}, {ESRCH, 409},  {E2BIG, 413},  {ENOMEM, 503},
        {EAGAIN, 503},   {EMFILE, 503}, {ENFILE, 503}, {ETIMEDOUT, 504},
    };
    for (size_t i = 0; i < PV_ARRAY_SIZE(statuses); i++) {
        if (statuses[i].code == code)
            return statuses[i].status;
    }
    return 422;
}
