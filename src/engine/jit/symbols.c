/* SPDX-License-Identifier: MIT */
#include "engine/jit/symbols.h"

#include "base/error.h"
#include "base/util.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define FARTHEST (16 * PV_MIB)

struct symbol {
    uint64_t address;
    char *name;
};

struct jit_symbols {
    struct symbol *list; /* by address */
    size_t count, room;
};

static int add(struct jit_symbols *symbols, uint64_t address, const char *name)
{
    if (symbols->count == symbols->room) {
        const size_t room = symbols->room ? 2 * symbols->room : 4096;
        struct symbol *list = reallocarray(symbols->list, room, sizeof(*list));
        if (!list)
            return -ENOMEM;
        symbols->list = list;
        symbols->room = room;
    }
    char *copy = strdup(name);
    if (!copy)
        return -ENOMEM;
    symbols->list[symbols->count++] = (struct symbol){address, copy};
    return 0;
}

static int compare(const void *a, const void *b)
{
    const struct symbol *left = a, *right = b;
    return left->address < right->address ? -1 : left->address > right->address;
}

static int read_lines(struct jit_symbols *symbols, FILE *file, const char *path,
                      struct pv_error **err)
{
    char line[512], digits[17], name[256], type;
    for (unsigned number = 1; fgets(line, sizeof(line), file); number++) {
        if (sscanf(line, "%16[0-9a-fA-F] %c %255s", digits, &type, name) != 3)
            return pv_error_set(err, EINVAL,
                                "'%s', line %u: lines of ADDRESS TYPE NAME are expected, as in "
                                "/proc/kallsyms",
                                path, number);
        const uint64_t address = strtoull(digits, NULL, 16);
        if (strchr("tTwW", type) && add(symbols, address, name) < 0)
            return pv_error_set(err, ENOMEM, "'%s': out of memory", path);
    }
    if (!symbols->count)
        return pv_error_set(err, EINVAL, "'%s': there is no symbol of code in it", path);
    qsort(symbols->list, symbols->count, sizeof(*symbols->list), compare);
    return 0;
}

int jit_symbols_load(struct jit_symbols **out, const char *path, struct pv_error **err)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return pv_error_errno(err, errno, "cannot open '%s'", path);
    struct jit_symbols *symbols = calloc(1, sizeof(*symbols));
    int ret = symbols ? read_lines(symbols, file, path, err)
                      : pv_error_set(err, ENOMEM, "'%s': out of memory", path);
    fclose(file);
    if (ret < 0) {
        jit_symbols_free(symbols);
        return ret;
    }
    *out = symbols;
    return 0;
}

void jit_symbols_free(struct jit_symbols *symbols)
{
    if (!symbols)
        return;
    for (size_t i = 0; i < symbols->count; i++)
        free(symbols->list[i].name);
    free(symbols->list);
    free(symbols);
}

const char *jit_symbols_find(const struct jit_symbols *symbols, uint64_t address, uint64_t *offset)
{
    size_t first = 0, end = symbols ? symbols->count : 0;
    while (first < end) { /* the first symbol behind the address */
        const size_t middle = first + (end - first) / 2;
        if (symbols->list[middle].address <= address)
            first = middle + 1;
        else
            end = middle;
    }
    if (!first || address - symbols->list[first - 1].address > FARTHEST)
        return NULL;
    *offset = address - symbols->list[first - 1].address;
    return symbols->list[first - 1].name;
}
