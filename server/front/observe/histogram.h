/* histogram.h - a Prometheus histogram of integers, counted without locks. */
#ifndef LIMOE_SERVER_FRONT_OBSERVE_HISTOGRAM_H
#define LIMOE_SERVER_FRONT_OBSERVE_HISTOGRAM_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

#define HISTOGRAM_MOST_BUCKETS 20
#define HISTOGRAM_WHOLE        10000 /* what counts as 1 in histogram_shares */

/* How a histogram counts; one for all histograms of a metric. A value is counted in the integer unit of the
 * bounds (nanoseconds, tokens) and shown in `unit`s of it (1e9: seconds). */
struct histogram_shape {
    const uint64_t *bounds; /* [n], ascending: the buckets' inclusive upper ends */
    size_t n;               /* at most HISTOGRAM_MOST_BUCKETS */
    double unit;
};

extern const struct histogram_shape histogram_seconds; /* of nanoseconds: 0.5 ms … 30 s */
extern const struct histogram_shape histogram_shares;  /* of a whole: 0.01 … 1, as HISTOGRAM_WHOLE */
extern const struct histogram_shape histogram_sizes;   /* powers of two: 1 … 16,384 */

struct histogram {
    _Atomic uint64_t counts[HISTOGRAM_MOST_BUCKETS + 1]; /* the last: above every bound */
    _Atomic uint64_t sum;
};

/* Which bucket counts the value; shape->n: the one above every bound. */
size_t histogram_bucket(const struct histogram_shape *shape, uint64_t value);

void histogram_count(struct histogram *histogram, const struct histogram_shape *shape, uint64_t value);

/* How many values were counted. */
uint64_t histogram_total(struct histogram *histogram);

/* The samples name_bucket, name_sum and name_count. `labels` ("route=\"/v1/embeddings\"") may be "". */
void histogram_write(struct histogram *histogram, const struct histogram_shape *shape, const char *name,
                     const char *labels, struct buffer *out);

#endif
