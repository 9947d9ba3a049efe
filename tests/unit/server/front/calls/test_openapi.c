/* Protects the OpenAPI document from lacking a route, and from describing what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/api/error_codes.h"
#include "server/api/request.h"
#include "server/api/schemas.h"
#include "server/formats/json_reader.h"
#include "server/front/calls/openapi.h"
#include "server/front/calls/openapi_parts.h"
#include "server/front/calls/operation.h"
#include "server/front/calls/route.h"

static void every_route_is_described(void **state) {
    (void)state;
    for (size_t i = 0; route_at(i); i++) {
        size_t n = route_at(i)->dialect ? 1 : 0; /* docs/api.md alone has those */
        for (size_t k = 0; k < operation_count; k++)
            n += openapi_route(&operations[k]) == route_at(i);
        if (!n)
            fail_msg("%s %s has no row in operations.c", route_at(i)->method, route_at(i)->path);
    }
}

static void what_is_described_is_a_route(void **state) {
    (void)state;
    for (size_t k = 0; k < operation_count; k++) {
        const struct route *route = openapi_route(&operations[k]);
        if (!route->path || !route_takes(route, operations[k].method))
            fail_msg("%s %s is no route", operations[k].method, operations[k].path);
        if (!route->bodies == (operations[k].body || operations[k].body_schema))
            fail_msg("%s %s: a body is read, and none described; or the other way round",
                     operations[k].method, operations[k].path);
    }
}

static void ids_differ(void **state) {
    (void)state;
    for (size_t k = 0; k < operation_count; k++)
        for (size_t i = 0; i < k; i++)
            assert_string_not_equal(operations[k].id, operations[i].id);
}

/* Their paths would be printed twice. */
static void operations_of_a_path_stand_together(void **state) {
    (void)state;
    for (size_t k = 2; k < operation_count; k++)
        for (size_t i = 0; i + 1 < k; i++)
            if (strcmp(operations[k].path, operations[i].path) == 0)
                assert_string_equal(operations[k].path, operations[k - 1].path);
}

static void answers_have_schemas(void **state) {
    (void)state;
    for (size_t k = 0; k < operation_count; k++) {
        assert_true(operations[k].answers[0].status != 0);
        for (size_t i = 0; i < OPERATION_ANSWERS && operations[k].answers[i].status; i++) {
            const char *name = operations[k].answers[i].schema;
            size_t s = 0;
            while (name && s < schema_count && strcmp(schemas[s].name, name) != 0)
                s++;
            if (s == schema_count)
                fail_msg("%s: schemas.c has no %s", operations[k].id, name);
        }
    }
}

/* Statuses ascend, since the responses are made of runs of one status. */
static void errors_are_ordered_and_once(void **state) {
    (void)state;
    for (size_t i = 1; i < error_code_count; i++) {
        assert_true(error_codes[i - 1].status <= error_codes[i].status);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(error_codes[k].code, error_codes[i].code);
    }
}

/* Of their words responses' names are made, of which equal ones are told once. */
static void groups_of_errors_differ_in_their_words(void **state) {
    (void)state;
    uint64_t used = 0;
    for (size_t i = 0; i < error_code_count; i++)
        used |= error_codes[i].groups;
    for (uint64_t group = 1; group; group <<= 1)
        for (uint64_t other = 1; other < group; other <<= 1)
            if (used & group && used & other)
                assert_string_not_equal(error_group_name(group), error_group_name(other));
}

static void the_document_is_within_its_bound(void **state) {
    (void)state;
    struct buffer document = {0};
    openapi_write(&document);
    assert_false(document.failed);
    assert_true(document.size > 10000 && document.size < OPENAPI_MOST_BYTES);
    assert_true(json_begins(document.data, document.size));
    buffer_free(&document);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_is_described),
        cmocka_unit_test(what_is_described_is_a_route),
        cmocka_unit_test(ids_differ),
        cmocka_unit_test(operations_of_a_path_stand_together),
        cmocka_unit_test(answers_have_schemas),
        cmocka_unit_test(errors_are_ordered_and_once),
        cmocka_unit_test(groups_of_errors_differ_in_their_words),
        cmocka_unit_test(the_document_is_within_its_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
