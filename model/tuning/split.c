/* split.c - a share of each class, drawn by the seed. No state. */
#include "model/tuning/split.h"

#include <stdlib.h>
#include <string.h>

#include "base/draws.h"

/* Takes `count` pictures of one class; `own` and `order` are scratch, as large as the class. */
static void hold_out(const uint32_t *label, size_t n, uint32_t class, uint64_t seed, uint32_t count,
                     uint32_t *own, uint32_t *order, bool *held) {
    const struct draws_place place = {.seed = seed, .use = DRAWS_SPLIT, .item = class};
    uint32_t size = 0;
    for (size_t i = 0; i < n; i++)
        if (label[i] == class)
            own[size++] = (uint32_t)i;
    draws_order(&place, size, order);
    for (uint32_t i = 0; i < count; i++)
        held[own[order[i]]] = true;
}

size_t split_held_out(const uint32_t *label, size_t n, uint32_t classes, double share, uint64_t seed,
                      bool *held) {
    size_t all = 0;
    uint32_t *size = calloc(classes + 2 * n, sizeof *size), smallest = UINT32_MAX;
    if (!size)
        return SIZE_MAX;
    memset(held, 0, n * sizeof *held);
    for (size_t i = 0; i < n; i++)
        size[label[i]]++;
    for (uint32_t c = 0; c < classes; c++)
        smallest = size[c] && size[c] < smallest ? size[c] : smallest;
    uint32_t count = smallest < SPLIT_LEAST || !n ? 0 : (uint32_t)(share * smallest + 0.5);
    if (!count && n && smallest >= SPLIT_LEAST && share > 0)
        count = 1;
    for (uint32_t c = 0; c < classes && count; c++)
        if (size[c]) {
            hold_out(label, n, c, seed, count, size + classes, size + classes + n, held);
            all += count;
        }
    free(size);
    return all;
}
