/* device.h - what the files of the CUDA backend share: the instance, its matrices, and how kernels are
 * queued.
 *
 * It is included by C and by CUDA. The .c files own memory, streams and choices, and know no kernel; the .cu
 * files hold kernels, each with a C function that queues it. A queued operation runs when the stream comes to
 * it, and what fails, at once or later, is told by sync() (kernels.h, "Errors").
 *
 * Ownership: struct cuda owns its streams, events, staging memory and recorded graphs. One caller at a time;
 * no threads of its own.
 */
#ifndef LIMOE_KERNELS_CUDA_DEVICE_H
#define LIMOE_KERNELS_CUDA_DEVICE_H

#include <cuda.h>
#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/cuda_sizes.h"
#include "kernels/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What host data goes through. A slot is the host's to fill once what was queued with it has run. */
struct staging {
    unsigned char *host[STAGING_SLOTS], *device[STAGING_SLOTS];
    cudaEvent_t copied[STAGING_SLOTS]; /* on the copy stream */
    cudaEvent_t used[STAGING_SLOTS];   /* on the compute stream */
    unsigned slot;                     /* the next */
};

/* Steps of the same shape, recorded (graphs.c). */
enum { GRAPHS = 24 };
struct graph {
    struct kernels_shape shape;
    uint32_t sequences, tiles;
    cudaGraphExec_t exec; /* NULL: wanted once, not recorded yet */
    uint64_t last;        /* when it was wanted last; 0: this is none */
};

/* cuTensorMapEncodeTiled: found at run time, so that the driver's library is not needed to start. */
typedef CUresult encode_tiled(CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *, const cuuint64_t *,
                              const cuuint64_t *, const cuuint32_t *, const cuuint32_t *,
                              CUtensorMapInterleave, CUtensorMapSwizzle, CUtensorMapL2promotion,
                              CUtensorMapFloatOOBfill);

struct cuda {
    struct kernels base;
    char name[32];
    int device;
    bool bf16, hopper; /* hopper: products by wgmma, rows by TMA */
    uint32_t processors;
    cudaStream_t stream, copies;
    struct staging staging;
    encode_tiled *encode_map; /* NULL where not hopper */

    /* What failed first since the last sync(). */
    cudaError_t error;
    const char *failed;

    /* The step's sequences, on the device; set by sequences(). */
    uint32_t *start;             /* [sequences + 1] */
    struct attention_tile *tile; /* [tiles] */
    uint32_t sequences, tiles;
    size_t start_room, tile_room;

    uint32_t *plan_scratch; /* of plan_room elements: plan.cu */
    size_t plan_room;
    uint8_t *picture; /* one that is larger than a slot of staging; NULL: there was none yet */
    size_t picture_room;

    struct graph graph[GRAPHS];
    uint64_t clock;
    struct graph *recording; /* NULL: not between begin() and end() of a recording */
};

/* How a matrix is multiplied: by its shape, dtype and device alone,
 * since ways may differ in the last bits. */
enum cuda_way {
    CUDA_PLAIN, /* any shape, float32 or bfloat16: fused multiply-adds */
    CUDA_MMA,   /* bfloat16, in a multiple of 4, out even: mma.sync, sm_80 and later */
    CUDA_WGMMA, /* bfloat16, in a multiple of 8, out even: wgmma and TMA, sm_90 */
};

/* Rows are padded with zeros to `pitch` elements, a multiple of 8, and a group to `padded` rows, a multiple
 * of 16. But for CUDA_PLAIN the rows of each 16 are in the order 0, 2, … 14, 1, 3, … 15: what a lane then has
 * of a product are two neighbours of the same row of y (product.cuh). */
struct kernels_matrix {
    enum cuda_way way;
    uint32_t groups, out, in, padded, pitch;
    void *weight;    /* act [groups, padded, pitch] */
    float *bias;     /* [groups, out], NULL for none */
    CUtensorMap map; /* CUDA_WGMMA: of weight, in boxes of 64 rows by 64 columns */
};

struct kernels_table {
    struct kernels_tensor tensor; /* host: where it lies on the device, in the checkpoint's storage */
    uint32_t rows, width;
};

/* ---- cuda.c */

