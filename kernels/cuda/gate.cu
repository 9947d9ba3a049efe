/* gate.cu - softmax over all experts, the top k of it, and its entropy. A warp a row; lane l has experts l, l +
 * 32, …; sums are a chain for each lane, then five halvings.
 *
 * Riquelme et al., "Scaling Vision with Sparse Mixture of Experts" (V-MoE), section 2.
 */
#include "kernels/cuda/device.h"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/number.cuh"

namespace {

enum { WARPS = 4, THREADS = WARPS * WARP };

/* gate[e] = exp(logit[e] - most) / sum, in the warp's shared memory. */
__device__ __forceinline__ void softmax(const float *logit, uint32_t experts, float *gate) {
    const uint32_t lane = threadIdx.x % WARP;
    float most = -INFINITY, sum = 0;
    for (uint32_t e = lane; e < experts; e += WARP)
        most = fmaxf(most, logit[e]);
    most = warp_max(most);
    for (uint32_t e = lane; e < experts; e += WARP) {
        gate[e] = expf(logit[e] - most);
        sum += gate[e];
    }
    sum = warp_sum(sum);
    for (uint32_t e = lane; e < experts; e += WARP)
        gate[e] /= sum;
    __syncwarp();
}

/* Is a better than b, as the reference's strict comparison in ascending order finds it? */
__device__ __forceinline__ bool better(float a, int32_t at, float b, int32_t bt) {
    return bt < 0 || (at >= 0 && (a > b || (a == b && at < bt)));
}

__global__ void __launch_bounds__(THREADS)
    gate_kernel(const float *logits, size_t rows, uint32_t experts, uint32_t top_k, bool renormalize,
                int32_t *expert, float *gate) {
    float *const p = (float *)dynamic_shared() + threadIdx.x / WARP * experts;
    const size_t row = blockIdx.x * (size_t)WARPS + threadIdx.x / WARP;
    const uint32_t lane = threadIdx.x % WARP;
    if (row >= rows)
        return;
    softmax(logits + row * experts, experts, p);
    expert += row * top_k;
    gate += row * top_k;
    float kept = 0;
    for (uint32_t j = 0; j < top_k; j++) {
        float best = 0;
        int32_t which = -1;
        for (uint32_t e = lane; e < experts; e += WARP) {
            if (p[e] >= 0 && better(p[e], (int32_t)e, best, which)) { /* taken ones are negative */
                best = p[e];
                which = (int32_t)e;
            }
        }
#pragma unroll
        for (int step = WARP / 2; step > 0; step /= 2) {
            const float other = __shfl_xor_sync(WHOLE_WARP, best, step);
            const int32_t at = __shfl_xor_sync(WHOLE_WARP, which, step);
            if (better(other, at, best, which)) {
                best = other;
                which = at;
            }
        }
        kept += best;
        if (lane == 0) {
            expert[j] =
                which < 0 ? 0 : which; /* no gate at all is a number: the row is NaN, and so is its answer */
            gate[j] = which < 0 ? NAN : best;
            if (which >= 0)
                p[which] = -1;
        }
        __syncwarp();
    }
    if (renormalize && lane == 0)
        for (uint32_t j = 0; j < top_k; j++)
            gate[j] /= kept;
}

/* A gate that underflows to 0 adds 0, the limit of p ln p. */
__global__ void __launch_bounds__(THREADS)
    entropy_kernel(const float *logits, size_t rows, uint32_t experts, float *entropy) {
    float *const p = (float *)dynamic_shared() + threadIdx.x / WARP * experts;
    const size_t row = blockIdx.x * (size_t)WARPS + threadIdx.x / WARP;
    if (row >= rows)
        return;
    softmax(logits + row * experts, experts, p);
    float h = 0;
    for (uint32_t e = threadIdx.x % WARP; e < experts; e += WARP)
        h -= p[e] > 0 ? p[e] * logf(p[e]) : 0;
    h = warp_sum(h);
    if (threadIdx.x % WARP == 0)
        entropy[row] = h;
}

dim3 grid_for(size_t rows) {
    return dim3((unsigned)((rows + WARPS - 1) / WARPS));
}

} // namespace

void gate_run(cudaStream_t stream, const float *logits, size_t rows, uint32_t experts, uint32_t top_k,
              bool renormalize, int32_t *expert, float *gate) {
    launch(stream, gate_kernel, grid_for(rows), dim3(THREADS), WARPS * experts * sizeof(float), logits, rows,
           experts, top_k, renormalize, expert, gate);
}

void gate_entropy_run(cudaStream_t stream, const float *logits, size_t rows, uint32_t experts,
                      float *entropy) {
    launch(stream, entropy_kernel, grid_for(rows), dim3(THREADS), WARPS * experts * sizeof(float), logits,
           rows, experts, entropy);
}
