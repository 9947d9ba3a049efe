/* The reference's gradients against finite differences: each operation is written down once more, in double, and its
 * loss, the sum of dy y, is taken a little to both sides of each variable. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backward.h"
#include "tests/unit/kernels/fixture.h"

/* x: all variables, one array behind the other; what: the rest that a loss needs. */
typedef double loss_fn(const void *what, const double *x);

static struct kernels *reference(void) {
    struct kernels *k;
    struct limoe_error err;
    assert_int_equal(kernels_reference_create(LIMOE_FLOAT32, &k, &err), LIMOE_OK);
    assert_non_null(k->backward);
    return k;
}

static void end(struct kernels *k) {
    struct limoe_error err;
    assert_int_equal(k->ops->sync(k, &err), LIMOE_OK);
    k->ops->destroy(k);
}

/* got[n] is the gradient by the variables from `first` on, of x. */
static void assert_gradient(const char *name, loss_fn *loss, const void *what, double *x, size_t first,
                            size_t n, const float *got) {
    const double h = 1e-5;
    for (size_t i = 0; i < n; i++) {
        const double at = x[first + i];
        x[first + i] = at + h;
        double difference = loss(what, x);
        x[first + i] = at - h;
        difference = (difference - loss(what, x)) / (2 * h);
        x[first + i] = at;
        if (!(fabs((double)got[i] - difference) <= 4e-6 + 4e-6 * fabs(difference)))
            fail_msg("%s: element %zu is %.9g, the difference %.9g", name, i, (double)got[i], difference);
    }
}

static void widen(const float *from, size_t n, double *to) {
    for (size_t i = 0; i < n; i++)
        to[i] = (double)from[i];
}

static double logistic(double x) {
    return 1 / (1 + exp(-x));
}

/* ---- linear */

enum { GROUPS = 3, OUT = 5, IN = 4, ROWS = 7 };
enum { X = ROWS * IN, W = GROUPS * OUT * IN, B = GROUPS * OUT, Y = ROWS * OUT };

struct linear {
    const uint32_t *offset;
    const float *dy;
};

static double linear_loss(const void *what, const double *x) {
    const struct linear *l = what;
    const double *w = x + X, *b = w + W;
    double loss = 0;
    for (uint32_t g = 0; g < GROUPS; g++)
        for (uint32_t r = l->offset[g]; r < l->offset[g + 1]; r++)
            for (uint32_t o = 0; o < OUT; o++) {
                double y = b[g * OUT + o];
                for (uint32_t i = 0; i < IN; i++)
                    y += x[r * IN + i] * w[(g * OUT + o) * IN + i];
                loss += (double)l->dy[r * OUT + o] * y;
            }
    return loss;
}

static void linear_is_the_difference(void **state) {
    (void)state;
    static const uint32_t offsets[][GROUPS + 1] = {{0, 3, 3, ROWS}, {0, ROWS, ROWS, ROWS}};
    struct random_stream s = {1};
    struct kernels *k = reference();
    float *x = random_floats(&s, X + W + B, 1), *dy = random_floats(&s, Y, 1);
    for (size_t i = 0; i < 2; i++) {
        double all[X + W + B];
        float dx[X], dw[W] = {0}, db[B] = {0};
        widen(x, X + W + B, all);
        const struct backward_matrix m = {i ? 1 : GROUPS, OUT, IN, x + X, dw, db};
        k->backward->linear(k, &m, i ? NULL : offsets[i], x, dy, ROWS, dx);
        const struct linear l = {offsets[i], dy};
        assert_gradient("linear dx", linear_loss, &l, all, 0, X, dx);
        assert_gradient("linear dweight", linear_loss, &l, all, X, W, dw);
        assert_gradient("linear dbias", linear_loss, &l, all, X + W, B, db);
        float twice[W], frozen[X];
        memcpy(twice, dw, sizeof dw);
        k->backward->linear(k, &m, i ? NULL : offsets[i], x, dy, ROWS, NULL);
        for (size_t j = 0; j < W; j++)
            assert_true(dw[j] == 2 * twice[j]); /* summed up */
        k->backward->linear(k, &(struct backward_matrix){m.groups, OUT, IN, x + X, NULL, NULL},
                            i ? NULL : offsets[i], x, dy, ROWS, frozen);
        assert_memory_equal(frozen, dx, sizeof dx);
    }
    free(x);
    free(dy);
    end(k);
}

