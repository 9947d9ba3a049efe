/* bpe_text.c - text to ids by byte-pair encoding. The tokenizer owns its tables; a call of encode owns a word and
 * two buffers, which grow to the text's size, and nothing is allocated for each token. */
#include "model/text/bpe_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/error.h"
#include "model/text/unicode.h"

/* One call of encode. */
struct run {
    const struct bpe_text *t;
    struct buffer normal, scratch;
    struct bpe_word word;
    int32_t *ids;
    uint32_t capacity, count;
    struct limoe_error *err;
};

static void emit(struct run *run, int32_t id) {
    if (run->count < run->capacity)
        run->ids[run->count++] = id;
}

/* ---- symbols */

static uint32_t character_id(const struct bpe_text *t, uint32_t c) {
    size_t low = 0, high = t->characters;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (t->character[middle].c == c)
            return t->character[middle].id;
        if (t->character[middle].c < c)
            low = middle + 1;
        else
            high = middle;
    }
    return BPE_NO_ID;
}

/* Unknown symbols that are waiting to be added, since the next one may be fused with them. */
static enum limoe_status flush_unknown(struct run *run, bool *waiting) {
    if (!*waiting)
        return LIMOE_OK;
    *waiting = false;
    return bpe_word_add(&run->word, run->t->unknown, run->err);
}

static enum limoe_status add_symbol(struct run *run, uint32_t id, bool *waiting) {
    enum limoe_status status = LIMOE_OK;
    if (id != BPE_NO_ID) {
        status = flush_unknown(run, waiting);
        return status == LIMOE_OK ? bpe_word_add(&run->word, id, run->err) : status;
    }
    if (run->t->unknown == BPE_NO_ID)
        return LIMOE_OK;
    if (!run->t->fuse_unknown)
        status = flush_unknown(run, waiting);
    *waiting = true;
    return status;
}

static bool has_fallback(const struct bpe_text *t, const unsigned char *bytes, size_t n) {
    bool all = t->byte_fallback;
    for (size_t i = 0; i < n; i++)
        all = all && t->fallback_ids[bytes[i]] != BPE_NO_ID;
    return all;
}

/* The character's piece, or the pieces of its bytes. Those do not make what is waiting come first: so it is in the
 * original. */
static enum limoe_status add_character(struct run *run, struct text text, bool *waiting) {
    const unsigned char *bytes = (const unsigned char *)text.data;
    size_t at = 0;
    const uint32_t id = character_id(run->t, unicode_next(text, &at));
    if (id != BPE_NO_ID || !has_fallback(run->t, bytes, text.size))
        return add_symbol(run, id, waiting);
    enum limoe_status status = LIMOE_OK;
    for (size_t i = 0; i < text.size && status == LIMOE_OK; i++)
        status = bpe_word_add(&run->word, run->t->fallback_ids[bytes[i]], run->err);
    return status;
}

static enum limoe_status add_symbols(struct run *run, struct text word) {
    enum limoe_status status = LIMOE_OK;
    bool waiting = false;
    for (size_t at = 0, from = 0; at < word.size && status == LIMOE_OK; from = at) {
        if (run->t->bytes) {
            const bool last = ++at == word.size;
            status = add_symbol(run, run->t->byte_ids[last][(unsigned char)word.data[from]], &waiting);
        } else {
            unicode_next(word, &at);
            status = add_character(run, (struct text){.data = word.data + from, .size = at - from}, &waiting);
        }
    }
    return status == LIMOE_OK ? flush_unknown(run, &waiting) : status;
}

/* ---- words */

static enum limoe_status encode_word(struct run *run, struct text word) {
    uint32_t n = 0;
    bpe_word_clear(&run->word);
    enum limoe_status status = add_symbols(run, word);
    if (status == LIMOE_OK) {
        status = bpe_word_merge(&run->t->bpe, &run->word, run->ids + run->count, run->capacity - run->count,
                                &n, run->err);
    }
    run->count += status == LIMOE_OK ? n : 0;
    return status;
}

/* A start or an end that is written out: its own id, if it is written as it is; or "<|", its name, "|>"; or a word
 * like any. */
static enum limoe_status encode_literal(struct run *run, struct text word) {
    const bool start = text_is(word, "<start_of_text>"), end = text_is(word, "<end_of_text>");
    if ((start || end) && run->t->literal_ids[end] >= 0) {
        emit(run, run->t->literal_ids[end]);
        return LIMOE_OK;
    }
    if (!run->t->literal_parts)
        return encode_word(run, word);
    enum limoe_status status = LIMOE_OK;
    const size_t cuts[] = {0, 2, word.size - 2, word.size};
    for (int i = 0; i < 3 && status == LIMOE_OK; i++)
        status = encode_word(run, (struct text){.data = word.data + cuts[i], .size = cuts[i + 1] - cuts[i]});
    return status;
}

