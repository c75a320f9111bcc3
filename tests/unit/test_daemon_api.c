/* SPDX-License-Identifier: MIT */
/* Requests against the table that is made from spec/api.json. */
#include "base/error.h"
#include "base/util.h"
#include "daemon/api.h"
#include "daemon/remote.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* 0, or the status that is answered; without a query or a body where they are NULL. */
static unsigned try(const char *method, const char *path, const char *query, const char *body)
{
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    unsigned status;
    json_t *values = json_object();
    const struct pv_api_operation *operation = pv_api_find(method, path, values, &status);
    if (operation) {
        json_t *asked = json_loads(query ? query : "{}", 0, NULL);
        json_t *sent = body ? json_loads(body, JSON_DECODE_ANY, NULL) : NULL;
        assert_non_null(asked);
        assert_int_equal(!body, !sent);
        int ret = pv_api_check(operation, asked, sent, values, &err);
        status = ret < 0 ? pv_api_status(pv_error_code(err)) : 0;
        json_decref(asked);
        json_decref(sent);
    }
    json_decref(values);
    return status;
}

static void paths_lead_to_operations(void **state)
{
    assert_int_equal(try("GET", "/v1/vms", NULL, NULL), 0);
    assert_int_equal(try("GET", "/v1/vms/web", NULL, NULL), 0);
    assert_int_equal(try("POST", "/v1/vms/web/start", NULL, NULL), 0);
    assert_int_equal(try("PATCH", "/v1/vms/web", NULL, NULL), 405);
    assert_int_equal(try("GET", "/v1/vms/web/start", NULL, NULL), 405);
    static const char *const none[] = {
        "",         "/",       "v1/vms", "/v1", "/v1/vms/", "/v1/vms/web/", "/v1/vms/web/fly",
        "/v1/vmsx", "//v1/vms"};
    for (size_t i = 0; i < PV_ARRAY_SIZE(none); i++)
        assert_in_range(try("GET", none[i], NULL, NULL), 400, 404);
}

static void names_have_a_form(void **state)
{
    static const char *const wrong[] = {"/v1/vms/.x",  "/v1/vms/a b",  "/v1/vms/-a",
                                        "/v1/vms/a\n", "/v1/vms/\xff", "/v1/vms/"};
    for (size_t i = 0; i < PV_ARRAY_SIZE(wrong); i++)
        assert_in_range(try("GET", wrong[i], NULL, NULL), 400, 404);
}

static void bodies_are_checked(void **state)
{
    static const struct {
        const char *body;
        unsigned status;
    } cases[] = {
        {"{\"name\": \"web\"}", 0},
        {"{\"name\": \"web\", \"config\": {\"cpus\": \"2\", \"disk\": [\"a\", \"b\"]}}", 0},
        {"{}", 400},
        {"[]", 400},
        {"\"web\"", 400},
        {"{\"name\": 5}", 400},
        {"{\"name\": null}", 400},
        {"{\"name\": \"../web\"}", 400},
        {"{\"name\": \"web\", \"extra\": 1}", 400},
        {"{\"name\": \"web\", \"config\": []}", 400},
        {"{\"name\": \"web\", \"config\": {\"cpus\": 2}}", 400},
        {"{\"name\": \"web\", \"config\": {\"Cpus\": \"2\"}}", 400},
        {"{\"name\": \"web\", \"config\": {\"--x\": \"2\"}}", 400},
        {"{\"name\": \"web\", \"config\": {\"disk\": [[\"a\"]]}}", 400},
        {"{\"name\": \"web\", \"disk-size\": \"20G\"}", 0},
        {"{\"name\": \"web\", \"disk-size\": \"big\"}", 400},
    };
    for (size_t i = 0; i < PV_ARRAY_SIZE(cases); i++)
        assert_int_equal(try("POST", "/v1/vms", NULL, cases[i].body), cases[i].status);
    assert_int_equal(try("POST", "/v1/vms", NULL, NULL), 400);
    assert_int_equal(try("POST", "/v1/vms/web/stop", NULL, "{\"now\": true}"), 0);
    assert_int_equal(try("POST", "/v1/vms/web/stop", NULL, "{\"now\": \"true\"}"), 400);
    assert_int_equal(try("POST", "/v1/vms/web/start", NULL, "{\"now\": true}"), 400);
    /* A name in the body is not the path's. */
    assert_int_equal(try("POST", "/v1/vms/web/start", NULL, "{\"name\": \"other\"}"), 400);
}

