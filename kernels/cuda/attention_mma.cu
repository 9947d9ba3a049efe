/* attention_mma.cu - attention inside packed sequences on the matrix units, bfloat16, heads of 8 to 128.
 *
 * A block has 64 queries of one head of one sequence, a warp 16 of them; keys and values come in pieces of 64
 * by cp.async, the next while the last is worked on. The softmax is kept up piece by piece: Milakov & Gimelshein,
 * "Online normalizer calculation for softmax"; Dao, "FlashAttention-2". All that a query's answer depends on
 * is its own sequence, cut from its beginning, so neighbours change no bit. With a causal mask a block comes to
 * the piece of its own queries and no further; there what follows a query weighs nothing.
 *
 * The units take 16 columns at a time: a head of an odd multiple of 8 is filled up with zeros in shared memory.
 * Rows there are 16 bytes longer than that, so that eight of them meet in no bank.
 */
#include <type_traits>

#include "kernels/cuda/device.h"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/number.cuh"

namespace {

enum { QUERIES = ATTENTION_QUERIES, KEYS = 64, THREADS = 128 };

template <int WIDTH> struct shape {
    static constexpr int D = (WIDTH + 15) / 16 * 16; /* the head's width as the units take it */
    static constexpr int PITCH = D + 8;
    static constexpr int ELEMENTS = KEYS * PITCH; /* of 64 rows of one head */
    static constexpr size_t BYTES = 5 * ELEMENTS * sizeof(bf16);
};

/* 64 rows of q, k or v (part 0, 1, 2) of one head: rows first …, zeros from `end` on. */
template <int WIDTH>
__device__ __forceinline__ void fetch(bf16 *to, const bf16 *qkv, uint32_t width, uint32_t head, uint32_t part,
                                      uint32_t first, uint32_t end) {
    constexpr int D = shape<WIDTH>::D;
    for (int i = threadIdx.x; i < KEYS * (D / 8); i += THREADS) {
        const uint32_t row = i / (D / 8), chunk = i % (D / 8);
        const bool valid = first + row < end && (WIDTH == D || chunk < WIDTH / 8);
        const bf16 *from =
            qkv + ((size_t)(first + row) * 3 + part) * width + (size_t)head * WIDTH + chunk * 8;
        cp_async_16(to + row * shape<WIDTH>::PITCH + chunk * 8, valid ? from : qkv, valid);
    }
}

/* LayerNorm over each of the 64 rows, in place, a thread a row. */
template <int WIDTH>
__device__ __forceinline__ void normalise(bf16 *rows, const float *weight, const float *bias, float eps) {
    if (threadIdx.x >= KEYS)
        return;
    bf16 *const row = rows + threadIdx.x * shape<WIDTH>::PITCH;
    float sum = 0, squares = 0;
    for (int c = 0; c < WIDTH; c++)
        sum += to_float(row[c]);
    const float mean = sum / WIDTH;
    for (int c = 0; c < WIDTH; c++) {
        const float v = to_float(row[c]) - mean;
        squares += v * v;
    }
    const float scale = 1.0f / sqrtf(squares / WIDTH + eps);
    for (int c = 0; c < WIDTH; c++)
        row[c] = from_float<bf16>((to_float(row[c]) - mean) * scale * weight[c] + bias[c]);
}

/* s[16 queries, 64 keys] = q k^T */
template <int D>
__device__ __forceinline__ void scores(const uint32_t (*q)[4], const bf16 *keys, float (*s)[4]) {
    constexpr int PITCH = shape<D>::PITCH;
    const int lane = threadIdx.x % WARP;
#pragma unroll
    for (int j = 0; j < KEYS / 16; j++) {
        const bf16 *const row = keys + (j * 16 + lane / 16 * 8 + lane % 8) * PITCH + lane / 8 % 2 * 8;
#pragma unroll
        for (int c = 0; c < D / 16; c++) {
            uint32_t k[4];
            ldmatrix_x4(k, row + c * 16);
            mma_bf16(s[2 * j], q[c], &k[0]);
            mma_bf16(s[2 * j + 1], q[c], &k[2]);
        }
    }
}

/* o[16 queries, D] += p[16, 64] v, p being the bfloat16 of s. */
template <int D> __device__ __forceinline__ void values(const float (*s)[4], const bf16 *v, float (*o)[4]) {
    const int lane = threadIdx.x % WARP;
#pragma unroll
    for (int j = 0; j < KEYS / 16; j++) {
        const float *const low = s[2 * j], *const high = s[2 * j + 1];
        const uint32_t p[4] = {bf16_pack(low[0], low[1]), bf16_pack(low[2], low[3]),
                               bf16_pack(high[0], high[1]), bf16_pack(high[2], high[3])};
        const bf16 *const row = v + (j * 16 + lane % 16) * shape<D>::PITCH + lane / 16 * 8;
#pragma unroll
        for (int c = 0; c < D / 16; c++) {
            uint32_t b[4];
            ldmatrix_x4_trans(b, row + c * 16);
            mma_bf16(o[2 * c], p, &b[0]);
            mma_bf16(o[2 * c + 1], p, &b[2]);
        }
    }
}

/* The four lanes of a row together. */
__device__ __forceinline__ float row_max(float v) {
    v = fmaxf(v, __shfl_xor_sync(WHOLE_WARP, v, 1));
    return fmaxf(v, __shfl_xor_sync(WHOLE_WARP, v, 2));
}

__device__ __forceinline__ float row_sum(float v) {
    v += __shfl_xor_sync(WHOLE_WARP, v, 1);
    return v + __shfl_xor_sync(WHOLE_WARP, v, 2);
}

/* Scores to weights, of keys key … key + 63 of which row i sees those below seen[i]; what was summed before
 * shrinks to the new largest score. A lane has rows g and g + 8, i = 0 and 1. */
template <int D>
__device__ __forceinline__ void weigh(float (*s)[4], uint32_t key, const uint32_t seen[2], float scale,
                                      float most[2], float sum[2], float (*o)[4]) {
    const uint32_t column = key + threadIdx.x % 4 * 2;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        float top = most[i];
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++) {
#pragma unroll
            for (int c = 0; c < 2; c++) {
                float &v = s[j][2 * i + c];
                v = column + j * 8 + c < seen[i] ? v * scale : -INFINITY;
                top = fmaxf(top, v);
            }
        }
        top = row_max(top);
        const float shrink = expf(most[i] - top);
        most[i] = top;
        sum[i] *= shrink;
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++) {
#pragma unroll
            for (int c = 0; c < 2; c++) {
                float &v = s[j][2 * i + c];
                v = expf(v - top);
                sum[i] += v;
            }
        }
