/* share.c - the longest item first, each to the rank with the least so far. */
#include "server/front/supervisor/share.h"

#include <stdlib.h>
#include <string.h>

static int descending(const void *a, const void *b) {
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left < right) - (left > right);
}

void share_items(const struct limoe_item *items, size_t n, uint32_t ranks, uint64_t *keys, uint32_t *rank,
                 uint64_t *tokens) {
    for (size_t i = 0; i < n; i++)
        keys[i] =
            (uint64_t)items[i].length << 32 | (UINT32_MAX - (uint32_t)i); /* equals: the first goes first */
    qsort(keys, n, sizeof *keys, descending);
    memset(tokens, 0, ranks * sizeof *tokens);
    for (size_t i = 0; i < n; i++) {
        size_t item = UINT32_MAX - (uint32_t)keys[i];
        uint32_t least = 0;
        for (uint32_t r = 1; r < ranks; r++)
            if (tokens[r] < tokens[least])
                least = r;
        rank[item] = least;
        tokens[least] += items[item].length;
    }
}
