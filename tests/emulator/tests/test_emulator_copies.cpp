/* Asynchronous copies of the emulator: cp.async, mbarriers and tensor copies, as late as PTX allows and
 * checked. */
#include <algorithm>
#include <cstring>

#include "tests/emulator/tests/support.h"

static std::vector<float> numbers(size_t n) {
    std::vector<float> v(n);
    for (size_t i = 0; i < n; i++)
        v[i] = (float)i;
    return v;
}

/* ---- cp.async */

static __global__ void copy_sizes(const float *in, float *out) {
    auto *s = (float *)dynamic_shared();
    if (!threadIdx.x) {
        cp_async_16(s, in, true);
        cp_async_8(s + 4, in + 4, true);
        cp_async_4(s + 6, in + 6, true);
        cp_async_4(s + 7, in + 7, false);
        cp_async_16(s + 8, nullptr, false);
        cp_async_commit();
        cp_async_wait<0>();
        for (int i = 0; i < 12; i++)
            out[i] = s[i];
    }
}

static void cp_async_copies_and_fills(void **) {
    float *in = device(numbers(8)), *out = device<float>(12);
    run(copy_sizes, 1, 32, 48, (const float *)in, out);
    for (int i = 0; i < 12; i++)
        assert_true(out[i] == (i < 7 ? (float)i : 0.0f));
    cudaFree(in);
    cudaFree(out);
}

/* Groups in flight: after wait<1> the older one is there and the newer is not. */
static __global__ void two_groups(const float *in, float *out) {
    auto *s = (float *)dynamic_shared();
    cp_async_4(s, in, true);
    cp_async_commit();
    cp_async_4(s + 1, in + 1, true);
    cp_async_commit();
    out[0] = s[0];
    cp_async_wait<1>();
    out[1] = s[0];
    out[2] = s[1];
    cp_async_wait<0>();
    out[3] = s[1];
}

static void cp_async_is_as_late_as_its_wait(void **) {
    float *in = device(std::vector<float>{5, 6}), *out = device<float>(4);
    run(two_groups, 1, 1, 64, (const float *)in, out);
    assert_true(std::isnan(out[0]) && out[1] == 5 && std::isnan(out[2]) && out[3] == 6);
    cudaFree(in);
    cudaFree(out);
}

static __global__ void copy_to(const float *in, int at, int from, bool wait) {
    auto *s = (float *)dynamic_shared();
    cp_async_16(s + at, in + from, true);
    cp_async_commit();
    if (wait)
        cp_async_wait<0>();
}

static void cp_async_is_checked(void **) {
    assert_dies([] { run(copy_to, 1, 1, 1024, (const float *)device<float>(8), 2, 0, true); },
                "not a multiple of 16");
    assert_dies([] { run(copy_to, 1, 1, 1024, (const float *)device<float>(8), 0, 1, true); },
                "not a multiple of 16");
    assert_dies([] { run(copy_to, 1, 1, 16, (const float *)device<float>(8), 4, 0, true); },
                "are not the block's");
    assert_dies([] { run(copy_to, 1, 1, 16, (const float *)device<float>(8), 0, 0, false); },
                "never waited for");
}

/* ---- mbarriers */

/* A producer warp hands numbers to a consumer warp through two stages. */
static __global__ void produce_and_consume(int *out, int n) {
    __shared__ uint64_t full[2], empty[2];
    __shared__ int stage[2][32];
    if (!threadIdx.x) {
        for (int i = 0; i < 2; i++) {
            barrier_init(&full[i], 32);
            barrier_init(&empty[i], 32);
        }
        barrier_init_fence();
    }
    __syncthreads();
    const unsigned lane = threadIdx.x % 32;
    for (int i = 0; i < n; i++) {
        const uint32_t parity = i / 2 & 1;
        if (threadIdx.x < 32) {
            barrier_wait(&empty[i % 2], parity ^ 1);
            stage[i % 2][lane] = i * 32 + (int)lane;
            barrier_arrive(&full[i % 2]);
        } else {
            barrier_wait(&full[i % 2], parity);
            out[i * 32 + (int)lane] = stage[i % 2][31 - lane];
            barrier_arrive(&empty[i % 2]);
        }
    }
}

