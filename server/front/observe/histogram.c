/* histogram.c - counting and printing one histogram.
 *
 * The page is written while others count, so its numbers may be a moment apart; but the count printed is the
 * sum of the buckets printed, because a scraper checks that.
 */
#include "server/front/observe/histogram.h"

#include "base/durations.h"

/* Ten-thousandths, so that the sum of small ratios is not lost. */
static const uint64_t shares[] = {100,  200,  500,  1000, 2000, 3000, 4000,
                                  5000, 6000, 7000, 8000, 9000, 9500, HISTOGRAM_WHOLE};
static const uint64_t powers[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};

const struct histogram_shape histogram_seconds = {durations, DURATIONS, 1e9};
const struct histogram_shape histogram_shares = {shares, sizeof shares / sizeof *shares, HISTOGRAM_WHOLE};
const struct histogram_shape histogram_sizes = {powers, sizeof powers / sizeof *powers, 1};

size_t histogram_bucket(const struct histogram_shape *shape, uint64_t value) {
    size_t bucket = 0;
    while (bucket < shape->n && value > shape->bounds[bucket])
        bucket++;
    return bucket;
}

void histogram_count(struct histogram *histogram, const struct histogram_shape *shape, uint64_t value) {
    const size_t bucket = histogram_bucket(shape, value);
    atomic_fetch_add_explicit(&histogram->counts[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->sum, value, memory_order_relaxed);
}

uint64_t histogram_total(struct histogram *histogram) {
    uint64_t total = 0;
    for (size_t i = 0; i <= HISTOGRAM_MOST_BUCKETS; i++)
        total += atomic_load_explicit(&histogram->counts[i], memory_order_relaxed);
    return total;
}

void histogram_write(struct histogram *histogram, const struct histogram_shape *shape, const char *name,
                     const char *labels, struct buffer *out) {
    const char *comma = *labels ? "," : "";
    uint64_t total = 0;
    for (size_t i = 0; i < shape->n; i++) {
        total += atomic_load_explicit(&histogram->counts[i], memory_order_relaxed);
        buffer_print(out, "%s_bucket{%s%sle=\"%.10g\"} %llu\n", name, labels, comma,
                     (double)shape->bounds[i] / shape->unit, (unsigned long long)total);
    }
    total += atomic_load_explicit(&histogram->counts[shape->n], memory_order_relaxed);
    buffer_print(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", name, labels, comma, (unsigned long long)total);

    const char *open = *labels ? "{" : "", *close = *labels ? "}" : "";
    uint64_t sum = atomic_load_explicit(&histogram->sum, memory_order_relaxed);
    buffer_print(out, "%s_sum%s%s%s %.10g\n", name, open, labels, close, (double)sum / shape->unit);
    buffer_print(out, "%s_count%s%s%s %llu\n", name, open, labels, close, (unsigned long long)total);
}
