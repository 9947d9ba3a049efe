/* speaking.h - what the tests of dialects share: a body read by a reader, and its writer's answer to made-up
 * results. */
#ifndef LIMOE_TESTS_UNIT_SERVER_API_DIALECTS_SPEAKING_H
#define LIMOE_TESTS_UNIT_SERVER_API_DIALECTS_SPEAKING_H

#include "tests/unit/server/api/reading.h"

#include "server/api/dialects/dialect.h"

#define PIXEL "iVBORw0KGgo=" /* only begins as a picture does: that is all that readers look at */

static struct dialect_request spoken;

/* The body is of exactly its size, the rest as it is; a model is the default one of reading.h. */
static inline bool hears_input(dialect_reader *read, const struct dialect_input *input, const char *body,
                               size_t size) {
    struct dialect_input in = *input;
    in.models = in.models ? in.models : &model;
    in.body = exactly(body, size);
    in.size = size;
    in.below = in.below.data ? in.below : text_of("");
    in.arena = arena;
    spoken = (struct dialect_request){0};
    return read(&in, &spoken, &error);
}

static inline bool hears(dialect_reader *read, const char *below, const char *body) {
    return hears_input(read, &(struct dialect_input){.below = text_of(below)}, body, strlen(body));
}

/* What the writer makes of vectors of two numbers each. */
static inline void assert_vectors(const float *rows, uint64_t tokens, const char *expected) {
    static const struct limoe_info small = {.name = "small", .embed = 2};
    const struct dialect_result result = {
        .model = &small, .embeddings = rows, .usage = {.prompt_tokens = tokens}};
    struct buffer out = {0};
    struct dialect_answer answer = {.body = &out};
    spoken.write(&spoken, &result, &answer);
    assert_bytes(out.data, out.size, expected);
    buffer_free(&out);
}

/* An error of the dialect, as its clients get it. */
static inline void assert_written(const struct dialect *dialect, const struct api_error *refusal,
                                  const char *expected) {
    struct buffer out = {0};
    dialect->write_error(&out, refusal);
    assert_bytes(out.data, out.size, expected);
    buffer_free(&out);
}

/* What a teller says; NULL: it fails. */
static inline void assert_told(dialect_teller *tell, const struct dialect_about *about,
                               const char *expected) {
    struct buffer out = {0};
    struct dialect_answer answer = {.body = &out};
    assert_true(tell(about, &answer, &error) == (expected != NULL));
    if (expected)
        assert_bytes(out.data, out.size, expected);
    buffer_free(&out);
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