static void mbarriers_order_stages(void **) {
    int *out = device<int>(32 * 9);
    for (unsigned seed = 1; seed <= 10; seed++) {
        set_seed(seed);
        run(produce_and_consume, 1, 64, 0, out, 9);
        for (int i = 0; i < 9 * 32; i++)
            assert_int_equal(out[i], i / 32 * 32 + 31 - i % 32);
    }
    cudaFree(out);
}

enum misuse {
    not_made,
    not_fenced,
    overwritten,
    made_twice,
    one_too_many,
    never_arrives,
    bytes_never_come,
    no_count
};

static __global__ void misuse_mbarrier(misuse how) {
    __shared__ uint64_t bar;
    if (how != not_made && !threadIdx.x) {
        barrier_init(&bar, how == no_count ? 0 : how == never_arrives ? 33 : 32);
        if (how == made_twice)
            barrier_init(&bar, 1);
        if (how != not_fenced)
            barrier_init_fence();
    }
    __syncthreads();
    if (how == overwritten && threadIdx.x == 5)
        bar = 7;
    if (how == one_too_many && !threadIdx.x)
        barrier_arrive_expect(&bar, 16);
    if (how == bytes_never_come && !threadIdx.x)
        barrier_arrive_expect(&bar, 16);
    else
        barrier_arrive(&bar);
    if (how == never_arrives)
        barrier_wait(&bar, 0);
}

static void mbarriers_are_checked(void **) {
    assert_dies([] { run(misuse_mbarrier, 1, 32, 0, not_made); }, "there is no mbarrier");
    assert_dies([] { run(misuse_mbarrier, 1, 32, 0, not_fenced); }, "before barrier_init_fence()");
    assert_dies([] { run(misuse_mbarrier, 1, 32, 0, overwritten); }, "was overwritten");
    assert_dies([] { run(misuse_mbarrier, 1, 32, 0, made_twice); }, "already");
    assert_dies([] { run(misuse_mbarrier, 1, 32, 0, one_too_many); }, "one more than the 32 arrivals");
    assert_dies([] { run(misuse_mbarrier, 1, 32, 0, never_arrives); }, "an mbarrier, parity 0");
    assert_dies([] { run(misuse_mbarrier, 1, 32, 0, bytes_never_come); }, "16 bytes still expected");
    assert_dies([] { run(misuse_mbarrier, 1, 32, 0, no_count); }, "a count of 0");
}

/* ---- tensor maps */

static decltype(&cuTensorMapEncodeTiled) encoder() {
    void *f = nullptr;
    cudaDriverEntryPointQueryResult found;
    assert_int_equal(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &f, 12000, 0, &found),
                     cudaSuccess);
    assert_int_equal(found, cudaDriverEntryPointSuccess);
    return (decltype(&cuTensorMapEncodeTiled))f;
}

struct shape {
    uint32_t rank;
    cuuint64_t dim[3], stride[2];
    cuuint32_t box[3];
    CUtensorMapSwizzle swizzle;
};

