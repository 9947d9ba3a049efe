/* rows.cu - rows to their experts and back: a gather, and the weighted sum of what came of them. */
#include "kernels/cuda/device.h"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/number.cuh"

namespace {

enum { THREADS = 256, WARPS = THREADS / WARP };

/* A warp a slot, in words of 16 bytes, or of 2 where rows are not aligned to more. */
template <typename Word>
__global__ void __launch_bounds__(THREADS) dispatch_kernel(const Word *in, const uint32_t *source,
                                                           const uint32_t *slots, uint32_t words, Word *out) {
    const size_t s = blockIdx.x * (size_t)WARPS + threadIdx.x / WARP;
    if (s >= *slots)
        return;
    const Word *const from = in + (size_t)source[s] * words;
    for (uint32_t w = threadIdx.x % WARP; w < words; w += WARP)
        out[s * words + w] = from[w];
}

/* Of a row's assignments that have a slot, the one that follows `last` in ascending expert, and among equals in
 * their own order; top_k comes before the first and after the last. */
__device__ __forceinline__ uint32_t next_term(const int32_t *expert, const uint32_t *slot, uint32_t top_k,
                                              uint32_t last) {
    uint32_t next = top_k;
    for (uint32_t a = 0; a < top_k; a++) {
        const bool follows =
            last == top_k || expert[a] > expert[last] || (expert[a] == expert[last] && a > last);
        if (slot[a] != KERNELS_DROPPED && follows && (next == top_k || expert[a] < expert[next]))
            next = a;
    }
    return next;
}

/* A warp a row. */
template <typename Act>
__global__ void __launch_bounds__(THREADS)
    combine_kernel(const Act *y, const uint32_t *slot, const int32_t *expert, const float *gate, size_t rows,
                   uint32_t top_k, uint32_t width, float *x) {
    const size_t row = blockIdx.x * (size_t)WARPS + threadIdx.x / WARP;
    if (row >= rows)
        return;
    expert += row * top_k;
    gate += row * top_k;
    slot += row * top_k;
    for (uint32_t c = threadIdx.x % WARP; c < width; c += WARP) {
        float sum = 0;
        uint32_t a = next_term(expert, slot, top_k, top_k);
        for (; a < top_k; a = next_term(expert, slot, top_k, a))
            sum += gate[a] * to_float(y[(size_t)slot[a] * width + c]);
        x[row * width + c] += sum;
    }
}

/* The same for one expert a row, four columns at a time: what most models are. */
template <typename Act> __device__ __forceinline__ float4 four(const Act *y);

template <> __device__ __forceinline__ float4 four<float>(const float *y) {
    return *(const float4 *)y;
}

template <> __device__ __forceinline__ float4 four<bf16>(const bf16 *y) {
    const uint2 v = *(const uint2 *)y;
    return make_float4(__uint_as_float(v.x << 16), __uint_as_float(v.x & 0xffff0000u),
                       __uint_as_float(v.y << 16), __uint_as_float(v.y & 0xffff0000u));
}

template <typename Act>
__global__ void __launch_bounds__(THREADS)
    combine_one_kernel(const Act *y, const uint32_t *slot, const float *gate, size_t rows, uint32_t width,
                       float *x) {
    const size_t row = blockIdx.x * (size_t)WARPS + threadIdx.x / WARP;
    if (row >= rows || slot[row] == KERNELS_DROPPED)
        return;
    const Act *const from = y + (size_t)slot[row] * width;
    const float g = gate[row];
    for (uint32_t c = threadIdx.x % WARP * 4; c < width; c += WARP * 4) {
        float4 *const to = (float4 *)(x + row * width + c);
        const float4 v = four<Act>(from + c), old = *to;
        *to = make_float4(old.x + g * v.x, old.y + g * v.y, old.z + g * v.z, old.w + g * v.w);
    }
}

dim3 grid_for(size_t rows) {
    return dim3((unsigned)((rows + WARPS - 1) / WARPS));
}

template <typename Act>
void combine_as(cudaStream_t stream, const Act *y, struct kernels_plan plan, const int32_t *expert,
                const float *gate, size_t rows, uint32_t top_k, uint32_t width, float *x) {
    if (top_k == 1 && width % 4 == 0)
        launch(stream, combine_one_kernel<Act>, grid_for(rows), dim3(THREADS), 0, y, plan.slot, gate, rows,
               width, x);
    else
        launch(stream, combine_kernel<Act>, grid_for(rows), dim3(THREADS), 0, y, plan.slot, expert, gate,
               rows, top_k, width, x);
}

} // namespace

void dispatch_run(cudaStream_t stream, const void *in, struct kernels_plan plan, uint32_t experts,
                  size_t max_slots, size_t row_bytes, void *out) {
    const uint32_t *const slots = plan.offset + experts;
    if (row_bytes % sizeof(uint4) == 0)
        launch(stream, dispatch_kernel<uint4>, grid_for(max_slots), dim3(THREADS), 0, (const uint4 *)in,
               plan.source, slots, (uint32_t)(row_bytes / sizeof(uint4)), (uint4 *)out);
    else
        launch(stream, dispatch_kernel<uint16_t>, grid_for(max_slots), dim3(THREADS), 0, (const uint16_t *)in,
               plan.source, slots, (uint32_t)(row_bytes / sizeof(uint16_t)), (uint16_t *)out);
}

void combine_run(cudaStream_t stream, bool bfloat16, const void *y, struct kernels_plan plan,
                 const int32_t *expert, const float *gate, size_t rows, uint32_t top_k, uint32_t width,
                 float *x) {
    if (bfloat16)
        combine_as(stream, (const bf16 *)y, plan, expert, gate, rows, top_k, width, x);
    else
        combine_as(stream, (const float *)y, plan, expert, gate, rows, top_k, width, x);
}
