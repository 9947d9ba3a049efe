/* A tail in training against PyTorch: one batch of pictures against texts as classes, forward and backward, for the
 * bundled model and small ones, and the towers of CLIP and SigLIP (tests/golden/gradients/tail-*, tower-*); the same bits
 * with 1 and 2 threads.
 *
 * usage: test_tail ROOT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/checkpoint/checkpoint.h"
#include "model/tuning/objective.h"
#include "model/tuning/tail.h"

static const char *root;

/* Those of one tower for both modalities come first, with labels; the others have the gradient of z. */
static const struct {
    const char *golden, *model;
    enum limoe_modality tower;
} tails[] = {{"tail-pictograms", "models/pictograms", LIMOE_IMAGE},
             {"tail-all-blocks-sparse", "tests/golden/all-blocks-sparse", LIMOE_IMAGE},
             {"tail-renormalize", "tests/golden/top3-renormalize", LIMOE_IMAGE},
             {"tail-qk-norm", "tests/golden/qk-norm-gelu", LIMOE_IMAGE},
             {"tail-quick-gelu", "tests/golden/quick-gelu", LIMOE_IMAGE},
             {"tail-answer-alone", "tests/golden/gelu", LIMOE_IMAGE},
             {"tower-clip-image", "tests/golden/clip", LIMOE_IMAGE},
             {"tower-clip-text", "tests/golden/clip", LIMOE_TEXT},
             {"tower-siglip-image", "tests/golden/siglip", LIMOE_IMAGE},
             {"tower-siglip-text", "tests/golden/siglip", LIMOE_TEXT}};
enum { BUNDLED, SPARSE, RENORMALIZE, TAILS = sizeof tails / sizeof *tails };

static void must(enum limoe_status status, const struct limoe_error *err) {
    if (status)
        fail_msg("%s", err->message);
}

/* ---- a golden file */

static struct safetensors *open_golden(const char *name) {
    char dir[400], file[80];
    struct safetensors *st;
    struct limoe_error err;
    snprintf(dir, sizeof dir, "%s/tests/golden/gradients", root);
    snprintf(file, sizeof file, "%s.safetensors", name);
    must(safetensors_open_file(dir, file, &st, &err), &err);
    return st;
}

/* malloc'd; NULL where there is no such tensor. */
static void *get(const struct safetensors *st, const char *name, size_t *n) {
    const struct tensor *t = safetensors_find(st, name);
    struct limoe_error err;
    *n = 0;
    if (!t)
        return NULL;
    void *p = malloc(t->bytes);
    assert_non_null(p);
    must(safetensors_read(st, t, p, &err), &err);
    *n = t->elements;
    return p;
}

static uint32_t get_one(const struct safetensors *st, const char *name) {
    size_t n;
    uint32_t *p = get(st, name, &n), value = p[0];
    free(p);
    return value;
}

/* ---- a model's tail, and a batch through it */

struct run {
    struct config *config; /* where the tail can find it */
    struct safetensors *golden;
    struct kernels *k;
    struct tail *tail;
    struct tail_batch batch;
    float *rows, *z, *dz, *loss;
    uint32_t *start, *label;
    float scale;
};

/* threads 0: the reference. */
static struct kernels *make_kernels(uint32_t threads) {
    struct kernels *k;
    struct limoe_error err;
    must(threads ? kernels_cpu_create(LIMOE_FLOAT32, threads, &k, &err)
                 : kernels_reference_create(LIMOE_FLOAT32, &k, &err),
         &err);
    return k;
}

static void open_tail(struct run *r, size_t which, bool routers) {
    char dir[400];
    struct safetensors *st;
    struct limoe_error err;
    snprintf(dir, sizeof dir, "%s/%s", root, tails[which].model);
    must(config_load(dir, r->config, NULL, &err), &err);
    must(checkpoint_open(dir, r->config, &st, &err), &err);
    const struct tail_shape shape = {tails[which].tower, get_one(r->golden, "first_block"), routers};
    must(tail_create(r->config, st, r->k, &shape, &r->tail, &err), &err);
    safetensors_close(st);
}

