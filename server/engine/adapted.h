/* adapted.h - a step whose items have tails: one item that several are of is passed through the trunk once, and not again
 * while its rows are known.
 *
 * One thread. */
#ifndef LIMOE_SERVER_ENGINE_ADAPTED_H
#define LIMOE_SERVER_ENGINE_ADAPTED_H

#include "limoe.h"
#include "server/engine/tails.h"
#include "server/engine/trunk_cache.h"
#include "server/protocol/frame.h"

/* Room for a step's items, as the model is given them. */
struct adapted {
    struct tails *tails;             /* NULL: there are no adapters */
    struct trunk_cache *trunk;       /* there if they are */
    struct limoe_item *items;        /* [most] */
    const struct limoe_tail **lists; /* [most]: those of all items, one after the other */
};

struct adapted_options {
    const char *dir; /* of adapters' files, which outlives what is made of it; NULL: there are no adapters */
    uint64_t tail_bytes;  /* that tails may take */
    uint64_t trunk_bytes; /* that rows of the trunk may take; 0: none are kept */
};

/* For steps of at most `most` items. Free with adapted_free, also after a failure. */
enum limoe_status adapted_init(struct adapted *adapted, const struct adapted_options *options, size_t most,
                               struct limoe_error *err);
void adapted_free(struct adapted *adapted);

/* As limoe_model_embed, embeddings[step->n, embed]; in as many calls as the tails need that are not all in memory at once,
 * which a step whose routing is wanted (expert, gate) must not: LIMOE_TOO_LARGE. Such a step takes no rows that are known.
 * Of *counts trunk_rows and tail_rows are added to. */
enum limoe_status adapted_embed(struct adapted *adapted, struct limoe_model *model,
                                const struct frame_step *step, float *embeddings,
                                const struct limoe_routing *routing, struct frame_tails *counts,
                                struct limoe_error *err);

/* Sets all others of *counts. */
void adapted_count(struct adapted *adapted, struct frame_tails *counts);

#endif
