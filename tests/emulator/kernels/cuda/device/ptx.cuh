/* ptx.cuh - the PTX instructions that kernels use, for the emulator; the twin of kernels/cuda/device/ptx.cuh.
 *
 * Each waits and checks as PTX says, and does its work as late as PTX allows: see the file named at each
 * group.
 */
#ifndef LIMOE_TESTS_EMULATOR_KERNELS_CUDA_DEVICE_PTX_CUH
#define LIMOE_TESTS_EMULATOR_KERNELS_CUDA_DEVICE_PTX_CUH

#include <cuda.h>
#include <cuda_runtime.h>

/* One compilation serves devices of both capabilities: which kernels a device gets is decided at run time. */
#define LIMOE_HOPPER 1

namespace emulator {
void cp_async(void *shared, const void *global, unsigned bytes, bool valid);
void cp_async_commit();
void cp_async_wait(unsigned groups);
void ldmatrix(uint32_t *r, unsigned matrices, bool transposed, const void *row);
void mma_bf16(float d[4], const uint32_t a[4], const uint32_t b[2]);
void mbarrier_init(uint64_t *bar, uint32_t count);
void mbarrier_init_fence();
void mbarrier_arrive(uint64_t *bar, uint32_t bytes);
void mbarrier_wait(uint64_t *bar, uint32_t parity);
void tma_load(void *shared, const CUtensorMap *map, uint64_t *bar, unsigned rank, const int32_t *at);
void tma_check(const CUtensorMap *map);
uint64_t wgmma_descriptor(const void *shared);
void wgmma_fence();
void wgmma_commit();
void wgmma_wait(unsigned groups);
void wgmma(unsigned columns, float *d, uint64_t a, uint64_t b);
void set_registers(unsigned count, bool more);
void barrier_some(int id, int threads);
} // namespace emulator

/* Round to nearest even, NaN stays NaN; lo in the low half. */
inline uint32_t bf16_pack(float lo, float hi) {
    auto rounded = [](float x) {
        uint32_t u = __float_as_uint(x);
        return x != x ? (u >> 16 | 0x40) : (u + 0x7fff + (u >> 16 & 1)) >> 16;
    };
    return rounded(lo) | rounded(hi) << 16;
}

/* ---- cp_async.cpp */
inline void cp_async_16(void *shared, const void *global, bool valid) {
    emulator::cp_async(shared, global, 16, valid);
}
inline void cp_async_8(void *shared, const void *global, bool valid) {
    emulator::cp_async(shared, global, 8, valid);
}
inline void cp_async_4(void *shared, const void *global, bool valid) {
    emulator::cp_async(shared, global, 4, valid);
}
inline void cp_async_commit() {
    emulator::cp_async_commit();
}
template <int N> void cp_async_wait() {
    emulator::cp_async_wait(N);
}

/* ---- mma.cpp */
inline void ldmatrix_x4(uint32_t r[4], const void *row) {
    emulator::ldmatrix(r, 4, false, row);
}
inline void ldmatrix_x4_trans(uint32_t r[4], const void *row) {
    emulator::ldmatrix(r, 4, true, row);
}
inline void ldmatrix_x2(uint32_t r[2], const void *row) {
    emulator::ldmatrix(r, 2, false, row);
}
inline void ldmatrix_x2_trans(uint32_t r[2], const void *row) {
    emulator::ldmatrix(r, 2, true, row);
}
inline void mma_bf16(float d[4], const uint32_t a[4], const uint32_t b[2]) {
    emulator::mma_bf16(d, a, b);
}

/* ---- mbarrier.cpp */
inline void barrier_init(uint64_t *bar, uint32_t count) {
    emulator::mbarrier_init(bar, count);
}
inline void barrier_init_fence() {
    emulator::mbarrier_init_fence();
}
inline void barrier_arrive(uint64_t *bar) {
    emulator::mbarrier_arrive(bar, 0);
}
inline void barrier_arrive_expect(uint64_t *bar, uint32_t bytes) {
    emulator::mbarrier_arrive(bar, bytes);
}
inline void barrier_wait(uint64_t *bar, uint32_t parity) {
    emulator::mbarrier_wait(bar, parity);
}

/* ---- tma.cpp */
inline void tma_load_2d(void *shared, const CUtensorMap *map, uint64_t *bar, int32_t c0, int32_t c1) {
    const int32_t at[] = {c0, c1};
    emulator::tma_load(shared, map, bar, 2, at);
}
inline void tma_load_3d(void *shared, const CUtensorMap *map, uint64_t *bar, int32_t c0, int32_t c1,
                        int32_t c2) {
    const int32_t at[] = {c0, c1, c2};
    emulator::tma_load(shared, map, bar, 3, at);
}
inline void tma_prefetch(const CUtensorMap *map) {
    emulator::tma_check(map);
}

/* ---- wgmma.cpp */
inline uint64_t wgmma_descriptor(const void *shared) {
    return emulator::wgmma_descriptor(shared);
}
inline void wgmma_fence() {
    emulator::wgmma_fence();
}
inline void wgmma_commit() {
    emulator::wgmma_commit();
}
template <int N> void wgmma_wait() {
    emulator::wgmma_wait(N);
}
template <int N> void wgmma_bf16(float (&d)[N / 2], uint64_t a, uint64_t b) {
    static_assert(N % 8 == 0 && N >= 8 && N <= 256, "wgmma has 8, 16, … 256 columns");
    emulator::wgmma(N, d, a, b);
}
template <int N> void registers_give() {
    static_assert(N % 8 == 0 && N >= 24 && N <= 256, "setmaxnreg takes 24, 32, … 256");
    emulator::set_registers(N, false);
}
template <int N> void registers_take() {
    static_assert(N % 8 == 0 && N >= 24 && N <= 256, "setmaxnreg takes 24, 32, … 256");
    emulator::set_registers(N, true);
}

/* ---- block.cpp */
inline void named_barrier(int id, int threads) {
    emulator::barrier_some(id, threads);
}

#endif
