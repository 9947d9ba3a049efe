/* Attention: against the reference over head widths, lengths and mixes;
 * a sequence sees nothing but itself. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/kernels/fixture.h"
#include "tests/unit/kernels/host_ops.h"

/* Lengths on both sides of each block and padding boundary. */
static const uint32_t lengths[] = {1, 2, 3, 15, 16, 17, 31, 33, 64, 100};
enum { SEQUENCES = sizeof lengths / sizeof *lengths };

static const struct {
    uint32_t width, heads;
} shapes[] = {{6, 2}, {24, 3}, {64, 4}, {66, 2}, {96, 3}, {128, 1}, {128, 2}, {160, 2}};

static float *attention(struct kernels *k, const float *qkv, const uint32_t *start, size_t n, uint32_t width,
                        uint32_t heads, const struct kernels_qk_norm *norm) {
    float *out = malloc((size_t)start[n] * width * sizeof *out);
    assert_non_null(out);
    host_attention(k, qkv, start, n, width, heads, norm, out);
    return out;
}

/* scale 1: everyday scores. 12: scores in the hundreds, weights that are all but one zero. */
static void check(const struct fixture *f, float scale, bool normalise, uint64_t seed) {
    struct random_stream s = {seed};
    uint32_t start[SEQUENCES + 1] = {0};
    for (size_t i = 0; i < SEQUENCES; i++)
        start[i + 1] = start[i] + lengths[i];
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        uint32_t width = shapes[i].width, heads = shapes[i].heads, d = width / heads;
        size_t stride = 3 * (size_t)width;
        float *qkv = random_floats(&s, start[SEQUENCES] * stride, scale), *v[4];
        for (int j = 0; j < 4; j++)
            v[j] = random_floats(&s, d, 2);
        struct kernels_qk_norm norm = {v[0], v[1], v[2], v[3], 1e-6f}, *n = normalise ? &norm : NULL;
        char what[64];
        snprintf(what, sizeof what, "attention of width %u, %u heads", width, heads);
        float *got = attention(f->tested, qkv, start, SEQUENCES, width, heads, n);
        if (f->threads == 1) {
            float *want = attention(f->reference, qkv, start, SEQUENCES, width, heads, n);
            /* A weight that rounds the other way moves the mean of values by a bfloat16's last place. */
            assert_close(f, what, got, want, (size_t)start[SEQUENCES] * width,
                         scale * (f->bf16 ? 0x1p-8f : 2e-5f), act_error(f));
            free(want);
        }
        /* Each sequence alone */
        for (size_t q = 0; q < SEQUENCES; q++) {
            const uint32_t own[] = {0, lengths[q]};
            float *alone = attention(f->tested, qkv + start[q] * stride, own, 1, width, heads, n);
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
    check(f, 1, false, 1);
}

static void check_extreme(const struct fixture *f) {
    check(f, 12, false, 2);
}

static void check_normalised(const struct fixture *f) {
    check(f, 3, true, 3);
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
    float *want = attention(f->tested, qkv, start, 1, WIDTH, HEADS, NULL);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_agrees_and_sequences_are_apart),
        cmocka_unit_test(attention_survives_large_scores),
        cmocka_unit_test(attention_normalises_queries_and_keys),
        cmocka_unit_test(rows_beyond_a_sequence_are_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
