/* inspect_ranks.c - ranks as a table. One thread. */
#include "server/commands/inspect_ranks.h"

#include <string.h>

#include "server/commands/session.h"
#include "server/commands/table.h"

static bool holds(const struct limoe_placement *ranks, uint32_t rank, uint32_t layer, uint32_t expert) {
    const uint32_t *first = ranks->first + (size_t)layer * ranks->experts + expert;
    for (uint32_t i = first[0]; i < first[1]; i++)
        if (ranks->owner[i] == rank)
            return true;
    return false;
}

/* The rank's experts of a layer: "0-3, 7"; freed with buffer_free. */
static void list_experts(const struct limoe_placement *ranks, uint32_t rank, uint32_t layer,
                         struct buffer *out) {
    for (uint32_t e = 0; e < ranks->experts; e++) {
        if (!holds(ranks, rank, layer, e))
            continue;
        const uint32_t begin = e;
        while (e + 1 < ranks->experts && holds(ranks, rank, layer, e + 1))
            e++;
        buffer_print(out, out->size ? ", %u" : "%u", begin);
        if (e > begin)
            buffer_print(out, "-%u", e);
    }
    if (!out->size)
        buffer_string(out, "none");
    buffer_bytes(out, "", 1);
}

/* In words where every layer is alike, else how many there are over all layers. NULL: no memory. */
static const char *describe(const struct limoe_placement *ranks, uint32_t rank, struct arena *arena) {
    struct buffer first = {0};
    const char *words = NULL;
    bool alike = true;
    if (!ranks->layers)
        return "-";
    list_experts(ranks, rank, 0, &first);
    for (uint32_t layer = 1; layer < ranks->layers && alike; layer++)
        for (uint32_t e = 0; e < ranks->experts && alike; e++)
            alike = holds(ranks, rank, layer, e) == holds(ranks, rank, 0, e);
    if (!first.failed)
        words = alike ? arena_print(arena, "%s", first.data)
                      : arena_print(arena, "%u in %u layers", ranks->rank[rank].experts, ranks->layers);
    buffer_free(&first);
    return words;
}

static const char *megabytes(struct arena *arena, uint64_t bytes) {
    return arena_print(arena, "%.1f MB", (double)bytes / 1e6);
}

static void print_imbalance(const struct limoe_placement *ranks, struct buffer *out) {
    double worst = 1, sum = 0;
    if (!ranks->imbalance)
        return;
    for (uint32_t layer = 0; layer < ranks->layers; layer++) {
        worst = ranks->imbalance[layer] > worst ? ranks->imbalance[layer] : worst;
        sum += ranks->imbalance[layer];
    }
    buffer_print(out,
                 "\nThe busiest rank would get %.2f times the mean in the worst layer, %.2f on average.\n",
                 worst, sum / ranks->layers);
}

bool inspect_ranks_print(const struct limoe_placement *ranks, struct arena *arena, struct buffer *out) {
    enum { COLUMNS = 5 };
    static const bool right[COLUMNS] = {true, false, true, true, true};
    static const char *const heads[COLUMNS] = {"rank", "experts", "their weights", "dense weights", "in all"};
    const char **cells = arena_array(arena, COLUMNS * ((size_t)ranks->ranks + 1), sizeof *cells);
    if (!cells)
        return false;
    memcpy(cells, heads, sizeof heads);
    for (uint32_t r = 0; r < ranks->ranks; r++) {
        const struct limoe_rank *rank = &ranks->rank[r];
        const char **row = cells + COLUMNS * ((size_t)r + 1);
        row[0] = arena_print(arena, "%u", r);
        row[1] = describe(ranks, r, arena);
        row[2] = megabytes(arena, rank->expert_bytes);
        row[3] = megabytes(arena, rank->dense_bytes);
        row[4] = megabytes(arena, rank->expert_bytes + rank->dense_bytes);
        for (size_t k = 0; k < COLUMNS; k++)
            if (!row[k])
                return false;
    }
    buffer_print(out, "\nweights in memory on %u rank%s, as %s:\n", ranks->ranks,
                 ranks->ranks == 1 ? "" : "s", limoe_dtype_name(ranks->dtype));
    table_append(out, 0, COLUMNS, right, cells, (size_t)ranks->ranks + 1);
    print_imbalance(ranks, out);
    return true;
}
