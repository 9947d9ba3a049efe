/* step.c - a step's arrays, and its division. */
#include "server/front/schedule/step.h"

#include <stdlib.h>
#include <string.h>

bool queue_step_init(struct queue_step *step, size_t capacity) {
    memset(step, 0, sizeof *step);
    step->slices = calloc(capacity, sizeof *step->slices);
    step->capacity = capacity;
    return step->slices != NULL;
}

void queue_step_free(struct queue_step *step) {
    free(step->slices);
    memset(step, 0, sizeof *step);
}

static uint64_t count_rows(const struct queue_slice *slice) {
    uint64_t rows = 0;
    for (size_t i = 0; i < slice->count; i++)
        rows += slice->job->items[slice->first + i].length;
    return rows;
}

/* Keeps the first `count` items in *slice; the others become *rest. */
static void split_slice(struct queue_slice *slice, size_t count, struct queue_slice *rest) {
    *rest = *slice;
    rest->first += count;
    rest->count -= count;
    slice->count = count;
    slice->rows = count_rows(slice);
    rest->first_row += slice->rows;
    rest->rows -= slice->rows;
}

bool queue_step_split(struct queue_step *step, size_t items, struct queue_step *rest) {
    size_t kept = 0, before = 0; /* slices that stay whole, and their items */
    while (before + step->slices[kept].count <= items)
        before += step->slices[kept++].count;
    if (!queue_step_init(rest, step->n_slices - kept))
        return false;
    memcpy(rest->slices, step->slices + kept, (step->n_slices - kept) * sizeof *rest->slices);
    rest->n_slices = step->n_slices - kept;
    if (before < items) { /* the division goes through a slice */
        split_slice(&step->slices[kept], items - before, &rest->slices[0]);
        kept++;
    }
    step->n_slices = kept;
    rest->items = step->items - items;
    step->items = items;
    for (size_t i = 0; i < rest->n_slices; i++)
        rest->rows += rest->slices[i].rows;
    step->rows -= rest->rows;
    return true;
}
