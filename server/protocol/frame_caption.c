/* frame_caption.c - captions in and out of frames. */
#include "server/protocol/frame_caption.h"

#include <math.h>

#include "base/error.h"
#include "server/protocol/frame_parts.h"

#define HEAD_BYTES    8
#define CAPTION_BYTES 48
#define TEXT_BYTES    (16 + LIMOE_CAPTION_MAX_TOKENS * sizeof(int32_t))

#define PICTURE UINT32_C(1)

/* The texts of a step's captions are what they count as in its budget; one caption may have more. */
static uint64_t most_texts(const struct frame_shape *shape) {
    return shape->items + LIMOE_CAPTION_MAX;
}

uint64_t frame_longest_captions(const struct frame_shape *shape) {
    return HEAD_BYTES + shape->items * (CAPTION_BYTES + shape->image_bytes) +
           FRAME_MOST_OVER * sizeof(uint64_t);
}

/* ---- STEP */

size_t frame_captions_head_bytes(const struct frame_captions *captions) {
    return HEAD_BYTES + captions->n * CAPTION_BYTES + captions->n_over * sizeof(uint64_t);
}

uint64_t frame_captions_pixel_bytes(const struct frame_shape *shape, const struct frame_captions *captions) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < captions->n; i++)
        bytes += captions->captions[i].pixels ? shape->image_bytes : 0;
    return bytes;
}

static void put_caption(uint8_t **at, const struct frame_caption *caption) {
    const struct limoe_caption_options *o = &caption->options;
    put_u64(at, caption->id);
    put_u32(at, caption->step);
    put_u32(at, caption->pixels ? PICTURE : 0);
    put_u32(at, o->n);
    put_u32(at, o->beams);
    put_u32(at, o->top_k);
    put(at, &o->temperature, sizeof o->temperature);
    put_u32(at, o->min_length);
    put_u32(at, o->max_length);
    put_u64(at, o->seed);
}

void frame_put_captions(const struct frame_captions *captions, uint8_t *head) {
    put_u32(&head, (uint32_t)captions->n);
    put_u32(&head, (uint32_t)captions->n_over);
    for (size_t i = 0; i < captions->n; i++)
        put_caption(&head, &captions->captions[i]);
    put(&head, captions->over, captions->n_over * sizeof *captions->over);
}

/* Whether it has a picture, to *pictured. What of the options the model does not take is the engine's to see. */
static bool get_caption(const uint8_t **at, struct frame_caption *caption, bool *pictured) {
    struct limoe_caption_options *o = &caption->options;
    *caption = (struct frame_caption){.id = get_u64(at)};
    caption->step = get_u32(at);
    const uint32_t flags = get_u32(at);
    o->n = get_u32(at);
    o->beams = get_u32(at);
    o->top_k = get_u32(at);
    get(at, &o->temperature, sizeof o->temperature);
    o->min_length = get_u32(at);
    o->max_length = get_u32(at);
    o->seed = get_u64(at);
    *pictured = flags & PICTURE;
    return flags <= PICTURE && within(o->n, 1, LIMOE_CAPTION_MAX) &&
           within(o->beams, 1, LIMOE_CAPTION_MAX_BEAMS) &&
           within(o->max_length, 1, LIMOE_CAPTION_MAX_TOKENS) && within(caption->step, 1, o->max_length);
}

/* Those that have pixels get theirs, which begin here. */
static void point(const struct frame_shape *shape, const uint8_t *pixels, struct frame_caption *captions,
                  uint64_t n) {
    for (uint64_t i = 0; i < n; i++)
        if (captions[i].pixels) {
            captions[i].pixels = pixels;
            pixels += shape->image_bytes;
        }
}

