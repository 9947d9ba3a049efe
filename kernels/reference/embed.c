/* embed.c - the input of the tower: patches of pictures, positions, token embeddings. */
#include "kernels/reference/reference.h"

void reference_patches(struct kernels *k, const uint8_t *const *pixels, size_t n, uint32_t size,
                       uint32_t patch, uint32_t lead, const float mean[3], const float std[3], void *out) {
    uint32_t side = size / patch;
    size_t i = 0; /* out is written in order */
    for (size_t picture = 0; picture < n; picture++) {
        for (size_t zeros = (size_t)lead * patch * patch * 3; zeros > 0; zeros--)
            reference_store(k, out, i++, 0);
        for (uint32_t py = 0; py < side; py++)
            for (uint32_t px = 0; px < side; px++)
                for (uint32_t r = 0; r < patch; r++)
                    for (uint32_t c = 0; c < patch; c++)
                        for (uint32_t ch = 0; ch < 3; ch++) {
                            size_t y = (size_t)py * patch + r, x = (size_t)px * patch + c;
                            float v = (float)pixels[picture][(y * size + x) * 3 + ch] / 255.0f;
                            reference_store(k, out, i++, (v - mean[ch]) / std[ch]);
                        }
    }
}

void reference_tile_rows(struct kernels *k, const float *rows, uint32_t period, size_t n, uint32_t width,
                         float *x) {
    (void)k;
    for (size_t i = 0; i < n * period; i++)
        for (uint32_t c = 0; c < width; c++)
            x[i * width + c] = rows[i % period * width + c];
}

void reference_embed_tokens(struct kernels *k, const struct kernels_table *table, const float *position,
                            const int32_t *id, const uint32_t *position_id, size_t n, float *x) {
    (void)k;
    uint32_t width = table->width;
    for (size_t i = 0; i < n; i++) {
        tensor_read(table->tensor, (size_t)id[i] * width, width, x + i * width);
        for (uint32_t c = 0; c < width; c++)
            x[i * width + c] += position[(size_t)position_id[i] * width + c];
    }
}
