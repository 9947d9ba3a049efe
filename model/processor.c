/* processor.c - the processor half of limoe.h: pictures to pixels, text to token ids and a caption's ids to text.
 *
 * A processor owns its config and tokenizer. Nothing in it changes after opening, so any number of threads
 * may call it at once. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/utf8.h"
#include "limoe.h"
#include "limoe_caption.h"
#include "model/checkpoint/config.h"
#include "model/checkpoint/fingerprint.h"
#include "model/image/image.h"
#include "model/info.h"
#include "model/text/text.h"

/* A model keeps some dozens of pieces of a text; the rest is read, to tokenise the beginning as the tokenizer
 * would the whole, then dropped. This bounds the reading. */
#define MAX_TEXT 65536u

struct limoe_processor {
    struct config config;
    struct limoe_info info; /* its strings are config's */
    struct limoe_image_limits limits;
    struct tokenizer *tokenizer;
    char fingerprint[FINGERPRINT_DIGITS + 1];
};

enum limoe_status limoe_processor_open(const char *dir, const struct limoe_image_limits *limits,
                                       struct limoe_processor **out, struct limoe_error *err) {
    *out = NULL;
    struct limoe_processor *p = calloc(1, sizeof *p);
    if (!p)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a processor");
    struct fingerprint *fingerprint = NULL;
    enum limoe_status status = fingerprint_create(&fingerprint, err);
    if (status == LIMOE_OK)
        status = config_load(dir, &p->config, fingerprint, err);
    if (status == LIMOE_OK)
        status = text_open(dir, &p->config, fingerprint, &p->tokenizer, err);
    if (status == LIMOE_OK)
        fingerprint_digits(fingerprint, p->fingerprint);
    fingerprint_free(fingerprint);
    if (status != LIMOE_OK) {
        limoe_processor_close(p);
        return status;
    }
    if (limits)
        p->limits = *limits;
    info_from_config(&p->config, &p->info);
    *out = p;
    return LIMOE_OK;
}

void limoe_processor_close(struct limoe_processor *processor) {
    if (!processor)
        return;
    tokenizer_close(processor->tokenizer);
    free(processor);
}

const struct limoe_info *limoe_processor_info(const struct limoe_processor *processor) {
    return &processor->info;
}

const char *limoe_processor_fingerprint(const struct limoe_processor *processor) {
    return processor->fingerprint;
}

enum limoe_status limoe_process_image(const struct limoe_processor *processor, const uint8_t *bytes,
                                      size_t size, uint8_t *pixels, struct limoe_error *err) {
    enum limoe_status status = limoe_accepts(&processor->info, LIMOE_IMAGE, err);
    return status ? status
                  : image_preprocess(bytes, size, &processor->limits, &processor->config.image.picture,
                                     pixels, err);
}

struct limoe_image_settings limoe_processor_image_settings(const struct limoe_processor *processor) {
    const struct limoe_image_limits *limits = &processor->limits;
    return (struct limoe_image_settings){
        .preprocess = processor->config.image.picture,
        .limits = {.max_bytes = limits->max_bytes ? limits->max_bytes : LIMOE_MAX_BYTES,
                   .max_pixels = limits->max_pixels ? limits->max_pixels : LIMOE_MAX_PIXELS,
                   .found_pixels = limits->found_pixels},
    };
}

enum limoe_status limoe_process_image_by(const struct limoe_image_settings *settings, const uint8_t *bytes,
                                         size_t size, uint8_t *pixels, struct limoe_error *err) {
    return image_preprocess(bytes, size, &settings->limits, &settings->preprocess, pixels, err);
}

enum limoe_status limoe_process_text(const struct limoe_processor *processor, const char *text, size_t size,
                                     int32_t *tokens, uint32_t *length, struct limoe_error *err) {
    const struct config *config = &processor->config;
    enum limoe_status status = limoe_accepts(&processor->info, LIMOE_TEXT, err);
    if (status != LIMOE_OK)
        return status;
    if (size > MAX_TEXT) {
        return limoe_fail(err, LIMOE_TOO_LARGE, "the text is %zu bytes; at most %u are accepted", size,
                          MAX_TEXT);
    }
    size_t valid = utf8_check(text, size);
    if (valid < size)
        return limoe_fail(err, LIMOE_INVALID, "the text is not UTF-8 at byte %zu", valid);
    const char *nul = size > 0 ? memchr(text, '\0', size) : NULL;
    if (nul) {
        return limoe_fail(err, LIMOE_INVALID, "the text has a NUL at byte %zu; text without NUL is accepted",
                          (size_t)(nul - text));
    }

    return text_encode(processor->tokenizer, config, text, size, tokens, length, err);
}

enum limoe_status limoe_caption_text(const struct limoe_processor *processor,
                                     const struct limoe_caption *caption, char *text, size_t size,
                                     struct limoe_error *err) {
    enum limoe_status status = limoe_accepts(&processor->info, LIMOE_TEXT, err);
    if (status)
        return status;
    if (caption->length > LIMOE_CAPTION_MAX_TOKENS)
        return limoe_fail(err, LIMOE_INVALID, "a caption of %u tokens; at most %u are accepted",
                          caption->length, LIMOE_CAPTION_MAX_TOKENS);
    return tokenizer_decode(processor->tokenizer, caption->tokens, caption->length, text, size, err);
}
