/* kernels.h - the operations the forward pass is made of.
 *
 * The forward pass (model/forward/encoder.c, router/, experts/) is written once, over this table. A backend
 * implements it:
 *   reference/  plain C, one thread, written to be read: the truth that the others are tested against
 *   cpu/        packed weights, vector and matrix units, a pool of threads
 *   cuda/       GPUs; a module of its own
 * Nothing above this header sees an intrinsic, a thread or a device type.
 *
 * Memory. Arguments named `host` are ordinary memory. All others were given by alloc(), upload_vector(),
 * pack() or load_table() of the same instance; on the CPU they are ordinary memory too.
 *
 * Element types. `act` is the instance's activation type: float for float32 and int8, uint16_t holding a
 * bfloat16 for bfloat16. The residual stream, LayerNorm's arithmetic, softmax, router logits, gates and all
 * accumulation of fractions are float32 in all of them.
 *
 * int8: a linear rounds its weights and its input to 8 bits (kernels/int8.h), each output channel and each row
 * with a scale of its own. Their product is a sum of integers, exact in 32 bits and so free of any order; what
 * follows is float32 in steps that are spelled out. So KERNELS_STORE, _STORE_F32 and _ADD_F32 have the same bits
 * on every instruction set. Nothing else is rounded, but tables to 16 bits, or to 8 where their rows
 * are given so.
 *
 * Determinism. Each output element is one accumulation chain in ascending k; its bits depend on its own row
 * of input and the weights, never on the number of rows, their order, or the number of threads. Reductions
 * over a row have a shape that depends on the width alone.
 *
 * Errors. Creating, packing and allocating can fail and say so. Operations are queued in order and cannot be
 * refused; a device's failure shows at sync().
 */
#ifndef LIMOE_KERNELS_KERNELS_H
#define LIMOE_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe.h"

struct kernels; /* an instance: a backend, a dtype, its threads. One caller at a time. */
struct backward_ops;

/* One weight matrix or a stack of them (experts), in the backend's own packed layout, with its bias. */
struct kernels_matrix;

/* A table of rows looked up by index (token embeddings). */
struct kernels_table;

enum kernels_storage { KERNELS_F32, KERNELS_BF16, KERNELS_F16, KERNELS_I8 };

/* A tensor as it lies in the checkpoint: dense, row-major, little-endian, any alignment. KERNELS_I8, which only the
 * matrices and tables of int8 instances may be: host is a struct kernels_int8. */
struct kernels_tensor {
    const void *host;
    enum kernels_storage storage;
};

/* Rows of `row` elements, each with a scale: element i is value[i] * scale[i / row]. */
struct kernels_int8 {
    const int8_t *value;
    const float *scale;
    size_t row;
};

/* What a linear operation does with acc + bias; y is the act or float32 output row.
 *
 * To add one: reference/linear.c, cpu/isa/rows.c, cuda/product.cuh, tests/unit/kernels, bench/gpu/truth.c, the
 * config's name for it, KERNELS_MODULE_VERSION (docs/development.md#an-operation-or-an-activation). */
enum kernels_epilogue {
    KERNELS_STORE,      /* act y = v */
    KERNELS_STORE_F32,  /* float y = v */
    KERNELS_ADD_F32,    /* float y += v (the residual stream) */
    KERNELS_GELU_TANH,  /* act y = v/2 (1 + tanh(sqrt(2/pi) (v + 0.044715 v^3))) */
    KERNELS_GELU_ERF,   /* act y = v/2 (1 + erf(v / sqrt 2)) */
    KERNELS_QUICK_GELU, /* act y = v sigmoid(1.702 v) */
};

/* Which rows of its sequence a row attends to. */
enum kernels_mask {
    KERNELS_BIDIRECTIONAL, /* all of them */
    KERNELS_CAUSAL,        /* those before it and itself */
};

/* What stands for a sequence. */
enum kernels_pooling {
    KERNELS_POOL_MEAN,  /* the mean of its rows, added in row order */
    KERNELS_POOL_REST,  /* the mean of all rows but the first, a class token's; of one row alone, that row */
    KERNELS_POOL_FIRST, /* its first row, a class token's */
    KERNELS_POOL_LAST,  /* its last row, an end token's */
};

