/* product.cuh - what the two products on matrix units share: which tile a block has next, and what becomes of
 * the accumulators.
 *
 * Orientation. The weights are the left operand and the rows the right one: D[out, rows] = W[out, in] X^T.
 * The instructions' second extent can be as small as 8, so an expert with few rows wastes little, and every
 * element of y is one chain in ascending k through the same instruction, however many rows there are.
 *
 * A lane then holds, of each 16 by 8 piece of D, rows l / 4 and l / 4 + 8. Weights are packed so that these
 * are features 2 (l / 4) and 2 (l / 4) + 1: neighbours in a row of y, which are stored together. Eight lanes
 * fill 32 bytes of one row of a bfloat16 y, a whole sector, without a detour through shared memory.
 */
#ifndef LIMOE_KERNELS_CUDA_PRODUCT_CUH
#define LIMOE_KERNELS_CUDA_PRODUCT_CUH

#include "kernels/cuda/device.h"
#include "kernels/cuda/number.cuh"

/* ---- tiles */

/* A block's position among the tiles of all groups: those of a group end to end, features fastest, so that
 * blocks that run together share rows in the second-level cache. */
struct tile_cursor {
    uint32_t group, before; /* before: tiles of the groups before this one */
};

struct tile {
    uint32_t group, feature; /* the first of its features */
    uint32_t first, end;     /* its rows are first … first + N - 1, but for those at or after end */
};

__device__ __forceinline__ uint32_t group_start(const struct product &p, uint32_t group) {
    return p.offset ? p.offset[group] : group * p.rows;
}

/* Tile `index` of N rows and M features; the cursor only moves forward. False: there is none. */
template <int M, int N>
__device__ __forceinline__ bool find_tile(const struct product &p, uint32_t index, struct tile_cursor &cursor,
                                          struct tile &tile) {
    const uint32_t across = (p.out + M - 1) / M;
    for (; cursor.group < p.groups; cursor.group++) {
        const uint32_t start = group_start(p, cursor.group), end = group_start(p, cursor.group + 1);
        const uint32_t tiles = (end - start + N - 1) / N * across, within = index - cursor.before;
        if (within < tiles) {
            tile.group = cursor.group;
            tile.feature = within % across * M;
            tile.first = start + within / across * N;
            tile.end = end;
            return true;
        }
        cursor.before += tiles;
    }
    return false;
}

/* ---- epilogue */

/* exp(-u), and a / b: to the last bits, or as the special function unit has them, within 2 units of
 * bfloat16's last place by far. */
template <bool EXACT> __device__ __forceinline__ float exp_minus(float u) {
    return EXACT ? expf(-u) : __expf(-u);
}

template <bool EXACT> __device__ __forceinline__ float quotient(float a, float b) {
    return EXACT ? a / b : __fdividef(a, b);
}

/* Hendrycks & Gimpel, "Gaussian Error Linear Units", section 2. The tanh is written as a sigmoid: 1 + tanh(u)
 * = 2 / (1 + exp(-2u)), which neither overflows nor cancels. */
template <bool EXACT> __device__ __forceinline__ float activate(float v, enum kernels_epilogue epilogue) {
    switch (epilogue) {
    case KERNELS_GELU_TANH:
        return quotient<EXACT>(v, 1.0f + exp_minus<EXACT>(1.5957691216f * fmaf(0.044715f * v * v, v, v)));
    case KERNELS_GELU_ERF:
        return 0.5f * v * (1.0f + erff(v * 0.7071067812f));
    case KERNELS_QUICK_GELU:
        return quotient<EXACT>(v, 1.0f + exp_minus<EXACT>(1.702f * v));
    case KERNELS_STORE:
    case KERNELS_STORE_F32:
    case KERNELS_ADD_F32:
        break;
    }
    return v;
}

/* Where a lane's accumulators of COLUMNS pieces of 8 rows go: two neighbouring features of two rows a
 * piece, the first of them at `at`. The first `rows` of a tile's rows from here on are its own. */
struct lane_output {
    size_t at;    /* element of y */
    int32_t rows; /* may be negative: none */
    float2 bias;
};

/* y += v, for pieces in turns of TURN: all of a turn is read before any is written, or each element would
 * wait for memory by itself. */
