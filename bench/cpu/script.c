/* SPDX-License-Identifier: MIT */
/*
 * The loop of a scripting language: a register machine with tagged values, a switch for each
 * instruction, tables with string keys, calls. The program is
 *
 *     t = {count: 0, sum: 0.0}
 *     for i = 0 .. N: t.count += 1; t.sum += square(i) * 0.5
 */
#include <string.h>

#include "suite.h"

enum kind { NOTHING, INTEGER, NUMBER, TABLE };

struct value {
    enum kind kind;
    union {
        int64_t integer;
        double number;
        struct table *table;
    };
};

struct table {
    struct {
        const char *key;
        struct value value;
    } slots[16];
};

enum op { LOAD, ADD, MULTIPLY, GET, SET, CALL, RETURN, LESS, STOP };

struct instruction {
    uint8_t op, to, a, b;
};

static const char *const names[] = {"count", "sum"};
static const struct value constants[] = {
    {INTEGER, {.integer = 0}},
    {INTEGER, {.integer = 1}},
    {NUMBER, {.number = 0.5}},
    {INTEGER, {.integer = 100000}},
};

/* Registers: 0 t, 1 i, 2 one, 3 half, 4 end, 5 and 6 scratch, 7 the argument and result. */
static const struct instruction program[] = {
    {LOAD, 1, 0, 0},
    {LOAD, 2, 1, 0},
    {LOAD, 3, 2, 0},
    {LOAD, 4, 3, 0},
    /* 4 */
    {GET, 5, 0, 0},
    {ADD, 5, 5, 2},
    {SET, 5, 0, 0},
    {ADD, 7, 1, 0xff},
    {CALL, 0, 16, 0},
    {MULTIPLY, 7, 7, 3},
    {GET, 6, 0, 1},
    {ADD, 6, 6, 7},
    {SET, 6, 0, 1},
    {ADD, 1, 1, 2},
    {LESS, 4, 1, 4},
    {STOP, 0, 0, 0},
    /* 16: square */
    {MULTIPLY, 7, 7, 7},
    {RETURN, 0, 0, 0},
};

static struct value *find(struct table *table, const char *key)
{
    unsigned hash = 5381;
    for (const char *c = key; *c; c++)
        hash = hash * 33 + (unsigned char)*c;
    for (;; hash++) {
        const char **slot = &table->slots[hash & 15].key;
        if (!*slot)
            *slot = key;
        if (*slot == key || !strcmp(*slot, key))
            return &table->slots[hash & 15].value;
    }
}

static double as_number(struct value v)
{
    return v.kind == INTEGER ? (double)v.integer : v.kind == NUMBER ? v.number : 0;
}

static struct value arithmetic(enum op op, struct value a, struct value b)
{
    if (a.kind == INTEGER && b.kind == INTEGER) {
        uint64_t x = (uint64_t)a.integer, y = (uint64_t)b.integer;
        return (struct value){INTEGER, {.integer = (int64_t)(op == ADD ? x + y : x * y)}};
    }
    double x = as_number(a), y = as_number(b);
    return (struct value){NUMBER, {.number = op == ADD ? x + y : x * y}};
}

static uint64_t interpret(struct value *r)
{
    const struct instruction *pc = program, *frames[8];
    uint64_t steps = 0;
    unsigned depth = 0;
    for (;; steps++) {
        struct instruction i = *pc++;
        switch ((enum op)i.op) {
        case LOAD: r[i.to] = constants[i.a]; break;
        case ADD:
        case MULTIPLY: r[i.to] = i.b == 0xff ? r[i.a] : arithmetic(i.op, r[i.a], r[i.b]); break;
        case GET: r[i.to] = *find(r[i.a].table, names[i.b]); break;
        case SET: *find(r[i.a].table, names[i.b]) = r[i.to]; break;
        case CALL:
            frames[depth++ & 7] = pc;
            pc = program + i.a;
            break;
        case RETURN: pc = frames[--depth & 7]; break;
        case LESS:
            if (as_number(r[i.a]) < as_number(r[i.b]))
                pc = program + i.to;
            break;
        case STOP: return steps;
        }
    }
}

static double script(void)
{
    struct table table = {0};
    struct value registers[8] = {{TABLE, {.table = &table}}};
    find(&table, "count")->kind = INTEGER;
    *find(&table, "sum") = (struct value){NUMBER, {.number = 0}};
    uint64_t steps = interpret(registers);
    uint64_t bits;
    memcpy(&bits, &find(&table, "sum")->number, 8);
    result = mix((uint64_t)find(&table, "count")->integer, bits);
    return (double)steps;
}

const struct bench script_benches[] = {{"script", script}, {NULL, NULL}};