/* LayerNorm over each head's q and k, before the scores; every vector is [width / heads]. */
struct kernels_qk_norm {
    const float *q_weight, *q_bias, *k_weight, *k_bias;
    float eps;
};

/* Which assignment of a token to an expert sits where, experts ascending, stable in row order.
 * Assignment a = row * top_k + j. A dropped assignment (expert < 0) has no slot. */
struct kernels_plan {
    uint32_t *offset; /* [experts + 1]: slots of expert e are offset[e] .. offset[e + 1] - 1 */
    uint32_t *source; /* [rows * top_k]: the row that slot s came from; the first offset[experts] are set */
    uint32_t *slot;   /* [rows * top_k]: the slot of assignment a, KERNELS_DROPPED if none */
};
#define KERNELS_DROPPED UINT32_MAX

/* What a step's operations depend on, beside the model: an array of numbers, compared as such. */
struct kernels_shape {
    uint64_t value[4];
};

/* ---- the operations */

/* Each is a type: a backend declares its own function by it in a line, and the compiler compares the two. */

typedef void kernels_destroy_fn(struct kernels *k);

/* ---- memory */

/* At least `bytes` of memory, aligned to 64, contents undefined. NULL if there is none left. */
typedef void *kernels_alloc_fn(struct kernels *k, size_t bytes);
typedef void kernels_release_fn(struct kernels *k, void *p); /* NULL is fine */
typedef void kernels_upload_fn(struct kernels *k, void *to, const void *host, size_t bytes);
typedef void kernels_download_fn(struct kernels *k, void *host, const void *from, size_t bytes); /* waits */
/* to[bytes] = from[bytes], both of this instance and apart from each other; in the order of the operations. */
typedef void kernels_copy_fn(struct kernels *k, void *to, const void *from, size_t bytes);

/* ---- weights: what these are given is copied, and may go once they return */

/* Packs `groups` matrices, each torch layout [out, in], stacked; bias [groups, out] or host NULL. */
typedef enum limoe_status kernels_pack_fn(struct kernels *k, struct kernels_tensor weight,
                                          struct kernels_tensor bias, uint32_t groups, uint32_t out,
                                          uint32_t in, struct kernels_matrix **packed,
                                          struct limoe_error *err);
typedef void kernels_matrix_free_fn(struct kernels *k, struct kernels_matrix *m);
/* float32 copy of n values (biases, LayerNorm, positions, the router). Freed with release(). */
typedef float *kernels_upload_vector_fn(struct kernels *k, struct kernels_tensor t, size_t n);
typedef enum limoe_status kernels_load_table_fn(struct kernels *k, struct kernels_tensor t, uint32_t rows,
                                                uint32_t width, struct kernels_table **table,
                                                struct limoe_error *err);
typedef void kernels_table_free_fn(struct kernels *k, struct kernels_table *t);

/* ---- a step */

/* Says which rows are whose, for attention and pooling until it is called again: sequence i of n is
 * rows host_start[i] .. host_start[i+1]-1. host_start [n + 1] stays as it is until then. */
typedef void kernels_sequences_fn(struct kernels *k, const uint32_t *host_start, size_t n);
/* Brackets operations that are the same, on the same memory, whenever `shape` and the number of sequences
 * are: none between the two touches the host's memory. True: all of them have been queued, from a record
 * made when they came before; the caller leaves them out, and end(), too. */
typedef bool kernels_begin_fn(struct kernels *k, const struct kernels_shape *shape);
typedef void kernels_end_fn(struct kernels *k);

/* ---- embedding the input */

/* Cuts n pictures into patches, row by row; inside a patch row, column, channel (so patch pixel (r, c)
 * channel ch is element (r * patch + c) * 3 + ch) = (pixel / 255 - mean[ch]) / std[ch]. A picture's rows
 * begin with `lead` rows of zeros, the place of its class token: out[n * (lead + (size / patch)^2), patch *
 * patch * 3]. size / patch, 1 or more, is rounded down: what remains at the right and at the bottom is not read.
 * pixels: host array of n host pointers to [size, size, 3]. */
