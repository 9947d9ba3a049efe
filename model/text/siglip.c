/* siglip.c - what SiglipTokenizer does around SentencePiece.
 *
 * A text gets U+2581 before it, and is cut at the special tokens that are written out in it. Each part loses case,
 * ASCII's punctuation and surplus white space; it is encoded behind the text of the unknown token, whose own pieces
 * are then left out, so that SentencePiece puts no space before the part.
 */
#include "model/text/siglip.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/error.h"
#include "model/text/added.h"
#include "model/text/pieces.h"
#include "model/text/tokenizer_kind.h"
#include "model/text/unicode.h"

#define UNDERLINE "\xE2\x96\x81" /* U+2581, SentencePiece's space */

struct siglip {
    struct tokenizer base;
    struct pieces *pieces;
    bool lower;
    struct added special;
    char *unknown;     /* the text of the unknown token */
    uint32_t skip;     /* pieces of it */
    int32_t underline; /* the piece of a lone U+2581 */
};

/* One call of encode. */
struct run {
    const struct siglip *t;
    struct buffer whole, part, scratch;
    int32_t *ids;
    uint32_t capacity, count;
    struct limoe_error *err;
};

/* ---- a text */

/* "▁", and the text with its own "▁" as spaces. */
static void begin(struct text text, struct buffer *to) {
    buffer_string(to, UNDERLINE);
    for (size_t at = 0, from = 0; at < text.size; from = at)
        if (unicode_next(text, &at) == 0x2581)
            buffer_bytes(to, " ", 1);
        else
            buffer_bytes(to, text.data + from, at - from);
}

static void without_punctuation(struct text text, struct buffer *to) {
    for (size_t i = 0; i < text.size; i++) {
        const unsigned char c = (unsigned char)text.data[i];
        if (c <= ' ' || c >= 0x7F || unicode_letter(c) || unicode_number(c))
            buffer_bytes(to, text.data + i, 1);
    }
}

static enum limoe_status encode_part(struct run *run, struct text part) {
    const struct siglip *t = run->t;
    uint32_t n = 0;
    run->scratch.size = run->part.size = 0;
    if (t->lower)
        unicode_python_lower(part, &run->part);
    without_punctuation(t->lower ? buffer_text(&run->part) : part, &run->scratch);
    run->part.size = 0;
    buffer_string(&run->part, t->unknown);
    unicode_python_collapse(buffer_text(&run->scratch), &run->part);
    if (run->part.failed || run->scratch.failed)
        return limoe_fail(run->err, LIMOE_NO_MEMORY, "no memory for a text of %zu bytes", part.size);
    enum limoe_status status = pieces_encode(t->pieces, run->part.data, run->part.size, t->skip,
                                             run->ids + run->count, run->capacity - run->count, &n, run->err);
    run->count += status == LIMOE_OK ? n : 0;
    return status;
}

static void add_special(struct run *run, uint32_t id) {
    if (run->count == 1 && run->ids[0] == run->t->underline)
        run->count = 0; /* the "▁" that was put before the text, and nothing else */
    if (run->count < run->capacity)
        run->ids[run->count++] = (int32_t)id;
}

static enum limoe_status encode_whole(struct run *run, struct text text) {
    enum limoe_status status = LIMOE_OK;
    struct added_match match;
    bool first = true;
    size_t at = 0;
    while (status == LIMOE_OK && run->count < run->capacity &&
           added_next(&run->t->special, text, at, &match)) {
        if (match.begin > at)
            status = encode_part(run, (struct text){.data = text.data + at, .size = match.begin - at});
        if (status == LIMOE_OK && first)
            add_special(run, match.id);
        else if (status == LIMOE_OK && run->count < run->capacity)
            run->ids[run->count++] = (int32_t)match.id;
        first = false;
        at = match.end;
    }
    if (status == LIMOE_OK && run->count < run->capacity && at < text.size)
        status = encode_part(run, (struct text){.data = text.data + at, .size = text.size - at});
    return status;
}

static enum limoe_status encode(const struct tokenizer *tokenizer, struct text text, int32_t *ids,
                                uint32_t capacity, uint32_t *count, struct limoe_error *err) {
    const struct siglip *t = (const struct siglip *)tokenizer;
    struct run run = {.t = t, .ids = ids, .capacity = capacity, .err = err};
    begin(text, &run.whole);
    const enum limoe_status status =
        run.whole.failed ? limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a text of %zu bytes", text.size)
                         : encode_whole(&run, buffer_text(&run.whole));
    *count = run.count;
    buffer_free(&run.whole);
    buffer_free(&run.part);
    buffer_free(&run.scratch);
    return status;
}

/* ---- opening */

static void close_tokenizer(struct tokenizer *tokenizer) {
    struct siglip *t = (struct siglip *)tokenizer;
    pieces_close(t->pieces);
    added_free(&t->special);
    free(t->unknown);
    free(t);
}

