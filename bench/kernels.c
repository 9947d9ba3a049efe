/* kernels.c - how fast the cpu kernels are on this machine.
 *
 *     build/bench/kernels [linear|attention|rows|step|backward]...     (default: all)
 *
 * LIMOE_ISA chooses the instruction set, as for the program itself; LIMOE_THREADS and LIMOE_DTYPE
 * ("float32", "bfloat16", "int8") the rest. Medians; run it on an idle machine.
 */
#include <stdio.h>
#include <string.h>

#include "bench/timing.h"
#include "kernels/backward.h"
#include "kernels/kernels.h"
#include "kernels/number.h"

static void *act_noise(struct kernels *k, size_t n) {
    float *v = noise(n);
    void *p = k->ops->alloc(k, n * k->act_size);
    if (!p)
        exit(1);
    for (size_t i = 0; i < n; i++)
        if (k->dtype == LIMOE_BFLOAT16)
            ((uint16_t *)p)[i] = bf16_from_float(v[i]);
        else
            ((float *)p)[i] = v[i];
    free(v);
    return p;
}

static struct kernels_matrix *pack_noise(struct kernels *k, uint32_t groups, uint32_t out, uint32_t in) {
    float *w = noise((size_t)groups * out * in), *b = noise((size_t)groups * out);
    for (size_t i = 0; i < (size_t)groups * out * in; i++)
        w[i] /= 16;
    struct kernels_matrix *m;
    struct limoe_error err;
    if (k->ops->pack(k, (struct kernels_tensor){w, KERNELS_F32}, (struct kernels_tensor){b, KERNELS_F32},
                     groups, out, in, &m, &err)) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    free(w);
    free(b);
    return m;
}

/* ---- linear */

struct linear {
    struct kernels *k;
    struct kernels_matrix *m;
    void *x, *y;
    size_t rows;
    enum kernels_epilogue kind;
};

static void run_linear(void *context) {
    struct linear *l = context;
    l->k->ops->linear(l->k, l->m, l->x, l->rows, l->kind, l->y);
}

static void bench_linear(struct kernels *k) {
    static const uint32_t shapes[][2] = {{192, 192}, {192, 576}, {192, 768},
                                         {768, 192}, {768, 768}, {768, 2304}};
    static const size_t rows[] = {1, 16, 64, 256, 1024, 4096};
    printf("\nlinear, GFLOP/s by rows      ");
    for (size_t r = 0; r < 6; r++)
        printf("%9zu", rows[r]);
    for (size_t s = 0; s < 6; s++)
        for (int gelu = 0; gelu < 2; gelu++) {
            uint32_t in = shapes[s][0], out = shapes[s][1];
            if (gelu && out != 768)
                continue;
            printf("\n  %4u -> %-4u %-13s ", in, out, gelu ? "gelu tanh" : "store");
            struct linear l = {k,
                               pack_noise(k, 1, out, in),
                               act_noise(k, 4096 * (size_t)in),
                               act_noise(k, 4096 * (size_t)out),
                               0,
                               gelu ? KERNELS_GELU_TANH : KERNELS_STORE};
            for (size_t r = 0; r < 6; r++) {
                l.rows = rows[r];
                double t = median_seconds(run_linear, &l, 0.05);
                printf("%9.1f", 2e-9 * (double)l.rows * in * out / t);
                fflush(stdout);
            }
            k->ops->matrix_free(k, l.m);
            k->ops->release(k, l.x);
            k->ops->release(k, l.y);
        }
    printf("\n");
}

/* ---- attention */

struct attention {
    struct kernels *k;
    void *qkv, *out;
    uint32_t width, heads;
    enum kernels_mask mask;
};

static void run_attention(void *context) {
    struct attention *a = context;
    a->k->ops->attention(a->k, a->qkv, a->width, a->heads, a->mask, NULL, a->out);
}