typedef void kernels_patches_fn(struct kernels *k, const uint8_t *const *host_pixels, size_t n, uint32_t size,
                                uint32_t patch, uint32_t lead, const float host_mean[3],
                                const float host_std[3], void *out_act);
/* x[n * period, width]: row i = rows[i % period]. */
typedef void kernels_tile_rows_fn(struct kernels *k, const float *rows, uint32_t period, size_t n,
                                  uint32_t width, float *x);
/* x[i] = table[id[i]] + position[position_id[i]], for n tokens. */
typedef void kernels_embed_tokens_fn(struct kernels *k, const struct kernels_table *table,
                                     const float *position, const int32_t *host_id,
                                     const uint32_t *host_position_id, size_t n, float *x);

/* ---- the tower */

/* y = epilogue(in W^T + b) over `rows` rows; in_act [rows, in], y [rows, out]. The matrix has one group. */
typedef void kernels_linear_fn(struct kernels *k, const struct kernels_matrix *m, const void *in_act,
                               size_t rows, enum kernels_epilogue epilogue, void *y);
/* Rows offset[g] .. offset[g+1]-1 of in_act are multiplied by matrix g. offset[groups + 1] is read where
 * it lies; `rows` bounds offset[groups] from above. Not with KERNELS_ADD_F32. */
typedef void kernels_grouped_linear_fn(struct kernels *k, const struct kernels_matrix *m,
                                       const uint32_t *offset, const void *in_act, size_t rows,
                                       enum kernels_epilogue epilogue, void *y);
/* Over x [rows, width]: out_act and out_f32 (either may be NULL) = (x - mean) / sqrt(var + eps) * weight
 * + bias, population variance. out_f32 may be x. */
typedef void kernels_layernorm_fn(struct kernels *k, const float *x, const float *weight, const float *bias,
                                  float eps, size_t rows, uint32_t width, void *out_act, float *out_f32);
/* Self-attention inside each sequence. qkv_act [rows, 3 width] (q, k, v; heads contiguous). Scale 1/sqrt(width
 * / heads). norm may be NULL. out_act [rows, width]. out = (sum of e_j v_j) / (sum of e_j), over the rows j
 * that the mask lets the row see, with e_j = exp(score_j - max score) in float32; as operands of a product,
 * normalised q and k and the e_j that meet v are act. KERNELS_CAUSAL: a row's bits are those that it has at
 * the end of a sequence cut short after it, whatever numbers the rows behind it hold. */
typedef void kernels_attention_fn(struct kernels *k, const void *qkv_act, uint32_t width, uint32_t heads,
                                  enum kernels_mask mask, const struct kernels_qk_norm *norm, void *out_act);

/* Attention over keys and values that earlier steps have left: row i of query_act [n, width] meets rows row[start[i]] ..
 * row[start[i + 1] - 1], one or more, of kv_act [.., 2 width] (k, v; heads contiguous), in this order. start [n + 1] and row
 * lie where all else does. out_act [n, width]. As attention: scale, sums and what of it is act. */
typedef void kernels_attention_kept_fn(struct kernels *k, const void *query_act, const void *kv_act,
                                       const uint32_t *start, const uint32_t *row, size_t n, uint32_t width,
                                       uint32_t heads, void *out_act);

/* ---- mixture of experts */

/* logits[rows, experts] = x W^T in float32; x [rows, width], w [experts, width]. */
typedef void kernels_router_logits_fn(struct kernels *k, const float *x, const float *w, size_t rows,
                                      uint32_t width, uint32_t experts, float *logits);
/* Softmax over all experts, then the top_k by descending gate, ties to the lower index; renormalize
 * divides the kept gates by their sum. expert, gate [rows, top_k]. */
typedef void kernels_gate_fn(struct kernels *k, const float *logits, size_t rows, uint32_t experts,
                             uint32_t top_k, bool renormalize, int32_t *expert, float *gate);
