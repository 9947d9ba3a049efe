/* What patches add to an embedding: the shares of 1,000 pairs of a picture and a text sum to their cosines, they are all
 * of an embedding where pooling is a mean, and their bits depend on the picture alone.
 *
 * usage: test_shares MODEL_DIRECTORY...
 *
 * Where a directory has shares.safetensors, which PyTorch made (tests/families/make_shares.py), they are those.
 * LIMOE_TEST_DEVICE names another device than the CPU ("cuda").
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "kernels/kernels.h"
#include "model/checkpoint/config.h"
#include "model/checkpoint/safetensors.h"
#include "model/forward/shares.h"
#include "model/model.h"
#include "tests/unit/files.h"
#include "tests/unit/model/fixture.h"

enum { PICTURES = 20, TEXTS = 50 };

static const double SUM_DIFFERENCE = 1e-5;

static float uniform(uint64_t *random) {
    return (float)fixture_random(random, 1u << 24) / (1 << 23) - 1;
}

/* ---- one model on one backend */

struct split {
    struct limoe_model *m;
    const struct limoe_info *info;
    size_t patches, embed, size; /* size: numbers of one picture's shares */
    struct limoe_item items[PICTURES];
    uint8_t *pixels;
    float *z;      /* [PICTURES, embed] */
    float *shares; /* [PICTURES, patches + 1, embed] */
};

