/* SPDX-License-Identifier: MIT */
/*
 * Writes ACPI Machine Language (ACPI 6.5, chapter 20) front to back. Terms are written in prefix
 * order, as the grammar has them: an operator, then its operands. What has a length of its own
 * (scopes, devices, methods, packages, buffers) is opened and closed; a closed one's length is put
 * in front of it then. The first failure sticks, and everything after it does nothing.
 */
#ifndef PV_MACHINE_ACPI_AML_H
#define PV_MACHINE_ACPI_AML_H

#include "base/buffer.h"

#include <stdbool.h>
#include <stdint.h>

#define PV_AML_DEPTH 8u

struct pv_aml {
    struct pv_buffer out;
    int ret; /* the first failure: -ENOMEM or -E2BIG */
    struct {
        size_t start;  /* of what the length counts */
        bool template; /* a buffer of resources: its size follows the length */
    } open[PV_AML_DEPTH];
    unsigned depth;
};

/* `max` bounds the output. Finish with pv_buffer_finish(&aml->out). */
void pv_aml_init(struct pv_aml *aml, size_t max);

/* Operators and operands of one byte. */
enum pv_aml_op {
    PV_AML_STORE = 0x70,
    PV_AML_NOTIFY = 0x86,
    PV_AML_AND = 0x7b,
    PV_AML_OR = 0x7d,
    PV_AML_CREATE_DWORD_FIELD = 0x8a,
    PV_AML_NOT = 0x92, /* logical */
    PV_AML_EQUAL = 0x93,
    PV_AML_RETURN = 0xa4,
    PV_AML_LOCAL0 = 0x60,
    PV_AML_ARG0 = 0x68, /* the others follow */
};
void pv_aml_op(struct pv_aml *aml, unsigned op);

/* "ABCD", "\\ABCD", or segments with dots in between; segments are filled up to four characters. */
void pv_aml_path(struct pv_aml *aml, const char *path);
void pv_aml_integer(struct pv_aml *aml, uint64_t value);
void pv_aml_string(struct pv_aml *aml, const char *text);
/* A compressed ID such as "PNP0A08". */
void pv_aml_eisa_id(struct pv_aml *aml, const char *id);
/* A buffer that holds a UUID as ToUUID() makes it of "aabbccdd-eeff-gghh-iijj-kkllmmnnoopp". */
void pv_aml_uuid(struct pv_aml *aml, const char *uuid);

/* Name(NAME, ...): the value follows, or is given here. */
void pv_aml_name(struct pv_aml *aml, const char *name);
void pv_aml_name_integer(struct pv_aml *aml, const char *name, uint64_t value);
void pv_aml_name_string(struct pv_aml *aml, const char *name, const char *value);
void pv_aml_name_eisa_id(struct pv_aml *aml, const char *name, const char *id);

/* Each is closed by pv_aml_end(). */
void pv_aml_scope(struct pv_aml *aml, const char *path);
void pv_aml_device(struct pv_aml *aml, const char *name);
void pv_aml_method(struct pv_aml *aml, const char *name, unsigned arguments);
void pv_aml_if(struct pv_aml *aml); /* the predicate follows */
void pv_aml_else(struct pv_aml *aml);
void pv_aml_package(struct pv_aml *aml, unsigned elements);
void pv_aml_resources(struct pv_aml *aml); /* ResourceTemplate() */
void pv_aml_end(struct pv_aml *aml);

/* ---- Inside resources (ACPI 6.5, 6.4) ---- */

enum pv_aml_interrupt {
    PV_AML_LEVEL_HIGH = 0,
    PV_AML_EDGE_HIGH = 1,
};

void pv_aml_memory32(struct pv_aml *aml, uint32_t address, uint32_t size);
void pv_aml_interrupt(struct pv_aml *aml, enum pv_aml_interrupt kind, uint32_t intid);
/* Producer ranges of a bridge, fixed, without translation. */
void pv_aml_bus_range(struct pv_aml *aml, uint16_t first, uint16_t last);
void pv_aml_memory_range(struct pv_aml *aml, uint64_t address, uint64_t size);
/* A range that the device itself consumes. */
void pv_aml_memory_use(struct pv_aml *aml, uint64_t address, uint64_t size);
/* An interrupt by a pin of the GPIO controller at `source`: rising edge, exclusive. */
void pv_aml_gpio_interrupt(struct pv_aml *aml, uint16_t pin, const char *source);

#endif