static CUresult encode(CUtensorMap *map, void *address, const shape &s) {
    const cuuint32_t ones[3] = {1, 1, 1};
    return encoder()(map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, s.rank, address, s.dim, s.stride, s.box, ones,
                     CU_TENSOR_MAP_INTERLEAVE_NONE, s.swizzle, CU_TENSOR_MAP_L2_PROMOTION_NONE,
                     CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
}

static const shape plane = {2, {100, 50}, {256}, {64, 16}, CU_TENSOR_MAP_SWIZZLE_128B};

static void tensor_maps_are_checked(void **) {
    auto *p = (unsigned char *)device<uint16_t>(128 * 50);
    CUtensorMap map;
    assert_int_equal(encode(&map, p, plane), CUDA_SUCCESS);
    assert_int_equal(encode(&map, p + 8, plane), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(encode((CUtensorMap *)((char *)&map + 16), p, plane), CUDA_ERROR_INVALID_VALUE);
    shape s = plane;
    s.stride[0] = 200; /* not a multiple of 16 */
    assert_int_equal(encode(&map, p, s), CUDA_ERROR_INVALID_VALUE);
    s = plane;
    s.stride[0] = 192; /* less than a row */
    assert_int_equal(encode(&map, p, s), CUDA_ERROR_INVALID_VALUE);
    s = plane;
    s.box[0] = 128; /* 256 bytes, swizzled */
    assert_int_equal(encode(&map, p, s), CUDA_ERROR_INVALID_VALUE);
    s.swizzle = CU_TENSOR_MAP_SWIZZLE_NONE;
    assert_int_equal(encode(&map, p, s), CUDA_SUCCESS);
    s.box[1] = 257;
    assert_int_equal(encode(&map, p, s), CUDA_ERROR_INVALID_VALUE);
    s = plane;
    s.box[0] = 60; /* 120 bytes */
    assert_int_equal(encode(&map, p, s), CUDA_ERROR_INVALID_VALUE);
    s = plane;
    s.rank = 0;
    assert_int_equal(encode(&map, p, s), CUDA_ERROR_INVALID_VALUE);
    s.rank = 6;
    assert_int_equal(encode(&map, p, s), CUDA_ERROR_INVALID_VALUE);
    s = plane;
    s.dim[1] = 0;
    assert_int_equal(encode(&map, p, s), CUDA_ERROR_INVALID_VALUE);
    void *f;
    cudaDriverEntryPointQueryResult found;
    assert_int_equal(cudaGetDriverEntryPointByVersion("cuNothing", &f, 12000, 0, &found), cudaSuccess);
    assert_int_equal(found, cudaDriverEntryPointSymbolNotFound);
    cudaFree(p);
}

/* ---- tensor copies */

/* Loads one box and writes it out as it lies in shared memory. */
static __global__ void load_box(const __grid_constant__ CUtensorMap map, bool three, int c0, int c1, int c2,
                                uint16_t *out, unsigned bytes, bool wait) {
    unsigned char *tile = dynamic_shared();
    __shared__ uint64_t bar;
    if (!threadIdx.x) {
        tma_prefetch(&map);
        barrier_init(&bar, 1);
        barrier_init_fence();
    }
    __syncthreads();
    if (!threadIdx.x) {
        barrier_arrive_expect(&bar, bytes);
        if (three)
            tma_load_3d(tile, &map, &bar, c0, c1, c2);
        else
            tma_load_2d(tile, &map, &bar, c0, c1);
    }
    if (wait)
        barrier_wait(&bar, 0);
    for (unsigned i = threadIdx.x; i < bytes / 2; i += blockDim.x)
        memcpy(&out[i], tile + 2 * i, 2);
    if (!wait)
        barrier_wait(&bar, 0);
}

static std::vector<uint16_t> counted(size_t n) {
    std::vector<uint16_t> v(n);
    for (size_t i = 0; i < n; i++)
        v[i] = (uint16_t)(i + 1);
    return v;
}

static void boxes_are_swizzled_and_filled(void **) {
    uint16_t *in = device(counted(128 * 50)), *out = device<uint16_t>(64 * 16);
    const int at[][2] = {{0, 0}, {64, 40}, {-8, -3}, {1000, 0}, {56, 49}};
    for (const auto &c : at) {
        CUtensorMap map;
        assert_int_equal(encode(&map, in, plane), CUDA_SUCCESS);
        run(load_box, 1, 64, 2048, map, false, c[0], c[1], 0, out, 2048u, true);
        for (int row = 0; row < 16; row++)
            for (int column = 0; column < 64; column++) {
                const int x = c[0] + column, y = c[1] + row;
                const int expected = x >= 0 && x < 100 && y >= 0 && y < 50 ? y * 128 + x + 1 : 0;
                const int chunk = column / 8 ^ row % 8;
                assert_int_equal(out[row * 64 + chunk * 8 + column % 8], expected);
            }
    }
    cudaFree(in);
    cudaFree(out);
}

static void boxes_of_three_dimensions(void **) {
    const shape s = {3, {24, 6, 4}, {64, 512}, {16, 4, 2}, CU_TENSOR_MAP_SWIZZLE_NONE};
    uint16_t *in = device(counted(256 * 4)), *out = device<uint16_t>(128);
    CUtensorMap map;
    assert_int_equal(encode(&map, in, s), CUDA_SUCCESS);
    run(load_box, 1, 32, 1024, map, true, 16, 4, 3, out, 256u, true);
    for (int z = 0; z < 2; z++)
        for (int y = 0; y < 4; y++)
            for (int x = 0; x < 16; x++) {
                const bool inside = 16 + x < 24 && 4 + y < 6 && 3 + z < 4;
                assert_int_equal(out[(z * 4 + y) * 16 + x],
                                 inside ? (3 + z) * 256 + (4 + y) * 32 + 16 + x + 1 : 0);
            }
    cudaFree(in);
    cudaFree(out);
}

static void a_box_is_garbage_until_its_mbarrier_says(void **) {
    uint16_t *in = device(counted(128 * 50)), *out = device<uint16_t>(64 * 16);
    CUtensorMap map;
    assert_int_equal(encode(&map, in, plane), CUDA_SUCCESS);
    for (unsigned seed = 1; seed <= 8; seed++) {
        set_seed(seed);
        run(load_box, 1, 1, 2048, map, false, 0, 0, 0, out, 2048u, false);
        int garbage = 0;
        for (int i = 0; i < 1024; i++)
            garbage += std::isnan(__uint_as_float((uint32_t)out[i] << 16));
        assert_int_equal(garbage, 1024);
    }
    cudaFree(in);
    cudaFree(out);
}

enum bad_copy { wrong_rank, no_map, beside_shared, askew, not_waited, too_few_bytes, twice_there };

static __global__ void copy_badly(const __grid_constant__ CUtensorMap map, bad_copy how) {
    __shared__ uint64_t bar[2];
    barrier_init(&bar[0], 1);
    barrier_init(&bar[1], 1);
    barrier_init_fence();
    barrier_arrive_expect(&bar[0], how == too_few_bytes ? 1024 : 2048);
    unsigned char *to = dynamic_shared() + (how == askew ? 128 : how == beside_shared ? 2048 : 0);
    const CUtensorMap nothing = {};
    if (how == wrong_rank)
        tma_load_3d(to, &map, &bar[0], 0, 0, 0);
    else
        tma_load_2d(to, how == no_map ? &nothing : &map, &bar[0], 0, 0);
    if (how == twice_there)
        tma_load_2d(to, &map, &bar[1], 0, 0);
    if (how != not_waited)
        barrier_wait(&bar[0], 0);
}

static bad_copy how_bad;

static void run_bad_copy() {
    CUtensorMap map;
    encode(&map, device<uint16_t>(128 * 50), plane);
    run(copy_badly, 1, 1, 3072, map, how_bad);
}

static void tensor_copies_are_checked(void **) {
    const struct {
        bad_copy how;
        const char *says;
    } all[] = {
        {wrong_rank, "of rank 3 with a map of rank 2"},
        {no_map, "there is no tensor map"},
        {beside_shared, "are not the block's shared memory"},
        {askew, "not a multiple of 1024"},
        {not_waited, "1 tensor copies in flight"},
        {too_few_bytes, "deadlock"},
        {twice_there, "while another"},
    };
    set_seed(3);
    for (const auto &a : all) {
        how_bad = a.how;
        assert_dies(run_bad_copy, a.says);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cp_async_copies_and_fills),
        cmocka_unit_test(cp_async_is_as_late_as_its_wait),
        cmocka_unit_test(cp_async_is_checked),
        cmocka_unit_test(mbarriers_order_stages),
        cmocka_unit_test(mbarriers_are_checked),
        cmocka_unit_test(tensor_maps_are_checked),
        cmocka_unit_test(boxes_are_swizzled_and_filled),
        cmocka_unit_test(boxes_of_three_dimensions),
        cmocka_unit_test(a_box_is_garbage_until_its_mbarrier_says),
        cmocka_unit_test(tensor_copies_are_checked),
    };
    return cmocka_run_group_tests_name("emulator copies", tests, nullptr, nullptr);
}
