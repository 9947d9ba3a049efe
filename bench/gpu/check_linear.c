/* check_linear.c - products: all of a result by signed sums, some rows element by element, and some rows
 * alone for their bits. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/gpu/check.h"
#include "bench/gpu/split.h"
#include "bench/gpu/truth.h"
#include "kernels/number.h"

enum { SAMPLED = 24 };

/* One matrix or several, and rows to meet them. */
struct product {
    struct check *c;
    const char *name;
    struct kernels_matrix *m;
    uint16_t *weight, *bias;
    uint32_t groups, out, in, rows;
    uint32_t *offset;       /* host [groups + 1] */
    uint32_t *offset_there; /* the device's; NULL: one group, by linear() */
    float *x;
    void *x_there;
};

static void run(struct kernels *k, const struct product *p, const void *x, const uint32_t *offset,
                size_t rows, enum kernels_epilogue epilogue, void *y) {
    if (offset)
        k->ops->grouped_linear(k, p->m, offset, x, rows, epilogue, y);
    else
        k->ops->linear(k, p->m, x, rows, epilogue, y);
}

static bool is_f32(const struct kernels *k, enum kernels_epilogue epilogue) {
    return k->dtype == LIMOE_FLOAT32 || epilogue == KERNELS_STORE_F32 || epilogue == KERNELS_ADD_F32;
}

static uint32_t group_of(const struct product *p, uint32_t row) {
    uint32_t g = 0;
    while (row >= p->offset[g + 1])
        g++;
    return g;
}

/* Signed sums of rows, and what they must be: each group's matrix is folded to one row, then each row to a number. */
struct fold {
    const struct product *p;
    const float *y, *sign;
    double *folded; /* [groups][in + 1] */
    double *off;    /* [rows]: by how much, in units of what the row's elements come to */
};

static void fold_group(void *context, size_t g) {
    const struct fold *f = context;
    const struct product *p = f->p;
    if (p->offset[g] < p->offset[g + 1])
        truth_fold(p->weight + g * p->out * p->in, p->bias + g * p->out, p->out, p->in, f->sign,
                   f->folded + g * (p->in + 1));
}

static void fold_row(void *context, size_t r) {
    const struct fold *f = context;
    const struct product *p = f->p;
    const double *folded = f->folded + (size_t)group_of(p, (uint32_t)r) * (p->in + 1);
    double want = folded[p->in], sum = 0, squares = 0;
    for (uint32_t i = 0; i < p->in; i++)
        want += folded[i] * p->x[r * p->in + i];
    for (uint32_t i = 0; i < p->out; i++) {
        const double value = f->y[r * p->out + i];
        sum += f->sign[i] * value;
        squares += value * value;
    }
    f->off[r] = fabs(sum - want) / sqrt(squares / p->out);
}

/* The signed sum of each row, which every element takes part in: by how much is the worst of them off? */
static double worst_fold(const struct product *p, const float *y, struct random *random) {
    float *sign = array_alloc(p->out * sizeof *sign);
    struct fold f = {p, y, sign, array_alloc((size_t)p->groups * (p->in + 1) * sizeof *f.folded),
                     array_alloc(p->rows * sizeof *f.off)};
    double worst = 0;
    for (uint32_t i = 0; i < p->out; i++)
        sign[i] = random_below(random, 2) ? 1 : -1;
    split(p->groups, fold_group, &f);
    split(p->rows, fold_row, &f);
    for (uint32_t r = 0; r < p->rows; r++)
        worst = f.off[r] <= worst ? worst : f.off[r]; /* a NaN stays */
    free(f.off);
    free(f.folded);
    free(sign);
    return worst;
}

static void check_whole(const struct product *p) {
    struct kernels *k = p->c->k;
    char name[80];
    void *y = device_poisoned(k, (size_t)p->rows * p->out * sizeof(float));
    run(k, p, p->x_there, p->offset_there, p->rows, KERNELS_STORE_F32, y);
    float *got = host_floats(k, y, (size_t)p->rows * p->out);
    const double worst = worst_fold(p, got, &p->c->random);
    snprintf(name, sizeof name, "%s, all", p->name);
    report_check(p->c->report, worst < 0.05, name, "%u rows, every element: worst row off by %.2g", p->rows,
                 worst);
    free(got);
    k->ops->release(k, y);
}

