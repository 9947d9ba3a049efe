/* capacity.c - who gets a slot when an expert's buffer is full. Scratch is owned by one call. */
#include "router/capacity.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* A factor such as 1.1 is not exact in binary, and 160 rows of 4 experts must get 44 slots for it, not the 48
 * of 44.000001 rounded up: an excess below float32's precision is not one. */
uint64_t capacity_slots(const struct capacity *capacity, size_t rows) {
    const double exact = 1 - 1e-7;
    double even = (double)rows * capacity->top_k * capacity->factor / capacity->experts * exact;
    return (uint64_t)ceil(ceil(even) / 4.0) * 4;
}

static int ascending(const void *a, const void *b) {
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

/* Rows by descending first gate. A gate is not negative, so its bits order as it does; with the row below
 * them all keys differ, which makes qsort stable, and a NaN has its place like any other. */
static void order_by_priority(const float *gate, size_t rows, uint32_t top_k, uint64_t *order) {
    for (size_t r = 0; r < rows; r++) {
        uint32_t bits;
        memcpy(&bits, &gate[r * top_k], sizeof bits);
        order[r] = (uint64_t)~bits << 32 | r;
    }
    qsort(order, rows, sizeof *order, ascending);
    for (size_t r = 0; r < rows; r++)
        order[r] &= UINT32_MAX;
}

void capacity_fill(const struct capacity *capacity, uint64_t slots, size_t rows, const int32_t *expert,
                   float *gate, int32_t *kept, uint64_t *order, uint64_t *used) {
    const uint32_t top_k = capacity->top_k;
    if (capacity->priority)
        order_by_priority(gate, rows, top_k, order);
    else
        for (size_t r = 0; r < rows; r++)
            order[r] = r;
    memset(used, 0, capacity->experts * sizeof *used);
    for (uint32_t choice = 0; choice < top_k; choice++) {
        for (size_t i = 0; i < rows; i++) {
            size_t a = order[i] * top_k + choice;
            kept[a] = used[expert[a]]++ < slots ? expert[a] : -1;
            if (kept[a] < 0)
                gate[a] = 0;
        }
    }
}

/* What is left of a row's gates is scaled to sum to 1; a row that lost them all stays at 0. */
static void renormalize(float *gate, size_t rows, uint32_t top_k) {
    for (size_t r = 0; r < rows; r++) {
        float sum = 0;
        for (uint32_t j = 0; j < top_k; j++)
            sum += gate[r * top_k + j];
        for (uint32_t j = 0; j < top_k && sum > 0; j++)
            gate[r * top_k + j] /= sum;
    }
}

enum limoe_status capacity_apply(const struct capacity *capacity, size_t rows, const int32_t *expert,
                                 float *gate, int32_t *kept, struct limoe_error *err) {
    if (rows == 0)
        return LIMOE_OK;
    const size_t group = capacity->group && capacity->group < rows ? capacity->group : rows;
    enum limoe_status status = LIMOE_OK;
    uint64_t *order = malloc(group * sizeof *order);
    uint64_t *used = malloc(capacity->experts * sizeof *used);
    if (!order || !used) {
        status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory to order a group of %zu rows", group);
        goto out;
    }
    for (size_t from = 0; from < rows; from += group) {
        size_t count = rows - from < group ? rows - from : group;
        size_t a = from * capacity->top_k;
        capacity_fill(capacity, capacity_slots(capacity, count), count, expert + a, gate + a, kept + a, order,
                      used);
    }
    if (capacity->renormalize)
        renormalize(gate, rows, capacity->top_k);
out:
    free(used);
    free(order);
    return status;
}
