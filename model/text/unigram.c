/* unigram.c - Viterbi over a word's bytes. The tokenizer owns its pieces, a call of encode the paths of one word. */
#include "model/text/unigram.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/error.h"
#include "model/checkpoint/strict_json.h"
#include "model/text/charsmap.h"
#include "model/text/components.h"
#include "model/text/tokenizer_json.h"
#include "model/text/tokenizer_kind.h"
#include "model/text/unicode.h"
#include "model/text/vocab.h"

#define MAX_PIECE       128  /* bytes: bounds the search at each place of a text */
#define UNKNOWN_PENALTY 10.0 /* an unknown character's score is this much below the least */
#define UNDERLINE       "\xE2\x96\x81"
#define NO_ID           UINT32_MAX

struct piece {
    uint32_t at, size; /* in `bytes` */
    uint32_t id;
    double score;
};

struct unigram {
    struct tokenizer base;
    struct charsmap charsmap;
    char *bytes;         /* all pieces' texts */
    struct piece *piece; /* [n], by text */
    uint32_t n;
    uint32_t first[257]; /* of each first byte; [256]: n */
    uint32_t unknown;
    double unknown_score;
};

/* The best way to a place in a word, and its last piece. */
struct path {
    double score;
    uint32_t from; /* NO_ID: no way yet */
    uint32_t id;
};

struct run {
    const struct unigram *t;
    struct path *path; /* [room] */
    size_t room;
    struct buffer normal, word;
    int32_t *ids;
    uint32_t capacity, count;
    struct limoe_error *err;
};

/* ---- a word */

static void offer(struct path *path, double score, size_t from, uint32_t id) {
    if (path->from == NO_ID || score > path->score)
        *path = (struct path){.score = score, .from = (uint32_t)from, .id = id};
}

