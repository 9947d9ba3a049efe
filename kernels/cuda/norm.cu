/* norm.cu - LayerNorm, what stands for a sequence, and unit vectors.
 *
 * A warp has a row, and goes over it once for each moment: after the first time it lies in the first-level
 * cache. Sums have one shape for a width: a chain for each lane, then five halvings.
 */
#include "kernels/cuda/device.h"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/number.cuh"

namespace {

enum { THREADS = 256, WARPS = THREADS / WARP };

template <typename Act> __device__ __forceinline__ void put(Act *out, uint32_t c, float4 v);

template <> __device__ __forceinline__ void put<float>(float *out, uint32_t c, float4 v) {
    *(float4 *)(out + c) = v;
}

template <> __device__ __forceinline__ void put<bf16>(bf16 *out, uint32_t c, float4 v) {
    *(uint2 *)(out + c) = make_uint2(bf16_pack(v.x, v.y), bf16_pack(v.z, v.w));
}

/* Four elements at a time; VECTOR: width is a multiple of 4, so that rows are aligned to 16 bytes. */
template <bool VECTOR>
__device__ __forceinline__ float4 take(const float *row, uint32_t c, uint32_t width, float fill) {
    if (VECTOR)
        return *(const float4 *)(row + c);
    return make_float4(row[c], c + 1 < width ? row[c + 1] : fill, c + 2 < width ? row[c + 2] : fill,
                       c + 3 < width ? row[c + 3] : fill);
}

template <typename Act, bool VECTOR>
__device__ __forceinline__ void give(Act *row, uint32_t c, uint32_t width, float4 v) {
    if (VECTOR)
        return put<Act>(row, c, v);
    const float each[] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (uint32_t i = 0; i < 4; i++)
        if (c + i < width)
            row[c + i] = from_float<Act>(each[i]);
}

/* Ba et al., "Layer Normalization", with the population variance. */
template <typename Act, bool VECTOR>
__global__ void __launch_bounds__(THREADS)
    layernorm_kernel(const float *x, const float *weight, const float *bias, float eps, size_t rows,
                     uint32_t width, Act *out_act, float *out_f32) {
    const size_t row = blockIdx.x * (size_t)WARPS + threadIdx.x / WARP;
    const uint32_t first = threadIdx.x % WARP * 4;
    if (row >= rows)
        return;
    x += row * width;
    float sum = 0, squares = 0;
    for (uint32_t c = first; c < width; c += WARP * 4) {
        const float4 v = take<VECTOR>(x, c, width, 0);
        sum += v.x + v.y + (v.z + v.w);
    }
    const float mean = warp_sum(sum) / (float)width;
    for (uint32_t c = first; c < width; c += WARP * 4) {
        const float4 v = take<VECTOR>(x, c, width, mean);
        const float a = v.x - mean, b = v.y - mean, d = v.z - mean, e = v.w - mean;
        squares += a * a + b * b + (d * d + e * e);
    }
    const float scale = 1.0f / sqrtf(warp_sum(squares) / (float)width + eps);
    for (uint32_t c = first; c < width; c += WARP * 4) {
        const float4 v = take<VECTOR>(x, c, width, 0), w = take<VECTOR>(weight, c, width, 0),
                     b = take<VECTOR>(bias, c, width, 0);
        const float4 y = make_float4((v.x - mean) * scale * w.x + b.x, (v.y - mean) * scale * w.y + b.y,
                                     (v.z - mean) * scale * w.z + b.z, (v.w - mean) * scale * w.w + b.w);
        if (out_act)
            give<Act, VECTOR>(out_act + row * width, c, width, y);
        if (out_f32)
            give<float, VECTOR>(out_f32 + row * width, c, width, y);
    }
}

/* A thread a column of a sequence, rows in their order. A single row is the mean of itself. */
template <typename Act>
__global__ void pool_kernel(enum kernels_pooling pooling, const float *x, const uint32_t *start,
                            uint32_t width, Act *out_act, float *out_f32) {
    const uint32_t c = blockIdx.y * THREADS + threadIdx.x;
    uint32_t first = start[blockIdx.x], end = start[blockIdx.x + 1];
    if (c >= width)
        return;
    if (pooling == KERNELS_POOL_REST && end - first > 1)
        first++;
    if (pooling == KERNELS_POOL_FIRST)
        end = first + 1;
    if (pooling == KERNELS_POOL_LAST)
        first = end - 1;
    float sum = 0;
    for (uint32_t r = first; r < end; r++)
        sum += x[(size_t)r * width + c];
    const float v = sum / (float)(end - first);
    const size_t at = (size_t)blockIdx.x * width + c;
    if (out_act)
        out_act[at] = from_float<Act>(v);
    if (out_f32)
        out_f32[at] = v;
}

__global__ void __launch_bounds__(THREADS) normalize_kernel(float *z, size_t n, uint32_t width) {
    const size_t row = blockIdx.x * (size_t)WARPS + threadIdx.x / WARP;
    if (row >= n)
        return;
    z += row * width;
    float squares = 0;
    for (uint32_t c = threadIdx.x % WARP; c < width; c += WARP)
        squares += z[c] * z[c];
    squares = warp_sum(squares);
    if (squares > 0)
        for (uint32_t c = threadIdx.x % WARP; c < width; c += WARP)
            z[c] /= sqrtf(squares);
}

unsigned warps_for(size_t rows) {
    return (unsigned)((rows + WARPS - 1) / WARPS);
}

template <typename Act>
void layernorm_as(cudaStream_t stream, const float *x, const float *weight, const float *bias, float eps,
                  size_t rows, uint32_t width, Act *out_act, float *out_f32) {
    if (width % 4 == 0)
        launch(stream, layernorm_kernel<Act, true>, dim3(warps_for(rows)), dim3(THREADS), 0, x, weight, bias,
               eps, rows, width, out_act, out_f32);
    else
        launch(stream, layernorm_kernel<Act, false>, dim3(warps_for(rows)), dim3(THREADS), 0, x, weight, bias,
               eps, rows, width, out_act, out_f32);
}

} // namespace

void layernorm_run(cudaStream_t stream, bool bfloat16, const float *x, const float *weight, const float *bias,
                   float eps, size_t rows, uint32_t width, void *out_act, float *out_f32) {
    if (bfloat16)
        layernorm_as(stream, x, weight, bias, eps, rows, width, (bf16 *)out_act, out_f32);
    else
        layernorm_as(stream, x, weight, bias, eps, rows, width, (float *)out_act, out_f32);
}

void pool_run(cudaStream_t stream, bool bfloat16, enum kernels_pooling pooling, const float *x,
              const uint32_t *start, uint32_t n, uint32_t width, void *out_act, float *out_f32) {
    const dim3 grid(n, (width + THREADS - 1) / THREADS);
    if (bfloat16)
        launch(stream, pool_kernel<bf16>, grid, dim3(THREADS), 0, pooling, x, start, width, (bf16 *)out_act,
               out_f32);
    else
        launch(stream, pool_kernel<float>, grid, dim3(THREADS), 0, pooling, x, start, width, (float *)out_act,
               out_f32);
}

void normalize_run(cudaStream_t stream, float *z, size_t n, uint32_t width) {
    launch(stream, normalize_kernel, dim3(warps_for(n)), dim3(THREADS), 0, z, n, width);
}
