/* tail.c - how fast a tail trains on this machine.
 *
 *     build/bench/tail MODEL FIRST_BLOCK [IMAGES TEXTS TOKENS]     (default: 32 pictures, 10 texts of 4 tokens)
 *
 * Of one batch, medians of each part in milliseconds: forward, backward, the optimizer, weights put anew. Rows are noise,
 * which costs what others cost. LIMOE_THREADS and LIMOE_ISA as for the program; run it on an idle machine. */
#include <stdio.h>
#include <string.h>

#include "bench/timing.h"
#include "model/checkpoint/checkpoint.h"
#include "model/tuning/tail.h"

struct bench {
    struct kernels *k;
    struct tail *tail;
    struct tail_batch batch;
    float *z, *dz;
};

static void must(enum limoe_status status, const struct limoe_error *err) {
    if (!status)
        return;
    fprintf(stderr, "%s\n", err->message);
    exit(1);
}

static void forward(void *context) {
    struct bench *b = context;
    struct limoe_error err;
    must(tail_forward(b->tail, &b->batch, b->z, &err), &err);
}

static void backward(void *context) {
    struct bench *b = context;
    struct limoe_error err;
    must(tail_backward(b->tail, b->dz, &err), &err);
}

static void optimize(void *context) {
    struct bench *b = context;
    const struct adamw how = {1e-9, 0.9, 0.999, 1e-8, 0, 1};
    parameters_step(b->k, &how, tail_parameters(b->tail));
}

static void put_anew(void *context) {
    struct bench *b = context;
    tail_repack(b->tail);
}

/* start[images + texts + 1] */
static void lay_out(struct bench *b, const struct config *c, uint32_t tokens, uint32_t *start) {
    start[0] = 0;
    for (size_t i = 0; i < b->batch.images + b->batch.texts; i++)
        start[i + 1] = start[i] + (i < b->batch.images ? config_image_tokens(c) : tokens);
    b->batch.start = start;
}

int main(int argc, char **argv) {
    const char *threads = getenv("LIMOE_THREADS");
    struct config config;
    struct safetensors *st;
    struct limoe_error err;
    if (argc < 3) {
        fprintf(stderr, "usage: tail MODEL FIRST_BLOCK [IMAGES TEXTS TOKENS]\n");
        return 2;
    }
    struct bench b = {.batch = {.images = argc > 3 ? (size_t)atoi(argv[3]) : 32,
                                .texts = argc > 4 ? (size_t)atoi(argv[4]) : 10}};
    const size_t sequences = b.batch.images + b.batch.texts;
    const struct tail_shape shape = {LIMOE_IMAGE, (uint32_t)atoi(argv[2]), false};
    must(kernels_cpu_create(LIMOE_FLOAT32, threads ? (uint32_t)atoi(threads) : 0, &b.k, &err), &err);
    must(config_load(argv[1], &config, NULL, &err), &err);
    must(checkpoint_open(argv[1], &config, &st, &err), &err);
    must(tail_create(&config, st, b.k, &shape, &b.tail, &err), &err);
    safetensors_close(st);
    uint32_t *start = malloc((sequences + 1) * sizeof *start);
    if (!start)
        return 1;
    lay_out(&b, &config, argc > 5 ? (uint32_t)atoi(argv[5]) : 4, start);
    b.batch.rows = noise((size_t)start[sequences] * config.tower[LIMOE_IMAGE].width);
    b.z = noise(sequences * config.embed);
    b.dz = noise(sequences * config.embed);
    printf("%s, %u threads: %zu parameters, %zu pictures and %zu texts, %u tokens\n", b.k->name, b.k->threads,
           tail_parameters(b.tail)->elements, b.batch.images, b.batch.texts, start[sequences]);
    static const struct {
        const char *name;
        void (*run)(void *);
    } parts[] = {
        {"forward", forward}, {"backward", backward}, {"optimizer", optimize}, {"weights", put_anew}};
    double sum = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const double seconds = median_seconds(parts[i].run, &b, 0.5);
        sum += seconds;
        printf("  %-10s %8.2f ms\n", parts[i].name, seconds * 1e3);
    }
    printf("  %-10s %8.2f ms\n", "a step", sum * 1e3);
    tail_destroy(b.tail);
    b.k->ops->destroy(b.k);
    free((void *)b.batch.rows);
    free(b.z);
    free(b.dz);
    free(start);
    return 0;
}
