/* test_dialects.c - protects the set of dialects that are served, and whose paths are whose. */
#include "tests/unit/server/api/reading.h"

#include "server/api/dialects/dialect.h"

static uint32_t set;

static bool parses(const char *list) {
    struct limoe_error err = {0};
    const bool good = dialects_parse(list, &set, &err) == LIMOE_OK;
    snprintf(error.message, sizeof error.message, "%s", err.message);
    return good;
}

static void a_list_names_dialects(void **state) {
    (void)state;
    assert_true(parses("all"));
    assert_true(dialects_have(set, &dialect_hf) && dialects_have(set, &dialect_rerank));
    assert_true(parses("none"));
    assert_int_equal(set, 0);
    assert_true(parses("rerank"));
    assert_true(!dialects_have(set, &dialect_hf) && dialects_have(set, &dialect_rerank));
    assert_true(parses("rerank,hf"));
    assert_true(dialects_have(set, &dialect_hf) && dialects_have(set, &dialect_rerank));
    assert_true(dialects_have(0, NULL)); /* our own is always there */
}

static void another_name_is_refused_with_those_there_are(void **state) {
    (void)state;
    static const char *const wrong[] = {"", "HF", "hf,", "hf,ollamas", "hf rerank"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_false(parses(wrong[i]));
        assert_non_null(strstr(error.message, "accepted: all, none, hf, rerank"));
    }
    assert_false(parses("hf,nope"));
    assert_non_null(strstr(error.message, "dialects has \"nope\""));
}

static void what_is_below_a_prefix_is_the_dialects(void **state) {
    (void)state;
    assert_ptr_equal(dialects_at(UINT32_MAX, "/hf"), &dialect_hf);
    assert_ptr_equal(dialects_at(UINT32_MAX, "/hf/a/b"), &dialect_hf);
    assert_null(dialects_at(UINT32_MAX, "/hfx"));
    assert_null(dialects_at(UINT32_MAX, "/v1/classify"));
    assert_null(dialects_at(0, "/hf"));
}

static void the_shared_writers_write_json(void **state) {
    (void)state;
    struct buffer out = {0};
    const float rows[] = {1, -0.5f, 0, 2};
    dialect_write_vectors(&out, rows, 2, 2);
    assert_bytes(out.data, out.size, "[[1.0,-0.5],[0.0,2.0]]");
    buffer_free(&out);
    dialect_error_string(&out, &(struct api_error){.status = 400, .message = "a \"b\""});
    assert_bytes(out.data, out.size, "{\"error\":\"a \\\"b\\\"\"}");
    buffer_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_list_names_dialects),
        TEST(another_name_is_refused_with_those_there_are),
        TEST(what_is_below_a_prefix_is_the_dialects),
        TEST(the_shared_writers_write_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
