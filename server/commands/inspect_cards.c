/* inspect_cards.c - the memory of GPUs as a table. One thread. */
#include "server/commands/inspect_cards.h"

#include <string.h>

#include "server/commands/table.h"

static double gib(uint64_t bytes) {
    return (double)bytes / (1 << 30);
}

static const char *megabytes(struct arena *arena, uint64_t bytes) {
    return arena_print(arena, "%.1f MB", (double)bytes / 1e6);
}

static void print_verdict(const struct answer_cards *answer, struct buffer *out) {
    const struct limoe_cards *cards = answer->cards;
    const uint32_t rank = answer_fullest_card(cards);
    const uint64_t fullest = cards->card[rank].bytes, has = answer->card_bytes;
    if (fullest <= has)
        buffer_print(out, "\nCards of %.2f GiB: fits, with %.2f GiB to spare on rank %u, the fullest.\n",
                     gib(has), gib(has - fullest), rank);
    else
        buffer_print(out, "\nCards of %.2f GiB: does not fit; rank %u, the fullest, takes %.2f GiB.\n",
                     gib(has), rank, gib(fullest));
    if (answer->fewest_ranks)
        buffer_print(out, "The smallest number of ranks that fits is %u.\n", answer->fewest_ranks);
    else
        buffer_string(out, "No number of ranks fits: the dense part and a step's activations are on each.\n");
}

bool inspect_cards_print(const struct answer_cards *answer, struct arena *arena, struct buffer *out) {
    enum { COLUMNS = 8 };
    static const bool right[COLUMNS] = {true, true, true, true, true, true, true, true};
    static const char *const heads[COLUMNS] = {"rank",     "experts", "dense",     "workspace",
                                               "exchange", "staging", "set aside", "in all"};
    const struct limoe_cards *cards = answer->cards;
    const char **cells = arena_array(arena, COLUMNS * ((size_t)cards->ranks + 1), sizeof *cells);
    char tokens[32];
    if (!cells)
        return false;
    memcpy(cells, heads, sizeof heads);
    for (uint32_t r = 0; r < cards->ranks; r++) {
        const struct limoe_card *card = &cards->card[r];
        const uint64_t bytes[COLUMNS - 1] = {card->expert_bytes,   card->dense_bytes,   card->workspace_bytes,
                                             card->exchange_bytes, card->staging_bytes, card->set_aside_bytes,
                                             card->bytes};
        const char **row = cells + COLUMNS * ((size_t)r + 1);
        row[0] = arena_print(arena, "%u", r);
        for (size_t k = 1; k < COLUMNS; k++)
            row[k] = megabytes(arena, bytes[k - 1]);
        for (size_t k = 0; k < COLUMNS; k++)
            if (!row[k])
                return false;
    }
    table_number(tokens, cards->step_tokens);
    buffer_print(out, "\nmemory of each GPU, with steps of at most %s tokens:\n", tokens);
    table_append(out, 0, COLUMNS, right, cells, (size_t)cards->ranks + 1);
    if (answer->card_bytes)
        print_verdict(answer, out);
    return true;
}
