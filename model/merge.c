/* merge.c - limoe_merge: a model with an adapter in it, tensor by tensor; and limoe_base, the digits by which the two
 * know each other.
 *
 * A tensor of which the adapter changes a part becomes float32 in all its parts, since parts must have one dtype; int8
 * scales of such a tensor are left out. All others are copied. Tensors keep their names and forms. Rows are read and
 * written in pieces.
 *
 * One thread. A job owns all below and gives it back in reverse order.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "experts/placement.h"
#include "kernels/number.h"
#include "limoe.h"
#include "model/checkpoint/adapter.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/config.h"
#include "model/checkpoint/digests.h"
#include "model/checkpoint/fingerprint.h"
#include "model/checkpoint/layout.h"
#include "model/checkpoint/safetensors.h"
#include "model/checkpoint/safetensors_write.h"
#include "model/forward/staging.h"
#include "model/forward/tuned.h"
#include "model/new_directory.h"
#include "model/text/text.h"

#define WEIGHTS "model.safetensors"

enum { PIECE = 1 << 20 };

/* ---- the digits of a base */

static enum limoe_status read_tensor(struct staging *s, enum layout_id id, uint32_t block, uint32_t layer) {
    struct layout_source t;
    struct kernels_tensor host;
    const bool stack = id >= LAYOUT_MOE_FC1_WEIGHT && id <= LAYOUT_MOE_FC2_BIAS;
    return stack ? staging_read_held(s, STAGING_WEIGHT, id, block, layer, &t, &host)
                 : staging_read(s, STAGING_WEIGHT, id, block, &t, &host);
}

/* Reads every tensor once, and keeps nothing but what the digests note. */
static enum limoe_status read_all(struct staging *s) {
    const struct config *config = s->config;
    for (int i = 0; i < LAYOUT_COUNT; i++) {
        const enum layout_id id = (enum layout_id)i;
        const uint32_t blocks = layout_per_block(id) ? config_blocks(config) : 1;
        for (uint32_t block = 0, layer = 0; block < blocks; block++) {
            struct layout_tensor expected;
            enum limoe_status status = LIMOE_OK;
            if (layout_expected(config, id, block, &expected))
                status = read_tensor(s, id, block, layer);
            if (status)
                return status;
            layer += layout_per_block(id) && config_is_moe(config, block);
        }
    }
    return LIMOE_OK;
}

static enum limoe_status name_tensors(const struct config *config, const struct safetensors *st,
                                      char digits[FINGERPRINT_DIGITS + 1], struct limoe_error *err) {
    const struct placement_shape one = {1, config->moe.layers, config->moe.experts};
    struct placement placement = {0};
    struct digests digests = {0};
    struct staging s = {
        .config = config, .st = st, .placement = &placement, .int8 = true, .digests = &digests, .err = err};
    enum limoe_status status;
    if (!(status = placement_contiguous(&one, &placement, err)) &&
        !(status = digests_create(config, &digests, err)) && !(status = read_all(&s)))
        status = digests_name(digests.value, digests.count, digits, err);
    staging_free(&s);
    digests_free(&digests);
    placement_free(&placement);
    return status;
}

/* Config and checkpoint of a directory, and its digits. On failure *st is NULL. */
static enum limoe_status open_base(const char *dir, struct config *config, struct safetensors **st,
                                   char digits[33], struct limoe_error *err) {
    struct fingerprint *inputs = NULL;
    enum limoe_status status;
    *st = NULL;
    if ((status = fingerprint_create(&inputs, err)) || (status = config_load(dir, config, inputs, err)) ||
        (status = text_fingerprint(dir, config, inputs, err)) ||
        (status = checkpoint_open(dir, config, st, err)))
        goto out;
    fingerprint_digits(inputs, digits);
    status = name_tensors(config, *st, digits + FINGERPRINT_DIGITS, err);
out:
    if (status) {
        safetensors_close(*st);
        *st = NULL;
    }
    fingerprint_free(inputs);
    return status;
}

enum limoe_status limoe_base(const char *dir, char digits[33], struct limoe_error *err) {
    struct limoe_error own;
    struct safetensors *st;
    struct config *config = malloc(sizeof *config);
    if (!config)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a config");
    enum limoe_status status = open_base(dir, config, &st, digits, err ? err : &own);
    safetensors_close(st);
    free(config);
    return status;
}

/* ---- merging */

/* A part of a tensor, or its scales. */
struct item {
    const struct tensor *tensor;
    bool tuned;
    const struct tensor *scale; /* of a part that is I8 and tuned */
};

