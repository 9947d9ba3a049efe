/* linear.c - y = epilogue(x W^T + b), for one matrix or one matrix a group of rows.
 *
 * The work is cut into units: a group's block of rows by the panels of one register tile. Units are listed
 * group by group, block by block, panels ascending, and each chunk is a stretch of the list of about equal
 * cost. So a few rows over a wide matrix are shared by columns, each thread reading its own weights; many
 * rows are shared by rows; and uneven groups, empty ones included, cost what they weigh. How the list is cut
 * changes no bits: an output element is one chain wherever its unit falls.
 *
 * A unit's product goes to a small buffer in the nearest cache, from which the epilogue writes y.
 */
#include "kernels/cpu/cpu.h"

enum {
    ROW_BLOCK = 192,       /* most rows of a unit: their input stays in the second-level cache */
    TILE_PANELS = 3,       /* most panels of a register tile */
    UNIT_OVERHEAD = 8,     /* what a unit costs beyond its rows, in rows */
    LEAST_SHARE = 1 << 18, /* float32 products worth another thread, some 4 us */
};

struct linear_job {
    const struct cpu *self;
    const struct kernels_matrix *m;
    const uint32_t *offset; /* NULL: all rows meet matrix 0 */
    size_t rows;
    const void *in;
    enum kernels_epilogue kind;
    void *y;
    uint32_t row_block, panels, units; /* units: of one row block, across its panels */
    uint32_t chunks;
    uint64_t cost;
};

/* Rows cut into as few parts as hold `most`, and those about equally large: how many a part has. */
static uint32_t evenly(size_t rows, uint32_t most) {
    const size_t parts = (rows + most - 1) / most;
    return parts ? (uint32_t)((rows + parts - 1) / parts) : most;
}

static void group_rows(const struct linear_job *job, uint32_t g, size_t *first, size_t *last) {
    *first = job->offset ? job->offset[g] : 0;
    *last = job->offset ? job->offset[g + 1] : job->rows;
}

/* Rows first .. last - 1 of group g by panels begin .. end - 1. A tile's epilogue follows the next tile's
 * product in program order, so that the processor works on both at once: matrix units on the one, vector
 * units on the other. */
static void multiply(const struct linear_job *job, uint32_t g, size_t first, size_t last, uint32_t begin,
                     uint32_t end, uint32_t *tiles) {
    const struct cpu *self = job->self;
    const struct kernels_matrix *m = job->m;
    const struct isa *isa = self->isa;
    void (*product)(const struct product *) = self->bf16 ? isa->product_bf16 : isa->product_f32;
    bool float_out = job->kind == KERNELS_STORE_F32 || job->kind == KERNELS_ADD_F32;
    size_t y_size = float_out ? sizeof(float) : self->base.act_size;
    _Alignas(64) float c[2][MOST_ROWS * TILE_PANELS * PANEL];
    struct epilogue e = {.kind = job->kind, .bf16 = self->bf16, .y_stride = m->out};
    const uint32_t at_once =
        evenly(last - first, m->in > LONG_K ? isa->long_rows_at_once : isa->rows_at_once);
    uint32_t turn = 0;
    for (uint32_t panel = begin; panel < end; panel += isa->panels) {
        uint32_t panels = at_most(end - panel, isa->panels), column = panel * PANEL;
        for (size_t row = first; row < last; row += at_once, turn ^= 1) {
            uint32_t rows = at_most(last - row, at_once);
            product(&(struct product){
                .a = act_row(self, job->in, row, m->in),
                .a_stride = m->in,
                .b = (const char *)m->panels + g * m->group_bytes + panel * m->panel_bytes,
                .b_stride = m->panel_bytes,
                .rows = rows,
                .panels = panels,
                .k = m->in,
                .c = c[turn],
                .c_stride = (size_t)panels * PANEL,
                .tiles = tiles,
            });
            if (e.rows)
                isa->rows->epilogue(&e);
            e.rows = rows;
            e.columns = at_most(m->out - column, panels * PANEL);
            e.c = c[turn];
            e.c_stride = (size_t)panels * PANEL;
            e.bias = m->bias ? m->bias + (size_t)g * m->out + column : NULL;
            e.y = (char *)job->y + (row * m->out + column) * y_size;
        }
    }
    isa->rows->epilogue(&e);
}

