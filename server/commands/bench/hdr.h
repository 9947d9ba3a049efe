/* hdr.h - a histogram with high dynamic range: log-linear buckets, as of Gil Tene's HdrHistogram.
 *
 * Values are integers of the caller's unit (microseconds for latencies). Below 2,048 each has a bucket of its
 * own; each octave above has 1,024, so that a bucket is never wider than a thousandth of its values: three
 * significant digits from 1 µs to over an hour, in 180 KiB. Least, greatest and mean are exact.
 */
#ifndef LIMOE_SERVER_COMMANDS_BENCH_HDR_H
#define LIMOE_SERVER_COMMANDS_BENCH_HDR_H

#include <stdint.h>

#define HDR_MOST_VALUE UINT32_MAX /* a greater value is counted as this one: 71 minutes in microseconds */
enum {
    HDR_EXACT_BITS = 11,                  /* values below 2^11 are exact */
    HDR_HALF = 1 << (HDR_EXACT_BITS - 1), /* buckets of an octave */
    HDR_BUCKETS = (32 - HDR_EXACT_BITS + 2) * HDR_HALF,
};

/* Zero-initialise. */
struct hdr {
    uint64_t counts[HDR_BUCKETS];
    uint64_t count, sum;
    uint64_t min, max; /* of no values: 0 */
};

void hdr_count(struct hdr *hdr, uint64_t value);
void hdr_clear(struct hdr *hdr);

double hdr_mean(const struct hdr *hdr); /* of no values: 0 */

/* The value that the fraction q (0 … 1) of all values do not exceed, by nearest rank: at most 0.1 % above
 * the sorted sample's, never below it, never above the greatest. 0 of no values. */
uint64_t hdr_percentile(const struct hdr *hdr, double q);

#endif