static struct run begin(size_t which, uint32_t threads, bool routers) {
    struct run r = {.golden = open_golden(tails[which].golden), .k = make_kernels(threads)};
    size_t n, sequences;
    r.config = calloc(1, sizeof *r.config);
    assert_non_null(r.config);
    open_tail(&r, which, routers);
    r.rows = get(r.golden, "rows", &n);
    r.start = get(r.golden, "start", &sequences);
    sequences--;
    if ((r.label = get(r.golden, "label", &n))) {
        float *scale = get(r.golden, "scale", &n);
        r.scale = *scale;
        free(scale);
        r.batch.images = get_one(r.golden, "images");
    } else {
        r.batch.images = tails[which].tower == LIMOE_IMAGE ? sequences : 0;
    }
    r.batch.texts = sequences - r.batch.images;
    r.batch.rows = r.rows;
    r.batch.start = r.start;
    r.z = calloc(sequences * r.config->embed, sizeof *r.z);
    r.dz = r.label ? calloc(sequences * r.config->embed, sizeof *r.dz) : get(r.golden, "dz", &n);
    r.loss = calloc(sequences, sizeof *r.loss);
    assert_true(r.z && r.dz && r.loss);
    return r;
}

static void end(struct run *r) {
    tail_destroy(r->tail);
    r->k->ops->destroy(r->k);
    free(r->config);
    safetensors_close(r->golden);
    free(r->rows);
    free(r->start);
    free(r->label);
    free(r->z);
    free(r->dz);
    free(r->loss);
}

/* The loss of pictures against texts, and its gradient by all unit vectors: r->dz. */
static float differentiate(struct run *r) {
    const size_t pictures = r->batch.images * r->config->embed, texts = r->batch.texts * r->config->embed;
    const struct objective o = {.pictures = r->z,
                                .classes = r->z + pictures,
                                .label = r->label,
                                .n = r->batch.images,
                                .count = (uint32_t)r->batch.texts,
                                .embed = r->config->embed,
                                .scale = r->scale};
    float *cosine = calloc(o.n * o.count, sizeof *cosine), sum = 0;
    assert_non_null(cosine);
    memset(r->dz + pictures, 0, texts * sizeof *r->dz);
    objective_gradient(r->k, &o, cosine, r->loss, r->dz, r->dz + pictures);
    for (size_t i = 0; i < o.n; i++)
        sum += r->loss[i] / (float)o.n;
    free(cosine);
    return sum;
}

static float step(struct run *r) {
    struct limoe_error err;
    must(tail_forward(r->tail, &r->batch, r->z, &err), &err);
    const float loss = r->label ? differentiate(r) : 0;
    must(tail_backward(r->tail, r->dz, &err), &err);
    return loss;
}

/* ---- against PyTorch */

static void expect(const char *what, const char *name, const float *got, const float *want, size_t n,
                   float least) {
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(got[i] - want[i]) <= least + 1e-4f * fabsf(want[i])))
            fail_msg("%s: %s, sample %zu of %zu is %.9g, PyTorch has %.9g", what, name, i, n, (double)got[i],
                     (double)want[i]);
}

/* Samples are n, evenly spread. Where a sum cancels, its error is that of its largest terms. */
static void expect_gradient(const char *what, const struct safetensors *golden, const struct parameter *p,
                            const float *gradient) {
    char name[120];
    size_t n, one;
    snprintf(name, sizeof name, "%s|norm", p->tensor.name);
    float *want = get(golden, p->tensor.name, &n), *norm = get(golden, name, &one), got[64];
    if (!want)
        fail_msg("%s: PyTorch has no gradient of %s", what, p->tensor.name);
    assert_true(n <= 64);
    double squares = 0;
    for (size_t i = 0; i < p->tensor.elements; i++)
        squares += (double)gradient[i] * (double)gradient[i];
    for (size_t i = 0; i < n; i++)
        got[i] = gradient[i * p->tensor.elements / n];
    const float length = (float)sqrt(squares);
    expect(what, name, &length, norm, 1, 1e-7f);
    expect(what, p->tensor.name, got, want, n, 1e-7f + 1e-5f * *norm / sqrtf((float)p->tensor.elements));
    free(want);
    free(norm);
}

static void check_golden(size_t which, uint32_t threads) {
    const char *name = tails[which].golden;
    struct run r = begin(which, threads, true);
    const struct parameters *p = tail_parameters(r.tail);
    size_t n;
    step(&r);
    float *z = get(r.golden, "z", &n);
    expect(name, "z", r.z, z, n, 2e-6f);
    free(z);
    float *loss = get(r.golden, "loss", &n);
    if (r.label)
        expect(name, "loss", r.loss, loss, n, 1e-5f);
    free(loss);
    assert_true(p->count > 0);
    for (uint32_t i = 0; i < p->count; i++)
        expect_gradient(name, r.golden, &p->item[i], p->gradient + p->item[i].first);
    end(&r);
}

