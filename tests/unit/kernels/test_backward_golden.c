/* Each operation of kernels/backward.h, and what it is the gradient of, against PyTorch: tests/golden/gradients, on the
 * reference and on each instruction set that this machine has. Within 1e-4 of each element. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backward.h"
#include "model/checkpoint/safetensors.h"
#include "tests/unit/kernels/fixture.h"

/* ---- a file of golden tensors */

enum { MOST_TENSORS = 64 };

struct golden {
    const char *name;
    struct safetensors *file;
    void *given[MOST_TENSORS]; /* what was handed out, freed with it */
    size_t n;
};

static struct golden open_golden(const char *name) {
    struct golden g = {.name = name};
    struct limoe_error err;
    char file[80];
    snprintf(file, sizeof file, "%s.safetensors", name);
    if (safetensors_open_file(GRADIENTS, file, &g.file, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    return g;
}

static void close_golden(struct golden *g) {
    for (size_t i = 0; i < g->n; i++)
        free(g->given[i]);
    safetensors_close(g->file);
}

static void *keep(struct golden *g, size_t bytes) {
    assert_true(g->n < MOST_TENSORS);
    void *p = calloc(1, bytes ? bytes : 1);
    assert_non_null(p);
    return g->given[g->n++] = p;
}

static const struct tensor *find(const struct golden *g, const char *name) {
    const struct tensor *t = safetensors_find(g->file, name);
    if (!t)
        fail_msg("%s has no %s", g->name, name);
    return t;
}

static void *get(struct golden *g, const char *name) {
    const struct tensor *t = find(g, name);
    struct limoe_error err;
    assert_int_equal(t->bytes, 4 * t->elements);
    void *p = keep(g, t->bytes);
    assert_int_equal(safetensors_read(g->file, t, p, &err), LIMOE_OK);
    return p;
}

static uint32_t dim(const struct golden *g, const char *name, uint32_t axis) {
    return (uint32_t)find(g, name)->shape[axis];
}

/* Zeros of the tensor's shape, for the answer. */
static float *room(struct golden *g, const char *name) {
    return keep(g, find(g, name)->bytes);
}

static void expect(struct golden *g, const char *name, const float *got) {
    const float *want = get(g, name);
    for (size_t i = 0; i < find(g, name)->elements; i++)
        if (!(fabsf(got[i] - want[i]) <= 1e-6f + 1e-4f * fabsf(want[i])))
            fail_msg("%s: %s[%zu] is %.9g, PyTorch has %.9g", g->name, name, i, (double)got[i],
                     (double)want[i]);
}

/* On both instances of each fixture in float32. */
static void (*test_at_hand)(struct kernels *k);

static void run(const struct fixture *f) {
    if (f->dtype != LIMOE_FLOAT32)
        return;
    test_at_hand(f->reference);
    test_at_hand(f->tested);
}

static void on_each(void (*test)(struct kernels *k)) {
    test_at_hand = test;
    for_each_fixture(one_thread, run);
}

/* ---- the operations */

static void check_linear(struct kernels *k) {
    struct golden g = open_golden("linear");
    const uint32_t groups = dim(&g, "weight", 0), out = dim(&g, "weight", 1), in = dim(&g, "weight", 2);
    const size_t rows = dim(&g, "x", 0);
    float *w = get(&g, "weight"), *x = get(&g, "x"), *y = room(&g, "y"), *dx = room(&g, "x");
    const uint32_t *offset = get(&g, "offset");
    const struct backward_matrix m = {groups, out, in, w, room(&g, "weight"), room(&g, "bias")};
    struct kernels_matrix *packed = pack_floats(k, w, get(&g, "bias"), groups, out, in);
    k->ops->grouped_linear(k, packed, offset, x, rows, KERNELS_STORE, y);
    k->backward->linear(k, &m, offset, x, get(&g, "dy"), rows, dx);
    k->ops->matrix_free(k, packed);
    expect(&g, "y", y);
    expect(&g, "dx", dx);
    expect(&g, "dweight", m.dweight);
    expect(&g, "dbias", m.dbias);
    close_golden(&g);
}

static void check_activation(struct kernels *k) {
    static const struct {
        const char *name;
        enum kernels_epilogue kind;
    } kinds[] = {{"activation-gelu_tanh", KERNELS_GELU_TANH},
                 {"activation-gelu", KERNELS_GELU_ERF},
                 {"activation-quick_gelu", KERNELS_QUICK_GELU}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct golden g = open_golden(kinds[i].name);
        const size_t n = dim(&g, "v", 0);
        float *v = get(&g, "v"), *y = room(&g, "y"), *dv = room(&g, "v");
        k->backward->activate(k, kinds[i].kind, v, n, y);
        k->backward->activation(k, kinds[i].kind, v, get(&g, "dy"), n, dv);
        expect(&g, "y", y);
        expect(&g, "dv", dv);
        close_golden(&g);
    }
}

static void check_layernorm(struct kernels *k) {
    struct golden g = open_golden("layernorm");
    const size_t rows = dim(&g, "x", 0);
    const uint32_t width = dim(&g, "x", 1);
    float *x = get(&g, "x"), *y = room(&g, "y"), *dx = room(&g, "x");
    const struct backward_norm norm = {get(&g, "weight"), room(&g, "weight"), room(&g, "bias"), 1e-5f};
    k->ops->layernorm(k, x, norm.weight, get(&g, "bias"), norm.eps, rows, width, NULL, y);
    k->backward->layernorm(k, &norm, x, get(&g, "dy"), rows, width, dx);
    expect(&g, "y", y);
    expect(&g, "dx", dx);
    expect(&g, "dweight", norm.dweight);
    expect(&g, "dbias", norm.dbias);
    close_golden(&g);
}

static void use_sequences(struct kernels *k, struct golden *g) {
    k->ops->sequences(k, get(g, "start"), dim(g, "start", 0) - 1);
}

static void check_attention_of(struct kernels *k, const char *name, enum kernels_mask mask, bool norms) {
    enum { HEADS = 2 };
    struct golden g = open_golden(name);
    const uint32_t width = dim(&g, "out", 1);
    float *qkv = get(&g, "qkv"), *out = room(&g, "out"), *dqkv = room(&g, "qkv");
    struct backward_qk_norm norm = {0};
    if (norms)
        norm = (struct backward_qk_norm){
            .q = {get(&g, "q_weight"), room(&g, "q_weight"), room(&g, "q_bias"), 1e-5f},
            .k = {get(&g, "k_weight"), room(&g, "k_weight"), room(&g, "k_bias"), 1e-5f},
            .q_bias = get(&g, "q_bias"),
            .k_bias = get(&g, "k_bias")};
    const struct kernels_qk_norm forward = {norm.q.weight, norm.q_bias, norm.k.weight, norm.k_bias, 1e-5f};
    use_sequences(k, &g);
    k->ops->attention(k, qkv, width, HEADS, mask, norms ? &forward : NULL, out);
    k->backward->attention(k, qkv, get(&g, "dout"), width, HEADS, mask, norms ? &norm : NULL, dqkv);
    expect(&g, "out", out);
    expect(&g, "dqkv", dqkv);
    if (norms) {
        expect(&g, "dq_weight", norm.q.dweight);
        expect(&g, "dq_bias", norm.q.dbias);
        expect(&g, "dk_weight", norm.k.dweight);
        expect(&g, "dk_bias", norm.k.dbias);
    }
    close_golden(&g);
}

static void check_attention(struct kernels *k) {
    check_attention_of(k, "attention", KERNELS_BIDIRECTIONAL, false);
    check_attention_of(k, "attention-causal", KERNELS_CAUSAL, false);
    check_attention_of(k, "attention-norms", KERNELS_BIDIRECTIONAL, true);
    check_attention_of(k, "attention-causal-norms", KERNELS_CAUSAL, true);
}

static void check_attention_pool(struct kernels *k) {
    enum { HEADS = 2 };
    struct golden g = open_golden("attention_pool");
    const uint32_t width = dim(&g, "query", 0);
    float *query = get(&g, "query"), *kv = get(&g, "kv"), *out = room(&g, "out");
    float *dquery = room(&g, "query"), *dkv = room(&g, "kv");
    use_sequences(k, &g);
    k->ops->attention_pool(k, query, kv, width, HEADS, out);
    k->backward->attention_pool(k, query, kv, get(&g, "dout"), width, HEADS, dquery, dkv);
    expect(&g, "out", out);
    expect(&g, "dquery", dquery);
    expect(&g, "dkv", dkv);
    close_golden(&g);
}

/* A whole layer of experts: what a trainer does with the operations, in its order. */
struct layer {
    struct backward_matrix router, fc1, fc2;
    struct backward_routing routing;
    float *logits, *sorted, *sums, *hidden, *answer; /* sums: before the activation */
};

static struct backward_matrix matrix(struct golden *g, const char *weight, const char *bias) {
    const uint32_t rank = find(g, weight)->rank, groups = rank == 3 ? dim(g, weight, 0) : 1;
    return (struct backward_matrix){groups,         dim(g, weight, rank - 2), dim(g, weight, rank - 1),
                                    get(g, weight), room(g, weight),          bias ? room(g, bias) : NULL};
}

static struct layer make_layer(struct golden *g) {
    struct layer l = {.router = matrix(g, "router", NULL),
                      .fc1 = matrix(g, "fc1", "fc1_bias"),
                      .fc2 = matrix(g, "fc2", "fc2_bias")};
    const size_t rows = dim(g, "x", 0), slots = find(g, "expert")->elements;
    l.routing.experts = l.fc1.groups;
    l.routing.top_k = dim(g, "expert", 1);
    l.routing.plan =
        (struct kernels_plan){keep(g, (l.fc1.groups + 1) * sizeof(uint32_t)),
                              keep(g, slots * sizeof(uint32_t)), keep(g, slots * sizeof(uint32_t))};
    l.logits = keep(g, rows * l.fc1.groups * sizeof(float));
    l.sorted = keep(g, slots * l.fc1.in * sizeof(float));
    l.sums = keep(g, slots * l.fc1.out * sizeof(float));
    l.hidden = keep(g, slots * l.fc1.out * sizeof(float));
    l.answer = keep(g, slots * l.fc2.out * sizeof(float));
    return l;
}

static void layer_forward(struct kernels *k, struct golden *g, struct layer *l, bool renormalize, float *y) {
    const struct kernels_ops *op = k->ops;
    const size_t rows = dim(g, "x", 0), slots = find(g, "expert")->elements;
    const struct backward_routing *r = &l->routing;
    float *x = get(g, "x");
    int32_t *expert = keep(g, slots * sizeof *expert);
    float *gate = keep(g, slots * sizeof *gate);
    struct kernels_matrix *fc1 =
        pack_floats(k, l->fc1.weight, get(g, "fc1_bias"), r->experts, l->fc1.out, l->fc1.in);
    struct kernels_matrix *fc2 =
        pack_floats(k, l->fc2.weight, get(g, "fc2_bias"), r->experts, l->fc2.out, l->fc2.in);
    op->router_logits(k, x, l->router.weight, rows, l->fc1.in, r->experts, l->logits);
    op->gate(k, l->logits, rows, r->experts, r->top_k, renormalize, expert, gate);
    op->plan(k, expert, rows, r->experts, r->top_k, r->plan);
    op->dispatch(k, x, r->plan, r->experts, slots, l->fc1.in, l->sorted);
    op->grouped_linear(k, fc1, r->plan.offset, l->sorted, slots, KERNELS_STORE, l->sums);
    k->backward->activate(k, KERNELS_GELU_TANH, l->sums, slots * l->fc1.out, l->hidden);
    op->grouped_linear(k, fc2, r->plan.offset, l->hidden, slots, KERNELS_STORE, l->answer);
    op->combine(k, l->answer, r->plan, expert, gate, rows, r->top_k, l->fc2.out, y);
    op->matrix_free(k, fc1);
    op->matrix_free(k, fc2);
    l->routing.expert = expert;
    l->routing.gate = gate;
}

static void layer_backward(struct kernels *k, struct golden *g, const struct layer *l, bool renormalize,
                           float *dx) {
    const struct backward_ops *op = k->backward;
    const struct backward_routing *r = &l->routing;
    const size_t rows = dim(g, "x", 0), slots = find(g, "expert")->elements;
    float *danswer = keep(g, slots * l->fc2.out * sizeof(float)), *dgate = keep(g, slots * sizeof(float));
    float *dhidden = keep(g, slots * l->fc1.out * sizeof(float));
    float *dsorted = keep(g, slots * l->fc1.in * sizeof(float));
    float *dlogits = keep(g, rows * r->experts * sizeof(float));
    op->combine(k, r, l->answer, get(g, "dy"), rows, l->fc2.out, danswer, dgate);
    op->linear(k, &l->fc2, r->plan.offset, l->hidden, danswer, slots, dhidden);
    op->activation(k, KERNELS_GELU_TANH, l->sums, dhidden, slots * l->fc1.out, dhidden);
    op->linear(k, &l->fc1, r->plan.offset, l->sorted, dhidden, slots, dsorted);
    op->gate(k, r, l->logits, dgate, rows, renormalize, dlogits);
    op->linear(k, &l->router, NULL, get(g, "x"), dlogits, rows, dx);
    op->dispatch(k, r, dsorted, rows, l->fc1.in, dx);
}

static void check_mixture_of(struct kernels *k, const char *name, bool renormalize) {
    struct golden g = open_golden(name);
    struct layer l = make_layer(&g);
    float *y = room(&g, "y"), *dx = room(&g, "x");
    layer_forward(k, &g, &l, renormalize, y);
    assert_memory_equal(l.routing.expert, get(&g, "expert"), find(&g, "expert")->bytes);
    expect(&g, "y", y);
    layer_backward(k, &g, &l, renormalize, dx);
    expect(&g, "dx", dx);
    expect(&g, "drouter", l.router.dweight);
    expect(&g, "dfc1", l.fc1.dweight);
    expect(&g, "dfc1_bias", l.fc1.dbias);
    expect(&g, "dfc2", l.fc2.dweight);
    expect(&g, "dfc2_bias", l.fc2.dbias);
    close_golden(&g);
}

static void check_mixture(struct kernels *k) {
    check_mixture_of(k, "mixture", false);
    check_mixture_of(k, "mixture-top2", false);
    check_mixture_of(k, "mixture-top2-renormalize", true);
}

static void check_pool(struct kernels *k) {
    static const struct {
        const char *name;
        enum kernels_pooling kind;
    } kinds[] = {{"pool-mean", KERNELS_POOL_MEAN},
                 {"pool-rest", KERNELS_POOL_REST},
                 {"pool-first", KERNELS_POOL_FIRST},
                 {"pool-last", KERNELS_POOL_LAST}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct golden g = open_golden(kinds[i].name);
        float *out = room(&g, "out"), *dx = room(&g, "x");
        use_sequences(k, &g);
        k->ops->pool(k, kinds[i].kind, get(&g, "x"), dim(&g, "x", 1), NULL, out);
        k->backward->pool(k, kinds[i].kind, get(&g, "dout"), dim(&g, "x", 1), dx);
        expect(&g, "out", out);
        expect(&g, "dx", dx);
        close_golden(&g);
    }
}

/* Pictures and classes normalised, their cosines a linear whose matrix are the classes, the loss: and back. */
static void check_answer(struct kernels *k) {
    struct golden g = open_golden("answer");
    const uint32_t n = dim(&g, "z", 0), classes = dim(&g, "classes", 0), width = dim(&g, "z", 1);
    float *z = get(&g, "z"), *c = get(&g, "classes"), *unit_z = get(&g, "z"), *unit_c = get(&g, "classes");
    float *cosine = room(&g, "cosine"), *dcosine = room(&g, "cosine"), *loss = room(&g, "loss");
    float *dz = room(&g, "z"), *dc = room(&g, "classes");
    k->ops->normalize(k, unit_z, n, width);
    k->ops->normalize(k, unit_c, classes, width);
    struct kernels_matrix *m = pack_floats(k, unit_c, NULL, 1, classes, width);
    k->ops->linear(k, m, unit_z, n, KERNELS_STORE_F32, cosine);
    k->ops->matrix_free(k, m);
    k->backward->cross_entropy(k, cosine, get(&g, "label"), n, classes, *(float *)get(&g, "scale"), loss,
                               dcosine);
    const struct backward_matrix classes_of = {1, classes, width, unit_c, dc, NULL};
    k->backward->linear(k, &classes_of, NULL, unit_z, dcosine, n, dz);
    k->backward->normalize(k, z, dz, n, width, dz);
    k->backward->normalize(k, c, dc, classes, width, dc);
    expect(&g, "cosine", cosine);
    expect(&g, "loss", loss);
    expect(&g, "dz", dz);
    expect(&g, "dclasses", dc);
    close_golden(&g);
}

static void check_adamw(struct kernels *k) {
    struct golden g = open_golden("adamw");
    const uint32_t steps = dim(&g, "gradient", 0);
    const size_t n = dim(&g, "gradient", 1);
    float *w = get(&g, "weight"), *m = room(&g, "weight"), *v = room(&g, "weight");
    float *gradient = get(&g, "gradient"), *after = room(&g, "after"), *rate = room(&g, "rate");
    for (uint32_t i = 0; i < steps; i++) {
        const struct adamw how = {.rate = cosine_rate(i + 1, steps, 4, 2e-2, 1e-3),
                                  .beta1 = 0.9,
                                  .beta2 = 0.98,
                                  .eps = 1e-6,
                                  .decay = 0.1,
                                  .step = i + 1};
        rate[i] = (float)how.rate;
        k->backward->adamw(k, &how, n, gradient + i * n, w, m, v);
        memcpy(after + i * n, w, n * sizeof *w);
    }
    expect(&g, "rate", rate);
    expect(&g, "after", after);
    close_golden(&g);
}

#define ON_EACH(name)                                                                                        \
    static void name##_is_pytorchs(void **state) {                                                           \
        (void)state;                                                                                         \
        on_each(check_##name);                                                                               \
    }
ON_EACH(linear)
ON_EACH(activation)
ON_EACH(layernorm)
ON_EACH(attention)
ON_EACH(attention_pool)
ON_EACH(mixture)
ON_EACH(pool)
ON_EACH(answer)
ON_EACH(adamw)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_is_pytorchs),         cmocka_unit_test(activation_is_pytorchs),
        cmocka_unit_test(layernorm_is_pytorchs),      cmocka_unit_test(attention_is_pytorchs),
        cmocka_unit_test(attention_pool_is_pytorchs), cmocka_unit_test(mixture_is_pytorchs),
        cmocka_unit_test(pool_is_pytorchs),           cmocka_unit_test(answer_is_pytorchs),
        cmocka_unit_test(adamw_is_pytorchs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
