/* SPDX-License-Identifier: MIT */
/*
 * The record of a thing's state: what snapshots are made of.
 *
 * One function describes a thing's state for both directions: it names the fields one after the
 * other, and each is written out while saving and read back while loading:
 *
 *     void pv_pl011_record(struct pv_pl011 *uart, struct pv_record *record)
 *     {
 *         pv_record_begin(record, 1, "pl011");
 *         pv_record_u32(record, &uart->imsc);
 *         ...
 *         pv_record_end(record);
 *     }
 *
 * so that the two cannot drift apart. Numbers are little-endian and of fixed size. A section has a
 * name, a version and a length. Sections come in the order that the machine's parts are in; one
 * that is not what is expected, newer than what is known, or of another length is refused. A field
 * that came with version 2 is recorded behind `if (pv_record_version(record) >= 2)` and keeps its
 * initial value when an older snapshot is loaded.
 *
 * Errors stick: after the first, nothing is written or read any more, loads leave fields as they
 * are, and pv_record_error() tells. What is loaded is a file's word: whoever uses a number as an
 * index checks it and calls pv_record_fail().
 */
#ifndef PV_BASE_RECORD_H
#define PV_BASE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_error;
struct pv_record;

#define PV_RECORD_MAX ((size_t)256 << 20) /* bytes of one record */

/* An empty one to save into, or one to load from `data`, which stays the caller's. NULL: no memory.
 */
struct pv_record *pv_record_save(void);
struct pv_record *pv_record_load(const void *data, size_t size);
void pv_record_free(struct pv_record *record);

bool pv_record_loading(const struct pv_record *record);
/* What has been saved; valid until more is. */
const void *pv_record_data(const struct pv_record *record, size_t *size);

/* A section; they do not nest. `version` is the newest known. */
void pv_record_begin(struct pv_record *record, unsigned version, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void pv_record_end(struct pv_record *record);
/* The current section's: the one given while saving, at most that while loading. */
unsigned pv_record_version(const struct pv_record *record);

void pv_record_u8(struct pv_record *record, uint8_t *value);
void pv_record_u16(struct pv_record *record, uint16_t *value);
void pv_record_u32(struct pv_record *record, uint32_t *value);
void pv_record_u64(struct pv_record *record, uint64_t *value);
void pv_record_bool(struct pv_record *record, bool *value);
void pv_record_bytes(struct pv_record *record, void *data, size_t size);

/* A number that is at most `max`. */
void pv_record_limited(struct pv_record *record, uint32_t *value, uint32_t max);

/*
 * Something that the thing being loaded into has too and that cannot be changed, such as how many
 * queues there are: another value in the record fails it, and `what` says of what.
 */
void pv_record_same(struct pv_record *record, uint64_t value, const char *what);

/* The state cannot be saved, or the record makes no sense. Only the first counts. */
void pv_record_fail(struct pv_record *record, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
bool pv_record_ok(const struct pv_record *record);

/*
 * 0, or the first failure, with the section that it was in. While loading also when something is
 * left over at the end.
 */
int pv_record_error(struct pv_record *record, struct pv_error **err);

#endif
