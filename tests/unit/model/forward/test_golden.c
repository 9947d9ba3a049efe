/* The engine against the PyTorch reference: tests/golden, on every backend and instruction set that this
 * processor has.
 *
 * usage: test_golden GOLDEN_DIRECTORY
 *
 * float32: every embedding within 1e-5 (largest absolute difference), every token routed as in the reference; where the
 * original library's scores of its pictures by its texts are kept, each within 1e-4.
 *
 * bfloat16: cosine >= 0.999 for every item whose tokens go to the same experts as in the reference. Rounded
 * activations may send a token elsewhere where two gates are close, and in models this small one token is a
 * large part of an item. Such an item is not held to 0.999 by itself, but its rerouting must be a near tie:
 * where its routing first differs, the gates of the two choices differ by less than NEAR_TIE. The mean over a
 * case's items, rerouted or not, must be >= 0.999, and of all items those below 0.999 must be few.
 *
 * int8: cosine >= 0.997 for every item whose tokens go where the reference's do, and of all items of a case >= 0.995
 * in the mean. It is on CPUs alone.
 */
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/kernels.h"
#include "model/checkpoint/config.h"
#include "model/checkpoint/safetensors.h"
#include "model/model.h"
#include "tests/unit/files.h"

enum { MAX_CASES = 128, MAX_ITEMS = 64 };

static const double F32_DIFFERENCE = 1e-5, F32_SCORE_DIFFERENCE = 1e-4, BF16_COSINE = 0.999, NEAR_TIE = 0.005,
                    BELOW_SHARE = 0.02, INT8_COSINE = 0.997, INT8_MEAN_COSINE = 0.995;

/* ---- one case */

struct golden {
    char dir[512];
    const char *name;
    uint8_t *bytes; /* items.safetensors */
    struct safetensors *file;
    struct limoe_item item[MAX_ITEMS];
    size_t items, rows;
    const float *embedding; /* [items, embed] */
    const int32_t *expert;  /* [layers, rows, top_k] */
    const float *gate;      /* [layers, rows, top_k] */
    size_t layers, top_k;
    const float *score; /* [images, texts], of models of other libraries with both; NULL */
    size_t images, texts;
};

static const struct tensor *tensor(const struct golden *g, const char *name) {
    const struct tensor *t = safetensors_find(g->file, name);
    if (!t)
        fail_msg("%s: no tensor \"%s\"", g->dir, name);
    return t;
}

static const void *data(const struct golden *g, const struct tensor *t) {
    return g->bytes + t->offset;
}

