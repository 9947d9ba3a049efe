/* quantise.c - limoe_quantize: a checkpoint's matrices, and a large table of tokens, to int8, tensor by tensor.
 *
 * What is written is what packing would make of the same weights (kernels/int8.h), so that answers are the same to the
 * bit. What becomes I8 has its scales in a tensor of its own. The few matrices that are stored transposed
 * are turned round as a whole.
 *
 * One thread. The job is the int8 of a piece: [REWRITE_PIECE].
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "kernels/int8.h"
#include "kernels/number.h"
#include "limoe.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/config.h"
#include "model/checkpoint/layout.h"
#include "model/checkpoint/safetensors.h"
#include "model/rewrite.h"

/* ---- one tensor */

/* float32 to bfloat16: a table that stays larger than int8, as int8 instances hold it. */
static enum limoe_status narrow(struct rewrite *r, const struct rewrite_item *item) {
    const uint64_t n = item->tensor->elements, most = REWRITE_PIECE;
    uint16_t *to = r->raw; /* once the floats are out of it */
    enum limoe_status status = LIMOE_OK;
    for (uint64_t first = 0; first < n && !status; first += most) {
        const size_t piece = (size_t)(n - first < most ? n - first : most);
        if ((status = rewrite_read(r, item, first, piece)))
            break;
        for (size_t i = 0; i < piece; i++)
            to[i] = bf16_from_float(r->floats[i]);
        status = rewrite_put(r, item->entry, first * sizeof *to, to, piece * sizeof *to);
    }
    return status;
}

static enum limoe_status no_numbers(const struct rewrite *r, const struct tensor *t, uint64_t row) {
    return limoe_fail(r->err, LIMOE_CORRUPT,
                      "%s: tensor \"%s\": row %llu holds NaN or infinite values; finite ones are accepted",
                      safetensors_name(r->st), t->name, (unsigned long long)row);
}

/* Rows end to end, as many at a time as a piece holds; a row always fits. */
static enum limoe_status quantise_rows(struct rewrite *r, const struct rewrite_item *item) {
    int8_t *q = r->job;
    const size_t most = REWRITE_PIECE / item->row;
    float *scale = malloc(item->rows * sizeof *scale);
    if (!scale)
        return limoe_fail(r->err, LIMOE_NO_MEMORY, "no memory for %llu scales",
                          (unsigned long long)item->rows);
    enum limoe_status status = LIMOE_OK;
    for (uint64_t first = 0; first < item->rows && !status; first += most) {
        const size_t rows = item->rows - first < most ? (size_t)(item->rows - first) : most;
        status = rewrite_read(r, item, first * item->row, rows * item->row);
        for (size_t i = 0; i < rows && !status; i++) {
            scale[first + i] = int8_weights(r->floats + i * item->row, item->row, q + i * item->row);
            if (isnan(scale[first + i]))
                status = no_numbers(r, item->tensor, first + i);
        }
        if (!status)
            status = rewrite_put(r, item->entry, first * item->row, q, rows * item->row);
    }
    if (!status)
        status = rewrite_put(r, item->scale_entry, 0, scale, item->rows * sizeof *scale);
    free(scale);
    return status;
}

static enum limoe_status read_whole(struct rewrite *r, const struct rewrite_item *item, float *to) {
    const uint64_t n = item->tensor->elements, most = REWRITE_PIECE;
    enum limoe_status status = LIMOE_OK;
    for (uint64_t first = 0; first < n && !status; first += most) {
        const size_t piece = (size_t)(n - first < most ? n - first : most);
        status = rewrite_read(r, item, first, piece);
        if (!status)
            memcpy(to + first, r->floats, piece * sizeof *to);
    }
    return status;
}