struct job {
    struct config config;
    struct safetensors *st;
    struct tuned tuned;
    struct item *item;               /* [items] */
    struct safetensors_entry *entry; /* [items] */
    size_t items, room;
    struct new_directory directory;
    int fd;
    char path[PATH_MAX];
    float *floats; /* [PIECE] */
    void *raw;     /* PIECE elements of the old checkpoint */
    float *scales; /* of one tensor */
    limoe_progress *progress;
    void *context;
    struct limoe_error *err;
};

static enum limoe_status add_item(struct job *job, struct item item) {
    if (job->items == job->room) {
        const size_t room = job->room ? 2 * job->room : 256;
        struct item *more = realloc(job->item, room * sizeof *more);
        if (!more)
            return limoe_fail(job->err, LIMOE_NO_MEMORY, "no memory for %zu tensors", room);
        job->item = more;
        job->room = room;
    }
    job->item[job->items++] = item;
    return LIMOE_OK;
}

static enum limoe_status list_items(struct job *job) {
    for (int i = 0; i < LAYOUT_COUNT; i++) {
        const enum layout_id id = (enum layout_id)i;
        const uint32_t blocks = layout_per_block(id) ? config_blocks(&job->config) : 1;
        for (uint32_t block = 0; block < blocks; block++) {
            struct layout_tensor expected;
            struct layout_source t = {0};
            if (!layout_expected(&job->config, id, block, &expected))
                continue;
            const bool tuned = tuned_changes(&job->tuned, id, block);
            enum limoe_status status = layout_find(&job->config, id, block, job->st, &t, job->err);
            for (uint32_t p = 0; !status && p < t.parts; p++) {
                const struct tensor *scale = t.scale[p];
                status = add_item(job, (struct item){t.part[p], tuned, tuned ? scale : NULL});
                if (!status && scale && !tuned)
                    status = add_item(job, (struct item){.tensor = scale});
            }
            if (status)
                return status;
        }
    }
    return LIMOE_OK;
}

static size_t element_size(const struct item *item) {
    return item->tuned ? sizeof(float) : item->tensor->bytes / item->tensor->elements;
}

static int by_size(const void *a, const void *b) {
    const size_t x = element_size(a), y = element_size(b);
    if (x != y)
        return x > y ? -1 : 1;
    return strcmp(((const struct item *)a)->tensor->name, ((const struct item *)b)->tensor->name);
}

/* By falling size of their elements, so that all are aligned. */
static enum limoe_status list_entries(struct job *job) {
    job->entry = calloc(job->items, sizeof *job->entry);
    if (!job->entry)
        return limoe_fail(job->err, LIMOE_NO_MEMORY, "no memory for %zu tensors", job->items);
    qsort(job->item, job->items, sizeof *job->item, by_size);
    for (size_t i = 0; i < job->items; i++) {
        const struct item *item = &job->item[i];
        const struct tensor *t = item->tensor;
        struct safetensors_entry *e = &job->entry[i];
        *e = (struct safetensors_entry){.name = t->name,
                                        .dtype = item->tuned ? "F32" : t->dtype_name,
                                        .rank = t->rank,
                                        .bytes = t->elements * element_size(item)};
        memcpy(e->shape, t->shape, sizeof e->shape);
    }
    return LIMOE_OK;
}

static enum limoe_status read_scales(struct job *job, const struct item *item) {
    float *scales = realloc(job->scales, item->scale->bytes);
    if (!scales)
        return limoe_fail(job->err, LIMOE_NO_MEMORY, "no memory for tensor \"%s\"", item->scale->name);
    job->scales = scales;
    return safetensors_read(job->st, item->scale, scales, job->err);
}

/* Elements first .. first + n - 1 of the base's, to job->floats. */
static enum limoe_status read_floats(const struct job *job, const struct item *item, uint64_t first,
                                     size_t n) {
    static const enum kernels_storage storage[] = {
        [TENSOR_F32] = KERNELS_F32, [TENSOR_BF16] = KERNELS_BF16, [TENSOR_F16] = KERNELS_F16};
    const struct tensor *t = item->tensor;
    const size_t size = t->bytes / t->elements;
    enum limoe_status status = safetensors_read_part(job->st, t, first * size, n * size, job->raw, job->err);
    if (status)
        return status;
    if (!item->scale) {
        tensor_read((struct kernels_tensor){job->raw, storage[t->dtype]}, 0, n, job->floats);
        return LIMOE_OK;
    }
    const uint64_t row = t->elements / item->scale->elements;
    for (size_t i = 0; i < n; i++)
        job->floats[i] = (float)((const int8_t *)job->raw)[i] * job->scales[(first + i) / row];
    return LIMOE_OK;
}

