/* gemm_cluster.cu - products by wgmma with rows multicast to a cluster of two blocks: an experiment for Hopper.
 *
 * As kernels/cuda/gemm_wgmma.cu with tiles of 128 features by 256 rows, where a stage is 16 KiB of weights and 32
 * KiB of rows. The two blocks of a cluster have neighbouring features and the same rows; each fetches half of the
 * rows and has them sent to both, so that a stage costs the second-level cache 32 KiB in place of 48.
 *
 * A block's stage is written by both blocks' copies. So a producer waits until the consumers of both blocks are
 * through with the stage (`empty` counts the warps of both), while `full` counts the bytes of both copies and is
 * each block's own. Bytes of the other's copy may come before this block expects any: the count goes below zero and
 * comes back, and the phase cannot end before the producer's own arrival. No block leaves before the other is done.
 */
#include "bench/gpu/ladder/cluster.cuh"
#include "bench/gpu/ladder/ladder.h"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/product.cuh"

namespace {

enum { M = 64, N = 256, K = 64, CONSUMERS = 2, GROUP = 128, BLOCKS = 2, STAGES = 4 };
enum { FEATURES = M * CONSUMERS, THREADS = (CONSUMERS + 1) * GROUP, TILE_ROW = K * sizeof(bf16) };
enum { STAGE = (FEATURES + N) * TILE_ROW, HALF = N / BLOCKS };
static_assert((int)HALF == (int)LADDER_CLUSTER_BOX, "the map's box is what a block fetches");
constexpr size_t BYTES = (size_t)STAGES * STAGE + 2 * STAGES * sizeof(uint64_t);

#ifdef LIMOE_HOPPER

struct ring {
    int stage;
    uint32_t parity;
};

__device__ __forceinline__ void advance(struct ring &r) {
    if (++r.stage == STAGES) {
        r.stage = 0;
        r.parity ^= 1;
    }
}

__device__ __forceinline__ void produce(const struct product &p, const CUtensorMap *weight,
                                        const CUtensorMap *rows, unsigned char *shared, uint64_t *full,
                                        uint64_t *empty, uint32_t rank) {
    struct ring r = {0, 1};
    struct tile_cursor cursor = {0, 0};
    struct tile t;
    tma_prefetch(weight);
    tma_prefetch(rows);
    for (uint32_t index = blockIdx.x / BLOCKS; find_tile<BLOCKS * FEATURES, N>(p, index, cursor, t);
         index += gridDim.x / BLOCKS) {
        for (uint32_t k = 0; k < p.in; k += K, advance(r)) {
            unsigned char *const stage = shared + r.stage * STAGE;
            barrier_wait(&empty[r.stage], r.parity);
            barrier_arrive_expect(&full[r.stage], STAGE);
#pragma unroll
            for (int c = 0; c < CONSUMERS; c++)
                tma_load_3d(stage + c * M * TILE_ROW, weight, &full[r.stage], (int32_t)k,
                            (int32_t)(t.feature + rank * FEATURES + c * M), (int32_t)t.group);
            tma_load_2d_to((1 << BLOCKS) - 1, stage + (FEATURES + rank * HALF) * TILE_ROW, rows,
                           &full[r.stage], (int32_t)k, (int32_t)(t.first + rank * HALF));
        }
    }
}

__device__ __forceinline__ void consume(const struct product &p, unsigned char *shared, uint64_t *full,
                                        uint64_t *empty, uint32_t rank, int consumer) {
    const uint32_t lane = threadIdx.x % WARP;
    const uint32_t feature = rank * FEATURES + consumer * M + threadIdx.x % GROUP / WARP * 16;
    struct ring r = {0, 0};
    struct tile_cursor cursor = {0, 0};
    struct tile t;
    for (uint32_t index = blockIdx.x / BLOCKS; find_tile<BLOCKS * FEATURES, N>(p, index, cursor, t);
         index += gridDim.x / BLOCKS) {
        float acc[N / 2];
#pragma unroll
        for (int i = 0; i < N / 2; i++)
            acc[i] = 0;
        int before = -1;
        for (uint32_t k = 0; k < p.in; k += K, advance(r)) {
            const unsigned char *const stage = shared + r.stage * STAGE;
            barrier_wait(&full[r.stage], r.parity);
            const uint64_t a = wgmma_descriptor(stage + consumer * M * TILE_ROW);
            const uint64_t b = wgmma_descriptor(stage + FEATURES * TILE_ROW);
            wgmma_fence();
#pragma unroll
            for (int i = 0; i < K / 16; i++)
                wgmma_bf16<N>(acc, a + i * 2, b + i * 2);
            wgmma_commit();
            wgmma_wait<1>();
            if (before >= 0 && lane < BLOCKS)
                barrier_arrive_at(&empty[before], lane);
            before = r.stage;
        }
        wgmma_wait<0>();
        if (lane < BLOCKS)
            barrier_arrive_at(&empty[before], lane);
        store<N / 8>(p, t, t.feature + feature, t.first, (const float(*)[4])acc);
    }
}

#endif

__global__ void __cluster_dims__(BLOCKS, 1, 1) __launch_bounds__(THREADS, 1)
    cluster_kernel(const struct product p, const __grid_constant__ CUtensorMap weight,
                   const __grid_constant__ CUtensorMap rows) {
#ifdef LIMOE_HOPPER
    unsigned char *const shared = dynamic_shared();
    uint64_t *const full = (uint64_t *)(shared + STAGES * STAGE), *const empty = full + STAGES;
    const uint32_t rank = cluster_rank();
    if (threadIdx.x == 0) {
        for (int i = 0; i < STAGES; i++) {
            barrier_init(&full[i], 1);
            barrier_init(&empty[i], BLOCKS * CONSUMERS * GROUP / WARP);
        }
        barrier_init_fence();
    }
    cluster_sync();
    if (threadIdx.x < GROUP) {
        registers_give<40>();
        if (threadIdx.x == 0)
            produce(p, &weight, &rows, shared, full, empty, rank);
    } else {
        registers_take<232>();
        consume(p, shared, full, empty, rank, (int)threadIdx.x / GROUP - 1);
    }
    cluster_sync();
#endif
}

} // namespace

cudaError_t ladder_gemm_cluster(cudaStream_t stream, const struct product *p, const CUtensorMap *weight,
                                const CUtensorMap *rows) {
    cudaLaunchAttribute shape = {};
    cudaLaunchConfig_t config = {};
    int clusters = 0;
    cudaError_t error = cudaFuncSetAttribute((const void *)cluster_kernel,
                                             cudaFuncAttributeMaxDynamicSharedMemorySize, (int)BYTES);
    shape.id = cudaLaunchAttributeClusterDimension;
    shape.val.clusterDim.x = BLOCKS;
    shape.val.clusterDim.y = shape.val.clusterDim.z = 1;
    config.gridDim = dim3(BLOCKS);
    config.blockDim = dim3(THREADS);
    config.dynamicSmemBytes = BYTES;
    config.attrs = &shape;
    config.numAttrs = 1;
    if (!error)
        error = cudaOccupancyMaxActiveClusters(&clusters, (const void *)cluster_kernel, &config);
    if (!error && clusters < 1)
        error = cudaErrorInvalidConfiguration;
    if (!error)
        launch(stream, cluster_kernel, dim3((uint32_t)clusters * BLOCKS), dim3(THREADS), BYTES, *p, *weight,
               *rows);
    return error;
}