/* The first piece of [low, high) whose byte `depth` is not below `byte`. */
static uint32_t bound(const struct unigram *t, uint32_t low, uint32_t high, uint32_t depth, unsigned byte) {
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const struct piece *piece = &t->piece[middle];
        if (piece->size <= depth || (unsigned char)t->bytes[piece->at + depth] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Offers each piece that begins word[at]; returns whether one is the `character` bytes there. */
static bool offer_pieces(struct run *run, struct text word, size_t at, size_t character) {
    const struct unigram *t = run->t;
    const unsigned char first = (unsigned char)word.data[at];
    uint32_t low = t->first[first], high = t->first[first + 1];
    bool single = false;
    for (uint32_t depth = 1; low < high; depth++) {
        const struct piece *piece = &t->piece[low];
        if (piece->size == depth) {
            offer(&run->path[at + depth], run->path[at].score + piece->score, at, piece->id);
            single = single || depth == character;
        }
        if (at + depth >= word.size)
            break;
        const unsigned char byte = (unsigned char)word.data[at + depth];
        low = bound(t, low, high, depth, byte);
        high = bound(t, low, high, depth, byte + 1u);
    }
    return single;
}

static bool make_room(struct run *run, size_t size) {
    if (size + 1 > run->room) {
        struct path *path = realloc(run->path, (size + 1) * 2 * sizeof *path);
        if (!path)
            return false;
        run->path = path;
        run->room = (size + 1) * 2;
    }
    for (size_t i = 0; i <= size; i++)
        run->path[i].from = NO_ID;
    run->path[0] = (struct path){.score = 0, .from = 0};
    return true;
}

/* Turns the way back from the end into the way there: afterwards `from` is the next place. */
static void turn(struct path *path, size_t end) {
    uint32_t next = NO_ID, id = NO_ID;
    for (size_t at = end;;) {
        const uint32_t from = path[at].from, own = path[at].id;
        path[at].from = next;
        path[at].id = id;
        if (at == 0)
            return;
        next = (uint32_t)at;
        id = own;
        at = from;
    }
}

static enum limoe_status encode_word(struct run *run, struct text word) {
    const struct unigram *t = run->t;
    if (word.size >= NO_ID || !make_room(run, word.size))
        return limoe_fail(run->err, LIMOE_NO_MEMORY, "no memory for a word of %zu bytes", word.size);
    for (size_t at = 0, next = 0; at < word.size; at = next) {
        unicode_next(word, &next);
        if (!offer_pieces(run, word, at, next - at))
            offer(&run->path[next], run->path[at].score + t->unknown_score, at, t->unknown);
    }
    turn(run->path, word.size);
    bool unknown = false; /* unknown ones side by side are one */
    for (uint32_t at = 0; run->path[at].from != NO_ID && run->count < run->capacity;
         at = run->path[at].from) {
        const uint32_t id = run->path[at].id;
        if (id != t->unknown || !unknown)
            run->ids[run->count++] = (int32_t)id;
        unknown = id == t->unknown;
    }
    return LIMOE_OK;
}

/* ---- a text */

/* Each word with U+2581 before it, unless it begins with one; and cut before each other one. */
static enum limoe_status encode_spaced(struct run *run, struct text word) {
    enum limoe_status status = LIMOE_OK;
    run->word.size = 0;
    if (word.size < 3 || memcmp(word.data, UNDERLINE, 3) != 0)
        buffer_string(&run->word, UNDERLINE);
    buffer_bytes(&run->word, word.data, word.size);
    if (run->word.failed)
        return limoe_fail(run->err, LIMOE_NO_MEMORY, "no memory for a word of %zu bytes", word.size);
    const struct text whole = {.data = run->word.data, .size = run->word.size};
    for (size_t at = 0, end = 0; at < whole.size && status == LIMOE_OK; at = end) {
        unicode_next(whole, &end);
        for (size_t next = end; end < whole.size && unicode_next(whole, &next) != 0x2581;)
            end = next;
        status = encode_word(run, (struct text){.data = whole.data + at, .size = end - at});
    }
    return status;
}

static enum limoe_status encode_words(struct run *run, struct text text) {
    enum limoe_status status = LIMOE_OK;
    for (size_t at = 0, end; at < text.size && status == LIMOE_OK && run->count < run->capacity; at = end) {
        size_t next = at;
        end = at;
        while (end < text.size && !unicode_space(unicode_next(text, &next)))
            end = next;
        if (end > at)
            status = encode_spaced(run, (struct text){.data = text.data + at, .size = end - at});
        end = end < text.size ? next : end;
    }
    return status;
}

static enum limoe_status encode(const struct tokenizer *tokenizer, struct text text, int32_t *ids,
                                uint32_t capacity, uint32_t *count, struct limoe_error *err) {
    struct run run = {.t = (const struct unigram *)tokenizer, .ids = ids, .capacity = capacity, .err = err};
    charsmap_apply(&run.t->charsmap, text, &run.normal);
    const enum limoe_status status =
        run.normal.failed
            ? limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a text of %zu bytes", text.size)
            : encode_words(&run, (struct text){.data = run.normal.data, .size = run.normal.size});
    *count = run.count;
    buffer_free(&run.normal);
    buffer_free(&run.word);
    free(run.path);
    return status;
}

/* ---- opening */

static void close_tokenizer(struct tokenizer *tokenizer) {
    struct unigram *t = (struct unigram *)tokenizer;
    charsmap_free(&t->charsmap);
    free(t->bytes);
    free(t->piece);
    free(t);
}

static const struct tokenizer_kind kind = {.close = close_tokenizer, .encode = encode};

static int compare_pieces(const void *a, const void *b, void *bytes) {
    const struct piece *x = a, *y = b;
    const int order =
        memcmp((char *)bytes + x->at, (char *)bytes + y->at, x->size < y->size ? x->size : y->size);
    if (order != 0)
        return order;
    return x->size < y->size ? -1 : x->size > y->size;
}

static enum limoe_status add_piece(struct unigram *t, struct vocab *vocab, struct text text, double score,
                                   size_t *used, struct limoe_error *err) {
    char quoted[80];
    enum limoe_status status = vocab_add(vocab, text, t->n, err);
    if (status != LIMOE_OK)
        return status;
    if (text.size == 0 || text.size > MAX_PIECE) {
        return limoe_fail(err, LIMOE_CORRUPT,
                          TOKENIZER_JSON ": the piece \"%s\" has %zu bytes; accepted: 1 to %d",
                          text_quote(text, quoted, sizeof quoted), text.size, MAX_PIECE);
    }
    if ((t->n & (t->n - 1)) == 0) {
        struct piece *piece = realloc(t->piece, (t->n > 0 ? 2 * (size_t)t->n : 1) * sizeof *piece);
        if (!piece)
            return limoe_fail(err, LIMOE_NO_MEMORY, TOKENIZER_JSON ": no memory for %u pieces", t->n);
        t->piece = piece;
    }
    memcpy(t->bytes + *used, text.data, text.size);
    t->piece[t->n] =
        (struct piece){.at = (uint32_t)*used, .size = (uint32_t)text.size, .id = t->n, .score = score};
    *used += text.size;
    t->n++;
    return LIMOE_OK;
}

static enum limoe_status read_pieces(struct unigram *t, struct json_scan *scan, struct vocab *vocab,
                                     struct limoe_error *err) {
    bool opened = false, more = false;
    size_t used = 0;
    double least = DBL_MAX;
    enum limoe_status status = json_scan_take(scan, '[');
    if (status == LIMOE_OK)
        status = json_scan_more(scan, ']', &opened, &more);
    while (status == LIMOE_OK && more) {
        struct text text = {0};
        double score = 0;
        if ((status = json_scan_take(scan, '[')) || (status = json_scan_string(scan, &text)) ||
            (status = json_scan_take(scan, ',')) || (status = json_scan_number(scan, &score)) ||
            (status = json_scan_take(scan, ']')) || (status = add_piece(t, vocab, text, score, &used, err)))
            return status;
        least = score < least ? score : least;
        status = json_scan_more(scan, ']', &opened, &more);
    }
    t->unknown_score = least - UNKNOWN_PENALTY;
    return status;
}

static void index_pieces(struct unigram *t) {
    uint32_t at = 0;
    if (t->n > 0)
        qsort_r(t->piece, t->n, sizeof *t->piece, compare_pieces, t->bytes);
    for (unsigned byte = 0; byte <= 256; byte++) {
        while (at < t->n && (unsigned char)t->bytes[t->piece[at].at] < byte)
            at++;
        t->first[byte] = at;
    }
}

static enum limoe_status fill(struct unigram *t, struct json_scan *scan, struct vocab *vocab,
                              const cJSON *root, const struct folder_config *config,
                              struct limoe_error *err) {
    struct tokenizer_facts *facts = &t->base.facts;
    const char *charsmap = NULL;
    const char *pad = NULL;
    enum limoe_status status;
    if ((status = components_unigram(root, &charsmap, &t->unknown, err)) ||
        (status = charsmap_read(&t->charsmap, charsmap ? charsmap : "", TOKENIZER_JSON, err)) ||
        (status = read_pieces(t, scan, vocab, err)) ||
        (status = components_frame(root, &facts->start, &facts->end, err)) ||
        (status = folder_config_token(config, "pad_token", "<pad>", &pad, err)) ||
        (status = folder_config_pad_left(config, false, &facts->pad_left, err)))
        return status;
    const struct vocab_piece *piece = pad ? vocab_find(vocab, text_of(pad)) : NULL;
    if (!piece || t->unknown >= t->n || facts->start >= (int32_t)t->n || facts->end >= (int32_t)t->n) {
        return limoe_fail(err, LIMOE_CORRUPT,
                          TOKENIZER_JSON
                          ": \"pad_token\", \"unk_id\" or \"post_processor\" names a piece beyond its %u",
                          t->n);
    }
    facts->pad = (int32_t)piece->id;
    facts->vocab = t->n;
    index_pieces(t);
    return LIMOE_OK;
}

enum limoe_status unigram_read(struct json_scan *scan, const cJSON *root, const struct folder_config *config,
                               struct tokenizer **out, struct limoe_error *err) {
    struct vocab vocab;
    if (!config->open_clip || config->clean != CLEAN_CANONICALIZE) {
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          TOKENIZER_JSON
                          ": \"model\" is Unigram, which is accepted in an OpenCLIP folder with "
                          "\"clean\": \"canonicalize\"; SigLIP of Hugging Face has a spiece.model");
    }
    struct unigram *t = calloc(1, sizeof *t);
    if (t)
        t->bytes = malloc((size_t)(scan->end - scan->at) + 1);
    if (!t || !t->bytes) {
        free(t);
        return limoe_fail(err, LIMOE_NO_MEMORY, TOKENIZER_JSON ": no memory for a tokenizer");
    }
    t->base.kind = &kind;
    t->base.facts = (struct tokenizer_facts){.kind = "Unigram", .start = -1, .end = -1, .pad = -1};
    vocab_init(&vocab, TOKENIZER_JSON);
    const enum limoe_status status = fill(t, scan, &vocab, root, config, err);
    vocab_free(&vocab);
    if (status == LIMOE_OK)
        *out = &t->base;
    else
        close_tokenizer(&t->base);
    return status;
}
