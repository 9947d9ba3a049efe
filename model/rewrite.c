/* rewrite.c - the list of what becomes of a checkpoint's tensors, and the directory that is made by it. */
#include "model/rewrite.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "kernels/number.h"

#define WEIGHTS "model.safetensors"

/* ---- the list */

enum limoe_status rewrite_add(struct rewrite *r, struct rewrite_item item) {
    if (r->items == r->room) {
        const size_t room = r->room ? 2 * r->room : 256;
        struct rewrite_item *more = realloc(r->item, room * sizeof *more);
        if (!more) {
            free(item.scale_name);
            return limoe_fail(r->err, LIMOE_NO_MEMORY, "no memory for %zu tensors", room);
        }
        r->item = more;
        r->room = room;
    }
    r->item[r->items++] = item;
    return LIMOE_OK;
}

static int by_name(const void *a, const void *b) {
    const struct rewrite_item *x = a, *y = b;
    return strcmp(x->tensor->name, y->tensor->name);
}

/* Has the kind say what becomes of each tensor that the model has. */
static enum limoe_status list_items(struct rewrite *r) {
    for (int i = 0; i < LAYOUT_COUNT; i++) {
        const enum layout_id id = (enum layout_id)i;
        const uint32_t blocks = layout_blocks(&r->config, id);
        for (uint32_t block = 0; block < blocks; block++) {
            struct layout_tensor expected;
            struct layout_source t = {0};
            if (!layout_expected(&r->config, id, block, &expected))
                continue;
            enum limoe_status status = layout_find(&r->config, id, block, r->st, &t, r->err);
            for (uint32_t part = 0; !status && part < t.parts; part++)
                status = r->kind->plan(r, id, block, &t, part);
            if (status)
                return status;
        }
    }
    if (r->kind->by_name)
        qsort(r->item, r->items, sizeof *r->item, by_name);
    return LIMOE_OK;
}

/* ---- the new file's directory */

static size_t add_entry(struct rewrite *r, const char *name, const char *dtype, const struct tensor *shape,
                        uint64_t bytes) {
    struct safetensors_entry *e = &r->entry[r->entries];
    *e = (struct safetensors_entry){.name = name, .dtype = dtype, .rank = shape->rank, .bytes = bytes};
    memcpy(e->shape, shape->shape, sizeof e->shape);
    return r->entries++;
}

/* Of a stack [experts, rows]. */
static size_t add_scales(struct rewrite *r, const struct rewrite_item *item) {
    struct tensor shape = {.rank = 1, .shape = {item->rows}};
    if (item->tensor->rank == 3) {
        shape.rank = 2;
        shape.shape[0] = item->tensor->shape[0];
        shape.shape[1] = item->tensor->shape[1];
    }
    return add_entry(r, item->scale_name, "F32", &shape, item->rows * sizeof(float));
}

static enum limoe_status list_entries(struct rewrite *r) {
    r->entry = calloc(2 * r->items, sizeof *r->entry);
    if (!r->entry)
        return limoe_fail(r->err, LIMOE_NO_MEMORY, "no memory for %zu tensors", 2 * r->items);
    for (size_t size = sizeof(float); size > 0; size /= 2)
        for (size_t i = 0; i < r->items; i++) {
            struct rewrite_item *item = &r->item[i];
            const struct tensor *t = item->tensor;
            if (item->rows && size == sizeof(float))
                item->scale_entry = add_scales(r, item);
            if (item->size == size)
                item->entry = add_entry(r, t->name, item->dtype, t, t->elements * size);
        }
    return LIMOE_OK;
}

/* ---- one tensor */

enum limoe_status rewrite_put(const struct rewrite *r, size_t entry, uint64_t at, const void *bytes,
                              size_t size) {
    return safetensors_write_at(r->fd, r->path, r->entry[entry].offset + at, bytes, size, r->err);
}

enum limoe_status rewrite_read(struct rewrite *r, const struct rewrite_item *item, uint64_t first, size_t n) {
    static const enum kernels_storage storage[] = {
        [TENSOR_F32] = KERNELS_F32, [TENSOR_BF16] = KERNELS_BF16, [TENSOR_F16] = KERNELS_F16};
    const struct tensor *t = item->tensor;
    const size_t size = t->bytes / t->elements;
    enum limoe_status status = safetensors_read_part(r->st, t, first * size, n * size, r->raw, r->err);
    if (status)
        return status;
    if (!item->scale) {
        tensor_read((struct kernels_tensor){r->raw, storage[t->dtype]}, 0, n, r->floats);
        return LIMOE_OK;
    }
    const uint64_t row = t->elements / item->scale->elements;
    for (size_t i = 0; i < n; i++)
        r->floats[i] = (float)((const int8_t *)r->raw)[i] * r->scales[(first + i) / row];
    return LIMOE_OK;
}

