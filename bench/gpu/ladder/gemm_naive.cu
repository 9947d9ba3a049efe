/* gemm_naive.cu - a product as its formula is written: a thread an element of y, one chain of fmaf.
 *
 * Neighbouring threads have neighbouring features of one row: they read the same x, and 32 rows of W, each a
 * line of memory of its own. Every operand is fetched once for each element that it takes part in.
 */
#include "bench/gpu/ladder/ladder.h"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/product.cuh"

namespace {

enum { THREADS = 256 };

__global__ void __launch_bounds__(THREADS) naive_kernel(const struct product p) {
    const uint32_t feature = blockIdx.x * THREADS + threadIdx.x, row = blockIdx.y;
    uint32_t group = 0;
    if (feature >= p.out || row >= p.offset[p.groups])
        return;
    while (row >= p.offset[group + 1])
        group++;
    const bf16 *const x = (const bf16 *)p.x + (size_t)row * p.in;
    const bf16 *const w = (const bf16 *)p.weight + ((size_t)group * p.out + feature) * p.in;
    float acc = 0;
    for (uint32_t i = 0; i < p.in; i++)
        acc = fmaf(to_float(x[i]), to_float(w[i]), acc);
    acc += p.bias[(size_t)group * p.out + feature];
    ((bf16 *)p.y)[(size_t)row * p.out + feature] = from_float<bf16>(activate<true>(acc, p.epilogue));
}

} // namespace

void ladder_gemm_naive(cudaStream_t stream, const struct product *p) {
    launch(stream, naive_kernel, dim3((p->out + THREADS - 1) / THREADS, p->rows), dim3(THREADS), 0, *p);
}
