/* The cpu's gradients against the reference's at awkward shapes, on every instruction set; and the same bits with 1, 2
 * and 3 threads. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backward.h"
#include "tests/unit/kernels/fixture.h"

/* ---- what one thread answered, for the thread counts that follow */

enum { MOST_KEPT = 200 };

static struct {
    float *v;
    size_t n;
} kept[MOST_KEPT];
static size_t turn;

static void forget(void) {
    for (size_t i = 0; i < MOST_KEPT; i++) {
        free(kept[i].v);
        kept[i].v = NULL;
    }
}

/* Near the reference's, and with the bits of one thread. */
static void check(const struct fixture *f, const char *what, const float *got, const float *want, size_t n,
                  float absolute, float relative) {
    assert_close(f, what, got, want, n, absolute, relative);
    assert_true(turn < MOST_KEPT);
    if (f->threads == 1) {
        free(kept[turn].v);
        kept[turn].v = malloc((n ? n : 1) * sizeof *got);
        assert_non_null(kept[turn].v);
        kept[turn].n = n;
        memcpy(kept[turn].v, got, n * sizeof *got);
    }
    assert_int_equal(kept[turn].n, n);
    assert_same_bits(f, what, got, kept[turn++].v, n * sizeof *got);
}

static void (*test_at_hand)(const struct fixture *f);

/* Gradients are float32's. */
static void run(const struct fixture *f) {
    turn = 0;
    if (f->dtype == LIMOE_FLOAT32)
        test_at_hand(f);
    else
        assert_null(f->tested->backward);
}

static void on_each(void (*test)(const struct fixture *f)) {
    test_at_hand = test;
    for_each_fixture(few_threads, run);
    forget();
}

static float *zeros(size_t n) {
    float *v = calloc(n ? n : 1, sizeof *v);
    assert_non_null(v);
    return v;
}

/* A copy of `from` for each of the two instances, that both start from. */
struct pair {
    float *want, *got;
    size_t n;
};

static struct pair pair_of(const float *from, size_t n) {
    struct pair p = {zeros(n), zeros(n), n};
    if (from && n) {
        memcpy(p.want, from, n * sizeof *from);
        memcpy(p.got, from, n * sizeof *from);
    }
    return p;
}

static void compare(const struct fixture *f, const char *what, struct pair p, float absolute,
                    float relative) {
    check(f, what, p.got, p.want, p.n, absolute, relative);
    free(p.got);
    free(p.want);
}

/* ---- linear */

/* Sums start at what is there: `base`. */
static void check_linear_of(const struct fixture *f, struct random_stream *s, const uint32_t *offset,
                            uint32_t groups, size_t rows, uint32_t in, uint32_t out) {
    const size_t weights = (size_t)groups * out * in;
    float *x = random_floats(s, rows * in, 1), *dy = random_floats(s, rows * out, 1);
    float *w = random_floats(s, weights, 1), *base = random_floats(s, weights, 1);
    struct pair dx = pair_of(x, rows * in), dw = pair_of(base, weights),
                db = pair_of(base, (size_t)groups * out);
    const struct backward_matrix mr = {groups, out, in, w, dw.want, db.want},
                                 mt = {groups, out, in, w, dw.got, db.got};
    f->reference->backward->linear(f->reference, &mr, offset, x, dy, rows, dx.want);
    f->tested->backward->linear(f->tested, &mt, offset, x, dy, rows, dx.got);

    /* What is frozen or not wanted changes nothing else. */
    struct pair alone = pair_of(base, weights);
    f->tested->backward->linear(f->tested, &(struct backward_matrix){groups, out, in, w, alone.got, NULL},
                                offset, x, dy, rows, NULL);
    assert_same_bits(f, "dweight alone", alone.got, dw.got, weights * sizeof *w);
    memcpy(alone.got, base, weights * sizeof *w);
    f->tested->backward->linear(f->tested, &(struct backward_matrix){groups, out, in, w, NULL, alone.got},
                                offset, x, dy, rows, NULL);
    assert_same_bits(f, "dbias alone", alone.got, db.got, db.n * sizeof *w);
    free(alone.want);
    free(alone.got);
    compare(f, "linear dx", dx, 3e-5f, 1e-5f);
    compare(f, "linear dweight", dw, 3e-5f, 1e-5f);
    compare(f, "linear dbias", db, 3e-5f, 1e-5f);
    free(x);
    free(dy);
    free(w);
    free(base);
}

