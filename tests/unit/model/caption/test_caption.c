/* Protects: captions beside the PyTorch reference (tests/golden/captions*, which train/golden_captions.py makes): logits within
 * 1e-4, and every text the same token by token, searched or sampled; the same bits alone and in any batch, in any
 * order, at any number of threads, in each dtype, and while others come and go; options and items that are refused.
 *
 * usage: test_caption GOLDEN */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "limoe_caption.h"
#include "model/checkpoint/safetensors.h"
#include "model/forward/decoder.h"
#include "model/model.h"
#include "model/text/tokenizer.h"
#include "tests/unit/files.h"

enum { PICTURES = 4, EVERY = 16, VOCAB = 1600 };

static const double LOGIT_DIFFERENCE = 1e-4;

static const char *golden;
static const char *const cases[] = {"captions", "captions-bfloat16"};
enum { CASES = sizeof cases / sizeof *cases };

/* train/golden_captions.py has the same list. */
static const struct {
    const char *name;
    struct limoe_caption_options options;
} searches[] = {
    {"greedy", {0}},
    {"longer", {.min_length = 4, .max_length = 7}},
    {"beams", {.beams = 5, .n = 3, .min_length = 2}},
    {"samples", {.top_k = 20, .n = 6, .seed = 7}},
    {"warm", {.top_k = 64, .n = 4, .seed = (UINT64_C(1) << 63) + 5, .temperature = 0.5f, .max_length = 5}},
};
enum { SEARCHES = sizeof searches / sizeof *searches, MOST = 6 };

/* ---- what was kept */

struct kept {
    char dir[512];
    uint8_t *bytes;
    struct safetensors *file;
    struct limoe_item item[PICTURES];
};

static const void *data(const struct kept *g, const char *name, const char *part, uint64_t shape[4]) {
    char whole[64];
    snprintf(whole, sizeof whole, "%s%s", name, part);
    const struct tensor *t = safetensors_find(g->file, whole);
    if (!t)
        fail_msg("%s: no tensor \"%s\"", g->dir, whole);
    for (uint32_t i = 0; shape && i < t->rank; i++)
        shape[i] = t->shape[i];
    return g->bytes + t->offset;
}

