/* sentencepiece.c - checks a tokenizer's file before the library loads it.
 *
 * The library parses protocol buffers safely, but then believes them: it ends the process over some contents,
 * walks the normaliser's double array without bounds, keeps at most 32 of its matches in an array whose end
 * it does not watch, and holds its pieces as C strings. So the file is read here first, by a reader of the
 * wire format that knows the few fields that matter (sentencepiece_model.proto) and skips the others. */
#include "model/text/sentencepiece.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/utf8.h"

#define MAX_PIECE       512u /* bytes; the trainer's own default is 16 characters */
#define MAX_SYMBOL      64u  /* bytes of a user-defined symbol: the library matches at most 64 that nest */
#define MAX_MATCHES     32u  /* normalisation rules that are prefixes of one another */
#define MAX_REPLACEMENT 256u /* bytes that a rule puts in: bounds how much a text can grow */
#define MAX_SAMPLE      65536u

enum wire { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };
enum model_field { PIECES = 1, TRAINER_SPEC = 2, NORMALIZER_SPEC = 3, SELF_TEST = 4, DENORMALIZER_SPEC = 5 };
enum piece_field { PIECE = 1, SCORE = 2, TYPE = 3 };
enum piece_type { USER_DEFINED = 4 };
enum trainer_field { MODEL_TYPE = 3 };
enum model_type { UNIGRAM = 1, BPE = 2 };
enum normalizer_field { CHARSMAP = 2 };
enum self_test_field { SAMPLES = 1 };

struct span {
    const uint8_t *at;
    size_t size;
};

/* One field of a message: `value` for numbers, `bytes` for strings and messages. */
struct field {
    uint64_t number;
    enum wire wire;
    uint64_t value;
    struct span bytes;
};

struct checker {
    struct span file;
    const char *where;
    struct limoe_error *err;
};

static enum limoe_status fail(const struct checker *c, const uint8_t *at, const char *what) {
    return limoe_fail(c->err, LIMOE_CORRUPT, "%s: %s at byte %zu of %zu", c->where, what,
                      (size_t)(at - c->file.at), c->file.size);
}