static const struct tokenizer_kind kind = {.close = close_tokenizer, .encode = encode};

/* The id of the token that the files give this name; it must be a piece. */
static enum limoe_status token_id(struct siglip *t, const struct folder_config *config, const char *name,
                                  const char *missing, const char **token, int32_t *id,
                                  struct limoe_error *err) {
    enum limoe_status status = folder_config_token(config, name, missing, token, err);
    if (status != LIMOE_OK)
        return status;
    *id = *token ? pieces_id(t->pieces, *token) : -1;
    const bool unknown = strcmp(name, "unk_token") == 0;
    if (!*token || (!unknown && *id == pieces_id(t->pieces, t->unknown))) {
        char quoted[80];
        return limoe_fail(err, LIMOE_CORRUPT, SPIECE_MODEL ": \"%s\" is \"%s\", which is no piece", name,
                          *token ? text_quote(text_of(*token), quoted, sizeof quoted) : "null");
    }
    return LIMOE_OK;
}

static bool is_one_of(const char *token, const char *const *named, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (token && named[i] && strcmp(token, named[i]) == 0)
            return true;
    return false;
}

/* The tokens that are cut out where they are written: the unknown, the end and the padding, all of them pieces. Others
 * that tokenizer_config.json lists are refused. */
static enum limoe_status add_specials(struct siglip *t, const struct folder_config *config, const char *end,
                                      const char *pad, struct limoe_error *err) {
    const char *named[3] = {t->unknown, end, pad};
    enum limoe_status status = LIMOE_OK;
    for (size_t i = 0; i < 3 && status == LIMOE_OK; i++) {
        if (named[i] && !is_one_of(named[i], named, i)) {
            status = added_add(&t->special, text_of(named[i]), (uint32_t)pieces_id(t->pieces, named[i]),
                               false, false, TOKENIZER_CONFIG, err);
        }
    }
    const cJSON *item, *listed = cJSON_GetObjectItemCaseSensitive(config->tokenizer, "added_tokens_decoder");
    cJSON_ArrayForEach(item, listed) {
        const char *content = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "content"));
        if (status == LIMOE_OK && !is_one_of(content, named, 3)) {
            status = limoe_fail(err, LIMOE_UNSUPPORTED,
                                TOKENIZER_CONFIG
                                ": \"added_tokens_decoder\" has a token other than the unknown, the "
                                "end and the padding");
        }
    }
    return status == LIMOE_OK ? added_finish(&t->special, TOKENIZER_CONFIG, err) : status;
}

static enum limoe_status fill(struct siglip *t, const struct folder_config *config, struct limoe_error *err) {
    struct tokenizer_facts *facts = &t->base.facts;
    const char *unknown = NULL, *end = NULL, *pad = NULL;
    int32_t id, ids[64];
    enum limoe_status status = folder_config_token(config, "unk_token", "<unk>", &unknown, err);
    if (status != LIMOE_OK)
        return status;
    t->unknown = strdup(unknown ? unknown : "<unk>");
    if (!t->unknown)
        return limoe_fail(err, LIMOE_NO_MEMORY, SPIECE_MODEL ": no memory");
    if ((status = token_id(t, config, "unk_token", "<unk>", &unknown, &id, err)) ||
        (status = token_id(t, config, "eos_token", "</s>", &end, &facts->end, err)) ||
        (status = token_id(t, config, "pad_token", "</s>", &pad, &facts->pad, err)) ||
        (status = add_specials(t, config, end, pad, err)) ||
        (status = folder_config_switch(config, "do_lower_case", true, &t->lower, err)) ||
        (status = folder_config_pad_left(config, false, &facts->pad_left, err)))
        return status;
    t->underline = pieces_id(t->pieces, UNDERLINE);
    return pieces_encode(t->pieces, t->unknown, strlen(t->unknown), 0, ids, sizeof ids / sizeof *ids,
                         &t->skip, err);
}

enum limoe_status siglip_read(const uint8_t *bytes, size_t size, const struct folder_config *config,
                              struct tokenizer **out, struct limoe_error *err) {
    struct siglip *t = calloc(1, sizeof *t);
    if (!t)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a tokenizer");
    t->base.kind = &kind;
    t->base.end_once = true;
    t->base.facts = (struct tokenizer_facts){.kind = "SentencePiece", .start = -1, .length = 64};
    enum limoe_status status = pieces_open(bytes, size, SPIECE_MODEL, &t->pieces, err);
    if (status == LIMOE_OK)
        status = fill(t, config, err);
    if (status != LIMOE_OK) {
        close_tokenizer(&t->base);
        return status;
    }
    t->base.facts.vocab = pieces_count(t->pieces);
    *out = &t->base;
    return LIMOE_OK;
}
