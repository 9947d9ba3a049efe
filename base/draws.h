/* draws.h - random numbers that depend on their place alone: a generator by counter, so that a run that goes on from any epoch
 * draws what an undisturbed one does, and a caption's next token whatever is made beside it.
 *
 * Philox4x32-10 of Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011), keyed by the seed; the counter
 * says what is drawn. Pure functions, of any thread. */
#ifndef LIMOE_BASE_DRAWS_H
#define LIMOE_BASE_DRAWS_H

#include <stddef.h>
#include <stdint.h>

void draws_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* What numbers are for; each use has numbers of its own. Values are part of what a seed means. */
enum draws_use { DRAWS_CROP, DRAWS_ORDER, DRAWS_SPLIT, DRAWS_CAPTION };

/* Where a number stands: of which picture, or class, in which epoch; of a caption which sample, at which token. */
struct draws_place {
    uint64_t seed;
    enum draws_use use;
    uint32_t item, epoch;
};

/* u[n], each in [0, 1), a multiple of 2^-24. */
void draws_uniform(const struct draws_place *place, size_t n, float *u);

/* A permutation of 0 .. n - 1. */
void draws_order(const struct draws_place *place, uint32_t n, uint32_t *order);

#endif
