/* Attention: against the reference over head widths, lengths and mixes; a sequence sees nothing but itself, and
 * with a causal mask a row nothing but its prefix. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/kernels/fixture.h"
#include "tests/unit/kernels/host_ops.h"

/* Lengths on both sides of each block and padding boundary. */
static const uint32_t lengths[] = {1, 2, 3, 15, 16, 17, 31, 33, 64, 100};
enum { SEQUENCES = sizeof lengths / sizeof *lengths };

static const struct {
    uint32_t width, heads;
} shapes[] = {{6, 2}, {24, 3}, {64, 4}, {66, 2}, {96, 3}, {128, 1}, {128, 2}, {160, 2}};

static float *attention(struct kernels *k, const float *qkv, const uint32_t *start, size_t n, uint32_t width,
                        uint32_t heads, enum kernels_mask mask, const struct kernels_qk_norm *norm) {
    float *out = malloc((size_t)start[n] * width * sizeof *out);
    assert_non_null(out);
    host_attention(k, qkv, start, n, width, heads, mask, norm, out);
    return out;
}

/* For time's sake: on a device only half of the shapes are masked, where all is slow each has one
 * mask of the two. */
static bool leaves_out(const struct fixture *f, size_t shape, enum kernels_mask mask) {
    const bool odd = shape % 2, causal = mask == KERNELS_CAUSAL;
    return tests_are_slow() ? odd != causal : f->elsewhere && causal && odd;
}

/* scale 1: everyday scores. 12: scores in the hundreds, weights that are all but one zero. */
static void check(const struct fixture *f, float scale, enum kernels_mask mask, bool normalise,
                  uint64_t seed) {
    struct random_stream s = {seed};
    uint32_t start[SEQUENCES + 1] = {0};
    for (size_t i = 0; i < SEQUENCES; i++)
        start[i + 1] = start[i] + lengths[i];
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        if (leaves_out(f, i, mask))
            continue;
        uint32_t width = shapes[i].width, heads = shapes[i].heads, d = width / heads;
        size_t stride = 3 * (size_t)width;
        float *qkv = random_floats(&s, start[SEQUENCES] * stride, scale), *v[4];
        for (int j = 0; j < 4; j++)
            v[j] = random_floats(&s, d, 2);
        struct kernels_qk_norm norm = {v[0], v[1], v[2], v[3], 1e-6f}, *n = normalise ? &norm : NULL;
        char what[64];
        snprintf(what, sizeof what, "%s attention of width %u, %u heads",
                 mask == KERNELS_CAUSAL ? "causal" : "bidirectional", width, heads);
        float *got = attention(f->tested, qkv, start, SEQUENCES, width, heads, mask, n);
        if (f->threads == 1) {
            float *want = attention(f->reference, qkv, start, SEQUENCES, width, heads, mask, n);
            /* A weight that rounds the other way moves the mean of values by a bfloat16's last place. */
            assert_close(f, what, got, want, (size_t)start[SEQUENCES] * width,
                         scale * (f->bf16 ? 0x1p-8f : 2e-5f), act_error(f));
            free(want);
        }
        /* Each sequence alone */
        for (size_t q = 0; q < SEQUENCES; q++) {
            const uint32_t own[] = {0, lengths[q]};
            float *alone = attention(f->tested, qkv + start[q] * stride, own, 1, width, heads, mask, n);
            assert_same_bits(f, what, alone, got + (size_t)start[q] * width,
                             (size_t)lengths[q] * width * sizeof *got);
            free(alone);
        }
        free(qkv);
        free(got);
        for (int j = 0; j < 4; j++)
            free(v[j]);
    }
}

static void check_plain(const struct fixture *f) {
    check(f, 1, KERNELS_BIDIRECTIONAL, false, 1);
    check(f, 1, KERNELS_CAUSAL, false, 5);
}

static void check_extreme(const struct fixture *f) {
    check(f, 12, KERNELS_BIDIRECTIONAL, false, 2);
}

static void check_normalised(const struct fixture *f) {
    check(f, 3, KERNELS_BIDIRECTIONAL, true, 3);
    check(f, 3, KERNELS_CAUSAL, true, 6);
}

