/* Products of the emulator: ldmatrix, mma.sync and wgmma against plain sums, as late as PTX allows and
 * checked. */
#include <algorithm>
#include <cstring>

#include "tests/emulator/tests/support.h"

static float value(uint16_t bits) {
    return __uint_as_float((uint32_t)bits << 16);
}

static std::vector<uint16_t> some_bf16(size_t n, size_t from) {
    std::vector<uint16_t> v(n);
    for (size_t i = 0; i < n; i++)
        v[i] = bf16_of(some_float(from + i));
    return v;
}

/* ---- ldmatrix */

static __global__ void load_matrices(uint32_t *out, int way) {
    auto *m = (uint16_t *)dynamic_shared(); /* rows of 16 bytes: element (row, column) is row * 8 + column */
    const unsigned l = threadIdx.x;
    for (unsigned i = 0; i < 8; i++)
        m[l * 8 + i] = (uint16_t)(l * 8 + i);
    __syncthreads();
    uint32_t r[4] = {};
    const uint16_t *row = m + l % (way < 2 ? 32 : 16) * 8;
    if (way == 0)
        ldmatrix_x4(r, row);
    else if (way == 1)
        ldmatrix_x4_trans(r, row);
    else if (way == 2)
        ldmatrix_x2(r, row);
    else
        ldmatrix_x2_trans(r, row);
    for (unsigned i = 0; i < 4; i++)
        out[l * 4 + i] = r[i];
}

static void ldmatrix_distributes_rows(void **) {
    uint32_t *out = device<uint32_t>(128);
    for (int way = 0; way < 4; way++) {
        run(load_matrices, 1, 32, 512, out, way);
        for (unsigned l = 0; l < 32; l++)
            for (unsigned i = 0; i < (way < 2 ? 4u : 2u); i++) {
                const unsigned r = l / 4, c = l % 4 * 2;
                const unsigned plain = (i * 8 + r) * 8 + c, low = (i * 8 + c) * 8 + r;
                assert_int_equal(out[l * 4 + i],
                                 way % 2 ? (low | (low + 8) << 16) : (plain | (plain + 1) << 16));
            }
    }
    cudaFree(out);
}

static __global__ void load_askew(int by, int lanes) {
    uint32_t r[4];
    if ((int)threadIdx.x < lanes)
        ldmatrix_x4(r, dynamic_shared() + by + threadIdx.x * 16);
}

static void ldmatrix_is_checked(void **) {
    assert_dies([] { run(load_askew, 1, 32, 1024, 8, 32); }, "not a multiple of 16");
    assert_dies([] { run(load_askew, 1, 32, 512, 16, 32); }, "ldmatrix: 16 bytes");
    set_seed(5);
    assert_dies([] { run(load_askew, 1, 32, 1024, 0, 31); }, "lane");
}

/* ---- mma */

/* D[16][8] = C + A[16][16] B[8][16]^T, with the fragments as PTX documents them. */
static __global__ void multiply(const uint16_t *a, const uint16_t *b, float *d) {
    const unsigned group = threadIdx.x / 4, in = threadIdx.x % 4;
    auto pair = [](const uint16_t *p) { return p[0] | (uint32_t)p[1] << 16; };
    const uint32_t fa[4] = {pair(a + group * 16 + 2 * in), pair(a + (group + 8) * 16 + 2 * in),
                            pair(a + group * 16 + 2 * in + 8), pair(a + (group + 8) * 16 + 2 * in + 8)};
    const uint32_t fb[2] = {pair(b + group * 16 + 2 * in), pair(b + group * 16 + 2 * in + 8)};
    float *const place[4] = {d + group * 8 + 2 * in, d + group * 8 + 2 * in + 1, d + (group + 8) * 8 + 2 * in,
                             d + (group + 8) * 8 + 2 * in + 1};
    float fd[4];
    for (int i = 0; i < 4; i++)
        fd[i] = *place[i];
    mma_bf16(fd, fa, fb);
    for (int i = 0; i < 4; i++)
        *place[i] = fd[i];
}

static void mma_multiplies(void **) {
    const auto ha = some_bf16(256, 0), hb = some_bf16(128, 1000);
    uint16_t *a = device(ha), *b = device(hb);
    std::vector<float> hd(128);
    for (size_t i = 0; i < 128; i++)
        hd[i] = (float)i;
    float *d = device(hd);
    run(multiply, 1, 32, 0, (const uint16_t *)a, (const uint16_t *)b, d);
    for (size_t r = 0; r < 16; r++)
        for (size_t c = 0; c < 8; c++) {
            float sum = hd[r * 8 + c];
            for (size_t k = 0; k < 16; k++)
                sum += value(ha[r * 16 + k]) * value(hb[c * 16 + k]);
            assert_true(d[r * 8 + c] == sum);
        }
    cudaFree(a);
    cudaFree(b);
    cudaFree(d);
}

