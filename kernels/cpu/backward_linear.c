/* backward_linear.c - y = x W^T + b and the activation behind it, backwards, on the forward's products.
 *
 *     dx = dy W       rows of dy meet panels of W's columns
 *     dW += dy^T x    rows of dy^T, which is made for it, meet panels of x's columns, a block of rows at a time
 * Both are linears of kernels.h (linear.c), whose units the threads share; before each, all threads pack. A row-major
 * matrix B [k, columns] is nearly packed as it lies: 16 columns of a row are a step of a panel.
 */
#include "kernels/cpu/backward.h"

enum {
    LEAST_SHARE = 1 << 14, /* elements moved, some microseconds */
    PACK_ROWS = 32,        /* of one unit of packing */
    TURN_COLUMNS = 64,     /* of one unit of transposing */
};

/* Rows first .. last - 1 of b [k, columns] to its panels; columns beyond the last are zero. */
static void pack_rows(const float *b, size_t k, uint32_t columns, size_t first, size_t last, float *panels) {
    for (size_t r = first; r < last; r++) {
        const float *row = b + r * columns;
        float *to = panels + r * PANEL;
        uint32_t c = 0;
        for (; c + PANEL <= columns; c += PANEL, to += k * PANEL)
            memcpy(to, row + c, PANEL * sizeof *to);
        if (c == columns)
            continue;
        memset(to, 0, PANEL * sizeof *to);
        memcpy(to, row + c, (columns - c) * sizeof *to);
    }
}

static size_t panel_floats(size_t k, uint32_t columns) {
    return round_up(columns, PANEL) * k;
}

/* The matrix whose panels these are: with it a linear multiplies by b [k, columns], once for each group. */
static struct kernels_matrix matrix_of(float *panels, uint32_t groups, size_t k, uint32_t columns) {
    return (struct kernels_matrix){.groups = groups,
                                   .out = columns,
                                   .in = (uint32_t)k,
                                   .panel_bytes = k * PANEL * sizeof *panels,
                                   .group_bytes = panel_floats(k, columns) * sizeof *panels,
                                   .panels = panels};
}

/* ---- dx */

struct weight_job {
    const struct backward_matrix *m;
    const uint32_t *offset;
    float *panels;
    size_t units; /* of a group */
    uint32_t groups, chunks;
};

/* Experts that got no row are left out. */
static void weight_chunk(void *context, uint32_t chunk, uint32_t thread) {
    (void)thread;
    const struct weight_job *job = context;
    const struct backward_matrix *m = job->m;
    size_t first, last;
    chunk_range(job->groups * job->units, chunk, job->chunks, &first, &last);
    for (size_t u = first; u < last; u++) {
        const size_t g = u / job->units, row = u % job->units * PACK_ROWS;
        if (!job->offset || job->offset[g] < job->offset[g + 1])
            pack_rows(m->weight + g * m->out * m->in, m->out, m->in, row,
                      row + at_most(m->out - row, PACK_ROWS), job->panels + g * panel_floats(m->out, m->in));
    }
}

static void input_gradient(struct cpu *self, const struct backward_matrix *m, const uint32_t *offset,
                           const float *dy, size_t rows, float *dx) {
    struct weight_job job = {.m = m,
                             .offset = offset,
                             .units = (m->out + PACK_ROWS - 1) / PACK_ROWS,
                             .groups = offset ? m->groups : 1};
    job.panels = cpu_room(self, job.groups * panel_floats(m->out, m->in));
    if (!job.panels)
        return;
    job.chunks =
        cpu_chunks(self, (size_t)job.groups * m->out * m->in, LEAST_SHARE * 4, job.groups * job.units);
    threads_run(self->threads, job.chunks, weight_chunk, &job);
    const struct kernels_matrix turned = matrix_of(job.panels, job.groups, m->out, m->in);
    if (offset)
        cpu_grouped_linear(&self->base, &turned, offset, dy, rows, KERNELS_STORE_F32, dx);
    else
        cpu_linear(&self->base, &turned, dy, rows, KERNELS_STORE_F32, dx);
}

/* ---- dW, db */

/* A block of rows of one group. */
struct block_job {
    const struct cpu *self;
    const float *x, *dy;
    size_t rows, pack_units, units; /* pack_units: 0 where dW is not wanted */
    uint32_t out, in, chunks;
    float *panels; /* of x */
    float *turned; /* dy^T [out, rows] */
    float *dbias;  /* [out] or NULL */
};

/* Columns `column` and on of dy, TURN_COLUMNS or what is left. */
static void turn(const struct block_job *job, uint32_t column) {
    uint32_t part[TURN_COLUMNS * PANEL];
    const uint32_t columns = at_most(job->out - column, TURN_COLUMNS);
    for (size_t r = 0; r < job->rows; r += PANEL) {
        const uint32_t rows = at_most(job->rows - r, PANEL);
        job->self->isa->rows->transpose(job->dy + r * job->out + column, job->out * sizeof(float), rows,
                                        columns, part);
        for (uint32_t c = 0; c < columns; c++)
            memcpy(job->turned + (column + c) * job->rows + r, part + (size_t)c * PANEL, rows * sizeof *part);
    }
}

static void add_up(const struct block_job *job, uint32_t column) {
    float sum[TURN_COLUMNS] = {0};
    const uint32_t columns = at_most(job->out - column, TURN_COLUMNS);
    for (size_t r = 0; r < job->rows; r++)
        for (uint32_t c = 0; c < columns; c++)
            sum[c] += job->dy[r * job->out + column + c];
    for (uint32_t c = 0; c < columns; c++)
        job->dbias[column + c] += sum[c];
}

