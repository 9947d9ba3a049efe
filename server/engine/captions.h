/* captions.h - captions in the making, by the numbers that the front gave them: each STEP takes them a token further.
 *
 * What is kept is a cache: the picture, the options and the number of tokens read say what a caption is, so one that is not
 * here is made anew from its picture, up to that number. It goes when it is done, and when the front says that it is over.
 * There is memory for captions only while there are some.
 *
 * One thread, which is the model's.
 */
#ifndef LIMOE_SERVER_ENGINE_CAPTIONS_H
#define LIMOE_SERVER_ENGINE_CAPTIONS_H

#include <stddef.h>
#include <stdint.h>

#include "limoe_caption.h"
#include "server/protocol/frame_caption.h"

struct captions {
    struct limoe_captioner *captioner; /* NULL: none was asked for yet */
    struct kept_caption *kept;         /* [n] of room, by ascending number */
    size_t n, room;
    uint64_t steps; /* that had captions */
    /* What came of the last step, until captions_end_step. */
    uint32_t *written;           /* as struct frame_captioned has them */
    struct limoe_caption *texts; /* [n_texts]: of those that are done, in the step's order */
    size_t n_texts;
};

/* Before the model is closed. What was never used is fine. */
void captions_free(struct captions *captions);

/* Forgets those that are over, takes the others to their step. A step that fails leaves what it has computed, which the next
 * goes on from. LIMOE_CORRUPT: a number is there twice, or with other options than before. */
enum limoe_status captions_step(struct captions *captions, struct limoe_model *model,
                                const struct frame_captions *step, struct limoe_error *err);
/* Frees what came of it. */
void captions_end_step(struct captions *captions);

#endif