static void queries_are_checked(void **state)
{
    const char *logs = "/v1/vms/web/logs";
    assert_int_equal(try("GET", logs, "{\"limit\": \"1\", \"which\": \"vm\"}", NULL), 0);
    assert_int_equal(try("GET", logs, "{\"limit\": \"0\"}", NULL), 400);
    assert_int_equal(try("GET", logs, "{\"limit\": \"1048577\"}", NULL), 400);
    assert_int_equal(try("GET", logs, "{\"limit\": \"1x\"}", NULL), 400);
    assert_int_equal(try("GET", logs, "{\"limit\": \"99999999999999999999\"}", NULL), 400);
    assert_int_equal(try("GET", logs, "{\"limit\": null}", NULL), 400);
    assert_int_equal(try("GET", logs, "{\"which\": \"mine\"}", NULL), 400);
    assert_int_equal(try("GET", logs, "{\"name\": \"other\"}", NULL), 400);
    assert_int_equal(try("GET", "/v1/vms", "{\"x\": \"\"}", NULL), 400);
}

static void more_than_enough_is_refused(void **state)
{
    json_t *values = json_array(), *body = json_pack("{s:o}", "values", values);
    for (unsigned i = 0; i < 33; i++)
        json_array_append_new(values, json_string("x"));
    PV_CLEANUP_FREE char *text = json_dumps(body, 0);
    assert_int_equal(try("PUT", "/v1/vms/web/config/disk", NULL, text), 413);
    json_array_remove(values, 0);
    PV_CLEANUP_FREE char *enough = json_dumps(body, 0);
    assert_int_equal(try("PUT", "/v1/vms/web/config/disk", NULL, enough), 0);
    json_decref(body);
}

static void no_error_is_the_servers_fault(void **state)
{
    for (int code = 1; code < 140; code++) {
        unsigned status = pv_api_status(code);
        assert_true((status >= 400 && status < 500) || status == 503 || status == 504);
    }
}

static void the_description_is_whole(void **state)
{
    json_t *spec = json_loads(pv_api_json, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(spec);
    assert_string_equal(json_string_value(json_object_get(spec, "openapi")), "3.1.0");
    for (size_t i = 0; i < pv_api_operation_count; i++) {
        json_t *paths = json_object_get(spec, "paths");
        assert_non_null(json_object_get(paths, pv_api_operations[i].path));
        assert_non_null(pv_api_operations[i].run);
    }
    json_decref(spec);
}

static void only_the_token_admits(void **state)
{
    char token[] = "0123456789abcdef";
    const struct pv_remote remote = {.token = token};
    static const char *const refused[] = {
        NULL,
        "",
        "Bearer",
        "Bearer ",
        "0123456789abcdef",
        "Basic 0123456789abcdef",
        "Bearer 0123456789abcde",
        "Bearer 0123456789abcdeg",
        "Bearer 1123456789abcdef",
        "Bearer 0123456789abcdef0",
        "Bearer  0123456789abcdef",
        "Bearer 0123456789ABCDEF",
    };
    for (size_t i = 0; i < PV_ARRAY_SIZE(refused); i++)
        assert_false(pv_remote_admits(&remote, refused[i]));
    assert_true(pv_remote_admits(&remote, "Bearer 0123456789abcdef"));
    assert_true(pv_remote_admits(&remote, "bearer 0123456789abcdef"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_lead_to_operations),
        cmocka_unit_test(names_have_a_form),
        cmocka_unit_test(bodies_are_checked),
        cmocka_unit_test(queries_are_checked),
        cmocka_unit_test(more_than_enough_is_refused),
        cmocka_unit_test(no_error_is_the_servers_fault),
        cmocka_unit_test(the_description_is_whole),
        cmocka_unit_test(only_the_token_admits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