static void check_linear(const struct fixture *f) {
    static const struct {
        uint32_t rows, in, out;
    } shapes[] = {{0, 3, 5},     {1, 1, 1},      {7, 3, 5},      {33, 17, 7},
                  {70, 100, 31}, {530, 72, 130}, {1000, 33, 80}, {40, 192, 300}};
    struct random_stream s = {1};
    const size_t most = sizeof shapes / sizeof *shapes - (tests_are_slow() ? 3 : 0);
    for (size_t i = 0; i < most; i++)
        check_linear_of(f, &s, NULL, 1, shapes[i].rows, shapes[i].in, shapes[i].out);
}

static void linear_agrees(void **state) {
    (void)state;
    on_each(check_linear);
}

/* Groups without rows, of one row, of most rows; rows past the last group keep their dx. */
static void check_groups(const struct fixture *f) {
    enum { GROUPS = 4, ROWS = 620 };
    static const uint32_t offsets[][GROUPS + 1] = {
        {0, 0, 1, 18, 610}, {0, 0, 0, 0, 0}, {0, 150, 300, 450, ROWS}, {0, ROWS, ROWS, ROWS, ROWS}};
    struct random_stream s = {2};
    for (size_t i = 0; i < (tests_are_slow() ? 2 : sizeof offsets / sizeof *offsets); i++)
        check_linear_of(f, &s, offsets[i], GROUPS, ROWS, 40, 52);
}

static void groups_agree(void **state) {
    (void)state;
    on_each(check_groups);
}

/* A matrix put anew is the matrix packed from the start; and a linear that keeps its sums, with the activation behind it,
 * is the linear that has the activation in its epilogue. */
static void check_forward(const struct fixture *f) {
    enum { IN = 37, OUT = 53, ROWS = 41, W = OUT * IN };
    static const enum kernels_epilogue kinds[] = {KERNELS_GELU_TANH, KERNELS_GELU_ERF, KERNELS_QUICK_GELU};
    struct random_stream s = {3};
    struct kernels *both[] = {f->reference, f->tested};
    float *w = random_floats(&s, 4 * W, 1), *bias = random_floats(&s, 4 * OUT, 4);
    float *x = random_floats(&s, ROWS * IN, 1), v[ROWS * OUT], fused[ROWS * OUT], apart[ROWS * OUT];
    const uint32_t offset[] = {0, ROWS / 3, ROWS};
    for (int i = 0; i < 2; i++) {
        struct kernels *k = both[i];
        struct kernels_matrix *old = pack_floats(k, w, bias, 2, OUT, IN),
                              *new = pack_floats(k, w + 2 * W, bias + 2 * OUT, 2, OUT, IN);
        k->backward->repack(k, old, w + 2 * W, bias + 2 * OUT);
        k->ops->grouped_linear(k, old, offset, x, ROWS, KERNELS_STORE, v);
        k->ops->grouped_linear(k, new, offset, x, ROWS, KERNELS_STORE, apart);
        assert_same_bits(f, "repacked", v, apart, sizeof v);
        for (size_t j = 0; j < sizeof kinds / sizeof *kinds; j++) {
            k->ops->grouped_linear(k, new, offset, x, ROWS, kinds[j], fused);
            k->backward->activate(k, kinds[j], v, ROWS * OUT, apart);
            if (i == 1)
                assert_same_bits(f, "activation apart", apart, fused, sizeof v);
            else
                assert_close(f, "activation apart", apart, fused, ROWS * OUT, 1e-6f, 1e-5f);
        }
        k->ops->matrix_free(k, old);
        k->ops->matrix_free(k, new);
    }
    free(w);
    free(bias);
    free(x);
}

static void training_forward_is_the_forward(void **state) {
    (void)state;
    on_each(check_forward);
}

/* ---- activations */

