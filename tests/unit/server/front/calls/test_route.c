/* test_route.c - protects which route a path is, where the operator gives it other names, and what is said of
 * paths that several dialects have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/front/calls/route.h"

#define ALL UINT32_MAX

static const struct route_names names = {.predict = "/v1/endpoints/1:predict", .health = "/v1/endpoints/1"};

static void a_name_stands_for_its_route(void **state) {
    (void)state;
    assert_string_equal(route_named("/v1/endpoints/1:predict", "POST", &names, ALL), "/vertex/predict");
    assert_string_equal(route_named("/v1/endpoints/1", "GET", &names, ALL), "/vertex/health");
    assert_string_equal(route_named("/v1/endpoints/1", "HEAD", &names, ALL), "/vertex/health");
    assert_string_equal(route_named("/v1/endpoints/1", "POST", &names, ALL), "/v1/endpoints/1");
    assert_string_equal(route_named("/v1/embeddings", "POST", &names, ALL), "/v1/embeddings");
    assert_string_equal(route_named("/v1/endpoints/1:predict", "POST", &names, 0), "/v1/endpoints/1:predict");
    static const struct route_names none = {0};
    assert_string_equal(route_named("/vertex/predict", "POST", &none, ALL), "/vertex/predict");
}

static void a_name_goes_before_what_has_it_but_for_health(void **state) {
    (void)state;
    static const struct route_names usual = {.predict = "/predict", .health = "/health"};
    assert_string_equal(route_named("/predict", "POST", &usual, ALL), "/vertex/predict");
    assert_string_equal(route_named("/health", "GET", &usual, ALL), "/health");
}

static void a_path_of_several_dialects_lists_its_methods_once(void **state) {
    (void)state;
    char methods[64];
    const struct route *ping = route_find("/ping", "GET", ALL);
    assert_ptr_equal(ping->dialect, &dialect_hf);
    assert_string_equal(route_methods(ping, ALL, methods, sizeof methods), "GET, HEAD");
    assert_ptr_equal(route_find("/ping", "GET", 1u << DIALECT_IMMICH)->dialect, &dialect_immich);
    assert_ptr_equal(route_find("/ping", "GET", 1u << DIALECT_SAGEMAKER)->dialect, &dialect_sagemaker);
    assert_null(route_find("/ping", "GET", 1u << DIALECT_RERANK)->path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_stands_for_its_route),
        cmocka_unit_test(a_name_goes_before_what_has_it_but_for_health),
        cmocka_unit_test(a_path_of_several_dialects_lists_its_methods_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