/* entropy[rows] = -sum over e of p_e ln p_e, p = softmax of a row of logits[rows, experts]; 0 <= entropy
 * <= ln experts but for rounding. */
typedef void kernels_gate_entropy_fn(struct kernels *k, const float *logits, size_t rows, uint32_t experts,
                                     float *entropy);
/* Fills the plan's arrays. expert [rows, top_k], negative where dropped. */
typedef void kernels_plan_fn(struct kernels *k, const int32_t *expert, size_t rows, uint32_t experts,
                             uint32_t top_k, struct kernels_plan plan);
/* out_act[s] = in_act[source[s]] for each slot s < offset[experts]; rows of `width`. */
typedef void kernels_dispatch_fn(struct kernels *k, const void *in_act, struct kernels_plan plan,
                                 uint32_t experts, size_t max_slots, uint32_t width, void *out_act);
/* x[r] += sum over r's assignments, in ascending expert, of gate * y_act[slot]; the sum is made first,
 * then added to x. expert, gate [rows, top_k]; the slots may be in another order than the experts. */
typedef void kernels_combine_fn(struct kernels *k, const void *y_act, struct kernels_plan plan,
                                const int32_t *expert, const float *gate, size_t rows, uint32_t top_k,
                                uint32_t width, float *x);

/* ---- reading the answer */

/* Row i of out_act and out_f32 (either may be NULL; [sequences, width]) = what stands for sequence i, of x
 * [rows, width]. */
typedef void kernels_pool_fn(struct kernels *k, enum kernels_pooling pooling, const float *x, uint32_t width,
                             void *out_act, float *out_f32);
/* Attention with one query a sequence, the same for all: query float32 [width], already projected; kv_act
 * [rows, 2 width] (k, v; heads contiguous); out_act [sequences, width]. As attention over all rows of the
 * sequence, and the query is act where it meets k. */
typedef void kernels_attention_pool_fn(struct kernels *k, const float *query, const void *kv_act,
                                       uint32_t width, uint32_t heads, void *out_act);
/* Each row of z [n, width] divided by its Euclidean norm (a zero row stays zero), in place. */
typedef void kernels_normalize_fn(struct kernels *k, float *z, size_t n, uint32_t width);

/* Waits for all that was queued; reports a device's failure. */
typedef enum limoe_status kernels_sync_fn(struct kernels *k, struct limoe_error *err);

/* How many bytes of the device's memory are in use, whoever uses them, and how many it has. False: the device does not
 * say. */
typedef bool kernels_device_memory_fn(struct kernels *k, uint64_t *used, uint64_t *total);

/* A backend's operations. Their order and number are the module's version (KERNELS_MODULE_VERSION).
 *
 * To add one: its type above, then reference/, cpu/ and cuda/ with their tables, tests/unit/kernels, bench/gpu
 * (docs/development.md#an-operation-or-an-activation). */
struct kernels_ops {
    kernels_destroy_fn *destroy;
    kernels_alloc_fn *alloc;
    kernels_release_fn *release;
    kernels_upload_fn *upload;
    kernels_download_fn *download;
    kernels_copy_fn *copy;
    kernels_pack_fn *pack;
    kernels_matrix_free_fn *matrix_free;
    kernels_upload_vector_fn *upload_vector;
    kernels_load_table_fn *load_table;
    kernels_table_free_fn *table_free;
    kernels_sequences_fn *sequences;
    kernels_begin_fn *begin;
    kernels_end_fn *end;
    kernels_patches_fn *patches;
    kernels_tile_rows_fn *tile_rows;
    kernels_embed_tokens_fn *embed_tokens;
    kernels_linear_fn *linear;
    kernels_grouped_linear_fn *grouped_linear;
    kernels_layernorm_fn *layernorm;
    kernels_attention_fn *attention;
    kernels_attention_kept_fn *attention_kept;
    kernels_router_logits_fn *router_logits;
    kernels_gate_fn *gate;
    kernels_gate_entropy_fn *gate_entropy;
    kernels_plan_fn *plan;
    kernels_dispatch_fn *dispatch;
    kernels_combine_fn *combine;
    kernels_pool_fn *pool;
    kernels_attention_pool_fn *attention_pool;
    kernels_normalize_fn *normalize;
    kernels_sync_fn *sync;
    kernels_device_memory_fn *device_memory; /* NULL where it is the host's */
};

