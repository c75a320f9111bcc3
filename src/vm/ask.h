/* SPDX-License-Identifier: MIT */
/* The client's side of a control socket (vm/control.h). */
#ifndef PV_VM_ASK_H
#define PV_VM_ASK_H

#include <jansson.h>

struct pv_error;

/*
 * Asks and waits for the answer. `arguments` is an object of strings, or NULL; it stays the
 * caller's. A VM that says nothing for `seconds` (0: no limit) is given up. *result, which the
 * caller frees, may be NULL when nobody wants it. The error is what the VM said, or that there was
 * no talking to it.
 */
int pv_control_ask(const char *socket, const char *verb, json_t *arguments, unsigned seconds,
                   json_t **result, struct pv_error **err);

#endif
