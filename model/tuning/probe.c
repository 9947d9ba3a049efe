/* probe.c - full batches through one linear layer. Owns nothing past a call. */
#include "model/tuning/probe.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "kernels/backward.h"
#include "model/tuning/schedule.h"

/* Of weight and bias, one behind the other. */
struct moments {
    float *gradient, *mean, *square; /* [parameters] */
    float *logits, *loss;            /* [n, classes], [n] */
};

void probe_logits(struct kernels *k, const float *x, size_t n, uint32_t embed, const float *weight,
                  const float *bias, uint32_t classes, float *logits) {
    /* The router's product is float32's, of a matrix that is not packed beforehand. */
    k->ops->router_logits(k, x, weight, n, embed, classes, logits);
    for (size_t i = 0; i < n; i++)
        for (uint32_t c = 0; c < classes; c++)
            logits[i * classes + c] += bias[c];
}

static void step(struct kernels *k, const struct probe_set *set, const struct adamw *how, struct moments *m,
                 float *weight, float *bias) {
    const size_t weights = (size_t)set->classes * set->embed;
    const struct backward_matrix matrix = {.groups = 1,
                                           .out = set->classes,
                                           .in = set->embed,
                                           .weight = weight,
                                           .dweight = m->gradient,
                                           .dbias = m->gradient + weights};
    memset(m->gradient, 0, (weights + set->classes) * sizeof *m->gradient);
    probe_logits(k, set->x, set->n, set->embed, weight, bias, set->classes, m->logits);
    k->backward->cross_entropy(k, m->logits, set->label, set->n, set->classes, 1, m->loss, m->logits);
    k->backward->linear(k, &matrix, NULL, set->x, m->logits, set->n, NULL);
    k->backward->adamw(k, how, weights, m->gradient, weight, m->mean, m->square);
    k->backward->adamw(k, how, set->classes, m->gradient + weights, bias, m->mean + weights,
                       m->square + weights);
}

enum limoe_status probe_train(struct kernels *k, const struct probe_set *set, double rate, uint32_t steps,
                              float *weight, float *bias, struct limoe_error *err) {
    const size_t parameters = (size_t)set->classes * (set->embed + (size_t)1), logits = set->n * set->classes;
    float *memory = calloc(3 * parameters + logits + set->n, sizeof *memory);
    if (!memory)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a probe of %u classes", set->classes);
    struct moments m = {memory, memory + parameters, memory + 2 * parameters, memory + 3 * parameters,
                        memory + 3 * parameters + logits};
    for (uint32_t i = 1; i <= steps; i++) {
        const struct adamw how = schedule_adamw(i, steps, rate, 0);
        step(k, set, &how, &m, weight, bias);
    }
    free(memory);
    return k->ops->sync(k, err);
}