/* Row i of SAMPLED: the ends of all rows, ends of groups, and any. */
static uint32_t sample_row(const struct product *p, int i) {
    const uint32_t any = random_below(&p->c->random, p->rows);
    const uint32_t g = group_of(p, any);
    return i == 0       ? 0
           : i == 1     ? p->rows - 1
           : i % 3 == 0 ? p->offset[g]
           : i % 3 == 1 ? p->offset[g + 1] - 1
                        : any;
}

struct sample {
    const struct product *p;
    enum kernels_epilogue epilogue;
    const float *before; /* what is added to; NULL: nothing */
    uint32_t row[SAMPLED];
    double *want; /* [SAMPLED][out] */
};

static void sample_truth(void *context, size_t i) {
    const struct sample *s = context;
    const struct product *p = s->p;
    const size_t row = s->row[i], g = group_of(p, s->row[i]);
    double *want = s->want + i * p->out;
    truth_linear_row(p->x + row * p->in, p->weight + g * p->out * p->in, p->bias + g * p->out, p->out, p->in,
                     s->epilogue, want);
    for (uint32_t f = 0; s->before && f < p->out; f++)
        want[f] += s->before[row * p->out + f];
}

/* How far some rows are from the truth, element by element. */
static double sampled_distance(const struct product *p, enum kernels_epilogue epilogue, const float *before,
                               const float *got) {
    struct sample s = {.p = p, .epilogue = epilogue, .before = before};
    struct distance d = {0};
    s.want = array_alloc((size_t)SAMPLED * p->out * sizeof *s.want);
    for (int i = 0; i < SAMPLED; i++)
        s.row[i] = sample_row(p, i);
    split(SAMPLED, sample_truth, &s);
    for (size_t i = 0; i < SAMPLED; i++)
        distance_add(&d, got + (size_t)s.row[i] * p->out, s.want + i * p->out, p->out);
    free(s.want);
    return distance_relative(&d);
}

static void check_epilogue(const struct product *p, enum kernels_epilogue epilogue, const char *what) {
    struct kernels *k = p->c->k;
    const size_t n = (size_t)p->rows * p->out;
    const bool f32 = is_f32(k, epilogue);
    const double limit = f32 ? CHECK_F32_LIMIT : check_act_limit(p->c);
    float *before = epilogue == KERNELS_ADD_F32 ? random_floats(&p->c->random, n, 1, false) : NULL;
    char name[80];
    void *y = before ? device_copy(k, before, n * sizeof *before) : device_poisoned(k, n * sizeof(float));
    run(k, p, p->x_there, p->offset_there, p->rows, epilogue, y);
    float *got = f32 ? host_floats(k, y, n) : host_act(k, y, n);
    const size_t unwritten = check_not_numbers(got, n);
    const double distance = sampled_distance(p, epilogue, before, got);
    snprintf(name, sizeof name, "%s, %s", p->name, what);
    report_check(p->c->report, !unwritten && distance <= limit, name,
                 "%u to %u, error %.2e (limit %.0e), %zu not numbers", p->in, p->out, distance, limit,
                 unwritten);
    free(got);
    k->ops->release(k, y);
    free(before);
}

/* One row of each group that has any, by themselves: other tiles, the same bits. */
static void check_bits(const struct product *p) {
    struct kernels *k = p->c->k;
    const size_t n = (size_t)p->rows * p->out;
    uint32_t *offset = array_alloc((p->groups + 1) * sizeof *offset),
             *row = array_alloc(p->groups * sizeof *row);
    float *x = array_alloc((size_t)p->groups * p->in * sizeof *x);
    uint32_t few = 0, differ = 0;
    char name[80];
    for (uint32_t g = 0; g < p->groups; g++) {
        const uint32_t count = p->offset[g + 1] - p->offset[g];
        offset[g] = few;
        if (!count)
            continue;
        row[few] = p->offset[g] + random_below(&p->c->random, count);
        memcpy(x + (size_t)few * p->in, p->x + (size_t)row[few] * p->in, p->in * sizeof *x);
        few++;
    }
    offset[p->groups] = few;
    void *few_x = device_act(k, x, (size_t)few * p->in), *all = device_poisoned(k, n * sizeof(float));
    void *alone = device_poisoned(k, (size_t)few * p->out * sizeof(float));
    uint32_t *there = device_copy(k, offset, (p->groups + 1) * sizeof *offset);
    run(k, p, p->x_there, p->offset_there, p->rows, KERNELS_STORE_F32, all);
    run(k, p, few_x, p->offset_there ? there : NULL, few, KERNELS_STORE_F32, alone);
    float *of_all = host_floats(k, all, n), *of_few = host_floats(k, alone, (size_t)few * p->out);
    for (uint32_t i = 0; i < few; i++)
        differ += memcmp(of_all + (size_t)row[i] * p->out, of_few + (size_t)i * p->out,
                         p->out * sizeof *of_few) != 0;
    snprintf(name, sizeof name, "%s, bits", p->name);
    report_check(p->c->report, few && !differ, name, "%u rows alone and among %u: %u differ", few, p->rows,
                 differ);
    free(of_few);
    free(of_all);
    k->ops->release(k, there);
    k->ops->release(k, alone);
    k->ops->release(k, all);
    k->ops->release(k, few_x);
    free(x);
    free(row);
    free(offset);
}

