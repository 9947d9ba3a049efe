/* step.c - packs items into rows. The caller owns the step and reuses its arrays; no threads. */
#include "model/forward/step.h"

#include <stdlib.h>

#include "base/error.h"

static void advance(struct step_cursor *c, const struct limoe_item *item) {
    c->item_row += item->length;
    c->item++;
}

/* Moves the cursor to the next item of its modality, and unless they are apart past the last image to the first text.
 * NULL at the end. */
static const struct limoe_item *peek(struct step_cursor *c, const struct step_items *items) {
    const bool on = c->modality == LIMOE_IMAGE && !c->apart;
    for (;;) {
        for (; c->item < items->count; advance(c, &items->item[c->item]))
            if (items->item[c->item].modality == c->modality)
                return &items->item[c->item];
        if (c->modality == LIMOE_TEXT || !on)
            return NULL;
        *c = (struct step_cursor){.modality = LIMOE_TEXT};
    }
}

/* An array of another length; what the old one held is not wanted any more. */
static void *replace(void *old, size_t count, size_t size) {
    free(old);
    return calloc(count, size);
}

static enum limoe_status reserve(struct step *s, size_t sequences, size_t tokens, struct limoe_error *err) {
    if (sequences > s->sequence_room) {
        s->sequence_room = 0;
        s->start = replace(s->start, sequences + 1, sizeof *s->start);
        s->item = replace(s->item, sequences, sizeof *s->item);
        s->item_row = replace(s->item_row, sequences, sizeof *s->item_row);
        s->pixels = replace(s->pixels, sequences, sizeof *s->pixels);
        s->shares = replace(s->shares, sequences, sizeof *s->shares);
        if (!s->start || !s->item || !s->item_row || !s->pixels || !s->shares)
            return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a step of %zu sequences", sequences);
        s->sequence_room = sequences;
    }
    if (tokens > s->token_room) {
        s->token_room = 0;
        s->token = replace(s->token, tokens, sizeof *s->token);
        s->position_id = replace(s->position_id, tokens, sizeof *s->position_id);
        if (!s->token || !s->position_id)
            return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a step of %zu text tokens", tokens);
        s->token_room = tokens;
    }
    return LIMOE_OK;
}

static void append(struct step *s, const struct step_cursor *c, const struct limoe_item *item) {
    const size_t sequence = step_sequences(s);
    s->item[sequence] = c->item;
    s->item_row[sequence] = c->item_row;
    s->start[sequence + 1] = s->start[sequence] + item->length;
    if (item->modality == LIMOE_IMAGE) {
        s->pixels[s->images] = item->pixels;
        s->shares[s->images++] = item->shares;
        s->image_rows += item->length;
        return;
    }
    for (uint32_t i = 0; i < item->length; i++) {
        s->token[s->text_rows + i] = item->tokens[i];
        s->position_id[s->text_rows + i] = i;
    }
    s->texts++;
    s->text_rows += item->length;
}

/* What the next step takes. */
struct extent {
    size_t sequences, rows, tokens;
};

static struct extent measure(struct step_cursor *cursor, const struct step_items *items) {
    struct extent e = {0};
    const struct limoe_item *item;
    while ((item = peek(cursor, items)) && (e.sequences == 0 || e.rows + item->length <= items->max_rows)) {
        e.sequences++;
        e.rows += item->length;
        e.tokens += item->modality == LIMOE_TEXT ? item->length : 0;
        advance(cursor, item);
    }
    return e;
}

uint64_t step_count(struct step_cursor cursor, const struct step_items *items) {
    uint64_t steps = 0;
    while (measure(&cursor, items).sequences > 0)
        steps++;
    return steps;
}

enum limoe_status step_next(struct step *s, struct step_cursor *cursor, const struct step_items *items,
                            bool *more, struct limoe_error *err) {
    struct step_cursor ahead = *cursor;
    const struct extent next = measure(&ahead, items);
    s->images = s->texts = s->image_rows = s->text_rows = 0;
    *more = next.sequences > 0;
    if (!*more)
        return LIMOE_OK;
    if (next.rows > UINT32_MAX)
        return limoe_fail(err, LIMOE_TOO_LARGE, "a step of %zu tokens, at most %u are possible", next.rows,
                          UINT32_MAX);
    enum limoe_status status = reserve(s, next.sequences, next.tokens, err);
    if (status)
        return status;

    s->start[0] = 0;
    for (size_t i = 0; i < next.sequences; i++) {
        const struct limoe_item *item = peek(cursor, items);
        append(s, cursor, item);
        advance(cursor, item);
    }
    return LIMOE_OK;
}

void step_free(struct step *s) {
    free(s->position_id);
    free(s->token);
    free(s->shares);
    free(s->pixels);
    free(s->item_row);
    free(s->item);
    free(s->start);
    *s = (struct step){0};
}