static void check_activations(const struct fixture *f) {
    enum { N = 33000 };
    static const enum kernels_epilogue kinds[] = {KERNELS_GELU_TANH, KERNELS_GELU_ERF, KERNELS_QUICK_GELU,
                                                  KERNELS_STORE};
    static const float far[] = {1e20f, -1e20f, 70, -70, INFINITY, -INFINITY, NAN, 0};
    enum { FAR = sizeof far / sizeof *far };
    struct random_stream s = {4};
    float *v = random_floats(&s, N, 9), *dy = random_floats(&s, N, 1), d[FAR];
    const float ones[FAR] = {1, 1, 1, 1, 1, 1, 1, 1};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct pair dv = pair_of(dy, N); /* in place */
        f->reference->backward->activation(f->reference, kinds[i], v, dv.want, N, dv.want);
        f->tested->backward->activation(f->tested, kinds[i], v, dv.got, N, dv.got);
        compare(f, "activation", dv, 2e-6f, 0);
        f->tested->backward->activation(f->tested, kinds[i], far, ones, FAR, d);
        for (size_t j = 0; j < FAR - 2 && kinds[i] != KERNELS_STORE; j++)
            assert_true(fabsf(d[j] - (far[j] > 0 ? 1.0f : 0.0f)) <= 1e-20f);
        assert_true(kinds[i] == KERNELS_STORE || (isnan(d[FAR - 2]) && d[FAR - 1] == 0.5f));
    }
    free(v);
    free(dy);
}

static void activations_agree(void **state) {
    (void)state;
    on_each(check_activations);
}

/* ---- LayerNorm */

static void check_layernorm(const struct fixture *f) {
    static const struct {
        uint32_t rows, width;
    } shapes[] = {{0, 8}, {1, 1}, {3, 5}, {40, 39}, {300, 192}, {9, 770}};
    struct random_stream s = {5};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const uint32_t width = shapes[i].width;
        const size_t rows = shapes[i].rows, n = rows * width;
        float *x = random_floats(&s, n, 3), *dy = random_floats(&s, n, 1), *w = random_floats(&s, width, 2);
        struct pair dx = pair_of(dy, n), dw = pair_of(w, width), db = pair_of(w, width);
        for (size_t j = 0; j < n; j++)
            x[j] += 5; /* far from a mean of zero */
        f->reference->backward->layernorm(f->reference, &(struct backward_norm){w, dw.want, db.want, 1e-5f},
                                          x, dy, rows, width, dx.want);
        f->tested->backward->layernorm(f->tested, &(struct backward_norm){w, dw.got, db.got, 1e-5f}, x, dy,
                                       rows, width, dx.got);
        struct pair frozen = pair_of(dy, n);
        f->tested->backward->layernorm(f->tested, &(struct backward_norm){w, NULL, NULL, 1e-5f}, x, dy, rows,
                                       width, frozen.got);
        assert_same_bits(f, "layernorm dx alone", frozen.got, dx.got, n * sizeof *x);
        free(frozen.want);
        free(frozen.got);
        compare(f, "layernorm dx", dx, 1e-5f, 1e-5f);
        compare(f, "layernorm dweight", dw, 3e-5f, 1e-5f);
        compare(f, "layernorm dbias", db, 1e-5f, 1e-5f);
        free(x);
        free(dy);
        free(w);
    }
}

static void layernorm_agrees(void **state) {
    (void)state;
    on_each(check_layernorm);
}

/* ---- attention */

static const uint32_t start[] = {0, 1, 18, 18, 50, 83, 213};
enum { SEQUENCES = 6, ROWS = 213 };

static void check_attention_of(const struct fixture *f, struct random_stream *s, uint32_t heads,
                               uint32_t head_width, enum kernels_mask mask, bool normed) {
    const uint32_t width = heads * head_width;
    const size_t n = (size_t)ROWS * 3 * width;
    float *qkv = random_floats(s, n, 2), *dout = random_floats(s, (size_t)ROWS * width, 1);
    float *w = random_floats(s, 4 * (size_t)head_width, 1);
    struct pair dqkv = pair_of(qkv, n), dw = pair_of(w, 4 * (size_t)head_width);
    struct kernels *both[] = {f->reference, f->tested};
    for (int i = 0; i < 2; i++) {
        float *d = i ? dw.got : dw.want;
        const struct backward_qk_norm norm = {
            .q = {w, d, d + head_width, 1e-5f},
            .k = {w + 2 * head_width, d + 2 * head_width, d + 3 * head_width, 1e-5f},
            .q_bias = w + head_width,
            .k_bias = w + 3 * head_width};
        both[i]->ops->sequences(both[i], start, SEQUENCES);
        both[i]->backward->attention(both[i], qkv, dout, width, heads, mask, normed ? &norm : NULL,
                                     i ? dqkv.got : dqkv.want);
    }
    compare(f, "attention dqkv", dqkv, 1e-5f, 2e-5f);
    compare(f, "attention norms", dw, 1e-4f, 2e-5f);
    free(qkv);
    free(dout);
    free(w);
}

