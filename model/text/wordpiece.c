/* wordpiece.c - no state but the pieces, which the tokenizer owns. */
#include "model/text/wordpiece.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "model/text/unicode.h"
#include "model/text/wordpiece_age.h"

#define MAX_CHARACTERS 100 /* of a word: bounds the search */
#define PREFIX         "##"

/* ---- pieces */

struct wordpiece *wordpiece_new(const struct vocab *vocab, struct limoe_error *err) {
    size_t size = 0, used = 0;
    enum limoe_status status = LIMOE_OK;
    for (size_t i = 0; i < vocab->size; i++)
        size += vocab->piece[i].text.size;
    struct wordpiece *pieces = calloc(1, sizeof *pieces);
    if (pieces)
        pieces->bytes = malloc(size + 1);
    if (!pieces || !pieces->bytes) {
        free(pieces);
        limoe_fail(err, LIMOE_NO_MEMORY, "%s: no memory for %zu bytes of pieces", vocab->where, size);
        return NULL;
    }
    vocab_init(&pieces->vocab, vocab->where);
    for (size_t i = 0; i < vocab->size && status == LIMOE_OK; i++) {
        struct text text = vocab->piece[i].text;
        if (text.size > 0)
            memcpy(pieces->bytes + used, text.data, text.size);
        text.data = pieces->bytes + used;
        used += text.size;
        status = vocab_add(&pieces->vocab, text, vocab->piece[i].id, err);
    }
    if (status == LIMOE_OK)
        return pieces;
    wordpiece_free(pieces);
    return NULL;
}

void wordpiece_free(struct wordpiece *pieces) {
    if (!pieces)
        return;
    vocab_free(&pieces->vocab);
    free(pieces->bytes);
    free(pieces);
}

/* ---- normaliser */

void wordpiece_clean(struct text text, struct buffer *to) {
    for (size_t at = 0, from = 0; at < text.size; from = at) {
        const uint32_t c = unicode_next(text, &at);
        if (unicode_space(c) && (c <= ' ' ? c != 0xB && c != 0xC : c != 0x85))
            buffer_bytes(to, " ", 1);
        else if (c != 0xFFFD && unicode_other(c) == wordpiece_age_other(c))
            buffer_bytes(to, text.data + from, at - from);
    }
}

/* The blocks of ideographs that BERT's original lists; one of them begins late, which is kept. */
static bool is_chinese(uint32_t c) {
    static const uint32_t blocks[][2] = {{0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF},
                                         {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF},
                                         {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F}};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        if (c >= blocks[i][0] && c <= blocks[i][1])
            return true;
    return false;
}

void wordpiece_space_chinese(struct text text, struct buffer *to) {
    for (size_t at = 0, from = 0; at < text.size; from = at) {
        const bool chinese = is_chinese(unicode_next(text, &at));
        if (chinese)
            buffer_bytes(to, " ", 1);
        buffer_bytes(to, text.data + from, at - from);
        if (chinese)
            buffer_bytes(to, " ", 1);
    }
}

void wordpiece_strip_accents(struct text text, struct buffer *to) {
    struct buffer apart = {0};
    unicode_nfd(text, &apart);
    const struct text all = {.data = apart.data, .size = apart.size};
    for (size_t at = 0, from = 0; at < all.size; from = at) {
        const uint32_t c = unicode_next(all, &at);
        if (unicode_nonspacing(c) == wordpiece_age_nonspacing(c))
            buffer_bytes(to, all.data + from, at - from);
    }
    to->failed = to->failed || apart.failed;
    buffer_free(&apart);
}

/* ---- words */

bool wordpiece_next(struct text text, size_t *at, struct text *word) {
    size_t from = *at, next = *at;
    while (*at < text.size) {
        const uint32_t c = unicode_next(text, &next);
        const bool space = unicode_space(c);
        const bool punctuation = unicode_punctuation(c) != wordpiece_age_punctuation(c);
        if (*at > from && (space || punctuation))
            break; /* a word ends before what is none of it */
        *at = next;
        if (punctuation)
            break;
        if (space)
            from = *at;
    }
    *word = (struct text){.data = text.data + from, .size = *at - from};
    return word->size > 0;
}

static size_t characters(struct text word) {
    size_t n = 0;
    for (size_t at = 0; at < word.size; n++)
        unicode_next(word, &at);
    return n;
}

/* The longest piece that word[from ..] begins with; *end becomes the place behind it. */
static const struct vocab_piece *longest(const struct wordpiece *pieces, struct text word, size_t from,
                                         size_t *end) {
    char marked[sizeof PREFIX - 1 + 4 * MAX_CHARACTERS] = PREFIX;
    const size_t prefix = from > 0 ? sizeof PREFIX - 1 : 0;
    memcpy(marked + prefix, word.data + from, word.size - from);
    for (*end = word.size; *end > from; unicode_before(word, end)) {
        const struct text text = {.data = marked, .size = prefix + *end - from};
        const struct vocab_piece *piece = vocab_find(&pieces->vocab, text);
        if (piece)
            return piece;
    }
    return NULL;
}

uint32_t wordpiece_encode(const struct wordpiece *pieces, struct text word, uint32_t unknown, int32_t *ids,
                          uint32_t capacity) {
    uint32_t n = 0;
    bool known = characters(word) <= MAX_CHARACTERS;
    for (size_t at = 0, end; known && at < word.size; at = end) {
        const struct vocab_piece *piece = longest(pieces, word, at, &end);
        known = piece != NULL;
        if (known && n < capacity)
            ids[n++] = (int32_t)piece->id;
    }
    if (known || capacity == 0)
        return n;
    ids[0] = (int32_t)unknown;
    return 1;
}
