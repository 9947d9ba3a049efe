/* Protects: what a run draws: Philox4x32-10 by its published answers, orders, the pictures held out, and crops beside PyTorch
 * (tests/golden/crops.safetensors, which train/golden_crops.py makes).
 *
 * usage: test_draws GOLDEN */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/draws.h"
#include "model/checkpoint/safetensors.h"
#include "model/tuning/crops.h"
#include "model/tuning/schedule.h"
#include "model/tuning/split.h"

static const char *golden;

/* Of Random123's known answers: all zero, all one, digits of pi. */
static void philox_gives_the_published_answers(void **state) {
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint32_t out[4];
        draws_philox(known[i].counter, known[i].key, out);
        assert_memory_equal(out, known[i].out, sizeof out);
    }
}

static void a_number_depends_on_its_place_alone(void **state) {
    (void)state;
    enum { N = 1000 };
    static float u[N], again[N];
    const struct draws_place place = {.seed = UINT64_C(1) << 40, .use = DRAWS_CROP, .item = 3, .epoch = 2};
    double sum = 0;
    draws_uniform(&place, N, u);
    draws_uniform(&place, 7, again);
    assert_memory_equal(u, again, 7 * sizeof *u);
    for (int i = 0; i < N; i++) {
        assert_true(u[i] >= 0 && u[i] < 1);
        sum += (double)u[i];
    }
    assert_true(sum > 0.45 * N && sum < 0.55 * N);
    const struct draws_place others[] = {{.seed = 1, .use = DRAWS_CROP, .item = 3, .epoch = 2},
                                         {.seed = place.seed, .use = DRAWS_ORDER, .item = 3, .epoch = 2},
                                         {.seed = place.seed, .use = DRAWS_CROP, .item = 4, .epoch = 2},
                                         {.seed = place.seed, .use = DRAWS_CROP, .item = 3, .epoch = 3}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        draws_uniform(&others[i], N, again);
        assert_memory_not_equal(u, again, 4 * sizeof *u);
    }
}

static void an_order_is_a_permutation(void **state) {
    (void)state;
    enum { N = 100 };
    uint32_t order[N], other[N];
    bool seen[N] = {false};
    draws_order(&(struct draws_place){.seed = 5, .use = DRAWS_ORDER, .epoch = 1}, N, order);
    draws_order(&(struct draws_place){.seed = 5, .use = DRAWS_ORDER, .epoch = 2}, N, other);
    for (int i = 0; i < N; i++) {
        assert_true(order[i] < N && !seen[order[i]]);
        seen[order[i]] = true;
    }
    assert_memory_not_equal(order, other, sizeof order);
}

static void a_fifth_of_each_class_is_held_out(void **state) {
    (void)state;
    enum { N = 36, CLASSES = 3 };
    static const uint32_t sizes[CLASSES] = {8, 12, 16};
    uint32_t label[N], count[CLASSES] = {0};
    bool held[N], again[N];
    size_t n = 0;
    for (uint32_t c = 0; c < CLASSES; c++)
        for (uint32_t i = 0; i < sizes[c]; i++)
            label[n++] = c;
    assert_int_equal(split_held_out(label, N, CLASSES, 0.2, 0, held), 2 * CLASSES);
    for (size_t i = 0; i < N; i++)
        count[label[i]] += held[i];
    for (uint32_t c = 0; c < CLASSES; c++)
        assert_int_equal(count[c], 2);
    assert_int_equal(split_held_out(label, N, CLASSES, 0.2, 0, again), 2 * CLASSES);
    assert_memory_equal(held, again, sizeof held);
    split_held_out(label, N, CLASSES, 0.2, 1, again);
    assert_memory_not_equal(held, again, sizeof held);
    assert_int_equal(split_held_out(label, 3, 1, 0.2, 0, held), 0); /* three pictures */
    assert_int_equal(split_held_out(label, 4, 1, 0.2, 0, held), 1);
}

/* As train/fewshot/methods.py has it: (step + 1) / 6, then half a cosine from step 5 on. */
static void the_rate_is_the_references(void **state) {
    (void)state;
    static const double expected[] = {1. / 6, 2. / 6, 3. / 6, 4. / 6, 5. / 6, 1, 0.75, 0.25};
    for (uint64_t i = 0; i < 8; i++)
        assert_true(fabs(schedule_adamw(i + 1, 8, 1, 0).rate - expected[i]) < 1e-12);
    assert_true(fabs(schedule_adamw(2, 2, 1, 0).rate - 2. / 6) < 1e-12); /* shorter than the warm-up */
}

static void *get(const struct safetensors *st, const char *name) {
    const struct tensor *t = safetensors_find(st, name);
    struct limoe_error err;
    assert_non_null(t);
    void *bytes = malloc(t->bytes);
    assert_non_null(bytes);
    assert_int_equal(safetensors_read(st, t, bytes, &err), LIMOE_OK);
    return bytes;
}

/* A sum in another order may round a half the other way: a step of a byte, seldom. */
static void crops_are_pytorchs(void **state) {
    (void)state;
    struct safetensors *st;
    struct limoe_error err;
    assert_int_equal(safetensors_open_file(golden, "crops.safetensors", &st, &err), LIMOE_OK);
    const struct tensor *large = safetensors_find(st, "pixels"), *small = safetensors_find(st, "crops");
    assert_true(large && small);
    const uint32_t n = (uint32_t)small->shape[0], side = (uint32_t)large->shape[1],
                   size = (uint32_t)small->shape[1];
    const size_t from = (size_t)3 * side * side, to = (size_t)3 * size * size;
    uint8_t *pixels = get(st, "pixels"), *expected = get(st, "crops"), *flips = get(st, "flip"),
            *got = malloc(to);
    float *u = get(st, "u");
    size_t off = 0;
    assert_non_null(got);
    for (uint32_t i = 0; i < n; i++) {
        crops_augment(pixels + i * from, side, size, flips[i], u + (size_t)i * CROPS_DRAWS, got);
        for (size_t j = 0; j < to; j++) {
            const int d = got[j] - expected[i * to + j];
            if (d < -1 || d > 1)
                fail_msg("picture %u, byte %zu: %d, expected %d", i, j, got[j], expected[i * to + j]);
            off += d != 0;
        }
    }
    assert_true(off * 200 < n * to);
    free(pixels);
    free(expected);
    free(flips);
    free(got);
    free(u);
    safetensors_close(st);
}

int main(int argc, char **argv) {
    assert_true(argc == 2);
    golden = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_published_answers),
        cmocka_unit_test(a_number_depends_on_its_place_alone),
        cmocka_unit_test(an_order_is_a_permutation),
        cmocka_unit_test(a_fifth_of_each_class_is_held_out),
        cmocka_unit_test(the_rate_is_the_references),
        cmocka_unit_test(crops_are_pytorchs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
