/* test_describe.c - protects what a description is made of: words by cosine and threshold, prompts to the byte, the request's
 * fields, files of terms. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/api/describe.h"

#define MOST_WORDS 8

/* ---- prompts */

/* Up to the separator, or all; *rest is what is behind it. */
static struct text cut(struct text *rest, char at) {
    const char *end = memchr(rest->data, at, rest->size);
    const struct text part = {.data = rest->data, .size = end ? (size_t)(end - rest->data) : rest->size};
    const size_t taken = part.size + (end ? 1 : 0);
    *rest = (struct text){.data = rest->data + taken, .size = rest->size - taken};
    return part;
}

static size_t split(struct text list, struct text *out) {
    size_t n = 0;
    while (list.size)
        out[n++] = cut(&list, 3);
    return n;
}

static void check_prompt(struct text record) {
    struct text terms[DESCRIBE_LISTS][MOST_WORDS];
    struct described words[MOST_WORDS];
    struct described_words lists[DESCRIBE_LISTS];
    const struct text *of[DESCRIBE_LISTS];
    struct describe_prompt prompt = {.mode = describe_mode_of(cut(&record, 2))};
    struct buffer out = {0};
    for (size_t i = 0; i < MOST_WORDS; i++)
        words[i].term = i;
    for (size_t i = 0; i < DESCRIBE_LISTS; i++) {
        lists[i] = (struct described_words){.words = words, .n = split(cut(&record, 2), terms[i])};
        of[i] = terms[i];
    }
    prompt.question = cut(&record, 2);
    const struct text ocr = cut(&record, 2);
    prompt.ocr = (struct text){.data = ocr.size ? ocr.data : NULL, .size = ocr.size};
    describe_write_prompt(&out, &prompt, &(struct description){.words = lists, .terms = of});
    assert_int_equal(out.size, record.size);
    assert_memory_equal(out.data, record.data, record.size);
    buffer_free(&out);
}

static void prompts_are_the_originals(void **state) {
    (void)state;
    static char bytes[1 << 17];
    FILE *file = fopen(ROOT "/tests/unit/server/api/prompts.txt", "rbe");
    assert_non_null(file);
    struct text rest = {.data = bytes, .size = fread(bytes, 1, sizeof bytes, file)};
    fclose(file);
    size_t n = 0;
    for (; rest.size; n++)
        check_prompt(cut(&rest, 1));
    assert_int_equal(n, 250);
}

static void examples_stand_before(void **state) {
    (void)state;
    const struct describe_example example = {text_of("Tags: a"), text_of("yes")};
    const struct described_words none[DESCRIBE_LISTS] = {{0}};
    const struct describe_prompt prompt = {
        .mode = DESCRIBE_VQA, .question = text_of("q"), .examples = &example, .n_examples = 1};
    struct buffer out = {0};
    describe_write_prompt(&out, &prompt, &(struct description){.words = none});
    buffer_bytes(&out, "", 1);
    assert_string_equal(out.data, "Tags: a yes\n\nImage:\nCaptions:\nQuestion:q\nShort Answer:");
    buffer_free(&out);
}

/* ---- ranking */

enum { TERMS = 300, WIDTH = 4 };

static void fill(float *matrix, size_t n) {
    uint32_t seed = 1;
    for (size_t i = 0; i < n * WIDTH; i++) {
        seed = seed * 1664525u + 1013904223u;
        matrix[i] = (float)(seed >> 8) / (1 << 24) - 0.5f;
    }
}

static void words_are_the_highest_in_order(void **state) {
    (void)state;
    static float matrix[TERMS * WIDTH], reference[8 * WIDTH];
    const float image[WIDTH] = {1, 0, 0, 0};
    struct arena *arena = arena_new();
    fill(matrix, TERMS);
    fill(reference, 8);
    memcpy(matrix + 7 * WIDTH, matrix + 200 * WIDTH,
           WIDTH * sizeof *matrix); /* a tie: the lower index first */
    const struct describe_vocabulary vocabulary = {
        .matrix = matrix, .n = TERMS, .reference = reference, .n_reference = 8, .embed = WIDTH};
    const struct describe_words wanted = {.most = 50, .threshold = -2};
    struct described_words found;
    assert_true(describe_rank(&vocabulary, &wanted, image, arena, &found));
    assert_int_equal(found.n, 50);
    size_t above = 0;
    for (size_t i = 0; i < TERMS; i++)
        above += matrix[i * WIDTH] > found.words[49].cosine;
    assert_true(above <= 49);
    for (size_t i = 0; i < found.n; i++) {
        assert_true(found.words[i].cosine == matrix[found.words[i].term * WIDTH]);
        assert_true(i == 0 || found.words[i].cosine < found.words[i - 1].cosine ||
                    (found.words[i].cosine == found.words[i - 1].cosine &&
                     found.words[i].term > found.words[i - 1].term));
    }
    arena_free(arena);
}

