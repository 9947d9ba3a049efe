/* tail.h - the weights of a model as an adapter makes them, and the rows of a step that go on with them.
 *
 * Up to a tail's first changed block its rows are the trunk's: computed once, with the model's own weights, for all that
 * the sequence is embedded by. There they are taken out of the trunk, packed anew, and go on alone.
 */
#ifndef LIMOE_MODEL_FORWARD_TAIL_H
#define LIMOE_MODEL_FORWARD_TAIL_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"
#include "limoe.h"
#include "model/checkpoint/config.h"
#include "model/forward/step.h"
#include "model/forward/weights.h"

struct limoe_tail {
    struct kernels *k;
    const struct weights *base; /* the model's, some of which it shares */
    struct weights weights;
    uint32_t start[LIMOE_MODALITIES]; /* its first changed block, by tower and counted in it */
    uint64_t number;                  /* tails of a model, in the order in which they were made */
    uint64_t bytes;                   /* packed, of its own */
};

/* Brings outputs to the order that step.h says; modality: whose tower the step passes. */
void tail_sort(struct step_output *output, size_t n, enum limoe_modality modality);

/* How many of output[n] from the first on have its tail. */
size_t tail_run(const struct step_output *output, size_t n);

/* limoe_item_fork. */
uint32_t tail_fork(const struct limoe_item *item);

/* Some of a step's sequences, packed in their order. */
struct tail_pack {
    struct pack pack;
    uint32_t *place; /* [the step's sequences]: which of pack it is, or TAIL_NOT_HERE */
    size_t room;     /* of place, and of pack.start less one */
};
#define TAIL_NOT_HERE UINT32_MAX

/* Empty, with room for all of the step's sequences. An empty one is fine; what it held is gone. */
enum limoe_status tail_pack_reserve(struct tail_pack *p, const struct step *step, struct limoe_error *err);
/* Packs those that output[n] are made of, as far as they have come in by the block. */
void tail_pack_some(struct tail_pack *p, const struct step *step, const struct step_output *output, size_t n,
                    uint32_t block);
void tail_pack_free(struct tail_pack *p); /* an empty one is fine */

/* Rows of a pack, in the backend's memory: what of them lives from one block to the next. */
struct tail_rows {
    char *x, *h;
    size_t x_bytes, h_bytes; /* of a row; h_bytes 0: nothing of h */
};
struct tail_rows tail_rows(const struct config_tower *tower, const struct kernels *k, void *x, void *h);

/* Copies the rows of all sequences that both packs have. */
void tail_gather(struct kernels *k, const struct tail_pack *to, const struct tail_pack *from,
                 size_t sequences, const struct tail_rows *out, const struct tail_rows *in);
/* Whether some of the step's sequences bring their rows at a block. */
bool tail_enters(const struct step *step, uint32_t block);
/* Copies the rows of those that the pack has from where their items have them. */
void tail_take_in(struct kernels *k, const struct step *step, const struct tail_pack *p, uint32_t block,
                  const struct tail_rows *rows);
/* Copies the rows of those that fork at a block to where they are to be kept. Waits for the backend. */
void tail_keep(struct kernels *k, const struct step *step, const struct tail_pack *p, uint32_t block,
               const struct tail_rows *rows);

#endif
