/* answer_captions.c - captions as JSON. Each function reads as the object it prints. */
#include "server/api/captions.h"

void captions_begin(struct buffer *out, const char *model) {
    buffer_string(out, "{\"object\":\"list\",\"model\":");
    buffer_json_string(out, model);
    buffer_string(out, ",\"data\":[");
}

static void begin_picture(struct buffer *out, bool first, size_t index) {
    buffer_print(out, "%s{\"object\":\"captions\",\"index\":%zu,\"captions\":[", first ? "" : ",", index);
}

static void append_one(struct buffer *out, bool first, const struct limoe_caption *caption,
                       const char *text) {
    buffer_string(out, first ? "{\"text\":" : ",{\"text\":");
    buffer_json_string(out, text);
    buffer_string(out, ",\"logprob\":");
    buffer_json_float(out, (float)caption->logprob);
    buffer_print(out, ",\"tokens\":%u,\"ended\":%s,\"source\":\"decoder\"}", caption->length,
                 caption->ended ? "true" : "false");
}

enum limoe_status captions_append(struct buffer *out, bool first, size_t index,
                                  const struct limoe_processor *processor,
                                  const struct limoe_caption *captions, uint32_t n, char *text,
                                  struct captions_usage *usage, struct limoe_error *err) {
    begin_picture(out, first, index);
    for (uint32_t i = 0; i < n && (captions[i].length || captions[i].ended); i++) {
        const enum limoe_status status =
            limoe_caption_text(processor, &captions[i], text, LIMOE_CAPTION_TEXT, err);
        if (status)
            return status;
        append_one(out, i == 0, &captions[i], text);
        usage->caption_tokens += captions[i].length + captions[i].ended;
    }
    buffer_string(out, "]}");
    return LIMOE_OK;
}

void captions_append_bank(struct buffer *out, bool first, size_t index, const struct text *terms,
                          const struct described_words *words) {
    begin_picture(out, first, index);
    for (size_t i = 0; i < words->n; i++) {
        buffer_string(out, i ? ",{\"text\":" : "{\"text\":");
        buffer_json_text(out, terms[words->words[i].term]);
        buffer_string(out, ",\"cosine\":");
        buffer_json_float(out, words->words[i].cosine);
        buffer_string(out, ",\"score\":");
        buffer_json_float(out, words->words[i].score);
        buffer_string(out, ",\"source\":\"bank\"}");
    }
    buffer_string(out, "]}");
}

void captions_end(struct buffer *out, const struct captions_usage *usage) {
    buffer_string(out, "],\"usage\":{\"image_tokens\":");
    buffer_json_unsigned(out, usage->image_tokens);
    buffer_string(out, ",\"completion_tokens\":");
    buffer_json_unsigned(out, usage->caption_tokens);
    buffer_string(out, ",\"total_tokens\":");
    buffer_json_unsigned(out, usage->image_tokens + usage->caption_tokens);
    buffer_string(out, "}}");
}
