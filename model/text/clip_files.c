/* clip_files.c - lines of "a b", whose order is their rank. Texts stay in the files' bytes, or in the run of bytes
 * that a builder owns; the tokenizer keeps neither. */
#include "model/text/clip_files.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/utf8.h"
#include "model/text/special.h"
#include "model/text/unicode.h"
#include "model/text/vocab_json.h"

#define SIMPLE_MERGES 48894u /* 49152 - 256 - 2: as many as open_clip takes */

static const struct special_names names = {
    .start = "<|startoftext|>", .end = "<|endoftext|>", .unknown = "<|endoftext|>", .pad = "<|endoftext|>"};

/* ---- lines */

/* The next line without its end; false: there is none. Behind a last newline there is none. */
static bool next_line(struct text *rest, struct text *line) {
    if (rest->size == 0)
        return false;
    const char *newline = memchr(rest->data, '\n', rest->size);
    const size_t size = newline ? (size_t)(newline - rest->data) : rest->size;
    *line = (struct text){.data = rest->data, .size = size};
    if (newline && size > 0 && line->data[size - 1] == '\r')
        line->size--;
    rest->data += size + (newline != NULL);
    rest->size -= size + (newline != NULL);
    return true;
}

static enum limoe_status read_merge(struct text line, size_t number, const char *where, struct text *left,
                                    struct text *right, struct limoe_error *err) {
    const char *space = line.size > 0 ? memchr(line.data, ' ', line.size) : NULL;
    const size_t at = space ? (size_t)(space - line.data) : line.size;
    *left = (struct text){.data = line.data, .size = at};
    *right = space ? (struct text){.data = space + 1, .size = line.size - at - 1} : (struct text){0};
    if (at == 0 || !space || right->size == 0 || memchr(right->data, ' ', right->size)) {
        char quoted[80];
        return limoe_fail(err, LIMOE_CORRUPT,
                          "%s: line %zu is \"%s\"; two pieces with one space between are accepted", where,
                          number, text_quote(line, quoted, sizeof quoted));
    }
    return LIMOE_OK;
}

static enum limoe_status check_utf8(const char *bytes, size_t size, const char *where,
                                    struct limoe_error *err) {
    const size_t valid = utf8_check(bytes, size);
    if (valid == size)
        return LIMOE_OK;
    return limoe_fail(err, LIMOE_CORRUPT, "%s: not UTF-8 at byte %zu", where, valid);
}

/* ---- Hugging Face's */

static enum limoe_status read_merges(struct text rest, const struct vocab *vocab, struct merge_list *merges,
                                     struct limoe_error *err) {
    struct text line, left, right;
    enum limoe_status status = check_utf8(rest.data, rest.size, MERGES_TXT, err);
    for (size_t number = 1; status == LIMOE_OK && next_line(&rest, &line); number++) {
        if (line.size >= 8 && memcmp(line.data, "#version", 8) == 0)
            continue;
        status = read_merge(line, number, MERGES_TXT, &left, &right, err);
        if (status == LIMOE_OK)
            status = vocab_json_add_merge(merges, vocab, left, right, MERGES_TXT, err);
    }
    return status;
}

/* What CLIPTokenizer does to a text. */
static struct bpe_text *new_clip(void) {
    struct bpe_text *t = bpe_text_new();
    if (!t)
        return NULL;
    t->nfc = t->collapse = t->lower = true;
    t->words = BPE_CLIP_WORDS;
    t->literals = SPLIT_HUGGING_FACE;
    t->literal_parts = true;
    t->bytes = true;
    t->base.facts.kind = "CLIP BPE";
    return t;
}

static enum limoe_status fill_clip(struct bpe_text *t, struct json_scan *scan, struct text merges_file,
                                   struct vocab *vocab, struct merge_list *merges,
                                   const struct folder_config *config, struct limoe_error *err) {
    struct tokenizer_facts *facts = &t->base.facts;
    int32_t unknown = -1;
    enum limoe_status status;
    if ((status = vocab_json_read(scan, vocab)) || (status = json_scan_finish(scan)) ||
        (status = read_merges(merges_file, vocab, merges, err)) ||
        (status = special_add(t, vocab, config, NULL, &names, err)) ||
        (status = vocab_check_ids(vocab, err)) || (status = bpe_text_symbols(t, vocab, err)) ||
        (status = special_id(vocab, config, "bos_token", names.start, &facts->start, err)) ||
        (status = special_id(vocab, config, "eos_token", names.end, &facts->end, err)) ||
        (status = special_id(vocab, config, "pad_token", names.pad, &facts->pad, err)) ||
        (status = special_id(vocab, config, "unk_token", names.unknown, &unknown, err)) ||
        (status = folder_config_pad_left(config, false, &facts->pad_left, err)))
        return status;
    t->unknown = unknown >= 0 ? (uint32_t)unknown : BPE_NO_ID;
    facts->vocab = vocab->end;
    return bpe_init(&t->bpe, merges->at, merges->n, vocab->end, MERGES_TXT, err);
}

enum limoe_status clip_files_read(char *vocab_bytes, size_t vocab_size, const char *merges_bytes,
                                  size_t merges_size, const struct folder_config *config,
                                  struct tokenizer **out, struct limoe_error *err) {
    struct vocab vocab;
    struct merge_list merges = {0};
    struct json_scan scan;
    struct bpe_text *t = new_clip();
    if (!t)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a tokenizer");
    vocab_init(&vocab, VOCAB_JSON);
    enum limoe_status status = json_scan_begin(&scan, vocab_bytes, vocab_size, VOCAB_JSON, err);
    if (status == LIMOE_OK) {
        status = fill_clip(t, &scan, (struct text){.data = merges_bytes, .size = merges_size}, &vocab,
                           &merges, config, err);
    }
    free(merges.at);
    vocab_free(&vocab);
    if (status == LIMOE_OK)
        *out = &t->base;
    else
        tokenizer_close(&t->base);
    return status;
}

