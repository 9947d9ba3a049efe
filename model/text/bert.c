/* bert.c - the pieces are copied into the tokenizer; the files' bytes are the caller's. */
#include "model/text/bert.h"

#include <string.h>

#include "base/error.h"
#include "base/utf8.h"
#include "model/text/components.h"
#include "model/text/special.h"
#include "model/text/tokenizer_json.h"
#include "model/text/unicode.h"
#include "model/text/vocab_json.h"

static const struct special_names names = {.start_name = "cls_token",
                                           .start = "[CLS]",
                                           .end_name = "sep_token",
                                           .end = "[SEP]",
                                           .unknown = "[UNK]",
                                           .pad = "[PAD]",
                                           .mask = "[MASK]"};

static struct bpe_text *new_bert(const char *where, struct limoe_error *err) {
    struct bpe_text *t = bpe_text_new();
    if (!t) {
        limoe_fail(err, LIMOE_NO_MEMORY, "%s: no memory for a tokenizer", where);
        return NULL;
    }
    t->words = BPE_BERT_WORDS;
    t->clean = true;
    t->base.facts.kind = "WordPiece";
    return t;
}

static enum limoe_status fill(struct bpe_text *t, struct vocab *vocab, const struct folder_config *config,
                              const cJSON *listed, struct limoe_error *err) {
    struct tokenizer_facts *facts = &t->base.facts;
    int32_t unknown = -1;
    enum limoe_status status;
    if ((status = folder_config_switch(config, "do_lower_case", true, &t->lower, err)) ||
        (status = folder_config_switch(config, "tokenize_chinese_chars", true, &t->space_chinese, err)) ||
        (status = folder_config_switch(config, "strip_accents", t->lower, &t->strip_accents, err)) ||
        (status = special_add(t, vocab, config, listed, &names, err)) ||
        (status = vocab_check_ids(vocab, err)) ||
        (status = special_id(vocab, config, "cls_token", names.start, &facts->start, err)) ||
        (status = special_id(vocab, config, "sep_token", names.end, &facts->end, err)) ||
        (status = special_id(vocab, config, "pad_token", names.pad, &facts->pad, err)) ||
        (status = special_id(vocab, config, "unk_token", names.unknown, &unknown, err)) ||
        (status = folder_config_pad_left(config, false, &facts->pad_left, err)))
        return status;
    if (unknown < 0)
        return limoe_fail(err, LIMOE_CORRUPT, "%s: \"unk_token\" is null; a piece is accepted", vocab->where);
    t->unknown = (uint32_t)unknown;
    facts->vocab = vocab->end;
    t->pieces = wordpiece_new(vocab, err);
    return t->pieces ? LIMOE_OK : LIMOE_NO_MEMORY;
}

/* Hands the tokenizer over, or closes it. */
static enum limoe_status finish(struct bpe_text *t, struct vocab *vocab, enum limoe_status status,
                                struct tokenizer **out) {
    vocab_free(vocab);
    if (status == LIMOE_OK)
        *out = &t->base;
    else
        tokenizer_close(&t->base);
    return status;
}

/* The line without its end and the white space before that. */
static struct text next_line(struct text *rest) {
    const char *newline = memchr(rest->data, '\n', rest->size);
    struct text line = {.data = rest->data, .size = newline ? (size_t)(newline - rest->data) : rest->size};
    rest->data += line.size + (newline != NULL);
    rest->size -= line.size + (newline != NULL);
    for (size_t at = line.size; at > 0 && unicode_space(unicode_before(line, &at));)
        line.size = at;
    return line;
}

enum limoe_status bert_read_lines(const char *bytes, size_t size, const struct folder_config *config,
                                  struct tokenizer **out, struct limoe_error *err) {
    struct vocab vocab;
    struct text rest = {.data = bytes, .size = size};
    const size_t valid = utf8_check(bytes, size);
    if (valid < size)
        return limoe_fail(err, LIMOE_CORRUPT, VOCAB_TXT ": not UTF-8 at byte %zu", valid);
    struct bpe_text *t = new_bert(VOCAB_TXT, err);
    if (!t)
        return LIMOE_NO_MEMORY;
    enum limoe_status status = LIMOE_OK;
    vocab_init(&vocab, VOCAB_TXT);
    for (uint32_t id = 0; rest.size > 0 && status == LIMOE_OK; id++)
        status = vocab_add(&vocab, next_line(&rest), id, err);
    if (status == LIMOE_OK)
        status = fill(t, &vocab, config, NULL, err);
    return finish(t, &vocab, status, out);
}

enum limoe_status bert_read_json(struct json_scan *scan, const cJSON *root,
                                 const struct folder_config *config, struct tokenizer **out,
                                 struct limoe_error *err) {
    struct vocab vocab;
    enum limoe_status status = components_wordpiece(root, err);
    if (status != LIMOE_OK)
        return status;
    struct bpe_text *t = new_bert(TOKENIZER_JSON, err);
    if (!t)
        return LIMOE_NO_MEMORY;
    vocab_init(&vocab, TOKENIZER_JSON);
    status = vocab_json_read(scan, &vocab);
    if (status == LIMOE_OK)
        status = fill(t, &vocab, config, cJSON_GetObjectItemCaseSensitive(root, "added_tokens"), err);
    return finish(t, &vocab, status, out);
}
