/* mlp.c - the expert layer between plan and residual. Owns nothing; runs on the caller's thread.
 *
 * All experts are on this rank, so slots are already where their expert is; sharded.c is for the others.
 */
#include "experts/mlp.h"

void experts_forward(struct kernels *k, const struct experts *experts, const void *h,
                     struct kernels_plan plan, const int32_t *expert, const float *gate, size_t rows,
                     struct experts_scratch scratch, float *x) {
    const struct kernels_ops *op = k->ops;
    const size_t slots = rows * experts->top_k;
    op->dispatch(k, h, plan, experts->count, slots, experts->width, scratch.rows);
    op->grouped_linear(k, experts->fc1, plan.offset, scratch.rows, slots, experts->activation,
                       scratch.hidden);
    /* fc1 has read the dispatched rows, so the experts' answers may overwrite them. */
    op->grouped_linear(k, experts->fc2, plan.offset, scratch.hidden, slots, KERNELS_STORE, scratch.rows);
    op->combine(k, scratch.rows, plan, expert, gate, rows, experts->top_k, experts->width, x);
}
