/* attention_naive.cu - attention as its formula is written: a thread a query and head.
 *
 * Twice over the keys, for the largest score and for the weights; the answer grows in the thread's own memory. All
 * threads of a block read the same keys at the same time, from caches.
 */
#include "bench/gpu/ladder/ladder.h"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/number.cuh"

namespace {

__device__ float score(const bf16 *q, const bf16 *key, uint32_t d, float scale) {
    float dot = 0;
    for (uint32_t c = 0; c < d; c++)
        dot = fmaf(to_float(q[c]), to_float(key[c]), dot);
    return dot * scale;
}

__global__ void __launch_bounds__(ATTENTION_QUERIES)
    naive_kernel(const bf16 *qkv, const struct attention_tile *tiles, uint32_t width, uint32_t heads,
                 bf16 *out) {
    const struct attention_tile tile = tiles[blockIdx.x];
    const uint32_t row = tile.first + threadIdx.x, d = width / heads, head = blockIdx.y;
    const size_t pitch = 3 * (size_t)width;
    if (row >= tile.end)
        return;
    const bf16 *const q = qkv + row * pitch + (size_t)head * d;
    const bf16 *const keys = qkv + width + (size_t)head * d, *const values = keys + width;
    const float scale = 1.0f / sqrtf((float)d);
    float o[LADDER_HEAD] = {}, most = -INFINITY, sum = 0;
    for (uint32_t j = tile.begin; j < tile.end; j++)
        most = fmaxf(most, score(q, keys + j * pitch, d, scale));
    for (uint32_t j = tile.begin; j < tile.end; j++) {
        const float e = expf(score(q, keys + j * pitch, d, scale) - most);
        sum += e;
        for (uint32_t c = 0; c < d; c++)
            o[c] = fmaf(e, to_float(values[j * pitch + c]), o[c]);
    }
    for (uint32_t c = 0; c < d; c++)
        out[(size_t)row * width + (size_t)head * d + c] = from_float<bf16>(o[c] / sum);
}

} // namespace

void ladder_attention_naive(cudaStream_t stream, const void *qkv, const struct attention_tile *tile,
                            uint32_t tiles, uint32_t width, uint32_t heads, void *out) {
    launch(stream, naive_kernel, dim3(tiles, heads), dim3(ATTENTION_QUERIES), 0, (const bf16 *)qkv, tile,
           width, heads, (bf16 *)out);
}