/* ---- wgmma */

enum way {
    proper,
    no_fence,
    no_wait,
    read_early,
    overwrite_early,
    write_registers,
    one_warp_less,
    warps_differ,
    unswizzled,
    half_a_group,
    askew,
};

static __device__ void put(unsigned char *tile, unsigned row, unsigned k, uint16_t x) {
    const unsigned at = row * 128 + (k / 8 ^ row % 8) * 16 + k % 8 * 2;
    memcpy(tile + at, &x, sizeof x);
}

/* D[64][N] = A[64][64] B[N][64]^T in four steps of k. */
template <int N>
static __global__ void multiply_tiles(const uint16_t *a, const uint16_t *b, float *out, way how) {
    unsigned char *ta = dynamic_shared(), *tb = ta + 64 * 128;
    for (unsigned i = threadIdx.x; i < 64 * 64; i += blockDim.x)
        put(ta, i / 64, i % 64, a[i]);
    for (unsigned i = threadIdx.x; i < N * 64; i += blockDim.x)
        put(tb, i / 64, i % 64, b[i]);
    __syncthreads();
    float d[N / 2] = {};
    const unsigned warp = threadIdx.x / 32, l = threadIdx.x % 32;
    if (how == one_warp_less && warp == 3)
        return;
    if (how != no_fence)
        wgmma_fence();
    for (unsigned k = 0; k < 4; k++) {
        const uint64_t from = wgmma_descriptor(ta + k * 32 + (how == askew ? 128 : 0));
        wgmma_bf16<N>(d, how == unswizzled ? from & ~(UINT64_C(3) << 62) : from,
                      wgmma_descriptor(tb + (how == warps_differ && warp == 2 ? 0 : k * 32)));
        if (how == write_registers)
            d[3] = 1;
    }
    wgmma_commit();
    if (how == overwrite_early) {
        __syncthreads();
        put(ta, threadIdx.x % 64, 0, 0x7fc0);
        __syncthreads();
    }
    if (how == no_wait)
        return;
    if (how != read_early)
        wgmma_wait<0>();
    for (unsigned n = 0; n < N / 8; n++)
        for (unsigned i = 0; i < 4; i++)
            out[(warp * 16 + l / 4 + i / 2 * 8) * N + n * 8 + l % 4 * 2 + i % 2] = d[n * 4 + i];
    if (how == read_early)
        wgmma_wait<0>();
}

constexpr size_t shared_of(int n) {
    return (size_t)(64 + n) * 128;
}

template <int N> static void check_tiles() {
    const auto ha = some_bf16(64 * 64, 0), hb = some_bf16(N * 64, 5000);
    uint16_t *a = device(ha), *b = device(hb);
    float *out = device<float>(64 * N);
    run(multiply_tiles<N>, 2, 128, shared_of(N), (const uint16_t *)a, (const uint16_t *)b, out, proper);
    for (size_t r = 0; r < 64; r++)
        for (size_t c = 0; c < N; c++) {
            float sum = 0;
            for (size_t k = 0; k < 64; k++)
                sum += value(ha[r * 64 + k]) * value(hb[c * 64 + k]);
            assert_true(out[r * N + c] == sum);
        }
    cudaFree(a);
    cudaFree(b);
    cudaFree(out);
}

static void wgmma_multiplies(void **) {
    for (unsigned seed = 1; seed <= 3; seed++) {
        set_seed(seed);
        check_tiles<8>();
        check_tiles<16>();
        check_tiles<32>();
        check_tiles<64>();
        check_tiles<128>();
        check_tiles<256>();
    }
}

static void multiply_wrongly(way how, float *out) {
    uint16_t *a = device(some_bf16(64 * 64, 0)), *b = device(some_bf16(32 * 64, 5000));
    run(multiply_tiles<32>, 1, how == half_a_group ? 64 : 128, shared_of(32), (const uint16_t *)a,
        (const uint16_t *)b, out, how);
    cudaFree(a);
    cudaFree(b);
}

static void wgmma_is_as_late_as_its_wait(void **) {
    float *out = device<float>(64 * 32);
    multiply_wrongly(read_early, out);
    for (int i = 0; i < 64 * 32; i++)
        assert_true(std::isnan(out[i]));
    multiply_wrongly(overwrite_early, out);
    for (int i = 0; i < 64 * 32; i++)
        assert_true(std::isnan(out[i]));
    cudaFree(out);
}