static void gradients_are_pytorchs(void **state) {
    (void)state;
    for (size_t i = 0; i < TAILS; i++)
        for (uint32_t threads = 0; threads <= 2; threads++)
            if (threads || i != BUNDLED) /* the reference takes its time over the bundled model */
                check_golden(i, threads);
}

/* ---- bits */

/* Two steps with the optimizer between: z, gradients and weights have one thread's bits. */
static void threads_change_no_bits(void **state) {
    (void)state;
    for (size_t i = 0; i < TAILS; i++) {
        struct run r[2] = {begin(i, 1, false), begin(i, 2, false)};
        const struct parameters *p[2] = {tail_parameters(r[0].tail), tail_parameters(r[1].tail)};
        const size_t bytes = p[0]->elements * sizeof(float);
        for (int t = 0; t < 2; t++) {
            const struct adamw how = {1e-3, 0.9, 0.999, 1e-8, 0.01, 1};
            step(&r[t]);
            parameters_step(r[t].k, &how, tail_parameters(r[t].tail));
            tail_repack(r[t].tail);
            step(&r[t]);
        }
        assert_memory_equal(r[1].z, r[0].z,
                            (r[0].batch.images + r[0].batch.texts) * r[0].config->embed * sizeof(float));
        assert_memory_equal(p[1]->gradient, p[0]->gradient, bytes);
        assert_memory_equal(p[1]->weight, p[0]->weight, bytes);
        end(&r[0]);
        end(&r[1]);
    }
}

/* A frozen router has no gradient and does not move, and all else has the bits that it has beside a trained one. */
static void routers_can_be_frozen(void **state) {
    (void)state;
    struct run frozen = begin(SPARSE, 1, false), trained = begin(SPARSE, 1, true);
    const struct parameters *f = tail_parameters(frozen.tail), *t = tail_parameters(trained.tail);
    const struct adamw how = {1e-3, 0.9, 0.999, 1e-8, 0, 1};
    uint32_t routers = 0;
    step(&frozen);
    step(&trained);
    float *before = malloc(f->elements * sizeof *before);
    assert_non_null(before);
    memcpy(before, f->weight, f->elements * sizeof *before);
    parameters_step(frozen.k, &how, tail_parameters(frozen.tail));
    for (uint32_t i = 0; i < f->count; i++) {
        const size_t first = f->item[i].first, bytes = f->item[i].tensor.elements * sizeof(float);
        const bool router = f->item[i].id == LAYOUT_MOE_ROUTER_WEIGHT;
        routers += router;
        assert_int_equal(f->item[i].frozen, router);
        assert_false(t->item[i].frozen);
        if (router) {
            assert_memory_equal(before + first, f->weight + first, bytes);
            assert_true(f->gradient[first] == 0 && t->gradient[first] != 0);
        } else {
            assert_memory_equal(f->gradient + first, t->gradient + first, bytes);
        }
    }
    assert_true(routers > 0);
    free(before);
    end(&frozen);
    end(&trained);
}

/* Two batches add up, and steps down the gradient lower the loss. */
static void steps_lower_the_loss(void **state) {
    (void)state;
    struct run r = begin(RENORMALIZE, 2, false);
    struct parameters *p = tail_parameters(r.tail);
    step(&r);
    float *once = malloc(p->elements * sizeof *once);
    assert_non_null(once);
    memcpy(once, p->gradient, p->elements * sizeof *once);
    const float first = step(&r);
    for (size_t i = 0; i < p->elements; i++)
        assert_true(p->gradient[i] == 2 * once[i]);
    float last = first;
    for (uint64_t i = 1; i <= 20; i++) {
        parameters_clear_gradients(p);
        last = step(&r);
        parameters_step(r.k, &(struct adamw){cosine_rate(i, 20, 2, 3e-3, 0), 0.9, 0.99, 1e-8, 0, i}, p);
        tail_repack(r.tail);
    }
    assert_true(last < 0.5f * first);
    free(once);
    end(&r);
}

/* ---- against the engine */

/* As the engine embeds tokens: table[id] + position. malloc'd. */
static float *embed(const struct safetensors *st, const int32_t *token, const uint32_t *start, size_t n,
                    uint32_t width) {
    size_t elements;
    float *table = get(st, "text.token", &elements), *position = get(st, "text.pos", &elements);
    float *rows = malloc((size_t)start[n] * width * sizeof *rows);
    assert_true(table && position && rows);
    for (size_t i = 0; i < n; i++)
        for (uint32_t r = start[i]; r < start[i + 1]; r++)
            for (uint32_t c = 0; c < width; c++)
                rows[r * width + c] =
                    table[(size_t)token[r] * width + c] + position[(r - start[i]) * width + c];
    free(table);
    free(position);
    return rows;
}

