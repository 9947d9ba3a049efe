/* step.h - cuts a call's items into steps, and says which item's tokens lie in which rows of a step.
 *
 * A step packs sequences end to end, without padding: images first, then texts, each in item order, so that
 * what differs by modality (embedding the input, the final projection) works on contiguous rows. Since an
 * answer depends on its item alone, a call of any size can be cut into steps of a bounded size.
 *
 * An item that is embedded by several tails is one sequence with several outputs. For the size of a step it counts as
 * many times as it has outputs, so that its tails are bounded too.
 */
#ifndef LIMOE_MODEL_FORWARD_STEP_H
#define LIMOE_MODEL_FORWARD_STEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe.h"

/* Sequences whose rows lie end to end. */
struct pack {
    size_t images, texts;         /* sequences; images come first */
    size_t image_rows, text_rows; /* their tokens */
    uint32_t *start; /* [images + texts + 1]: rows of sequence i are start[i] .. start[i+1] - 1 */
};

static inline size_t pack_rows(const struct pack *pack) {
    return pack->image_rows + pack->text_rows;
}

static inline size_t pack_sequences(const struct pack *pack) {
    return pack->images + pack->texts;
}

/* An embedding that a step makes. */
struct step_output {
    const struct limoe_tail *tail; /* NULL: the model as it is */
    uint32_t sequence;             /* the step's */
    size_t at;                     /* its place among the call's embeddings */
    size_t row;                    /* its first row, were the call's rows in the order of embeddings */
};

/* Where a sequence of a step comes in, and what is kept of it. */
struct step_trunk {
    uint32_t enter; /* the block that it is to pass first, counted in its tower */
    uint32_t fork;  /* limoe_item_fork */
    const void *in; /* its rows at `enter`; NULL, and enter 0: they are made of its pixels or ids */
    void *keep;     /* where its rows at `fork` go; NULL: nowhere */
};

struct step {
    struct pack pack;         /* of all its sequences */
    size_t *item;             /* [sequences]: which of the call's items sequence i is */
    struct step_trunk *trunk; /* [sequences] */
    const uint8_t **pixels;   /* [pictures] */
    int32_t *token;           /* [tokens] */
    uint32_t *position_id;    /* [tokens]: the token's position in its text */
    size_t pictures, tokens;  /* of those that enter at block 0 */
    float **shares;           /* [images]: as struct limoe_item has it, or NULL */
    struct step_output
        *output; /* [outputs]: by tail, each once begun before the next, the earliest to leave the trunk
                                   first and the model as it is last; of one tail by sequence */
    size_t outputs;

    size_t sequence_room, token_room, output_room; /* allocated lengths of the arrays above */
};

/* Whether any of its outputs is a tail's; those come first. */
static inline bool step_has_tails(const struct step *step) {
    return step->outputs && step->output[0].tail;
}

/* A call's items, and how many rows of them one step may hold, unless one item alone has more. */
struct step_items {
    const struct limoe_item *item;
    size_t count, max_rows;
};

/* Where the next step begins. Starts as {0}; or where the modalities are kept apart, with one of them. */
struct step_cursor {
    enum limoe_modality modality;
    bool apart;     /* at the end of its modality it is at its end */
    size_t item;    /* items before it were taken, or are of another modality */
    size_t at, row; /* the embeddings of those items, and their rows */
};

/* How many times step_next will find something. */
uint64_t step_count(struct step_cursor cursor, const struct step_items *items);

/* Packs what follows the cursor, at least one sequence, and moves the cursor on. *more is false, and the step empty, at
 * the end. Items must have been checked. */
enum limoe_status step_next(struct step *step, struct step_cursor *cursor, const struct step_items *items,
                            bool *more, struct limoe_error *err);

void step_free(struct step *step); /* an empty one is fine */

#endif
