/* test_classify.c - protects the path from labels to prompts and from embeddings to ordered predictions. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/api/classify.h"

static void prompts_are_labels_by_templates(void **state) {
    (void)state;
    struct arena *arena = arena_new();
    const struct text labels[] = {text_of("cat"), text_of("{}"), text_of("犬")};
    const struct text templates[] = {text_of("{}"), text_of("a photo of a {}."), text_of("{}の絵")};
    const struct classify_request request = {
        .labels = labels, .n_labels = 3, .templates = templates, .n_templates = 3};
    static const char *const expected[] = {"cat", "a photo of a cat.", "catの絵",
                                           "{}",  "a photo of a {}.",  "{}の絵",
                                           "犬",  "a photo of a 犬.",  "犬の絵"};
    static const char *const params[] = {"labels[0]", "labels[1]", "labels[2]"};
    assert_int_equal(classify_prompt_count(&request), 9);
    struct request_item prompts[9];
    assert_true(classify_prompts(&request, arena, prompts));
    for (size_t i = 0; i < 9; i++) {
        assert_int_equal(prompts[i].modality, LIMOE_TEXT);
        assert_int_equal(prompts[i].size, strlen(expected[i]));
        assert_memory_equal(prompts[i].bytes, expected[i], prompts[i].size);
        assert_string_equal(prompts[i].param, params[i / 3]);
    }
    arena_free(arena);
}

static void one_template_keeps_the_bits(void **state) {
    (void)state;
    const float prompts[] = {0.6f, 0.8000001f, -1.0f, 0.0f};
    float labels[4];
    classify_labels(prompts, 2, 1, 2, labels);
    assert_memory_equal(labels, prompts, sizeof prompts);
}

static void templates_are_ensembled_even_in_place(void **state) {
    (void)state;
    const float prompts[] = {1, 0, 0, 1, /* label 0 */ -1, 0, -1, 0, /* label 1 */ 0,
                             1, 0, -1 /* label 2: cancels */};
    const float half = (float)sqrt(0.5);
    const float expected[] = {half, half, -1, 0, 0, 0};
    float apart[6], in_place[12];
    classify_labels(prompts, 3, 2, 2, apart);
    memcpy(in_place, prompts, sizeof prompts);
    classify_labels(in_place, 3, 2, 2, in_place);
    for (size_t i = 0; i < 6; i++) {
        assert_true(fabsf(apart[i] - expected[i]) < 1e-6f);
        assert_true(in_place[i] == apart[i]);
    }
}

static void predictions_are_ordered_and_ties_go_to_the_lower_label(void **state) {
    (void)state;
    struct arena *arena = arena_new();
    const float image[] = {1, 0};
    const float labels[] = {0, 1, 0.6f, 0.8f, 1, 0, 0.6f, -0.8f, -1, 0};
    struct classification result = {.index = 3};
    assert_true(classify_rank(image, labels, 5, 2, &(struct limoe_scoring){.scale = logf(10)}, NULL, 100,
                              arena, &result));
    assert_int_equal(result.count, 5);
    assert_int_equal(result.index, 3);
    static const size_t order[] = {2, 1, 3, 0, 4};
    double sum = 0;
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(result.predictions[i].label, order[i]);
        assert_true(result.predictions[i].cosine == labels[2 * order[i]]);
        sum += result.predictions[i].score;
    }
    assert_true(fabs(sum - 1) < 1e-6);
    assert_true(fabs(result.predictions[1].score / result.predictions[0].score - exp(-4)) < 1e-6);

    /* At a scale where all but one score underflow to 0, the cosines still order the rest. */
    assert_true(
        classify_rank(image, labels, 5, 2, &(struct limoe_scoring){.scale = 8}, NULL, 3, arena, &result));
    assert_int_equal(result.count, 3);
    assert_true(result.predictions[1].score == 0);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(result.predictions[i].label, order[i]);
    arena_free(arena);
}

/* The order by definition, to hold the sort to. */
static int by_score(const void *left, const void *right) {
    const struct prediction *a = left, *b = right;
    if (a->score != b->score)
        return a->score > b->score ? -1 : 1;
    if (a->cosine != b->cosine)
        return a->cosine > b->cosine ? -1 : 1;
    return a->label < b->label ? -1 : a->label > b->label;
}

static void many_labels_are_ordered_as_by_comparison(void **state) {
    (void)state;
    enum { LABELS = 3000 };
    static float labels[LABELS], cosines[LABELS], scores[LABELS];
    static struct prediction expected[LABELS];
    static const size_t top[] = {1, 7, LABELS};
    const float image[] = {1}, scales[] = {0, 3, 9}; /* the last: most scores underflow */
    unsigned random = 1;
    for (size_t i = 0; i < LABELS; i++) {
        random = random * 1103515245 + 12345;
        labels[i] = (float)((int)(random >> 16) % 1000 - 500) / 500; /* with ties, and both zeros */
        if (i % 10 == 0)
            labels[i] = i % 20 ? 0.0f : -0.0f;
    }
    for (size_t s = 0; s < 3; s++) {
        const struct limoe_scoring scoring = {.scale = scales[s]};
        limoe_scores(image, labels, LABELS, 1, &scoring, cosines, scores);
        for (size_t i = 0; i < LABELS; i++)
            expected[i] = (struct prediction){.label = i, .score = scores[i], .cosine = cosines[i]};
        qsort(expected, LABELS, sizeof *expected, by_score);
        for (size_t t = 0; t < 3; t++) {
            struct arena *arena = arena_new();
            struct classification result;
            assert_true(classify_rank(image, labels, LABELS, 1, &scoring, NULL, top[t], arena, &result));
            assert_int_equal(result.count, top[t]);
            for (size_t i = 0; i < top[t]; i++) {
                assert_int_equal(result.predictions[i].label, expected[i].label);
                assert_memory_equal(&result.predictions[i].score, &expected[i].score, sizeof(float));
                assert_memory_equal(&result.predictions[i].cosine, &expected[i].cosine, sizeof(float));
            }
            arena_free(arena);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompts_are_labels_by_templates),
        cmocka_unit_test(one_template_keeps_the_bits),
        cmocka_unit_test(templates_are_ensembled_even_in_place),
        cmocka_unit_test(predictions_are_ordered_and_ties_go_to_the_lower_label),
        cmocka_unit_test(many_labels_are_ordered_as_by_comparison),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
