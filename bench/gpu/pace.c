/* pace.c - samples of queued calls. No state. */
#include "bench/gpu/pace.h"

#include "bench/timing.h"

enum { MOST_SAMPLES = 101, LEAST_SAMPLES = 5, MOST_CALLS = 20000 };

static double sample(struct kernels *k, void (*queue)(void *context, size_t turn), void *context,
                     size_t *turn, size_t calls) {
    const double start = now();
    for (size_t i = 0; i < calls; i++)
        queue(context, (*turn)++);
    if (k->ops->sync(k, NULL))
        return -1;
    return (now() - start) / (double)calls;
}

double pace(struct kernels *k, void (*queue)(void *context, size_t turn), void *context, double budget) {
    double samples[MOST_SAMPLES];
    size_t turn = 0, n = 0, calls = 1;
    double once = sample(k, queue, context, &turn, 3);
    for (; once >= 0 && once * (double)calls < 2e-3 && calls < MOST_CALLS; calls *= 2)
        once = sample(k, queue, context, &turn, calls);
    for (const double start = now();
         once >= 0 && n < MOST_SAMPLES && (n < LEAST_SAMPLES || now() - start < budget); n++) {
        samples[n] = sample(k, queue, context, &turn, calls);
        if (samples[n] < 0)
            return -1;
    }
    if (!n)
        return -1;
    qsort(samples, n, sizeof *samples, by_value);
    return samples[n / 2];
}