static enum limoe_status encode_clip_words(struct run *run, struct text text) {
    enum limoe_status status = LIMOE_OK;
    struct split_word word;
    size_t at = 0;
    while (status == LIMOE_OK && run->count < run->capacity && split_next(text, run->t->literals, &at, &word))
        status = word.literal ? encode_literal(run, word.text) : encode_word(run, word.text);
    return status;
}

static enum limoe_status encode_spaced_words(struct run *run, struct text text) {
    enum limoe_status status = LIMOE_OK;
    for (size_t at = 0, end; status == LIMOE_OK && at < text.size; at = end) {
        const char *space = memchr(text.data + at, ' ', text.size - at);
        end = space ? (size_t)(space - text.data) + 1 : text.size;
        status = encode_word(run, (struct text){.data = text.data + at, .size = end - at});
    }
    return status;
}

static enum limoe_status encode_bert_words(struct run *run, struct text text) {
    struct text word;
    size_t at = 0;
    while (run->count < run->capacity && wordpiece_next(text, &at, &word)) {
        run->count += wordpiece_encode(run->t->pieces, word, run->t->unknown, run->ids + run->count,
                                       run->capacity - run->count);
    }
    return LIMOE_OK;
}

static enum limoe_status encode_words(struct run *run, struct text text) {
    switch (run->t->words) {
    case BPE_CLIP_WORDS:
        return encode_clip_words(run, text);
    case BPE_SPACED_WORDS:
        return encode_spaced_words(run, text);
    case BPE_BERT_WORDS:
        return encode_bert_words(run, text);
    case BPE_ONE_WORD:
        break;
    }
    return text.size > 0 ? encode_word(run, text) : LIMOE_OK;
}

/* ---- normaliser and added tokens */

static void collapse(struct text text, struct buffer *to) {
    bool gap = false;
    for (size_t at = 0, from = 0; at < text.size; from = at) {
        const bool space = unicode_space(unicode_next(text, &at));
        if (space && !gap)
            buffer_bytes(to, " ", 1);
        else if (!space)
            buffer_bytes(to, text.data + from, at - from);
        gap = space;
    }
}

static void metaspace(struct text text, struct buffer *to) {
    for (size_t at = 0; at < text.size;) {
        const char *space = memchr(text.data + at, ' ', text.size - at);
        const size_t end = space ? (size_t)(space - text.data) : text.size;
        buffer_bytes(to, text.data + at, end - at);
        if (space)
            buffer_string(to, "\xE2\x96\x81");
        at = end + (space != NULL);
    }
}

void bpe_text_normalize(const struct bpe_text *t, struct text text, struct buffer *to,
                        struct buffer *scratch) {
    void (*const steps[])(struct text, struct buffer *) = {
        t->clean ? wordpiece_clean : NULL,
        t->space_chinese ? wordpiece_space_chinese : NULL,
        t->strip_accents ? wordpiece_strip_accents : NULL,
        t->nfc ? unicode_nfc : NULL,
        t->collapse ? collapse : NULL,
        t->lower ? unicode_lower : NULL,
        t->metaspace ? metaspace : NULL,
    };
    to->size = 0;
    buffer_bytes(to, text.data, text.size);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        if (!steps[i])
            continue;
        scratch->size = 0;
        steps[i]((struct text){.data = to->data, .size = to->size}, scratch);
        const struct buffer done = *scratch;
        *scratch = *to;
        *to = done;
    }
}

typedef enum limoe_status encode_fn(struct run *run, struct text text);

/* Added tokens by their ids, what lies between by `between`. */
static enum limoe_status encode_between(struct run *run, const struct added *added, struct text text,
                                        encode_fn *between) {
    enum limoe_status status = LIMOE_OK;
    struct added_match match;
    size_t at = 0;
    while (status == LIMOE_OK && run->count < run->capacity && added_next(added, text, at, &match)) {
        if (match.begin > at)
            status = between(run, (struct text){.data = text.data + at, .size = match.begin - at});
        if (status == LIMOE_OK)
            emit(run, (int32_t)match.id);
        at = match.end;
    }
    if (status == LIMOE_OK && run->count < run->capacity && at < text.size)
        status = between(run, (struct text){.data = text.data + at, .size = text.size - at});
    return status;
}

static enum limoe_status encode_raw(struct run *run, struct text text) {
    bpe_text_normalize(run->t, text, &run->normal, &run->scratch);
    if (run->normal.failed || run->scratch.failed)
        return limoe_fail(run->err, LIMOE_NO_MEMORY, "no memory for a text of %zu bytes", text.size);
    const struct text normal = {.data = run->normal.data, .size = run->normal.size};
    return encode_between(run, &run->t->normalized, normal, encode_words);
}