static void thresholds(void **state) {
    (void)state;
    /* With the terms the two reference pictures have cosines of -0.2 and 0.2, and of 0.8 twice. All: mean 0.4, deviation
     * sqrt(0.18). Of the first, whose own mean is 0, 0.3 is expected; of the second 0.5. */
    const float matrix[] = {1, 0, 0, 1}, reference[] = {-0.2f, 0.8f, 0.2f, 0.8f};
    const double deviation = sqrt(0.18);
    const float image[] = {(float)(0.3 + 2.1 * deviation), (float)(0.5 + 1.9 * deviation)};
    struct describe_vocabulary vocabulary = {
        .matrix = matrix, .n = 2, .reference = reference, .n_reference = 2, .embed = 2};
    struct arena *arena = arena_new();
    struct described_words found;
    assert_true(describe_measure(&vocabulary, arena));
    assert_true(fabs(vocabulary.mean - 0.4) < 1e-6 && fabs(vocabulary.deviation - deviation) < 1e-6);
    assert_true(describe_rank(&vocabulary, &(struct describe_words){.most = 5, .automatic = true}, image,
                              arena, &found));
    assert_int_equal(found.n, 1);
    assert_int_equal(found.words[0].term, 0);
    assert_true(fabsf(found.words[0].score - 2.1f) < 1e-4f);
    assert_true(describe_rank(&vocabulary, &(struct describe_words){.most = 5, .threshold = image[0]}, image,
                              arena, &found));
    assert_int_equal(found.n, 2); /* a cosine that is the threshold reaches it */
    assert_int_equal(found.words[0].term, 1);
    assert_true(fabsf(found.words[0].score - 1.9f) < 1e-4f);
    /* Where all are alike nothing is unusual. */
    vocabulary.reference = (const float[]){0.5f, 0.5f, 0.5f, 0.5f};
    assert_true(describe_measure(&vocabulary, arena));
    assert_true(describe_rank(&vocabulary, &(struct describe_words){.most = 5, .threshold = -1}, image, arena,
                              &found));
    assert_true(found.n == 2 && found.words[0].score == 0);
    arena_free(arena);
}

/* Of many terms a sample is measured, from end to end. */
static void a_sample_is_spread(void **state) {
    (void)state;
    static float matrix[TERMS];
    struct arena *arena = arena_new();
    double sum = 0;
    for (size_t i = 0; i < TERMS; i++)
        matrix[i] = (float)i;
    for (size_t i = 0; i < DESCRIBE_SAMPLE; i++)
        sum += (double)(i * TERMS / DESCRIBE_SAMPLE);
    struct describe_vocabulary vocabulary = {
        .matrix = matrix, .n = TERMS, .reference = (const float[]){1}, .n_reference = 1, .embed = 1};
    assert_true(describe_measure(&vocabulary, arena));
    assert_true(fabs(vocabulary.mean - sum / DESCRIBE_SAMPLE) < 1e-6);
    arena_free(arena);
}

/* ---- requests */

static const struct limoe_info info = {.name = "m"};
static const struct limoe_info *const infos[] = {&info};
static const struct request_models models = {.info = infos, .n = 1};

static bool reads(struct arena *arena, const char *fields, struct describe_request *out,
                  struct api_error *error) {
    const char *body = arena_print(arena, "{\"image\":\"AAAA\"%s%s}", *fields ? "," : "", fields);
    return describe_read(&models, body, strlen(body), arena, out, error);
}

static void fields_have_defaults(void **state) {
    (void)state;
    struct arena *arena = arena_new();
    struct describe_request request;
    struct api_error error;
    assert_true(reads(arena, "", &request, &error));
    assert_true(text_is(request.words[DESCRIBE_TAGS].vocabulary, "tags") &&
                request.words[DESCRIBE_TAGS].automatic);
    assert_true(text_is(request.words[DESCRIBE_ATTRIBUTES].vocabulary, "attributes"));
    assert_int_equal(request.words[DESCRIBE_TAGS].most, 5);
    assert_int_equal(request.words[DESCRIBE_CAPTIONS].most, 0);
    assert_int_equal(request.prompt.mode, DESCRIBE_NO_PROMPT);
    assert_true(reads(arena,
                      "\"tags\":{\"k\":0},\"attributes\":{\"vocabulary\":\"mine\",\"k\":7,\"threshold\":0.25}"
                      ",\"captions\":{"
                      "\"vocabulary\":\"bank\",\"n\":2},\"ocr\":\"SALE\",\"prompt\":{\"question\":\"?\"}",
                      &request, &error));
    assert_int_equal(request.words[DESCRIBE_TAGS].most, 0);
    assert_true(text_is(request.words[DESCRIBE_ATTRIBUTES].vocabulary, "mine"));
    assert_true(!request.words[DESCRIBE_ATTRIBUTES].automatic &&
                request.words[DESCRIBE_ATTRIBUTES].threshold == 0.25f);
    assert_int_equal(request.words[DESCRIBE_CAPTIONS].most, 2);
    assert_true(request.prompt.mode == DESCRIBE_PAPER && text_is(request.prompt.ocr, "SALE"));
    arena_free(arena);
}

