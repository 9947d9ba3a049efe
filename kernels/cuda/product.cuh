/* product.cuh - what the two products on matrix units share: which tile a block has next, and what becomes of
 * the accumulators.
 *
 * Orientation. The weights are the left operand and the rows the right one: D[out, rows] = W[out, in] X^T. The
 * instructions' second extent can be as small as 8, so an expert with few rows wastes little, and every
 * element of y is one chain in ascending k through the same instruction, however many rows there are.
 *
 * A lane then holds, of each 16 by 8 piece of D, rows l / 4 and l / 4 + 8. Weights are packed so that these are
 * features 2 (l / 4) and 2 (l / 4) + 1: neighbours in a row of y, which are stored together. Eight lanes fill
 * 32 bytes of one row of a bfloat16 y, a whole sector, without a detour through shared memory.
 */
#ifndef LIMOE_PRODUCT_CUH
#define LIMOE_PRODUCT_CUH

#include "device.h"
#include "number.cuh"

/* ---- tiles */

/* A block's place among the tiles of all groups: those of a group end to end, features fastest, so that
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

/* Hendrycks & Gimpel, "Gaussian Error Linear Units", section 2. The tanh is written as a sigmoid: 1 + tanh(u)
 * = 2 / (1 + exp(-2u)), which neither overflows nor cancels. */
__device__ __forceinline__ float activate(float v, enum kernels_epilogue epilogue) {
    switch (epilogue) {
    case KERNELS_GELU_TANH:
        return v / (1.0f + expf(-1.5957691216f * fmaf(0.044715f * v * v, v, v)));
    case KERNELS_GELU_ERF:
        return 0.5f * v * (1.0f + erff(v * 0.7071067812f));
    case KERNELS_QUICK_GELU:
        return v / (1.0f + expf(-1.702f * v));
    case KERNELS_STORE:
    case KERNELS_STORE_F32:
    case KERNELS_ADD_F32:
        break;
    }
    return v;
}

/* Features f and f + 1 of one row of y, where out is even and so is f. */
template <enum kernels_epilogue E>
__device__ __forceinline__ void store_pair(const struct product &p, size_t row, uint32_t f, float2 bias, float a,
                                           float b) {
    const size_t at = row * p.out + f;
    a = activate(a + bias.x, E);
    b = activate(b + bias.y, E);
    if (E == KERNELS_STORE_F32) {
        *(float2 *)((float *)p.y + at) = make_float2(a, b);
    } else if (E == KERNELS_ADD_F32) {
        float2 *const y = (float2 *)((float *)p.y + at);
        const float2 old = *y;
        *y = make_float2(old.x + a, old.y + b);
    } else {
        *(uint32_t *)((bf16 *)p.y + at) = bf16_pack(a, b);
    }
}

/* COLUMNS pieces of 8 rows each, whose features begin at `feature`; the lane's accumulators are d[piece][4]. */
template <enum kernels_epilogue E, int COLUMNS>
__device__ __forceinline__ void store_as(const struct product &p, const struct tile &tile, uint32_t feature,
                                         uint32_t row, const float (*d)[4]) {
    const uint32_t lane = threadIdx.x % WARP, f = feature + lane / 4 * 2;
    if (f >= p.out)
        return;
    float2 bias = make_float2(0, 0);
    if (p.bias)
        bias = *(const float2 *)(p.bias + (size_t)tile.group * p.out + f);
#pragma unroll
    for (int j = 0; j < COLUMNS; j++) {
        const uint32_t r = row + j * 8 + lane % 4 * 2;
        if (r < tile.end)
            store_pair<E>(p, r, f, bias, d[j][0], d[j][2]);
        if (r + 1 < tile.end)
            store_pair<E>(p, r + 1, f, bias, d[j][1], d[j][3]);
    }
}

template <int COLUMNS>
__device__ __forceinline__ void store(const struct product &p, const struct tile &tile, uint32_t feature,
                                      uint32_t row, const float (*d)[4]) {
    switch (p.epilogue) {
    case KERNELS_STORE:
        return store_as<KERNELS_STORE, COLUMNS>(p, tile, feature, row, d);
    case KERNELS_STORE_F32:
        return store_as<KERNELS_STORE_F32, COLUMNS>(p, tile, feature, row, d);
    case KERNELS_ADD_F32:
        return store_as<KERNELS_ADD_F32, COLUMNS>(p, tile, feature, row, d);
    case KERNELS_GELU_TANH:
        return store_as<KERNELS_GELU_TANH, COLUMNS>(p, tile, feature, row, d);
    case KERNELS_GELU_ERF:
        return store_as<KERNELS_GELU_ERF, COLUMNS>(p, tile, feature, row, d);
    case KERNELS_QUICK_GELU:
        return store_as<KERNELS_QUICK_GELU, COLUMNS>(p, tile, feature, row, d);
    }
}

/* ---- launching */

/* Blocks for all tiles there may be, at most so many as run at once: each block goes on to the next tile. */
template <typename Kernel>
static cudaError_t grid_of(Kernel kernel, int threads, size_t shared, uint32_t processors,
                           const struct product *p, uint32_t m, uint32_t n, uint32_t *blocks) {
    int resident = 0;
    cudaError_t error =
        cudaFuncSetAttribute((const void *)kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared);
    if (!error)
        error = cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, (const void *)kernel, threads, shared);
    if (!error && resident < 1)
        error = cudaErrorInvalidConfiguration;
    /* Each group but one may end in a tile that is not full. */
    const uint64_t down = ((uint64_t)p->rows + n - 1) / n + (p->offset ? p->groups - 1 : 0);
    const uint64_t tiles = down * ((p->out + m - 1) / m), most = (uint64_t)resident * processors;
    *blocks = (uint32_t)(tiles < most ? tiles : most);
    return error;
}

#endif