static void check_attention(const struct fixture *f) {
    static const uint32_t shapes[][2] = {{1, 1}, {2, 5}, {3, 16}, {2, 33}, {1, 64}};
    struct random_stream s = {6};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int how = 0; how < 4; how++)
            if ((shapes[i][1] > 1 || how < 2) && /* the norm of one element is its bias */
                !(tests_are_slow() && (i + (size_t)how) % 3))
                check_attention_of(f, &s, shapes[i][0], shapes[i][1],
                                   how % 2 ? KERNELS_CAUSAL : KERNELS_BIDIRECTIONAL, how / 2);
}

static void attention_agrees(void **state) {
    (void)state;
    on_each(check_attention);
}

static void check_attention_pool(const struct fixture *f) {
    enum { HEADS = 3, WIDTH = HEADS * 21 };
    struct random_stream s = {7};
    static const uint32_t some[] = {0, 1, 18, 50, 83, ROWS};
    enum { SOME = 5 };
    float *query = random_floats(&s, WIDTH, 1), *kv = random_floats(&s, ROWS * 2 * WIDTH, 1);
    float *dout = random_floats(&s, SOME * WIDTH, 1);
    struct pair dquery = pair_of(query, WIDTH), dkv = pair_of(kv, ROWS * 2 * WIDTH);
    f->reference->ops->sequences(f->reference, some, SOME);
    f->tested->ops->sequences(f->tested, some, SOME);
    f->reference->backward->attention_pool(f->reference, query, kv, dout, WIDTH, HEADS, dquery.want,
                                           dkv.want);
    f->tested->backward->attention_pool(f->tested, query, kv, dout, WIDTH, HEADS, NULL, dkv.got);
    f->tested->backward->attention_pool(f->tested, query, kv, dout, WIDTH, HEADS, dquery.got, dkv.got);
    compare(f, "attention pool dquery", dquery, 1e-5f, 1e-5f);
    compare(f, "attention pool dkv", dkv, 2e-6f, 1e-5f);
    free(query);
    free(kv);
    free(dout);
}

static void attention_pool_agrees(void **state) {
    (void)state;
    on_each(check_attention_pool);
}

/* ---- mixture of experts */

static void check_mixture_of(const struct fixture *f, struct random_stream *s, uint32_t experts,
                             uint32_t top_k, uint32_t width) {
    const size_t assignments = (size_t)ROWS * top_k;
    int32_t *expert = malloc(assignments * sizeof *expert);
    uint32_t *plan = malloc((experts + 1 + 2 * assignments) * sizeof *plan);
    assert_true(expert && plan);
    float *logits = random_floats(s, (size_t)ROWS * experts, 3), *gate = random_floats(s, assignments, 1);
    float *y = random_floats(s, assignments * width, 1), *d = random_floats(s, assignments * width, 1);
    f->reference->ops->gate(f->reference, logits, ROWS, experts, top_k, false, expert, gate);
    for (size_t a = 0; a < assignments; a++)
        if (random_below(s, 9) == 0)
            expert[a] = -1; /* dropped */
    const struct backward_routing routing = {
        {plan, plan + experts + 1, plan + experts + 1 + assignments}, expert, gate, experts, top_k};
    f->reference->ops->plan(f->reference, expert, ROWS, experts, top_k, routing.plan);

    struct pair dy = pair_of(NULL, assignments * width), dgate = pair_of(y, assignments);
    struct pair dx = pair_of(y, (size_t)ROWS * width), dlogits[2];
    struct kernels *both[] = {f->reference, f->tested};
    for (int i = 0; i < 2; i++)
        dlogits[i] = pair_of(NULL, (size_t)ROWS * experts);
    for (int i = 0; i < 2; i++) {
        const struct backward_ops *op = both[i]->backward;
        op->combine(both[i], &routing, y, d, ROWS, width, i ? dy.got : dy.want, i ? dgate.got : dgate.want);
        op->dispatch(both[i], &routing, d, ROWS, width, i ? dx.got : dx.want);
        for (int j = 0; j < 2; j++)
            op->gate(both[i], &routing, logits, d, ROWS, j, i ? dlogits[j].got : dlogits[j].want);
    }
    compare(f, "combine dy", dy, 0, 0);
    compare(f, "combine dgate", dgate, 1e-5f, 1e-5f);
    compare(f, "dispatch dx", dx, 1e-6f, 1e-6f);
    compare(f, "gate", dlogits[0], 1e-6f, 1e-6f);
    compare(f, "gate, renormalized", dlogits[1], 2e-6f, 1e-6f);
    free(expert);
    free(plan);
    free(logits);
    free(gate);
    free(y);
    free(d);
}

