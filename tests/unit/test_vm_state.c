/* SPDX-License-Identifier: MIT */
/* The states of a VM: every event in every state, against the rules as a person would say them. */
#include "base/error.h"
#include "base/util.h"
#include "vm/state.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* What is to become of a state by an event, by rules rather than by a table; -1: refused. */
static int expected(enum pv_vm_state state, enum pv_vm_event event)
{
    const bool lives = pv_vm_state_lives(state), ready = lives && state != PV_VM_STARTING;
    switch (event) {
    case PV_VM_START: return lives ? -1 : PV_VM_STARTING;
    case PV_VM_PAUSE: return ready && state != PV_VM_PAUSED ? PV_VM_PAUSED : -1;
    case PV_VM_RESUME: return state == PV_VM_PAUSED ? PV_VM_RUNNING : -1;
    case PV_VM_RESET: return !ready ? -1 : state == PV_VM_PAUSED ? PV_VM_PAUSED : PV_VM_RUNNING;
    case PV_VM_STOP: return ready && state != PV_VM_PAUSED ? PV_VM_STOPPING : -1;
    case PV_VM_KILL: return lives ? (int)state : -1;
    case PV_VM_SUSPEND: return state == PV_VM_RUNNING || state == PV_VM_PAUSED ? (int)state : -1;
    case PV_VM_IS_SAVED: return ready ? PV_VM_SUSPENDED : -1;
    case PV_VM_CHANGE: return ready ? (int)state : -1;
    case PV_VM_DELETE: return lives ? -1 : (int)state;
    case PV_VM_IS_READY: return state == PV_VM_STARTING ? PV_VM_RUNNING : -1;
    case PV_VM_HAS_ENDED: return lives ? PV_VM_STOPPED : -1;
    case PV_VM_HAS_FAILED: return lives ? PV_VM_FAILED : -1;
    default: return -1;
    }
}

static void every_transition_is_as_the_rules_say(void **state)
{
    for (unsigned from = 0; from < PV_VM_STATE_COUNT; from++) {
        for (unsigned event = 0; event < PV_VM_EVENT_COUNT; event++) {
            PV_CLEANUP_ERROR struct pv_error *err = NULL;
            int to = expected(from, event);
            assert_int_equal(pv_vm_state_after(from, event), to);
            int ret = pv_vm_state_check("web", from, event, &err);
            assert_int_equal(ret >= 0, to >= 0);
            if (ret < 0)
                assert_non_null(strstr(pv_error_message(err), "VM 'web' is "));
        }
    }
}

/* From the beginning every state is reached, and none is an end. */
static void every_state_is_reached_and_left(void **state)
{
    unsigned reached = 1u << PV_VM_CREATED, before;
    do {
        before = reached;
        for (unsigned from = 0; from < PV_VM_STATE_COUNT; from++) {
            for (unsigned event = 0; event < PV_VM_EVENT_COUNT; event++) {
                int to = pv_vm_state_after(from, event);
                if (reached & 1u << from && to >= 0)
                    reached |= 1u << to;
            }
        }
    } while (reached != before);
    assert_int_equal(reached, (1u << PV_VM_STATE_COUNT) - 1);
    for (unsigned from = 0; from < PV_VM_STATE_COUNT; from++) {
        bool left = false;
        for (unsigned event = 0; event < PV_VM_EVENT_COUNT; event++) {
            int to = pv_vm_state_after(from, event);
            left |= to >= 0 && to != (int)from;
        }
        assert_true(left);
    }
}

static void names_lead_back_to_states(void **state)
{
    enum pv_vm_state found;
    for (unsigned i = 0; i < PV_VM_STATE_COUNT; i++) {
        assert_true(pv_vm_state_parse(pv_vm_state_name(i), &found));
        assert_int_equal(found, i);
    }
    assert_false(pv_vm_state_parse("asleep", &found));
}

static void refusals_say_what_is_so(void **state)
{
    static const struct {
        enum pv_vm_state state;
        enum pv_vm_event event;
        int code;
        const char *message;
    } cases[] = {
        {PV_VM_RUNNING, PV_VM_START, EALREADY, "VM 'web' is running already"},
        {PV_VM_PAUSED, PV_VM_PAUSE, EALREADY, "VM 'web' is paused already"},
        {PV_VM_RUNNING, PV_VM_RESUME, EALREADY, "VM 'web' is running already"},
        {PV_VM_STOPPED, PV_VM_PAUSE, ESRCH, "VM 'web' is not running"},
        {PV_VM_PAUSED, PV_VM_STOP, EBUSY, "VM 'web' is paused, and cannot do that now"},
        {PV_VM_SUSPENDED, PV_VM_SUSPEND, ESRCH, "VM 'web' is not running"},
        {PV_VM_STOPPING, PV_VM_SUSPEND, EBUSY, "VM 'web' is stopping, and cannot do that now"},
        {PV_VM_RUNNING, PV_VM_DELETE, EBUSY, "VM 'web' is running, and cannot do that now"},
    };
    for (size_t i = 0; i < PV_ARRAY_SIZE(cases); i++) {
        PV_CLEANUP_ERROR struct pv_error *err = NULL;
        assert_int_equal(pv_vm_state_check("web", cases[i].state, cases[i].event, &err),
                         -cases[i].code);
        assert_string_equal(pv_error_message(err), cases[i].message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_transition_is_as_the_rules_say),
        cmocka_unit_test(every_state_is_reached_and_left),
        cmocka_unit_test(names_lead_back_to_states),
        cmocka_unit_test(refusals_say_what_is_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
