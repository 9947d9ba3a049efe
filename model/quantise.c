/* quantise.c - limoe_quantize: a checkpoint's matrices to int8, tensor by tensor.
 *
 * What is written is what packing would make of the same weights (kernels/int8.h), so that answers are the same to the
 * bit. Tensors keep their names and forms; a matrix becomes I8, and its scales stand in a tensor of their own. Rows are
 * read and written in pieces, so that memory is bounded whatever a stack of experts takes; the few matrices that are
 * stored transposed are turned round as a whole.
 *
 * One thread. A job owns all below and gives it back in reverse order.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "kernels/int8.h"
#include "kernels/number.h"
#include "limoe.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/config.h"
#include "model/checkpoint/layout.h"
#include "model/checkpoint/safetensors.h"
#include "model/checkpoint/safetensors_write.h"
#include "model/new_directory.h"

#define WEIGHTS "model.safetensors"

enum { PIECE = 4 << 20 };

/* A tensor of the old checkpoint; rows 0: it stays as it is. */
struct item {
    const struct tensor *tensor;
    uint64_t rows, row; /* scales, and the elements of each */
    bool transposed;
    bool narrowed; /* float32 to bfloat16: the table, as int8 instances hold it */
    char *scale_name;
    size_t value, scale; /* their entries */
};

struct job {
    struct config config;
    struct safetensors *st;
    struct item *item;               /* [items] */
    struct safetensors_entry *entry; /* [entries] */
    size_t items, room, entries;
    struct new_directory directory;
    int fd;
    char path[PATH_MAX];
    float *floats; /* [PIECE] */
    void *raw;     /* PIECE elements of the old checkpoint */
    int8_t *q;     /* [PIECE] */
    limoe_progress *progress;
    void *context;
    struct limoe_error *err;
};

/* ---- what there is */

static enum limoe_status add_item(struct job *job, enum layout_id id, const struct layout_source *t,
                                  uint32_t part) {
    if (job->items == job->room) {
        const size_t room = job->room ? 2 * job->room : 256;
        struct item *more = realloc(job->item, room * sizeof *more);
        if (!more)
            return limoe_fail(job->err, LIMOE_NO_MEMORY, "no memory for %zu tensors", room);
        job->item = more;
        job->room = room;
    }
    struct item *item = &job->item[job->items++];
    *item = (struct item){.tensor = t->part[part],
                          .narrowed = id == LAYOUT_TEXT_TOKEN && t->part[part]->dtype == TENSOR_F32};
    if (!layout_is_matrix(id))
        return LIMOE_OK;
    item->row = t->shape[t->rank - 1];
    if (item->row > INT8_MOST_IN)
        return limoe_fail(job->err, LIMOE_UNSUPPORTED,
                          "%s: tensor \"%s\" has rows of %llu weights; up to %d are accepted in int8",
                          safetensors_name(job->st), item->tensor->name, (unsigned long long)item->row,
                          INT8_MOST_IN);
    item->rows = item->tensor->elements / item->row;
    item->transposed = t->form == NAMES_TRANSPOSED;
    if (asprintf(&item->scale_name, "%s" LAYOUT_SCALE, item->tensor->name) < 0) {
        item->scale_name = NULL;
        return limoe_fail(job->err, LIMOE_NO_MEMORY, "no memory for a name");
    }
    return LIMOE_OK;
}

static enum limoe_status list_items(struct job *job) {
    for (int id = 0; id < LAYOUT_COUNT; id++) {
        const uint32_t blocks = layout_per_block((enum layout_id)id) ? config_blocks(&job->config) : 1;
        for (uint32_t block = 0; block < blocks; block++) {
            struct layout_tensor expected;
            struct layout_source t;
            if (!layout_expected(&job->config, (enum layout_id)id, block, &expected))
                continue;
            enum limoe_status status =
                layout_find(&job->config, (enum layout_id)id, block, job->st, &t, job->err);
            for (uint32_t part = 0; !status && part < t.parts; part++)
                status = add_item(job, (enum layout_id)id, &t, part);
            if (status)
                return status;
        }
    }
    return LIMOE_OK;
}

static size_t add_entry(struct job *job, const char *name, const char *dtype, const struct tensor *shape,
                        uint64_t bytes) {
    struct safetensors_entry *e = &job->entry[job->entries];
    *e = (struct safetensors_entry){.name = name, .dtype = dtype, .rank = shape->rank, .bytes = bytes};
    memcpy(e->shape, shape->shape, sizeof e->shape);
    return job->entries++;
}

