/* backward_norm.c - LayerNorm, what stands for a sequence, unit vectors, and the loss, backwards. */
#include <math.h>

#include "kernels/cpu/backward.h"

enum {
    LEAST_SHARE = 1 << 14, /* elements, a few microseconds */
    COLUMNS = 64,          /* of one unit of a sum over rows */
};

/* ---- LayerNorm: the rows' moments, then the parameters' sums by columns, then dx by rows, which may lie on dy */

struct norm_job {
    const struct cpu *self;
    const struct backward_norm *norm;
    const struct head_layout *layout;
    const float *x, *dy;
    float *moment; /* [rows, 2]: mean, scale */
    bool add;
    float *dx;
    uint32_t chunks;
};

static void moments_chunk(void *context, uint32_t chunk, uint32_t thread) {
    (void)thread;
    const struct norm_job *job = context;
    const struct head_layout *l = job->layout;
    size_t first, last;
    chunk_range(l->rows, chunk, job->chunks, &first, &last);
    for (size_t r = first; r < last; r++)
        job->self->isa->gradients->moments(job->x + head_at(l, r), job->norm->eps, l->width,
                                           job->moment + 2 * r, job->moment + 2 * r + 1);
}

static void add_up(const struct norm_job *job, uint32_t column) {
    const struct head_layout *l = job->layout;
    const uint32_t columns = at_most(l->width - column, COLUMNS);
    float weight[COLUMNS] = {0}, bias[COLUMNS] = {0};
    for (size_t r = 0; r < l->rows; r++) {
        const size_t at = head_at(l, r) + column;
        const float *x = job->x + at, *dy = job->dy + at, mean = job->moment[2 * r],
                    scale = job->moment[2 * r + 1];
        for (uint32_t c = 0; c < columns; c++) {
            weight[c] += dy[c] * ((x[c] - mean) * scale);
            bias[c] += dy[c];
        }
    }
    for (uint32_t c = 0; job->norm->dweight && c < columns; c++)
        job->norm->dweight[column + c] += weight[c];
    for (uint32_t c = 0; job->norm->dbias && c < columns; c++)
        job->norm->dbias[column + c] += bias[c];
}

static void columns_chunk(void *context, uint32_t chunk, uint32_t thread) {
    (void)thread;
    add_up(context, chunk * COLUMNS);
}

static void rows_chunk(void *context, uint32_t chunk, uint32_t thread) {
    (void)thread;
    const struct norm_job *job = context;
    const struct head_layout *l = job->layout;
    size_t first, last;
    chunk_range(l->rows, chunk, job->chunks, &first, &last);
    for (size_t r = first; r < last; r++) {
        const size_t at = head_at(l, r);
        const struct norm_row row = {.x = job->x + at,
                                     .dy = job->dy + at,
                                     .weight = job->norm->weight,
                                     .mean = job->moment[2 * r],
                                     .scale = job->moment[2 * r + 1]};
        job->self->isa->gradients->layernorm(&row, l->width, job->add, job->dx + at);
    }
}

void cpu_norm_gradient(struct cpu *self, const struct backward_norm *norm, const struct head_layout *layout,
                       const float *x, const float *dy, bool add, float *dx) {
    struct norm_job job = {.self = self,
                           .norm = norm,
                           .layout = layout,
                           .x = x,
                           .dy = dy,
                           .moment = cpu_room(self, 2 * layout->rows),
                           .add = add,
                           .dx = dx};
    if (!layout->rows || !job.moment)
        return;
    job.chunks = cpu_chunks(self, layout->rows * layout->width, LEAST_SHARE, layout->rows);
    threads_run(self->threads, job.chunks, moments_chunk, &job);
    if (norm->dweight || norm->dbias)
        threads_run(self->threads, (layout->width + COLUMNS - 1) / COLUMNS, columns_chunk, &job);
    threads_run(self->threads, job.chunks, rows_chunk, &job);
}

void cpu_backward_layernorm(struct kernels *k, const struct backward_norm *norm, const float *x,
                            const float *dy, size_t rows, uint32_t width, float *dx) {
    const struct head_layout layout = {.rows = rows, .width = width, .heads = 1, .stride = width};
    cpu_norm_gradient((struct cpu *)k, norm, &layout, x, dy, true, dx);
}

/* ---- what stands for a sequence */

struct pool_job {
    const struct cpu *self;
    enum kernels_pooling pooling;
    const float *dout;
    uint32_t width, chunks;
    float *dx;
};

