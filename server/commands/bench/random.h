/* random.h - a seeded stream of random numbers (SplitMix64), the same on every machine. */
#ifndef LIMOE_SERVER_COMMANDS_BENCH_RANDOM_H
#define LIMOE_SERVER_COMMANDS_BENCH_RANDOM_H

#include <stdint.h>

struct random {
    uint64_t state; /* any seed */
};

static inline uint64_t random_next(struct random *random) {
    uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Uniform in (0, 1]: its logarithm is finite. */
static inline double random_unit(struct random *random) {
    return (double)((random_next(random) >> 11) + 1) * 0x1p-53;
}

/* Uniform in 0 … n - 1, for n far below 2^32. */
static inline uint32_t random_below(struct random *random, uint32_t n) {
    return (uint32_t)((random_next(random) >> 32) * n >> 32);
}

#endif