static void embed(const struct split *s, const struct limoe_item *items, size_t n, float *z) {
    struct limoe_error err;
    if (limoe_model_embed(s->m, items, n, z, NULL, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
}

/* Pictures of noise; each is asked for its shares, all in one call. */
static void split_make(struct split *s, struct limoe_model *m) {
    const struct limoe_info *info = limoe_model_info(m);
    const uint32_t side = info->image_size / info->patch;
    const size_t bytes = (size_t)info->image_size * info->image_size * 3;
    uint64_t random = 5;
    *s = (struct split){.m = m, .info = info, .patches = (size_t)side * side, .embed = info->embed};
    s->size = (s->patches + 1) * s->embed;
    s->pixels = malloc(PICTURES * bytes);
    s->z = calloc(PICTURES * s->embed, sizeof *s->z);
    s->shares = calloc(PICTURES * s->size, sizeof *s->shares);
    for (size_t i = 0; i < PICTURES * bytes; i++)
        s->pixels[i] = (uint8_t)fixture_random(&random, 256);
    for (size_t i = 0; i < PICTURES; i++)
        s->items[i] = (struct limoe_item){.modality = LIMOE_IMAGE,
                                          .length = info->image_tokens,
                                          .pixels = s->pixels + i * bytes,
                                          .shares = s->shares + i * s->size};
    embed(s, s->items, PICTURES, s->z);
}

static void split_free(struct split *s) {
    free(s->pixels);
    free(s->z);
    free(s->shares);
    limoe_model_close(s->m);
}

/* The largest difference between a cosine and its shares' sum, over all pairs of pictures and random texts. */
static double expect_sums(const struct split *s) {
    float *text = malloc(s->embed * sizeof *text), *share = malloc(s->patches * sizeof *share), rest;
    const struct limoe_scoring scoring = {0};
    double worst = 0;
    uint64_t random = 6;
    for (size_t t = 0; t < TEXTS; t++) {
        for (size_t c = 0; c < s->embed; c++)
            text[c] = uniform(&random);
        limoe_ensemble(text, 1, s->embed, text);
        for (size_t i = 0; i < PICTURES; i++) {
            float cosine, score;
            double sum = 0;
            limoe_scores(s->z + i * s->embed, text, 1, s->embed, &scoring, &cosine, &score);
            limoe_explain(s->shares + i * s->size, s->patches, s->embed, text, share, &rest);
            for (size_t p = 0; p < s->patches; p++)
                sum += share[p];
            worst = fmax(worst, fabs(sum - cosine));
        }
    }
    free(text);
    free(share);
    return worst;
}

static double length_of(const float *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * x[i];
    return sqrt(sum);
}

/* The longest rest of a picture: nothing but rounding with a mean over patches alone; else a part of it, but not all. */
static double expect_rests(const struct split *s) {
    double longest = 0;
    for (size_t i = 0; i < PICTURES; i++)
        longest = fmax(longest, length_of(s->shares + i * s->size + s->patches * s->embed, s->embed));
    for (size_t i = 0; i < s->patches; i++) { /* every patch has a share, and no other's */
        const float *row = s->shares + i * s->embed;
        assert_true(length_of(row, s->embed) > 1e-6);
        assert_true(!i || memcmp(row, row - s->embed, s->embed * sizeof *row) != 0);
    }
    return longest;
}

/* Alone, in a batch where others ask for none, and without asking, bits are the same. */
static void expect_bits(const struct split *s) {
    float *z = calloc(PICTURES * s->embed, sizeof *z), *shares = calloc(s->size, sizeof *shares);
    struct limoe_item items[PICTURES];
    memcpy(items, s->items, sizeof items);
    for (size_t i = 0; i < PICTURES; i++)
        items[i].shares = NULL;
    embed(s, items, PICTURES, z);
    assert_memory_equal(z, s->z, PICTURES * s->embed * sizeof *z);
    for (size_t n = 1; n <= PICTURES; n += PICTURES / 2) {
        items[n - 1].shares = shares;
        embed(s, items, n, z);
        assert_memory_equal(z, s->z, n * s->embed * sizeof *z);
        assert_memory_equal(shares, s->shares + (n - 1) * s->size, s->size * sizeof *shares);
        items[n - 1].shares = NULL;
    }
    free(z);
    free(shares);
}

/* PyTorch's shares of the pictures in items.safetensors. -1: it has made none; else the largest difference. */
static double compare(const struct split *s, const char *dir) {
    char path[2][512];
    struct safetensors *file[2];
    uint8_t *bytes[2];
    struct limoe_error err;
    snprintf(path[0], sizeof path[0], "%s/items.safetensors", dir);
    snprintf(path[1], sizeof path[1], "%s/shares.safetensors", dir);
    if (access(path[1], F_OK) != 0)
        return -1;
    for (int i = 0; i < 2; i++) {
        size_t size;
        bytes[i] = file_read(path[i], &size);
        if (safetensors_open_memory(bytes[i], size, path[i], &file[i], &err) != LIMOE_OK)
            fail_msg("%s", err.message);
    }
    const struct tensor *pixels = safetensors_find(file[0], "pixels"),
                        *want = safetensors_find(file[1], "shares");
    assert_true(pixels && want && want->shape[1] == s->patches + 1 && want->shape[2] == s->embed);
    float *z = calloc(s->embed, sizeof *z), *shares = calloc(s->size, sizeof *shares);
    double worst = 0;
    for (size_t i = 0; i < want->shape[0]; i++) {
        const uint8_t *picture = bytes[0] + pixels->offset + i * (pixels->bytes / pixels->shape[0]);
        const float *expected = (const float *)(const void *)(bytes[1] + want->offset) + i * s->size;
        struct limoe_item item = s->items[0];
        item.pixels = picture;
        item.shares = shares;
        embed(s, &item, 1, z);
        for (size_t j = 0; j < s->size; j++)
            worst = fmax(worst, fabs((double)shares[j] - expected[j]));
    }
    for (int i = 0; i < 2; i++) {
        safetensors_close(file[i]);
        free(bytes[i]);
    }
    free(z);
    free(shares);
    return worst;
}

/* ---- */

static const struct limoe_options one_rank = {0};

static struct limoe_model *open_on(const char *dir, struct kernels *k) {
    struct limoe_error err;
    struct limoe_model *m;
    if (model_open_on(dir, k, &one_rank, &m, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    return m;
}

static void check(const char *dir, struct kernels *k) {
    struct split s;
    split_make(&s, open_on(dir, k));
    const bool float32 = limoe_model_dtype(s.m) == LIMOE_FLOAT32;
    const double sum = expect_sums(&s), rest = expect_rests(&s), reference = compare(&s, dir);
    printf("# %s, %s %s, %s: sums within %.1e, rest up to %.1e, PyTorch's within %.1e\n", dir,
           limoe_model_backend(s.m), limoe_dtype_name(limoe_model_dtype(s.m)),
           limoe_shares_name(s.info->shares), sum, rest, reference);
    assert_true(sum <= SUM_DIFFERENCE);
    struct config config;
    struct limoe_error err;
    assert_int_equal(config_load(dir, &config, NULL, &err), LIMOE_OK);
    if (s.info->shares == LIMOE_SHARES_MEAN && !config.image.class_token &&
        !config.tower[LIMOE_IMAGE].late_norm)
        assert_true(rest <= (float32 ? 1e-5 : 0.1));
    assert_true(reference <= (float32 ? 1e-5 : 0.1));
    expect_bits(&s);
    split_free(&s);
}

static void test_models(void **state) {
    static const enum limoe_dtype dtypes[] = {LIMOE_FLOAT32, LIMOE_BFLOAT16, LIMOE_INT8};
    const char *device = getenv("LIMOE_TEST_DEVICE");
    for (char **dir = *state; *dir; dir++) {
        struct kernels *k;
        struct limoe_error err;
        if (!device) {
            assert_int_equal(kernels_reference_create(LIMOE_FLOAT32, &k, &err), LIMOE_OK);
            check(*dir, k);
        }
        for (size_t i = 0; i < (device ? 2 : 3); i++) {
            if (kernels_create(device ? device : "cpu", dtypes[i], 2, &k, &err) != LIMOE_OK)
                fail_msg("%s", err.message);
            check(*dir, k);
        }
    }
}

/* ---- one head */

/* Of all rows the sum is attention's own answer, by its formula. */
static void test_a_head(void **state) {
    (void)state;
    enum { ROWS = 7, WIDTH = 5, STRIDE = 16 };
    float x[ROWS * STRIDE], query[WIDTH], score[ROWS], part[ROWS * WIDTH];
    double weight[ROWS], all = 0;
    uint64_t random = 8;
    for (size_t i = 0; i < ROWS * STRIDE; i++)
        x[i] = uniform(&random);
    for (size_t i = 0; i < WIDTH; i++)
        query[i] = 4 * uniform(&random);
    for (size_t j = 0; j < ROWS; j++) {
        double dot = 0;
        for (size_t c = 0; c < WIDTH; c++)
            dot += (double)query[c] * x[j * STRIDE + c];
        all += weight[j] = exp(dot / sqrt(WIDTH));
    }
    const struct shares_head head = {query, x, x + WIDTH, ROWS, STRIDE, WIDTH};
    shares_weigh(&head, 0, ROWS, score, part, WIDTH);
    for (size_t j = 0; j < ROWS; j++)
        for (size_t c = 0; c < WIDTH; c++)
            assert_float_equal(part[j * WIDTH + c], (float)(weight[j] / all * x[j * STRIDE + WIDTH + c]),
                               1e-6);
    /* Some rows of them; and those that the query does not see have no part. */
    const struct shares_head first = {query, x, x + WIDTH, 2, STRIDE, WIDTH};
    shares_weigh(&first, 1, 3, score, part, WIDTH);
    for (size_t c = 0; c < WIDTH; c++) {
        assert_float_equal(part[c], (float)(weight[1] / (weight[0] + weight[1]) * x[STRIDE + WIDTH + c]),
                           1e-6);
        assert_true(part[WIDTH + c] == 0 && part[2 * WIDTH + c] == 0);
    }
}

/* ---- refusals */

static void test_a_text_has_none(void **state) {
    char **dir = *state;
    struct kernels *k;
    struct limoe_error err;
    assert_int_equal(kernels_reference_create(LIMOE_FLOAT32, &k, &err), LIMOE_OK);
    struct limoe_model *m = open_on(*dir, k);
    float *room = calloc(limoe_model_info(m)->embed, sizeof *room);
    int32_t tokens[64] = {0};
    const struct limoe_item item = {
        .modality = LIMOE_TEXT, .length = limoe_model_info(m)->text_length, .tokens = tokens, .shares = room};
    assert_true(item.length <= 64);
    assert_int_equal(limoe_model_embed(m, &item, 1, room, NULL, &err), LIMOE_INVALID);
    assert_string_equal(err.message, "item 0: shares of patches, which a text has none of");
    free(room);
    limoe_model_close(m);
}

int main(int argc, char **argv) {
    if (argc < 2)
        return 2;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_head),
        cmocka_unit_test_prestate(test_models, argv + 1),
        cmocka_unit_test_prestate(test_a_text_has_none, argv + 1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
