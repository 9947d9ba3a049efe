/* probe.cu - a kernel compiled as those of kernels/cuda are, for test_emulator_module.cpp. */
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/device/ptx.cuh"
#include "tests/emulator/tests/probe.h"

template <int N>
static __global__ void __launch_bounds__(N) rotate(const float *__restrict__ in, float *out, int by) {
    __shared__ float values[N];
#pragma unroll
    for (int i = 0; i < 1; i++)
        values[threadIdx.x] = in[blockIdx.x * N + threadIdx.x];
    __syncthreads();
    out[blockIdx.x * N + threadIdx.x] = values[(threadIdx.x + by) % N];
}

/* What a block finds where the blocks before it wrote. */
static __global__ void leave(float *out) {
    __shared__ float values[64];
    out[threadIdx.x] = values[threadIdx.x];
    values[threadIdx.x] = 1;
}

int probe_leave(float *out) {
    launch(nullptr, leave, dim3(4), dim3(64), 0, out);
    return (int)cudaGetLastError();
}

int probe_rotate(const float *in, float *out, int blocks, int by) {
    launch(nullptr, rotate<64>, dim3(blocks), dim3(64), 0, in, out, by);
    return (int)cudaGetLastError();
}
