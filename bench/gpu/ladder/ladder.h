/* ladder.h - the rungs that the product does not climb: kernels that are here to be compared with. Each
 * queues itself on the stream; what is wrong with a launch is returned or shows in cudaGetLastError().
 */
#ifndef LIMOE_BENCH_GPU_LADDER_LADDER_H
#define LIMOE_BENCH_GPU_LADDER_LADDER_H

#include "kernels/cuda/device.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Rung 1 of products: a thread an element, both operands from global memory. The weights are [groups, out,
 * in] as the checkpoint has them: padded = out, pitch = in. */
void ladder_gemm_naive(cudaStream_t stream, const struct product *p);

/* Rung 5: as gemm_wgmma with 256 rows, but two blocks, neighbours in features, share the rows: each fetches
 * half of them for both. `rows` is a map in boxes of LADDER_CLUSTER_BOX. For sm_90 alone. */
enum { LADDER_CLUSTER_BOX = 128 };
cudaError_t ladder_gemm_cluster(cudaStream_t stream, const struct product *p, const CUtensorMap *weight,
                                const CUtensorMap *rows);

/* Rung 1 of attention: a thread a query and head, bfloat16, heads of at most LADDER_HEAD. */
enum { LADDER_HEAD = 128 };
void ladder_attention_naive(cudaStream_t stream, const void *qkv, const struct attention_tile *tile,
                            uint32_t tiles, uint32_t width, uint32_t heads, void *out);

#ifdef __cplusplus
}
#endif
#endif