static bool take_varint(struct span *s, uint64_t *value) {
    *value = 0;
    for (unsigned shift = 0; shift < 64 && s->size > 0; shift += 7) {
        uint8_t byte = *s->at++;
        s->size--;
        *value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

static bool take(struct span *s, uint64_t n, struct span *taken) {
    if (n > s->size)
        return false;
    *taken = (struct span){s->at, (size_t)n};
    s->at += n;
    s->size -= (size_t)n;
    return true;
}

/* Takes one field off the front of a message. Groups, which the format has outlived, are refused. */
static bool take_field(struct span *s, struct field *f) {
    uint64_t key;
    if (!take_varint(s, &key))
        return false;
    *f = (struct field){.number = key >> 3, .wire = (enum wire)(key & 7)};
    if (f->number == 0 || f->number > 536870911)
        return false;
    switch (f->wire) {
    case VARINT:
        return take_varint(s, &f->value);
    case BYTES:
        return take_varint(s, &f->value) && take(s, f->value, &f->bytes);
    case FIXED32:
    case FIXED64:
        if (!take(s, f->wire == FIXED32 ? 4 : 8, &f->bytes))
            return false;
        for (size_t i = f->bytes.size; i > 0; i--)
            f->value = f->value << 8 | f->bytes.at[i - 1];
        return true;
    }
    return false;
}

static bool is_text(struct span s) {
    return utf8_check(s.at, s.size) == s.size && !memchr(s.at, 0, s.size);
}

static enum limoe_status check_piece(const struct checker *c, struct span message) {
    const uint8_t *start = message.at;
    struct span piece = {start, 0};
    uint64_t type = 0;
    struct field f;
    while (message.size > 0) {
        const uint8_t *at = message.at;
        if (!take_field(&message, &f))
            return fail(c, at, "a piece that does not parse");
        if (f.number == PIECE && f.wire == BYTES) {
            piece = f.bytes;
        } else if (f.number == SCORE && f.wire == FIXED32) {
            uint32_t bits = (uint32_t)f.value;
            float score;
            memcpy(&score, &bits, sizeof score);
            if (!isfinite(score))
                return fail(c, at, "a piece whose score is not finite");
        } else if (f.number == TYPE && f.wire == VARINT) {
            type = f.value;
        } else if (f.number <= TYPE) {
            return fail(c, at, "a piece with a field of the wrong type");
        }
    }
    if (piece.size == 0 || piece.size > MAX_PIECE || !is_text(piece))
        return fail(c, start, "a piece that is not 1 to 512 bytes of UTF-8 without NUL");
    if (type == USER_DEFINED && piece.size > MAX_SYMBOL)
        return fail(c, start, "a user-defined symbol of more than 64 bytes");
    return LIMOE_OK;
}

static enum limoe_status check_trainer_spec(const struct checker *c, struct span message) {
    struct field f;
    while (message.size > 0) {
        const uint8_t *at = message.at;
        if (!take_field(&message, &f))
            return fail(c, at, "a trainer_spec that does not parse");
        if (f.number == MODEL_TYPE && (f.wire != VARINT || (f.value != UNIGRAM && f.value != BPE))) {
            return limoe_fail(c->err, LIMOE_UNSUPPORTED,
                              "%s: the model's type is %llu; 1 (unigram) or 2 (BPE) is accepted", c->where,
                              (unsigned long long)f.value);
        }
    }
    return LIMOE_OK;
}

/* ---- the normaliser's rules: a double array (Darts) whose leaves point to NUL-terminated replacements */

#define NONE UINT32_MAX

/* One unit of the table, and what the walk below knows of it. */
struct unit {
    uint32_t bits;
    uint32_t below; /* on the stack: the unit under it, or NONE */
    bool waiting;   /* is it on the stack? */
    uint8_t best;   /* 1 + the most rules matched on a way here; 0: not reached */
};

static uint32_t read_u32(const uint8_t *b) {
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static bool unit_is_leaf(uint32_t unit) {
    return unit >> 31;
}

static bool unit_has_leaf(uint32_t unit) {
    return unit >> 8 & 1;
}

/* The children of unit i lie at i ^ offset ^ label, its leaf at label 0. */
static size_t unit_base(size_t i, uint32_t unit) {
    return i ^ ((size_t)(unit >> 10) << ((unit & (1u << 9)) >> 6));
}

static enum limoe_status check_replacement(const struct checker *c, struct span text, size_t at) {
    const uint8_t *start = text.at + at;
    if (at >= text.size || (at > 0 && text.at[at - 1] != 0))
        return fail(c, text.at, "a normalisation rule whose replacement is outside the text");
    const uint8_t *end = memchr(start, 0, text.size - at);
    if (!end || end - start > MAX_REPLACEMENT || !is_text((struct span){start, (size_t)(end - start)}))
        return fail(c, start, "a replacement that is not at most 256 bytes of UTF-8 with a NUL after it");
    return LIMOE_OK;
}

/* Follows every path that a text can take from the root. A unit is visited again only when `best` grows, so a
 * cycle with rules in it ends at MAX_MATCHES, and one without goes round once. */
static enum limoe_status walk(const struct checker *c, struct unit *unit, size_t n, const uint8_t *table,
                              struct span text) {
    uint32_t i = 0;
    unit[0].best = 1;
    unit[0].below = NONE;
    do {
        size_t base = unit_base(i, unit[i].bits);
        uint8_t before = unit[i].best;
        uint32_t top = unit[i].below;
        unit[i].waiting = false;
        if ((base | 0xFF) >= n)
            return fail(c, table + 4 * i, "a normalisation rule that leads outside its table");
        for (size_t label = 1; label < 256; label++) {
            size_t child = base ^ label;
            uint32_t bits = unit[child].bits;
            if (unit_is_leaf(bits) || (bits & 0xFF) != label)
                continue;
            uint8_t matched = before;
            if (unit_has_leaf(bits)) {
                size_t leaf = unit_base(child, bits);
                if (++matched > MAX_MATCHES + 1)
                    return fail(c, table + 4 * child, "more than 32 normalisation rules inside one another");
                if (leaf >= n)
                    return fail(c, table + 4 * child, "a normalisation rule that leads outside its table");
                enum limoe_status status = check_replacement(c, text, unit[leaf].bits & 0x7FFFFFFF);
                if (status != LIMOE_OK)
                    return status;
            }
            if (matched > unit[child].best) {
                unit[child].best = matched;
                if (!unit[child].waiting) {
                    unit[child].waiting = true;
                    unit[child].below = top;
                    top = (uint32_t)child;
                }
            }
        }
        i = top;
    } while (i != NONE);
    return LIMOE_OK;
}

static enum limoe_status check_charsmap(const struct checker *c, struct span map) {
    struct span table, text = map, length;
    if (map.size == 0)
        return LIMOE_OK; /* the identity */
    if (!take(&text, 4, &length) || !take(&text, read_u32(length.at), &table) || table.size % 4 != 0 ||
        table.size == 0 || text.size == 0 || text.at[text.size - 1] != 0)
        return fail(c, map.at, "a precompiled_charsmap that is not a table and its text");
    size_t n = table.size / 4;
    struct unit *unit = calloc(n, sizeof *unit);
    if (!unit) {
        return limoe_fail(c->err, LIMOE_NO_MEMORY, "%s: no memory to check %zu normalisation units", c->where,
                          n);
    }
    for (size_t i = 0; i < n; i++)
        unit[i].bits = read_u32(table.at + 4 * i);
    enum limoe_status status = walk(c, unit, n, table.at, text);
    free(unit);
    return status;
}

enum limoe_status sentencepiece_check_charsmap(const uint8_t *bytes, size_t size, const char *where,
                                               struct limoe_error *err) {
    const struct checker c = {.file = {bytes, size}, .where = where, .err = err};
    return check_charsmap(&c, c.file);
}

static enum limoe_status check_normalizer_spec(const struct checker *c, struct span message) {
    struct field f;
    while (message.size > 0) {
        const uint8_t *at = message.at;
        if (!take_field(&message, &f) || (f.number == CHARSMAP && f.wire != BYTES))
            return fail(c, at, "a normalizer_spec that does not parse");
        if (f.number == CHARSMAP) {
            enum limoe_status status = check_charsmap(c, f.bytes);
            if (status != LIMOE_OK)
                return status;
        }
    }
    return LIMOE_OK;
}

/* Loading encodes these samples, so they meet the same demands as a user's text. */
static enum limoe_status check_self_test(const struct checker *c, struct span message) {
    struct field f;
    while (message.size > 0) {
        const uint8_t *at = message.at;
        if (!take_field(&message, &f) || (f.number == SAMPLES && f.wire != BYTES))
            return fail(c, at, "self_test_data that does not parse");
        for (struct span sample = f.bytes; f.number == SAMPLES && sample.size > 0;) {
            struct field text;
            if (!take_field(&sample, &text) || text.wire != BYTES || text.bytes.size > MAX_SAMPLE ||
                !is_text(text.bytes))
                return fail(c, at, "a self-test sample that is not UTF-8");
        }
    }
    return LIMOE_OK;
}

enum limoe_status sentencepiece_check(const uint8_t *bytes, size_t size, const char *where,
                                      struct limoe_error *err) {
    const struct checker c = {.file = {bytes, size}, .where = where, .err = err};
    struct span message = c.file;
    struct field f;
    if (size == 0)
        return limoe_fail(err, LIMOE_CORRUPT, "%s: is empty", where);
    while (message.size > 0) {
        const uint8_t *at = message.at;
        enum limoe_status status = LIMOE_OK;
        if (!take_field(&message, &f))
            return fail(&c, at, "not a SentencePiece model: a field that does not parse");
        if (f.number > DENORMALIZER_SPEC)
            continue;
        if (f.wire != BYTES)
            return fail(&c, at, "not a SentencePiece model: a field of the wrong type");
        switch ((enum model_field)f.number) {
        case PIECES:
            status = check_piece(&c, f.bytes);
            break;
        case TRAINER_SPEC:
            status = check_trainer_spec(&c, f.bytes);
            break;
        case NORMALIZER_SPEC:
        case DENORMALIZER_SPEC:
            status = check_normalizer_spec(&c, f.bytes);
            break;
        case SELF_TEST:
            status = check_self_test(&c, f.bytes);
            break;
        }
        if (status != LIMOE_OK)
            return status;
    }
    return LIMOE_OK;
}
