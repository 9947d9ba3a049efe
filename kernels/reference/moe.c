/* moe.c - the mixture of experts around its grouped linears: router, gate, plan, dispatch, combine.
 *
 * Riquelme et al., "Scaling Vision with Sparse Mixture of Experts" (V-MoE), section 2: the gates are a
 * softmax over all experts, of which the top_k are kept.
 */
#include <math.h>

#include "kernels/reference/reference.h"

void reference_router_logits(struct kernels *k, const float *x, const float *w, size_t rows, uint32_t width,
                             uint32_t experts, float *logits) {
    (void)k;
    for (size_t r = 0; r < rows; r++)
        for (uint32_t e = 0; e < experts; e++) {
            float acc = 0;
            for (uint32_t i = 0; i < width; i++)
                acc += x[r * width + i] * w[(size_t)e * width + i];
            logits[r * experts + e] = acc;
        }
}

/* The gate of expert e of one row: exp(logit_e - most) / sum. */
static float softmax_at(const float *logit, uint32_t e, float most, float sum) {
    return expf(logit[e] - most) / sum;
}

void reference_gate(struct kernels *k, const float *logits, size_t rows, uint32_t experts, uint32_t top_k,
                    bool renormalize, int32_t *expert, float *gate) {
    (void)k;
    for (size_t r = 0; r < rows; r++) {
        const float *logit = logits + r * experts;
        float most = logit[0], sum = 0, kept = 0;
        for (uint32_t e = 1; e < experts; e++)
            most = logit[e] > most ? logit[e] : most;
        for (uint32_t e = 0; e < experts; e++)
            sum += expf(logit[e] - most);
        for (uint32_t j = 0; j < top_k; j++) {
            /* The largest gate not yet taken; a strict comparison leaves ties to the lower index. */
            int32_t best = -1;
            float best_gate = 0;
            for (uint32_t e = 0; e < experts; e++) {
                bool taken = false;
                for (uint32_t i = 0; i < j; i++)
                    taken |= expert[r * top_k + i] == (int32_t)e;
                float g = softmax_at(logit, e, most, sum);
                if (!taken && (best < 0 || g > best_gate)) {
                    best = (int32_t)e;
                    best_gate = g;
                }
            }
            expert[r * top_k + j] = best;
            gate[r * top_k + j] = best_gate;
            kept += best_gate;
        }
        for (uint32_t j = 0; renormalize && j < top_k; j++)
            gate[r * top_k + j] /= kept;
    }
}

/* A gate that underflows to 0 adds 0, the limit of p ln p. */
void reference_gate_entropy(struct kernels *k, const float *logits, size_t rows, uint32_t experts,
                            float *entropy) {
    (void)k;
    for (size_t r = 0; r < rows; r++) {
        const float *logit = logits + r * experts;
        float most = logit[0], sum = 0;
        double h = 0;
        for (uint32_t e = 1; e < experts; e++)
            most = logit[e] > most ? logit[e] : most;
        for (uint32_t e = 0; e < experts; e++)
            sum += expf(logit[e] - most);
        for (uint32_t e = 0; e < experts; e++) {
            double p = softmax_at(logit, e, most, sum);
            h -= p > 0 ? p * log(p) : 0;
        }
        entropy[r] = (float)h;
    }
}

void reference_plan(struct kernels *k, const int32_t *expert, size_t rows, uint32_t experts, uint32_t top_k,
                    struct kernels_plan plan) {
    (void)k;
    uint32_t slots = 0;
    for (uint32_t e = 0; e < experts; e++) {
        plan.offset[e] = slots;
        for (size_t a = 0; a < rows * top_k; a++)
            if (expert[a] == (int32_t)e) {
                plan.source[slots] = (uint32_t)(a / top_k);
                plan.slot[a] = slots++;
            }
    }
    plan.offset[experts] = slots;
    for (size_t a = 0; a < rows * top_k; a++)
        if (expert[a] < 0)
            plan.slot[a] = KERNELS_DROPPED;
}

void reference_dispatch(struct kernels *k, const void *in, struct kernels_plan plan, uint32_t experts,
                        size_t max_slots, uint32_t width, void *out) {
    (void)max_slots;
    for (size_t s = 0; s < plan.offset[experts]; s++)
        for (uint32_t c = 0; c < width; c++)
            reference_store(k, out, s * width + c, reference_load(k, in, (size_t)plan.source[s] * width + c));
}

/* Of a row's assignments that have a slot, the one that follows `last` in ascending expert (and, should the
 * gate have given an expert twice, in their own order); SIZE_MAX comes before the first and after the last.
 */
static size_t next_term(const int32_t *expert, const uint32_t *slot, size_t row, uint32_t top_k,
                        size_t last) {
    size_t next = SIZE_MAX;
    for (size_t a = row * top_k; a < (row + 1) * top_k; a++) {
        bool follows =
            last == SIZE_MAX || expert[a] > expert[last] || (expert[a] == expert[last] && a > last);
        if (slot[a] != KERNELS_DROPPED && follows && (next == SIZE_MAX || expert[a] < expert[next]))
            next = a;
    }
    return next;
}

void reference_combine(struct kernels *k, const void *y, struct kernels_plan plan, const int32_t *expert,
                       const float *gate, size_t rows, uint32_t top_k, uint32_t width, float *x) {
    for (size_t r = 0; r < rows; r++)
        for (uint32_t c = 0; c < width; c++) {
            float sum = 0;
            size_t a = next_term(expert, plan.slot, r, top_k, SIZE_MAX);
            for (; a != SIZE_MAX; a = next_term(expert, plan.slot, r, top_k, a))
                sum += gate[a] * reference_load(k, y, (size_t)plan.slot[a] * width + c);
            x[r * width + c] += sum;
        }
}
