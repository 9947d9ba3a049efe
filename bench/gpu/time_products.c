/* time_products.c - B/16's products: 32 experts with many rows and with few, and the dense ones. */
#include <stdio.h>
#include <stdlib.h>

#include "bench/gpu/timer.h"

struct products {
    struct kernels *k;
    struct kernels_matrix *m[MOST_SETS];
    void *x[MOST_SETS], *y[MOST_SETS];
    uint32_t *offset; /* NULL: one matrix for all rows */
    size_t rows, sets;
    enum kernels_epilogue epilogue;
};

static void queue(void *context, size_t turn) {
    const struct products *p = context;
    const size_t i = turn % p->sets;
    if (p->offset)
        p->k->ops->grouped_linear(p->k, p->m[i], p->offset, p->x[i], p->rows, p->epilogue, p->y[i]);
    else
        p->k->ops->linear(p->k, p->m[i], p->x[i], p->rows, p->epilogue, p->y[i]);
}

struct shape {
    const char *name;
    uint32_t experts, out, in; /* experts 0: linear() */
    enum kernels_epilogue epilogue;
};

/* Groups that have any rows: the others' weights need not be read. */
static uint32_t touched(const uint32_t *offset, uint32_t groups) {
    uint32_t n = 0;
    for (uint32_t g = 0; g < groups; g++)
        n += offset[g] < offset[g + 1];
    return n;
}

static void time_product(struct timer *t, const struct shape *s, uint32_t rows, double target) {
    struct kernels *k = t->k;
    const uint32_t groups = s->experts ? s->experts : 1;
    uint32_t *offset = array_alloc((groups + 1) * sizeof *offset);
    spread_rows(&t->random, s->experts ? SPREAD_UNEVEN : SPREAD_EVEN, rows, groups, offset);
    const size_t y_size = s->epilogue == KERNELS_ADD_F32 ? sizeof(float) : k->act_size;
    const double weights = (double)touched(offset, groups) * s->out * s->in * (double)k->act_size;
    const double y_bytes =
        (double)rows * s->out * (double)(y_size * (s->epilogue == KERNELS_ADD_F32 ? 2 : 1)); /* read, too */
    const struct floors floors = {weights + (double)rows * s->in * (double)k->act_size + y_bytes,
                                  2.0 * rows * s->out * s->in, target};
    struct products p = {.k = k, .rows = rows, .sets = timer_sets(t, floors.bytes), .epilogue = s->epilogue};
    char name[80];
    float *x = random_floats(&t->random, (size_t)rows * s->in, 1, true);
    float *y = random_floats(&t->random, (size_t)rows * s->out, 1, true);
    for (size_t i = 0; i < p.sets; i++) {
        uint16_t *weight, *bias;
        p.m[i] = random_matrix(k, &t->random, groups, s->out, s->in, &weight, &bias);
        p.x[i] = device_act(k, x, (size_t)rows * s->in);
        p.y[i] = device_copy(k, y, (size_t)rows * s->out * y_size);
        free(bias);
        free(weight);
    }
    p.offset = s->experts ? device_copy(k, offset, (groups + 1) * sizeof *offset) : NULL;
    snprintf(name, sizeof name, "%s, %u rows", s->name, rows);
    timer_report(t, name, floors, queue, &p);
    for (size_t i = 0; i < p.sets; i++) {
        k->ops->matrix_free(k, p.m[i]);
        k->ops->release(k, p.x[i]);
        k->ops->release(k, p.y[i]);
    }
    k->ops->release(k, p.offset);
    free(y);
    free(x);
    free(offset);
}

void time_products(struct timer *t, uint32_t rows, uint32_t few) {
    const uint32_t width = t->setting->tiny ? 64 : 768, mlp = 4 * width, experts = t->setting->tiny ? 4 : 32;
    const struct shape fc1 = {"experts fc1, gelu", experts, mlp, width, KERNELS_GELU_TANH},
                       fc2 = {"experts fc2", experts, width, mlp, KERNELS_STORE},
                       dense[] = {{"qkv", 0, 3 * width, width, KERNELS_STORE},
                                  {"attention out", 0, width, width, KERNELS_ADD_F32},
                                  {"dense fc1, gelu", 0, mlp, width, KERNELS_GELU_TANH},
                                  {"dense fc2", 0, width, mlp, KERNELS_ADD_F32}};
    time_product(t, &fc1, rows, 0.6);
    time_product(t, &fc2, rows, 0.6);
    time_product(t, &fc1, few, 0.7);
    time_product(t, &fc2, few, 0.7);
    for (size_t i = 0; i < sizeof dense / sizeof *dense; i++) {
        time_product(t, &dense[i], rows, 0);
        time_product(t, &dense[i], few, 0);
    }
}
