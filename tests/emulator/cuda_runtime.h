/* cuda_runtime.h - CUDA's device language as g++ reads it, for the emulator (C++ only).
 *
 * A kernel is an ordinary function, a thread of a block a fiber (fiber.cpp), a `__shared__` array a
 * thread-local of the one system thread that runs all fibers. The built-in variables are globals that the
 * scheduler sets whenever it switches (block.cpp). Nothing here may be relied on by host code but what the
 * toolkit declares too.
 */
#ifndef LIMOE_TESTS_EMULATOR_CUDA_RUNTIME_H
#define LIMOE_TESTS_EMULATOR_CUDA_RUNTIME_H

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include <cuda_runtime_api.h>

#include "tests/emulator/vectors.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __restrict__ __restrict
#define __shared__   static thread_local
#define __align__(n) alignas(n)

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
constexpr int warpSize = 32;

/* What the emulator does for the functions below (warp.cpp, block.cpp). */
namespace emulator {
void barrier_all();
void warp_sync(uint32_t mask);
enum class shuffle { index, up, down, butterfly };
uint32_t warp_shuffle(shuffle kind, uint32_t mask, uint32_t value, int operand, int width);
uint32_t warp_ballot(uint32_t mask, bool predicate);
uint32_t warp_match(uint32_t mask, uint64_t value);
[[noreturn]] void trap();
void let_others_run();
long long clock();

template <typename T> T shuffled(shuffle kind, uint32_t mask, T value, int operand, int width) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move 32 or 64 bits");
    uint32_t part[sizeof(T) / 4];
    memcpy(part, &value, sizeof value);
    for (uint32_t &p : part)
        p = warp_shuffle(kind, mask, p, operand, width);
    memcpy(&value, part, sizeof value);
    return value;
}
} // namespace emulator

inline void __syncthreads() {
    emulator::barrier_all();
}
inline void __syncwarp(unsigned mask = 0xffffffffu) {
    emulator::warp_sync(mask);
}
template <typename T> T __shfl_sync(unsigned mask, T value, int lane, int width = 32) {
    return emulator::shuffled(emulator::shuffle::index, mask, value, lane, width);
}
template <typename T> T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
    return emulator::shuffled(emulator::shuffle::up, mask, value, (int)delta, width);
}
template <typename T> T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
    return emulator::shuffled(emulator::shuffle::down, mask, value, (int)delta, width);
}
template <typename T> T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32) {
    return emulator::shuffled(emulator::shuffle::butterfly, mask, value, lanes, width);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
    return emulator::warp_ballot(mask, predicate != 0);
}
inline int __any_sync(unsigned mask, int predicate) {
    return emulator::warp_ballot(mask, predicate != 0) != 0;
}
inline int __all_sync(unsigned mask, int predicate) {
    return emulator::warp_ballot(mask, predicate == 0) == 0;
}
template <typename T> unsigned __match_any_sync(unsigned mask, T value) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "match compares 32 or 64 bits");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    return emulator::warp_match(mask, bits);
}

inline int __popc(unsigned x) {
    return __builtin_popcount(x);
}
inline int __popcll(unsigned long long x) {
    return __builtin_popcountll(x);
}
inline int __ffs(int x) {
    return __builtin_ffs(x);
}
inline int __clz(int x) {
    return x ? __builtin_clz((unsigned)x) : 32;
}
template <typename T> T __ldg(const T *p) {
    return *p;
}

inline unsigned __float_as_uint(float x) {
    unsigned u;
    memcpy(&u, &x, sizeof u);
    return u;
}
inline float __uint_as_float(unsigned u) {
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}
inline int __float_as_int(float x) {
    return (int)__float_as_uint(x);
}
inline float __int_as_float(int i) {
    return __uint_as_float((unsigned)i);
}

/* glibc declares some of these names for itself, so they are macros. */
#define __expf(x) expf(x)
#define __logf(x) logf(x)
inline float __fdividef(float x, float y) {
    return x / y;
}
inline float __fdiv_rn(float x, float y) {
    return x / y;
}
inline float __frcp_rn(float x) {
    return 1.0f / x;
}
inline float __fadd_rn(float x, float y) {
    return x + y;
}
inline float __fsub_rn(float x, float y) {
    return x - y;
}
inline float __fmul_rn(float x, float y) {
    return x * y;
}
inline float __fmaf_rn(float x, float y, float z) {
    return fmaf(x, y, z);
}
inline float __fsqrt_rn(float x) {
    return sqrtf(x);
}
inline float rsqrtf(float x) {
    return 1.0f / sqrtf(x);
}

#define EMULATED_MIN_MAX(A, B, R)                                                                            \
    inline R min(A a, B b) {                                                                                 \
        return (R)a < (R)b ? (R)a : (R)b;                                                                    \
    }                                                                                                        \
    inline R max(A a, B b) {                                                                                 \
        return (R)a > (R)b ? (R)a : (R)b;                                                                    \
    }
EMULATED_MIN_MAX(int, int, int)
EMULATED_MIN_MAX(unsigned, unsigned, unsigned)
EMULATED_MIN_MAX(int, unsigned, unsigned)
EMULATED_MIN_MAX(unsigned, int, unsigned)
EMULATED_MIN_MAX(long, long, long)
EMULATED_MIN_MAX(unsigned long, unsigned long, unsigned long)
EMULATED_MIN_MAX(long long, long long, long long)
EMULATED_MIN_MAX(unsigned long long, unsigned long long, unsigned long long)
#undef EMULATED_MIN_MAX
inline float min(float a, float b) {
    return fminf(a, b);
}
inline float max(float a, float b) {
    return fmaxf(a, b);
}
inline double min(double a, double b) {
    return fmin(a, b);
}
inline double max(double a, double b) {
    return fmax(a, b);
}

/* Fibers switch at waits alone, so a plain read and write is atomic. */
template <typename T> T atomicAdd(T *p, std::common_type_t<T> x) {
    T old = *p;
    *p = old + x;
    return old;
}
template <typename T> T atomicMax(T *p, std::common_type_t<T> x) {
    T old = *p;
    *p = old > x ? old : x;
    return old;
}
template <typename T> T atomicExch(T *p, std::common_type_t<T> x) {
    T old = *p;
    *p = x;
    return old;
}
template <typename T> T atomicCAS(T *p, std::common_type_t<T> compare, std::common_type_t<T> x) {
    T old = *p;
    *p = old == compare ? x : old;
    return old;
}
inline void __threadfence() {
}
inline void __threadfence_block() {
}
[[noreturn]] inline void __trap() {
    emulator::trap();
}
inline void __nanosleep(unsigned) {
    emulator::let_others_run();
}
inline long long clock64() {
    return emulator::clock();
}

/* The toolkit's C++ conveniences. */
template <typename T> cudaError_t cudaMalloc(T **p, size_t size) {
    return cudaMalloc((void **)p, size);
}
template <typename T> cudaError_t cudaMallocHost(T **p, size_t size) {
    return cudaMallocHost((void **)p, size);
}
template <typename R, typename... P>
cudaError_t cudaFuncSetAttribute(R (*kernel)(P...), cudaFuncAttribute attribute, int value) {
    return cudaFuncSetAttribute((const void *)kernel, attribute, value);
}
template <typename R, typename... P>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, R (*kernel)(P...), int threads,
                                                          size_t shared) {
    return cudaOccupancyMaxActiveBlocksPerMultiprocessor(blocks, (const void *)kernel, threads, shared);
}

#endif
