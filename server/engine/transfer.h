/* transfer.h - between the front's steps and an engine's frames: jobs' items out, jobs' results in. */
#ifndef LIMOE_TRANSFER_H
#define LIMOE_TRANSFER_H

#include "engine/frame.h"
#include "engine/link.h"
#include "engine/replay.h"

/* What a STEP on its way out is made of, but for the pixels, which are sent from where the jobs have them.
 * One STEP at a time. */
struct transfer {
    struct frame_shape shape;
    struct limoe_item *items; /* [shape.items] */
    struct iovec *parts;      /* [shape.items + 1] */
    uint8_t *head;
    size_t head_room;
};

bool transfer_init(struct transfer *transfer, const struct frame_shape *shape); /* false: no memory */
void transfer_free(struct transfer *transfer);

/* Makes the flight's STEP the next that the link sends. False: no memory. */
bool transfer_stage(struct transfer *transfer, const struct flight *flight, struct link *link);

/* Takes what the link has received for the answer to this flight, and copies what it says to the jobs.
 * *out is the answer; its status is LIMOE_OK or the engine's refusal. Otherwise the frame is no answer to
 * this step: LIMOE_CORRUPT. */
enum limoe_status transfer_receive(const struct transfer *transfer, const struct link *link,
                                   const struct flight *flight, struct frame_result *out,
                                   struct limoe_error *err);

#endif