static void bench_attention(struct kernels *k) {
    static const struct {
        uint32_t n, length, width, heads;
        enum kernels_mask mask;
    } cases[] = {{1, 64, 192, 6, KERNELS_BIDIRECTIONAL},    {64, 64, 192, 6, KERNELS_BIDIRECTIONAL},
                 {64, 8, 192, 6, KERNELS_BIDIRECTIONAL},    {8, 50, 768, 12, KERNELS_BIDIRECTIONAL},
                 {1, 197, 768, 12, KERNELS_BIDIRECTIONAL},  {8, 257, 1024, 16, KERNELS_BIDIRECTIONAL},
                 {1, 729, 1152, 16, KERNELS_BIDIRECTIONAL}, {8, 77, 512, 8, KERNELS_BIDIRECTIONAL},
                 {8, 77, 512, 8, KERNELS_CAUSAL},           {1, 257, 1024, 16, KERNELS_CAUSAL}};
    printf("\nattention                                           time, us   GFLOP/s of all pairs\n");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t n = cases[i].n, length = cases[i].length, width = cases[i].width;
        size_t rows = (size_t)n * length;
        uint32_t start[65];
        for (uint32_t s = 0; s <= n; s++)
            start[s] = s * length;
        struct attention a = {k,
                              act_noise(k, rows * 3 * width),
                              act_noise(k, rows * width),
                              width,
                              cases[i].heads,
                              cases[i].mask};
        k->ops->sequences(k, start, n);
        double t = median_seconds(run_attention, &a, 0.1);
        printf("  %2u sequences of %3u, width %4u, %2u heads%8s %9.1f %9.1f\n", n, length, width,
               cases[i].heads, a.mask == KERNELS_CAUSAL ? ", causal" : "", t * 1e6,
               4e-9 * (double)rows * length * width / t);
        k->ops->release(k, a.qkv);
        k->ops->release(k, a.out);
    }
}

/* ---- a step: the tower of the bundled model's shape */

enum { WIDTH = 192, MLP = 768, HEADS = 6, BLOCKS = 8, EXPERTS = 8, TOKENS = 64, MOST_IMAGES = 64 };

struct block {
    struct kernels_matrix *qkv, *out, *fc1, *fc2;
    float *router; /* NULL: a dense block */
};

struct tower {
    struct kernels *k;
    struct block block[BLOCKS];
    uint32_t *start;
    size_t images;
    float *x, *norm_f32, *weight, *bias, *logits, *gate;
    int32_t *expert;
    struct kernels_plan plan;
    void *norm, *qkv, *mixed, *sorted, *hidden, *answer;
};

static void run_tower(void *context) {
    struct tower *t = context;
    struct kernels *k = t->k;
    const struct kernels_ops *o = k->ops;
    size_t rows = t->images * TOKENS;
    o->sequences(k, t->start, t->images);
    for (int i = 0; i < BLOCKS; i++) {
        struct block *b = &t->block[i];
        o->layernorm(k, t->x, t->weight, t->bias, 1e-6f, rows, WIDTH, t->norm, NULL);
        o->linear(k, b->qkv, t->norm, rows, KERNELS_STORE, t->qkv);
        o->attention(k, t->qkv, WIDTH, HEADS, KERNELS_BIDIRECTIONAL, NULL, t->mixed);
        o->linear(k, b->out, t->mixed, rows, KERNELS_ADD_F32, t->x);
        o->layernorm(k, t->x, t->weight, t->bias, 1e-6f, rows, WIDTH, t->norm,
                     b->router ? t->norm_f32 : NULL);
        if (!b->router) {
            o->linear(k, b->fc1, t->norm, rows, KERNELS_GELU_TANH, t->hidden);
            o->linear(k, b->fc2, t->hidden, rows, KERNELS_ADD_F32, t->x);
            continue;
        }
        o->router_logits(k, t->norm_f32, b->router, rows, WIDTH, EXPERTS, t->logits);
        o->gate(k, t->logits, rows, EXPERTS, 1, false, t->expert, t->gate);
        o->plan(k, t->expert, rows, EXPERTS, 1, t->plan);
        o->dispatch(k, t->norm, t->plan, EXPERTS, rows, WIDTH, t->sorted);
        o->grouped_linear(k, b->fc1, t->plan.offset, t->sorted, rows, KERNELS_GELU_TANH, t->hidden);
        o->grouped_linear(k, b->fc2, t->plan.offset, t->hidden, rows, KERNELS_STORE, t->answer);
        o->combine(k, t->answer, t->plan, t->expert, t->gate, rows, 1, WIDTH, t->x);
    }
}

