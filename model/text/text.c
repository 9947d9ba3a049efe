/* text.c - which tokenizer a folder has, and what a model wants around its ids. No state, any thread. */
#include "model/text/text.h"

#include <string.h>

#include "base/error.h"
#include "model/checkpoint/file.h"

static bool has_own(const char *dir, const struct config *config) {
    return config->format == CONFIG_LIMOE_1 ||
           (config->format == CONFIG_LIMOE_2 && file_exists(dir, "tokenizer.model"));
}

/* A limoe-2 that was an OpenCLIP has that folder's files. */
static enum tokenizer_origin origin_of(const char *dir, const struct config *config) {
    const bool open_clip = config->format >= CONFIG_OPEN_CLIP ||
                           (config->format == CONFIG_LIMOE_2 && file_exists(dir, "open_clip_config.json"));
    return open_clip ? TOKENIZER_OPENCLIP : TOKENIZER_HUGGING_FACE;
}

enum limoe_status text_open(const char *dir, const struct config *config, struct fingerprint *fingerprint,
                            struct tokenizer **out, struct limoe_error *err) {
    *out = NULL;
    if (!config_has(config, LIMOE_TEXT))
        return LIMOE_OK;
    if (config_has_decoder(config) && !has_own(dir, config))
        return limoe_fail(
            err, LIMOE_UNSUPPORTED,
            "config.json has \"decoder\", whose texts are made by SentencePiece; tokenizer.model is "
            "not there");
    return has_own(dir, config) ? tokenizer_open(dir, config->text.vocab, fingerprint, out, err)
                                : tokenizer_open_folder(dir, origin_of(dir, config), config->text.vocab,
                                                        fingerprint, out, err);
}

enum limoe_status text_fingerprint(const char *dir, const struct config *config,
                                   struct fingerprint *fingerprint, struct limoe_error *err) {
    if (!config_has(config, LIMOE_TEXT))
        return LIMOE_OK;
    return has_own(dir, config) ? tokenizer_fingerprint(dir, fingerprint, err)
                                : tokenizer_fingerprint_folder(dir, fingerprint, err);
}

/* Fills the row up to the model's length, behind the text or before it. */
static void pad(const struct config *config, const struct tokenizer_facts *facts, int32_t *tokens,
                uint32_t n) {
    const uint32_t length = config->text.length, missing = length - n;
    const int32_t id = facts->pad >= 0 ? facts->pad : config->text.pad_id;
    int32_t *from = tokens + n;
    if (facts->pad_left) {
        memmove(tokens + missing, tokens, n * sizeof *tokens);
        from = tokens;
    }
    for (uint32_t i = 0; i < missing; i++)
        from[i] = id;
}

/* How many ids there are up to the first end token, if nothing else is read. */
static uint32_t cut_at_end(const struct config *config, int32_t end, const int32_t *tokens, uint32_t n) {
    const struct config_tower *tower = &config->tower[LIMOE_TEXT];
    if (end < 0 || !tower->causal || tower->pool != CONFIG_POOL_LAST)
        return n;
    for (uint32_t i = 0; i < n; i++)
        if (tokens[i] == end)
            return i + 1;
    return n;
}

enum limoe_status text_encode(const struct tokenizer *tokenizer, const struct config *config,
                              const char *text, size_t size, int32_t *tokens, uint32_t *length,
                              struct limoe_error *err) {
    const struct tokenizer_facts facts = tokenizer_facts(tokenizer);
    const bool adds_end = facts.end < 0; /* limoe's own tokenizer adds none */
    uint32_t n = 0;
    if (size > 0 || !adds_end) {
        enum limoe_status status =
            tokenizer_encode(tokenizer, text, size, tokens, config->text.length - adds_end, &n, err);
        if (status != LIMOE_OK)
            return status;
    }
    if (adds_end)
        tokens[n++] = config->text.eos_id;
    if (config->text.pad == CONFIG_ATTEND) {
        pad(config, &facts, tokens, n);
        n = config->text.length;
    } else {
        n = cut_at_end(config, facts.end, tokens, n);
    }
    *length = n;
    return LIMOE_OK;
}
