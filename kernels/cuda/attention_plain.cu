/* attention_plain.cu - attention for heads of any width and either dtype: a block a query and head; attention
 * that pools, whose query is the same for every sequence; and attention over rows that were kept, by a list of them.
 *
 * Threads have a key each, THREADS of them at a time, then a column of the answer each. Twice over the keys: for
 * the largest score, then for the weights, as kernels.h defines them.
 */
#include "kernels/cuda/device.h"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/number.cuh"

namespace {

enum { THREADS = 128, WARPS = THREADS / WARP };

/* LayerNorm of one head's part of a row: the mean and the scale. */
struct moments {
    float mean, scale;
};

template <typename Act> __device__ struct moments measure(const Act *row, uint32_t d, float eps) {
    float sum = 0, squares = 0;
    for (uint32_t c = 0; c < d; c++)
        sum += to_float(row[c]);
    const float mean = sum / (float)d;
    for (uint32_t c = 0; c < d; c++) {
        const float v = to_float(row[c]) - mean;
        squares += v * v;
    }
    const struct moments m = {mean, 1.0f / sqrtf(squares / (float)d + eps)};
    return m;
}

/* Element c of a row, normalised where there is something to normalise by. */
template <typename Act>
__device__ __forceinline__ float element(const Act *row, uint32_t c, struct moments m, const float *weight,
                                         const float *bias) {
    const float v = to_float(row[c]);
    return weight ? rounded<Act>((v - m.mean) * m.scale * weight[c] + bias[c]) : v;
}

template <typename Act>
__device__ float score(const float *q, const Act *key, uint32_t d, const struct kernels_qk_norm &norm,
                       float scale) {
    struct moments m = {0, 0};
    if (norm.k_weight)
        m = measure(key, d, norm.eps);
    float dot = 0;
    for (uint32_t c = 0; c < d; c++)
        dot = fmaf(q[c], element(key, c, m, norm.k_weight, norm.k_bias), dot);
    return dot * scale;
}

/* Row j of rows that follow each other, or of those that are listed. */
__device__ __forceinline__ size_t place(const uint32_t *list, uint32_t j) {
    return list ? list[j] : j;
}

/* One head of a query, q[d], and `length` rows of keys and values, `pitch` elements apart, those of the list or
 * where it is NULL the first, to out[d]. o[d] is zeros; q and o are shared memory, and ready. */
template <typename Act>
__device__ void attend(const float *q, float *o, const Act *keys, const Act *values, size_t pitch,
                       const uint32_t *list, uint32_t length, uint32_t d, const struct kernels_qk_norm &norm,
                       Act *out) {
    __shared__ float weight[THREADS], reduced[WARPS];
    const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const float scale = 1.0f / sqrtf((float)d);
    float most = -INFINITY;
    for (uint32_t j = threadIdx.x; j < length; j += THREADS)
        most = fmaxf(most, score(q, keys + place(list, j) * pitch, d, norm, scale));
    most = warp_max(most);
    if (lane == 0)
        reduced[warp] = most;
    __syncthreads();
    for (int w = 0; w < WARPS; w++)
        most = fmaxf(most, reduced[w]);

    float sum = 0;
    for (uint32_t first = 0; first < length; first += THREADS) {
        const uint32_t j = first + threadIdx.x, left = length - first,
                       count = left < (uint32_t)THREADS ? left : (uint32_t)THREADS;
        __syncthreads(); /* the weights of the last keys have been used */
        if (j < length)
            weight[threadIdx.x] = expf(score(q, keys + place(list, j) * pitch, d, norm, scale) - most);
        __syncthreads();
        for (uint32_t i = 0; i < count; i++)
            sum += weight[i];
        for (uint32_t c = threadIdx.x; c < d; c += THREADS)
            for (uint32_t i = 0; i < count; i++)
                o[c] =
                    fmaf(rounded<Act>(weight[i]), to_float(values[place(list, first + i) * pitch + c]), o[c]);
    }
    for (uint32_t c = threadIdx.x; c < d; c += THREADS)
        out[c] = from_float<Act>(o[c] / sum);
}

template <typename Act>
__global__ void __launch_bounds__(THREADS)
    attention_kernel(const Act *qkv, const struct attention_tile *tiles, uint32_t width, uint32_t heads,
                     enum kernels_mask mask, struct kernels_qk_norm norm, Act *out) {
    const struct attention_tile tile = tiles[blockIdx.x];
    const uint32_t d = width / heads, row = tile.first + blockIdx.z;
    const size_t pitch = 3 * (size_t)width, column = (size_t)blockIdx.y * d;
    float *const q = (float *)dynamic_shared(), *const o = q + d;
    if (row >= tile.end)
        return;
    const uint32_t end = mask == KERNELS_CAUSAL ? row + 1 : tile.end;
    const Act *const query = qkv + row * pitch + column;
    const Act *const keys = qkv + tile.begin * pitch + width + column;
    struct moments m = {0, 0};
    if (norm.q_weight)
        m = measure(query, d, norm.eps);
    for (uint32_t c = threadIdx.x; c < d; c += THREADS) {
        q[c] = element(query, c, m, norm.q_weight, norm.q_bias);
        o[c] = 0;
    }
    __syncthreads();
    attend(q, o, keys, keys + width, pitch, (const uint32_t *)nullptr, end - tile.begin, d, norm,
           out + (size_t)row * width + column);
}

template <typename Act>
__global__ void __launch_bounds__(THREADS)
    attention_pool_kernel(const float *query, const Act *kv, const uint32_t *start, uint32_t width,
                          uint32_t heads, Act *out) {
    const uint32_t d = width / heads, begin = start[blockIdx.x], end = start[blockIdx.x + 1];
    const size_t pitch = 2 * (size_t)width, column = (size_t)blockIdx.y * d;
    float *const q = (float *)dynamic_shared(), *const o = q + d;
    for (uint32_t c = threadIdx.x; c < d; c += THREADS) {
        q[c] = rounded<Act>(query[column + c]);
        o[c] = 0;
    }
    __syncthreads();
    const Act *const keys = kv + begin * pitch + column;
    attend(q, o, keys, keys + width, pitch, (const uint32_t *)nullptr, end - begin, d, kernels_qk_norm{},
           out + (size_t)blockIdx.x * width + column);
}

template <typename Act>
__global__ void __launch_bounds__(THREADS)
    attention_kept_kernel(const Act *query, const Act *kv, const uint32_t *start, const uint32_t *row,
                          uint32_t width, uint32_t heads, Act *out) {
    const uint32_t d = width / heads, begin = start[blockIdx.x], end = start[blockIdx.x + 1];
    const size_t column = (size_t)blockIdx.y * d, at = (size_t)blockIdx.x * width + column;
    float *const q = (float *)dynamic_shared(), *const o = q + d;
    for (uint32_t c = threadIdx.x; c < d; c += THREADS) {
        q[c] = to_float(query[at + c]);
        o[c] = 0;
    }
    __syncthreads();
    const Act *const keys = kv + column;
    attend(q, o, keys, keys + width, 2 * (size_t)width, row + begin, end - begin, d, kernels_qk_norm{},
           out + at);
}

/* Room for q and o. */
size_t room(uint32_t width, uint32_t heads) {
    return 2 * (size_t)(width / heads) * sizeof(float);
}

cudaError_t give_room(const void *kernel, size_t shared) {
    return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared);
}

