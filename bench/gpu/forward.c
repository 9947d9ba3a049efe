/* forward.c - whole models: a device beside float32 on the CPU, and its answers' bits in any company.
 *
 *     forward --model DIR [--device cuda|cuda:N|cpu] [--seed N] [--quick] [--tiny] [--report FILE]
 *
 * In float32 and in bfloat16: each item's embedding beside the CPU's, by the cosine. Two experts nearly tied
 * for a token are told apart by rounding, so items in which a token went to another expert are counted apart:
 * what they come to is reported, and judged less strictly. Then, in bfloat16: each item alone, in random
 * batches of mixed modality, in shapes that come a second, third and fourth time (recorded as graphs on a
 * GPU), in a batch of more than one step, and after opening the model again: the same bits. Exit status as
 * check's.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/gpu/arrays.h"
#include "bench/gpu/report.h"
#include "bench/gpu/setting.h"
#include "bench/timing.h"
#include "kernels/kernels.h"
#include "limoe.h"

/* The least cosine of an item: routed as on the CPU, and not. */
#define LIMIT_F32      0.99999
#define LIMIT_BF16     0.999
#define LIMIT_REROUTED 0.98

struct subject {
    const struct setting *setting;
    struct report *report;
    const char *name; /* the model's */
    struct random random;
    struct limoe_info info;
    struct limoe_item *items; /* [n] */
    size_t n, rows;           /* rows: of all items */
    float *want;              /* [n, embed]: in float32 on the CPU */
    int32_t *want_expert;     /* [moe_layers, rows, top_k] */
};

static struct limoe_model *open_on(const struct subject *s, const char *device, enum limoe_dtype dtype) {
    const struct limoe_options options = {.device = device, .dtype = dtype};
    struct limoe_model *m;
    struct limoe_error err;
    if (limoe_model_open(s->setting->model, &options, &m, &err)) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    return m;
}

static void embed(struct limoe_model *m, const struct limoe_item *items, size_t n, float *z,
                  const struct limoe_routing *routing) {
    struct limoe_error err;
    if (limoe_model_embed(m, items, n, z, routing, &err)) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
}

/* ---- items: pictures of random rectangles over noise, texts of random tokens, in random order */

static uint8_t *draw(struct random *r, uint32_t size) {
    uint8_t *p = array_alloc((size_t)size * size * 3);
    for (size_t i = 0; i < (size_t)size * size * 3; i++)
        p[i] = (uint8_t)(random_next(r) >> 32);
    for (int i = 0; i < 4; i++) {
        const uint32_t x = random_below(r, size), y = random_below(r, size);
        const uint32_t right = x + 1 + random_below(r, size - x), bottom = y + 1 + random_below(r, size - y);
        const uint64_t colour = random_next(r);
        for (uint32_t row = y; row < bottom && row < size; row++)
            for (uint32_t c = x; c < right && c < size; c++)
                for (uint32_t channel = 0; channel < 3; channel++)
                    p[((size_t)row * size + c) * 3 + channel] = (uint8_t)(colour >> channel * 8);
    }
    return p;
}

static int32_t *write_tokens(struct random *r, const struct limoe_info *info, uint32_t length) {
    int32_t *t = array_alloc(length * sizeof *t);
    for (uint32_t i = 0; i < length; i++)
        t[i] = (int32_t)(3 + random_below(r, info->vocab - 3));
    return t;
}

static void make_items(struct subject *s, size_t n) {
    s->n = n;
    s->items = array_alloc(n * sizeof *s->items);
    s->rows = 0;
    for (size_t i = 0; i < n; i++) {
        struct limoe_item *item = &s->items[i];
        if (random_below(&s->random, 2)) {
            *item = (struct limoe_item){.modality = LIMOE_IMAGE,
                                        .length = s->info.image_tokens,
                                        .pixels = draw(&s->random, s->info.image_size)};
        } else {
            const uint32_t length = 1 + random_below(&s->random, s->info.text_length);
            *item = (struct limoe_item){.modality = LIMOE_TEXT,
                                        .length = length,
                                        .tokens = write_tokens(&s->random, &s->info, length)};
        }
        s->rows += item->length;
    }
}

static void free_items(struct subject *s) {
    for (size_t i = 0; i < s->n; i++) {
        free((void *)s->items[i].pixels);
        free((void *)s->items[i].tokens);
    }
    free(s->items);
}

/* ---- beside the CPU */

static size_t choices(const struct subject *s) {
    return (size_t)s->info.moe_layers * s->rows * s->info.top_k;
}