static void block_chunk(void *context, uint32_t chunk, uint32_t thread) {
    (void)thread;
    const struct block_job *job = context;
    size_t first, last;
    chunk_range(job->units, chunk, job->chunks, &first, &last);
    for (size_t u = first; u < last; u++) {
        if (u < job->pack_units) {
            const size_t row = u * PACK_ROWS;
            pack_rows(job->x, job->rows, job->in, row, row + at_most(job->rows - row, PACK_ROWS),
                      job->panels);
            continue;
        }
        const uint32_t column = (uint32_t)(u - job->pack_units) * TURN_COLUMNS;
        if (job->pack_units)
            turn(job, column);
        if (job->dbias)
            add_up(job, column);
    }
}

/* `rows` rows, no more than a block's, of x and dy, which meet matrix `group`. */
static void block_gradient(struct cpu *self, const struct backward_matrix *m, uint32_t group, const float *x,
                           const float *dy, size_t rows, float *room) {
    const size_t channel = (size_t)group * m->out;
    struct block_job job = {.self = self,
                            .x = x,
                            .dy = dy,
                            .rows = rows,
                            .pack_units = m->dweight ? (rows + PACK_ROWS - 1) / PACK_ROWS : 0,
                            .out = m->out,
                            .in = m->in,
                            .panels = room,
                            .turned = room + panel_floats(rows, m->in),
                            .dbias = m->dbias ? m->dbias + channel : NULL};
    job.units = job.pack_units + (m->out + TURN_COLUMNS - 1) / TURN_COLUMNS;
    job.chunks = cpu_chunks(self, rows * (m->in + (size_t)m->out), LEAST_SHARE * 4, job.units);
    threads_run(self->threads, job.chunks, block_chunk, &job);
    if (!m->dweight)
        return;
    const struct kernels_matrix columns = matrix_of(job.panels, 1, rows, m->in);
    cpu_linear(&self->base, &columns, job.turned, m->out, KERNELS_ADD_F32, m->dweight + channel * m->in);
}

static void weight_gradient(struct cpu *self, const struct backward_matrix *m, const uint32_t *offset,
                            const float *x, const float *dy, size_t rows) {
    const size_t most = rows < BACKWARD_ROWS ? rows : BACKWARD_ROWS;
    float *room = cpu_room(self, panel_floats(most, m->in) + most * m->out);
    for (uint32_t g = 0; room && g < (offset ? m->groups : 1); g++) {
        const size_t last = offset ? offset[g + 1] : rows;
        size_t row = offset ? offset[g] : 0;
        for (const size_t block = backward_block(last - row); row < last; row += block)
            block_gradient(self, m, g, x + row * m->in, dy + row * m->out,
                           at_most(last - row, (uint32_t)block), room);
    }
}

void cpu_backward_linear(struct kernels *k, const struct backward_matrix *m, const uint32_t *offset,
                         const float *x, const float *dy, size_t rows, float *dx) {
    struct cpu *self = (struct cpu *)k;
    rows = offset ? offset[m->groups] : rows;
    if (!rows)
        return;
    if (dx)
        input_gradient(self, m, offset, dy, rows, dx);
    if (m->dweight || m->dbias)
        weight_gradient(self, m, offset, x, dy, rows);
}

/* ---- activations */

struct activation_job {
    const struct cpu *self;
    enum kernels_epilogue kind;
    const float *v, *dy;
    size_t n, units;
    uint32_t chunks;
    float *to;
};

enum { ACTIVATION_UNIT = 1024 }; /* elements; whole panels */

/* The epilogue reads whole panels. */
static void activate(const struct activation_job *job, size_t first, size_t n) {
    float rest[PANEL] = {0};
    struct epilogue e = {.kind = job->kind, .rows = 1, .columns = (uint32_t)(n / PANEL * PANEL)};
    e.c = job->v + first;
    e.y = job->to + first;
    job->self->isa->rows->epilogue(&e);
    if (e.columns == n)
        return;
    memcpy(rest, e.c + e.columns, (n - e.columns) * sizeof *rest);
    e.y = job->to + first + e.columns;
    e.columns = (uint32_t)n - e.columns;
    e.c = rest;
    job->self->isa->rows->epilogue(&e);
}

static void activation_chunk(void *context, uint32_t chunk, uint32_t thread) {
    (void)thread;
    const struct activation_job *job = context;
    size_t first, last;
    chunk_range(job->units, chunk, job->chunks, &first, &last);
    for (size_t at = first * ACTIVATION_UNIT; first < last; first++, at += ACTIVATION_UNIT) {
        const uint32_t n = at_most(job->n - at, ACTIVATION_UNIT);
        if (job->dy)
            job->self->isa->gradients->activation(job->kind, job->v + at, job->dy + at, n, job->to + at);
        else
            activate(job, at, n);
    }
}

static void run_activation(struct kernels *k, struct activation_job *job) {
    job->self = (struct cpu *)k;
    job->units = (job->n + ACTIVATION_UNIT - 1) / ACTIVATION_UNIT;
    job->chunks = job->n ? cpu_chunks(job->self, job->n, LEAST_SHARE, job->units) : 0;
    threads_run(job->self->threads, job->chunks, activation_chunk, job);
}

void cpu_activate(struct kernels *k, enum kernels_epilogue kind, const float *v, size_t n, float *y) {
    run_activation(k, &(struct activation_job){.kind = kind, .v = v, .n = n, .to = y});
}

void cpu_backward_activation(struct kernels *k, enum kernels_epilogue kind, const float *v, const float *dy,
                             size_t n, float *dv) {
    run_activation(k, &(struct activation_job){.kind = kind, .v = v, .dy = dy, .n = n, .to = dv});
}
