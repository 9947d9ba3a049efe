/* test_pool.c - protects what is sent: the mix, the same bytes for the same seed, forms that parse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "server/commands/bench/pool.h"
#include "server/formats/json_reader.h"

static const struct text labels[] = {{"cat", 3}, {"猫 & dog", 9}};

static struct plan some_plan(void) {
    return (struct plan){.url = "http://server",
                         .mix = {1, 1, 2},
                         .encodings = ENCODING_JSON | ENCODING_MULTIPART | ENCODING_RAW,
                         .seed = 5,
                         .items = 2,
                         .labels = labels,
                         .n_labels = 2};
}

static struct pool open_pool(const struct plan *plan) {
    struct pool pool = {0};
    const char *message = NULL;
    assert_true(pool_open(&pool, plan, &message));
    return pool;
}

static bool is_json(struct text body) {
    struct arena *arena = arena_new();
    struct json_value *tree;
    struct json_error error;
    const bool ok = json_read(body.data, body.size, arena, &tree, &error);
    arena_free(arena);
    return ok;
}

static void keeps_the_mix(void **state) {
    (void)state;
    const struct plan plan = some_plan();
    struct pool pool = open_pool(&plan);
    size_t drawn[LOAD_KINDS] = {0};
    for (int i = 0; i < 40000; i++)
        drawn[pool_next(&pool)->kind]++;
    assert_in_range(drawn[LOAD_CLASSIFY], 9600, 10400);
    assert_in_range(drawn[LOAD_IMAGE], 9600, 10400);
    assert_in_range(drawn[LOAD_TEXT], 19400, 20600);
    pool_close(&pool);
}

static void a_seed_makes_the_same_bytes(void **state) {
    (void)state;
    struct plan plan = some_plan();
    struct pool one = open_pool(&plan), same = open_pool(&plan);
    plan.seed++;
    struct pool other = open_pool(&plan);
    for (int kind = 0; kind < LOAD_KINDS; kind++) {
        assert_int_equal(one.n[kind], same.n[kind]);
        for (size_t i = 0; i < one.n[kind]; i++) {
            assert_true(text_equal(one.requests[kind][i].body, same.requests[kind][i].body));
            assert_string_equal(one.requests[kind][i].url, same.requests[kind][i].url);
        }
    }
    assert_false(text_equal(one.requests[LOAD_IMAGE][0].body, other.requests[LOAD_IMAGE][0].body));
    pool_close(&one);
    pool_close(&same);
    pool_close(&other);
}

static void sends_each_encoding(void **state) {
    (void)state;
    const struct plan plan = some_plan();
    struct pool pool = open_pool(&plan);
    const struct load_request *requests = pool.requests[LOAD_CLASSIFY];
    assert_int_equal(pool.n[LOAD_CLASSIFY], 3 * pool.pictures);
    assert_string_equal(requests[0].content_type, "application/json");
    assert_true(is_json(requests[0].body));
    assert_memory_equal(requests[1].content_type, "multipart/form-data; boundary=", 30);
    assert_string_equal(requests[2].content_type, "image/png");
    assert_string_equal(requests[2].url, "http://server/v1/classify?labels=cat&labels=%E7%8C%AB%20%26%20dog");
    assert_non_null(
        memmem(requests[1].body.data, requests[1].body.size, requests[2].body.data, requests[2].body.size));
    for (size_t i = 0; i < pool.n[LOAD_TEXT]; i++)
        assert_true(is_json(pool.requests[LOAD_TEXT][i].body));
    pool_close(&pool);
}

static bool holds(struct text body, const char *what) {
    return memmem(body.data, body.size, what, strlen(what)) != NULL;
}

static void names_the_model(void **state) {
    (void)state;
    struct plan plan = some_plan();
    plan.model = "a\"b";
    plan.unique_texts = true;
    struct pool pool = open_pool(&plan);
    const struct load_request *requests = pool.requests[LOAD_CLASSIFY];
    struct buffer body = {0};
    assert_true(is_json(requests[0].body) && holds(requests[0].body, "{\"model\":\"a\\\"b\",\"image\":"));
    assert_true(holds(requests[1].body, "name=\"model\"\r\n\r\na\"b\r\n"));
    assert_string_equal(requests[2].url,
                        "http://server/v1/classify?model=a%22b&labels=cat&labels=%E7%8C%AB%20%26%20dog");
    assert_true(is_json(pool.requests[LOAD_IMAGE][0].body));
    assert_true(holds(pool.requests[LOAD_IMAGE][0].body, "{\"model\":\"a\\\"b\",\"input\":["));
    pool_unique_body(&pool, &body);
    assert_true(holds((struct text){body.data, body.size}, "{\"model\":\"a\\\"b\",\"input\":["));
    buffer_free(&body);
    pool_close(&pool);
}

static void all_texts_differ(void **state) {
    (void)state;
    struct plan plan = some_plan();
    plan.items = 1;
    struct pool pool = open_pool(&plan);
    for (size_t i = 0; i < pool.n[LOAD_TEXT]; i++)
        for (size_t k = 0; k < i; k++)
            assert_false(text_equal(pool.requests[LOAD_TEXT][i].body, pool.requests[LOAD_TEXT][k].body));
    pool_close(&pool);
}

static void unique_texts_never_come_again(void **state) {
    (void)state;
    struct plan plan = some_plan();
    plan.unique_texts = true;
    struct pool pool = open_pool(&plan);
    struct buffer bodies[3] = {{0}};
    for (int i = 0; i < 3; i++) {
        pool_unique_body(&pool, &bodies[i]);
        assert_true(is_json((struct text){bodies[i].data, bodies[i].size}));
        for (int k = 0; k < i; k++)
            assert_false(text_equal((struct text){bodies[i].data, bodies[i].size},
                                    (struct text){bodies[k].data, bodies[k].size}));
    }
    for (int i = 0; i < 3; i++)
        buffer_free(&bodies[i]);
    pool_close(&pool);
}

static void names_the_file_at_fault(void **state) {
    (void)state;
    struct plan plan = some_plan();
    const char *const images[] = {"/nonexistent/cat.png"};
    const char *message = NULL;
    struct pool pool = {0};
    plan.images = images;
    plan.n_images = 1;
    assert_false(pool_open(&pool, &plan, &message));
    assert_string_equal(message, "/nonexistent/cat.png: No such file or directory");
    pool_close(&pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_the_mix),           cmocka_unit_test(a_seed_makes_the_same_bytes),
        cmocka_unit_test(sends_each_encoding),     cmocka_unit_test(names_the_model),
        cmocka_unit_test(all_texts_differ),        cmocka_unit_test(unique_texts_never_come_again),
        cmocka_unit_test(names_the_file_at_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