static void pool_sequence(const struct pool_job *job, size_t i) {
    const uint32_t *start = job->self->sequences.start;
    const uint32_t width = job->width;
    const float *dout = job->dout + i * width;
    size_t first = start[i], last = start[i + 1];
    memset(job->dx + first * width, 0, (last - first) * width * sizeof *job->dx);
    if (job->pooling == KERNELS_POOL_REST && last - first > 1)
        first++;
    if (job->pooling == KERNELS_POOL_LAST)
        first = last - 1;
    if (job->pooling == KERNELS_POOL_FIRST)
        last = first + 1;
    const float share = 1 / (float)(last - first);
    for (size_t r = first; r < last; r++)
        for (uint32_t c = 0; c < width; c++)
            job->dx[r * width + c] = dout[c] * share;
}

static void pool_chunk(void *context, uint32_t chunk, uint32_t thread) {
    (void)thread;
    const struct pool_job *job = context;
    size_t first, last;
    chunk_range(job->self->sequences.n, chunk, job->chunks, &first, &last);
    for (size_t i = first; i < last; i++)
        pool_sequence(job, i);
}

void cpu_backward_pool(struct kernels *k, enum kernels_pooling pooling, const float *dout, uint32_t width,
                       float *dx) {
    const struct cpu *self = (struct cpu *)k;
    const struct host_sequences *s = &self->sequences;
    struct pool_job job = {.self = self, .pooling = pooling, .dout = dout, .width = width, .dx = dx};
    job.chunks = s->n ? cpu_chunks(self, (size_t)s->start[s->n] * width, LEAST_SHARE, s->n) : 0;
    threads_run(self->threads, job.chunks, pool_chunk, &job);
}

void cpu_backward_normalize(struct kernels *k, const float *z, const float *dy, size_t n, uint32_t width,
                            float *dz) {
    const struct cpu *self = (struct cpu *)k;
    const struct gradient_ops *op = self->isa->gradients;
    for (size_t i = 0; i < n; i++, z += width, dy += width, dz += width) {
        const float length = sqrtf(self->isa->rows->sum_squares(z, width));
        const float dot = length > 0 ? op->dot(z, dy, width) / length : 0;
        for (uint32_t c = 0; c < width; c++)
            dz[c] = length > 0 ? (dy[c] - z[c] / length * dot) / length : 0;
    }
}

/* ---- the loss */

struct loss_job {
    const struct cpu *self;
    const float *cosine;
    const uint32_t *label;
    size_t n;
    uint32_t classes, chunks;
    float scale, *loss, *dcosine;
};

/* ln of the sum of exp(scale (cosine - the label's)), the greatest taken out first. */
static float row_loss(const struct loss_job *job, const float *cosine, uint32_t label) {
    float most = cosine[label], sum = 0;
    for (uint32_t c = 0; c < job->classes; c++)
        most = cosine[c] > most ? cosine[c] : most;
    for (uint32_t c = 0; c < job->classes; c++)
        sum += expf(job->scale * (cosine[c] - most));
    return logf(sum) + job->scale * (most - cosine[label]);
}

static void loss_chunk(void *context, uint32_t chunk, uint32_t thread) {
    (void)thread;
    const struct loss_job *job = context;
    const float share = job->scale / (float)job->n;
    size_t first, last;
    chunk_range(job->n, chunk, job->chunks, &first, &last);
    for (size_t i = first; i < last; i++) {
        const float *cosine = job->cosine + i * job->classes;
        float *d = job->dcosine + i * job->classes;
        job->loss[i] = row_loss(job, cosine, job->label[i]);
        for (uint32_t c = 0; c < job->classes; c++)
            d[c] = job->scale * cosine[c];
        job->self->isa->rows->softmax(d, job->classes);
        d[job->label[i]] -= 1;
        for (uint32_t c = 0; c < job->classes; c++)
            d[c] *= share;
    }
}

void cpu_cross_entropy(struct kernels *k, const float *cosine, const uint32_t *label, size_t n,
                       uint32_t classes, float scale, float *loss, float *dcosine) {
    const struct cpu *self = (struct cpu *)k;
    struct loss_job job = {.self = self,
                           .cosine = cosine,
                           .label = label,
                           .n = n,
                           .classes = classes,
                           .scale = scale,
                           .loss = loss,
                           .dcosine = dcosine};
    job.chunks = n ? cpu_chunks(self, n * classes, LEAST_SHARE / 16, n) : 0;
    threads_run(self->threads, job.chunks, loss_chunk, &job);
}
