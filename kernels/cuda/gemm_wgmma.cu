/* gemm_wgmma.cu - products by wgmma, for Hopper (sm_90a): 64 features a consumer by N rows, 64 of k a stage.
 *
 * One warpgroup's first thread produces: it has the tensor memory accelerator fill stages of shared memory,
 * tile after tile, as fast as they are given back. The other warpgroups consume: each multiplies its own 64
 * features of the stage by all its rows, and stores what comes of it while the next tile's stages are being
 * filled already. Two barriers a stage: `full` counts the bytes that have come, `empty` the warps that are
 * through with them.
 *
 * What lies beyond a matrix comes as zeros. Rows of a tile that belong to the next group come as they are:
 * they meet nothing but their own columns of the product, which are not stored.
 */
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/product.cuh"

namespace {

enum { M = 64, K = 64, GROUP = 128 }; /* GROUP: threads of a warpgroup */
enum { TILE_ROW = K * sizeof(bf16) }; /* 128 bytes: what the swizzle works on */

template <int N, int CONSUMERS> struct shape {
    static constexpr int FEATURES = M * CONSUMERS;
    static constexpr int THREADS = (CONSUMERS + 1) * GROUP;
    static constexpr int STAGE = (FEATURES + N) * TILE_ROW; /* a multiple of 1,024, as the swizzle wants it */
    static constexpr int STAGES = N >= 256 ? 4 : N >= 128 ? 5 : 6;
    static constexpr size_t BYTES = (size_t)STAGES * STAGE + 2 * STAGES * sizeof(uint64_t);
    static constexpr int BLOCKS = CONSUMERS == 1 ? 2 : 1; /* that shall fit on a multiprocessor */
};

#ifdef LIMOE_HOPPER

/* Accumulators of the largest tile need more registers than an even share. */
template <int N> __host__ __device__ constexpr bool uneven() {
    return N >= 256;
}

/* A ring of stages: which comes next, and the parity of its barriers' phase. */
struct ring {
    int stage;
    uint32_t parity;
};

template <int STAGES> __device__ __forceinline__ void advance(struct ring &r) {
    if (++r.stage == STAGES) {
        r.stage = 0;
        r.parity ^= 1;
    }
}

template <int N, int CONSUMERS>
__device__ __forceinline__ void produce(const struct product &p, const CUtensorMap *weight,
                                        const CUtensorMap *rows, unsigned char *shared, uint64_t *full,
                                        uint64_t *empty) {
    using s = shape<N, CONSUMERS>;
    struct ring r = {0, 1}; /* stages are empty at first: the wait for the phase before the first passes */
    struct tile_cursor cursor = {0, 0};
    struct tile t;
    tma_prefetch(weight);
    tma_prefetch(rows);
    for (uint32_t index = blockIdx.x; find_tile<s::FEATURES, N>(p, index, cursor, t); index += gridDim.x) {
        for (uint32_t k = 0; k < p.in; k += K, advance<s::STAGES>(r)) {
            unsigned char *const stage = shared + r.stage * s::STAGE;
            barrier_wait(&empty[r.stage], r.parity);
            barrier_arrive_expect(&full[r.stage], s::STAGE);
#pragma unroll
            for (int c = 0; c < CONSUMERS; c++)
                tma_load_3d(stage + c * M * TILE_ROW, weight, &full[r.stage], (int32_t)k,
                            (int32_t)(t.feature + c * M), (int32_t)t.group);
            tma_load_2d(stage + s::FEATURES * TILE_ROW, rows, &full[r.stage], (int32_t)k, (int32_t)t.first);
        }
    }
}

template <int N, int CONSUMERS>
__device__ __forceinline__ void consume(const struct product &p, unsigned char *shared, uint64_t *full,
                                        uint64_t *empty, int consumer) {
    using s = shape<N, CONSUMERS>;
    const bool speaker = threadIdx.x % WARP == 0; /* of its warp */
    const uint32_t feature = consumer * M + threadIdx.x % GROUP / WARP * 16;
    struct ring r = {0, 0};
    struct tile_cursor cursor = {0, 0};
    struct tile t;
    for (uint32_t index = blockIdx.x; find_tile<s::FEATURES, N>(p, index, cursor, t); index += gridDim.x) {
        float acc[N / 2];
#pragma unroll
        for (int i = 0; i < N / 2; i++)
            acc[i] = 0;
        int before = -1; /* the stage whose product may still be under way */
        for (uint32_t k = 0; k < p.in; k += K, advance<s::STAGES>(r)) {
            const unsigned char *const stage = shared + r.stage * s::STAGE;
            barrier_wait(&full[r.stage], r.parity);
            const uint64_t a = wgmma_descriptor(stage + consumer * M * TILE_ROW);
            const uint64_t b = wgmma_descriptor(stage + s::FEATURES * TILE_ROW);
            wgmma_fence();
#pragma unroll
            for (int i = 0; i < K / 16; i++)
                wgmma_bf16<N>(acc, a + i * 2,
                              b + i * 2); /* 32 bytes further, in the descriptor's units of 16 */
            wgmma_commit();
            wgmma_wait<1>();
            if (before >= 0 && speaker)
                barrier_arrive(&empty[before]);
            before = r.stage;
        }
        wgmma_wait<0>();
        if (speaker)
            barrier_arrive(&empty[before]);
        store<N / 8>(p, t, t.feature + feature, t.first, (const float(*)[4])acc);
    }
}

#endif

template <int N, int CONSUMERS>
__global__ void __launch_bounds__(shape<N, CONSUMERS>::THREADS, shape<N, CONSUMERS>::BLOCKS)
    wgmma_kernel(const struct product p, const __grid_constant__ CUtensorMap weight,
                 const __grid_constant__ CUtensorMap rows) {
#ifdef LIMOE_HOPPER
    using s = shape<N, CONSUMERS>;
    unsigned char *const shared = dynamic_shared();
    uint64_t *const full = (uint64_t *)(shared + s::STAGES * s::STAGE), *const empty = full + s::STAGES;
    if (threadIdx.x == 0) {
        for (int i = 0; i < s::STAGES; i++) {
            barrier_init(&full[i], 1);
            barrier_init(&empty[i], CONSUMERS * GROUP / WARP);
        }
        barrier_init_fence();
    }
    __syncthreads();
    if (threadIdx.x < GROUP) {
        if constexpr (uneven<N>())
            registers_give<40>();
        if (threadIdx.x == 0)
            produce<N, CONSUMERS>(p, &weight, &rows, shared, full, empty);
    } else {
        if constexpr (uneven<N>())
            registers_take<232>();
        consume<N, CONSUMERS>(p, shared, full, empty, (int)threadIdx.x / GROUP - 1);
    }
#else
    __trap(); /* chosen for sm_90 alone */
#endif
}

template <int N, int CONSUMERS>
void run(cudaStream_t stream, uint32_t processors, const struct product *p, const CUtensorMap *weight,
         const CUtensorMap *rows) {
    using s = shape<N, CONSUMERS>;
    launch(stream, wgmma_kernel<N, CONSUMERS>, grid_of(p, s::FEATURES, N, s::BLOCKS * processors),
           dim3(s::THREADS), s::BYTES, *p, *weight, *rows);
}

template <int N, int CONSUMERS> cudaError_t prepare() {
    return allow_shared(wgmma_kernel<N, CONSUMERS>, shape<N, CONSUMERS>::BYTES);
}

} // namespace

cudaError_t gemm_wgmma_prepare() {
    cudaError_t error;
    (void)((error = prepare<16, 1>()) || (error = prepare<32, 1>()) || (error = prepare<64, 2>()) ||
           (error = prepare<128, 2>()) || (error = prepare<256, 2>()));
    return error;
}

void gemm_wgmma(cudaStream_t stream, uint32_t processors, uint32_t tile_rows, const struct product *p,
                const CUtensorMap *weight, const CUtensorMap *rows) {
    switch (tile_rows) {
    case 256:
        return run<256, 2>(stream, processors, p, weight, rows);
    case 128:
        return run<128, 2>(stream, processors, p, weight, rows);
    case 64:
        return run<64, 2>(stream, processors, p, weight, rows);
    case 32:
        return run<32, 1>(stream, processors, p, weight, rows);
    default:
        return run<16, 1>(stream, processors, p, weight, rows);
    }
}