/* ---- OpenCLIP's */

/* The texts of a vocabulary that no file has. */
struct builder {
    struct vocab vocab;
    char *bytes; /* [room], owned; does not move, since pieces point into it */
    size_t used, room;
    const char *name;
    struct limoe_error *err;
};

static enum limoe_status add_piece(struct builder *builder, struct text left, struct text right) {
    char *to = builder->bytes + builder->used;
    if (left.size + right.size > builder->room - builder->used) {
        return limoe_fail(builder->err, LIMOE_CORRUPT, "%s: its merges make more than %zu bytes of pieces",
                          builder->name, builder->room);
    }
    memcpy(to, left.data, left.size);
    if (right.size > 0)
        memcpy(to + left.size, right.data, right.size);
    builder->used += left.size + right.size;
    return vocab_add(&builder->vocab, (struct text){.data = to, .size = left.size + right.size},
                     (uint32_t)builder->vocab.size, builder->err);
}

/* The bytes in the order of bytes_to_unicode: the printable ones, then the others; then all with an end behind. */
static enum limoe_status add_bytes(struct builder *builder) {
    enum limoe_status status = LIMOE_OK;
    for (int end = 0; end < 2; end++) {
        for (int printable = 1; printable >= 0; printable--) {
            for (unsigned byte = 0; byte < 256 && status == LIMOE_OK; byte++) {
                char letter[4];
                const struct text piece = bpe_byte_letter(byte, letter);
                if (bpe_byte_printable(byte) == (printable == 1))
                    status = add_piece(builder, piece, text_of(end ? "</w>" : ""));
            }
        }
    }
    return status;
}

/* Each piece must be made of pieces that stand before it and be new: then taking pairs by rank and place, as
 * bpe.h does, gives what open_clip's loop gives. */
static enum limoe_status add_merges(struct builder *builder, struct text rest, struct merge_list *merges) {
    struct text line, left, right;
    next_line(&rest, &line); /* a heading */
    enum limoe_status status = LIMOE_OK;
    for (uint32_t n = 0; status == LIMOE_OK && n < SIMPLE_MERGES && next_line(&rest, &line); n++) {
        status = read_merge(line, n + 2, builder->name, &left, &right, builder->err);
        if (status == LIMOE_OK &&
            (!vocab_find(&builder->vocab, left) || !vocab_find(&builder->vocab, right))) {
            char quoted[80];
            status = limoe_fail(builder->err, LIMOE_CORRUPT,
                                "%s: line %u merges \"%s\", which no line before it makes", builder->name,
                                n + 2, text_quote(line, quoted, sizeof quoted));
        }
        if (status == LIMOE_OK)
            status = add_piece(builder, left, right);
        if (status == LIMOE_OK)
            status = vocab_json_add_merge(merges, &builder->vocab, left, right, builder->name, builder->err);
    }
    return status;
}

static enum limoe_status build(struct builder *builder, struct bpe_text *t, struct text file,
                               struct merge_list *merges) {
    struct tokenizer_facts *facts = &t->base.facts;
    enum limoe_status status = check_utf8(file.data, file.size, builder->name, builder->err);
    if (status != LIMOE_OK || (status = add_bytes(builder)) || (status = add_merges(builder, file, merges)))
        return status;
    /* SimpleTokenizer splits its file at newlines: one at the end of a file with few merges makes another piece, an
     * empty one, which takes an id. */
    uint32_t next = (uint32_t)builder->vocab.size;
    if (merges->n < SIMPLE_MERGES && file.size > 0 && file.data[file.size - 1] == '\n')
        next++;
    facts->start = t->literal_ids[0] = (int32_t)next;
    facts->end = t->literal_ids[1] = (int32_t)next + 1;
    facts->vocab = next + 2;
    facts->pad = 0;
    if ((status = bpe_text_symbols(t, &builder->vocab, builder->err)))
        return status;
    return bpe_init(&t->bpe, merges->at, merges->n, facts->vocab, builder->name, builder->err);
}

enum limoe_status clip_files_read_simple(const char *bytes, size_t size, const char *name,
                                         const struct folder_config *config, struct tokenizer **out,
                                         struct limoe_error *err) {
    /* A piece is as long as its line less a space, or much longer in a file that was made for it. */
    struct builder builder = {.room = size * 4 + 8192, .name = name, .err = err};
    struct merge_list merges = {0};
    struct bpe_text *t = bpe_text_new();
    enum limoe_status status = LIMOE_NO_MEMORY;
    builder.bytes = malloc(builder.room);
    vocab_init(&builder.vocab, name);
    if (!t || !builder.bytes) {
        limoe_fail(err, status, "%s: no memory for a tokenizer", name);
    } else {
        t->words = BPE_CLIP_WORDS;
        t->literals = SPLIT_OPENCLIP;
        t->bytes = true;
        t->base.facts.kind = "CLIP BPE";
        t->base.facts.length = config->context_length;
        t->base.clean = config->clean;
        status = build(&builder, t, (struct text){.data = bytes, .size = size}, &merges);
    }
    free(merges.at);
    vocab_free(&builder.vocab);
    free(builder.bytes);
    if (status == LIMOE_OK)
        *out = &t->base;
    else if (t)
        tokenizer_close(&t->base);
    return status;
}
