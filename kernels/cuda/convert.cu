/* convert.cu - checkpoint elements to float32, and rows of a weight to their places in a packed matrix. */
#include "kernels/cuda/device.h"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/number.cuh"

namespace {

enum { THREADS = 256 };
const size_t MOST_BLOCKS = 4096;

unsigned blocks_for(size_t elements) {
    const size_t blocks = (elements + THREADS - 1) / THREADS;
    return (unsigned)(blocks < MOST_BLOCKS ? blocks : MOST_BLOCKS);
}

__global__ void floats_kernel(const void *from, enum kernels_storage storage, size_t count, float *to) {
    for (size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x; i < count; i += (size_t)gridDim.x * THREADS)
        to[i] = stored(from, storage, i);
}

/* Where feature f of a group lies: the even ones of each 16 first (device.h, struct kernels_matrix). */
__device__ __forceinline__ size_t column_of(uint32_t f) {
    return f / 16 * 16 + f % 2 * 8 + f % 16 / 2;
}

/* A block a row; what lies past a row's end stays the zero that it was set to. */
template <typename Act>
__global__ void rows_kernel(const void *from, enum kernels_storage storage, size_t first, uint32_t out,
                            uint32_t in, uint32_t padded, uint32_t pitch, bool ordered, Act *weight) {
    const size_t row = first + blockIdx.x;
    const uint32_t group = (uint32_t)(row / out), feature = (uint32_t)(row % out);
    const size_t column = ordered ? feature : column_of(feature);
    Act *to = weight + ((size_t)group * padded + column) * pitch;
    for (uint32_t c = threadIdx.x; c < in; c += THREADS)
        to[c] = from_float<Act>(stored(from, storage, blockIdx.x * (size_t)in + c));
}

} // namespace

void convert_floats(cudaStream_t stream, const void *from, enum kernels_storage storage, size_t count,
                    float *to) {
    launch(stream, floats_kernel, dim3(blocks_for(count)), dim3(THREADS), 0, from, storage, count, to);
}

void convert_rows(cudaStream_t stream, const void *from, enum kernels_storage storage, bool bfloat16,
                  size_t first, size_t rows, const struct kernels_matrix *m) {
    const bool ordered = m->way == CUDA_PLAIN;
    const dim3 grid((unsigned)rows);
    if (bfloat16)
        launch(stream, rows_kernel<bf16>, grid, dim3(THREADS), 0, from, storage, first, m->out, m->in,
               m->padded, m->pitch, ordered, (bf16 *)m->weight);
    else
        launch(stream, rows_kernel<float>, grid, dim3(THREADS), 0, from, storage, first, m->out, m->in,
               m->padded, m->pitch, ordered, (float *)m->weight);
}
