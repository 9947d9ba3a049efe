/* special.c - which texts are tokens by themselves, and what their ids are. */
#include "model/text/special.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/error.h"
#include "model/checkpoint/strict_json.h"
#include "model/text/tokenizer_json.h"

/* One entry of "added_tokens_decoder" or "added_tokens". */
struct entry {
    struct text text;
    uint32_t id;
    bool left, right, normalized;
};

static bool read_flag(const cJSON *item, const char *name, bool *flag) {
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(item, name);
    *flag = cJSON_IsTrue(value);
    return !value || cJSON_IsBool(value);
}

static enum limoe_status read_entry(const cJSON *item, uint32_t id, const char *where, struct entry *entry,
                                    struct limoe_error *err) {
    bool single = false;
    const cJSON *content = cJSON_GetObjectItemCaseSensitive(item, "content");
    if (!cJSON_IsString(content) || !read_flag(item, "lstrip", &entry->left) ||
        !read_flag(item, "rstrip", &entry->right) || !read_flag(item, "normalized", &entry->normalized) ||
        !read_flag(item, "single_word", &single)) {
        return limoe_fail(
            err, LIMOE_CORRUPT,
            "%s: the added token %u needs \"content\", a string; \"lstrip\", \"rstrip\", \"normalized\" "
            "and \"single_word\" are true or false",
            where, id);
    }
    if (single) {
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          "%s: the added token %u has \"single_word\": true; false is accepted", where, id);
    }
    entry->text = text_of(content->valuestring);
    entry->id = id;
    return LIMOE_OK;
}

/* Decimal digits alone. */
static bool read_key(const char *key, uint32_t *id) {
    char *end = NULL;
    const unsigned long value = strtoul(key, &end, 10);
    *id = (uint32_t)value;
    return key[0] >= '0' && key[0] <= '9' && *end == '\0' && value < VOCAB_MAX;
}

static bool is_added(const struct bpe_text *t, const struct vocab *vocab, struct text text) {
    const struct vocab_piece *piece = vocab_find(vocab, text);
    for (size_t i = 0; piece && i < t->raw.n; i++)
        if (t->raw.token[i].id == piece->id)
            return true;
    for (size_t i = 0; piece && i < t->normalized.n; i++)
        if (t->normalized.token[i].id == piece->id)
            return true;
    return false;
}

/* A token that is matched after the normaliser is normalised itself. */
static enum limoe_status add_normalized(struct bpe_text *t, const struct entry *entry, const char *where,
                                        struct limoe_error *err) {
    struct buffer normal = {0}, scratch = {0};
    bpe_text_normalize(t, entry->text, &normal, &scratch);
    enum limoe_status status = LIMOE_NO_MEMORY;
    if (normal.failed || scratch.failed) {
        limoe_fail(err, status, "%s: no memory for an added token", where);
    } else {
        const struct text text = {.data = normal.data, .size = normal.size};
        status = added_add(&t->normalized, text, entry->id, entry->left, entry->right, where, err);
    }
    buffer_free(&normal);
    buffer_free(&scratch);
    return status;
}

static enum limoe_status add_entry(struct bpe_text *t, struct vocab *vocab, const struct entry *entry,
                                   const char *where, struct limoe_error *err) {
    const struct vocab_piece *piece = vocab_find(vocab, entry->text);
    if (piece && piece->id != entry->id) {
        char quoted[80];
        return limoe_fail(err, LIMOE_CORRUPT, "%s: the added token \"%s\" has the id %u, its piece has %u",
                          where, text_quote(entry->text, quoted, sizeof quoted), entry->id, piece->id);
    }
    if (!piece) {
        enum limoe_status status = vocab_add(vocab, entry->text, entry->id, err);
        if (status != LIMOE_OK)
            return status;
    }
    if (entry->normalized)
        return add_normalized(t, entry, where, err);
    return added_add(&t->raw, entry->text, entry->id, entry->left, entry->right, where, err);
}

/* {"49407": {"content": …}, …} */
static enum limoe_status add_decoder(struct bpe_text *t, struct vocab *vocab, const cJSON *decoder,
                                     struct limoe_error *err) {
    const cJSON *item;
    cJSON_ArrayForEach(item, decoder) {
        struct entry entry = {0};
        uint32_t id;
        if (!read_key(item->string, &id)) {
            char found[STRICT_JSON_DESCRIPTION];
            return limoe_fail(err, LIMOE_CORRUPT,
                              TOKENIZER_CONFIG ": \"added_tokens_decoder\" has the key %s; ids are accepted",
                              strict_json_quote(item->string, found));
        }
        enum limoe_status status = read_entry(item, id, TOKENIZER_CONFIG, &entry, err);
        if (status == LIMOE_OK)
            status = add_entry(t, vocab, &entry, TOKENIZER_CONFIG, err);
        if (status != LIMOE_OK)
            return status;
    }
    return LIMOE_OK;
}