static void attention_agrees_and_sequences_are_apart(void **state) {
    (void)state;
    for_each_fixture(few_threads, check_plain);
}

static void attention_survives_large_scores(void **state) {
    (void)state;
    for_each_fixture(one_thread, check_extreme);
}

static void attention_normalises_queries_and_keys(void **state) {
    (void)state;
    for_each_fixture(one_thread, check_normalised);
}

/* What lies behind a short last block of keys must not leak in: NaN rows follow the sequence in memory. */
static void check_neighbours(const struct fixture *f) {
    enum { WIDTH = 40, HEADS = 2, LENGTH = 19, ROWS = LENGTH + 64 };
    struct random_stream s = {4};
    float *qkv = random_floats(&s, ROWS * 3 * WIDTH, 1);
    const uint32_t start[] = {0, LENGTH};
    float *want = attention(f->tested, qkv, start, 1, WIDTH, HEADS, KERNELS_BIDIRECTIONAL, NULL);
    for (size_t i = LENGTH * 3 * WIDTH; i < (size_t)ROWS * 3 * WIDTH; i++)
        qkv[i] = __builtin_nanf("");
    void *in = put_act(f->tested, qkv, ROWS * 3 * WIDTH);
    void *out = f->tested->ops->alloc(f->tested, LENGTH * WIDTH * f->tested->act_size);
    f->tested->ops->sequences(f->tested, start, 1);
    f->tested->ops->attention(f->tested, in, WIDTH, HEADS, KERNELS_BIDIRECTIONAL, NULL, out);
    float *got = get_act(f->tested, out, LENGTH * WIDTH);
    assert_same_bits(f, "beside NaN", got, want, LENGTH * WIDTH * sizeof *got);
    f->tested->ops->release(f->tested, in);
    f->tested->ops->release(f->tested, out);
    free(got);
    free(want);
    free(qkv);
}

static void rows_beyond_a_sequence_are_not_read(void **state) {
    (void)state;
    for_each_fixture(one_thread, check_neighbours);
}

/* Cut short after any of its rows, a sequence has the same bits up to there; so it has with anything else in
 * the place of what followed. */
static void check_prefixes(const struct fixture *f) {
    static const uint32_t cuts[] = {1, 16, 17, 31, 32, 33, 63, 64, 65, 97, 128, 129};
    enum { LENGTH = 130 };
    static const struct { uint32_t width, heads; } sizes[] = {{48, 3}, {66, 2}, {72, 1}};
    struct random_stream s = {8};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint32_t width = sizes[i].width, heads = sizes[i].heads, d = width / heads;
        size_t stride = 3 * (size_t)width, own = LENGTH * stride;
        float *qkv = random_floats(&s, own, 4), *other = random_floats(&s, own, 90), *v[4];
        for (int j = 0; j < 4; j++)
            v[j] = random_floats(&s, d, 2);
        const struct kernels_qk_norm norm = {v[0], v[1], v[2], v[3], 1e-6f}, *n = i % 2 ? &norm : NULL;
        const uint32_t whole[] = {0, LENGTH};
        float *want = attention(f->tested, qkv, whole, 1, width, heads, KERNELS_CAUSAL, n);
        for (size_t c = 0; c < sizeof cuts / sizeof *cuts; c++) {
            const uint32_t cut[] = {0, cuts[c]};
            const size_t bytes = (size_t)cuts[c] * width * sizeof *want;
            float *got = attention(f->tested, qkv, cut, 1, width, heads, KERNELS_CAUSAL, n);
            assert_same_bits(f, "a sequence cut short", got, want, bytes);
            free(got);
            if (c % 3)
                continue;
            memcpy(other, qkv, cuts[c] * stride * sizeof *qkv);
            got = attention(f->tested, other, whole, 1, width, heads, KERNELS_CAUSAL, n);
            assert_same_bits(f, "a sequence that goes on in another way", got, want, bytes);
            free(got);
        }
        free(want);
        free(qkv);
        free(other);
        for (int j = 0; j < 4; j++)
            free(v[j]);
    }
}

static void causal_rows_depend_on_their_prefix_alone(void **state) {
    (void)state;
    for_each_fixture(one_thread, check_prefixes);
}