static void refusals(void **state) {
    (void)state;
    static const struct {
        const char *fields, *code, *param;
    } cases[] = {
        {"\"tags\":{\"kk\":1}", "unknown_field", "tags.kk"},
        {"\"tags\":[]", "invalid_type", "tags"},
        {"\"tags\":{\"k\":51}", "invalid_value", "tags.k"},
        {"\"tags\":{\"k\":1.5}", "invalid_value", "tags.k"},
        {"\"attributes\":{\"k\":-1}", "invalid_value", "attributes.k"},
        {"\"tags\":{\"threshold\":\"high\"}", "invalid_value", "tags.threshold"},
        {"\"tags\":{\"threshold\":1.1}", "invalid_value", "tags.threshold"},
        {"\"tags\":{\"vocabulary\":\":tags\"}", "invalid_name", "tags.vocabulary"},
        {"\"tags\":{\"vocabulary\":1}", "invalid_type", "tags.vocabulary"},
        {"\"captions\":{}", "no_decoder", "captions.vocabulary"},
        {"\"captions\":{\"n\":3}", "no_decoder", "captions.vocabulary"},
        {"\"captions\":{\"vocabulary\":\"a\",\"beams\":5}", "conflicting_fields", "captions.beams"},
        {"\"captions\":{\"vocabulary\":\"a\",\"k\":5}", "unknown_field", "captions.k"},
        {"\"prompt\":{}", "missing_field", "prompt.question"},
        {"\"prompt\":{\"mode\":\"short\",\"question\":\"?\"}", "invalid_value", "prompt.mode"},
        {"\"prompt\":{\"mode\":\"hm\",\"question\":\"?\"}", "conflicting_fields", "prompt.question"},
        {"\"prompt\":{\"question\":1}", "invalid_type", "prompt.question"},
        {"\"prompt\":{\"question\":\"?\",\"examples\":[1]}", "invalid_type", "prompt.examples[0]"},
        {"\"prompt\":{\"question\":\"?\",\"examples\":[{\"prompt\":\"a\",\"b\":\"c\"}]}", "missing_field",
         "prompt.examples[0].answer"},
        {"\"ocr\":\"SALE\"", "conflicting_fields", "ocr"},
        {"\"ocr\":\"SALE\",\"prompt\":{\"mode\":\"all\",\"question\":\"?\"}", "conflicting_fields", "ocr"},
        {"\"images\":[\"AAAA\"]", "conflicting_fields", "images"},
        {"\"labels\":[]", "unknown_field", "labels"},
        {"\"model\":\"none\"", "model_not_found", "model"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena *arena = arena_new();
        struct describe_request request;
        struct api_error error;
        assert_false(reads(arena, cases[i].fields, &request, &error));
        assert_string_equal(error.code, cases[i].code);
        assert_string_equal(error.param, cases[i].param);
        arena_free(arena);
    }
}

/* ---- files of terms */

static void files_of_terms(void **state) {
    (void)state;
    static const char file[] = "cat\r\n\n  \nred dog\n犬";
    struct arena *arena = arena_new();
    struct api_error error;
    const struct text *terms;
    size_t n;
    assert_true(describe_read_terms("f", file, sizeof file - 1, arena, &terms, &n, &error));
    assert_int_equal(n, 3);
    assert_true(text_is(terms[0], "cat") && text_is(terms[1], "red dog") && text_is(terms[2], "犬"));
    assert_false(describe_read_terms("f", "\n \n", 3, arena, &terms, &n, &error));
    assert_string_equal(error.message, "f: no terms; accepted: one a line");
    assert_false(describe_read_terms("f", "a\n\xff\n", 4, arena, &terms, &n, &error));
    assert_string_equal(error.message, "f: line 2 is not UTF-8, or has a NUL byte");
    char *many = arena_array(arena, DESCRIBE_MOST_VOCABULARY + 1, 2);
    for (size_t i = 0; i <= DESCRIBE_MOST_VOCABULARY; i++)
        memcpy(many + 2 * i, "a\n", 2);
    assert_true(
        describe_read_terms("f", many, 2 * (size_t)DESCRIBE_MOST_VOCABULARY, arena, &terms, &n, &error));
    assert_int_equal(n, DESCRIBE_MOST_VOCABULARY);
    assert_false(describe_read_terms("f", many, 2 * (size_t)(DESCRIBE_MOST_VOCABULARY + 1), arena, &terms, &n,
                                     &error));
    memset(many, 'a', 1025);
    assert_false(describe_read_terms("f", many, 1025, arena, &terms, &n, &error));
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompts_are_the_originals),
        cmocka_unit_test(examples_stand_before),
        cmocka_unit_test(words_are_the_highest_in_order),
        cmocka_unit_test(thresholds),
        cmocka_unit_test(a_sample_is_spread),
        cmocka_unit_test(fields_have_defaults),
        cmocka_unit_test(refusals),
        cmocka_unit_test(files_of_terms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
