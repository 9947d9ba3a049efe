/* fuzz_frame.c - any bytes, as any frame that front and engine send each other. The first byte, a digit in
 * the corpus, chooses what is decoded: 0 a header and its payload as HELLO, 1 as STEP, 2 as RESULT, 3 as
 * JOIN, 4 as CONNECTED, which is a header alone, 5 as ASK, 6 as UNIQUE_ID, 7 as GROUP, 8 as APART; 9 as
 * any of them.
 *
 * A STEP and a RESULT may have captions before them, by their flag.
 *
 * What is accepted must lie within the payload and within the shape's bounds, and be the same bytes when it
 * is encoded again; what is refused must say why. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/protocol/frame_caption.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool promise) {
    if (!promise)
        abort();
}

static const uint32_t blocks[] = {0, 1};
static const struct limoe_info model = {.blocks = 2,
                                        .embed = 3,
                                        .image_size = 3,
                                        .patch = 3,
                                        .image_tokens = 2,
                                        .text_length = 4,
                                        .moe_layers = 2,
                                        .experts = 2,
                                        .top_k = 1,
                                        .moe_blocks = blocks};
#define BUDGET 16

static uint64_t sum; /* so that every byte that is pointed to is read */

static void read_all(const void *bytes, uint64_t size) {
    for (uint64_t i = 0; i < size; i++)
        sum += ((const uint8_t *)bytes)[i];
}

static enum limoe_status check_hello(const uint8_t *payload, uint64_t length, struct limoe_error *err) {
    static struct frame_hello hello;
    uint8_t again[FRAME_HELLO_BYTES];
    enum limoe_status status = frame_get_hello(payload, length, &hello, err);
    if (status != LIMOE_OK)
        return status;
    require((hello.status == LIMOE_OK) == (hello.message[0] == '\0'));
    frame_put_hello(&hello, again);
    if (hello.status == LIMOE_OK) {
        const struct frame_shape shape = frame_shape(&hello.model, UINT32_MAX);
        require(frame_longest_step(&shape) + frame_longest_captions(&shape) < UINT64_MAX / 2 &&
                frame_longest_result(&shape) + frame_longest_captioned(&shape) < UINT64_MAX / 2);
        require(frame_hello_equal(&hello, &hello));
    }
    return LIMOE_OK;
}

/* The section of captions in front of a STEP, which *payload and *length are without then. */
static enum limoe_status check_captions(const struct frame_shape *shape, const uint8_t **payload,
                                        uint64_t *length, struct limoe_error *err) {
    struct frame_caption captions[BUDGET + 1];
    static uint64_t over[FRAME_MOST_OVER];
    struct frame_captions step;
    const struct frame_captions_room room = {captions, over};
    enum limoe_status status = frame_get_captions(shape, *payload, *length, &room, &step, err);
    if (status != LIMOE_OK)
        return status;
    const size_t head = frame_captions_head_bytes(&step);
    const uint64_t pixels = frame_captions_pixel_bytes(shape, &step);
    require(step.n <= shape->items && step.n_over <= FRAME_MOST_OVER && head + pixels <= *length &&
            head + pixels <= frame_longest_captions(shape));
    for (size_t i = 0; i < step.n; i++)
        if (captions[i].pixels)
            read_all(captions[i].pixels, shape->image_bytes);
    uint8_t *again = malloc(head);
    require(again);
    frame_put_captions(&step, again);
    require(memcmp(again, *payload, head) == 0);
    free(again);
    *payload += head;
    *length -= head + pixels;
    return LIMOE_OK;
}

/* The same in front of a RESULT. */
static enum limoe_status check_captioned(const uint8_t **payload, uint64_t *length, struct limoe_error *err) {
    struct frame_captioned captioned;
    uint64_t bytes;
    enum limoe_status status = frame_get_captioned(*payload, *length, &captioned, &bytes, err);
    if (status != LIMOE_OK)
        return status;
    require(bytes <= *length && bytes == frame_captioned_bytes(captioned.n, captioned.texts));
    struct limoe_caption *texts = calloc(captioned.texts + 1, sizeof *texts);
    uint32_t *written = calloc(captioned.n + 1, sizeof *written);
    uint8_t *again = malloc(bytes);
    require(texts && written && again);
    for (size_t i = 0; i < captioned.n; i++)
        written[i] = frame_captioned_written(&captioned, i);
    for (size_t i = 0; i < captioned.texts; i++) {
        frame_captioned_text(&captioned, i, &texts[i]);
        require(texts[i].length <= LIMOE_CAPTION_MAX_TOKENS);
    }
    frame_put_captioned(written, captioned.n, texts, captioned.texts, again);
    require(memcmp(again, *payload, 8 + captioned.n * sizeof *written) == 0);
    free(texts);
    free(written);
    free(again);
    *payload += bytes;
    *length -= bytes;
    return LIMOE_OK;
}

