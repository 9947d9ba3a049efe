/* embed.cu - the input of the tower: patches of pictures, positions, token embeddings. A thread an element. */
#include "kernels/cuda/device.h"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/number.cuh"

namespace {

enum { THREADS = 256 };
const size_t MOST_BLOCKS = 1u << 20;

unsigned blocks_for(size_t elements) {
    const size_t blocks = (elements + THREADS - 1) / THREADS;
    return (unsigned)(blocks < MOST_BLOCKS ? blocks : MOST_BLOCKS);
}

struct norm {
    float mean[3], std[3];
};

/* Threads follow the output, so that it is written in order;
 * a patch row of the picture is read in order, too. */
template <typename Act>
__global__ void patches_kernel(const uint8_t *pixels, size_t elements, uint32_t size, uint32_t patch,
                               uint32_t lead, struct norm norm, Act *out) {
    const uint32_t side = size / patch, patch_row = patch * 3, patch_elements = patch * patch_row;
    const size_t picture_elements = ((size_t)lead + (size_t)side * side) * patch_elements;
    for (size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x; i < elements;
         i += (size_t)gridDim.x * THREADS) {
        const size_t picture = i / picture_elements;
        const uint32_t within = (uint32_t)(i % picture_elements);
        const uint32_t row = within / patch_elements, element = within % patch_elements;
        if (row < lead) {
            out[i] = from_float<Act>(0);
            continue;
        }
        const uint32_t which = row - lead;
        const uint32_t y = which / side * patch + element / patch_row;
        const uint32_t x = which % side * patch_row + element % patch_row; /* in bytes of the picture's row */
        const uint32_t channel = element % 3;
        const float pixel = (float)pixels[(picture * size + y) * size * 3 + x];
        const float mean = channel == 0 ? norm.mean[0] : channel == 1 ? norm.mean[1] : norm.mean[2];
        const float std = channel == 0 ? norm.std[0] : channel == 1 ? norm.std[1] : norm.std[2];
        out[i] = from_float<Act>((pixel / 255.0f - mean) / std);
    }
}

__global__ void tile_rows_kernel(const float *rows, size_t period_elements, size_t elements, float *x) {
    for (size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x; i < elements;
         i += (size_t)gridDim.x * THREADS)
        x[i] = rows[i % period_elements];
}

__global__ void embed_tokens_kernel(const void *table, enum kernels_storage storage, const float *position,
                                    const int32_t *id, const uint32_t *position_id, size_t n, uint32_t width,
                                    float *x) {
    for (size_t token = blockIdx.x; token < n; token += gridDim.x)
        for (uint32_t c = threadIdx.x; c < width; c += THREADS)
            x[token * width + c] = stored(table, storage, (size_t)id[token] * width + c) +
                                   position[(size_t)position_id[token] * width + c];
}

} // namespace

void patches_run(cudaStream_t stream, bool bfloat16, const uint8_t *pixels, size_t n, uint32_t size,
                 uint32_t patch, uint32_t lead, const float mean[3], const float std[3], void *out) {
    const size_t side = size / patch, elements = n * (lead + side * side) * patch * patch * 3;
    const struct norm norm = {{mean[0], mean[1], mean[2]}, {std[0], std[1], std[2]}};
    const dim3 grid(blocks_for(elements));
    if (bfloat16)
        launch(stream, patches_kernel<bf16>, grid, dim3(THREADS), 0, pixels, elements, size, patch, lead,
               norm, (bf16 *)out);
    else
        launch(stream, patches_kernel<float>, grid, dim3(THREADS), 0, pixels, elements, size, patch, lead,
               norm, (float *)out);
}

void tile_rows_run(cudaStream_t stream, const float *rows, uint32_t period, size_t n, uint32_t width,
                   float *x) {
    const size_t elements = n * period * width;
    launch(stream, tile_rows_kernel, dim3(blocks_for(elements)), dim3(THREADS), 0, rows,
           (size_t)period * width, elements, x);
}

void embed_tokens_run(cudaStream_t stream, const struct kernels_table *table, const float *position,
                      const int32_t *id, const uint32_t *position_id, size_t n, float *x) {
    launch(stream, embed_tokens_kernel, dim3((unsigned)(n < MOST_BLOCKS ? n : MOST_BLOCKS)), dim3(THREADS), 0,
           table->tensor.host, table->tensor.storage, position, id, position_id, n, table->width, x);
}
