/* plan.cu - the dispatch plan, made on the device: histogram, prefix sums, a stable permutation.
 *
 * Assignments are cut into chunks of CHUNK, a warp each. Three kernels: how many of each chunk go to each
 * expert; where each expert's, and in it each chunk's, slots begin; which slot each assignment has. In a
 * chunk the warp takes 32 assignments at a time in order, and an assignment's place among those of its expert
 * is how many lanes below have the same: a stable order without atomics.
 */
#include "kernels/cuda/device.h"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/number.cuh"

namespace {

enum { CHUNK = PLAN_CHUNK, SCAN_THREADS = 1024 };

/* Calls act(assignment, expert, slot) for each of the chunk's, in order; slot counts from seen[expert] on,
 * which moves along. seen is the warp's shared memory, or anything else that its lanes see. */
template <typename Act>
__device__ __forceinline__ void for_chunk(const int32_t *expert, size_t assignments, size_t chunk,
                                          uint32_t *seen, Act act) {
    const uint32_t lane = threadIdx.x;
    for (size_t at = chunk * CHUNK; at < (chunk + 1) * CHUNK && at < assignments; at += WARP) {
        const size_t a = at + lane;
        const int32_t e = a < assignments ? expert[a] : -1;
        const uint32_t same = __match_any_sync(WHOLE_WARP, e);
        const uint32_t below = __popc(same & ((1u << lane) - 1));
        const uint32_t before = e >= 0 ? seen[e] : 0;
        __syncwarp();
        if (e >= 0 && below == 0)
            seen[e] = before + __popc(same);
        __syncwarp();
        if (a < assignments)
            act(a, e, before + below);
    }
}

/* count[expert][chunk] */
__global__ void __launch_bounds__(WARP)
    count_kernel(const int32_t *expert, size_t assignments, uint32_t experts, uint32_t *count) {
    uint32_t *const seen = (uint32_t *)dynamic_shared();
    const size_t chunks = gridDim.x;
    for (uint32_t e = threadIdx.x; e < experts; e += WARP)
        seen[e] = 0;
    __syncwarp();
    for_chunk(expert, assignments, blockIdx.x, seen, [](size_t, int32_t, uint32_t) {});
    for (uint32_t e = threadIdx.x; e < experts; e += WARP)
        count[e * chunks + blockIdx.x] = seen[e];
}

__device__ __forceinline__ uint32_t scan_warp(uint32_t v) {
    const uint32_t lane = threadIdx.x % WARP;
#pragma unroll
    for (int step = 1; step < WARP; step *= 2) {
        const uint32_t other = __shfl_up_sync(WHOLE_WARP, v, step);
        if (lane >= (uint32_t)step)
            v += other;
    }
    return v;
}

/* count[n] to the sums of all before each, in one block that goes over it piece by piece; those of each
 * expert's first chunk are the plan's offsets. */
__global__ void __launch_bounds__(SCAN_THREADS)
    scan_kernel(uint32_t *count, size_t chunks, uint32_t experts, uint32_t *offset) {
    __shared__ uint32_t of_warp[SCAN_THREADS / WARP];
    const size_t n = experts * chunks;
    const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    uint32_t before = 0;
    for (size_t at = 0; at < n; at += SCAN_THREADS) {
        const size_t i = at + threadIdx.x;
        const uint32_t own = i < n ? count[i] : 0, up_to = scan_warp(own);
        if (lane == WARP - 1)
            of_warp[warp] = up_to;
        __syncthreads();
        if (warp == 0)
            of_warp[lane] = scan_warp(of_warp[lane]);
        __syncthreads();
        const uint32_t first = before + (warp ? of_warp[warp - 1] : 0) + up_to - own;
        if (i < n) {
            count[i] = first;
            if (i % chunks == 0)
                offset[i / chunks] = first;
        }
        before += of_warp[SCAN_THREADS / WARP - 1];
        __syncthreads(); /* of_warp has been read */
    }
    if (threadIdx.x == 0)
        offset[experts] = before;
}

__global__ void __launch_bounds__(WARP)
    slots_kernel(const int32_t *expert, size_t assignments, uint32_t experts, uint32_t top_k,
                 const uint32_t *first, uint32_t *source, uint32_t *slot) {
    uint32_t *const seen = (uint32_t *)dynamic_shared();
    const size_t chunks = gridDim.x;
    for (uint32_t e = threadIdx.x; e < experts; e += WARP)
        seen[e] = first[e * chunks + blockIdx.x];
    __syncwarp();
    for_chunk(expert, assignments, blockIdx.x, seen, [=](size_t a, int32_t e, uint32_t at) {
        slot[a] = e < 0 ? KERNELS_DROPPED : at;
        if (e >= 0)
            source[at] = (uint32_t)(a / top_k);
    });
}

} // namespace

void plan_run(cudaStream_t stream, const int32_t *expert, size_t assignments, uint32_t experts,
              uint32_t top_k, struct kernels_plan plan, uint32_t *scratch) {
    const size_t chunks = assignments ? plan_chunks(assignments) : 1; /* offsets are set even so */
    const size_t shared = experts * sizeof(uint32_t);
    launch(stream, count_kernel, dim3((unsigned)chunks), dim3(WARP), shared, expert, assignments, experts,
           scratch);
    launch(stream, scan_kernel, dim3(1), dim3(SCAN_THREADS), 0, scratch, chunks, experts, plan.offset);
    if (assignments)
        launch(stream, slots_kernel, dim3((unsigned)chunks), dim3(WARP), shared, expert, assignments, experts,
               top_k, scratch, plan.source, plan.slot);
}
