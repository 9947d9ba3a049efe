/* tokenizer_json.c - the vocabulary and the merges by json_scan.h, all else by strict_json.h, from a copy of the
 * file without those two. */
#include "model/text/tokenizer_json.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/error.h"
#include "model/checkpoint/strict_json.h"
#include "model/text/bert.h"
#include "model/text/components.h"
#include "model/text/special.h"
#include "model/text/unigram.h"
#include "model/text/vocab_json.h"

/* The file, taken apart. */
struct parts {
    struct json_scan vocab, merges; /* begin at the two values; at NULL: not there */
    struct buffer rest;             /* the file with null in their places */
    const char *copied;             /* up to here */
};

/* ---- taking apart */

/* A key and its colon; the key as it is written, quotes and escapes included, since the bytes are parsed again. */
static enum limoe_status take_key(struct json_scan *scan, struct text *key) {
    if (json_scan_peek(scan) != '"')
        return json_scan_take(scan, '"');
    const char *const from = scan->at;
    enum limoe_status status = json_scan_skip(scan);
    *key = (struct text){.data = from, .size = (size_t)(scan->at - from)};
    return status == LIMOE_OK ? json_scan_take(scan, ':') : status;
}

static void cut(struct parts *parts, const char *from, const char *to) {
    buffer_bytes(&parts->rest, parts->copied, (size_t)(from - parts->copied));
    buffer_string(&parts->rest, "null");
    parts->copied = to;
}

static enum limoe_status find_large(struct json_scan *scan, struct parts *parts) {
    bool opened = false, more = false;
    enum limoe_status status = json_scan_take(scan, '{');
    if (status == LIMOE_OK)
        status = json_scan_more(scan, '}', &opened, &more);
    while (status == LIMOE_OK && more) {
        struct text key = {0};
        if ((status = take_key(scan, &key)))
            return status;
        json_scan_peek(scan);
        struct json_scan *large = text_is(key, "\"vocab\"")    ? &parts->vocab
                                  : text_is(key, "\"merges\"") ? &parts->merges
                                                               : NULL;
        const struct json_scan value = *scan;
        if ((status = json_scan_skip(scan)))
            return status;
        if (large) {
            *large = value;
            large->end = scan->at;
            cut(parts, value.at, scan->at);
        }
        status = json_scan_more(scan, '}', &opened, &more);
    }
    return status;
}

/* Keys that are there twice are found when the rest is parsed. */
static enum limoe_status take_apart(struct json_scan *scan, struct parts *parts) {
    bool opened = false, more = false;
    parts->copied = scan->start;
    enum limoe_status status = json_scan_take(scan, '{');
    if (status == LIMOE_OK)
        status = json_scan_more(scan, '}', &opened, &more);
    while (status == LIMOE_OK && more) {
        struct text key = {0};
        if ((status = take_key(scan, &key)))
            return status;
        status = text_is(key, "\"model\"") && json_scan_peek(scan) == '{' ? find_large(scan, parts)
                                                                          : json_scan_skip(scan);
        if (status == LIMOE_OK)
            status = json_scan_more(scan, '}', &opened, &more);
    }
    if (status == LIMOE_OK)
        status = json_scan_finish(scan);
    buffer_bytes(&parts->rest, parts->copied, (size_t)(scan->end - parts->copied));
    return status;
}

/* ---- putting together */

static const struct special_names clip_names = {
    .start = "<|startoftext|>", .end = "<|endoftext|>", .unknown = "<|endoftext|>", .pad = "<|endoftext|>"};
static const struct special_names gemma_names = {
    .start = "<bos>", .end = "<eos>", .unknown = "<unk>", .pad = "<pad>"};

static enum limoe_status read_tables(struct bpe_text *t, struct parts *parts, struct vocab *vocab,
                                     const struct folder_config *config, const cJSON *root,
                                     struct limoe_error *err) {
    struct merge_list merges = {0};
    const cJSON *listed = cJSON_GetObjectItemCaseSensitive(root, "added_tokens");
    enum limoe_status status;
    if ((status = vocab_json_read(&parts->vocab, vocab)) ||
        (status = vocab_json_read_merges(&parts->merges, vocab, &merges)) ||
        (status = special_add(t, vocab, config, listed, t->bytes ? &clip_names : &gemma_names, err)) ||
        (status = vocab_check_ids(vocab, err)) || (status = bpe_text_symbols(t, vocab, err)))
        goto out;
    status = bpe_init(&t->bpe, merges.at, merges.n, vocab->end, TOKENIZER_JSON, err);
out:
    free(merges.at);
    return status;
}

/* CLIPTokenizer puts its start and end around a text whatever the file says; so they must agree. */
static enum limoe_status frame_clip(struct bpe_text *t, const struct vocab *vocab,
                                    const struct folder_config *config, const cJSON *root,
                                    struct limoe_error *err) {
    struct tokenizer_facts *facts = &t->base.facts;
    int32_t start = -1, end = -1;
    enum limoe_status status;
    if ((status = special_id(vocab, config, "bos_token", clip_names.start, &facts->start, err)) ||
        (status = special_id(vocab, config, "eos_token", clip_names.end, &facts->end, err)) ||
        (status = special_id(vocab, config, "pad_token", clip_names.pad, &facts->pad, err)) ||
        (status = components_frame(root, &start, &end, err)))
        return status;
    if ((start >= 0 || end >= 0) && (start != facts->start || end != facts->end)) {
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          TOKENIZER_JSON ": \"post_processor\" puts the ids %d and %d around a text, and the "
                                         "tokenizer's start and end are %d and %d",
                          start, end, facts->start, facts->end);
    }
    facts->kind = "CLIP BPE";
    return folder_config_pad_left(config, false, &facts->pad_left, err);
}