/* Of a stack [experts, rows]. */
static size_t add_scale(struct job *job, const struct item *item) {
    struct tensor shape = {.rank = 1, .shape = {item->rows}};
    if (item->tensor->rank == 3) {
        shape.rank = 2;
        shape.shape[0] = item->tensor->shape[0];
        shape.shape[1] = item->tensor->shape[1];
    }
    return add_entry(job, item->scale_name, "F32", &shape, item->rows * sizeof(float));
}

/* By falling size of their elements, so that all are aligned. */
static enum limoe_status list_entries(struct job *job) {
    job->entry = calloc(2 * job->items, sizeof *job->entry);
    if (!job->entry)
        return limoe_fail(job->err, LIMOE_NO_MEMORY, "no memory for %zu tensors", 2 * job->items);
    for (size_t size = 4; size > 0; size /= 2)
        for (size_t i = 0; i < job->items; i++) {
            struct item *item = &job->item[i];
            const struct tensor *t = item->tensor;
            if (item->rows && size == 4)
                item->scale = add_scale(job, item);
            if (item->rows && size == 1)
                item->value = add_entry(job, t->name, "I8", t, t->elements);
            if (item->narrowed && size == 2)
                item->value = add_entry(job, t->name, "BF16", t, t->elements * size);
            if (!item->rows && !item->narrowed && t->bytes / t->elements == size)
                item->value = add_entry(job, t->name, t->dtype_name, t, t->bytes);
        }
    return LIMOE_OK;
}

/* ---- one tensor */

static enum limoe_status put(const struct job *job, size_t entry, uint64_t at, const void *bytes,
                             size_t size) {
    return safetensors_write_at(job->fd, job->path, job->entry[entry].offset + at, bytes, size, job->err);
}

static enum limoe_status copy(const struct job *job, const struct item *item) {
    const size_t all = item->tensor->bytes, most = PIECE;
    enum limoe_status status = LIMOE_OK;
    for (size_t at = 0; at < all && !status; at += most) {
        const size_t size = all - at < most ? all - at : most;
        if (!(status = safetensors_read_part(job->st, item->tensor, at, size, job->raw, job->err)))
            status = put(job, item->value, at, job->raw, size);
    }
    return status;
}

static enum limoe_status read_floats(const struct job *job, const struct tensor *t, uint64_t first, size_t n,
                                     void *raw, float *to) {
    static const enum kernels_storage storage[] = {
        [TENSOR_F32] = KERNELS_F32, [TENSOR_BF16] = KERNELS_BF16, [TENSOR_F16] = KERNELS_F16};
    const size_t size = t->bytes / t->elements;
    enum limoe_status status = safetensors_read_part(job->st, t, first * size, n * size, raw, job->err);
    if (!status)
        tensor_read((struct kernels_tensor){raw, storage[t->dtype]}, 0, n, to);
    return status;
}

static enum limoe_status narrow(const struct job *job, const struct item *item) {
    const uint64_t n = item->tensor->elements, most = PIECE;
    uint16_t *to = job->raw; /* once the floats are out of it */
    enum limoe_status status = LIMOE_OK;
    for (uint64_t first = 0; first < n && !status; first += most) {
        const size_t piece = (size_t)(n - first < most ? n - first : most);
        status = read_floats(job, item->tensor, first, piece, job->raw, job->floats);
        for (size_t i = 0; i < piece; i++)
            to[i] = bf16_from_float(job->floats[i]);
        if (!status)
            status = put(job, item->value, first * sizeof *to, to, piece * sizeof *to);
    }
    return status;
}

static enum limoe_status no_numbers(const struct job *job, const struct tensor *t, uint64_t row) {
    return limoe_fail(job->err, LIMOE_CORRUPT,
                      "%s: tensor \"%s\": row %llu holds NaN or infinite values; finite ones are accepted",
                      safetensors_name(job->st), t->name, (unsigned long long)row);
}

/* Rows end to end, as many at a time as a piece holds; a row always fits. */
static enum limoe_status quantise_rows(const struct job *job, const struct item *item) {
    const size_t most = PIECE / item->row;
    float *scale = malloc(item->rows * sizeof *scale);
    if (!scale)
        return limoe_fail(job->err, LIMOE_NO_MEMORY, "no memory for %llu scales",
                          (unsigned long long)item->rows);
    enum limoe_status status = LIMOE_OK;
    for (uint64_t first = 0; first < item->rows && !status; first += most) {
        const size_t rows = item->rows - first < most ? (size_t)(item->rows - first) : most;
        status = read_floats(job, item->tensor, first * item->row, rows * item->row, job->raw, job->floats);
        for (size_t r = 0; r < rows && !status; r++) {
            scale[first + r] = int8_weights(job->floats + r * item->row, item->row, job->q + r * item->row);
            if (isnan(scale[first + r]))
                status = no_numbers(job, item->tensor, first + r);
        }
        if (!status)
            status = put(job, item->value, first * item->row, job->q, rows * item->row);
    }
    if (!status)
        status = put(job, item->scale, 0, scale, item->rows * sizeof *scale);
    free(scale);
    return status;
}