#pragma unroll
        for (int j = 0; j < D / 8; j++) {
            o[j][2 * i] *= shrink;
            o[j][2 * i + 1] *= shrink;
        }
    }
}

template <int WIDTH>
__global__ void __launch_bounds__(THREADS)
    attention_kernel(const bf16 *qkv, const struct attention_tile *tiles, uint32_t width,
                     enum kernels_mask mask, struct kernels_qk_norm norm, bf16 *out) {
    using s = shape<WIDTH>;
    constexpr int D = s::D;
    bf16 *const queries = (bf16 *)dynamic_shared();
    bf16 *const pairs = queries + s::ELEMENTS; /* keys, values; twice */
    const struct attention_tile tile = tiles[blockIdx.x];
    const uint32_t head = blockIdx.y, length = tile.end - tile.begin;
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    uint32_t seen[2] = {length, length}, last = length;
    if (mask == KERNELS_CAUSAL) {
        const uint32_t first = tile.first - tile.begin;
        seen[0] = first + warp * 16 + lane / 4 + 1;
        seen[1] = seen[0] + 8;
        last = first + QUERIES < length ? first + QUERIES : length;
    }
    const int pieces = (int)((last + KEYS - 1) / KEYS);

    fetch<WIDTH>(queries, qkv, width, head, 0, tile.first, tile.end);
    fetch<WIDTH>(pairs, qkv, width, head, 1, tile.begin, tile.end);
    fetch<WIDTH>(pairs + s::ELEMENTS, qkv, width, head, 2, tile.begin, tile.end);
    cp_async_commit();

    uint32_t q[D / 16][4];
    float o[D / 8][4] = {}, most[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
    for (int i = 0; i < pieces; i++) {
        bf16 *const keys = pairs + i % 2 * 2 * s::ELEMENTS, *const vals = keys + s::ELEMENTS;
        if (i + 1 < pieces) {
            bf16 *const to = pairs + (i + 1) % 2 * 2 * s::ELEMENTS;
            const uint32_t next = tile.begin + (i + 1) * KEYS;
            fetch<WIDTH>(to, qkv, width, head, 1, next, tile.end);
            fetch<WIDTH>(to + s::ELEMENTS, qkv, width, head, 2, next, tile.end);
        }
        cp_async_commit();
        cp_async_wait<1>();
        __syncthreads();
        if (norm.q_weight) {
            if (i == 0)
                normalise<WIDTH>(queries, norm.q_weight, norm.q_bias, norm.eps);
            normalise<WIDTH>(keys, norm.k_weight, norm.k_bias, norm.eps);
            __syncthreads();
        }
        if (i == 0) {
#pragma unroll
            for (int c = 0; c < D / 16; c++)
                ldmatrix_x4(q[c], queries + (warp * 16 + lane % 16) * s::PITCH + c * 16 + lane / 16 * 8);
        }
        float weight[KEYS / 8][4] = {};
        scores<D>(q, keys, weight);
        weigh<D>(weight, i * KEYS, seen, 1.0f / sqrtf((float)WIDTH), most, sum, o);
        values<D>(weight, vals, o);
        __syncthreads(); /* the piece after the next takes this one's place */
    }

#pragma unroll
    for (int i = 0; i < 2; i++) {
        const float total = row_sum(sum[i]);
        const uint32_t row = tile.first + warp * 16 + lane / 4 + i * 8;
        if (row >= tile.end)
            continue;
        bf16 *const to = out + (size_t)row * width + (size_t)head * WIDTH + lane % 4 * 2;
#pragma unroll
        for (int j = 0; j < WIDTH / 8; j++)
            *(uint32_t *)(to + j * 8) = bf16_pack(o[j][2 * i] / total, o[j][2 * i + 1] / total);
    }
}

template <int WIDTH>
void run(cudaStream_t stream, const void *qkv, const struct attention_tile *tile, uint32_t tiles,
         uint32_t width, uint32_t heads, enum kernels_mask mask, struct kernels_qk_norm norm, void *out) {
    launch(stream, attention_kernel<WIDTH>, dim3(tiles, heads), dim3(THREADS), shape<WIDTH>::BYTES,
           (const bf16 *)qkv, tile, width, mask, norm, (bf16 *)out);
}

template <int WIDTH> cudaError_t prepare() {
    return cudaFuncSetAttribute((const void *)attention_kernel<WIDTH>,
                                cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shape<WIDTH>::BYTES);
}

enum { WIDEST = 128, WIDTH_STEP = 8 };

/* f of the width, as a constant, if it is one of those that there are kernels for. */
template <int WIDTH = WIDTH_STEP, typename F> bool with_width(uint32_t width, F f) {
    if constexpr (WIDTH > WIDEST) {
        return false;
    } else if (width == WIDTH) {
        f(std::integral_constant<int, WIDTH>());
        return true;
    } else {
        return with_width<WIDTH + WIDTH_STEP>(width, f);
    }
}

} // namespace

bool attention_mma_takes(uint32_t head_width) {
    return with_width(
        head_width, [](auto) {});
}

cudaError_t attention_mma_prepare() {
    cudaError_t error = cudaSuccess;
    for (uint32_t width = WIDTH_STEP; width <= WIDEST && !error; width += WIDTH_STEP)
        with_width(width, [&](auto d) { error = prepare<decltype(d)::value>(); });
    return error;
}

void attention_mma(cudaStream_t stream, const void *qkv, const struct attention_tile *tile, uint32_t tiles,
                   uint32_t width, uint32_t heads, enum kernels_mask mask, const struct kernels_qk_norm *norm,
                   void *out) {
    const struct kernels_qk_norm n = norm ? *norm : kernels_qk_norm{};
    with_width(width / heads, [&](auto d) {
        run<decltype(d)::value>(stream, qkv, tile, tiles, width, heads, mask, n, out);
    });
}