/* A tail of all blocks is the model: texts have the bits that the engine gives them in float32. */
static void forward_has_the_engines_bits(void **state) {
    (void)state;
    enum { TEXTS = 5, EMBED = 24 };
    static const uint32_t start[TEXTS + 1] = {0, 1, 9, 12, 17, 20};
    char dir[400];
    struct config config;
    struct safetensors *st;
    struct limoe_model *model;
    struct tail *t;
    struct limoe_error err;
    struct limoe_item item[TEXTS];
    int32_t token[20];
    float want[TEXTS * EMBED], z[TEXTS * EMBED];
    snprintf(dir, sizeof dir, "%s/%s", root, tails[SPARSE].model);
    for (int32_t i = 0; i < 20; i++)
        token[i] = 3 + i * 7 % 50;
    for (size_t i = 0; i < TEXTS; i++) {
        token[start[i + 1] - 1] = 2; /* its end */
        item[i] = (struct limoe_item){
            .modality = LIMOE_TEXT, .length = start[i + 1] - start[i], .tokens = token + start[i]};
    }
    const struct limoe_options options = {.device = "cpu", .dtype = LIMOE_FLOAT32, .threads = 2};
    must(limoe_model_open(dir, &options, &model, &err), &err);
    must(limoe_model_embed(model, item, TEXTS, want, NULL, &err), &err);
    limoe_model_close(model);

    struct kernels *k = make_kernels(2);
    must(config_load(dir, &config, NULL, &err), &err);
    assert_int_equal(config.embed, EMBED);
    must(checkpoint_open(dir, &config, &st, &err), &err);
    must(tail_create(&config, st, k, &(struct tail_shape){0}, &t, &err), &err);
    float *rows = embed(st, token, start, TEXTS, config.tower[LIMOE_TEXT].width);
    must(tail_forward(t, &(struct tail_batch){rows, start, 0, TEXTS}, z, &err), &err);
    assert_memory_equal(z, want, sizeof want);
    free(rows);
    tail_destroy(t);
    safetensors_close(st);
    k->ops->destroy(k);
}

/* ---- refusals */

static void check_refusal(const char *model, struct kernels *k, struct tail_shape shape,
                          enum limoe_status status, const char *message) {
    char dir[400];
    struct config config;
    struct safetensors *st;
    struct limoe_error err;
    struct tail *t = (struct tail *)&config;
    snprintf(dir, sizeof dir, "%s/%s", root, model);
    must(config_load(dir, &config, NULL, &err), &err);
    must(checkpoint_open(dir, &config, &st, &err), &err);
    assert_int_equal(tail_create(&config, st, k, &shape, &t, &err), status);
    assert_null(t);
    assert_string_equal(err.message, message);
    safetensors_close(st);
}

static void what_cannot_be_trained_is_refused(void **state) {
    (void)state;
    struct kernels *k = make_kernels(1), *coarse;
    struct limoe_error err;
    must(kernels_reference_create(LIMOE_BFLOAT16, &coarse, &err), &err);
    check_refusal("tests/golden/top2", k, (struct tail_shape){.first_block = 3}, LIMOE_INVALID,
                  "a tail cannot begin at block 3; 0 to 2 are accepted");
    check_refusal("tests/golden/top2", coarse, (struct tail_shape){0}, LIMOE_UNSUPPORTED,
                  "reference in bfloat16 cannot train; the CPU in float32 can");
    check_refusal("tests/golden/capacity", k, (struct tail_shape){0}, LIMOE_UNSUPPORTED,
                  "\"capacity\" has experts of limited capacity, which cannot be trained");
    check_refusal("tests/golden/chinese_clip", k, (struct tail_shape){.tower = LIMOE_TEXT}, LIMOE_UNSUPPORTED,
                  "\"chinese_clip\" has norms behind its sublayers (BERT), which cannot be trained");
    k->ops->destroy(k);
    coarse->ops->destroy(coarse);
}

int main(int argc, char **argv) {
    assert_true(argc == 2);
    root = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_pytorchs),       cmocka_unit_test(threads_change_no_bits),
        cmocka_unit_test(forward_has_the_engines_bits), cmocka_unit_test(routers_can_be_frozen),
        cmocka_unit_test(steps_lower_the_loss),         cmocka_unit_test(what_cannot_be_trained_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
