/* answer_describe.c - descriptions as JSON. Each function reads as the object it prints. */
#include "server/api/answer.h"
#include "server/api/describe.h"

/* Of captions the text and where it is from; of terms also what is usual for them. */
static void append_words(struct buffer *out, const struct description *description, enum describe_list list) {
    const struct described_words *words = &description->words[list];
    const bool caption = list == DESCRIBE_CAPTIONS;
    buffer_print(out, ",\"%s\":[", describe_names[list]);
    for (size_t i = 0; i < words->n; i++) {
        buffer_string(out, i ? "," : "");
        buffer_string(out, caption ? "{\"text\":" : "{\"term\":");
        buffer_json_text(out, description->terms[list][words->words[i].term]);
        buffer_string(out, ",\"cosine\":");
        buffer_json_float(out, words->words[i].cosine);
        buffer_string(out, ",\"score\":");
        buffer_json_float(out, words->words[i].score);
        buffer_string(out, caption ? ",\"source\":\"bank\"}" : "}");
    }
    buffer_string(out, "]");
}

static void append_prompt(struct buffer *out, const struct describe_prompt *prompt,
                          const struct description *description) {
    struct buffer text = {0};
    describe_write_prompt(&text, prompt, description);
    buffer_string(out, ",\"prompt\":");
    buffer_json_text(out, buffer_text(&text));
    out->failed = out->failed || text.failed;
    buffer_free(&text);
}

void describe_begin(struct buffer *out, const char *model) {
    buffer_string(out, "{\"object\":\"list\",\"model\":");
    buffer_json_string(out, model);
    buffer_string(out, ",\"data\":[");
}

void describe_append(struct buffer *out, bool first, size_t index, const struct describe_prompt *prompt,
                     const struct description *description) {
    buffer_print(out, "%s{\"object\":\"description\",\"index\":%zu", first ? "" : ",", index);
    for (size_t list = 0; list < DESCRIBE_LISTS; list++)
        append_words(out, description, (enum describe_list)list);
    if (prompt->mode != DESCRIBE_NO_PROMPT)
        append_prompt(out, prompt, description);
    buffer_string(out, "}");
}

void describe_end(struct buffer *out, const struct usage *usage) {
    buffer_string(out, "],\"usage\":");
    answer_usage(out, usage);
    buffer_string(out, "}");
}