/* ---- activations */

enum { POINTS = 161 };

struct activation {
    enum kernels_epilogue kind;
    const float *dy;
};

static double activated(enum kernels_epilogue kind, double v) {
    return kind == KERNELS_GELU_TANH  ? v / 2 * (1 + tanh(sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)))
           : kind == KERNELS_GELU_ERF ? v / 2 * (1 + erf(v / sqrt(2)))
                                      : v * logistic(1.702 * v);
}

static double activation_loss(const void *what, const double *x) {
    const struct activation *a = what;
    double loss = 0;
    for (size_t i = 0; i < POINTS; i++)
        loss += (double)a->dy[i] * activated(a->kind, x[i]);
    return loss;
}

static void activations_are_the_difference(void **state) {
    (void)state;
    const enum kernels_epilogue kinds[] = {KERNELS_GELU_TANH, KERNELS_GELU_ERF, KERNELS_QUICK_GELU};
    struct random_stream s = {2};
    struct kernels *k = reference();
    float *dy = random_floats(&s, POINTS, 1), v[POINTS], y[POINTS], dv[POINTS];
    double x[POINTS];
    for (int i = 0; i < POINTS; i++)
        v[i] = (float)(i - POINTS / 2) / 8;
    widen(v, POINTS, x);
    for (size_t i = 0; i < 3; i++) {
        k->backward->activate(k, kinds[i], v, POINTS, y);
        for (size_t j = 0; j < POINTS; j++)
            assert_true(fabs((double)y[j] - activated(kinds[i], x[j])) <= 1e-6 + 1e-7 * fabs(x[j]));
        k->backward->activation(k, kinds[i], v, dy, POINTS, dv);
        assert_gradient("activation", activation_loss, &(struct activation){kinds[i], dy}, x, 0, POINTS, dv);
    }
    free(dy);
    end(k);
}

/* ---- LayerNorm */

static void layernorm(const double *x, const double *weight, const double *bias, double eps, size_t n,
                      double *y) {
    double mean = 0, square = 0;
    for (size_t c = 0; c < n; c++)
        mean += x[c] / (double)n;
    for (size_t c = 0; c < n; c++)
        square += (x[c] - mean) * (x[c] - mean) / (double)n;
    for (size_t c = 0; c < n; c++)
        y[c] = (x[c] - mean) / sqrt(square + eps) * weight[c] + bias[c];
}

enum { NORM_ROWS = 4, WIDTH = 6, NORM_X = NORM_ROWS * WIDTH };
static const float eps = 1e-3f;

static double layernorm_loss(const void *what, const double *x) {
    const float *dy = what;
    double loss = 0, y[WIDTH];
    for (size_t r = 0; r < NORM_ROWS; r++) {
        layernorm(x + r * WIDTH, x + NORM_X, x + NORM_X + WIDTH, (double)eps, WIDTH, y);
        for (size_t c = 0; c < WIDTH; c++)
            loss += (double)dy[r * WIDTH + c] * y[c];
    }
    return loss;
}

static void layernorm_is_the_difference(void **state) {
    (void)state;
    struct random_stream s = {3};
    struct kernels *k = reference();
    float *x = random_floats(&s, NORM_X + 2 * WIDTH, 1), *dy = random_floats(&s, NORM_X, 1);
    float dx[NORM_X] = {0}, dweight[WIDTH] = {0}, dbias[WIDTH] = {0};
    double all[NORM_X + 2 * WIDTH];
    widen(x, NORM_X + 2 * WIDTH, all);
    const struct backward_norm norm = {x + NORM_X, dweight, dbias, eps};
    k->backward->layernorm(k, &norm, x, dy, NORM_ROWS, WIDTH, dx);
    assert_gradient("layernorm dx", layernorm_loss, dy, all, 0, NORM_X, dx);
    assert_gradient("layernorm dweight", layernorm_loss, dy, all, NORM_X, WIDTH, dweight);
    assert_gradient("layernorm dbias", layernorm_loss, dy, all, NORM_X + WIDTH, WIDTH, dbias);
    float once[NORM_X];
    memcpy(once, dx, sizeof dx);
    k->backward->layernorm(k, &(struct backward_norm){norm.weight, NULL, NULL, eps}, x, dy, NORM_ROWS, WIDTH,
                           dx);
    for (size_t i = 0; i < NORM_X; i++)
        assert_true(fabsf(dx[i] - 2 * once[i]) <= 1e-6f); /* summed up */
    free(x);
    free(dy);
    end(k);
}

