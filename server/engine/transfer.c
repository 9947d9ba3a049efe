/* transfer.c - gathers a step's items, scatters its results. */
#include "engine/transfer.h"

#include <stdlib.h>
#include <string.h>

#include "error.h"

bool transfer_init(struct transfer *transfer, const struct frame_shape *shape) {
    *transfer = (struct transfer){.shape = *shape};
    transfer->items = calloc(shape->items, sizeof *transfer->items);
    transfer->parts = calloc(shape->items + 1, sizeof *transfer->parts);
    return transfer->items && transfer->parts;
}

void transfer_free(struct transfer *transfer) {
    free(transfer->items);
    free(transfer->parts);
    free(transfer->head);
    *transfer = (struct transfer){0};
}

/* ---- out */

static bool wants_routing(const struct queue_step *step) {
    for (size_t i = 0; i < step->n_slices; i++)
        if (step->slices[i].job->expert)
            return true;
    return false;
}

bool transfer_stage(struct transfer *transfer, const struct flight *flight, struct link *link) {
    const struct queue_step *step = &flight->step;
    struct limoe_item *items = transfer->items;
    size_t n = 0;
    for (size_t i = 0; i < step->n_slices; i++) {
        const struct queue_slice *slice = &step->slices[i];
        memcpy(items + n, slice->job->items + slice->first, slice->count * sizeof *items);
        n += slice->count;
    }
    size_t head_bytes = frame_step_head_bytes(items, n);
    if (head_bytes > transfer->head_room) {
        free(transfer->head);
        transfer->head = malloc(head_bytes);
        transfer->head_room = transfer->head ? head_bytes : 0;
        if (!transfer->head)
            return false;
    }
    frame_put_step(items, n, transfer->head);

    size_t parts = 0;
    transfer->parts[parts++] = (struct iovec){transfer->head, head_bytes};
    for (size_t i = 0; i < n; i++)
        if (items[i].modality == LIMOE_IMAGE)
            transfer->parts[parts++] = (struct iovec){(void *)items[i].pixels, transfer->shape.image_bytes};
    const struct frame_header header = {
        .type = FRAME_STEP,
        .flags = wants_routing(step) ? FRAME_ROUTED : 0,
        .length = frame_step_bytes(&transfer->shape, items, n),
        .id = flight->id,
    };
    return link_stage(link, &header, transfer->parts, parts);
}

/* ---- in */

/* Copies a slice's rows, which begin at `row` of the step's, into its job's own arrays. */
static void copy_routing(const struct frame_shape *shape, const struct frame_result *result,
                         const struct queue_slice *slice, uint64_t row) {
    const struct job *job = slice->job;
    size_t count = slice->rows * shape->top_k;
    for (uint32_t layer = 0; layer < shape->layers; layer++) {
        size_t from = (layer * result->rows + row) * shape->top_k;
        size_t to = (layer * job->rows + slice->first_row) * shape->top_k;
        memcpy(job->expert + to, result->expert + from, count * sizeof *job->expert);
        memcpy(job->gate + to, result->gate + from, count * sizeof *job->gate);
    }
}

static void copy_results(const struct frame_shape *shape, const struct frame_result *result,
                         const struct queue_step *step) {
    const float *from = result->embeddings;
    uint64_t row = 0;
    for (size_t i = 0; i < step->n_slices; i++) {
        const struct queue_slice *slice = &step->slices[i];
        size_t count = slice->count * shape->embed;
        memcpy(slice->job->embeddings + slice->first * shape->embed, from, count * sizeof *from);
        if (slice->job->expert)
            copy_routing(shape, result, slice, row);
        from += count;
        row += slice->rows;
    }
}

enum limoe_status transfer_receive(const struct transfer *transfer, const struct link *link,
                                   const struct flight *flight, struct frame_result *out,
                                   struct limoe_error *err) {
    const struct queue_step *step = &flight->step;
    enum limoe_status status = frame_get_result(&transfer->shape, &link->frame, link->payload, out, err);
    if (status != LIMOE_OK)
        return status;
    if (link->frame.id != flight->id)
        return limoe_fail(err, LIMOE_CORRUPT, "a RESULT of step %llu where that of step %llu was due",
                          (unsigned long long)link->frame.id, (unsigned long long)flight->id);
    if (out->status != LIMOE_OK)
        return LIMOE_OK;
    if (out->items != step->items || out->rows != step->rows || (wants_routing(step) && !out->expert))
        return limoe_fail(err, LIMOE_CORRUPT,
                          "a RESULT of %llu items and %llu tokens%s for a step of %zu and %llu",
                          (unsigned long long)out->items, (unsigned long long)out->rows,
                          out->expert ? "" : " without routing", step->items, (unsigned long long)step->rows);
    copy_results(&transfer->shape, out, step);
    return LIMOE_OK;
}