static enum limoe_status check_step(const struct frame_shape *shape, const uint8_t *payload, uint64_t length,
                                    struct limoe_error *err) {
    static float wanted;
    struct limoe_item items[BUDGET + 1];
    struct frame_want wants[BUDGET + 1];
    struct tail_key tails[BUDGET + 1];
    struct frame_step step;
    uint64_t counted = 0;
    const struct frame_room room = {items, wants, tails};
    enum limoe_status status = frame_get_step(shape, payload, length, &room, &step, err);
    if (status != LIMOE_OK)
        return status;
    require(step.n <= shape->items && step.n_tails <= step.n && step.rows <= shape->rows &&
            length <= frame_longest_step(shape));
    for (size_t i = 0; i < step.n; i++) {
        counted += items[i].length;
        items[i].shares = wants[i].shares ? &wanted : NULL;
        require(wants[i].tail <= step.n_tails);
        if (items[i].modality == LIMOE_IMAGE)
            read_all(items[i].pixels, shape->image_bytes);
        else
            read_all(items[i].tokens, items[i].length * sizeof *items[i].tokens);
    }
    require(counted == step.rows && frame_step_bytes(shape, &step) == length);
    size_t head = frame_step_head_bytes(&step);
    uint8_t *again = malloc(head);
    require(again && head <= frame_step_most_head_bytes(items, step.n));
    frame_put_step(&step, again);
    require(memcmp(again, payload, head) == 0);
    free(again);
    return LIMOE_OK;
}

static enum limoe_status check_result(const struct frame_shape *shape, const struct frame_header *header,
                                      const uint8_t *payload, struct limoe_error *err) {
    struct frame_result result;
    enum limoe_status status = frame_get_result(shape, header, payload, &result, err);
    if (status != LIMOE_OK)
        return status;
    require((result.status == LIMOE_OK) == (result.message[0] == '\0'));
    require(result.split <= shape->rows);
    uint8_t head[FRAME_RESULT_HEAD_BYTES];
    struct iovec parts[FRAME_RESULT_PARTS];
    require(frame_put_result(shape, &result, head, parts) == header->length);
    for (size_t i = 0; i < FRAME_RESULT_PARTS; i++)
        read_all(parts[i].iov_base, parts[i].iov_len);
    return LIMOE_OK;
}

static enum limoe_status check_key(const struct frame_header *header, const uint8_t *payload,
                                   struct limoe_error *err) {
    uint8_t key[FRAME_UNIQUE_ID_BYTES];
    const bool asks = header->type == FRAME_ASK || header->type == FRAME_APART;
    enum limoe_status status = frame_get_unique_id(header, payload, asks ? NULL : key, err);
    require(status != LIMOE_OK || asks || memcmp(key, payload, header->length) == 0);
    return status;
}

static enum limoe_status check_join(const uint8_t *payload, uint64_t length, struct limoe_error *err) {
    struct frame_join join;
    uint8_t again[FRAME_JOIN_BYTES];
    enum limoe_status status = frame_get_join(payload, length, &join, err);
    if (status == LIMOE_OK)
        frame_put_join(&join, again);
    require(status != LIMOE_OK || memcmp(again, payload, FRAME_TOKEN_BYTES + 4) == 0);
    return status;
}

static enum limoe_status check(const struct frame_shape *shape, const struct frame_header *header,
                               const uint8_t *payload, struct limoe_error *err) {
    enum limoe_status status = LIMOE_OK;
    struct frame_header rest = *header;
    const bool captions = header->flags & FRAME_CAPTIONS;
    switch (header->type) {
    case FRAME_HELLO:
        return check_hello(payload, header->length, err);
    case FRAME_STEP:
        status = captions ? check_captions(shape, &payload, &rest.length, err) : LIMOE_OK;
        return status ? status : check_step(shape, payload, rest.length, err);
    case FRAME_RESULT:
        status = captions ? check_captioned(&payload, &rest.length, err) : LIMOE_OK;
        return status ? status : check_result(shape, &rest, payload, err);
    case FRAME_JOIN:
        return check_join(payload, header->length, err);
    case FRAME_CONNECTED:
        return LIMOE_OK;
    default:
        return check_key(header, payload, err);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct frame_shape shape = frame_shape(&model, BUDGET);
    enum { TYPES = FRAME_APART };
    const uint64_t most[TYPES + 1] = {FRAME_HELLO_BYTES,
                                      frame_longest_captions(&shape) + frame_longest_step(&shape),
                                      frame_longest_captioned(&shape) + frame_longest_result(&shape),
                                      FRAME_JOIN_BYTES,
                                      0,
                                      0,
                                      FRAME_UNIQUE_ID_BYTES,
                                      FRAME_UNIQUE_ID_BYTES,
                                      0,
                                      FRAME_HELLO_BYTES};
    if (size < 1 + FRAME_HEADER_BYTES)
        return 0;
    const unsigned which = (data[0] - (unsigned)'0') % (TYPES + 1);
    const unsigned types = which == TYPES ? ~0u : FRAME_IN(FRAME_HELLO + which);
    struct frame_header header;
    struct limoe_error err = {.message = ""};
    enum limoe_status status = frame_get_header(data + 1, types, most[which], &header, &err);
    if (status == LIMOE_OK) {
        /* A receiver has as many bytes as the header says. */
        uint8_t *payload = calloc(1, header.length + 1);
        require(payload && header.length <= most[which]);
        size_t there = size - 1 - FRAME_HEADER_BYTES;
        memcpy(payload, data + 1 + FRAME_HEADER_BYTES, there < header.length ? there : header.length);
        uint8_t *exact = realloc(payload, header.length ? header.length : 1);
        require(exact);
        status = check(&shape, &header, exact, &err);
        free(exact);
    }
    require(status == LIMOE_OK || err.message[0]);
    return 0;
}
