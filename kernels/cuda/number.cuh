/* number.cuh - act and checkpoint elements on the device, as number.h has them on the host. */
#ifndef LIMOE_KERNELS_CUDA_NUMBER_CUH
#define LIMOE_KERNELS_CUDA_NUMBER_CUH

#include "kernels/cuda/device/ptx.cuh"
#include "kernels/kernels.h"

/* An act element: float32, or bfloat16 in 16 bits. */
typedef uint16_t bf16;

__device__ __forceinline__ float to_float(float v) {
    return v;
}

__device__ __forceinline__ float to_float(bf16 v) {
    return __uint_as_float((uint32_t)v << 16);
}

template <typename Act> __device__ __forceinline__ Act from_float(float v);

template <> __device__ __forceinline__ float from_float<float>(float v) {
    return v;
}

template <> __device__ __forceinline__ bf16 from_float<bf16>(float v) {
    return (bf16)bf16_pack(v, 0);
}

/* v as Act would hold it. */
template <typename Act> __device__ __forceinline__ float rounded(float v) {
    return to_float(from_float<Act>(v));
}

/* IEEE half precision; subnormals are fraction * 2^-24, exact in float32. */
__device__ __forceinline__ float half_to_float(uint16_t h) {
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = h >> 10 & 31u, fraction = h & 0x3ffu;
    if (exponent == 31)
        return __uint_as_float(sign | 0x7f800000u | fraction << 13);
    if (exponent == 0)
        return __uint_as_float(sign | __float_as_uint((float)fraction * 0x1p-24f));
    return __uint_as_float(sign | (exponent + 112u) << 23 | fraction << 13);
}

/* Element i of a tensor as it lies in the checkpoint. */
__device__ __forceinline__ float stored(const void *tensor, enum kernels_storage storage, size_t i) {
    if (storage == KERNELS_F32)
        return ((const float *)tensor)[i];
    const uint16_t v = ((const uint16_t *)tensor)[i];
    return storage == KERNELS_BF16 ? to_float((bf16)v) : half_to_float(v);
}

/* ---- a warp's sums, in one shape: five halvings */

enum { WARP = 32 };
#define WHOLE_WARP 0xffffffffu

__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
    for (int step = WARP / 2; step > 0; step /= 2)
        v += __shfl_xor_sync(WHOLE_WARP, v, step);
    return v;
}

__device__ __forceinline__ float warp_max(float v) {
#pragma unroll
    for (int step = WARP / 2; step > 0; step /= 2)
        v = fmaxf(v, __shfl_xor_sync(WHOLE_WARP, v, step));
    return v;
}

#endif