/* Makes the instance's device that of the calling thread, which may not be the one that called before.
 * Called first by whatever begins something: allocating, copying, a step. */
void cuda_enter(struct cuda *self);

/* Notes what a call or the last launch came to; false: it failed. */
bool cuda_check(struct cuda *self, const char *what, cudaError_t error);
bool cuda_launched(struct cuda *self, const char *what);

/* ---- memory.c */

bool staging_create(struct cuda *self);
void staging_destroy(struct cuda *self);
/* The next slot, empty, of STAGING_BYTES; NULL when the device has failed. */
unsigned char *staging_take(struct cuda *self);
/* Sends the slot's first bytes to the device, where operations queued from now on find them; NULL as above. */
const void *staging_send(struct cuda *self, size_t bytes);
/* Tells that all operations which read the slot are queued. */
void staging_done(struct cuda *self);

/* The same for host memory that lies in one piece; bytes fit a slot. */
const void *staging_put(struct cuda *self, const void *host, size_t bytes);

kernels_alloc_fn cuda_alloc;
/* Returns p, or new room instead, with its contents lost, for n elements and some more, *room in all.
 * NULL, and *room is 0, if there is no memory. */
void *cuda_grow(struct cuda *self, void *p, size_t *room, size_t n, size_t size);
kernels_release_fn cuda_release;
kernels_upload_fn cuda_upload;
kernels_download_fn cuda_download;
kernels_copy_fn cuda_copy;
kernels_device_memory_fn cuda_device_memory;

/* ---- weights.c */

kernels_pack_fn cuda_pack;
kernels_matrix_free_fn cuda_matrix_free;
kernels_upload_vector_fn cuda_upload_vector;
kernels_load_table_fn cuda_load_table;
kernels_table_free_fn cuda_table_free;

/* ---- linear.c */

kernels_linear_fn cuda_linear;
kernels_grouped_linear_fn cuda_grouped_linear;
kernels_router_logits_fn cuda_router_logits;
/* A map of x, act [rows, columns], in boxes of box_rows by 64 columns, swizzled by 128 bytes. */
bool cuda_map_rows(struct cuda *self, const void *x, uint64_t rows, uint64_t columns, uint32_t box_rows,
                   CUtensorMap *map);
bool cuda_map_weight(struct cuda *self, struct kernels_matrix *m);

/* ---- operations.c: the others of kernels.h */

kernels_sequences_fn cuda_sequences;
kernels_patches_fn cuda_patches;
kernels_tile_rows_fn cuda_tile_rows;
kernels_embed_tokens_fn cuda_embed_tokens;
kernels_layernorm_fn cuda_layernorm;
kernels_attention_fn cuda_attention;
kernels_attention_kept_fn cuda_attention_kept;
kernels_gate_fn cuda_gate;
kernels_gate_entropy_fn cuda_gate_entropy;
kernels_plan_fn cuda_plan;
kernels_dispatch_fn cuda_dispatch;
kernels_combine_fn cuda_combine;
kernels_pool_fn cuda_pool;
kernels_attention_pool_fn cuda_attention_pool;
kernels_normalize_fn cuda_normalize;

/* ---- graphs.c */

kernels_begin_fn cuda_begin;
kernels_end_fn cuda_end;
/* Drops the recorded graphs: memory that they were recorded with is about to be freed. */
void graphs_forget(struct cuda *self);

/* ---- the .cu files: each queues its kernel on the stream. act arrays are bfloat16 if bf16, else float32. */

/* Groups of rows and their matrices: y = epilogue(x W^T + b). */
struct product {
    const void *weight;     /* as kernels_matrix */
    const float *bias;      /* [groups, out] or NULL */
    const uint32_t *offset; /* [groups + 1] on the device; NULL: one group, of all rows */
    const void *x;          /* act [rows, in] */
    void *y;                /* [rows, out] */
    uint32_t rows, groups, out, in, padded, pitch;
    enum kernels_epilogue epilogue;
};
void gemm_plain(cudaStream_t stream, bool bf16, const struct product *p);
/* In tiles of 16, 32, 64 or 128 rows; wgmma of 256, too. After _prepare, once on a device, which fails where
 * this build has no kernels for it. */
