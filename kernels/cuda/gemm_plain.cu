/* gemm_plain.cu - products by fused multiply-adds: float32, and bfloat16 shapes that matrix units do not take.
 *
 * A block makes ROWS by FEATURES of y, 16 by 16 threads an equal share each; both operands pass through shared
 * memory in pieces of 16 along k. Each element is one chain of fmaf in ascending k.
 */
#include "launch.cuh"
#include "product.cuh"

namespace {

enum { SIDE = 16, DEPTH = 16, THREADS = SIDE * SIDE };

/* rows first … of a matrix [.., in] at `from`, those at or after `end` zero: piece[i][c] = row i, element k + c.
 */
template <typename Act, int COUNT>
__device__ void fetch(float (&piece)[DEPTH][COUNT + 1], const Act *from, size_t pitch, uint32_t first,
                      uint32_t end, uint32_t in, uint32_t k) {
    for (int i = threadIdx.x; i < COUNT * DEPTH; i += THREADS) {
        const uint32_t row = first + i / DEPTH, column = k + i % DEPTH;
        piece[i % DEPTH][i / DEPTH] =
            row < end && column < in ? to_float(from[row * pitch + column]) : 0.0f;
    }
}

template <typename Act>
__device__ void store_one(const struct product &p, size_t at, float v) {
    if (p.epilogue == KERNELS_STORE_F32)
        ((float *)p.y)[at] = v;
    else if (p.epilogue == KERNELS_ADD_F32)
        ((float *)p.y)[at] += v;
    else
        ((Act *)p.y)[at] = from_float<Act>(activate(v, p.epilogue));
}

template <typename Act, int ROWS, int FEATURES>
__global__ void __launch_bounds__(THREADS) plain_kernel(const struct product p) {
    constexpr int R = ROWS / SIDE, F = FEATURES / SIDE;
    __shared__ float xs[DEPTH][ROWS + 1], ws[DEPTH][FEATURES + 1];
    const int tx = threadIdx.x % SIDE, ty = threadIdx.x / SIDE;
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
            for (int c = 0; c < DEPTH; c++)
#pragma unroll
                for (int r = 0; r < R; r++)
#pragma unroll
                    for (int f = 0; f < F; f++)
                        acc[r][f] = fmaf(xs[c][ty + r * SIDE], ws[c][tx + f * SIDE], acc[r][f]);
            __syncthreads();
        }
#pragma unroll
        for (int r = 0; r < R; r++) {
#pragma unroll
            for (int f = 0; f < F; f++) {
                const uint32_t row = t.first + ty + r * SIDE, feature = t.feature + tx + f * SIDE;
                if (row >= t.end || feature >= p.out)
                    continue;
                const float bias = p.bias ? p.bias[(size_t)t.group * p.out + feature] : 0.0f;
                store_one<Act>(p, (size_t)row * p.out + feature, acc[r][f] + bias);
            }
        }
    }
}

template <typename Act, int ROWS, int FEATURES>
void run(cudaStream_t stream, const struct product *p) {
    const uint64_t down = ((uint64_t)p->rows + ROWS - 1) / ROWS + (p->offset ? p->groups - 1 : 0);
    const uint64_t tiles = down * ((p->out + FEATURES - 1) / FEATURES);
    const uint32_t most = 1u << 16;
    launch(stream, plain_kernel<Act, ROWS, FEATURES>, dim3((uint32_t)(tiles < most ? tiles : most)),
           dim3(THREADS), 0, *p);
}

/* Narrow matrices, as a router's, have taller tiles. The shape of a tile changes no bit. */
template <typename Act> void choose(cudaStream_t stream, const struct product *p) {
    if (p->out <= 2 * SIDE)
        run<Act, 8 * SIDE, 2 * SIDE>(stream, p);
    else
        run<Act, 4 * SIDE, 4 * SIDE>(stream, p);
}

} // namespace

void gemm_plain(cudaStream_t stream, bool bfloat16, const struct product *p) {
    if (bfloat16)
        choose<bf16>(stream, p);
    else
        choose<float>(stream, p);
}