static void kept_open(struct kept *g, const char *name) {
    struct limoe_error err;
    char path[600];
    uint64_t shape[4];
    size_t size;
    snprintf(g->dir, sizeof g->dir, "%s/%s", golden, name);
    snprintf(path, sizeof path, "%s/captions.safetensors", g->dir);
    g->bytes = file_read(path, &size);
    if (safetensors_open_memory(g->bytes, size, g->dir, &g->file, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    const uint8_t *pixels = data(g, "pixels", "", shape);
    assert_int_equal(shape[0], PICTURES);
    for (size_t i = 0; i < PICTURES; i++)
        g->item[i] = (struct limoe_item){
            .modality = LIMOE_IMAGE, .length = 16, .pixels = pixels + i * shape[1] * shape[2] * shape[3]};
}

static void kept_close(struct kept *g) {
    safetensors_close(g->file);
    free(g->bytes);
}

/* ---- instances */

static const char *const instruction_sets[] = {NULL,     "generic",    "neon",       "avx2",
                                               "avx512", "avx512vnni", "avx512bf16", "amx"};
enum { SETS = sizeof instruction_sets / sizeof *instruction_sets };

static const char *device(void) {
    return getenv("LIMOE_TEST_DEVICE");
}

/* One shows what a device does, where it is emulated in some seconds. */
static size_t n_cases(void) {
    return device() ? 1 : CASES;
}

/* isa NULL: the reference kernels, or the device that LIMOE_TEST_DEVICE names. NULL where the processor lacks it. */
static struct limoe_model *open_on(const struct kept *g, const char *isa, enum limoe_dtype dtype,
                                   uint32_t threads) {
    struct limoe_error err;
    struct kernels *k;
    struct limoe_model *m = NULL;
    const struct limoe_options one_rank = {0};
    enum limoe_status status;
    if (device()) {
        status = kernels_create(device(), dtype, 0, &k, &err);
    } else if (isa) {
        assert_int_equal(setenv("LIMOE_ISA", isa, 1), 0);
        status = kernels_cpu_create(dtype, threads, &k, &err);
        assert_int_equal(unsetenv("LIMOE_ISA"), 0);
    } else {
        status = kernels_reference_create(dtype, &k, &err);
    }
    if (status == LIMOE_UNSUPPORTED)
        return NULL;
    if (status != LIMOE_OK || (status = model_open_on(g->dir, k, &one_rank, &m, &err)) != LIMOE_OK)
        fail_msg("%s", err.message);
    return m;
}

/* What the processor has best, or the device. */
static struct limoe_model *open_best(const struct kept *g, enum limoe_dtype dtype, uint32_t threads) {
    struct limoe_error err;
    struct limoe_model *m;
    const struct limoe_options options = {
        .device = device() ? device() : "cpu", .dtype = dtype, .threads = threads};
    if (limoe_model_open(g->dir, &options, &m, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    return m;
}

static void caption(struct limoe_model *m, const struct limoe_item *items, size_t n,
                    const struct limoe_caption_options *options, struct limoe_caption *captions) {
    struct limoe_error err;
    if (limoe_model_caption(m, items, n, options, captions, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
}

static uint32_t number_of(const struct limoe_caption_options *options) {
    return options->n ? options->n : 1;
}

/* ---- beside the reference */

/* One picture's texts are read as given, a token a step, all pictures' at once. */
static double compare_logits(const struct kept *g, struct limoe_model *m) {
    const struct config *c = model_config(m);
    struct limoe_error err;
    struct decoder *d;
    uint64_t shape[4];
    const int32_t *read = data(g, "read", "", shape);
    const float *want = data(g, "logits", "", NULL);
    const uint32_t length = (uint32_t)shape[1];
    const size_t floats = 16 * (size_t)c->tower[LIMOE_IMAGE].width;
    static float rows[PICTURES * 16 * 64], logits[PICTURES * VOCAB];
    uint32_t seen[PICTURES * LIMOE_CAPTION_MAX_TOKENS], start[PICTURES + 1] = {0}, position[PICTURES],
                                                                         row[PICTURES];
    static const uint32_t picture[PICTURES] = {0, 1, 2, 3};
    int32_t token[PICTURES];
    double difference = 0;
    assert_int_equal(model_trunk(m, g->item, PICTURES, c->tower[LIMOE_IMAGE].blocks, rows, &err), LIMOE_OK);
    assert_int_equal(decoder_create(c, model_kernels(m), &model_weights(m)->decoder, PICTURES, &d, &err),
                     LIMOE_OK);
    assert_int_equal(decoder_reserve(d, PICTURES, PICTURES, &err), LIMOE_OK);
    for (size_t i = 0; i < PICTURES; i++)
        decoder_look(d, i, rows + i * floats);
    for (uint32_t at = 0; at < length; at++) {
        for (uint32_t i = 0; i < PICTURES; i++) {
            token[i] = read[i * length + at];
            position[i] = at;
            row[i] = at * PICTURES + i;
            start[i + 1] = start[i] + at + 1;
            for (uint32_t j = 0; j <= at; j++)
                seen[start[i] + j] = j * PICTURES + i;
        }
        const struct decoder_step step = {PICTURES, token, position, picture, row, start, seen};
        assert_int_equal(decoder_reserve(d, PICTURES, (at + 1) * PICTURES, &err), LIMOE_OK); /* rows stay */
        if (decoder_step(d, &step, logits, &err) != LIMOE_OK)
            fail_msg("%s", err.message);
        for (uint32_t i = 0; i < PICTURES; i++)
            for (uint32_t v = 0; v < VOCAB / EVERY; v++)
                difference =
                    fmax(difference, fabs((double)logits[i * VOCAB + v * EVERY] -
                                          (double)want[((size_t)i * length + at) * (VOCAB / EVERY) + v]));
    }
    decoder_destroy(d);
    return difference;
}

static void compare_texts(const struct kept *g, struct limoe_model *m, size_t search) {
    const char *name = searches[search].name;
    const struct limoe_caption_options *options = &searches[search].options;
    static struct limoe_caption got[PICTURES * MOST];
    uint64_t shape[4];
    const int32_t *tokens = data(g, name, ".tokens", shape), *length = data(g, name, ".length", NULL),
                  *ended = data(g, name, ".ended", NULL);
    const float *logprob = data(g, name, ".logprob", NULL);
    caption(m, g->item, PICTURES, options, got);
    assert_int_equal(shape[0], PICTURES * number_of(options));
    for (size_t i = 0; i < shape[0]; i++) {
        assert_int_equal(got[i].length, length[i]);
        assert_memory_equal(got[i].tokens, tokens + i * shape[1], got[i].length * sizeof *tokens);
        assert_int_equal(got[i].ended, ended[i]);
        assert_true(fabs(got[i].logprob - (double)logprob[i]) < LOGIT_DIFFERENCE);
    }
}

static void captions_are_the_references(void **state) {
    (void)state;
    for (size_t c = 0; c < n_cases(); c++) {
        struct kept g;
        kept_open(&g, cases[c]);
        for (size_t i = 0; i < (device() ? 1 : SETS); i++) {
            struct limoe_model *m = open_on(&g, instruction_sets[i], LIMOE_FLOAT32, 2);
            if (!m)
                continue;
            const double difference = compare_logits(&g, m);
            printf("# %s, %s: logits differ by %.1e at most\n", cases[c], limoe_model_backend(m), difference);
            assert_true(difference < LOGIT_DIFFERENCE);
            for (size_t s = 0; s < SEARCHES; s++)
                compare_texts(&g, m, s);
            limoe_model_close(m);
        }
        kept_close(&g);
    }
}

/* ---- bits */

static void assert_same(const struct limoe_caption *a, const struct limoe_caption *b, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(a[i].length, b[i].length);
        assert_int_equal(a[i].ended, b[i].ended);
        assert_memory_equal(&a[i].logprob, &b[i].logprob, sizeof a[i].logprob);
        assert_memory_equal(a[i].tokens, b[i].tokens, a[i].length * sizeof *a[i].tokens);
    }
}

/* More pictures than a group of beams or samples holds, in an order of their own, with each search; and each alone. */
static void check_batches(const struct kept *g, struct limoe_model *m, const struct limoe_caption *want) {
    enum { MANY = 13 };
    static struct limoe_caption got[MANY * MOST];
    struct limoe_item items[MANY];
    const size_t many = device() ? 3 : MANY;
    for (size_t i = 0; i < many; i++)
        items[i] = g->item[i * 3 % PICTURES];
    for (size_t s = 0; s < SEARCHES; s++, want += PICTURES * MOST) {
        const struct limoe_caption_options *o = &searches[s].options;
        const uint32_t n = number_of(o);
        caption(m, items, many, o, got);
        for (size_t i = 0; i < many; i++)
            assert_same(got + i * n, want + i * 3 % PICTURES * n, n);
        caption(m, &g->item[2], 1, o, got);
        assert_same(got, want + 2 * (size_t)n, n);
    }
}

static void bits_depend_on_picture_and_options_alone(void **state) {
    (void)state;
    static const enum limoe_dtype dtypes[] = {LIMOE_FLOAT32, LIMOE_BFLOAT16, LIMOE_INT8};
    static struct limoe_caption want[SEARCHES * PICTURES * MOST];
    for (size_t c = 0; c < n_cases(); c++)
        for (size_t d = 0; d < (device() ? 1 : 3); d++) {
            struct kept g;
            kept_open(&g, cases[c]);
            for (uint32_t threads = 1; threads <= (device() ? 1 : 3); threads++) {
                struct limoe_model *m = open_best(&g, dtypes[d], threads);
                for (size_t s = 0; threads == 1 && s < SEARCHES; s++)
                    caption(m, g.item, PICTURES, &searches[s].options, want + s * PICTURES * MOST);
                check_batches(&g, m, want);
                limoe_model_close(m);
            }
            kept_close(&g);
        }
}

/* Captions that come and go, each with options of its own, are those of limoe_model_caption: what begins late, what ends early and
 * pages that were others' before change none. */
static void captions_come_and_go(void **state) {
    (void)state;
    enum { ALL = 23, AT_ONCE = 5 };
    struct kept g;
    struct limoe_error err;
    struct limoe_captioner *captioner;
    struct limoe_captioning *live[AT_ONCE];
    struct limoe_caption_options options[SEARCHES];
    size_t which[AT_ONCE], n = 0;
    kept_open(&g, "captions");
    struct limoe_model *m = open_best(&g, LIMOE_FLOAT32, 2);
    for (size_t s = 0; s < SEARCHES; s++)
        assert_int_equal(limoe_caption_check(limoe_model_info(m), &searches[s].options, &options[s], &err),
                         LIMOE_OK);
    assert_int_equal(limoe_captioner_open(m, &captioner, &err), LIMOE_OK);
    for (size_t begun = 0; begun < ALL || n;) {
        if (begun < ALL && n < AT_ONCE) {
            const struct limoe_caption_options *own = &options[begun % SEARCHES];
            which[n] = begun++;
            assert_int_equal(
                limoe_captioner_begin(captioner, &g.item[which[n] % PICTURES], &own, 1, &live[n], &err),
                LIMOE_OK);
            n++;
        }
        assert_int_equal(limoe_captioner_step(captioner, live, n, &err), LIMOE_OK);
        if (begun == 7)
            limoe_captioner_end(captioner, live[--n]); /* given up half way */
        for (size_t i = n; i-- > 0;) {
            static struct limoe_caption got[MOST], want[MOST];
            const struct limoe_caption_options *own = &options[which[i] % SEARCHES];
            if (!limoe_captioning_done(live[i]))
                continue;
            limoe_captioning_answer(live[i], got);
            caption(m, &g.item[which[i] % PICTURES], 1, own, want);
            assert_same(got, want, own->n);
            limoe_captioner_end(captioner, live[i]);
            live[i] = live[--n];
            which[i] = which[n];
        }
    }
    limoe_captioner_close(captioner);
    limoe_model_close(m);
    kept_close(&g);
}

/* The first samples of many are those of few, and another seed's are others. */
static void samples_depend_on_their_number(void **state) {
    (void)state;
    struct kept g;
    kept_open(&g, "captions");
    struct limoe_model *m = open_on(&g, NULL, LIMOE_FLOAT32, 1);
    static struct limoe_caption few[3], many[LIMOE_CAPTION_MAX], others[3];
    struct limoe_caption_options o = {.top_k = VOCAB, .n = 3, .seed = 1};
    caption(m, g.item, 1, &o, few);
    o.n = device() ? 4 : LIMOE_CAPTION_MAX;
    caption(m, g.item, 1, &o, many);
    assert_same(few, many, 3);
    o = (struct limoe_caption_options){.top_k = VOCAB, .n = 3, .seed = 2};
    caption(m, g.item, 1, &o, others);
    assert_true(memcmp(few[0].tokens, few[1].tokens, sizeof few[0].tokens) != 0);
    assert_true(memcmp(few[0].tokens, others[0].tokens, sizeof few[0].tokens) != 0);
    limoe_model_close(m);
    kept_close(&g);
}

/* ---- texts */

static void texts_are_sentencepieces(void **state) {
    (void)state;
    static char text[LIMOE_CAPTION_TEXT];
    struct limoe_error err;
    struct tokenizer *t;
    char dir[600];
    snprintf(dir, sizeof dir, "%s/tokenizer", golden);
    assert_int_equal(tokenizer_open(dir, VOCAB, NULL, &t, &err), LIMOE_OK);
    for (size_t c = 0; c < CASES; c++) {
        struct kept g;
        kept_open(&g, cases[c]);
        const char *want = data(&g, "texts", "", NULL);
        for (size_t s = 0; s < SEARCHES; s++) {
            uint64_t shape[4];
            const int32_t *tokens = data(&g, searches[s].name, ".tokens", shape),
                          *length = data(&g, searches[s].name, ".length", NULL);
            for (size_t i = 0; i < shape[0]; i++, want += strlen(want) + 1) {
                assert_int_equal(
                    tokenizer_decode(t, tokens + i * shape[1], (uint32_t)length[i], text, sizeof text, &err),
                    LIMOE_OK);
                assert_string_equal(text, want);
            }
        }
        kept_close(&g);
    }
    static const int32_t beyond = VOCAB, cat[] = {500, 501};
    assert_int_equal(tokenizer_decode(t, &beyond, 1, text, sizeof text, &err), LIMOE_INVALID);
    assert_string_equal(err.message, "token 0 is id 1600, must be 0 to 1599");
    assert_int_equal(tokenizer_decode(t, cat, 2, text, 1, &err), LIMOE_TOO_LARGE);
    tokenizer_close(t);
}

/* ---- what is refused */

static void options_are_checked(void **state) {
    (void)state;
    static const struct {
        struct limoe_caption_options options;
        const char *message;
    } refused[] = {
        {{.n = 2}, "n is 2; 1 to 1 is accepted"},
        {{.n = 65, .top_k = 5}, "n is 65; 1 to 64 is accepted"},
        {{.beams = 17}, "beams is 17; 1 to 16 is accepted"},
        {{.top_k = 1601}, "top_k is 1601; 0 to 1600 is accepted"},
        {{.beams = 2, .top_k = 5}, "beams is 2 and top_k 5; captions are searched or sampled"},
        {{.max_length = 13}, "max_length is 13; 1 to 12 is accepted"},
        {{.min_length = 8, .max_length = 7}, "min_length is 8; 0 to 7 is accepted"},
        {{.temperature = -1}, "temperature is -1; 0.01 to 100 is accepted"},
        {{.temperature = NAN}, "temperature is nan; 0.01 to 100 is accepted"},
    };
    struct kept g;
    struct limoe_error err;
    struct limoe_caption got[2];
    kept_open(&g, "captions");
    struct limoe_model *m = open_on(&g, NULL, LIMOE_FLOAT32, 1);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        assert_int_equal(limoe_model_caption(m, g.item, 1, &refused[i].options, got, &err), LIMOE_INVALID);
        if (!strstr(err.message, refused[i].message))
            fail_msg("\"%s\" does not say \"%s\"", err.message, refused[i].message);
    }
    static const int32_t token = 1;
    const struct limoe_item text = {.modality = LIMOE_TEXT, .length = 1, .tokens = &token};
    const struct limoe_item items[] = {g.item[0], {.modality = LIMOE_IMAGE, .length = 16}};
    assert_int_equal(limoe_model_caption(m, &text, 1, NULL, got, &err), LIMOE_INVALID);
    assert_string_equal(err.message, "item 0: a text; pictures are captioned");
    assert_int_equal(limoe_model_caption(m, items, 2, NULL, got, &err), LIMOE_INVALID);
    assert_string_equal(err.message, "item 1: an image without pixels");
    assert_int_equal(limoe_model_caption(m, NULL, 0, NULL, NULL, &err), LIMOE_OK);
    limoe_model_close(m);
    kept_close(&g);
}

static void a_model_without_a_decoder_says_so(void **state) {
    (void)state;
    char dir[600];
    struct limoe_error err;
    struct limoe_model *m;
    const struct limoe_options options = {.device = device()};
    snprintf(dir, sizeof dir, "%s/base", golden);
    assert_int_equal(limoe_model_open(dir, &options, &m, &err), LIMOE_OK);
    assert_int_equal(limoe_model_caption(m, NULL, 0, NULL, NULL, &err), LIMOE_UNSUPPORTED);
    assert_string_equal(err.message,
                        "\"base\" has no decoder; models whose config.json has \"decoder\" caption pictures");
    limoe_model_close(m);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: %s GOLDEN\n", argv[0]);
        return 2;
    }
    golden = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(captions_are_the_references),
        cmocka_unit_test(bits_depend_on_picture_and_options_alone),
        cmocka_unit_test(captions_come_and_go),
        cmocka_unit_test(samples_depend_on_their_number),
        cmocka_unit_test(texts_are_sentencepieces),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(a_model_without_a_decoder_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
