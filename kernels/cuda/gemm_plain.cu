/* gemm_plain.cu - products by fused multiply-adds: float32, the router's among them, and bfloat16 shapes that matrix
 * units do not take.
 *
 * A block makes ROWS by FEATURES of y, each thread R by F neighbours of it; both operands pass through shared
 * memory in pieces of DEPTH along k, from which a thread reads four values at a time. Each element is one chain of
 * fmaf in ascending k.
 */
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/product.cuh"

namespace {

enum { DEPTH = 16, THREADS = 256, PAD = 4 };

/* piece[c][i] = element k + c of row first + i of a matrix [.., pitch]: zero from row `end` and element `in` on. */
template <typename Act, int COUNT>
__device__ __forceinline__ void fetch(float (&piece)[DEPTH][COUNT + PAD], const Act *from, size_t pitch,
                                      uint32_t first, uint32_t end, uint32_t in, uint32_t k) {
#pragma unroll
    for (int i = threadIdx.x; i < COUNT * DEPTH; i += THREADS) {
        const uint32_t row = first + i / DEPTH, column = k + i % DEPTH;
        piece[i % DEPTH][i / DEPTH] = row < end && column < in ? to_float(from[row * pitch + column]) : 0.0f;
    }
}

/* N values, four at a time. */
template <int N> __device__ __forceinline__ void read(float (&to)[N], const float *from) {
#pragma unroll
    for (int i = 0; i < N; i += 4) {
        const float4 v = *(const float4 *)(from + i);
        to[i] = v.x;
        to[i + 1] = v.y;
        to[i + 2] = v.z;
        to[i + 3] = v.w;
    }
}

template <typename Act>
__device__ __forceinline__ void store_one(const struct product &p, size_t at, float v) {
    if (p.epilogue == KERNELS_STORE_F32)
        ((float *)p.y)[at] = v;
    else if (p.epilogue == KERNELS_ADD_F32)
        ((float *)p.y)[at] += v;
    else
        ((Act *)p.y)[at] = from_float<Act>(activate<true>(v, p.epilogue));
}

template <typename Act, int ROWS, int FEATURES, int R, int F>
__global__ void __launch_bounds__(THREADS) plain_kernel(const struct product p) {
    static_assert(ROWS / R * (FEATURES / F) == THREADS, "a thread for each R by F");
    __align__(16) __shared__ float xs[DEPTH][ROWS + PAD], ws[DEPTH][FEATURES + PAD];
    const int feature = threadIdx.x % (FEATURES / F) * F, row = threadIdx.x / (FEATURES / F) * R;
    struct tile_cursor cursor = {0, 0};
    struct tile t;
    for (uint32_t index = blockIdx.x; find_tile<FEATURES, ROWS>(p, index, cursor, t); index += gridDim.x) {
        const Act *weight = (const Act *)p.weight + (size_t)t.group * p.padded * p.pitch;
        float acc[R][F] = {};
        for (uint32_t k = 0; k < p.in; k += DEPTH) {
            fetch<Act, ROWS>(xs, (const Act *)p.x, p.in, t.first, t.end, p.in, k);
            fetch<Act, FEATURES>(ws, weight, p.pitch, t.feature, p.out, p.in, k);
            __syncthreads();
#pragma unroll
            for (int c = 0; c < DEPTH; c++) {
                float x[R], w[F];
                read(x, &xs[c][row]);
                read(w, &ws[c][feature]);
#pragma unroll
                for (int r = 0; r < R; r++)
#pragma unroll
                    for (int f = 0; f < F; f++)
                        acc[r][f] = fmaf(x[r], w[f], acc[r][f]);
            }
            __syncthreads();
        }
#pragma unroll
        for (int r = 0; r < R; r++) {
#pragma unroll
            for (int f = 0; f < F; f++) {
                const uint32_t y = t.first + row + r, x = t.feature + feature + f;
                if (y >= t.end || x >= p.out)
                    continue;
                const float bias = p.bias ? p.bias[(size_t)t.group * p.out + x] : 0.0f;
                store_one<Act>(p, (size_t)y * p.out + x, acc[r][f] + bias);
            }
        }
    }
}

template <typename Act, int ROWS, int FEATURES, int R, int F>
void run(cudaStream_t stream, const struct product *p) {
    launch(stream, plain_kernel<Act, ROWS, FEATURES, R, F>, grid_of(p, FEATURES, ROWS, 1u << 16),
           dim3(THREADS), 0, *p);
}

/* Narrow matrices, as a router's, have taller tiles; few rows have shorter ones. The shape changes no bit. */
template <typename Act> void choose(cudaStream_t stream, const struct product *p) {
    if (p->out <= 32 && p->rows >= 512)
        run<Act, 256, 32, 8, 4>(stream, p);
    else
        run<Act, 64, 64, 4, 4>(stream, p);
}

} // namespace

void gemm_plain(cudaStream_t stream, bool bfloat16, const struct product *p) {
    if (bfloat16)
        choose<bf16>(stream, p);
    else
        choose<float>(stream, p);
}