template <way how> static void dies_with(const char *says) {
    assert_dies([] { multiply_wrongly(how, device<float>(64 * 32)); }, says);
}

static void wgmma_is_checked(void **) {
    dies_with<no_fence>("no wgmma_fence()");
    dies_with<no_wait>("products of wgmma that it never waited for");
    dies_with<write_registers>("were written while in flight");
    dies_with<one_warp_less>("the warpgroup's other warps");
    dies_with<warps_differ>("the warps of a warpgroup differ in product 1");
    dies_with<unswizzled>("has layout 0");
    dies_with<half_a_group>("ends within this warpgroup");
    dies_with<askew>("accepted are multiples of 1024");
}

/* Two groups in flight on two accumulators: wait<1> gives the older one back. */
static __global__ void two_groups(float *out) {
    unsigned char *tile = dynamic_shared();
    for (unsigned i = threadIdx.x; i < 64 * 64; i += blockDim.x)
        put(tile, i / 64, i % 64, 0x3f80);
    __syncthreads();
    float first[4] = {}, second[4] = {};
    const uint64_t t = wgmma_descriptor(tile);
    wgmma_fence();
    wgmma_bf16<8>(first, t, t);
    wgmma_commit();
    wgmma_bf16<8>(second, t, t);
    wgmma_bf16<8>(second, t, t);
    wgmma_commit();
    wgmma_wait<1>();
    out[threadIdx.x * 3] = first[0];
    out[threadIdx.x * 3 + 1] = second[0];
    wgmma_wait<0>();
    out[threadIdx.x * 3 + 2] = second[0];
}

static void groups_of_wgmma_end_in_order(void **) {
    float *out = device<float>(3 * 128);
    run(two_groups, 1, 128, 8192, out);
    for (int i = 0; i < 128; i++)
        assert_true(out[3 * i] == 16 && std::isnan(out[3 * i + 1]) && out[3 * i + 2] == 32);
    cudaFree(out);
}

/* ---- a tensor copy over what is still read */

static __global__ void free_too_early(const __grid_constant__ CUtensorMap map) {
    __shared__ uint64_t bar;
    unsigned char *tile = dynamic_shared();
    memset(tile + threadIdx.x * 64, 0, 64);
    if (!threadIdx.x) {
        barrier_init(&bar, 1);
        barrier_init_fence();
    }
    __syncthreads();
    float d[4] = {};
    wgmma_fence();
    wgmma_bf16<8>(d, wgmma_descriptor(tile), wgmma_descriptor(tile));
    wgmma_commit();
    __syncthreads();
    if (!threadIdx.x) {
        barrier_arrive_expect(&bar, 8192);
        tma_load_2d(tile, &map, &bar, 0, 0);
    }
    barrier_wait(&bar, 0);
    wgmma_wait<0>();
}

static void a_tile_that_is_read_is_not_loaded(void **) {
    assert_dies(
        [] {
            CUtensorMap map;
            const cuuint64_t dim[] = {64, 64}, stride[] = {128};
            const cuuint32_t box[] = {64, 64}, ones[] = {1, 1};
            assert_int_equal(cuTensorMapEncodeTiled(
                                 &map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, device<uint16_t>(64 * 64), dim,
                                 stride, box, ones, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                 CU_TENSOR_MAP_L2_PROMOTION_NONE, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
                             CUDA_SUCCESS);
            run(free_too_early, 1, 128, 8192, map);
        },
        "which a product in flight still reads");
}

/* ---- setmaxnreg */

template <int A, int B> static __global__ void set_registers() {
    if (threadIdx.x < 128)
        registers_give<A>();
    else
        registers_take<B>();
}

static __global__ void some_lanes_set_registers() {
    if (threadIdx.x < 96)
        registers_give<40>();
}

static void registers_are_counted(void **) {
    run(set_registers<24, 240>, 1, 384, 0);
    assert_dies([] { run(set_registers<40, 240>, 1, 384, 0); }, "registers of 65536");
    assert_dies([] { run(some_lanes_set_registers, 1, 128, 0); }, "of a warpgroup set 40 and 0");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ldmatrix_distributes_rows),
        cmocka_unit_test(ldmatrix_is_checked),
        cmocka_unit_test(mma_multiplies),
        cmocka_unit_test(wgmma_multiplies),
        cmocka_unit_test(wgmma_is_as_late_as_its_wait),
        cmocka_unit_test(wgmma_is_checked),
        cmocka_unit_test(groups_of_wgmma_end_in_order),
        cmocka_unit_test(a_tile_that_is_read_is_not_loaded),
        cmocka_unit_test(registers_are_counted),
    };
    return cmocka_run_group_tests_name("emulator products", tests, nullptr, nullptr);
}
