/* transfer.h - between the front's steps and its engine's frames: jobs' items out to the ranks, jobs' results
 * in from them. Captions are of an engine of one rank. */
#ifndef LIMOE_SERVER_FRONT_SUPERVISOR_TRANSFER_H
#define LIMOE_SERVER_FRONT_SUPERVISOR_TRANSFER_H

#include "server/front/schedule/over.h"
#include "server/front/supervisor/membership.h"
#include "server/front/supervisor/replay.h"
#include "server/protocol/frame_caption.h"

/* The sum of what the ranks have said of one step so far. */
struct transfer_sum {
    enum limoe_status status;          /* not LIMOE_OK: a rank has refused its part, and so the whole step */
    char message[FRAME_MESSAGE_BYTES]; /* of the first that did */
    uint64_t compute_ns;               /* of the slowest */
    uint64_t *load;                    /* these as struct frame_result */
    uint64_t *rows_sent, *bytes_sent, *exchange_ns;
    double *entropy;
    uint64_t *tokens;               /* [ranks]: of its part */
    uint64_t *gpu_used, *gpu_total; /* [ranks]: as struct frame_result */
    struct frame_tails tails;
};

/* What STEPs on their way out are made of, but for the pixels, which are sent from where the jobs have them.
 * One step at a time, a STEP for each rank. */
struct transfer {
    struct frame_shape shape;
    uint32_t ranks;
    size_t n, n_captions;                           /* of the step: items, captions */
    struct limoe_item *items, *ordered;             /* [shape.items]: in the step's order; rank by rank */
    const struct tail_key **tails, **ordered_tails; /* theirs */
    struct frame_want *wants;                       /* [shape.items], as are the next: of a rank's STEP */
    struct tail_key *table;
    uint64_t *keys, *laden;         /* [shape.items], [ranks]: scratch */
    struct frame_caption *captions; /* [shape.items]: the step's */
    uint64_t *over;                 /* [FRAME_MOST_OVER] */
    struct iovec *parts;            /* [shape.items + 1] */
    uint8_t *head;                  /* of all STEPs, end to end */
    size_t head_room;
    struct transfer_sum sum; /* of the oldest step */
};

bool transfer_init(struct transfer *transfer, const struct frame_shape *shape, uint32_t ranks); /* false: no
                                                                                                   memory */
void transfer_free(struct transfer *transfer);

/* Makes the flight's STEPs the next that the membership's links send, with which the engine is told what captions are over.
 * False: no memory. */
bool transfer_stage(struct transfer *transfer, struct flight *flight, struct membership *membership,
                    struct over *over);

/* Empties the sum, before the first rank's answer to a step. */
void transfer_begin(struct transfer *transfer);
/* Takes what this rank's link has received for its answer to the flight: copies the results to the jobs,
 * and adds the rest to the sum. LIMOE_CORRUPT if the frame is no answer to this step. */
enum limoe_status transfer_receive(struct transfer *transfer, uint32_t rank, const struct link *link,
                                   const struct flight *flight, struct limoe_error *err);

#endif