static void bench_step(struct kernels *k) {
    const size_t most = (size_t)MOST_IMAGES * TOKENS;
    const struct kernels_ops *o = k->ops;
    float *ones = noise(WIDTH), *x = noise(most * WIDTH), *router = noise((size_t)EXPERTS * WIDTH);
    for (int i = 0; i < WIDTH; i++)
        ones[i] = 1;
    uint32_t start[MOST_IMAGES + 1];
    for (uint32_t i = 0; i <= MOST_IMAGES; i++)
        start[i] = i * TOKENS;
    struct tower t = {.k = k,
                      .start = start,
                      .x = o->alloc(k, most * WIDTH * sizeof(float)),
                      .norm_f32 = o->alloc(k, most * WIDTH * sizeof(float)),
                      .weight = ones,
                      .bias = noise(WIDTH),
                      .logits = o->alloc(k, most * EXPERTS * sizeof(float)),
                      .gate = o->alloc(k, most * sizeof(float)),
                      .expert = o->alloc(k, most * sizeof(int32_t)),
                      .plan = {o->alloc(k, (EXPERTS + 1) * sizeof(uint32_t)),
                               o->alloc(k, most * sizeof(uint32_t)), o->alloc(k, most * sizeof(uint32_t))},
                      .norm = act_noise(k, most * WIDTH),
                      .qkv = act_noise(k, most * 3 * WIDTH),
                      .mixed = act_noise(k, most * WIDTH),
                      .sorted = act_noise(k, most * WIDTH),
                      .hidden = act_noise(k, most * MLP),
                      .answer = act_noise(k, most * WIDTH)};
    for (uint32_t i = 0; i < BLOCKS; i++) {
        uint32_t groups = i % 2 ? EXPERTS : 1;
        t.block[i] = (struct block){pack_noise(k, 1, 3 * WIDTH, WIDTH), pack_noise(k, 1, WIDTH, WIDTH),
                                    pack_noise(k, groups, MLP, WIDTH), pack_noise(k, groups, WIDTH, MLP),
                                    i % 2 ? router : NULL};
    }
    o->upload(k, t.x, x, most * WIDTH * sizeof(float));
    printf("\nstep: %d blocks of width %d, mlp %d, %d experts in every second, %d tokens an image\n", BLOCKS,
           WIDTH, MLP, EXPERTS, TOKENS);
    for (t.images = 1; t.images <= MOST_IMAGES; t.images *= 4) {
        double s = median_seconds(run_tower, &t, 0.4);
        printf("  %2zu images %9.3f ms %9.0f images/s\n", t.images, s * 1e3, (double)t.images / s);
    }
    for (uint32_t i = 0; i < BLOCKS; i++) {
        o->matrix_free(k, t.block[i].qkv);
        o->matrix_free(k, t.block[i].out);
        o->matrix_free(k, t.block[i].fc1);
        o->matrix_free(k, t.block[i].fc2);
    }
    void *const owned[] = {t.x,         t.norm_f32, t.logits, t.gate,  t.expert, t.plan.offset, t.plan.source,
                           t.plan.slot, t.norm,     t.qkv,    t.mixed, t.sorted, t.hidden,      t.answer};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        o->release(k, owned[i]);
    free((void *)t.bias);
    free(ones);
    free(x);
    free(router);
}

/* ---- rows */

struct rows_bench {
    struct kernels *k;
    float *x, *weight;
    void *out;
    size_t rows;
    uint32_t width;
};

static void run_layernorm(void *context) {
    struct rows_bench *b = context;
    b->k->ops->layernorm(b->k, b->x, b->weight, b->weight, 1e-6f, b->rows, b->width, b->out, NULL);
}

static void bench_rows(struct kernels *k) {
    printf("\nlayernorm            time, us    Gelements/s\n");
    static const size_t rows[] = {64, 4096};
    for (int w = 192; w <= 768; w *= 4)
        for (int r = 0; r < 2; r++) {
            struct rows_bench b = {.k = k,
                                   .x = noise(rows[r] * (size_t)w),
                                   .weight = noise((size_t)w),
                                   .out = act_noise(k, rows[r] * (size_t)w),
                                   .rows = rows[r],
                                   .width = (uint32_t)w};
            double t = median_seconds(run_layernorm, &b, 0.05);
            printf("  %4zu rows of %3d %9.1f %9.2f\n", rows[r], w, t * 1e6, (double)rows[r] * w / t * 1e-9);
            free(b.x);
            free(b.weight);
            k->ops->release(k, b.out);
        }
}

/* ---- backward: beside the same linear forward, for shapes of the bundled model and of B/16 */

struct backward_bench {
    struct linear forward;
    struct backward_matrix m;
    float *dx;
    uint32_t width, heads;
};

static void run_backward_linear(void *context) {
    struct backward_bench *b = context;
    struct kernels *k = b->forward.k;
    k->backward->linear(k, &b->m, NULL, b->forward.x, b->forward.y, b->forward.rows, b->dx);
}