/* [{"id": 49407, "content": …}, …] */
static enum limoe_status add_listed(struct bpe_text *t, struct vocab *vocab, const cJSON *listed,
                                    struct limoe_error *err) {
    const cJSON *item;
    cJSON_ArrayForEach(item, listed) {
        struct entry entry = {0};
        int64_t id;
        if (!strict_json_integer(cJSON_GetObjectItemCaseSensitive(item, "id"), 0, VOCAB_MAX - 1, &id)) {
            return limoe_fail(err, LIMOE_CORRUPT,
                              TOKENIZER_JSON ": an entry of \"added_tokens\" without \"id\", 0 to %u",
                              VOCAB_MAX - 1);
        }
        enum limoe_status status = read_entry(item, (uint32_t)id, TOKENIZER_JSON, &entry, err);
        if (status == LIMOE_OK)
            status = add_entry(t, vocab, &entry, TOKENIZER_JSON, err);
        if (status != LIMOE_OK)
            return status;
    }
    return LIMOE_OK;
}

enum limoe_status special_id(const struct vocab *vocab, const struct folder_config *config, const char *name,
                             const char *missing, int32_t *id, struct limoe_error *err) {
    const char *token = NULL;
    enum limoe_status status = folder_config_token(config, name, missing, &token, err);
    *id = -1;
    if (status != LIMOE_OK || !token)
        return status;
    const struct vocab_piece *piece = vocab_find(vocab, text_of(token));
    if (!piece) {
        char found[STRICT_JSON_DESCRIPTION];
        return limoe_fail(err, LIMOE_CORRUPT, "%s: \"%s\" is %s, which is no piece", vocab->where, name,
                          strict_json_quote(token, found));
    }
    *id = (int32_t)piece->id;
    return LIMOE_OK;
}

static enum limoe_status add_named(struct bpe_text *t, struct vocab *vocab,
                                   const struct folder_config *config, const struct special_names *missing,
                                   struct limoe_error *err) {
    const struct {
        const char *name, *missing;
    } named[] = {{missing->start_name ? missing->start_name : "bos_token", missing->start},
                 {missing->end_name ? missing->end_name : "eos_token", missing->end},
                 {"unk_token", missing->unknown},
                 {"pad_token", missing->pad},
                 {"mask_token", missing->mask}};
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        struct entry entry = {.normalized = folder_config_normalized(config, named[i].name)};
        const char *token = NULL;
        int32_t id;
        enum limoe_status status = special_id(vocab, config, named[i].name, named[i].missing, &id, err);
        if (status == LIMOE_OK)
            status = folder_config_token(config, named[i].name, named[i].missing, &token, err);
        if (status == LIMOE_OK && token && !is_added(t, vocab, text_of(token))) {
            entry.text = text_of(token);
            entry.id = (uint32_t)id;
            status = add_entry(t, vocab, &entry, vocab->where, err);
        }
        if (status != LIMOE_OK)
            return status;
    }
    return LIMOE_OK;
}

enum limoe_status special_add(struct bpe_text *t, struct vocab *vocab, const struct folder_config *config,
                              const cJSON *listed, const struct special_names *missing,
                              struct limoe_error *err) {
    const cJSON *decoder = cJSON_GetObjectItemCaseSensitive(config->tokenizer, "added_tokens_decoder");
    if (decoder && !cJSON_IsObject(decoder)) {
        char found[STRICT_JSON_DESCRIPTION];
        return limoe_fail(err, LIMOE_CORRUPT,
                          TOKENIZER_CONFIG ": \"added_tokens_decoder\" is %s; an object is accepted",
                          strict_json_describe(decoder, found));
    }
    enum limoe_status status =
        decoder ? add_decoder(t, vocab, decoder, err) : add_listed(t, vocab, listed, err);
    if (status == LIMOE_OK)
        status = add_named(t, vocab, config, missing, err);
    if (status == LIMOE_OK)
        status = added_finish(&t->raw, vocab->where, err);
    if (status == LIMOE_OK)
        status = added_finish(&t->normalized, vocab->where, err);
    return status;
}
