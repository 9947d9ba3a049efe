/* frame_caption.h - captions in a STEP and in its RESULT: a section in front of the payload that frame.h has, where the
 * frame's flags have FRAME_CAPTIONS. As frame.h: pure functions, little-endian, nothing is believed.
 *
 * The engine keeps what it has of a caption by the number that the front gave it. That is a cache: what a STEP says of a
 * caption, its picture, its options and how many tokens it is to have read, determines what the RESULT says of it. An engine
 * that was asked about one which it does not have, since it was started meanwhile, says so; the front sends the picture again
 * with the same number of tokens, and the engine begins anew and catches up.
 *
 * STEP:   u32 captions, u32 over | captions: u64 id, u32 step, u32 flags (1: a picture), u32 n, u32 beams, u32 top_k,
 *         f32 temperature, u32 min, u32 max, u64 seed | over: u64 id | the payload of frame.h | the pictures' pixels
 * RESULT: u32 captions, u32 texts | u32 [captions]: how many texts each has, 0: it is not done, FRAME_CAPTION_UNKNOWN: the
 *         engine does not have it; filled up to a multiple of 8 |
 *         texts: u32 length, u32 ended, f64 logprob, i32 [LIMOE_CAPTION_MAX_TOKENS] | the payload of frame.h
 */
#ifndef LIMOE_SERVER_PROTOCOL_FRAME_CAPTION_H
#define LIMOE_SERVER_PROTOCOL_FRAME_CAPTION_H

#include "limoe_caption.h"
#include "server/protocol/frame.h"

enum { FRAME_MOST_OVER = 1024 }; /* in one STEP */
#define FRAME_CAPTION_UNKNOWN UINT32_MAX

struct frame_caption {
    uint64_t id;
    uint32_t
        step; /* from 1 on: tokens that each text which is not at its end has read when the STEP is computed */
    struct limoe_caption_options options; /* checked, defaults filled in */
    const uint8_t *pixels;                /* NULL: an earlier STEP had them */
};

struct frame_captions {
    const struct frame_caption *captions; /* [n] */
    size_t n;
    const uint64_t *over; /* [n_over]: the engine is to forget these, if it has them */
    size_t n_over;
};

/* Where arrays are made: for as many captions as there are items in a step, and FRAME_MOST_OVER. */
struct frame_captions_room {
    struct frame_caption *captions;
    uint64_t *over;
};

/* The most bytes that a section can have. */
uint64_t frame_longest_captions(const struct frame_shape *shape);
uint64_t frame_longest_captioned(const struct frame_shape *shape);

/* Bytes in front of the payload, and of the pixels behind it. */
size_t frame_captions_head_bytes(const struct frame_captions *captions);
uint64_t frame_captions_pixel_bytes(const struct frame_shape *shape, const struct frame_captions *captions);
/* head [frame_captions_head_bytes]. */
void frame_put_captions(const struct frame_captions *captions, uint8_t *head);
/* payload [length] is the whole frame's; *out points into room, whose pixels point into the payload. */
enum limoe_status frame_get_captions(const struct frame_shape *shape, const uint8_t *payload, uint64_t length,
                                     const struct frame_captions_room *room, struct frame_captions *out,
                                     struct limoe_error *err);

struct frame_captioned {
    size_t n, texts;         /* texts: of all that are done */
    const uint8_t *written;  /* [n] u32 */
    const uint8_t *captions; /* [texts] */
};

size_t frame_captioned_bytes(size_t n, size_t texts);
/* out [frame_captioned_bytes]. written [n], which sum to texts but for those that are unknown. */
void frame_put_captioned(const uint32_t *written, size_t n, const struct limoe_caption *captions,
                         size_t texts, uint8_t *out);
/* *bytes: of the section. */
enum limoe_status frame_get_captioned(const uint8_t *payload, uint64_t length, struct frame_captioned *out,
                                      uint64_t *bytes, struct limoe_error *err);
uint32_t frame_captioned_written(const struct frame_captioned *captioned, size_t i);
void frame_captioned_text(const struct frame_captioned *captioned, size_t i, struct limoe_caption *out);

#endif
