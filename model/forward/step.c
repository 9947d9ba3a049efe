/* step.c - packs items into rows. The caller owns the step and reuses its arrays; no threads. */
#include "model/forward/step.h"

#include <stdlib.h>

#include "base/error.h"
#include "model/forward/tail.h"

static size_t rows_of(const struct limoe_item *item) {
    return (size_t)item->length * limoe_item_embeddings(item);
}

static void advance(struct step_cursor *c, const struct limoe_item *item) {
    c->row += rows_of(item);
    c->at += limoe_item_embeddings(item);
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

/* What the next step takes. */
struct extent {
    size_t sequences, outputs, rows, tokens;
    bool tails, shares; /* some item asks for one, or for shares of patches */
};

static enum limoe_status reserve(struct step *s, const struct extent *next, struct limoe_error *err) {
    const size_t sequences = next->sequences, tokens = next->tokens, outputs = next->outputs;
    if (sequences > s->sequence_room) {
        s->sequence_room = 0;
        s->pack.start = replace(s->pack.start, sequences + 1, sizeof *s->pack.start);
        s->item = replace(s->item, sequences, sizeof *s->item);
        s->trunk = replace(s->trunk, sequences, sizeof *s->trunk);
        s->pixels = replace(s->pixels, sequences, sizeof *s->pixels);
        s->shares = replace(s->shares, sequences, sizeof *s->shares);
        if (!s->pack.start || !s->item || !s->trunk || !s->pixels || !s->shares)
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
    if (outputs > s->output_room) {
        s->output_room = 0;
        s->output = replace(s->output, outputs, sizeof *s->output);
        if (!s->output)
            return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a step of %zu embeddings", outputs);
        s->output_room = outputs;
    }
    return LIMOE_OK;
}

static void append_outputs(struct step *s, const struct step_cursor *c, const struct limoe_item *item) {
    for (uint32_t i = 0; i < limoe_item_embeddings(item); i++)
        s->output[s->outputs++] = (struct step_output){.tail = item->n_tails ? item->tails[i] : NULL,
                                                       .sequence = (uint32_t)pack_sequences(&s->pack),
                                                       .at = c->at + i,
                                                       .row = c->row + (size_t)i * item->length};
}

/* What the item is made of, unless its rows are there. */
static void append_input(struct step *s, const struct limoe_item *item) {
    if (item->trunk)
        return;
    if (item->modality == LIMOE_IMAGE) {
        s->pixels[s->pictures++] = item->pixels;
        return;
    }
    for (uint32_t i = 0; i < item->length; i++) {
        s->token[s->tokens] = item->tokens[i];
        s->position_id[s->tokens++] = i;
    }
}

static void append(struct step *s, const struct step_cursor *c, const struct limoe_item *item) {
    struct pack *p = &s->pack;
    const size_t sequence = pack_sequences(p);
    const uint32_t fork = tail_fork(item);
    append_outputs(s, c, item);
    append_input(s, item);
    s->item[sequence] = c->item;
    s->trunk[sequence] = (struct step_trunk){
        .enter = item->trunk ? fork : 0, .fork = fork, .in = item->trunk, .keep = item->keep};
    p->start[sequence + 1] = p->start[sequence] + item->length;
    if (item->modality == LIMOE_IMAGE) {
        s->shares[p->images++] = item->shares;
        p->image_rows += item->length;
    } else {
        p->texts++;
        p->text_rows += item->length;
    }
}

/* Shares are read off the rows of a whole step, which tails take apart. */
static bool goes_with(const struct extent *e, const struct limoe_item *item) {
    return !(e->tails && item->shares) && !(e->shares && item->n_tails);
}

static struct extent measure(struct step_cursor *cursor, const struct step_items *items) {
    struct extent e = {0};
    const struct limoe_item *item;
    while ((item = peek(cursor, items)) && goes_with(&e, item) &&
           (e.sequences == 0 || e.rows + rows_of(item) <= items->max_rows)) {
        e.sequences++;
        e.outputs += limoe_item_embeddings(item);
        e.rows += rows_of(item);
        e.tokens += item->modality == LIMOE_TEXT ? item->length : 0;
        e.tails = e.tails || item->n_tails;
        e.shares = e.shares || item->shares;
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
    s->pack = (struct pack){.start = s->pack.start};
    s->outputs = s->pictures = s->tokens = 0;
    *more = next.sequences > 0;
    if (!*more)
        return LIMOE_OK;
    if (next.rows > UINT32_MAX)
        return limoe_fail(err, LIMOE_TOO_LARGE, "a step of %zu tokens, at most %u are possible", next.rows,
                          UINT32_MAX);
    enum limoe_status status = reserve(s, &next, err);
    if (status)
        return status;

    s->pack.start[0] = 0;
    for (size_t i = 0; i < next.sequences; i++) {
        const struct limoe_item *item = peek(cursor, items);
        append(s, cursor, item);
        advance(cursor, item);
    }
    if (next.tails)
        tail_sort(s->output, s->outputs, s->pack.images ? LIMOE_IMAGE : LIMOE_TEXT);
    return LIMOE_OK;
}

void step_free(struct step *s) {
    free(s->output);
    free(s->position_id);
    free(s->token);
    free(s->shares);
    free(s->pixels);
    free(s->trunk);
    free(s->item);
    free(s->pack.start);
    *s = (struct step){0};
}