/* Of a matrix [in, channels], whose columns are the channels. */
static enum limoe_status quantise_columns(const struct job *job, const struct item *item) {
    const struct tensor *t = item->tensor;
    const size_t in = item->row, channels = item->rows, n = t->elements;
    float *floats = calloc(n, sizeof *floats), *column = malloc(in * sizeof *column),
          *scale = malloc(channels * sizeof *scale);
    int8_t *q = malloc(in), *all = malloc(n);
    void *raw = malloc(t->bytes);
    enum limoe_status status = LIMOE_OK;
    if (!floats || !column || !scale || !q || !all || !raw) {
        status = limoe_fail(job->err, LIMOE_NO_MEMORY, "no memory for tensor \"%s\"", t->name);
        goto out;
    }
    if ((status = read_floats(job, t, 0, n, raw, floats)))
        goto out;
    for (size_t c = 0; c < channels; c++) {
        for (size_t k = 0; k < in; k++)
            column[k] = floats[k * channels + c];
        scale[c] = int8_weights(column, in, q);
        if (isnan(scale[c])) {
            status = no_numbers(job, t, c);
            goto out;
        }
        for (size_t k = 0; k < in; k++)
            all[k * channels + c] = q[k];
    }
    if (!(status = put(job, item->value, 0, all, n)))
        status = put(job, item->scale, 0, scale, channels * sizeof *scale);
out:
    free(raw);
    free(all);
    free(q);
    free(scale);
    free(column);
    free(floats);
    return status;
}

/* ---- the whole */

static enum limoe_status write_weights(struct job *job) {
    uint64_t all = 0, done = 0;
    enum limoe_status status = new_directory_file(&job->directory, WEIGHTS, &job->fd, job->path, job->err);
    if (status || (status = safetensors_write_header(job->fd, job->path, NULL, NULL, job->entry, job->entries,
                                                     job->err)))
        return status;
    for (size_t i = 0; i < job->items; i++)
        all += job->item[i].tensor->bytes;
    for (size_t i = 0; i < job->items && !status; i++) {
        const struct item *item = &job->item[i];
        status = item->narrowed     ? narrow(job, item)
                 : !item->rows      ? copy(job, item)
                 : item->transposed ? quantise_columns(job, item)
                                    : quantise_rows(job, item);
        done += item->tensor->bytes;
        if (job->progress && !status)
            job->progress(job->context, done, all);
    }
    if (!status && fsync(job->fd) != 0)
        status = limoe_fail(job->err, LIMOE_IO, "cannot write %.400s", job->path);
    return status;
}

static enum limoe_status prepare(struct job *job, const char *dir) {
    enum limoe_status status;
    if ((status = config_load(dir, &job->config, NULL, job->err)) ||
        (status = checkpoint_open(dir, &job->config, &job->st, job->err)))
        return status;
    if (checkpoint_is_int8(job->st))
        return limoe_fail(job->err, LIMOE_INVALID,
                          "%.400s is int8 already; float32, bfloat16 or float16 is accepted", dir);
    job->floats = malloc(PIECE * sizeof *job->floats);
    job->raw = malloc(PIECE * sizeof(float));
    job->q = malloc(PIECE);
    if (!job->floats || !job->raw || !job->q)
        return limoe_fail(job->err, LIMOE_NO_MEMORY, "no memory to quantise with");
    status = list_items(job);
    return status ? status : list_entries(job);
}

static void release(struct job *job) {
    if (job->fd >= 0)
        close(job->fd);
    new_directory_end(&job->directory);
    for (size_t i = 0; i < job->items; i++)
        free(job->item[i].scale_name);
    free(job->q);
    free(job->raw);
    free(job->floats);
    free(job->entry);
    free(job->item);
    safetensors_close(job->st);
    free(job);
}

enum limoe_status limoe_quantize(const char *dir, const char *out, limoe_progress *progress, void *context,
                                 struct limoe_error *err) {
    struct limoe_error own;
    struct job *job = calloc(1, sizeof *job);
    if (!job)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory to quantise with");
    job->fd = -1;
    job->progress = progress;
    job->context = context;
    job->err = err ? err : &own;
    enum limoe_status status;
    if (!(status = prepare(job, dir)) && !(status = new_directory_begin(&job->directory, out, job->err)) &&
        !(status = write_weights(job)) &&
        !(status = new_directory_copy_inputs(&job->directory, dir, job->err)))
        status = new_directory_finish(&job->directory, job->err);
    release(job);
    return status;
}