cudaError_t gemm_mma_prepare(void);
void gemm_mma(cudaStream_t stream, uint32_t processors, uint32_t tile_rows, const struct product *p);
cudaError_t gemm_wgmma_prepare(void);
void gemm_wgmma(cudaStream_t stream, uint32_t processors, uint32_t tile_rows, const struct product *p,
                const CUtensorMap *weight, const CUtensorMap *rows);

/* Converts `count` elements of `storage` at `from` to float32. */
void convert_floats(cudaStream_t stream, const void *from, enum kernels_storage storage, size_t count,
                    float *to);
/* Converts rows first … first + rows - 1 of all groups' rows together, `out` to a group, into the packed
 * weight. */
void convert_rows(cudaStream_t stream, const void *from, enum kernels_storage storage, bool bf16,
                  size_t first, size_t rows, const struct kernels_matrix *m);

void patches_run(cudaStream_t stream, bool bf16, const uint8_t *pixels, size_t n, uint32_t size,
                 uint32_t patch, uint32_t lead, const float mean[3], const float std[3], void *out);
void tile_rows_run(cudaStream_t stream, const float *rows, uint32_t period, size_t n, uint32_t width,
                   float *x);
void embed_tokens_run(cudaStream_t stream, const struct kernels_table *table, const float *position,
                      const int32_t *id, const uint32_t *position_id, size_t n, float *x);
void layernorm_run(cudaStream_t stream, bool bf16, const float *x, const float *weight, const float *bias,
                   float eps, size_t rows, uint32_t width, void *out_act, float *out_f32);
void pool_run(cudaStream_t stream, bool bf16, enum kernels_pooling pooling, const float *x,
              const uint32_t *start, uint32_t n, uint32_t width, void *out_act, float *out_f32);
void normalize_run(cudaStream_t stream, float *z, size_t n, uint32_t width);

/* Heads as wide as there are kernels for the matrix units: 8 to 128, by 8, in bfloat16. */
bool attention_mma_takes(uint32_t head_width);
cudaError_t attention_mma_prepare(void);
void attention_mma(cudaStream_t stream, const void *qkv, const struct attention_tile *tile, uint32_t tiles,
                   uint32_t width, uint32_t heads, enum kernels_mask mask, const struct kernels_qk_norm *norm,
                   void *out);
/* Any other, in any dtype. */
cudaError_t attention_plain(cudaStream_t stream, bool bf16, const void *qkv,
                            const struct attention_tile *tile, uint32_t tiles, uint32_t width, uint32_t heads,
                            enum kernels_mask mask, const struct kernels_qk_norm *norm, void *out);
/* start [n + 1] on the device, as the rows that it counts. */
cudaError_t attention_kept_run(cudaStream_t stream, bool bf16, const void *query, const void *kv,
                               const uint32_t *start, const uint32_t *row, uint32_t n, uint32_t width,
                               uint32_t heads, void *out);
/* start [n + 1] on the device. */
cudaError_t attention_pool_run(cudaStream_t stream, bool bf16, const float *query, const void *kv,
                               const uint32_t *start, uint32_t n, uint32_t width, uint32_t heads, void *out);

void gate_run(cudaStream_t stream, const float *logits, size_t rows, uint32_t experts, uint32_t top_k,
              bool renormalize, int32_t *expert, float *gate);
void gate_entropy_run(cudaStream_t stream, const float *logits, size_t rows, uint32_t experts,
                      float *entropy);
/* scratch of plan_scratch_elements(assignments, experts). */
void plan_run(cudaStream_t stream, const int32_t *expert, size_t assignments, uint32_t experts,
              uint32_t top_k, struct kernels_plan plan, uint32_t *scratch);
void dispatch_run(cudaStream_t stream, const void *in, struct kernels_plan plan, uint32_t experts,
                  size_t max_slots, size_t row_bytes, void *out);
void combine_run(cudaStream_t stream, bool bf16, const void *y, struct kernels_plan plan,
                 const int32_t *expert, const float *gate, size_t rows, uint32_t top_k, uint32_t width,
                 float *x);

#ifdef __cplusplus
}
#endif
#endif
