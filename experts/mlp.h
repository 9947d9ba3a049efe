/* mlp.h - the experts: two-layer MLPs side by side, each of which computes only the rows that were sent to
 * it.
 *
 * dispatch (rows sorted by expert) -> grouped linear, activation -> grouped linear -> combine (weighted by
 * the gate, added to the residual). A row is computed once for each expert it was sent to.
 */
#ifndef LIMOE_EXPERTS_MLP_H
#define LIMOE_EXPERTS_MLP_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

struct experts {
    struct kernels_matrix *fc1; /* count x [mlp, width] */
    struct kernels_matrix *fc2; /* count x [width, mlp] */
    uint32_t count,             /* experts here */
        width, mlp, top_k;
    enum kernels_epilogue activation;
};

struct experts_scratch {
    void *rows;   /* act [slots, width] */
    void *hidden; /* act [slots, mlp] */
};

/* x[r] += sum over r's experts e of gate * fc2_e(activation(fc1_e(h[r]))). h act [rows, width], expert
 * and gate [rows, top_k], x [rows, width]; scratch has room for rows * top_k slots. */
void experts_forward(struct kernels *k, const struct experts *experts, const void *h,
                     struct kernels_plan plan, const int32_t *expert, const float *gate, size_t rows,
                     struct experts_scratch scratch, float *x);

#endif
