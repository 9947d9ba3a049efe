/* embed.c - the input of the tower: patches of pictures, positions, token embeddings.
 *
 * Memory-bound, a small part of a step: plain loops that the compiler vectorises.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/number.h"

enum { LEAST_SHARE = 1 << 14 };

struct patches_job {
    const struct cpu *self;
    const uint8_t *const *pixels;
    size_t units;                             /* rows of patches, over all pictures */
    uint32_t chunks, size, patch, lead, side; /* side: patches across a picture */
    uint16_t bf16[3][256];                    /* act of each pixel value, by channel */
    float f32[3][256];
    void *out;
};

/* Patch row `row` of one picture. */
static void patch_row(const struct patches_job *job, const uint8_t *picture, uint32_t row, size_t at) {
    uint32_t line = job->patch * 3;
    for (uint32_t px = 0; px < job->side; px++)
        for (uint32_t r = 0; r < job->patch; r++) {
            const uint8_t *p =
                picture + (((size_t)row * job->patch + r) * job->size + (size_t)px * job->patch) * 3;
            for (uint32_t i = 0; i < line; i += 3, at += 3)
                for (uint32_t ch = 0; ch < 3; ch++)
                    if (job->self->bf16)
                        ((uint16_t *)job->out)[at + ch] = job->bf16[ch][p[i + ch]];
                    else
                        ((float *)job->out)[at + ch] = job->f32[ch][p[i + ch]];
        }
}

static void patches_chunk(void *context, uint32_t chunk, uint32_t thread) {
    (void)thread;
    const struct patches_job *job = context;
    size_t elements = (size_t)job->patch * job->patch * 3, act = job->self->base.act_size, first, last;
    chunk_range(job->units, chunk, job->chunks, &first, &last);
    size_t picture = first / job->side, row = first % job->side;
    for (size_t u = first; u < last; u++) {
        size_t out_row = picture * job->lead + u * job->side;
        if (row == 0)
            memset((char *)job->out + out_row * elements * act, 0, job->lead * elements * act);
        patch_row(job, job->pixels[picture], (uint32_t)row, (out_row + job->lead) * elements);
        if (++row == job->side) {
            row = 0;
            picture++;
        }
    }
}

void cpu_patches(struct kernels *k, const uint8_t *const *pixels, size_t n, uint32_t size, uint32_t patch,
                 uint32_t lead, const float mean[3], const float std[3], void *out) {
    const struct cpu *self = (struct cpu *)k;
    struct patches_job job = {.self = self,
                              .pixels = pixels,
                              .units = n * (size / patch),
                              .size = size,
                              .patch = patch,
                              .lead = lead,
                              .side = size / patch,
                              .out = out};
    for (int ch = 0; ch < 3; ch++)
        for (int v = 0; v < 256; v++) {
            job.f32[ch][v] = ((float)v / 255.0f - mean[ch]) / std[ch];
            job.bf16[ch][v] = bf16_from_float(job.f32[ch][v]);
        }
    job.chunks = cpu_chunks(self, n * size * size * 3, LEAST_SHARE, job.units);
    threads_run(self->threads, job.chunks, patches_chunk, &job);
}

void cpu_tile_rows(struct kernels *k, const float *rows, uint32_t period, size_t n, uint32_t width,
                   float *x) {
    (void)k;
    size_t elements = (size_t)period * width;
    for (size_t i = 0; i < n; i++)
        memcpy(x + i * elements, rows, elements * sizeof *x);
}

void cpu_embed_tokens(struct kernels *k, const struct kernels_table *table, const float *position,
                      const int32_t *id, const uint32_t *position_id, size_t n, float *x) {
    (void)k;
    size_t width = table->width;
    for (size_t i = 0; i < n; i++, x += width) {
        tensor_read(table->tensor, (size_t)id[i] * width, width, x);
        const float *p = position + position_id[i] * width;
        for (size_t c = 0; c < width; c++)
            x[c] += p[c];
    }
}
