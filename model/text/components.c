/* components.c - known or refused: a component that is not understood would give other ids without a word. */
#include "model/text/components.h"

#include <string.h>

#include "base/error.h"
#include "model/checkpoint/strict_json.h"
#include "model/text/tokenizer_json.h"

#define UNDERLINE  "\xE2\x96\x81"
#define CLIP_WORDS "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+"

static const cJSON *member(const cJSON *object, const char *name) {
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

static bool is_string(const cJSON *item, const char *string) {
    return cJSON_IsString(item) && strcmp(item->valuestring, string) == 0;
}

static bool is_type(const cJSON *item, const char *type) {
    return is_string(member(item, "type"), type);
}

static bool absent(const cJSON *item) {
    return !item || cJSON_IsNull(item);
}

static bool is_empty(const cJSON *item) {
    return absent(item) || is_string(item, "");
}

/* "tokenizer.json: "normalizer" has Strip; accepted: …" */
static enum limoe_status refuse(const char *part, const cJSON *item, const char *accepted,
                                struct limoe_error *err) {
    char found[STRICT_JSON_DESCRIPTION];
    const cJSON *type = cJSON_IsObject(item) ? member(item, "type") : NULL;
    return limoe_fail(err, LIMOE_UNSUPPORTED, TOKENIZER_JSON ": \"%s\" has %s%s; accepted: %s", part,
                      type ? "the component " : "", strict_json_describe(type ? type : item, found),
                      accepted);
}

/* ---- normaliser */

#define NORMALIZERS "NFC, Replace of \\s+ by a space, Lowercase, Replace of a space by U+2581, in this order"

/* Sets what one component asks for. `*stage` is how far the order has come. */
static enum limoe_status read_step(const cJSON *item, struct bpe_text *t, int *stage,
                                   struct limoe_error *err) {
    const cJSON *pattern = member(item, "pattern"), *content = member(item, "content");
    const bool replace = is_type(item, "Replace");
    int at = -1;
    if (is_type(item, "NFC")) {
        at = 0;
        t->nfc = true;
    } else if (replace && is_string(member(pattern, "Regex"), "\\s+") && is_string(content, " ")) {
        at = 1;
        t->collapse = true;
    } else if (is_type(item, "Lowercase")) {
        at = 2;
        t->lower = true;
    } else if (replace && is_string(member(pattern, "String"), " ") && is_string(content, "\xE2\x96\x81")) {
        at = 2; /* what has no case may come before or after */
        t->metaspace = true;
    }
    if (at < *stage)
        return refuse("normalizer", item, NORMALIZERS, err);
    *stage = at;
    return LIMOE_OK;
}

static enum limoe_status read_normalizer(const cJSON *item, struct bpe_text *t, struct limoe_error *err) {
    int stage = 0;
    if (absent(item))
        return LIMOE_OK;
    if (!is_type(item, "Sequence"))
        return read_step(item, t, &stage, err);
    const cJSON *step, *steps = member(item, "normalizers");
    if (!cJSON_IsArray(steps))
        return refuse("normalizer", steps, NORMALIZERS, err);
    enum limoe_status status = LIMOE_OK;
    cJSON_ArrayForEach(step, steps) {
        if (status == LIMOE_OK)
            status = read_step(step, t, &stage, err);
    }
    return status;
}

/* ---- pre-tokenizer */

#define PRE_TOKENIZERS "none; Split at spaces, merged with previous; Split by CLIP's pattern, then ByteLevel"

static bool is_space_split(const cJSON *item) {
    return is_type(item, "Split") && is_string(member(member(item, "pattern"), "String"), " ") &&
           is_string(member(item, "behavior"), "MergedWithPrevious") && cJSON_IsFalse(member(item, "invert"));
}

static bool is_clip_split(const cJSON *item, struct bpe_text *t) {
    const cJSON *regex = member(member(item, "pattern"), "Regex");
    if (!is_type(item, "Split") || !is_string(member(item, "behavior"), "Removed") ||
        !cJSON_IsTrue(member(item, "invert")))
        return false;
    t->literals = is_string(regex, CLIP_WORDS) ? SPLIT_NO_LITERALS : SPLIT_HUGGING_FACE;
    return t->literals == SPLIT_NO_LITERALS ||
           is_string(regex, "<\\|startoftext\\|>|<\\|endoftext\\|>|" CLIP_WORDS);
}

/* With its own pattern, which is the default, ByteLevel takes apart what CLIP's keeps together: the literals. */
static bool is_byte_level(const cJSON *item, struct bpe_text *t) {
    const cJSON *pattern = member(item, "use_regex");
    t->literal_parts = !pattern || cJSON_IsTrue(pattern);
    return is_type(item, "ByteLevel") && cJSON_IsFalse(member(item, "add_prefix_space")) &&
           (!pattern || cJSON_IsBool(pattern));
}

static enum limoe_status read_pre_tokenizer(const cJSON *item, struct bpe_text *t, struct limoe_error *err) {
    t->words = BPE_ONE_WORD;
    if (absent(item))
        return LIMOE_OK;
    if (is_space_split(item)) {
        t->words = BPE_SPACED_WORDS;
        return LIMOE_OK;
    }
    const cJSON *steps = member(item, "pretokenizers");
    if (!is_type(item, "Sequence") || cJSON_GetArraySize(steps) != 2)
        return refuse("pre_tokenizer", item, PRE_TOKENIZERS, err);
    const cJSON *split = steps->child;
    if (!is_clip_split(split, t))
        return refuse("pre_tokenizer", split, PRE_TOKENIZERS, err);
    if (!is_byte_level(split->next, t))
        return refuse("pre_tokenizer", split->next, PRE_TOKENIZERS, err);
    t->words = BPE_CLIP_WORDS;
    t->bytes = true;
    return LIMOE_OK;
}

/* ---- model */

static enum limoe_status read_flag(const cJSON *model, const char *name, bool *flag,
                                   struct limoe_error *err) {
    const cJSON *item = member(model, name);
    *flag = cJSON_IsTrue(item);
    return absent(item) || cJSON_IsBool(item) ? LIMOE_OK : refuse(name, item, "true or false", err);
}

static enum limoe_status read_model(const cJSON *model, struct bpe_text *t, struct limoe_error *err) {
    const cJSON *type = member(model, "type"), *suffix = member(model, "end_of_word_suffix");
    bool ignore_merges = false;
    enum limoe_status status;
    if (!cJSON_IsObject(model) || (type && !is_string(type, "BPE"))) /* files of old do not say */
        return refuse("model", model, "BPE", err);
    if (!absent(member(model, "dropout")))
        return refuse("dropout", member(model, "dropout"), "null", err);
    if (!is_empty(member(model, "continuing_subword_prefix")))
        return refuse("continuing_subword_prefix", member(model, "continuing_subword_prefix"), "none", err);
    if (t->bytes ? !is_string(suffix, "</w>") : !is_empty(suffix))
        return refuse("end_of_word_suffix", suffix, t->bytes ? "\"</w>\", with ByteLevel" : "none", err);
    if ((status = read_flag(model, "fuse_unk", &t->fuse_unknown, err)) ||
        (status = read_flag(model, "byte_fallback", &t->byte_fallback, err)) ||
        (status = read_flag(model, "ignore_merges", &ignore_merges, err)))
        return status;
    if (ignore_merges)
        return refuse("ignore_merges", member(model, "ignore_merges"), "false", err);
    if (t->bytes && t->byte_fallback)
        return refuse("byte_fallback", member(model, "byte_fallback"), "false, with ByteLevel", err);
    return LIMOE_OK;
}

enum limoe_status components_read(const cJSON *root, struct bpe_text *t, struct limoe_error *err) {
    const cJSON *truncation = member(root, "truncation");
    enum limoe_status status;
    if ((status = read_normalizer(member(root, "normalizer"), t, err)) ||
        (status = read_pre_tokenizer(member(root, "pre_tokenizer"), t, err)) ||
        (status = read_model(member(root, "model"), t, err)))
        return status;
    if (!absent(truncation) && !is_string(member(truncation, "direction"), "Right"))
        return refuse("truncation", member(truncation, "direction"), "the direction \"Right\"", err);
    return LIMOE_OK;
}

/* ---- Unigram */

#define UNIGRAM_NORMALIZERS                                                                                  \
    "Precompiled; then Strip on the right and Replace of two spaces or more by U+2581, or neither"

static bool is_strip(const cJSON *item) {
    return is_type(item, "Strip") && cJSON_IsFalse(member(item, "strip_left")) &&
           cJSON_IsTrue(member(item, "strip_right"));
}

static bool is_squeeze(const cJSON *item) {
    return is_type(item, "Replace") && is_string(member(member(item, "pattern"), "Regex"), " {2,}") &&
           is_string(member(item, "content"), UNDERLINE);
}

/* What comes after Precompiled changes nothing in a text whose words are then split at white space. */
static enum limoe_status read_charsmap(const cJSON *item, const char **charsmap, struct limoe_error *err) {
    const cJSON *steps = is_type(item, "Sequence") ? member(item, "normalizers") : NULL;
    const cJSON *first = steps ? steps->child : item;
    *charsmap = NULL;
    if (absent(item))
        return LIMOE_OK;
    if (steps && (cJSON_GetArraySize(steps) != 3 || !is_strip(first->next) || !is_squeeze(first->next->next)))
        return refuse("normalizer", first, UNIGRAM_NORMALIZERS, err);
    *charsmap = cJSON_GetStringValue(member(first, "precompiled_charsmap"));
    return is_type(first, "Precompiled") && *charsmap ? LIMOE_OK
                                                      : refuse("normalizer", first, UNIGRAM_NORMALIZERS, err);
}

static bool is_metaspace(const cJSON *item) {
    const cJSON *scheme = member(item, "prepend_scheme"), *prefix = member(item, "add_prefix_space");
    const cJSON *split = member(item, "split");
    return is_type(item, "Metaspace") && is_string(member(item, "replacement"), UNDERLINE) &&
           (absent(scheme) || is_string(scheme, "always")) && (absent(prefix) || cJSON_IsTrue(prefix)) &&
           (absent(split) || cJSON_IsTrue(split));
}

/* All of what canonicalize takes out of a text, but the underscore, which it makes a space. */
static bool has_punctuation(const char *text) {
    return strpbrk(text, "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") != NULL;
}

enum limoe_status components_unigram(const cJSON *root, const char **charsmap, uint32_t *unknown,
                                     struct limoe_error *err) {
    const cJSON *model = member(root, "model"), *words = member(root, "pre_tokenizer");
    const cJSON *steps = is_type(words, "Sequence") ? member(words, "pretokenizers") : NULL;
    const cJSON *token;
    int64_t id;
    enum limoe_status status = read_charsmap(member(root, "normalizer"), charsmap, err);
    if (status != LIMOE_OK)
        return status;
    const bool known = steps ? cJSON_GetArraySize(steps) == 2 && is_type(steps->child, "WhitespaceSplit") &&
                                   is_metaspace(steps->child->next)
                             : is_metaspace(words);
    if (!known)
        return refuse("pre_tokenizer", words, "Metaspace, alone or behind WhitespaceSplit", err);
    if (!strict_json_integer(member(model, "unk_id"), 0, VOCAB_MAX - 1, &id))
        return refuse("unk_id", member(model, "unk_id"), "the id of a piece", err);
    *unknown = (uint32_t)id;
    if (cJSON_IsTrue(member(model, "byte_fallback")))
        return refuse("byte_fallback", member(model, "byte_fallback"), "false, with Unigram", err);
    cJSON_ArrayForEach(token, member(root, "added_tokens")) {
        const cJSON *content = member(token, "content");
        if (!cJSON_IsString(content) || !has_punctuation(content->valuestring))
            return refuse("added_tokens", content, "texts with punctuation, with Unigram", err);
    }
    return LIMOE_OK;
}

/* ---- WordPiece */

enum limoe_status components_wordpiece(const cJSON *root, struct limoe_error *err) {
    const cJSON *model = member(root, "model"), *words = member(root, "pre_tokenizer");
    const cJSON *normalizer = member(root, "normalizer"), *most = member(model, "max_input_chars_per_word");
    int64_t characters;
    if (!is_type(normalizer, "BertNormalizer") || cJSON_IsFalse(member(normalizer, "clean_text")))
        return refuse("normalizer", normalizer, "BertNormalizer that cleans, with WordPiece", err);
    if (!is_type(words, "BertPreTokenizer"))
        return refuse("pre_tokenizer", words, "BertPreTokenizer, with WordPiece", err);
    if (!is_string(member(model, "continuing_subword_prefix"), "##"))
        return refuse("continuing_subword_prefix", member(model, "continuing_subword_prefix"),
                      "\"##\", with WordPiece", err);
    if (most && !strict_json_integer(most, 100, 100, &characters))
        return refuse("max_input_chars_per_word", most, "100", err);
    return LIMOE_OK;
}

/* ---- post-processor */

#define POST_PROCESSORS                                                                                      \
    "none, ByteLevel, RobertaProcessing, TemplateProcessing of one token before and one behind"

static bool read_id(const cJSON *item, int32_t *id) {
    int64_t value;
    if (!strict_json_integer(item, 0, VOCAB_MAX - 1, &value))
        return false;
    *id = (int32_t)value;
    return true;
}

/* {"SpecialToken": {"id": "<eos>", …}}, whose ids "special_tokens" has; one is accepted. */
static bool read_special(const cJSON *processor, const cJSON *piece, int32_t *id) {
    const char *name = cJSON_GetStringValue(member(member(piece, "SpecialToken"), "id"));
    const cJSON *ids = name ? member(member(member(processor, "special_tokens"), name), "ids") : NULL;
    return ids && cJSON_IsArray(ids) && cJSON_GetArraySize(ids) == 1 && read_id(ids->child, id);
}

static bool read_template(const cJSON *processor, int32_t *start, int32_t *end) {
    const cJSON *single = member(processor, "single");
    const cJSON *piece = cJSON_IsArray(single) ? single->child : NULL;
    if (piece && member(piece, "SpecialToken")) {
        if (!read_special(processor, piece, start))
            return false;
        piece = piece->next;
    }
    if (!piece || !is_string(member(member(piece, "Sequence"), "id"), "A"))
        return false;
    piece = piece->next;
    if (piece) {
        if (!read_special(processor, piece, end))
            return false;
        piece = piece->next;
    }
    return !piece;
}

enum limoe_status components_frame(const cJSON *root, int32_t *start, int32_t *end, struct limoe_error *err) {
    const cJSON *item = member(root, "post_processor");
    *start = *end = -1;
    if (absent(item) || is_type(item, "ByteLevel"))
        return LIMOE_OK;
    if (is_type(item, "RobertaProcessing")) {
        const cJSON *cls = member(item, "cls"), *sep = member(item, "sep");
        if (cJSON_GetArraySize(cls) == 2 && cJSON_GetArraySize(sep) == 2 &&
            read_id(cls->child->next, start) && read_id(sep->child->next, end))
            return LIMOE_OK;
    }
    if (is_type(item, "TemplateProcessing") && read_template(item, start, end))
        return LIMOE_OK;
    return refuse("post_processor", item, POST_PROCESSORS, err);
}

bool components_pad_left(const cJSON *root) {
    const cJSON *direction = member(member(root, "padding"), "direction");
    return !is_string(direction, "Right");
}