/* ---- attention */

enum { HEADS = 2, HEAD = 3, A_WIDTH = HEADS * HEAD, A_ROWS = 9, QKV = A_ROWS * 3 * A_WIDTH };
static const uint32_t start[] = {0, 1, 5, A_ROWS};
enum { SEQUENCES = 3 };

struct attention {
    const float *dout;
    enum kernels_mask mask;
    bool norm;
};

/* out[HEAD] = the softmax of q's scores over n rows of keys, on their values; rows are `stride` apart. */
static void attend(const double *q, const double *key, const double *value, size_t stride, size_t n,
                   double *out) {
    double sum = 0, score[A_ROWS];
    memset(out, 0, HEAD * sizeof *out);
    for (size_t j = 0; j < n; j++) {
        score[j] = 0;
        for (size_t c = 0; c < HEAD; c++)
            score[j] += q[c] * key[j * stride + c];
        sum += score[j] = exp(score[j] / sqrt(HEAD));
    }
    for (size_t j = 0; j < n; j++)
        for (size_t c = 0; c < HEAD; c++)
            out[c] += score[j] / sum * value[j * stride + c];
}

/* Variables: qkv, then weight and bias of q's norm and of k's. */
static double attention_loss(const void *what, const double *x) {
    const struct attention *a = what;
    const double *w = x + QKV;
    double qkv[QKV], out[HEAD], loss = 0;
    const size_t stride = (size_t)3 * A_WIDTH;
    memcpy(qkv, x, sizeof qkv);
    for (size_t at = 0; a->norm && at < QKV; at += HEAD)
        if (at % stride < 2 * A_WIDTH) {
            const double *norm = w + (at % stride < A_WIDTH ? 0 : 2 * HEAD);
            layernorm(x + at, norm, norm + HEAD, (double)eps, HEAD, qkv + at);
        }
    for (size_t i = 0; i < SEQUENCES; i++)
        for (size_t first = start[i], row = first; row < start[i + 1]; row++)
            for (size_t h = 0; h < A_WIDTH; h += HEAD) {
                const double *key = qkv + first * stride + A_WIDTH + h;
                attend(qkv + row * stride + h, key, key + A_WIDTH, stride,
                       (a->mask == KERNELS_CAUSAL ? row + 1 : start[i + 1]) - first, out);
                for (size_t c = 0; c < HEAD; c++)
                    loss += (double)a->dout[row * A_WIDTH + h + c] * out[c];
            }
    return loss;
}

static void attention_is_the_difference(void **state) {
    (void)state;
    struct random_stream s = {4};
    struct kernels *k = reference();
    float *x = random_floats(&s, QKV + 4 * HEAD, 1), *dout = random_floats(&s, A_ROWS * A_WIDTH, 1);
    const float *w = x + QKV;
    double all[QKV + 4 * HEAD];
    widen(x, QKV + 4 * HEAD, all);
    k->ops->sequences(k, start, SEQUENCES);
    for (int i = 0; i < 4; i++) {
        const struct attention a = {dout, i % 2 ? KERNELS_CAUSAL : KERNELS_BIDIRECTIONAL, i / 2};
        float dqkv[QKV], d[4 * HEAD] = {0};
        const struct backward_qk_norm norm = {.q = {w, d, d + HEAD, eps},
                                              .k = {w + 2 * HEAD, d + 2 * HEAD, d + 3 * HEAD, eps},
                                              .q_bias = w + HEAD,
                                              .k_bias = w + 3 * HEAD};
        k->backward->attention(k, x, dout, A_WIDTH, HEADS, a.mask, a.norm ? &norm : NULL, dqkv);
        assert_gradient("attention dqkv", attention_loss, &a, all, 0, QKV, dqkv);
        assert_gradient("attention norms", attention_loss, &a, all, QKV, 4 * HEAD, d);
    }
    free(x);
    free(dout);
    end(k);
}