/* The matrix is there; rows come as `how` says. */
static void with_rows(struct product *p, enum spread how, uint32_t rows) {
    struct kernels *k = p->c->k;
    p->rows = rows;
    p->offset = array_alloc((p->groups + 1) * sizeof *p->offset);
    spread_rows(&p->c->random, how, rows, p->groups, p->offset);
    p->offset_there = p->groups > 1 ? device_copy(k, p->offset, (p->groups + 1) * sizeof *p->offset) : NULL;
    p->x = random_floats(&p->c->random, (size_t)rows * p->in, 1, true);
    p->x_there = device_act(k, p->x, (size_t)rows * p->in);
}

static void without_rows(struct product *p) {
    p->c->k->ops->release(p->c->k, p->x_there);
    p->c->k->ops->release(p->c->k, p->offset_there);
    free(p->x);
    free(p->offset);
}

static struct product product_of(struct check *c, const char *name, uint32_t groups, uint32_t out,
                                 uint32_t in) {
    struct product p = {.c = c, .name = name, .groups = groups, .out = out, .in = in};
    p.m = random_matrix(c->k, &c->random, groups, out, in, &p.weight, &p.bias);
    return p;
}

static void product_free(struct product *p) {
    p->c->k->ops->matrix_free(p->c->k, p->m);
    free(p->weight);
    free(p->bias);
}

void check_linear(struct check *c, const struct size *s) {
    const struct {
        const char *what;
        uint32_t out, in;
        enum kernels_epilogue epilogue;
        const char *epilogue_name;
    } shapes[] = {{"qkv", 3 * s->width, s->width, KERNELS_STORE, "store"},
                  {"attention out", s->width, s->width, KERNELS_ADD_F32, "add"},
                  {"fc1", s->mlp, s->width, KERNELS_GELU_TANH, "gelu tanh"},
                  {"fc1", s->mlp, s->width, KERNELS_GELU_ERF, "gelu erf"},
                  {"fc1", s->mlp, s->width, KERNELS_QUICK_GELU, "quick gelu"},
                  {"fc2", s->width, s->mlp, KERNELS_ADD_F32, "add"},
                  {"patches", s->width, 3 * s->patch * s->patch, KERNELS_ADD_F32, "add"}};
    char name[80];
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        snprintf(name, sizeof name, "%s %s", s->name, shapes[i].what);
        struct product p = product_of(c, name, 1, shapes[i].out, shapes[i].in);
        with_rows(&p, SPREAD_EVEN, c->setting->tiny ? 150 : 1000 + random_below(&c->random, 1000));
        check_epilogue(&p, shapes[i].epilogue, shapes[i].epilogue_name);
        check_whole(&p);
        check_bits(&p);
        without_rows(&p);
        product_free(&p);
    }
}

void check_grouped(struct check *c, const struct size *s, uint32_t experts) {
    static const struct {
        const char *name;
        enum spread how;
        uint32_t rows, tiny;
    } spreads[] = {{"uneven", SPREAD_UNEVEN, 5000, 300},
                   {"few", SPREAD_UNEVEN, 40, 12},
                   {"all to one", SPREAD_ONE, 700, 140}};
    char name[80];
    for (int second = 0; second < 2; second++) {
        struct product p = second ? product_of(c, name, experts, s->width, s->mlp)
                                  : product_of(c, name, experts, s->mlp, s->width);
        for (size_t i = 0; i < sizeof spreads / sizeof *spreads; i++) {
            snprintf(name, sizeof name, "%s %u experts fc%d, %s", s->name, experts, second + 1,
                     spreads[i].name);
            with_rows(&p, spreads[i].how, c->setting->tiny ? spreads[i].tiny : spreads[i].rows);
            check_epilogue(&p, second ? KERNELS_STORE : KERNELS_GELU_TANH, second ? "store" : "gelu tanh");
            check_whole(&p);
            check_bits(&p);
            without_rows(&p);
        }
        product_free(&p);
    }
}
