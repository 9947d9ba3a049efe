/* linear.c - which product a matrix has, in tiles of how many rows, and the maps that TMA reads by. */
#include "kernels/cuda/device.h"

enum { MAP_COLUMNS = 64, MAP_WEIGHT_ROWS = 64 }; /* gemm_wgmma.cu: a stage's k, a consumer's features */

static bool encode(struct cuda *self, CUtensorMap *map, const void *address, uint32_t rank,
                   const cuuint64_t *extent, const cuuint64_t *stride, const cuuint32_t *box) {
    static const cuuint32_t every[] = {1, 1, 1};
    const CUresult result =
        self->encode_map(map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, rank, (void *)address, extent, stride, box,
                         every, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                         CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    return cuda_check(self, "a tensor map", result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue);
}

bool cuda_map_weight(struct cuda *self, struct kernels_matrix *m) {
    if (m->way != CUDA_WGMMA)
        return true;
    const cuuint64_t extent[] = {m->pitch, m->padded, m->groups};
    const cuuint64_t row = m->pitch * sizeof(uint16_t), stride[] = {row, row * m->padded};
    const cuuint32_t box[] = {MAP_COLUMNS, MAP_WEIGHT_ROWS, 1};
    return encode(self, &m->map, m->weight, 3, extent, stride, box);
}

bool cuda_map_rows(struct cuda *self, const void *x, uint64_t rows, uint64_t columns, uint32_t box_rows,
                   CUtensorMap *map) {
    const cuuint64_t extent[] = {columns, rows}, stride[] = {columns * sizeof(uint16_t)};
    const cuuint32_t box[] = {MAP_COLUMNS, box_rows};
    return encode(self, map, x, 2, extent, stride, box);
}

/* Rows of a tile: as many as a group has on average, but fewer where that would leave processors without a
 * tile. It changes no bit. */
static uint32_t choose_tile_rows(const struct cuda *self, const struct kernels_matrix *m, size_t rows) {
    const uint32_t most = m->way == CUDA_WGMMA ? 256 : 128, features = 128;
    const size_t each = (rows + m->groups - 1) / m->groups, across = (m->out + features - 1) / features;
    uint32_t n = most;
    while (n > 16 && each <= n / 2)
        n /= 2;
    while (n > 32 && (rows + n - 1) / n * across < self->processors)
        n /= 2;
    return n;
}

static void multiply(struct cuda *self, const struct kernels_matrix *m, const struct product *p) {
    const uint32_t n = choose_tile_rows(self, m, p->rows);
    CUtensorMap rows;
    switch (m->way) {
    case CUDA_PLAIN:
        gemm_plain(self->stream, self->bf16, p);
        break;
    case CUDA_MMA:
        gemm_mma(self->stream, self->processors, n, p);
        break;
    case CUDA_WGMMA:
        if (cuda_map_rows(self, p->x, p->rows, p->in, n, &rows))
            gemm_wgmma(self->stream, self->processors, n, p, &m->map, &rows);
        break;
    }
    cuda_launched(self, "a product");
}

static struct product product_of(const struct kernels_matrix *m, const uint32_t *offset, const void *x,
                                 size_t rows, enum kernels_epilogue epilogue, void *y) {
    return (struct product){.weight = m->weight,
                            .bias = m->bias,
                            .offset = offset,
                            .x = x,
                            .y = y,
                            .rows = (uint32_t)rows,
                            .groups = m->groups,
                            .out = m->out,
                            .in = m->in,
                            .padded = m->padded,
                            .pitch = m->pitch,
                            .epilogue = epilogue};
}

void cuda_linear(struct kernels *k, const struct kernels_matrix *m, const void *in, size_t rows,
                 enum kernels_epilogue epilogue, void *y) {
    const struct product p = product_of(m, NULL, in, rows, epilogue, y);
    if (rows)
        multiply((struct cuda *)k, m, &p);
}

void cuda_grouped_linear(struct kernels *k, const struct kernels_matrix *m, const uint32_t *offset,
                         const void *in, size_t rows, enum kernels_epilogue epilogue, void *y) {
    const struct product p = product_of(m, offset, in, rows, epilogue, y);
    if (rows)
        multiply((struct cuda *)k, m, &p);
}

/* The router is float32 in every dtype. */
void cuda_router_logits(struct kernels *k, const float *x, const float *w, size_t rows, uint32_t width,
                        uint32_t experts, float *logits) {
    struct cuda *self = (struct cuda *)k;
    const struct kernels_matrix m = {
        .weight = (void *)w, .groups = 1, .out = experts, .in = width, .padded = experts, .pitch = width};
    const struct product p = product_of(&m, NULL, x, rows, KERNELS_STORE_F32, logits);
    if (rows)
        gemm_plain(self->stream, false, &p);
    cuda_launched(self, "the router");
}