enum { KV = A_ROWS * 2 * A_WIDTH };

/* Variables: the query, then kv. */
static double attention_pool_loss(const void *what, const double *x) {
    const float *dout = what;
    double out[HEAD], loss = 0;
    for (size_t i = 0; i < SEQUENCES; i++)
        for (size_t h = 0; h < A_WIDTH; h += HEAD) {
            const double *key = x + A_WIDTH + (size_t)start[i] * 2 * A_WIDTH + h;
            attend(x + h, key, key + A_WIDTH, (size_t)2 * A_WIDTH, start[i + 1] - start[i], out);
            for (size_t c = 0; c < HEAD; c++)
                loss += (double)dout[i * A_WIDTH + h + c] * out[c];
        }
    return loss;
}

static void attention_pool_is_the_difference(void **state) {
    (void)state;
    struct random_stream s = {5};
    struct kernels *k = reference();
    float *x = random_floats(&s, A_WIDTH + KV, 1), *dout = random_floats(&s, SEQUENCES * A_WIDTH, 1);
    float dquery[A_WIDTH] = {0}, dkv[KV], frozen[KV];
    double all[A_WIDTH + KV];
    widen(x, A_WIDTH + KV, all);
    k->ops->sequences(k, start, SEQUENCES);
    k->backward->attention_pool(k, x, x + A_WIDTH, dout, A_WIDTH, HEADS, dquery, dkv);
    assert_gradient("attention pool dquery", attention_pool_loss, dout, all, 0, A_WIDTH, dquery);
    assert_gradient("attention pool dkv", attention_pool_loss, dout, all, A_WIDTH, KV, dkv);
    k->backward->attention_pool(k, x, x + A_WIDTH, dout, A_WIDTH, HEADS, NULL, frozen);
    assert_memory_equal(frozen, dkv, sizeof dkv);
    free(x);
    free(dout);
    end(k);
}

/* ---- mixture of experts */

enum { TOP_K = 2, EXPERTS = 4, M_ROWS = 5, M_WIDTH = 3, SLOTS = M_ROWS * TOP_K };

/* Row 2 lost one assignment, row 3 both. */
static const int32_t expert[SLOTS] = {1, 3, 2, 0, 1, -1, -1, -1, 3, 2};

struct mixture {
    struct backward_routing routing;
    const float *d; /* of the output */
    bool renormalize;
};

/* Variables: y [slots, width], gate [rows, top_k]. */
static double combine_loss(const void *what, const double *x) {
    const struct mixture *m = what;
    const double *gate = x + SLOTS * M_WIDTH;
    double loss = 0;
    for (size_t a = 0; a < SLOTS; a++)
        for (size_t c = 0; expert[a] >= 0 && c < M_WIDTH; c++)
            loss += (double)m->d[a / TOP_K * M_WIDTH + c] * gate[a] *
                    x[(size_t)m->routing.plan.slot[a] * M_WIDTH + c];
    return loss;
}

static double dispatch_loss(const void *what, const double *x) {
    const struct mixture *m = what;
    double loss = 0;
    for (size_t a = 0; a < SLOTS; a++)
        for (size_t c = 0; expert[a] >= 0 && c < M_WIDTH; c++)
            loss += (double)m->d[(size_t)m->routing.plan.slot[a] * M_WIDTH + c] * x[a / TOP_K * M_WIDTH + c];
    return loss;
}