enum limoe_status frame_get_captions(const struct frame_shape *shape, const uint8_t *payload, uint64_t length,
                                     const struct frame_captions_room *room, struct frame_captions *out,
                                     struct limoe_error *err) {
    if (length < HEAD_BYTES)
        return limoe_fail(err, LIMOE_CORRUPT, "a STEP of %llu bytes, with captions",
                          (unsigned long long)length);
    const uint8_t *at = payload;
    const uint64_t n = get_u32(&at), over = get_u32(&at);
    uint64_t pictures = 0, texts = 0;
    if (n > shape->items || over > FRAME_MOST_OVER ||
        length - HEAD_BYTES < n * CAPTION_BYTES + over * sizeof(uint64_t))
        return limoe_fail(err, LIMOE_CORRUPT, "a STEP of %llu bytes with %llu captions, and %llu over",
                          (unsigned long long)length, (unsigned long long)n, (unsigned long long)over);
    *out = (struct frame_captions){.captions = room->captions, .n = n, .over = room->over, .n_over = over};
    const uint64_t rest = length - frame_captions_head_bytes(out);
    for (uint64_t i = 0; i < n; i++) {
        struct frame_caption *caption = &room->captions[i];
        bool pictured;
        if (!get_caption(&at, caption, &pictured))
            return limoe_fail(err, LIMOE_CORRUPT, "caption %llu of a STEP cannot be", (unsigned long long)i);
        texts += caption->options.n;
        pictures += pictured;
        if (pictures * shape->image_bytes > rest)
            return limoe_fail(err, LIMOE_CORRUPT, "caption %llu of a STEP lacks its pixels",
                              (unsigned long long)i);
        caption->pixels = pictured ? payload : NULL;
    }
    point(shape, payload + length - pictures * shape->image_bytes, room->captions, n);
    if (texts > most_texts(shape))
        return limoe_fail(err, LIMOE_CORRUPT, "a STEP with %llu texts of captions",
                          (unsigned long long)texts);
    get(&at, room->over, over * sizeof *room->over);
    return LIMOE_OK;
}

/* ---- RESULT */

static size_t written_bytes(size_t n) {
    return (n + n % 2) * sizeof(uint32_t);
}

size_t frame_captioned_bytes(size_t n, size_t texts) {
    return HEAD_BYTES + written_bytes(n) + texts * TEXT_BYTES;
}

uint64_t frame_longest_captioned(const struct frame_shape *shape) {
    return frame_captioned_bytes(shape->items, most_texts(shape));
}

void frame_put_captioned(const uint32_t *written, size_t n, const struct limoe_caption *captions,
                         size_t texts, uint8_t *out) {
    memset(out, 0, HEAD_BYTES + written_bytes(n));
    uint8_t *at = out + HEAD_BYTES + written_bytes(n);
    put_u32(&out, (uint32_t)n);
    put_u32(&out, (uint32_t)texts);
    put(&out, written, n * sizeof *written);
    for (size_t i = 0; i < texts; i++) {
        put_u32(&at, captions[i].length);
        put_u32(&at, captions[i].ended);
        put(&at, &captions[i].logprob, sizeof captions[i].logprob);
        put(&at, captions[i].tokens, sizeof captions[i].tokens);
    }
}

uint32_t frame_captioned_written(const struct frame_captioned *captioned, size_t i) {
    const uint8_t *at = captioned->written + i * sizeof(uint32_t);
    return get_u32(&at);
}

void frame_captioned_text(const struct frame_captioned *captioned, size_t i, struct limoe_caption *out) {
    const uint8_t *at = captioned->captions + i * TEXT_BYTES;
    out->length = get_u32(&at);
    out->ended = get_u32(&at);
    get(&at, &out->logprob, sizeof out->logprob);
    get(&at, out->tokens, sizeof out->tokens);
}

static bool may_be(const struct frame_captioned *captioned, size_t i) {
    const uint8_t *text = captioned->captions + i * TEXT_BYTES;
    const uint32_t length = get_u32(&text), ended = get_u32(&text);
    double logprob;
    get(&text, &logprob, sizeof logprob);
    return length <= LIMOE_CAPTION_MAX_TOKENS && ended <= 1 && !isnan(logprob);
}

enum limoe_status frame_get_captioned(const uint8_t *payload, uint64_t length, struct frame_captioned *out,
                                      uint64_t *bytes, struct limoe_error *err) {
    const uint8_t *at = payload;
    if (length < HEAD_BYTES)
        return limoe_fail(err, LIMOE_CORRUPT, "a RESULT of %llu bytes, with captions",
                          (unsigned long long)length);
    *out = (struct frame_captioned){.n = get_u32(&at)};
    out->texts = get_u32(&at);
    *bytes = frame_captioned_bytes(out->n, out->texts);
    if (*bytes > length)
        return limoe_fail(err, LIMOE_CORRUPT, "a RESULT of %llu bytes with %zu captions and %zu texts",
                          (unsigned long long)length, out->n, out->texts);
    out->written = at;
    out->captions = at + written_bytes(out->n);
    uint64_t texts = 0;
    for (size_t i = 0; i < out->n; i++) {
        const uint32_t written = frame_captioned_written(out, i);
        texts += written == FRAME_CAPTION_UNKNOWN ? 0 : written;
    }
    if (texts != out->texts)
        return limoe_fail(err, LIMOE_CORRUPT, "a RESULT of %llu texts of captions, and has %zu",
                          (unsigned long long)texts, out->texts);
    for (size_t i = 0; i < out->texts; i++)
        if (!may_be(out, i))
            return limoe_fail(err, LIMOE_CORRUPT, "text %zu of a RESULT's captions cannot be", i);
    return LIMOE_OK;
}