static double cosine(const float *a, const float *b, size_t n) {
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; i++) {
        ab += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    return ab / sqrt(aa * bb);
}

/* Tokens of rows first … first + length - 1 that went to other experts, over all layers. */
static size_t rerouted(const struct subject *s, const int32_t *expert, size_t first, size_t length) {
    size_t count = 0;
    for (uint32_t layer = 0; layer < s->info.moe_layers; layer++)
        for (size_t row = first; row < first + length; row++) {
            const size_t at = (layer * s->rows + row) * s->info.top_k;
            count += memcmp(expert + at, s->want_expert + at, s->info.top_k * sizeof *expert) != 0;
        }
    return count;
}

static void compare(struct subject *s, struct limoe_model *m, double limit) {
    const size_t embed_size = s->info.embed;
    float *z = array_alloc(s->n * embed_size * sizeof *z);
    int32_t *expert = array_alloc(choices(s) * sizeof *expert);
    const struct limoe_routing routing = {.expert = expert};
    double least = 1, least_rerouted = 1;
    size_t others = 0, tokens = 0, first = 0;
    char name[96];
    embed(m, s->items, s->n, z, &routing);
    for (size_t i = 0; i < s->n; first += s->items[i++].length) {
        const double c = cosine(z + i * embed_size, s->want + i * embed_size, embed_size);
        const size_t moved = rerouted(s, expert, first, s->items[i].length);
        double *of = moved ? &least_rerouted : &least;
        others += moved != 0;
        tokens += moved;
        *of = c >= *of ? *of : c; /* a NaN stays, too */
    }
    const char *dtype = limoe_dtype_name(limoe_model_dtype(m));
    snprintf(name, sizeof name, "%s %s beside the CPU", s->name, dtype);
    if (others < s->n)
        report_check(s->report, least >= limit, name, "%zu items routed alike: least cosine %.6f (limit %g)",
                     s->n - others, least, limit);
    else
        report_absent(s->report, name, "no item was routed alike in all tokens and layers");
    snprintf(name, sizeof name, "%s %s, routed otherwise", s->name, dtype);
    if (others)
        report_check(s->report, least_rerouted >= LIMIT_REROUTED, name,
                     "%zu of %zu items, in %zu of %zu choices: least cosine %.6f (limit %g)", others, s->n,
                     tokens, choices(s) / (s->info.top_k ? s->info.top_k : 1), least_rerouted,
                     LIMIT_REROUTED);
    free(expert);
    free(z);
}

/* ---- bits */

/* Embeds a choice of items; false: one has other bits than alone. */
static bool same_bits(struct subject *s, struct limoe_model *m, const float *alone, const size_t *which,
                      size_t n) {
    const size_t embed_size = s->info.embed;
    struct limoe_item *chosen = array_alloc(n * sizeof *chosen);
    float *z = array_alloc(n * embed_size * sizeof *z);
    bool same = true;
    for (size_t i = 0; i < n; i++)
        chosen[i] = s->items[which[i]];
    embed(m, chosen, n, z, NULL);
    for (size_t i = 0; i < n; i++)
        same = same && memcmp(z + i * embed_size, alone + which[i] * embed_size, embed_size * sizeof *z) == 0;
    free(z);
    free(chosen);
    return same;
}

static void choose(struct subject *s, size_t *which, size_t n) {
    for (size_t i = 0; i < n; i++)
        which[i] = random_below(&s->random, (uint32_t)s->n);
}

static void check_batches(struct subject *s, struct limoe_model *m, const float *alone, size_t batches) {
    size_t which[48], differ = 0, least = 48, most = 0;
    char name[96];
    for (size_t b = 0; b < batches; b++) {
        const size_t n = 1 + random_below(&s->random, s->setting->tiny ? 6 : 48);
        choose(s, which, n);
        differ += !same_bits(s, m, alone, which, n);
        least = n < least ? n : least;
        most = n > most ? n : most;
    }
    snprintf(name, sizeof name, "%s bits, random batches", s->name);
    report_check(s->report, !differ, name, "%zu batches of %zu to %zu items: %zu differ from alone", batches,
                 least, most, differ);
}

/* A shape is computed the first time, recorded the second and replayed from the third on; other items of the
 * same shape take its record, too. */