static enum limoe_status put(const struct job *job, size_t entry, uint64_t at, const void *bytes,
                             size_t size) {
    return safetensors_write_at(job->fd, job->path, job->entry[entry].offset + at, bytes, size, job->err);
}

static enum limoe_status write_tuned(struct job *job, size_t entry) {
    const struct item *item = &job->item[entry];
    const uint64_t n = item->tensor->elements, most = PIECE;
    enum limoe_status status = item->scale ? read_scales(job, item) : LIMOE_OK;
    for (uint64_t first = 0; first < n && !status; first += most) {
        const size_t piece = (size_t)(n - first < most ? n - first : most);
        if (!(status = read_floats(job, item, first, piece)) &&
            !(status = tuned_mix(&job->tuned, item->tensor, first, piece, job->floats, job->err)))
            status = put(job, entry, first * sizeof(float), job->floats, piece * sizeof(float));
    }
    return status;
}

static enum limoe_status write_copy(const struct job *job, size_t entry) {
    const struct tensor *t = job->item[entry].tensor;
    const size_t most = PIECE;
    enum limoe_status status = LIMOE_OK;
    for (size_t at = 0; at < t->bytes && !status; at += most) {
        const size_t size = t->bytes - at < most ? t->bytes - at : most;
        if (!(status = safetensors_read_part(job->st, t, at, size, job->raw, job->err)))
            status = put(job, entry, at, job->raw, size);
    }
    return status;
}

static enum limoe_status write_weights(struct job *job) {
    uint64_t all = 0, done = 0;
    enum limoe_status status = new_directory_file(&job->directory, WEIGHTS, &job->fd, job->path, job->err);
    if (status ||
        (status = safetensors_write_header(job->fd, job->path, NULL, NULL, job->entry, job->items, job->err)))
        return status;
    for (size_t i = 0; i < job->items; i++)
        all += job->entry[i].bytes;
    for (size_t i = 0; i < job->items && !status; i++) {
        status = job->item[i].tuned ? write_tuned(job, i) : write_copy(job, i);
        done += job->entry[i].bytes;
        if (job->progress && !status)
            job->progress(job->context, done, all);
    }
    if (!status && fsync(job->fd) != 0)
        status = limoe_fail(job->err, LIMOE_IO, "cannot write %.400s", job->path);
    return status;
}

static enum limoe_status prepare(struct job *job, const char *dir, const struct limoe_adapter *adapter,
                                 float strength) {
    char digits[33];
    enum limoe_status status;
    if ((status = open_base(dir, &job->config, &job->st, digits, job->err)) ||
        (status = adapter_check_base(adapter, job->config.name, digits, job->err)) ||
        (status = tuned_create(&job->config, job->st, adapter, strength, &job->tuned, job->err)))
        return status;
    job->floats = malloc(PIECE * sizeof *job->floats);
    job->raw = malloc(PIECE * sizeof(float));
    if (!job->floats || !job->raw)
        return limoe_fail(job->err, LIMOE_NO_MEMORY, "no memory to merge with");
    status = list_items(job);
    return status ? status : list_entries(job);
}

static void release(struct job *job) {
    if (job->fd >= 0)
        close(job->fd);
    new_directory_end(&job->directory);
    free(job->scales);
    free(job->raw);
    free(job->floats);
    free(job->entry);
    free(job->item);
    tuned_free(&job->tuned);
    safetensors_close(job->st);
    free(job);
}

enum limoe_status limoe_merge(const char *dir, const struct limoe_adapter *adapter, float strength,
                              const char *out, limoe_progress *progress, void *context,
                              struct limoe_error *err) {
    struct limoe_error own;
    struct job *job = calloc(1, sizeof *job);
    if (!job)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory to merge with");
    job->fd = -1;
    job->progress = progress;
    job->context = context;
    job->err = err ? err : &own;
    enum limoe_status status;
    if (!(status = prepare(job, dir, adapter, strength)) &&
        !(status = new_directory_begin(&job->directory, out, job->err)) && !(status = write_weights(job)) &&
        !(status = new_directory_copy_inputs(&job->directory, dir, job->err)))
        status = new_directory_finish(&job->directory, job->err);
    release(job);
    return status;
}
