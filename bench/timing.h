/* timing.h - the median time of a short operation. */
#ifndef LIMOE_BENCH_TIMING_H
#define LIMOE_BENCH_TIMING_H

#include <stdlib.h>
#include <time.h>

static inline double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Seconds for one call of run(context): the median of up to 200 samples taken within about `budget` seconds,
 * each long enough (20 us or more) for the clock not to matter. */
static inline double median_seconds(void (*run)(void *context), void *context, double budget) {
    enum { MOST = 200 };
    double sample[MOST], start = now(), once;
    run(context);
    run(context);
    once = now();
    run(context);
    once = now() - once;
    int each = once < 20e-6 ? (int)(20e-6 / (once + 1e-9)) + 1 : 1, n = 0;
    do {
        double t = now();
        for (int i = 0; i < each; i++)
            run(context);
        sample[n++] = (now() - t) / each;
    } while (n < MOST && (n < 5 || now() - start < budget));
    qsort(sample, (size_t)n, sizeof *sample, by_value);
    return sample[n / 2];
}

/* n values in (-1, 1), the same every time; never returns NULL. */
static inline float *noise(size_t n) {
    float *v = malloc(n * sizeof *v);
    if (!v)
        exit(1);
    unsigned long long s = 88172645463325252ull;
    for (size_t i = 0; i < n; i++) {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        v[i] = (float)(int)(s >> 40) * 0x1p-23f - 1.0f;
    }
    return v;
}

#endif
