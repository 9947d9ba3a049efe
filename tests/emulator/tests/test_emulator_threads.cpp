/* Threads, barriers and warps of the emulator: what CUDA says happens,
 * and what it forbids ends the process. */
#include "tests/emulator/tests/support.h"

/* ---- where a thread is */

static __global__ void write_place(int *out) {
    const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    out[block * 24 + thread] = (int)(block * 100 + thread);
}

static void every_thread_of_every_block_runs_once(void **) {
    int *out = device<int>(12 * 24);
    launch(nullptr, write_place, dim3(2, 3, 2), dim3(4, 3, 2), 0, out);
    assert_int_equal(cudaDeviceSynchronize(), cudaSuccess);
    for (int i = 0; i < 12 * 24; i++)
        assert_int_equal(out[i], i / 24 * 100 + i % 24);
    cudaFree(out);
}

/* ---- barriers of the block */

template <bool with_barrier> static __global__ void reverse(int *out) {
    __shared__ int values[256];
    values[threadIdx.x] = (int)threadIdx.x;
    if (with_barrier)
        __syncthreads();
    out[threadIdx.x] = values[255 - threadIdx.x];
}

static bool is_reversed(const int *out) {
    for (int i = 0; i < 256; i++)
        if (out[i] != 255 - i)
            return false;
    return true;
}

static void a_missing_barrier_shows(void **) {
    int *out = device<int>(256);
    for (unsigned seed = 1; seed <= 8; seed++) {
        set_seed(seed);
        run(reverse<true>, 1, 256, 0, out);
        assert_true(is_reversed(out));
        run(reverse<false>, 1, 256, 0, out);
        assert_false(is_reversed(out));
    }
    cudaFree(out);
}