static void check_mixture(const struct fixture *f) {
    static const uint32_t shapes[][3] = {{1, 1, 3}, {8, 1, 192}, {5, 2, 39}, {17, 3, 70}, {4, 4, 16}};
    struct random_stream s = {8};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check_mixture_of(f, &s, shapes[i][0], shapes[i][1], shapes[i][2]);
}

static void mixture_agrees(void **state) {
    (void)state;
    on_each(check_mixture);
}

/* ---- the answer */

static void check_answer(const struct fixture *f) {
    static const enum kernels_pooling kinds[] = {KERNELS_POOL_MEAN, KERNELS_POOL_REST, KERNELS_POOL_FIRST,
                                                 KERNELS_POOL_LAST};
    static const uint32_t some[] = {0, 1, 18, 50, 83, ROWS};
    enum { SOME = 5, WIDTH = 193 };
    struct random_stream s = {9};
    float *z = random_floats(&s, ROWS * WIDTH, 1), *dy = random_floats(&s, ROWS * WIDTH, 1);
    uint32_t label[ROWS];
    f->reference->ops->sequences(f->reference, some, SOME);
    f->tested->ops->sequences(f->tested, some, SOME);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct pair dx = pair_of(z, ROWS * WIDTH);
        f->reference->backward->pool(f->reference, kinds[i], dy, WIDTH, dx.want);
        f->tested->backward->pool(f->tested, kinds[i], dy, WIDTH, dx.got);
        compare(f, "pool", dx, 1e-7f, 1e-6f);
    }
    memset(z + WIDTH, 0, WIDTH * sizeof *z); /* a row of zeros */
    struct pair dz = pair_of(dy, ROWS * WIDTH), loss = pair_of(NULL, ROWS), d = pair_of(z, ROWS * WIDTH);
    f->reference->backward->normalize(f->reference, z, dz.want, ROWS, WIDTH, dz.want);
    f->tested->backward->normalize(f->tested, z, dz.got, ROWS, WIDTH, dz.got);
    compare(f, "normalize", dz, 1e-6f, 1e-6f);
    for (size_t i = 0; i < ROWS; i++)
        label[i] = random_below(&s, WIDTH);
    f->reference->backward->cross_entropy(f->reference, d.want, label, ROWS, WIDTH, 80, loss.want, d.want);
    f->tested->backward->cross_entropy(f->tested, d.got, label, ROWS, WIDTH, 80, loss.got, d.got);
    compare(f, "loss", loss, 1e-5f, 1e-6f);
    compare(f, "cross-entropy", d, 1e-6f, 1e-5f);
    free(z);
    free(dy);
}

static void answer_agrees(void **state) {
    (void)state;
    on_each(check_answer);
}

static void check_adamw(const struct fixture *f) {
    enum { N = 70001 };
    struct random_stream s = {10};
    float *w = random_floats(&s, N, 1), *g = random_floats(&s, N, 1);
    struct pair weights = pair_of(w, N), m = pair_of(NULL, N), v = pair_of(NULL, N);
    for (uint64_t step = 1; step <= 3; step++) {
        const struct adamw how = {1e-3, 0.9, 0.999, 1e-8, 0.1, step};
        f->reference->backward->adamw(f->reference, &how, N, g, weights.want, m.want, v.want);
        f->tested->backward->adamw(f->tested, &how, N, g, weights.got, m.got, v.got);
    }
    compare(f, "adamw weights", weights, 0, 0);
    compare(f, "adamw m", m, 0, 0);
    compare(f, "adamw v", v, 0, 0);
    free(w);
    free(g);
}

static void adamw_has_the_same_bits(void **state) {
    (void)state;
    on_each(check_adamw);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_agrees),
        cmocka_unit_test(groups_agree),
        cmocka_unit_test(training_forward_is_the_forward),
        cmocka_unit_test(activations_agree),
        cmocka_unit_test(layernorm_agrees),
        cmocka_unit_test(attention_agrees),
        cmocka_unit_test(attention_pool_agrees),
        cmocka_unit_test(mixture_agrees),
        cmocka_unit_test(answer_agrees),
        cmocka_unit_test(adamw_has_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
