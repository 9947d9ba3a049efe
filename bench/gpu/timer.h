/* timer.h - what is timed, and beside which floors. */
#ifndef LIMOE_BENCH_GPU_TIMER_H
#define LIMOE_BENCH_GPU_TIMER_H

#include "bench/gpu/arrays.h"
#include "bench/gpu/report.h"
#include "bench/gpu/setting.h"
#include "kernels/kernels.h"

/* Copies of an operation's arrays, taken in turns, so that the second-level cache of a card (50 MB) does not
 * hold what a model would have to fetch. */
enum { MOST_SETS = 8 };
#define CACHE_BYTES ((size_t)128 << 20)

struct timer {
    struct kernels *k;
    const struct setting *setting;
    struct report *report;
    struct random random;
    double budget; /* seconds for each */
};

/* What an operation must do at the least: bytes that go to and from memory once, and operations of the matrix
 * units (two to a multiplication with its addition; 0: none worth counting). target: the share of the larger
 * floor in the time that is aimed at; 0: none. */
struct floors {
    double bytes, operations, target;
};

/* How many sets of so many bytes. */
size_t timer_sets(const struct timer *t, double bytes);
void timer_report(struct timer *t, const char *name, struct floors floors,
                  void (*queue)(void *context, size_t turn), void *context);

/* B/16's products: with a matrix to each expert, and dense. */
void time_products(struct timer *t, uint32_t rows, uint32_t few);
/* All else of B/16's, in a batch of so many pictures. */
void time_rows(struct timer *t, uint32_t pictures);

#endif