static __global__ void sum_rounds(int *out) {
    auto *values = (int *)dynamic_shared();
    int sum = 0;
    for (int round = 0; round < 10; round++) {
        values[threadIdx.x] = round * (int)threadIdx.x;
        __syncthreads();
        sum += values[(threadIdx.x + 37) % blockDim.x];
        __syncthreads();
    }
    out[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

static void barriers_are_reused(void **) {
    int *out = device<int>(5 * 96);
    run(sum_rounds, 5, 96, 96 * sizeof(int), out);
    for (int i = 0; i < 5 * 96; i++)
        assert_int_equal(out[i], 45 * ((i % 96 + 37) % 96));
    cudaFree(out);
}

/* Warp 0 fills, warps 1 and 2 read: barrier 1 for the 96, with warp 3 elsewhere. */
static __global__ void fill_and_read(int *out) {
    __shared__ int values[32];
    if (threadIdx.x / 32 == 3)
        return;
    if (threadIdx.x < 32)
        values[threadIdx.x] = 7 * (int)threadIdx.x;
    named_barrier(1, 96);
    out[threadIdx.x] = values[threadIdx.x % 32];
}

static void named_barriers_join_the_warps_that_come(void **) {
    int *out = device<int>(96);
    run(fill_and_read, 1, 128, 0, out);
    for (int i = 0; i < 96; i++)
        assert_int_equal(out[i], 7 * (i % 32));
    cudaFree(out);
}

static __global__ void two_leave(int *out) {
    if (threadIdx.x >= 64)
        return;
    __syncthreads();
    out[threadIdx.x] = 1;
}

static void ended_threads_are_not_waited_for(void **) {
    int *out = device<int>(64);
    run(two_leave, 1, 128, 0, out);
    for (int i = 0; i < 64; i++)
        assert_int_equal(out[i], 1);
    cudaFree(out);
}

static __global__ void half_waits_at_one() {
    named_barrier(threadIdx.x < 32 ? 1 : 2, 64);
}

static void waiting_for_ever_is_a_deadlock(void **) {
    assert_dies([] { run(half_waits_at_one, 1, 64, 0); }, "deadlock");
    assert_dies([] { run(half_waits_at_one, 1, 64, 0); }, "threads 0 to 31: bar.sync (0x1)");
}

static __global__ void counts_differ() {
    named_barrier(1, threadIdx.x < 32 ? 64 : 96);
}

static __global__ void half_warps_at_barrier() {
    if (threadIdx.x % 32 < 16)
        named_barrier(1, 32);
}

static __global__ void misnumbered_barrier() {
    named_barrier(16, 32);
}

static __global__ void odd_barrier() {
    named_barrier(1, 40);
}

static void barriers_are_checked(void **) {
    assert_dies([] { run(counts_differ, 1, 96, 0); }, "is used for");
    assert_dies([] { run(half_warps_at_barrier, 1, 64, 0); }, "bar.sync is executed by whole warps");
    assert_dies([] { run(misnumbered_barrier, 1, 32, 0); }, "there is no barrier 16");
    assert_dies([] { run(odd_barrier, 1, 64, 0); }, "a barrier for 40 threads");
}

/* ---- warps */

static __global__ void shuffles(int *out) {
    const int l = (int)threadIdx.x;
    out[l] = __shfl_sync(~0u, l, 5);
    out[32 + l] = __shfl_up_sync(~0u, l, 3);
    out[64 + l] = __shfl_down_sync(~0u, l, 3);
    out[96 + l] = __shfl_xor_sync(~0u, l, 9);
    out[128 + l] = __shfl_sync(~0u, l, 9, 8);
    out[160 + l] = __shfl_up_sync(~0u, l, 3, 8);
    out[192 + l] = __shfl_down_sync(~0u, l, 3, 8);
    out[224 + l] = (int)(__shfl_xor_sync(~0u, (uint64_t)l << 40 | 1, 1) >> 40);
}

static void shuffles_move_values(void **) {
    int *out = device<int>(256);
    run(shuffles, 1, 32, 0, out);
    for (int l = 0; l < 32; l++) {
        assert_int_equal(out[l], 5);
        assert_int_equal(out[32 + l], l < 3 ? l : l - 3);
        assert_int_equal(out[64 + l], l > 28 ? l : l + 3);
        assert_int_equal(out[96 + l], l ^ 9);
        assert_int_equal(out[128 + l], l / 8 * 8 + 1);
        assert_int_equal(out[160 + l], l % 8 < 3 ? l : l - 3);
        assert_int_equal(out[192 + l], l % 8 > 4 ? l : l + 3);
        assert_int_equal(out[224 + l], l ^ 1);
    }
    cudaFree(out);
}

static __global__ void votes(unsigned *out) {
    const unsigned l = threadIdx.x;
    out[l] = __ballot_sync(~0u, l % 3 == 0);
    out[32 + l] = __match_any_sync(~0u, (int)(l / 5));
    out[64 + l] = (unsigned)(__any_sync(~0u, l == 7) * 8 + __any_sync(~0u, 0) * 4 + __all_sync(~0u, 1) * 2 +
                             __all_sync(~0u, l != 7));
    if (l < 12) /* some lanes alone, and at other things than the rest */
        out[96 + l] = __ballot_sync(0xfff, l & 1);
    else
        out[96 + l] = __match_any_sync(0xfffff000, l & 1);
}

static void votes_are_counted(void **) {
    unsigned *out = device<unsigned>(128), thirds = 0;
    run(votes, 1, 32, 0, out);
    for (unsigned l = 0; l < 32; l += 3)
        thirds |= 1u << l;
    for (unsigned l = 0; l < 32; l++) {
        assert_int_equal(out[l], thirds);
        assert_int_equal(out[32 + l], (l < 30 ? 31u : 3u) << l / 5 * 5);
        assert_int_equal(out[64 + l], 10);
        assert_int_equal(out[96 + l], l < 12 ? 0xaaau : l & 1 ? 0xaaaaa000u : 0x55555000u);
    }
    cudaFree(out);
}

static __global__ void neighbours(int *out, bool with_sync) {
    __shared__ int values[32];
    values[threadIdx.x] = (int)threadIdx.x;
    if (with_sync)
        __syncwarp();
    out[threadIdx.x] = values[(threadIdx.x + 1) % 32];
}

static void lanes_do_not_run_in_step(void **) {
    int *out = device<int>(32);
    bool wrong = false;
    for (unsigned seed = 1; seed <= 8; seed++) {
        set_seed(seed);
        run(neighbours, 1, 32, 0, out, true);
        for (int l = 0; l < 32; l++)
            assert_int_equal(out[l], (l + 1) % 32);
        run(neighbours, 1, 32, 0, out, false);
        for (int l = 0; l < 32; l++)
            wrong = wrong || out[l] != (l + 1) % 32;
    }
    assert_true(wrong);
    cudaFree(out);
}

static __global__ void lanes_at_two_operations() {
    if (threadIdx.x < 16)
        __shfl_sync(~0u, 1, 0);
    else
        __syncwarp();
}

static __global__ void masks_that_overlap() {
    __ballot_sync(threadIdx.x < 16 ? 0x1ffff : 0xffff0000, 1);
}

static __global__ void lanes_that_leave() {
    if (threadIdx.x < 16)
        return;
    __shfl_sync(~0u, 1, 16);
}

static __global__ void lanes_at_a_barrier() {
    if (threadIdx.x < 16)
        __syncthreads();
    else
        __syncwarp();
}

static __global__ void not_in_the_mask() {
    __ballot_sync(0xffff, 1);
}

static __global__ void from_outside_the_mask() {
    if (threadIdx.x < 16)
        __shfl_sync(0xffff, 1, 20);
}

static void collective_operations_are_checked(void **) {
    assert_dies([] { run(lanes_at_two_operations, 1, 32, 0); }, "with mask 0xffffffff meets lanes");
    assert_dies([] { run(masks_that_overlap, 1, 32, 0); }, "meets lanes");
    for (unsigned seed = 1; seed <= 4; seed++) {
        set_seed(seed);
        assert_dies([] { run(lanes_that_leave, 1, 32, 0); }, "lane");
        assert_dies([] { run(lanes_at_a_barrier, 1, 32, 0); }, "barrier");
    }
    assert_dies([] { run(not_in_the_mask, 1, 32, 0); }, "does not name the calling lane");
    assert_dies([] { run(from_outside_the_mask, 1, 32, 0); }, "which is not in the shuffle's mask");
    assert_dies([] { run(neighbours, 1, 24, 0, (int *)nullptr, true); }, "have ended or do not exist");
}

/* ---- memory of a block */

static __global__ void read_shared(uint32_t *out, bool write) {
    __shared__ uint32_t fixed[64];
    auto *dynamic = (uint32_t *)dynamic_shared();
    out[threadIdx.x] = fixed[threadIdx.x];
    out[64 + threadIdx.x] = dynamic[threadIdx.x];
    if (write)
        fixed[threadIdx.x] = dynamic[threadIdx.x] = 0;
}

static void shared_memory_is_garbage_in_every_block(void **) {
    uint32_t *out = device<uint32_t>(128);
    run(read_shared, 20, 64, 256, out, true);
    for (int i = 0; i < 128; i++) {
        assert_true(std::isnan(__uint_as_float(out[i])));
        assert_true(std::isnan(__uint_as_float(out[i] << 16)));
    }
    cudaFree(out);
}

static __global__ void write_shared(int at) {
    if ((uintptr_t)dynamic_shared() % 1024)
        __trap();
    dynamic_shared()[at] = 1;
}

static __global__ void recurse(int *out, int depth) {
    volatile int here[1024];
    here[depth % 1024] = depth;
    if (depth)
        recurse(out, depth - 1);
    *out = here[depth % 1024];
}

static __global__ void traps() {
    if (threadIdx.x == 33)
        __trap();
}

static __global__ void touch(int *p) {
    p[blockIdx.x * 64 + threadIdx.x] = 1;
}

static void what_a_kernel_may_not_touch_ends_it(void **) {
    assert_dies([] { run(write_shared, 1, 1, 1000, 1000); }, "written beyond the 1000 bytes");
    assert_dies([] { run(write_shared, 1, 1, 1000, 1024); }, "of 1000 bytes of dynamic shared memory");
    assert_dies([] { run(recurse, 1, 1, 0, device<int>(1), 1000); }, "bytes of stack");
    assert_dies([] { run(traps, 1, 64, 0); }, "__trap()");
    assert_dies([] { run(touch, 2, 64, 0, device<int>(64)); }, "of an allocation of 256 bytes");
    assert_dies([] { run(touch, 1, 64, 0, (int *)nullptr); }, "illegal address");
    assert_dies([] { run(traps, 1, 64, 0); },
                "in traps(), grid (1,1,1), block (0,0,0), thread (33,0,0) of (64,1,1)");
}

/* ---- arithmetic that the language has and C++ has not */

static void functions_of_the_language(void **) {
    assert_int_equal(bf16_pack(1.0f, -2.0f), 0xc0003f80);
    assert_int_equal(bf16_pack(1.00390625f, 1.01171875f), 0x3f823f80); /* ties to even */
    assert_int_equal(bf16_pack(__uint_as_float(0x7f800001), INFINITY) & 0xffff7fff, 0x7f807fc0);
    assert_int_equal(__clz(0), 32);
    assert_int_equal(__clz(1), 31);
    assert_int_equal(__ffs(8), 4);
    assert_int_equal(__popc(0xf0f), 8);
    assert_true(min(3u, 4u) == 3u && max(-1, 1) == 1 && min(-1, 5u) == 5u);
    unsigned u = 5;
    assert_true(atomicAdd(&u, 2) == 5 && atomicMax(&u, 3) == 7 && atomicExch(&u, 1) == 7 && u == 1);
    assert_int_equal(sizeof(float4) + alignof(float4) + alignof(uint2) + alignof(uchar4), 16 + 16 + 8 + 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_thread_of_every_block_runs_once),
        cmocka_unit_test(a_missing_barrier_shows),
        cmocka_unit_test(barriers_are_reused),
        cmocka_unit_test(named_barriers_join_the_warps_that_come),
        cmocka_unit_test(ended_threads_are_not_waited_for),
        cmocka_unit_test(waiting_for_ever_is_a_deadlock),
        cmocka_unit_test(barriers_are_checked),
        cmocka_unit_test(shuffles_move_values),
        cmocka_unit_test(votes_are_counted),
        cmocka_unit_test(lanes_do_not_run_in_step),
        cmocka_unit_test(collective_operations_are_checked),
        cmocka_unit_test(shared_memory_is_garbage_in_every_block),
        cmocka_unit_test(what_a_kernel_may_not_touch_ends_it),
        cmocka_unit_test(functions_of_the_language),
    };
    return cmocka_run_group_tests_name("emulator threads", tests, nullptr, nullptr);
}
