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

/* Some of a step's sequences, packed in their order. */
struct tail_pack {
    struct pack pack;
    uint32_t *place; /* [the step's sequences]: which of pack it is, or TAIL_NOT_HERE */
    size_t room;     /* of place, and of pack.start less one */
};
#define TAIL_NOT_HERE UINT32_MAX

/* All of a step's. An empty pack is fine; what it held is gone. */
enum limoe_status tail_pack_all(struct tail_pack *p, const struct step *step, struct limoe_error *err);
/* Those that output[n] are made of; all must be in `from`. `p` has room for the step's. */
void tail_pack_some(struct tail_pack *p, const struct tail_pack *from, size_t sequences,
                    const struct step_output *output, size_t n);
void tail_pack_free(struct tail_pack *p); /* an empty one is fine */

/* Copies rows of `width` elements of `size` bytes: those of `to` out of those of `from`, over sequences of the step. */
void tail_gather(struct kernels *k, const struct tail_pack *to, const struct tail_pack *from,
                 size_t sequences, size_t row_bytes, void *out, const void *in);

#endif