/* Of a matrix [in, channels], whose columns are the channels. */
static enum limoe_status quantise_columns(struct rewrite *r, const struct rewrite_item *item) {
    const struct tensor *t = item->tensor;
    const size_t in = item->row, channels = item->rows, n = t->elements;
    float *floats = calloc(n, sizeof *floats), *column = malloc(in * sizeof *column),
          *scale = malloc(channels * sizeof *scale);
    int8_t *q = malloc(in), *all = malloc(n);
    enum limoe_status status = LIMOE_OK;
    if (!floats || !column || !scale || !q || !all) {
        status = limoe_fail(r->err, LIMOE_NO_MEMORY, "no memory for tensor \"%s\"", t->name);
        goto out;
    }
    if ((status = read_whole(r, item, floats)))
        goto out;
    for (size_t c = 0; c < channels; c++) {
        for (size_t k = 0; k < in; k++)
            column[k] = floats[k * channels + c];
        scale[c] = int8_weights(column, in, q);
        if (isnan(scale[c])) {
            status = no_numbers(r, t, c);
            goto out;
        }
        for (size_t k = 0; k < in; k++)
            all[k * channels + c] = q[k];
    }
    if (!(status = rewrite_put(r, item->entry, 0, all, n)))
        status = rewrite_put(r, item->scale_entry, 0, scale, channels * sizeof *scale);
out:
    free(all);
    free(q);
    free(scale);
    free(column);
    free(floats);
    return status;
}

/* ---- what becomes of each */

static enum limoe_status plan_matrix(struct rewrite *r, const struct layout_source *t,
                                     const struct tensor *part) {
    struct rewrite_item item = {
        .tensor = part, .dtype = "I8", .size = sizeof(int8_t), .row = t->shape[t->rank - 1]};
    if (item.row > INT8_MOST_IN)
        return limoe_fail(r->err, LIMOE_UNSUPPORTED,
                          "%s: tensor \"%s\" has rows of %llu weights; up to %d are accepted in int8",
                          safetensors_name(r->st), part->name, (unsigned long long)item.row, INT8_MOST_IN);
    item.rows = part->elements / item.row;
    item.write = t->form == NAMES_TRANSPOSED ? quantise_columns : quantise_rows;
    if (asprintf(&item.scale_name, "%s" LAYOUT_SCALE, part->name) < 0)
        return limoe_fail(r->err, LIMOE_NO_MEMORY, "no memory for a name");
    return rewrite_add(r, item);
}

static enum limoe_status plan(struct rewrite *r, enum layout_id id, uint32_t block,
                              const struct layout_source *t, uint32_t part) {
    const struct tensor *tensor = t->part[part];
    (void)block;
    if (layout_may_be_int8(&r->config, id))
        return plan_matrix(r, t, tensor);
    if (id != LAYOUT_TEXT_TOKEN || tensor->dtype != TENSOR_F32)
        return rewrite_add(r, rewrite_copied(tensor));
    return rewrite_add(r, (struct rewrite_item){
                              .tensor = tensor, .write = narrow, .dtype = "BF16", .size = sizeof(uint16_t)});
}

/* ---- the whole */

static enum limoe_status open_model(struct rewrite *r, const char *dir) {
    enum limoe_status status;
    if ((status = config_load(dir, &r->config, NULL, r->err)) ||
        (status = checkpoint_open(dir, &r->config, &r->st, r->err)))
        return status;
    if (checkpoint_is_int8(r->st))
        return limoe_fail(r->err, LIMOE_INVALID,
                          "%.400s is int8 already; float32, bfloat16 or float16 is accepted", dir);
    return LIMOE_OK;
}

enum limoe_status limoe_quantize(const char *dir, const char *out, limoe_progress *progress, void *context,
                                 struct limoe_error *err) {
    static const struct rewrite_kind kind = {.open = open_model, .plan = plan};
    int8_t *q = malloc(REWRITE_PIECE);
    if (!q)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory to quantise with");
    const enum limoe_status status = rewrite_model(&kind, q, dir, out, progress, context, err);
    free(q);
    return status;
}