static enum limoe_status write_copy(struct rewrite *r, const struct rewrite_item *item) {
    const size_t all = item->tensor->bytes, most = REWRITE_PIECE;
    enum limoe_status status = LIMOE_OK;
    for (size_t at = 0; at < all && !status; at += most) {
        const size_t size = all - at < most ? all - at : most;
        if (!(status = safetensors_read_part(r->st, item->tensor, at, size, r->raw, r->err)))
            status = rewrite_put(r, item->entry, at, r->raw, size);
    }
    return status;
}

struct rewrite_item rewrite_copied(const struct tensor *t) {
    return (struct rewrite_item){
        .tensor = t, .write = write_copy, .dtype = t->dtype_name, .size = t->bytes / t->elements};
}

static enum limoe_status read_scales(struct rewrite *r, const struct tensor *scale) {
    float *scales = realloc(r->scales, scale->bytes);
    if (!scales)
        return limoe_fail(r->err, LIMOE_NO_MEMORY, "no memory for tensor \"%s\"", scale->name);
    r->scales = scales;
    return safetensors_read(r->st, scale, scales, r->err);
}

static enum limoe_status write_item(struct rewrite *r, const struct rewrite_item *item) {
    const enum limoe_status status = item->scale ? read_scales(r, item->scale) : LIMOE_OK;
    return status ? status : item->write(r, item);
}

/* ---- the whole */

static enum limoe_status write_weights(struct rewrite *r) {
    uint64_t all = 0, done = 0;
    enum limoe_status status = new_directory_file(&r->directory, WEIGHTS, &r->fd, r->path, r->err);
    if (status ||
        (status = safetensors_write_header(r->fd, r->path, NULL, NULL, r->entry, r->entries, r->err)))
        return status;
    for (size_t i = 0; i < r->items; i++)
        all += r->item[i].tensor->bytes;
    for (size_t i = 0; i < r->items && !status; i++) {
        status = write_item(r, &r->item[i]);
        done += r->item[i].tensor->bytes;
        if (r->progress && !status)
            r->progress(r->context, done, all);
    }
    if (!status && fsync(r->fd) != 0)
        status = limoe_fail(r->err, LIMOE_IO, "cannot write %.400s", r->path);
    return status;
}

static enum limoe_status prepare(struct rewrite *r, const char *dir) {
    enum limoe_status status = r->kind->open(r, dir);
    if (status || (status = list_items(r)))
        return status;
    r->raw = malloc(REWRITE_PIECE * sizeof(float));
    r->floats = malloc(REWRITE_PIECE * sizeof *r->floats);
    if (!r->raw || !r->floats)
        return limoe_fail(r->err, LIMOE_NO_MEMORY, "no memory to read tensors by");
    return list_entries(r);
}

static enum limoe_status make(struct rewrite *r, const char *dir, const char *out) {
    enum limoe_status status = prepare(r, dir);
    if (!status && !(status = new_directory_begin(&r->directory, out, r->err)) &&
        !(status = write_weights(r)) && !(status = new_directory_copy_inputs(&r->directory, dir, r->err)))
        status = new_directory_finish(&r->directory, r->err);
    if (r->fd >= 0)
        close(r->fd);
    new_directory_end(&r->directory);
    return status;
}

static void free_all(struct rewrite *r) {
    free(r->scales);
    free(r->floats);
    free(r->raw);
    free(r->entry);
    for (size_t i = 0; i < r->items; i++)
        free(r->item[i].scale_name);
    free(r->item);
    safetensors_close(r->st);
    free(r);
}

enum limoe_status rewrite_model(const struct rewrite_kind *kind, void *job, const char *dir, const char *out,
                                limoe_progress *progress, void *context, struct limoe_error *err) {
    struct limoe_error own;
    struct rewrite *r = calloc(1, sizeof *r);
    if (!r)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory to write a model with");
    r->kind = kind;
    r->job = job;
    r->progress = progress;
    r->context = context;
    r->err = err ? err : &own;
    r->fd = -1;
    const enum limoe_status status = make(r, dir, out);
    free_all(r);
    return status;
}