/* How many units of cost `each`, the first of which starts at `start`, begin before `limit`. */
static uint32_t units_before(uint64_t start, uint64_t each, uint32_t units, uint64_t limit) {
    if (limit <= start)
        return 0;
    uint64_t n = (limit - start + each - 1) / each;
    return n < units ? (uint32_t)n : units;
}

/* A unit belongs to the chunk in whose share of the cost it begins. */
static void linear_chunk(void *context, uint32_t chunk, uint32_t thread) {
    (void)thread;
    const struct linear_job *job = context;
    uint32_t groups = job->offset ? job->m->groups : 1, tiles = 0;
    uint64_t low = job->cost * chunk / job->chunks, high = job->cost * (chunk + 1) / job->chunks, at = 0;
    for (uint32_t g = 0; g < groups && at < high; g++) {
        size_t row, last;
        group_rows(job, g, &row, &last);
        const uint32_t block = evenly(last - row, job->row_block);
        while (row < last && at < high) {
            uint32_t rows = at_most(last - row, block);
            uint64_t each = rows + UNIT_OVERHEAD;
            uint32_t begin = units_before(at, each, job->units, low);
            uint32_t end = units_before(at, each, job->units, high);
            if (begin < end)
                multiply(job, g, row, row + rows, begin * job->self->isa->panels,
                         at_most((size_t)end * job->self->isa->panels, job->panels), &tiles);
            at += each * job->units;
            row += rows;
        }
    }
    if (job->self->isa->finish)
        job->self->isa->finish(&tiles);
}

static uint64_t total_cost(const struct linear_job *job) {
    uint64_t cost = 0;
    for (uint32_t g = 0; g < (job->offset ? job->m->groups : 1); g++) {
        size_t first, last;
        group_rows(job, g, &first, &last);
        uint64_t blocks = (last - first + job->row_block - 1) / job->row_block;
        cost += (last - first + blocks * UNIT_OVERHEAD) * job->units;
    }
    return cost;
}

static void run(struct kernels *k, const struct kernels_matrix *m, const uint32_t *offset, const void *in,
                size_t rows, enum kernels_epilogue epilogue, void *y) {
    const struct cpu *self = (struct cpu *)k;
    struct linear_job job = {.self = self,
                             .m = m,
                             .offset = offset,
                             .rows = rows,
                             .in = in,
                             .kind = epilogue,
                             .y = y,
                             .row_block = ROW_BLOCK,
                             .panels = (uint32_t)(round_up(m->out, PANEL) / PANEL)};
    if (!rows)
        return;
    job.units = (uint32_t)(round_up(job.panels, self->isa->panels) / self->isa->panels);
    size_t units = job.units * (rows / job.row_block + 1);
    if (units < (size_t)k->threads * CHUNKS_PER_THREAD) { /* many threads for few columns: cut rows finer */
        job.row_block = self->isa->rows_at_once;
        units = job.units * (rows / job.row_block + 1);
    }
    job.cost = total_cost(&job);
    size_t work = rows * m->in * m->out / (self->bf16 ? self->isa->bf16_speed : 1);
    job.chunks = cpu_chunks(self, work, LEAST_SHARE, units);
    threads_run(self->threads, job.chunks, linear_chunk, &job);
}

void cpu_linear(struct kernels *k, const struct kernels_matrix *m, const void *in, size_t rows,
                enum kernels_epilogue epilogue, void *y) {
    run(k, m, NULL, in, rows, epilogue, y);
}

void cpu_grouped_linear(struct kernels *k, const struct kernels_matrix *m, const uint32_t *offset,
                        const void *in, size_t rows, enum kernels_epilogue epilogue, void *y) {
    (void)rows; /* the offsets say how many there are */
    run(k, m, offset, in, offset[m->groups], epilogue, y);
}
