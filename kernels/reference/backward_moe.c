/* backward_moe.c - the mixture of experts around its linears: combine, dispatch, gate. */
#include <math.h>

#include "kernels/reference/backward.h"
#include "kernels/reference/reference.h"

void reference_backward_combine(struct kernels *k, const struct backward_routing *routing, const float *y,
                                const float *dx, size_t rows, uint32_t width, float *dy, float *dgate) {
    (void)k;
    for (size_t a = 0; a < rows * routing->top_k; a++) {
        const float *d = dx + a / routing->top_k * width;
        const size_t slot = routing->plan.slot[a];
        double dot = 0;
        for (uint32_t c = 0; slot != KERNELS_DROPPED && c < width; c++) {
            dot += (double)d[c] * (double)y[slot * width + c];
            dy[slot * width + c] = routing->gate[a] * d[c];
        }
        dgate[a] = (float)dot;
    }
}

void reference_backward_dispatch(struct kernels *k, const struct backward_routing *routing,
                                 const float *dslots, size_t rows, uint32_t width, float *dx) {
    (void)k;
    const uint32_t top_k = routing->top_k;
    for (size_t r = 0; r < rows; r++)
        for (uint32_t c = 0; c < width; c++) {
            double sum = 0;
            for (size_t a = r * top_k; a < (r + 1) * top_k; a++)
                if (routing->plan.slot[a] != KERNELS_DROPPED)
                    sum += (double)dslots[(size_t)routing->plan.slot[a] * width + c];
            dx[r * width + c] += (float)sum;
        }
}

/* With p the softmax and dp the gradient of its kept elements, dlogit = p (dp - sum of p dp). Kept gates g = p / sum of
 * the kept have dp = (dg - sum of g dg) / that sum, whose sum of p dp is zero. */
static void gate_row(const struct backward_routing *routing, const float *logit, const int32_t *expert,
                     const float *dgate, bool renormalize, float *dlogit) {
    double most = (double)logit[0], sum = 0, kept = 0, weighted = 0;
    for (uint32_t e = 1; e < routing->experts; e++)
        most = (double)logit[e] > most ? (double)logit[e] : most;
    for (uint32_t e = 0; e < routing->experts; e++)
        sum += exp((double)logit[e] - most);
    for (uint32_t j = 0; j < routing->top_k; j++)
        if (expert[j] >= 0) {
            const double p = exp((double)logit[expert[j]] - most) / sum;
            kept += p;
            weighted += p * (double)dgate[j];
        }
    const double among = renormalize && kept > 0 ? kept : 1; /* what gates are divided by */
    for (uint32_t e = 0; e < routing->experts; e++)
        dlogit[e] = renormalize ? 0 : (float)(-exp((double)logit[e] - most) / sum * weighted);
    for (uint32_t j = 0; j < routing->top_k; j++)
        if (expert[j] >= 0) {
            const double p = exp((double)logit[expert[j]] - most) / sum;
            dlogit[expert[j]] = (float)(p / among * ((double)dgate[j] - weighted / among));
        }
}

void reference_backward_gate(struct kernels *k, const struct backward_routing *routing, const float *logits,
                             const float *dgate, size_t rows, bool renormalize, float *dlogits) {
    (void)k;
    for (size_t r = 0; r < rows; r++)
        gate_row(routing, logits + r * routing->experts, routing->expert + r * routing->top_k,
                 dgate + r * routing->top_k, renormalize, dlogits + r * routing->experts);
}