template <typename Act>
cudaError_t run(cudaStream_t stream, const Act *qkv, const struct attention_tile *tile, uint32_t tiles,
                uint32_t width, uint32_t heads, enum kernels_mask mask, struct kernels_qk_norm norm,
                Act *out) {
    const size_t shared = room(width, heads);
    const cudaError_t error = give_room((const void *)attention_kernel<Act>, shared);
    if (!error)
        launch(stream, attention_kernel<Act>, dim3(tiles, heads, ATTENTION_QUERIES), dim3(THREADS), shared,
               qkv, tile, width, heads, mask, norm, out);
    return error;
}

template <typename Act>
cudaError_t run_pool(cudaStream_t stream, const float *query, const Act *kv, const uint32_t *start,
                     uint32_t n, uint32_t width, uint32_t heads, Act *out) {
    const size_t shared = room(width, heads);
    const cudaError_t error = give_room((const void *)attention_pool_kernel<Act>, shared);
    if (!error)
        launch(stream, attention_pool_kernel<Act>, dim3(n, heads), dim3(THREADS), shared, query, kv, start,
               width, heads, out);
    return error;
}

template <typename Act>
cudaError_t run_kept(cudaStream_t stream, const Act *query, const Act *kv, const uint32_t *start,
                     const uint32_t *row, uint32_t n, uint32_t width, uint32_t heads, Act *out) {
    const size_t shared = room(width, heads);
    const cudaError_t error = give_room((const void *)attention_kept_kernel<Act>, shared);
    if (!error)
        launch(stream, attention_kept_kernel<Act>, dim3(n, heads), dim3(THREADS), shared, query, kv, start,
               row, width, heads, out);
    return error;
}

} // namespace

cudaError_t attention_plain(cudaStream_t stream, bool bfloat16, const void *qkv,
                            const struct attention_tile *tile, uint32_t tiles, uint32_t width, uint32_t heads,
                            enum kernels_mask mask, const struct kernels_qk_norm *norm, void *out) {
    const struct kernels_qk_norm n = norm ? *norm : kernels_qk_norm{};
    return bfloat16 ? run(stream, (const bf16 *)qkv, tile, tiles, width, heads, mask, n, (bf16 *)out)
                    : run(stream, (const float *)qkv, tile, tiles, width, heads, mask, n, (float *)out);
}

cudaError_t attention_pool_run(cudaStream_t stream, bool bfloat16, const float *query, const void *kv,
                               const uint32_t *start, uint32_t n, uint32_t width, uint32_t heads, void *out) {
    return bfloat16 ? run_pool(stream, query, (const bf16 *)kv, start, n, width, heads, (bf16 *)out)
                    : run_pool(stream, query, (const float *)kv, start, n, width, heads, (float *)out);
}

cudaError_t attention_kept_run(cudaStream_t stream, bool bfloat16, const void *query, const void *kv,
                               const uint32_t *start, const uint32_t *row, uint32_t n, uint32_t width,
                               uint32_t heads, void *out) {
    return bfloat16 ? run_kept(stream, (const bf16 *)query, (const bf16 *)kv, start, row, n, width, heads,
                               (bf16 *)out)
                    : run_kept(stream, (const float *)query, (const float *)kv, start, row, n, width, heads,
                               (float *)out);
}