static void check_again(struct subject *s, struct limoe_model *m, const float *alone, size_t shapes) {
    size_t which[24], differ[4] = {0};
    char name[96];
    for (size_t i = 0; i < shapes; i++) {
        const size_t n = 1 + random_below(&s->random, s->setting->tiny ? 3 : 24);
        choose(s, which, n);
        for (size_t time = 0; time < 4; time++) {
            for (size_t j = 0; time == 3 && j < n; j++) /* the same shape, rows in another order */
                for (size_t other = 0; other < s->n; other++)
                    if (s->items[other].modality == s->items[which[j]].modality &&
                        s->items[other].length == s->items[which[j]].length) {
                        which[j] = other;
                        break;
                    }
            differ[time] += !same_bits(s, m, alone, which, n);
        }
    }
    snprintf(name, sizeof name, "%s bits, shapes that come again", s->name);
    report_check(s->report, !(differ[0] + differ[1] + differ[2] + differ[3]), name,
                 "%zu shapes: %zu differ the first time, %zu, %zu, %zu after", shapes, differ[0], differ[1],
                 differ[2], differ[3]);
}

/* More than one step takes. */
static void check_large(struct subject *s, struct limoe_model *m, const float *alone) {
    const size_t n = 36000 / s->info.image_tokens + 40;
    size_t *which = array_alloc(n * sizeof *which);
    char name[96];
    choose(s, which, n);
    snprintf(name, sizeof name, "%s bits, a large batch", s->name);
    report_check(s->report, same_bits(s, m, alone, which, n), name, "%zu items", n);
    free(which);
}

static void check_bits(struct subject *s, struct limoe_model *m) {
    const size_t embed_size = s->info.embed;
    const bool few = s->setting->tiny || s->setting->quick;
    float *alone = array_alloc(s->n * embed_size * sizeof *alone);
    char name[96];
    for (size_t i = 0; i < s->n; i++)
        embed(m, &s->items[i], 1, alone + i * embed_size, NULL);
    check_batches(s, m, alone, s->setting->tiny ? 8 : few ? 30 : 100);
    check_again(s, m, alone, s->setting->tiny ? 3 : 12);
    if (!few)
        check_large(s, m, alone);
    size_t *all = array_alloc(s->n * sizeof *all);
    for (size_t i = 0; i < s->n; i++)
        all[i] = i;
    struct limoe_model *again = open_on(s, s->setting->device, LIMOE_BFLOAT16);
    snprintf(name, sizeof name, "%s bits, opened again", s->name);
    report_check(s->report, same_bits(s, again, alone, all, s->n), name, "%zu items", s->n);
    limoe_model_close(again);
    free(all);
    free(alone);
}

/* ---- the whole */

static void run(struct subject *s) {
    struct limoe_model *cpu = open_on(s, "cpu", LIMOE_FLOAT32);
    s->info = *limoe_model_info(cpu);
    make_items(s, s->setting->tiny ? 6 : s->setting->quick ? 24 : 64);
    s->want = array_alloc(s->n * s->info.embed * sizeof *s->want);
    s->want_expert = array_alloc(choices(s) * sizeof *s->want_expert);
    const struct limoe_routing routing = {.expert = s->want_expert};
    embed(cpu, s->items, s->n, s->want, &routing);
    limoe_model_close(cpu);

    struct limoe_model *m = open_on(s, s->setting->device, LIMOE_FLOAT32);
    compare(s, m, LIMIT_F32);
    limoe_model_close(m);
    const double start = now();
    m = open_on(s, s->setting->device, LIMOE_BFLOAT16);
    printf("         %s: %s, ready after %.2f s, seed %llu\n", s->name, limoe_model_backend(m), now() - start,
           (unsigned long long)s->setting->seed);
    compare(s, m, LIMIT_BF16);
    check_bits(s, m);
    limoe_model_close(m);
    free(s->want_expert);
    free(s->want);
    free_items(s);
}

int main(int argc, char **argv) {
    struct setting setting;
    struct report report;
    int status = setting_read(argc, argv, &setting);
    if (status)
        return status;
    if (!setting.model) {
        fprintf(stderr, "--model is needed\n");
        return 2;
    }
    struct kernels *k = setting_open(&setting, LIMOE_BFLOAT16, &status);
    if (!k)
        return status;
    k->ops->destroy(k);
    if (!report_open(&report, "forward", setting.report))
        return 1;
    const char *slash = strrchr(setting.model, '/');
    struct subject s = {.setting = &setting,
                        .report = &report,
                        .name = slash ? slash + 1 : setting.model,
                        .random = random_seeded(setting.seed)};
    run(&s);
    return report_close(&report);
}
