/* optimizer.h - one step of AdamW, and the learning rate that a schedule gives it.
 *
 * Pure functions of their arguments, of any thread. Everything but the two corrections, and the rate, is float32: the bits
 * of an element depend on nothing else. */
#ifndef LIMOE_KERNELS_OPTIMIZER_H
#define LIMOE_KERNELS_OPTIMIZER_H

#include <stddef.h>
#include <stdint.h>

/* Loshchilov & Hutter, "Decoupled Weight Decay Regularization", algorithm 2. */
struct adamw {
    double rate;         /* of this step, with its schedule */
    double beta1, beta2; /* in [0, 1); 0.9 and 0.999 are usual */
    double eps;          /* positive */
    double decay;        /* of weights, multiplied with the rate; biases and gains have usually none */
    uint64_t step;       /* 1 for the first */
};

/* w[n], and the moments m[n] and v[n], zero at first, by the gradient g[n]:
 *     m = beta1 m + (1 - beta1) g,   v = beta2 v + (1 - beta2) g^2
 *     w = w (1 - rate decay) - rate m' / (sqrt(v') + eps),   m' = m / (1 - beta1^step),   v' likewise */
void adamw_step(const struct adamw *how, size_t n, const float *g, float *w, float *m, float *v);

/* The rate of step 1 .. steps: `warm` of them rise in equal parts, the last of which has `peak`; from there half a cosine
 * falls to `least` at the last step. warm <= steps; past the last step it is `least`. */
double cosine_rate(uint64_t step, uint64_t steps, uint64_t warm, double peak, double least);

#endif