template <int COLUMNS>
__device__ __forceinline__ void add(float *y, uint32_t out, const struct lane_output &to,
                                    const float (*d)[4]) {
    constexpr int TURN = COLUMNS < 8 ? COLUMNS : 8;
#pragma unroll
    for (int first = 0; first < COLUMNS; first += TURN) {
        float2 old[TURN][2];
#pragma unroll
        for (int j = 0; j < TURN; j++) {
#pragma unroll
            for (int c = 0; c < 2; c++) {
                const int row = (first + j) * 8 + c;
                if (row < to.rows)
                    old[j][c] = *(const float2 *)(y + to.at + (size_t)row * out);
            }
        }
#pragma unroll
        for (int j = 0; j < TURN; j++) {
#pragma unroll
            for (int c = 0; c < 2; c++) {
                const int row = (first + j) * 8 + c;
                const float *const v = d[first + j];
                if (row < to.rows)
                    *(float2 *)(y + to.at + (size_t)row * out) =
                        make_float2(old[j][c].x + (v[c] + to.bias.x), old[j][c].y + (v[c + 2] + to.bias.y));
            }
        }
    }
}

template <enum kernels_epilogue E, int COLUMNS>
__device__ __forceinline__ void put(void *y, uint32_t out, const struct lane_output &to,
                                    const float (*d)[4]) {
#pragma unroll
    for (int j = 0; j < COLUMNS; j++) {
#pragma unroll
        for (int c = 0; c < 2; c++) {
            const int row = j * 8 + c;
            const float a = d[j][c] + to.bias.x, b = d[j][c + 2] + to.bias.y;
            const size_t at = to.at + (size_t)row * out;
            if (row >= to.rows)
                continue;
            if (E == KERNELS_STORE_F32)
                *(float2 *)((float *)y + at) = make_float2(a, b);
            else
                *(uint32_t *)((bf16 *)y + at) = bf16_pack(activate<false>(a, E), activate<false>(b, E));
        }
    }
}

/* A warp's 16 features from `feature` on, of COLUMNS pieces of 8 rows from `row` on; the lane's
 * accumulators are d[piece][4]. */
template <int COLUMNS>
__device__ __forceinline__ void store(const struct product &p, const struct tile &tile, uint32_t feature,
                                      uint32_t row, const float (*d)[4]) {
    const uint32_t lane = threadIdx.x % WARP, f = feature + lane / 4 * 2, first = row + lane % 4 * 2;
    if (f >= p.out)
        return;
    struct lane_output to = {(size_t)first * p.out + f, (int32_t)(tile.end - first), make_float2(0, 0)};
    if (p.bias)
        to.bias = *(const float2 *)(p.bias + (size_t)tile.group * p.out + f);
    switch (p.epilogue) {
    case KERNELS_STORE:
        return put<KERNELS_STORE, COLUMNS>(p.y, p.out, to, d);
    case KERNELS_STORE_F32:
        return put<KERNELS_STORE_F32, COLUMNS>(p.y, p.out, to, d);
    case KERNELS_ADD_F32:
        return add<COLUMNS>((float *)p.y, p.out, to, d);
    case KERNELS_GELU_TANH:
        return put<KERNELS_GELU_TANH, COLUMNS>(p.y, p.out, to, d);
    case KERNELS_GELU_ERF:
        return put<KERNELS_GELU_ERF, COLUMNS>(p.y, p.out, to, d);
    case KERNELS_QUICK_GELU:
        return put<KERNELS_QUICK_GELU, COLUMNS>(p.y, p.out, to, d);
    }
}

/* ---- launching */

/* A block for each tile of m features by n rows that there may be, but at most `most`: blocks go on to
 * further tiles by themselves. */
static inline dim3 grid_of(const struct product *p, uint32_t m, uint32_t n, uint32_t most) {
    /* Each group but one may end in a tile that is not full. */
    const uint64_t down = ((uint64_t)p->rows + n - 1) / n + (p->offset ? p->groups - 1 : 0);
    const uint64_t tiles = down * ((p->out + m - 1) / m);
    return dim3((uint32_t)(tiles < most ? tiles : most));
}

template <typename Kernel> static cudaError_t allow_shared(Kernel kernel, size_t bytes) {
    return cudaFuncSetAttribute((const void *)kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                (int)bytes);
}

#endif
