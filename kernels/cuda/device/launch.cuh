/* launch.cuh - kernel<<<grid, block, shared, stream>>>(arguments) as a function, and a block's dynamic shared
 * memory: what needs nvcc's own syntax, so that tests can put another launch.cuh in this one's place. */
#ifndef LIMOE_KERNELS_CUDA_DEVICE_LAUNCH_CUH
#define LIMOE_KERNELS_CUDA_DEVICE_LAUNCH_CUH

#include <cuda_runtime.h>
#include <stddef.h>

/* The running block's, aligned to 1,024 bytes as the swizzled copies want it. */
__device__ __forceinline__ unsigned char *dynamic_shared() {
    extern __shared__ __align__(1024) unsigned char shared[];
    return shared;
}

template <typename... P>
void launch_with(cudaStream_t stream, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared,
                 P... values) {
    void *arguments[] = {&values..., NULL};
    cudaLaunchKernel((const void *)kernel, grid, block, arguments, shared, stream);
}

/* Queues a kernel. What is wrong with a launch shows in cudaGetLastError(). */
template <typename... P, typename... A>
void launch(cudaStream_t stream, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, A... arguments) {
    launch_with<P...>(stream, kernel, grid, block, shared, static_cast<P>(arguments)...);
}

#endif
