/* backward.h - the gradients of kernels.h's operations, and what else a training step is made of.
 *
 * The table lies beside kernels.h's: k->backward, NULL where an instance has none. The reference and the CPU have one, in
 * float32 alone; their memory is the host's, and so is all that is named here. The forward operations of a training step
 * are those of kernels.h, and keep their inputs; a matrix that changes from step to step is put anew with repack.
 *
 * Names. With y = f(x) and a loss L, dy is dL/dy, dx is dL/dx, of the shape of y and x. A gradient is written ("dx = …"), or
 * summed up ("dx += …"): those of parameters always are, so that pictures, texts and parts of a batch are steps of one sum,
 * and so is that of the residual stream, which each sublayer adds to. A parameter's gradient that is NULL is not wanted:
 * the parameter is frozen.
 *
 * Determinism. Each element of a gradient is one sum in ascending index: of columns or classes along a row, of the rows of a
 * batch for a parameter. It does not depend on the number of threads. A weight's and its bias' sum over rows is made of
 * blocks of at most BACKWARD_ROWS rows, as few and as equal as can be: each is summed from zero, then added.
 *
 * Bounds. A backward pass costs twice the forward pass' products. Beside its arguments the CPU holds, and keeps, the larger
 * of one matrix (groups * out * in) and BACKWARD_ROWS * (out + in) floats, and of attention (3 * length + 4 * head width +
 * 17) * length floats a thread, with lengths rounded up to 32. B/16's largest: of [3072, 768] 9.4 MB, of 197 rows 0.8 MB a
 * thread.
 *
 * Errors. As in kernels.h: an operation cannot be refused; where it lacks memory, sync() says so.
 */
#ifndef LIMOE_KERNELS_BACKWARD_H
#define LIMOE_KERNELS_BACKWARD_H

#include "kernels/kernels.h"
#include "kernels/optimizer.h"

/* 31 cache lines of floats, so that eight rows of a block that lie side by side share no set of a cache. */
enum { BACKWARD_ROWS = 496 };

/* A matrix in training, or a stack of them (experts): its weights, dense as in the checkpoint, and their gradients. */
struct backward_matrix {
    uint32_t groups, out, in;
    const float *weight; /* [groups, out, in] */
    float *dweight;      /* the same; NULL: frozen */
    float *dbias;        /* [groups, out]; NULL: frozen, or there is none */
};

/* A LayerNorm in training; vectors of `width`. */
struct backward_norm {
    const float *weight;
    float *dweight, *dbias; /* NULL: frozen */
    float eps;
};

/* A LayerNorm over each head's q and k; the vectors are [width / heads]. bias is of the forward pass alone, which is
 * repeated here. */
struct backward_qk_norm {
    struct backward_norm q, k;
    const float *q_bias, *k_bias;
};

/* What a gate decided, for a step of `rows` rows. */
struct backward_routing {
    struct kernels_plan plan;
    const int32_t *expert; /* [rows, top_k]; negative where dropped */
    const float *gate;     /* [rows, top_k] */
    uint32_t experts, top_k;
};

/* ---- weights */

/* m, which pack() made of the same groups, out and in, holds these weights now: [groups, out, in] and, where it was packed
 * with a bias, [groups, out]. */
typedef void backward_repack_fn(struct kernels *k, struct kernels_matrix *m, const float *weight,
                                const float *bias);

/* Over n elements: w, m, v by gradient g (optimizer.h). */
typedef void backward_adamw_fn(struct kernels *k, const struct adamw *how, size_t n, const float *g, float *w,
                               float *m, float *v);

/* ---- the tower */

/* Of y = x W^T + b over rows [rows, in], with rows offset[g] .. offset[g + 1] - 1 for matrix g; offset NULL: all rows are
 * matrix 0's. dx [rows, in] = dy W, or NULL where it is not wanted; dweight += dy^T x; dbias += the sum of dy's rows. */
typedef void backward_linear_fn(struct kernels *k, const struct backward_matrix *m, const uint32_t *offset,
                                const float *x, const float *dy, size_t rows, float *dx);
/* y[n] = the activation of v[n], by the formula of `kind`: with KERNELS_STORE as the linear's epilogue v is kept, which its
 * gradient needs. The bits are those of the epilogue `kind`. */
typedef void backward_activate_fn(struct kernels *k, enum kernels_epilogue kind, const float *v, size_t n,
                                  float *y);
