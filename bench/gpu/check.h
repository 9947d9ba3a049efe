/* check.h - the checks of one instance against the truth, a file for each kind of operation. */
#ifndef LIMOE_BENCH_GPU_CHECK_H
#define LIMOE_BENCH_GPU_CHECK_H

#include "bench/gpu/arrays.h"
#include "bench/gpu/report.h"
#include "bench/gpu/setting.h"
#include "bench/gpu/truth.h"
#include "kernels/kernels.h"

/* A model's shape: heads of 64, 64, 80 and 72 are what B/16, L/16, H/14 and SO400M/14 have. */
struct size {
    const char *name;
    uint32_t width, heads, mlp, image, patch;
};

struct check {
    struct kernels *k;
    const struct setting *setting;
    struct report *report;
    struct random random;
};

/* How far from the truth a result may be, as ||out - want|| / ||want||. bfloat16 stores 8 bits, so that
 * rounding alone makes 2^-9 at most and about 0.0017 on average of random mantissas; float32 products
 * accumulate thousands of terms, on a matrix unit with truncation. */
double check_act_limit(const struct check *c);
#define CHECK_F32_LIMIT 1e-4

/* Reports a finding: passed where the distance is within the limit and no element of n was left unwritten. */
size_t check_not_numbers(const float *v, size_t n);
void check_judge(struct check *c, const struct size *s, const char *what, const struct distance *d,
                 double limit, size_t unwritten);

void check_linear(struct check *c, const struct size *s);
void check_grouped(struct check *c, const struct size *s, uint32_t experts);
void check_sequences(struct check *c, const struct size *s);
void check_rows(struct check *c, const struct size *s);
void check_embed(struct check *c, const struct size *s);
void check_moe(struct check *c, const struct size *s, uint32_t experts, uint32_t top_k);

#endif
