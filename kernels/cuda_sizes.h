/* cuda_sizes.h - how much memory the CUDA backend takes for itself, beside what it is asked for.
 *
 * The backend allocates by these, and kernels_counting (counting.h) counts by them, so that what is said of a GPU
 * that is not there is what one that is would give. Included by C and by CUDA.
 */
#ifndef LIMOE_KERNELS_CUDA_SIZES_H
#define LIMOE_KERNELS_CUDA_SIZES_H

#include <stddef.h>
#include <stdint.h>

/* An instance's step_rows: they fill the largest of today's cards many times over. */
enum { CUDA_STEP_ROWS = 32768 };

/* Pinned memory, and as much on the device, that host data goes through. */
enum { STAGING_SLOTS = 3 };
#define STAGING_BYTES ((size_t)8 << 20)

/* One query tile of one sequence: rows first … first + rows - 1 of the step, of a sequence that is rows begin
 * … end - 1. */
enum { ATTENTION_QUERIES = 64 };
struct attention_tile {
    uint32_t begin, end, first;
};

/* The tiles of a step's sequences; start [n + 1]. */
static inline size_t attention_tiles(const uint32_t *start, size_t n) {
    size_t tiles = 0;
    for (size_t i = 0; i < n; i++)
        tiles += (start[i + 1] - start[i] + ATTENTION_QUERIES - 1) / ATTENTION_QUERIES;
    return tiles;
}

/* A plan is made by chunks of assignments, each of which counts every expert. */
enum { PLAN_CHUNK = 256 };
static inline size_t plan_chunks(size_t assignments) {
    return (assignments + PLAN_CHUNK - 1) / PLAN_CHUNK;
}
static inline size_t plan_scratch_elements(size_t assignments, uint32_t experts) {
    return (plan_chunks(assignments) + 1) * experts;
}

/* Room that is made where n elements are wanted and there is less: some more, since the next step may be larger. */
static inline size_t cuda_grown(size_t n) {
    return n + n / 4 + 64;
}

#endif