/* Of that: dv = dy * activation'(v). dv may be dy. */
typedef void backward_activation_fn(struct kernels *k, enum kernels_epilogue kind, const float *v,
                                    const float *dy, size_t n, float *dv);
/* Of y = LN(x), x [rows, width]: dx += ; dweight, dbias +=. */
typedef void backward_layernorm_fn(struct kernels *k, const struct backward_norm *norm, const float *x,
                                   const float *dy, size_t rows, uint32_t width, float *dx);
/* Of attention(), whose weights are computed again: qkv and dqkv [rows, 3 width], dout [rows, width]. norm may be NULL. dqkv
 * =; the norms' dweight, dbias +=, in order of rows and, of a row, heads. */
typedef void backward_attention_fn(struct kernels *k, const float *qkv, const float *dout, uint32_t width,
                                   uint32_t heads, enum kernels_mask mask,
                                   const struct backward_qk_norm *norm, float *dqkv);

/* ---- mixture of experts */

/* Of combine(): y, dy [slots, width], dx [rows, width]. dy[slot] = gate * dx[row]; dgate[rows, top_k] = dx[row] . y[slot], 0
 * where dropped. */
typedef void backward_combine_fn(struct kernels *k, const struct backward_routing *routing, const float *y,
                                 const float *dx, size_t rows, uint32_t width, float *dy, float *dgate);
/* Of dispatch(): dx[row] += the sum of its assignments' dslots, in ascending expert; the sum is made first. */
typedef void backward_dispatch_fn(struct kernels *k, const struct backward_routing *routing,
                                  const float *dslots, size_t rows, uint32_t width, float *dx);
/* Of gate(), whose choice has no gradient: dlogits [rows, experts] = of dgate [rows, top_k] through the softmax and, where
 * `renormalize`, the division. Router logits are a linear's, of the router's matrix, whether that is frozen or not. */
typedef void backward_gate_fn(struct kernels *k, const struct backward_routing *routing, const float *logits,
                              const float *dgate, size_t rows, bool renormalize, float *dlogits);

/* ---- the answer */

/* Of pool(): dx [rows, width] =, zero where a row is not part of what stands for its sequence; dout [sequences, width]. */
typedef void backward_pool_fn(struct kernels *k, enum kernels_pooling pooling, const float *dout,
                              uint32_t width, float *dx);
/* Of attention_pool(): dkv [rows, 2 width] =; dquery [width] +=, in order of rows, or NULL. */
typedef void backward_attention_pool_fn(struct kernels *k, const float *query, const float *kv,
                                        const float *dout, uint32_t width, uint32_t heads, float *dquery,
                                        float *dkv);
/* Of normalize(): z [n, width] as it was before. dz = (dy - y (y . dy)) / |z|, zero for a row of zeros; dz may be dy. */
typedef void backward_normalize_fn(struct kernels *k, const float *z, const float *dy, size_t n,
                                   uint32_t width, float *dz);
/* Softmax cross-entropy over scale * cosine [n, classes], label[n] below classes: loss[n] = -ln p[label]; dcosine = of the
 * loss' mean over n, scale (p - [class is label]) / n; dcosine may be cosine. */
typedef void backward_cross_entropy_fn(struct kernels *k, const float *cosine, const uint32_t *label,
                                       size_t n, uint32_t classes, float scale, float *loss, float *dcosine);

/* A backend's. To add one: its type above, then reference/ and cpu/ with their tables, and tests/unit/kernels. */
struct backward_ops {
    backward_repack_fn *repack;
    backward_adamw_fn *adamw;
    backward_linear_fn *linear;
    backward_activate_fn *activate;
    backward_activation_fn *activation;
    backward_layernorm_fn *layernorm;
    backward_attention_fn *attention;
    backward_combine_fn *combine;
    backward_dispatch_fn *dispatch;
    backward_gate_fn *gate;
    backward_pool_fn *pool;
    backward_attention_pool_fn *attention_pool;
    backward_normalize_fn *normalize;
    backward_cross_entropy_fn *cross_entropy;
};

/* Rows cut into blocks: how many rows the first ones have; the last may have fewer. */
static inline size_t backward_block(size_t rows) {
    const size_t blocks = (rows + BACKWARD_ROWS - 1) / BACKWARD_ROWS;
    return blocks ? (rows + blocks - 1) / blocks : 0;
}

#endif