/* Attention that pools: against the reference, and each sequence as alone. */
static void check_pool(const struct fixture *f) {
    struct random_stream s = {9};
    uint32_t start[SEQUENCES + 1] = {0};
    for (size_t i = 0; i < SEQUENCES; i++)
        start[i + 1] = start[i] + lengths[i];
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        uint32_t width = shapes[i].width, heads = shapes[i].heads;
        size_t stride = 2 * (size_t)width, n = (size_t)SEQUENCES * width;
        float *query = random_floats(&s, width, 3), *kv = random_floats(&s, start[SEQUENCES] * stride, 1);
        float *want = malloc(n * sizeof *want), *got = malloc(n * sizeof *got),
              *alone = malloc(n * sizeof *got);
        char what[64];
        snprintf(what, sizeof what, "pooling by attention of width %u, %u heads", width, heads);
        host_attention_pool(f->reference, query, kv, start, SEQUENCES, width, heads, want);
        host_attention_pool(f->tested, query, kv, start, SEQUENCES, width, heads, got);
        assert_close(f, what, got, want, n, f->bf16 ? 0x1p-8f : 2e-5f, act_error(f));
        for (size_t q = 0; q < SEQUENCES; q++) {
            const uint32_t own[] = {0, lengths[q]};
            host_attention_pool(f->tested, query, kv + start[q] * stride, own, 1, width, heads, alone);
            assert_same_bits(f, what, alone, got + q * width, width * sizeof *got);
        }
        free(query);
        free(kv);
        free(want);
        free(got);
        free(alone);
    }
}

static void pooling_by_attention_agrees_and_sequences_are_apart(void **state) {
    (void)state;
    for_each_fixture(few_threads, check_pool);
}

/* Queries that see rows in any order, some of them the same, one row and many; each again alone. */
static void check_kept(const struct fixture *f) {
    enum { ROWS = 100 };
    struct random_stream s = {11};
    uint32_t start[SEQUENCES + 1] = {0}, *row = malloc(SEQUENCES * ROWS * sizeof *row);
    assert_non_null(row);
    for (size_t i = 0; i < SEQUENCES; i++) {
        start[i + 1] = start[i] + lengths[i];
        for (uint32_t j = start[i]; j < start[i + 1]; j++)
            row[j] = random_below(&s, ROWS);
    }
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        uint32_t width = shapes[i].width, heads = shapes[i].heads;
        size_t n = (size_t)SEQUENCES * width;
        float *query = random_floats(&s, n, 3), *kv = random_floats(&s, (size_t)ROWS * 2 * width, 1);
        float *want = malloc(n * sizeof *want), *got = malloc(n * sizeof *got),
              *alone = malloc(n * sizeof *got);
        char what[64];
        snprintf(what, sizeof what, "attention of width %u, %u heads, over kept rows", width, heads);
        host_attention_kept(f->reference, query, kv, ROWS, start, row, SEQUENCES, width, heads, want);
        host_attention_kept(f->tested, query, kv, ROWS, start, row, SEQUENCES, width, heads, got);
        assert_close(f, what, got, want, n, f->bf16 ? 0x1p-8f : 2e-5f, act_error(f));
        for (size_t q = 0; q < SEQUENCES; q++) {
            const uint32_t own[] = {0, lengths[q]};
            host_attention_kept(f->tested, query + q * width, kv, ROWS, own, row + start[q], 1, width, heads,
                                alone);
            assert_same_bits(f, what, alone, got + q * width, width * sizeof *got);
        }
        free(query);
        free(kv);
        free(want);
        free(got);
        free(alone);
    }
    free(row);
}

static void attention_over_kept_rows_agrees_and_queries_are_apart(void **state) {
    (void)state;
    for_each_fixture(few_threads, check_kept);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_agrees_and_sequences_are_apart),
        cmocka_unit_test(attention_survives_large_scores),
        cmocka_unit_test(attention_normalises_queries_and_keys),
        cmocka_unit_test(rows_beyond_a_sequence_are_not_read),
        cmocka_unit_test(causal_rows_depend_on_their_prefix_alone),
        cmocka_unit_test(pooling_by_attention_agrees_and_sequences_are_apart),
        cmocka_unit_test(attention_over_kept_rows_agrees_and_queries_are_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
