/* gemm_mma.cu - products by mma.sync, for sm_80 and later: 128 features by N rows a tile, 64 of k a stage.
 *
 * Stages of shared memory are filled by cp.async ahead of the stage that is multiplied; one barrier a stage
 * says both that it has come and that the one before it may be overwritten. Rows of 128 bytes are swizzled: the
 * 16-byte chunk c of row r lies at c xor r mod 8, so that neither the copies nor ldmatrix meet in a bank.
 */
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/product.cuh"

namespace {

enum { M = 128, K = 64, CHUNK = 8, CHUNKS = K / CHUNK, THREADS = 256, WARPS = THREADS / WARP };

template <int N> struct shape {
    static constexpr int STAGES = N >= 128 ? 3 : 4;
    static constexpr int ROWS_OF_WARP = N < 32 ? N : 32;
    static constexpr int WARPS_ALONG_N = N / ROWS_OF_WARP;
    static constexpr int FEATURES_OF_WARP = M / (WARPS / WARPS_ALONG_N);
    static constexpr int ELEMENTS = (M + N) * K; /* of a stage */
    static constexpr size_t BYTES = (size_t)STAGES * ELEMENTS * sizeof(bf16);
};

__device__ __forceinline__ bf16 *chunk_at(bf16 *tile, int row, int chunk) {
    return tile + row * K + (chunk ^ row % CHUNKS) * CHUNK;
}

/* `rows` rows of a stage: row i is row first + i of a matrix [.., pitch], zero from `end` on, as are elements
 * from `in` on. WIDE: rows begin at multiples of 16 bytes, else of 8. */
template <int COUNT, bool WIDE>
__device__ __forceinline__ void fetch(bf16 *tile, const bf16 *from, size_t pitch, uint32_t first,
                                      uint32_t end, uint32_t in, uint32_t k) {
    for (int i = threadIdx.x; i < COUNT * CHUNKS; i += THREADS) {
        const int row = i / CHUNKS, chunk = i % CHUNKS;
        const uint32_t column = k + chunk * CHUNK;
        const bool there = first + row < end;
        const bf16 *source = from + (size_t)(first + row) * pitch + column;
        bf16 *to = chunk_at(tile, row, chunk);
        if (WIDE) {
            const bool valid = there && column < in;
            cp_async_16(to, valid ? source : from, valid);
        } else {
            const bool low = there && column < in, high = there && column + 4 < in;
            cp_async_8(to, low ? source : from, low);
            cp_async_8(to + 4, high ? source + 4 : from, high);
        }
    }
}

template <int N, bool WIDE>
__device__ __forceinline__ void fetch_stage(bf16 *stage, const struct product &p, const struct tile &t,
                                            uint32_t k) {
    const bf16 *weight = (const bf16 *)p.weight + (size_t)t.group * p.padded * p.pitch;
    fetch<M, true>(stage, weight, p.pitch, t.feature, p.padded, p.pitch, k);
    fetch<N, WIDE>(stage + M * K, (const bf16 *)p.x, p.in, t.first, t.end, p.in, k);
}

/* acc += the warp's part of a stage. */
template <int N>
__device__ __forceinline__ void multiply(bf16 *stage, int feature, int row,
                                         float (*acc)[shape<N>::ROWS_OF_WARP / 8][4]) {
    constexpr int FEATURES = shape<N>::FEATURES_OF_WARP / 16, ROWS = shape<N>::ROWS_OF_WARP / 16;
    const int lane = threadIdx.x % WARP;
    bf16 *const rows = stage + M * K;
#pragma unroll
    for (int k = 0; k < CHUNKS; k += 2) {
        uint32_t a[FEATURES][4], b[ROWS][4];
#pragma unroll
        for (int i = 0; i < FEATURES; i++)
            ldmatrix_x4(a[i], chunk_at(stage, feature + i * 16 + lane % 16, k + lane / 16));
#pragma unroll
        for (int j = 0; j < ROWS; j++)
            ldmatrix_x4(b[j], chunk_at(rows, row + j * 16 + lane / 16 * 8 + lane % 8, k + lane / 8 % 2));
#pragma unroll
        for (int i = 0; i < FEATURES; i++)
#pragma unroll
            for (int j = 0; j < 2 * ROWS; j++)
                mma_bf16(acc[i][j], a[i], &b[j / 2][j % 2 * 2]);
    }
}

template <int N, bool WIDE> __global__ void __launch_bounds__(THREADS) mma_kernel(const struct product p) {
    using s = shape<N>;
    constexpr int FEATURES = s::FEATURES_OF_WARP / 16, COLUMNS = s::ROWS_OF_WARP / 8;
    bf16 *const shared = (bf16 *)dynamic_shared();
    const int warp = threadIdx.x / WARP;
    const int feature = warp / s::WARPS_ALONG_N * s::FEATURES_OF_WARP;
    const int row = warp % s::WARPS_ALONG_N * s::ROWS_OF_WARP;
    const int steps = (int)((p.in + K - 1) / K);
    struct tile_cursor cursor = {0, 0};
    struct tile t;
    for (uint32_t index = blockIdx.x; find_tile<M, N>(p, index, cursor, t); index += gridDim.x) {
        float acc[FEATURES][COLUMNS][4] = {};
#pragma unroll
        for (int i = 0; i < s::STAGES - 1; i++) {
            if (i < steps)
                fetch_stage<N, WIDE>(shared + i * s::ELEMENTS, p, t, i * K);
            cp_async_commit();
        }
        for (int i = 0; i < steps; i++) {
            const int ahead = i + s::STAGES - 1;
            cp_async_wait<s::STAGES - 2>();
            __syncthreads();
            if (ahead < steps)
                fetch_stage<N, WIDE>(shared + ahead % s::STAGES * s::ELEMENTS, p, t, ahead * K);
            cp_async_commit();
            multiply<N>(shared + i % s::STAGES * s::ELEMENTS, feature, row, acc);
        }
        __syncthreads(); /* the next tile's stages take the place of this one's */
#pragma unroll
        for (int i = 0; i < FEATURES; i++)
            store<COLUMNS>(p, t, t.feature + feature + i * 16, t.first + row, acc[i]);
    }
}

/* Two blocks fit on a multiprocessor, by shared memory and by registers. */
template <int N, bool WIDE> void run(cudaStream_t stream, uint32_t processors, const struct product *p) {
    launch(stream, mma_kernel<N, WIDE>, grid_of(p, M, N, 2 * processors), dim3(THREADS), shape<N>::BYTES, *p);
}

template <bool WIDE>
void choose(cudaStream_t stream, uint32_t processors, uint32_t tile_rows, const struct product *p) {
    switch (tile_rows) {
    case 128:
        return run<128, WIDE>(stream, processors, p);
    case 64:
        return run<64, WIDE>(stream, processors, p);
    case 32:
        return run<32, WIDE>(stream, processors, p);
    default:
        return run<16, WIDE>(stream, processors, p);
    }
}

template <int N> cudaError_t prepare() {
    const cudaError_t error = allow_shared(mma_kernel<N, true>, shape<N>::BYTES);
    return error ? error : allow_shared(mma_kernel<N, false>, shape<N>::BYTES);
}

} // namespace

cudaError_t gemm_mma_prepare() {
    cudaError_t error;
    (void)((error = prepare<16>()) || (error = prepare<32>()) || (error = prepare<64>()) ||
           (error = prepare<128>()));
    return error;
}

void gemm_mma(cudaStream_t stream, uint32_t processors, uint32_t tile_rows, const struct product *p) {
    if (p->in % CHUNK == 0)
        choose<true>(stream, processors, tile_rows, p);
    else
        choose<false>(stream, processors, tile_rows, p);
}