/* What tokenizer_config.json switches on must be what the file does: of transformers, version 4 goes by the one,
 * version 5 by the other. */
static enum limoe_status check_switch(const struct folder_config *config, const char *name, int32_t id,
                                      struct limoe_error *err) {
    bool on = false;
    enum limoe_status status = folder_config_switch(config, name, id >= 0, &on, err);
    if (status == LIMOE_OK && on != (id >= 0)) {
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          TOKENIZER_CONFIG ": \"%s\" is %s, but \"post_processor\" of " TOKENIZER_JSON
                                           " %s such a token",
                          name, on ? "true" : "false", on ? "has no" : "has");
    }
    return status;
}

static enum limoe_status frame_gemma(struct bpe_text *t, const struct vocab *vocab,
                                     const struct folder_config *config, const cJSON *root,
                                     struct limoe_error *err) {
    struct tokenizer_facts *facts = &t->base.facts;
    bool lower = false;
    enum limoe_status status;
    if ((status = special_id(vocab, config, "pad_token", gemma_names.pad, &facts->pad, err)) ||
        (status = folder_config_lower(config, &lower, err)) ||
        (status = components_frame(root, &facts->start, &facts->end, err)) ||
        (status = check_switch(config, "add_bos_token", facts->start, err)) ||
        (status = check_switch(config, "add_eos_token", facts->end, err)))
        return status;
    t->lower = t->lower || lower;
    facts->kind = "Gemma BPE";
    return folder_config_pad_left(config, components_pad_left(root), &facts->pad_left, err);
}

static enum limoe_status set_unknown(struct bpe_text *t, const struct vocab *vocab,
                                     const struct folder_config *config, const cJSON *root,
                                     struct limoe_error *err) {
    const cJSON *model = cJSON_GetObjectItemCaseSensitive(root, "model");
    const char *missing = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(model, "unk_token"));
    int32_t id;
    enum limoe_status status = special_id(vocab, config, "unk_token", missing, &id, err);
    t->unknown = id >= 0 ? (uint32_t)id : BPE_NO_ID;
    return status;
}

static enum limoe_status check_ids(const struct bpe_text *t, struct limoe_error *err) {
    const int32_t end = (int32_t)t->base.facts.vocab;
    if (t->base.facts.start >= end || t->base.facts.end >= end) {
        return limoe_fail(err, LIMOE_CORRUPT,
                          TOKENIZER_JSON ": \"post_processor\" has the id %d or %d; there are %d",
                          t->base.facts.start, t->base.facts.end, end);
    }
    return LIMOE_OK;
}

static enum limoe_status put_together(struct bpe_text *t, struct parts *parts, const cJSON *root,
                                      const struct folder_config *config, struct limoe_error *err) {
    struct vocab vocab;
    enum limoe_status status = components_read(root, t, err);
    if (status != LIMOE_OK)
        return status;
    if (!parts->vocab.at || !parts->merges.at) {
        return limoe_fail(err, LIMOE_CORRUPT, TOKENIZER_JSON ": \"model\" has no \"%s\"",
                          parts->vocab.at ? "merges" : "vocab");
    }
    vocab_init(&vocab, TOKENIZER_JSON);
    status = read_tables(t, parts, &vocab, config, root, err);
    if (status == LIMOE_OK)
        status = set_unknown(t, &vocab, config, root, err);
    if (status == LIMOE_OK)
        status =
            t->bytes ? frame_clip(t, &vocab, config, root, err) : frame_gemma(t, &vocab, config, root, err);
    t->base.facts.vocab = vocab.end;
    vocab_free(&vocab);
    return status == LIMOE_OK ? check_ids(t, err) : status;
}

static bool is_model(const cJSON *root, const char *name) {
    const cJSON *type =
        cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(root, "model"), "type");
    return cJSON_IsString(type) && strcmp(type->valuestring, name) == 0;
}

enum limoe_status tokenizer_json_read(char *bytes, size_t size, const struct folder_config *config,
                                      struct tokenizer **out, struct limoe_error *err) {
    struct parts parts = {0};
    struct json_scan scan;
    cJSON *root = NULL;
    struct bpe_text *t = NULL;
    enum limoe_status status = json_scan_begin(&scan, bytes, size, TOKENIZER_JSON, err);
    if (status == LIMOE_OK)
        status = take_apart(&scan, &parts);
    if (status == LIMOE_OK && parts.rest.failed)
        status = limoe_fail(err, LIMOE_NO_MEMORY, TOKENIZER_JSON ": no memory for %zu bytes", size);
    if (status == LIMOE_OK)
        status = strict_json_parse(parts.rest.data, parts.rest.size, TOKENIZER_JSON, &root, err);
    if (status == LIMOE_OK && parts.vocab.at && is_model(root, "Unigram")) {
        status = unigram_read(&parts.vocab, root, config, out, err);
        goto out;
    }
    if (status == LIMOE_OK && parts.vocab.at && is_model(root, "WordPiece")) {
        status = bert_read_json(&parts.vocab, root, config, out, err);
        goto out;
    }
    if (status == LIMOE_OK && !(t = bpe_text_new()))
        status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a tokenizer");
    if (status == LIMOE_OK && t)
        status = put_together(t, &parts, root, config, err);
    if (status == LIMOE_OK && t)
        *out = &t->base;
    else if (t)
        tokenizer_close(&t->base);
out:
    cJSON_Delete(root);
    buffer_free(&parts.rest);
    return status;
}
