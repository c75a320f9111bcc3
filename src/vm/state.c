/* SPDX-License-Identifier: MIT */
#include "vm/state.h"

#include "base/error.h"
#include "base/util.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

static const char *const names[PV_VM_STATE_COUNT] = {
    [PV_VM_CREATED] = "created", [PV_VM_STARTING] = "starting",   [PV_VM_RUNNING] = "running",
    [PV_VM_PAUSED] = "paused",   [PV_VM_STOPPING] = "stopping",   [PV_VM_STOPPED] = "stopped",
    [PV_VM_FAILED] = "failed",   [PV_VM_SUSPENDED] = "suspended",
};

/* One more than the next state, so that what is not mentioned is 0: it cannot happen. */
#define TO(state) ((uint8_t)(PV_VM_##state + 1))

static const uint8_t table[PV_VM_STATE_COUNT][PV_VM_EVENT_COUNT] = {
    [PV_VM_CREATED] = {[PV_VM_START] = TO(STARTING), [PV_VM_DELETE] = TO(CREATED)},
    [PV_VM_STARTING] = {[PV_VM_KILL] = TO(STARTING),
                        [PV_VM_IS_READY] = TO(RUNNING),
                        [PV_VM_HAS_ENDED] = TO(STOPPED),
                        [PV_VM_HAS_FAILED] = TO(FAILED)},
    [PV_VM_RUNNING] = {[PV_VM_PAUSE] = TO(PAUSED),
                       [PV_VM_RESET] = TO(RUNNING),
                       [PV_VM_STOP] = TO(STOPPING),
                       [PV_VM_KILL] = TO(RUNNING),
                       [PV_VM_SUSPEND] = TO(RUNNING),
                       [PV_VM_CHANGE] = TO(RUNNING),
                       [PV_VM_IS_SAVED] = TO(SUSPENDED),
                       [PV_VM_HAS_ENDED] = TO(STOPPED),
                       [PV_VM_HAS_FAILED] = TO(FAILED)},
    /* A paused guest cannot answer its power button. */
    [PV_VM_PAUSED] = {[PV_VM_RESUME] = TO(RUNNING),
                      [PV_VM_RESET] = TO(PAUSED),
                      [PV_VM_KILL] = TO(PAUSED),
                      [PV_VM_SUSPEND] = TO(PAUSED),
                      [PV_VM_CHANGE] = TO(PAUSED),
                      [PV_VM_IS_SAVED] = TO(SUSPENDED),
                      [PV_VM_HAS_ENDED] = TO(STOPPED),
                      [PV_VM_HAS_FAILED] = TO(FAILED)},
    /* One that ignores it stays here, and can be paused, reset, asked again, or killed. It may have
     * been asked to while it was being saved. */
    [PV_VM_STOPPING] = {[PV_VM_PAUSE] = TO(PAUSED),
                        [PV_VM_RESET] = TO(RUNNING),
                        [PV_VM_STOP] = TO(STOPPING),
                        [PV_VM_KILL] = TO(STOPPING),
                        [PV_VM_CHANGE] = TO(STOPPING),
                        [PV_VM_IS_SAVED] = TO(SUSPENDED),
                        [PV_VM_HAS_ENDED] = TO(STOPPED),
                        [PV_VM_HAS_FAILED] = TO(FAILED)},
    [PV_VM_SUSPENDED] = {[PV_VM_START] = TO(STARTING), [PV_VM_DELETE] = TO(SUSPENDED)},
    [PV_VM_STOPPED] = {[PV_VM_START] = TO(STARTING), [PV_VM_DELETE] = TO(STOPPED)},
    [PV_VM_FAILED] = {[PV_VM_START] = TO(STARTING), [PV_VM_DELETE] = TO(FAILED)},
};

const char *pv_vm_state_name(enum pv_vm_state state)
{
    return names[state];
}

bool pv_vm_state_parse(const char *name, enum pv_vm_state *state)
{
    for (unsigned i = 0; i < PV_VM_STATE_COUNT; i++) {
        if (strcmp(names[i], name) != 0)
            continue;
        *state = i;
        return true;
    }
    return false;
}

bool pv_vm_state_lives(enum pv_vm_state state)
{
    return state >= PV_VM_STARTING && state <= PV_VM_STOPPING;
}

int pv_vm_state_after(enum pv_vm_state state, enum pv_vm_event event)
{
    return table[state][event] - 1;
}

int pv_vm_state_check(const char *name, enum pv_vm_state state, enum pv_vm_event event,
                      struct pv_error **err)
{
    if (pv_vm_state_after(state, event) >= 0)
        return 0;
    if (!pv_vm_state_lives(state))
        return pv_error_set(err, ESRCH, "VM '%s' is not running", name);
    bool is_so = (event == PV_VM_PAUSE && state == PV_VM_PAUSED) ||
                 (event == PV_VM_RESUME && state == PV_VM_RUNNING) || event == PV_VM_START;
    return is_so ? pv_error_set(err, EALREADY, "VM '%s' is %s already", name, names[state])
                 : pv_error_set(err, EBUSY, "VM '%s' is %s, and cannot do that now", name,
                                names[state]);
}
