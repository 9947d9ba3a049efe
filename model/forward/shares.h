/* shares.h - what each patch adds to its picture's embedding.
 *
 * An embedding z / |z| is split into a row for each patch and a rest, whose sum it is. A cosine with a text is then
 * the sum of the rows' products with the text. What is a patch's own depends on the pooling:
 *   mean            its row behind the final norm, over their number, projected. The norm of a pooled vector is an affine
 *                   map of what was pooled, given its mean and variance.
 *   a class token   what the token takes up from the patch in the attention of each block (Gandelman et al., arXiv
 *                   2310.05916, section 3), normed and projected as the token is at the end
 *   attention       the pooling's weight for the patch times its value, behind the pooling's output matrix
 * The rest is the picture's, but no patch's: the class token's own, biases, MLPs that follow the pooling or feed the
 * token, and what the dtype has rounded.
 *
 * Only pictures that ask for it cost anything. The host does what is by the patch and head; matrices are multiplied by
 * the backend, row by row, so that the bits depend on the picture alone.
 */
#ifndef LIMOE_MODEL_FORWARD_SHARES_H
#define LIMOE_MODEL_FORWARD_SHARES_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/kernels.h"
#include "limoe.h"
#include "model/checkpoint/config.h"
#include "model/forward/step.h"
#include "model/forward/weights.h"
#include "model/forward/workspace.h"

/* Of one step. Starts as {0}; what it names, it owns between shares_begin and shares_end. */
struct shares {
    const struct config *config;
    const struct weights *weights;
    struct kernels *k;
    struct shares_picture *picture; /* [count]: those that ask */
    size_t count;
    /* The backend's, of one picture: its patches and a row of zeros, which shows what biases add. */
    void *in;   /* act [patches + 1, width] */
    float *out; /* [patches + 1, embed] */
    /* The host's, of one picture. */
    void *act;    /* act [tokens, 3 width] */
    float *taken; /* the same as float32 */
    float *part;  /* [patches + 1, largest of width and embed] */
    float *small; /* [tokens, or twice the width if that is more] */
    float *z;     /* [embed] */
};

/* Whether such a model's pictures can be split. */
enum limoe_shares shares_of(const struct config *config);

/* The step is about to begin. LIMOE_NO_MEMORY: nothing is held. */
enum limoe_status shares_begin(struct shares *shares, const struct config *config,
                               const struct weights *weights, struct kernels *k, const struct step *step,
                               struct limoe_error *err);
void shares_end(struct shares *shares); /* an empty one is fine */

/* Each takes what will be gone later, and waits for the backend; none does anything if no picture asks. */

/* A block's qkv, before its attention. */
void shares_attend(struct shares *shares, const struct weights_block *block, const struct step *step,
                   const void *qkv);
/* The keys and values of a pooling by attention. */
void shares_pool(struct shares *shares, const struct step *step, const void *kv);
/* z, before it is normalised. */
void shares_measure(struct shares *shares, const float *z);
/* The step is over: the rows go where their items say. host_z is the normalised z, on the host. LIMOE_INTERNAL: some are
 * not finite. */
enum limoe_status shares_deliver(struct shares *shares, const struct step *step, const struct workspace *work,
                                 const float *host_z, struct limoe_error *err);

/* ---- for one head, plain numbers */

/* One head of one query and of all that it attends to. */
struct shares_head {
    const float *query, *key, *value; /* [width]; rows of a sequence, `stride` apart */
    size_t rows, stride;
    uint32_t width;
};
/* part[i * part_stride + c] = the weight of row i times its value, for the rows first .. first + n - 1; score [rows] is
 * scratch. Of all rows the sum is what attention makes. */
void shares_weigh(const struct shares_head *head, size_t first, size_t n, float *score, float *part,
                  size_t part_stride);

#endif
