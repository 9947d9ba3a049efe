/* link.h - frames over a stream socket, a piece at a time.
 *
 * A link has one frame on its way in and one on its way out, and each may stand still at any byte: on a
 * non-blocking socket its functions do what can be done now, on a blocking one they do it all. One thread at
 * a time uses a link; two links may share a socket if one only receives and the other only sends, or if they
 * take turns frame by frame.
 */
#ifndef LIMOE_SERVER_PROTOCOL_LINK_H
#define LIMOE_SERVER_PROTOCOL_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "server/protocol/frame.h"

struct link {
    int fd; /* not the link's to close */

    uint8_t head[FRAME_HEADER_BYTES];
    size_t head_got;
    struct frame_header frame; /* of the payload, once LINK_DONE */
    uint8_t *payload;          /* valid until the next link_receive; grows to the longest frame so far */
    uint64_t got, capacity;

    uint8_t out_head[FRAME_HEADER_BYTES];
    struct iovec *out; /* [n_out]; sent up to out[out_at] */
    size_t n_out, out_at, out_room;
    uint8_t *rest; /* the end of a frame whose parts are gone */
};

enum link_event {
    LINK_WAITS, /* for the socket */
    LINK_DONE,  /* a frame is complete */
    LINK_ENDED, /* the other side closed, between two frames */
    LINK_BROKEN /* *err says why; the link is of no more use */
};

void link_init(struct link *link, int fd);
void link_free(struct link *link);
/* Forgets what is half received or half sent; keeps the buffers. */
void link_reset(struct link *link, int fd);

/* Goes on receiving a frame of `type`, with a payload of at most `most` bytes. */
enum link_event link_receive(struct link *link, enum frame_type type, uint64_t most, struct limoe_error *err);
/* The same of a frame of one of the types: FRAME_IN. */
enum link_event link_receive_any(struct link *link, unsigned types, uint64_t most, struct limoe_error *err);

/* Makes a frame the next to be sent; no other is on its way. header->length is the sum of the parts, which
 * stay valid until it is sent. False: no memory. */
bool link_stage(struct link *link, const struct frame_header *header, const struct iovec *parts, size_t n);
/* Takes back what was staged; nothing of it has been sent. */
void link_unstage(struct link *link);
/* Lets go of the parts: what is half sent is copied, to be sent to its end, and what is not begun is taken
 * back. False: no memory, and the link is of no more use. */
bool link_detach(struct link *link);
bool link_sending(const struct link *link);
/* Goes on sending. LINK_DONE: nothing is left. Never LINK_ENDED. */
enum link_event link_send(struct link *link, struct limoe_error *err);

#endif