/* d is dgate; the variables are logits. */
static double gate_loss(const void *what, const double *x) {
    const struct mixture *m = what;
    double loss = 0;
    for (size_t r = 0; r < M_ROWS; r++) {
        double p[EXPERTS], sum = 0, kept = 0;
        for (size_t e = 0; e < EXPERTS; e++)
            sum += p[e] = exp(x[r * EXPERTS + e]);
        for (size_t a = r * TOP_K; a < (r + 1) * TOP_K; a++)
            kept += expert[a] >= 0 ? p[expert[a]] : 0;
        for (size_t a = r * TOP_K; a < (r + 1) * TOP_K; a++)
            loss += expert[a] >= 0 ? (double)m->d[a] * p[expert[a]] / (m->renormalize ? kept : sum) : 0;
    }
    return loss;
}

static void mixture_is_the_difference(void **state) {
    (void)state;
    struct random_stream s = {6};
    struct kernels *k = reference();
    uint32_t offset[EXPERTS + 1], source[SLOTS], slot[SLOTS];
    const struct kernels_plan plan = {offset, source, slot};
    float *y = random_floats(&s, SLOTS * M_WIDTH + SLOTS, 1), *d = random_floats(&s, SLOTS * M_WIDTH, 1);
    float *logits = random_floats(&s, M_ROWS * EXPERTS, 2);
    struct mixture m = {{plan, expert, y + SLOTS * M_WIDTH, EXPERTS, TOP_K}, d, false};
    double all[SLOTS * M_WIDTH + SLOTS];
    float dy[SLOTS * M_WIDTH] = {0}, dgate[SLOTS], dx[M_ROWS * M_WIDTH] = {0}, dlogits[M_ROWS * EXPERTS];
    k->ops->plan(k, expert, M_ROWS, EXPERTS, TOP_K, plan);
    widen(y, SLOTS * M_WIDTH + SLOTS, all);

    k->backward->combine(k, &m.routing, y, d, M_ROWS, M_WIDTH, dy, dgate);
    assert_gradient("combine dy", combine_loss, &m, all, 0, SLOTS * M_WIDTH, dy);
    assert_gradient("combine dgate", combine_loss, &m, all, SLOTS * M_WIDTH, SLOTS, dgate);
    k->backward->dispatch(k, &m.routing, d, M_ROWS, M_WIDTH, dx);
    assert_gradient("dispatch dx", dispatch_loss, &m, all, 0, M_ROWS * M_WIDTH, dx);
    widen(logits, M_ROWS * EXPERTS, all);
    for (int i = 0; i < 2; i++) {
        m.renormalize = i;
        k->backward->gate(k, &m.routing, logits, d, M_ROWS, m.renormalize, dlogits);
        assert_gradient(i ? "gate, renormalized" : "gate", gate_loss, &m, all, 0, M_ROWS * EXPERTS, dlogits);
    }
    free(y);
    free(d);
    free(logits);
    end(k);
}

/* ---- the answer */

enum { P_WIDTH = 3, P_X = A_ROWS * P_WIDTH };

struct pooling {
    enum kernels_pooling kind;
    const float *dout;
};

static double pool_loss(const void *what, const double *x) {
    const struct pooling *p = what;
    double loss = 0;
    for (size_t i = 0; i < SEQUENCES; i++) {
        size_t first = start[i], last = start[i + 1];
        if (p->kind == KERNELS_POOL_FIRST)
            last = first + 1;
        if (p->kind == KERNELS_POOL_LAST)
            first = last - 1;
        if (p->kind == KERNELS_POOL_REST && last - first > 1)
            first++;
        for (size_t r = first; r < last; r++)
            for (size_t c = 0; c < P_WIDTH; c++)
                loss += (double)p->dout[i * P_WIDTH + c] * x[r * P_WIDTH + c] / (double)(last - first);
    }
    return loss;
}

static void pooling_is_the_difference(void **state) {
    (void)state;
    const enum kernels_pooling kinds[] = {KERNELS_POOL_MEAN, KERNELS_POOL_REST, KERNELS_POOL_FIRST,
                                          KERNELS_POOL_LAST};
    struct random_stream s = {7};
    struct kernels *k = reference();
    float *x = random_floats(&s, P_X, 1), *dout = random_floats(&s, SEQUENCES * P_WIDTH, 1), dx[P_X];
    double all[P_X];
    widen(x, P_X, all);
    k->ops->sequences(k, start, SEQUENCES);
    for (size_t i = 0; i < 4; i++) {
        k->backward->pool(k, kinds[i], dout, P_WIDTH, dx);
        assert_gradient("pool", pool_loss, &(struct pooling){kinds[i], dout}, all, 0, P_X, dx);
    }
    free(x);
    free(dout);
    end(k);
}