/* Where weights and activations lie, and in which layout weights are packed. */
enum kernels_kind { KERNELS_CPU, KERNELS_CUDA };

struct kernels {
    const struct kernels_ops *ops;
    const char *name; /* "reference", "cpu-amx", "cpu-avx512", "cuda-sm90", … */
    enum kernels_kind kind;
    enum limoe_dtype dtype;
    size_t act_size; /* bytes of one act element */
    uint32_t threads;
    size_t step_rows;                    /* more rows than these at once win nothing, and cost memory */
    const struct backward_ops *backward; /* the gradients (kernels/backward.h); NULL where it has none */
};

/* Plain C, one thread. */
enum limoe_status kernels_reference_create(enum limoe_dtype dtype, struct kernels **out,
                                           struct limoe_error *err);

/* The best this processor has. dtype AUTO: bfloat16 where it is multiplied natively. threads 0: as many as
 * the affinity mask allows. The environment variable LIMOE_ISA ("generic"; "avx2", "avx512", "avx512vnni",
 * "avx512bf16", "amx"; on aarch64 "neon") names a lesser instruction set to use instead; naming one that the
 * processor lacks is an error. */
enum limoe_status kernels_cpu_create(enum limoe_dtype dtype, uint32_t threads, struct kernels **out,
                                     struct limoe_error *err);

/* The dtype that such an instance would have: AUTO resolved, others as they are. */
enum limoe_status kernels_cpu_dtype(enum limoe_dtype asked, enum limoe_dtype *out, struct limoe_error *err);

/* The bytes of one matrix [out, in] once packed, without its bias; dtype not AUTO. */
size_t kernels_cpu_packed_bytes(enum limoe_dtype dtype, uint32_t out, uint32_t in);

/* ---- devices: kernels/backend.c */

/* An instance on `device`, as limoe_options has it: NULL or "auto", "cpu", "cuda", "cuda:N". Threads are the
 * CPU's. LIMOE_UNSUPPORTED: a GPU is asked for by name, and there is none or no module for it. */
enum limoe_status kernels_create(const char *device, enum limoe_dtype dtype, uint32_t threads,
                                 struct kernels **out, struct limoe_error *err);
/* The kind that such an instance would have; no GPU is needed for what names one. */
enum limoe_status kernels_kind_of(const char *device, enum kernels_kind *kind, struct limoe_error *err);
/* The dtype that an instance of the kind would have: AUTO resolved, others as they are. int8 is the CPU's alone. */
enum limoe_status kernels_dtype(enum kernels_kind kind, enum limoe_dtype asked, enum limoe_dtype *out,
                                struct limoe_error *err);
/* The bytes of one matrix [out, in] once packed, without its bias; dtype not AUTO. */
size_t kernels_packed_bytes(enum kernels_kind kind, enum limoe_dtype dtype, uint32_t out, uint32_t in);

/* ---- the CUDA backend: a module, limoe-cuda.so (base/module.h) */

/* It pads a packed matrix's rows and columns to multiples of these. */
enum { KERNELS_CUDA_OUT = 16, KERNELS_CUDA_IN = 8 };

/* Modules of another version are refused: change it with anything above. */
#define KERNELS_MODULE_VERSION 6u

/* The module exports one, under the name KERNELS_MODULE. */
struct kernels_module {
    uint32_t version;
    /* On GPU `device`, which there is; dtype not AUTO. */
    enum limoe_status (*create)(uint32_t device, enum limoe_dtype dtype, struct kernels **out,
                                struct limoe_error *err);
    uint32_t (*devices)(char *why, size_t size); /* how many GPUs; 0: why there are none, in plain words */
};
#define KERNELS_MODULE "limoe_kernels_module"

#endif
