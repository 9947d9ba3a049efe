/* test_text_cache.c - protects the cache of text embeddings: what comes out is what went in, its bound holds
 * whatever comes, and what was used least recently goes first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/front/store/text_cache.h"

#define EMBED 24

static struct text_cache *make(size_t bytes) {
    struct text_cache *cache = NULL;
    struct limoe_error err;
    assert_int_equal(text_cache_new(bytes, EMBED, &cache, &err), LIMOE_OK);
    return cache;
}

/* A vector that only this number has. */
static void vector_of(unsigned number, float *out) {
    for (unsigned i = 0; i < EMBED; i++)
        out[i] = (float)(number * 31 + i);
}

static void put(struct text_cache *cache, unsigned number) {
    char text[32];
    float vector[EMBED];
    vector_of(number, vector);
    const int size = snprintf(text, sizeof text, "text %u", number);
    text_cache_put(cache, text, (size_t)size, vector, number);
}

/* True when it is there, whole. */
static bool get(struct text_cache *cache, unsigned number) {
    char text[32];
    float expected[EMBED], found[EMBED];
    uint32_t tokens = 0;
    const int size = snprintf(text, sizeof text, "text %u", number);
    if (!text_cache_get(cache, text, (size_t)size, found, &tokens))
        return false;
    vector_of(number, expected);
    if (tokens != number || memcmp(found, expected, sizeof found) != 0)
        abort(); /* also on threads, where cmocka's assertions do not work */
    return true;
}

static void what_comes_out_is_what_went_in(void **state) {
    (void)state;
    struct text_cache *cache = make(1 << 20);
    assert_false(get(cache, 1));
    for (unsigned i = 0; i < 1000; i++)
        put(cache, i);
    for (unsigned i = 0; i < 1000; i++)
        assert_true(get(cache, i));
    const struct text_cache_stats stats = text_cache_stats(cache);
    assert_int_equal(stats.entries, 1000);
    assert_int_equal(stats.hits, 1000);
    assert_int_equal(stats.misses, 1);
    assert_int_equal(stats.evictions, 0);
    text_cache_free(cache);
}

static void a_key_is_its_exact_bytes(void **state) {
    (void)state;
    const struct {
        const char *text;
        size_t size;
    } keys[] = {{"cat", 3}, {"Cat", 3}, {"cat ", 4}, {"cat\0", 4}, {"cat\0x", 5}, {"ca", 2}, {"", 0}};
    struct text_cache *cache = make(1 << 20);
    float vector[EMBED];
    uint32_t tokens;
    for (unsigned i = 0; i < sizeof keys / sizeof *keys; i++) {
        assert_false(text_cache_get(cache, keys[i].text, keys[i].size, vector, &tokens));
        vector_of(i, vector);
        text_cache_put(cache, keys[i].text, keys[i].size, vector, i);
    }
    for (unsigned i = 0; i < sizeof keys / sizeof *keys; i++) {
        assert_true(text_cache_get(cache, keys[i].text, keys[i].size, vector, &tokens));
        assert_int_equal(tokens, i);
        assert_true(vector[0] == (float)(i * 31));
    }
    text_cache_free(cache);
}

static void a_text_put_twice_is_kept_once(void **state) {
    (void)state;
    struct text_cache *cache = make(1 << 20);
    put(cache, 7);
    const uint64_t bytes = text_cache_stats(cache).bytes;
    put(cache, 7);
    assert_int_equal(text_cache_stats(cache).entries, 1);
    assert_int_equal(text_cache_stats(cache).bytes, bytes);
    assert_true(get(cache, 7));
    text_cache_free(cache);
}

/* Small enough for a single shard, whose order is then that of the whole cache. */
static void the_least_recently_used_goes_first(void **state) {
    (void)state;
    struct text_cache *cache = make(40000);
    unsigned n = 0;
    while (text_cache_stats(cache).evictions == 0)
        put(cache, n++);
    assert_false(get(cache, 0)); /* the first to go */
    assert_true(get(cache, 1));  /* and so no longer the next */
    put(cache, n);
    assert_true(get(cache, 1));
    assert_false(get(cache, 2));
    text_cache_free(cache);
}

static void the_bound_holds(void **state) {
    (void)state;
    static const size_t bounds[] = {4096, 100000, 3 << 20, 9 << 20};
    char *text = malloc(1 << 20);
    float vector[EMBED] = {0};
    assert_non_null(text);
    memset(text, 'x', 1 << 20);
    for (size_t b = 0; b < sizeof bounds / sizeof *bounds; b++) {
        struct text_cache *cache = make(bounds[b]);
        unsigned random = 1;
        for (unsigned i = 0; i < 20000; i++) {
            random = random * 1103515245 + 12345;
            memcpy(text, &i, sizeof i);
            text_cache_put(cache, text, 4 + (random >> 16) % (i % 100 ? 300 : 70000), vector, 1);
            if (i % 100 == 0)
                assert_in_range(text_cache_stats(cache).bytes, 0, bounds[b]);
        }
        const struct text_cache_stats stats = text_cache_stats(cache);
        assert_in_range(stats.bytes, bounds[b] / 4, bounds[b]); /* it is used, too */
        assert_true(stats.evictions > 0);
        text_cache_free(cache);
    }
    free(text);
}

static void what_cannot_fit_is_not_kept(void **state) {
    (void)state;
    static const size_t bounds[] = {0, 1, 200, 5000};
    char text[8000] = {0};
    float vector[EMBED] = {0};
    uint32_t tokens;
    for (size_t b = 0; b < sizeof bounds / sizeof *bounds; b++) {
        struct text_cache *cache = make(bounds[b]);
        text_cache_put(cache, text, sizeof text, vector, 1);
        assert_false(text_cache_get(cache, text, sizeof text, vector, &tokens));
        assert_int_equal(text_cache_stats(cache).entries, 0);
        assert_int_equal(text_cache_stats(cache).evictions, 0);
        text_cache_free(cache);
    }
    text_cache_free(NULL);
}

struct hammer {
    struct text_cache *cache;
    unsigned seed, found;
};

static void *hammer(void *argument) {
    struct hammer *mine = argument;
    unsigned random = mine->seed;
    for (unsigned i = 0; i < 20000; i++) {
        random = random * 1103515245 + 12345;
        const unsigned number = (random >> 16) % 3000;
        if (get(mine->cache, number))
            mine->found++;
        else
            put(mine->cache, number);
    }
    return NULL;
}

static void threads_share_it(void **state) {
    (void)state;
    struct text_cache *cache = make(400000); /* less than the 3,000 texts take: entries come and go */
    struct hammer hammers[4];
    pthread_t threads[4];
    unsigned found = 0;
    for (unsigned i = 0; i < 4; i++) {
        hammers[i] = (struct hammer){.cache = cache, .seed = i + 1};
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, &hammers[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        found += hammers[i].found;
    }
    const struct text_cache_stats stats = text_cache_stats(cache);
    assert_int_equal(stats.hits, found);
    assert_int_equal(stats.hits + stats.misses, 4 * 20000);
    assert_true(stats.evictions > 0);
    assert_in_range(stats.bytes, 1, 400000);
    text_cache_free(cache);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_out_is_what_went_in),
        cmocka_unit_test(a_key_is_its_exact_bytes),
        cmocka_unit_test(a_text_put_twice_is_kept_once),
        cmocka_unit_test(the_least_recently_used_goes_first),
        cmocka_unit_test(the_bound_holds),
        cmocka_unit_test(what_cannot_fit_is_not_kept),
        cmocka_unit_test(threads_share_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