static enum limoe_status encode(const struct tokenizer *tokenizer, struct text text, int32_t *ids,
                                uint32_t capacity, uint32_t *count, struct limoe_error *err) {
    const struct bpe_text *t = (const struct bpe_text *)tokenizer;
    struct run run = {.t = t, .ids = ids, .capacity = capacity, .err = err};
    const enum limoe_status status = encode_between(&run, &t->raw, text, encode_raw);
    *count = run.count;
    bpe_word_free(&run.word);
    buffer_free(&run.normal);
    buffer_free(&run.scratch);
    return status;
}

/* ---- life */

static void close_tokenizer(struct tokenizer *tokenizer) {
    struct bpe_text *t = (struct bpe_text *)tokenizer;
    added_free(&t->raw);
    added_free(&t->normalized);
    bpe_free(&t->bpe);
    free(t->character);
    wordpiece_free(t->pieces);
    free(t);
}

static const struct tokenizer_kind kind = {.close = close_tokenizer, .encode = encode};

struct bpe_text *bpe_text_new(void) {
    struct bpe_text *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->base.kind = &kind;
    t->base.facts = (struct tokenizer_facts){.start = -1, .end = -1, .pad = -1};
    t->literal_ids[0] = t->literal_ids[1] = -1;
    t->unknown = BPE_NO_ID;
    return t;
}

static uint32_t piece_id(const struct vocab *vocab, struct text text) {
    const struct vocab_piece *piece = vocab_find(vocab, text);
    return piece ? piece->id : BPE_NO_ID;
}

bool bpe_byte_printable(unsigned byte) {
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
}

/* A byte that is not printable in Latin-1 is the next character from U+0100 on. */
struct text bpe_byte_letter(unsigned byte, char letter[4]) {
    uint32_t c = 0x100;
    if (byte < 0x80 && bpe_byte_printable(byte)) {
        letter[0] = (char)byte;
        return (struct text){.data = letter, .size = 1};
    }
    for (unsigned before = 0; before < byte; before++)
        c += !bpe_byte_printable(before);
    c = bpe_byte_printable(byte) ? byte : c;
    letter[0] = (char)(0xC0 | c >> 6);
    letter[1] = (char)(0x80 | (c & 0x3F));
    return (struct text){.data = letter, .size = 2};
}

static void byte_symbols(struct bpe_text *t, const struct vocab *vocab) {
    static const char end[] = {'<', '/', 'w', '>'};
    for (unsigned byte = 0; byte < 256; byte++) {
        char piece[8];
        struct text text = bpe_byte_letter(byte, piece);
        t->byte_ids[0][byte] = piece_id(vocab, text);
        memcpy(piece + text.size, end, sizeof end);
        text.size += sizeof end;
        t->byte_ids[1][byte] = piece_id(vocab, text);
    }
}

static int compare_characters(const void *a, const void *b) {
    const uint32_t x = ((const struct bpe_character *)a)->c, y = ((const struct bpe_character *)b)->c;
    return x < y ? -1 : x > y;
}

static enum limoe_status character_symbols(struct bpe_text *t, const struct vocab *vocab,
                                           struct limoe_error *err) {
    for (unsigned byte = 0; byte < 256; byte++) {
        char piece[8];
        const int n = snprintf(piece, sizeof piece, "<0x%02X>", byte);
        t->fallback_ids[byte] = piece_id(vocab, (struct text){.data = piece, .size = (size_t)n});
    }
    t->character = calloc(vocab->size + 1, sizeof *t->character);
    if (!t->character)
        return limoe_fail(err, LIMOE_NO_MEMORY, "%s: no memory for its characters", vocab->where);
    for (size_t i = 0; i < vocab->size; i++) {
        const struct text text = vocab->piece[i].text;
        if (text.size == 0 || text.size > 4)
            continue;
        size_t at = 0;
        const uint32_t c = unicode_next(text, &at);
        if (at == text.size)
            t->character[t->characters++] = (struct bpe_character){.c = c, .id = vocab->piece[i].id};
    }
    qsort(t->character, t->characters, sizeof *t->character, compare_characters);
    struct bpe_character *fitted = realloc(t->character, (t->characters + 1) * sizeof *fitted);
    t->character = fitted ? fitted : t->character;
    return LIMOE_OK;
}

enum limoe_status bpe_text_symbols(struct bpe_text *t, const struct vocab *vocab, struct limoe_error *err) {
    if (!t->bytes)
        return character_symbols(t, vocab, err);
    byte_symbols(t, vocab);
    return LIMOE_OK;
}