static void golden_open(struct golden *g, const char *root, const char *name) {
    struct limoe_error err;
    char path[600];
    size_t size;
    snprintf(g->dir, sizeof g->dir, "%s/%s", root, name);
    snprintf(path, sizeof path, "%s/items.safetensors", g->dir);
    g->name = strrchr(g->dir, '/') + 1;
    g->bytes = file_read(path, &size);
    if (safetensors_open_memory(g->bytes, size, g->dir, &g->file, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    const struct tensor *pixels = tensor(g, "pixels"), *tokens = tensor(g, "tokens");
    const struct tensor *lengths = tensor(g, "lengths"), *expert = tensor(g, "expert");
    g->embedding = data(g, tensor(g, "embedding"));
    g->expert = data(g, expert);
    g->gate = data(g, tensor(g, "gate"));
    g->layers = expert->shape[0];
    g->rows = expert->shape[1];
    g->top_k = expert->shape[2];

    struct config config;
    if (config_load(g->dir, &config, NULL, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    const size_t images = pixels->shape[0], texts = tokens->shape[0], longest = tokens->shape[1];
    const size_t image_bytes = images ? pixels->bytes / images : 0;
    const int32_t *length = data(g, lengths);
    const struct tensor *score = safetensors_find(g->file, "scores");
    g->score = score ? data(g, score) : NULL;
    g->images = images;
    g->texts = texts;
    g->items = images + texts;
    assert_true(!score || (score->shape[0] == images && score->shape[1] == texts));
    assert_true(g->items > 0 && g->items <= MAX_ITEMS);
    for (size_t i = 0; i < images; i++)
        g->item[i] = (struct limoe_item){.modality = LIMOE_IMAGE,
                                         .length = config_image_tokens(&config),
                                         .pixels = (const uint8_t *)data(g, pixels) + i * image_bytes};
    for (size_t i = 0; i < texts; i++) {
        const size_t kept = config.text.pad == CONFIG_ATTEND ? longest : (size_t)length[i];
        g->item[images + i] = (struct limoe_item){.modality = LIMOE_TEXT,
                                                  .length = (uint32_t)kept,
                                                  .tokens = (const int32_t *)data(g, tokens) + i * longest};
    }
}

static void golden_close(struct golden *g) {
    safetensors_close(g->file);
    free(g->bytes);
}

/* ---- one case on one backend */

struct figures {
    double difference;       /* largest absolute, of embeddings */
    double gate_difference;  /* the same, of gates */
    double score_difference; /* the same, of scores */
    size_t scored;           /* cases with scores */
    double cosine;           /* worst, of items routed alike */
    double mean_cosine;      /* of all items of a case; of several cases the worst */
    double rerouted_cosine;  /* worst, of the others */
    size_t items, rerouted;  /* items in all, and those routed otherwise */
    size_t below;            /* items, however routed, with a cosine below 0.999 */
    double tie;              /* largest difference of gates where an item's routing first differs */
};

static const struct figures perfect = {.cosine = 1, .mean_cosine = 1, .rerouted_cosine = 1};

static void add(struct figures *sum, const struct figures *f) {
    sum->difference = fmax(sum->difference, f->difference);
    sum->gate_difference = fmax(sum->gate_difference, f->gate_difference);
    sum->score_difference = fmax(sum->score_difference, f->score_difference);
    sum->scored += f->scored;
    sum->cosine = fmin(sum->cosine, f->cosine);
    sum->mean_cosine = fmin(sum->mean_cosine, f->mean_cosine);
    sum->rerouted_cosine = fmin(sum->rerouted_cosine, f->rerouted_cosine);
    sum->items += f->items;
    sum->rerouted += f->rerouted;
    sum->below += f->below;
    sum->tie = fmax(sum->tie, f->tie);
}

/* Whether the item's rows went elsewhere. In the first layer where they did, *tie grows to the difference of
 * the two gates; what follows from it in later layers may differ by any amount. An assignment that only one
 * side dropped (its gate is 0 there) was decided by other rows, not by a tie of its own. */
static bool rerouted(const struct golden *g, size_t row, size_t n, const int32_t *expert, const float *gate,
                     double *tie) {
    for (size_t layer = 0; layer < g->layers; layer++) {
        const size_t from = (layer * g->rows + row) * g->top_k;
        bool differs = false;
        for (size_t a = from; a < from + n * g->top_k; a++) {
            if ((gate[a] == 0) != (g->gate[a] == 0)) {
                differs = true;
            } else if (expert[a] != g->expert[a]) {
                differs = true;
                *tie = fmax(*tie, fabs((double)gate[a] - g->gate[a]));
            }
        }
        if (differs)
            return true;
    }
    return false;
}

/* How far the scores of the case's pictures are from the original's, as a classification makes them: z [items, embed]. */
static double compare_scores(const struct golden *g, const struct limoe_info *info, const float *z) {
    float cosine[MAX_ITEMS], score[MAX_ITEMS];
    double difference = 0;
    for (size_t i = 0; i < g->images; i++) {
        limoe_scores(z + i * info->embed, z + g->images * info->embed, g->texts, info->embed, &info->scoring,
                     cosine, score);
        for (size_t t = 0; t < g->texts; t++)
            difference = fmax(difference, fabs((double)score[t] - g->score[i * g->texts + t]));
    }
    return difference;
}

static struct figures run(const struct golden *g, struct kernels *k) {
    struct figures f = perfect;
    struct limoe_error err;
    struct limoe_model *m;
    const struct limoe_options one_rank = {0};
    if (model_open_on(g->dir, k, &one_rank, &m, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    const size_t embed = limoe_model_info(m)->embed, assignments = g->layers * g->rows * g->top_k;
    float *z = calloc(g->items * embed, sizeof *z), *gate = calloc(assignments, sizeof *gate);
    int32_t *expert = calloc(assignments, sizeof *expert);
    const struct limoe_routing routing = {.expert = expert, .gate = gate};
    if (limoe_model_embed(m, g->item, g->items, z, &routing, &err) != LIMOE_OK)
        fail_msg("%s: %s", g->dir, err.message);

    f.items = g->items;
    f.mean_cosine = 0;
    f.scored = g->score != NULL;
    if (g->score)
        f.score_difference = compare_scores(g, limoe_model_info(m), z);
    size_t row = 0;
    for (size_t i = 0; i < g->items; row += g->item[i].length, i++) {
        double dot = 0;
        for (size_t j = 0; j < embed; j++) {
            const double have = z[i * embed + j], want = g->embedding[i * embed + j];
            dot += have * want;
            f.difference = fmax(f.difference, fabs(have - want));
        }
        f.below += dot < BF16_COSINE;
        f.mean_cosine += dot / (double)g->items;
        if (rerouted(g, row, g->item[i].length, expert, gate, &f.tie)) {
            f.rerouted++;
            f.rerouted_cosine = fmin(f.rerouted_cosine, dot);
        } else {
            f.cosine = fmin(f.cosine, dot);
        }
    }
    assert_int_equal(row, g->rows);
    for (size_t a = 0; a < assignments; a++)
        f.gate_difference = fmax(f.gate_difference, fabs((double)gate[a] - g->gate[a]));
    free(expert);
    free(gate);
    free(z);
    limoe_model_close(m);
    return f;
}

/* ---- all cases on one backend */

static const char *root;

static const char *device(void) {
    return getenv("LIMOE_TEST_DEVICE");
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static size_t list_cases(char *name[MAX_CASES]) {
    size_t n = 0;
    DIR *d = opendir(root);
    if (!d)
        fail_msg("%s: not a directory", root);
    for (struct dirent *entry; (entry = readdir(d)) && n < MAX_CASES;) {
        char path[600];
        snprintf(path, sizeof path, "%s/%s/items.safetensors", root, entry->d_name);
        FILE *f = fopen(path, "rb");
        if (f) {
            fclose(f);
            name[n++] = strdup(entry->d_name);
        }
    }
    closedir(d);
    qsort(name, n, sizeof *name, by_name);
    return n;
}

/* isa NULL: the reference kernels, or the device that LIMOE_TEST_DEVICE names. False where the processor
 * lacks it. */
static bool create(const char *isa, enum limoe_dtype dtype, struct kernels **k) {
    struct limoe_error err;
    enum limoe_status status;
    if (device()) {
        status = kernels_create(device(), dtype, 0, k, &err);
        if (status)
            fail_msg("%s", err.message);
    } else if (isa) {
        assert_int_equal(setenv("LIMOE_ISA", isa, 1), 0);
        status = kernels_cpu_create(dtype, 2, k, &err);
        assert_int_equal(unsetenv("LIMOE_ISA"), 0);
    } else {
        status = kernels_reference_create(dtype, k, &err);
    }
    if (status && status != LIMOE_UNSUPPORTED)
        fail_msg("%s", err.message);
    return status == LIMOE_OK;
}

static bool run_all(const char *isa, enum limoe_dtype dtype, bool print_cases, struct figures *sum) {
    char *name[MAX_CASES];
    size_t n = list_cases(name);
    bool supported = true;
    *sum = perfect;
    assert_true(n >= 75);
    for (size_t i = 0; i < n && supported; i++) {
        struct golden g = {0};
        struct kernels *k;
        supported = create(isa, dtype, &k);
        if (!supported)
            break;
        golden_open(&g, root, name[i]);
        struct figures f = run(&g, k);
        if (print_cases)
            printf("# %-24s difference %.1e  gates %.1e  scores %.1e  cosine %.6f, mean %.6f  rerouted %zu, "
                   "below 0.999 "
                   "%zu of %zu items\n",
                   g.name, f.difference, f.gate_difference, f.score_difference, f.cosine, f.mean_cosine,
                   f.rerouted, f.below, f.items);
        add(sum, &f);
        golden_close(&g);
    }
    for (size_t i = 0; i < n; i++)
        free(name[i]);
    return supported;
}

static const char *const instruction_sets[] = {NULL,     "generic",    "neon",       "avx2",
                                               "avx512", "avx512vnni", "avx512bf16", "amx"};
enum { INSTRUCTION_SETS = sizeof instruction_sets / sizeof *instruction_sets };

static void test_float32(void **state) {
    (void)state;
    for (size_t i = 0; i < (device() ? 1 : INSTRUCTION_SETS); i++) {
        const char *isa = device() ? device() : instruction_sets[i] ? instruction_sets[i] : "reference";
        struct figures f;
        if (!run_all(instruction_sets[i], LIMOE_FLOAT32, i == 1, &f)) {
            printf("# %s float32: not on this processor\n", isa);
            continue;
        }
        printf("# %s float32: largest difference %.2e, of gates %.2e, of scores %.2e in %zu cases, rerouted "
               "%zu of %zu "
               "items\n",
               isa, f.difference, f.gate_difference, f.score_difference, f.scored, f.rerouted, f.items);
        assert_true(f.difference <= F32_DIFFERENCE);
        assert_true(f.scored >= 26 && f.score_difference <= F32_SCORE_DIFFERENCE);
        assert_true(f.gate_difference <= F32_DIFFERENCE);
        assert_int_equal(f.rerouted, 0);
    }
}

static void test_bfloat16(void **state) {
    (void)state;
    for (size_t i = 0; i < (device() ? 1 : INSTRUCTION_SETS); i++) {
        const char *isa = device() ? device() : instruction_sets[i] ? instruction_sets[i] : "reference";
        struct figures f;
        if (!run_all(instruction_sets[i], LIMOE_BFLOAT16, i == 1, &f)) {
            printf("# %s bfloat16: not on this processor\n", isa);
            continue;
        }
        printf(
            "# %s bfloat16: worst cosine %.6f; rerouted %zu of %zu items at gates that differ by up to %.4f, "
            "worst cosine %.4f; below 0.999 %zu items; worst mean of a case %.6f\n",
            isa, f.cosine, f.rerouted, f.items, f.tie, f.rerouted_cosine, f.below, f.mean_cosine);
        assert_true(f.cosine >= BF16_COSINE);
        assert_true(f.mean_cosine >= BF16_COSINE);
        assert_true(f.tie < NEAR_TIE);
        assert_true((double)f.below <= BELOW_SHARE * (double)f.items);
    }
}

static void test_int8(void **state) {
    (void)state;
    for (size_t i = 0; i < (device() ? 0 : INSTRUCTION_SETS); i++) {
        const char *isa = instruction_sets[i] ? instruction_sets[i] : "reference";
        struct figures f;
        if (!run_all(instruction_sets[i], LIMOE_INT8, i == 1, &f)) {
            printf("# %s int8: not on this processor\n", isa);
            continue;
        }
        printf("# %s int8: worst cosine %.6f; rerouted %zu of %zu items at gates that differ by up to %.4f, "
               "worst cosine %.4f; worst mean of a case %.6f\n",
               isa, f.cosine, f.rerouted, f.items, f.tie, f.rerouted_cosine, f.mean_cosine);
        assert_true(f.cosine >= INT8_COSINE);
        assert_true(f.mean_cosine >= INT8_MEAN_COSINE);
    }
}

/* A model of one tower refuses items of the other modality. */
static void test_tower_alone(void **state) {
    (void)state;
    static const int32_t token = 1;
    static const uint8_t pixel = 1;
    static const struct {
        const char *name, *message;
        struct limoe_item item;
    } cases[] = {{"clip-vision",
                  "item 0: \"clip-vision\" has no text tower",
                  {.modality = LIMOE_TEXT, .length = 1, .tokens = &token}},
                 {"clip-text",
                  "item 0: \"clip-text\" has no image tower",
                  {.modality = LIMOE_IMAGE, .length = 0, .pixels = &pixel}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char dir[600];
        struct limoe_error err;
        struct limoe_model *m;
        float z[64];
        const struct limoe_options options = {.device = device()};
        snprintf(dir, sizeof dir, "%s/%s", root, cases[i].name);
        if (limoe_model_open(dir, &options, &m, &err) != LIMOE_OK)
            fail_msg("%s", err.message);
        assert_int_equal(limoe_model_embed(m, &cases[i].item, 1, z, NULL, &err), LIMOE_INVALID);
        assert_non_null(strstr(err.message, cases[i].message));
        limoe_model_close(m);
    }
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: %s GOLDEN_DIRECTORY\n", argv[0]);
        return 2;
    }
    root = argv[1];
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_float32), cmocka_unit_test(test_bfloat16),
                                       cmocka_unit_test(test_int8), cmocka_unit_test(test_tower_alone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
