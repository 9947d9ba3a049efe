/* hdr.c - counting into log-linear buckets and reading percentiles back. No state but the histogram's. */
#include "server/commands/bench/hdr.h"

#include <math.h>
#include <string.h>

/* An octave [2^k, 2^(k+1)) above the exact values has HDR_HALF buckets of 2^shift values each. */
static uint32_t bucket_of(uint64_t value) {
    const uint32_t clipped = value > HDR_MOST_VALUE ? HDR_MOST_VALUE : (uint32_t)value;
    const uint32_t bits = 32 - (uint32_t)__builtin_clz(clipped | 1);
    const uint32_t shift = bits > HDR_EXACT_BITS ? bits - HDR_EXACT_BITS : 0;
    return shift * HDR_HALF + (clipped >> shift);
}

static uint64_t greatest_in(uint32_t bucket) {
    if (bucket < 2 * HDR_HALF)
        return bucket;
    const uint32_t shift = bucket / HDR_HALF - 1;
    const uint64_t first = (uint64_t)(bucket - shift * HDR_HALF) << shift;
    return first + (UINT64_C(1) << shift) - 1;
}

void hdr_count(struct hdr *hdr, uint64_t value) {
    if (!hdr->count || value < hdr->min)
        hdr->min = value;
    if (value > hdr->max)
        hdr->max = value;
    hdr->counts[bucket_of(value)]++;
    hdr->count++;
    hdr->sum += value;
}

void hdr_clear(struct hdr *hdr) {
    memset(hdr, 0, sizeof *hdr);
}

double hdr_mean(const struct hdr *hdr) {
    return hdr->count ? (double)hdr->sum / (double)hdr->count : 0;
}

uint64_t hdr_percentile(const struct hdr *hdr, double q) {
    uint64_t rank = (uint64_t)ceil(q * (double)hdr->count), below = 0;
    if (!hdr->count)
        return 0;
    if (rank < 1)
        rank = 1;
    if (rank >= hdr->count) /* the last bucket may hold clipped values: only max knows them */
        return hdr->max;
    for (uint32_t bucket = 0; bucket < HDR_BUCKETS; bucket++) {
        below += hdr->counts[bucket];
        if (below >= rank) {
            const uint64_t value = greatest_in(bucket);
            return value < hdr->max ? value : hdr->max;
        }
    }
    return hdr->max;
}
