/* speaking.h - what the tests of dialects share: a body read by a reader, and its writer's answer to made-up
 * results. */
#ifndef LIMOE_TESTS_UNIT_SERVER_API_DIALECTS_SPEAKING_H
#define LIMOE_TESTS_UNIT_SERVER_API_DIALECTS_SPEAKING_H

#include "tests/unit/server/api/reading.h"

#include "server/api/dialects/dialect.h"

#define PIXEL "iVBORw0KGgo=" /* only begins as a picture does: that is all that readers look at */

static struct dialect_request spoken;

static inline bool hears(dialect_reader *read, const char *below, const char *body) {
    const struct dialect_input in = {.models = &model,
                                     .body = exactly(body, strlen(body)),
                                     .size = strlen(body),
                                     .below = text_of(below),
                                     .arena = arena};
    spoken = (struct dialect_request){0};
    return read(&in, &spoken, &error);
}

/* The predictions of what was ranked: label i gets scores[i] for score and cosine, in this order. */
static inline void assert_ranked(const struct prediction *predictions, size_t n, const char *expected) {
    const struct classification rows = {.predictions = predictions, .count = n};
    const struct dialect_result result = {
        .model = &info, .rows = &rows, .usage = {.prompt_tokens = 3, .image_tokens = 4}};
    struct buffer out = {0};
    struct dialect_answer answer = {.body = &out};
    spoken.write(&spoken, &result, &answer);
    assert_bytes(out.data, out.size, expected);
    assert_null(answer.type);
    buffer_free(&out);
}

#endif