static void run_repack(void *context) {
    struct backward_bench *b = context;
    b->forward.k->backward->repack(b->forward.k, b->forward.m, b->m.weight, b->m.dbias);
}

static void bench_backward_linear(struct kernels *k, size_t rows, uint32_t in, uint32_t out) {
    const size_t weights = (size_t)in * out;
    struct backward_bench b = {.forward = {k, pack_noise(k, 1, out, in), act_noise(k, rows * in),
                                           act_noise(k, rows * out), rows, KERNELS_STORE},
                               .m = {1, out, in, noise(weights), noise(weights), noise(out)},
                               .dx = noise(rows * in)};
    const double flops = 2e-9 * (double)rows * in * out;
    double forward = median_seconds(run_linear, &b.forward, 0.4);
    double backward = median_seconds(run_backward_linear, &b, 0.4);
    double repack = median_seconds(run_repack, &b, 0.1);
    printf("  %4zu rows %4u -> %-4u %9.1f %9.1f %9.2f\n", rows, in, out, flops / forward,
           2 * flops / backward, repack * 1e3);
    k->ops->matrix_free(k, b.forward.m);
    k->ops->release(k, b.forward.x);
    k->ops->release(k, b.forward.y);
    free((void *)b.m.weight);
    free(b.m.dweight);
    free(b.m.dbias);
    free(b.dx);
}

static void run_backward_attention(void *context) {
    struct backward_bench *b = context;
    struct kernels *k = b->forward.k;
    k->backward->attention(k, b->forward.x, b->forward.y, b->width, b->heads, KERNELS_BIDIRECTIONAL, NULL,
                           b->dx);
}

static void bench_backward(struct kernels *k) {
    static const uint32_t shapes[][3] = {{800, 192, 576},  {800, 192, 768},  {800, 768, 192}, {788, 768, 768},
                                         {788, 768, 2304}, {788, 768, 3072}, {788, 3072, 768}};
    if (!k->backward)
        return;
    printf("\nbackward linear, GFLOP/s    forward  backward  repack, ms\n");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        bench_backward_linear(k, shapes[i][0], shapes[i][1], shapes[i][2]);
    enum { N = 4, LENGTH = 197 };
    struct backward_bench b = {.forward = {.k = k, .rows = (size_t)N * LENGTH}, .width = 768, .heads = 12};
    struct attention a = {
        k, noise(b.forward.rows * 3 * 768), noise(b.forward.rows * 768), 768, 12, KERNELS_BIDIRECTIONAL};
    b.forward.x = a.qkv;
    b.forward.y = a.out;
    b.dx = noise(b.forward.rows * 3 * 768);
    const uint32_t start[] = {0, LENGTH, 2 * LENGTH, 3 * LENGTH, N * LENGTH};
    k->ops->sequences(k, start, N);
    double forward = median_seconds(run_attention, &a, 0.2);
    double backward = median_seconds(run_backward_attention, &b, 0.2);
    printf("attention of %d x %d, width 768: %.2f ms, backward %.2f ms\n", N, LENGTH, forward * 1e3,
           backward * 1e3);
    free(a.qkv);
    free(a.out);
    free(b.dx);
}

static enum limoe_dtype read_dtype(const char *name) {
    for (int d = LIMOE_FLOAT32; name && d <= LIMOE_INT8; d++)
        if (!strcmp(name, limoe_dtype_name((enum limoe_dtype)d)))
            return (enum limoe_dtype)d;
    return LIMOE_DTYPE_AUTO;
}

int main(int argc, char **argv) {
    const char *threads = getenv("LIMOE_THREADS"), *dtype = getenv("LIMOE_DTYPE");
    struct kernels *k;
    struct limoe_error err;
    if (kernels_cpu_create(read_dtype(dtype), threads ? (uint32_t)atoi(threads) : 0, &k, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    printf("%s, %s, %u threads\n", k->name, limoe_dtype_name(k->dtype), k->threads);
    static const struct {
        const char *name;
        void (*run)(struct kernels *);
    } all[] = {{"linear", bench_linear},
               {"attention", bench_attention},
               {"rows", bench_rows},
               {"step", bench_step},
               {"backward", bench_backward}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        bool wanted = argc == 1;
        for (int a = 1; a < argc; a++)
            wanted |= !strcmp(argv[a], all[i].name);
        if (wanted)
            all[i].run(k);
    }
    k->ops->destroy(k);
    return 0;
}