enum { N = 3, CLASSES = 5 };

static double normalize_loss(const void *what, const double *x) {
    const float *dy = what;
    double loss = 0;
    for (size_t i = 0; i < N; i++) {
        double square = 0;
        for (size_t c = 0; c < CLASSES; c++)
            square += x[i * CLASSES + c] * x[i * CLASSES + c];
        for (size_t c = 0; c < CLASSES; c++)
            loss += (double)dy[i * CLASSES + c] * x[i * CLASSES + c] / sqrt(square);
    }
    return loss;
}

static void normalize_is_the_difference(void **state) {
    (void)state;
    struct random_stream s = {8};
    struct kernels *k = reference();
    float *z = random_floats(&s, N * CLASSES, 1), *dy = random_floats(&s, N * CLASSES, 1), dz[N * CLASSES];
    double all[N * CLASSES];
    widen(z, N * CLASSES, all);
    k->backward->normalize(k, z, dy, N, CLASSES, dz);
    assert_gradient("normalize", normalize_loss, dy, all, 0, N * CLASSES, dz);
    memset(z, 0, CLASSES * sizeof *z);
    k->backward->normalize(k, z, dy, 1, CLASSES, dz);
    for (size_t c = 0; c < CLASSES; c++)
        assert_true(dz[c] == 0);
    free(z);
    free(dy);
    end(k);
}

static const uint32_t labels[N] = {4, 0, 4};
static const float scale = 30;

static double row_loss(const double *x, uint32_t label) {
    double sum = 0;
    for (size_t c = 0; c < CLASSES; c++)
        sum += exp((double)scale * (x[c] - x[label]));
    return log(sum);
}

static double cross_entropy_loss(const void *what, const double *x) {
    (void)what;
    double loss = 0;
    for (size_t i = 0; i < N; i++)
        loss += row_loss(x + i * CLASSES, labels[i]) / N;
    return loss;
}

static void cross_entropy_is_the_difference(void **state) {
    (void)state;
    struct random_stream s = {9};
    struct kernels *k = reference();
    float *cosine = random_floats(&s, N * CLASSES, 0.2f), loss[N], d[N * CLASSES];
    double all[N * CLASSES];
    widen(cosine, N * CLASSES, all);
    k->backward->cross_entropy(k, cosine, labels, N, CLASSES, scale, loss, d);
    assert_gradient("cross-entropy", cross_entropy_loss, NULL, all, 0, N * CLASSES, d);
    for (size_t i = 0; i < N; i++)
        assert_true(fabs((double)loss[i] - row_loss(all + i * CLASSES, labels[i])) <= 1e-6);
    free(cosine);
    end(k);
}

/* Gradients are float32's; other instances say that they have none. */
static void other_dtypes_have_none(void **state) {
    (void)state;
    const enum limoe_dtype others[] = {LIMOE_BFLOAT16, LIMOE_INT8};
    for (size_t i = 0; i < 2; i++) {
        struct kernels *k;
        struct limoe_error err;
        assert_int_equal(kernels_reference_create(others[i], &k, &err), LIMOE_OK);
        assert_null(k->backward);
        k->ops->destroy(k);
        assert_int_equal(kernels_cpu_create(others[i], 1, &k, &err), LIMOE_OK);
        assert_null(k->backward);
        k->ops->destroy(k);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_is_the_difference),         cmocka_unit_test(activations_are_the_difference),
        cmocka_unit_test(layernorm_is_the_difference),      cmocka_unit_test(attention_is_the_difference),
        cmocka_unit_test(attention_pool_is_the_difference), cmocka_unit_test(mixture_is_the_difference),
        cmocka_unit_test(pooling_is_the_difference),        cmocka_unit_test(normalize_is_the_difference),
        cmocka_unit_test(cross_entropy_is_the_difference),  cmocka_unit_test(other_dtypes_have_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
