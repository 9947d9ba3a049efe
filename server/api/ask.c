/* ask.c - what a language model's server is sent, and what its answers say.
 *
 * The server is the operator's, but what it answers is whatever its model writes, and may be of any shape: it is read as
 * strictly as a request, and no more of it than is needed.
 */
#include "server/api/ask.h"

#include "server/api/answer.h"
#include "server/formats/json_reader.h"

/* ---- the request */

/* A terminal of llama.cpp's grammars. */
static void append_terminal(struct buffer *out, struct text text) {
    buffer_string(out, "\"");
    for (size_t i = 0; i < text.size; i++) {
        const char c = text.data[i];
        if (c == '"' || c == '\\')
            buffer_bytes(out, "\\", 1);
        if ((unsigned char)c < ' ')
            buffer_print(out, "\\x%02X", (unsigned)c);
        else
            buffer_bytes(out, &c, 1);
    }
    buffer_string(out, "\"");
}

static void append_grammar(struct buffer *out, const struct ask_request *request) {
    struct buffer grammar = {0};
    buffer_string(&grammar, "root ::= ");
    for (size_t i = 0; i < request->n_choices; i++) {
        buffer_string(&grammar, i ? " | " : "");
        append_terminal(&grammar, request->choices[i]);
    }
    buffer_json_text(out, buffer_text(&grammar));
    out->failed = out->failed || grammar.failed;
    buffer_free(&grammar);
}

static void append_list(struct buffer *out, const struct ask_request *request) {
    buffer_string(out, "[");
    for (size_t i = 0; i < request->n_choices; i++) {
        buffer_string(out, i ? "," : "");
        buffer_json_text(out, request->choices[i]);
    }
    buffer_string(out, "]");
}

static void append_hold(struct buffer *out, const struct ask_request *request, enum ask_hold hold) {
    if (!request->n_choices || hold == ASK_HOLD_NONE)
        return;
    if (hold == ASK_HOLD_GRAMMAR) {
        buffer_string(out, ",\"grammar\":");
        append_grammar(out, request);
        return;
    }
    const bool guided = hold == ASK_HOLD_GUIDED;
    buffer_string(out, guided ? ",\"guided_choice\":" : ",\"structured_outputs\":{\"choice\":");
    append_list(out, request);
    buffer_string(out, guided ? "" : "}");
}

void ask_write_request(struct buffer *out, const struct ask_request *request, const struct ask_model *model,
                       struct text prompt) {
    buffer_string(out, "{\"model\":");
    buffer_json_string(out, model->name);
    buffer_string(out, model->chat ? ",\"messages\":[{\"role\":\"user\",\"content\":" : ",\"prompt\":");
    buffer_json_text(out, prompt);
    buffer_print(out, "%s,\"max_tokens\":%u,\"temperature\":0", model->chat ? "}]" : "", request->max_tokens);
    append_hold(out, request, model->hold);
    buffer_string(out,
                  request->stream ? ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}" : "}");
}

/* ---- the reply */

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct text trim(struct text text, bool (*is_around)(char c)) {
    while (text.size && is_around(text.data[text.size - 1]))
        text.size--;
    while (text.size && is_around(*text.data)) {
        text.data++;
        text.size--;
    }
    return text;
}

struct text ask_trim(struct text text) {
    return trim(text, is_space);
}

static bool refuse(const char *what, struct api_error *error) {
    return api_fail(error, 502, "upstream_invalid", NULL, "the language model's server answers with %s",
                    what);
}

static struct text text_given(const struct json_value *object, const char *name) {
    const struct json_value *value = json_given(object, text_of(name));
    return value && value->type == JSON_STRING ? value->string : (struct text){.data = NULL};
}

static bool count_given(const struct json_value *object, const char *name, uint64_t *out) {
    const struct json_value *value = json_given(object, text_of(name));
    const bool good = value && value->type == JSON_NUMBER && value->number >= 0 && value->number < 1e15;
    *out = good ? (uint64_t)value->number : 0;
    return good;
}

static bool read_json(struct text bytes, struct arena *arena, struct json_value **root,
                      struct api_error *error) {
    struct json_error odd;
    if (json_read(bytes.data, bytes.size, arena, root, &odd))
        return true;
    return odd.no_memory ? api_fail_memory(error) : refuse("what is no JSON", error);
}

/* The list of choices; NULL: there is none. */
static const struct json_value *choices_given(const struct json_value *root) {
    const struct json_value *choices = json_given(root, text_of("choices"));
    return choices && choices->type == JSON_ARRAY ? choices : NULL;
}

/* A model that says nothing has null, or no content. */
static bool read_text(const struct json_value *message, bool chat, struct text *out,
                      struct api_error *error) {
    const struct json_value *content = json_given(message, text_of(chat ? "content" : "text"));
    if (content && content->type != JSON_STRING)
        return refuse("an answer that is no text", error);
    *out = content ? content->string : text_of("");
    return true;
}

/* What is said of the answer; `first`: of its choices. */
static void read_about(const struct json_value *root, const struct json_value *first, struct ask_reply *out) {
    const struct json_value *usage = json_given(root, text_of("usage"));
    out->model = text_given(root, "model");
    out->finish = text_given(first, "finish_reason");
    out->counted = count_given(usage, "prompt_tokens", &out->prompt_tokens) &&
                   count_given(usage, "completion_tokens", &out->completion_tokens);
}

bool ask_read_reply(const char *bytes, size_t size, bool chat, struct arena *arena, struct ask_reply *out,
                    struct api_error *error) {
    struct json_value *root;
    if (!read_json((struct text){.data = bytes, .size = size}, arena, &root, error))
        return false;
    const struct json_value *choices = choices_given(root);
    const struct json_value *first = choices ? choices->child : NULL;
    const struct json_value *message = chat ? json_given(first, text_of("message")) : first;
    if (!message || message->type != JSON_OBJECT)
        return refuse("JSON that has no choices with an answer", error);
    read_about(root, first, out);
    if (!read_text(message, chat, &out->text, error))
        return false;
    out->text = ask_trim(out->text);
    return true;
}

/* {"error": {"message": "…"}}, or {"error": "…"}: what servers send that fail in the middle of a stream. */
static bool refuse_failed(const struct json_value *told, struct api_error *error) {
    const struct json_value *message = json_given(told, text_of("message"));
    char quoted[200] = "";
    if (!message)
        message = told;
    if (message->type == JSON_STRING)
        text_quote(message->string, quoted, sizeof quoted);
    return api_fail(error, 502, "upstream_error", NULL,
                    "the language model's server ends its answer with an error%s%s", *quoted ? ": " : "",
                    quoted);
}

bool ask_read_event(struct text data, bool chat, struct arena *arena, struct ask_reply *out,
                    struct api_error *error) {
    struct json_value *root;
    if (!read_json(data, arena, &root, error))
        return false;
    const struct json_value *told = json_given(root, text_of("error"));
    const struct json_value *choices = choices_given(root);
    if (told)
        return refuse_failed(told, error);
    if (!choices)
        return refuse("an event that has no choices", error);
    read_about(root, choices->child, out); /* an event may be of usage alone, and have none */
    const struct json_value *added = chat ? json_given(choices->child, text_of("delta")) : choices->child;
    return read_text(added, chat, &out->text, error);
}

/* ---- the choice */

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_word(char c) {
    return (lower(c) >= 'a' && lower(c) <= 'z') || (c >= '0' && c <= '9');
}

static bool is_mark(char c) {
    return is_space(c) || (c >= '!' && c <= '~' && !is_word(c));
}

static bool alike(const char *a, const char *b, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (lower(a[i]) != lower(b[i]))
            return false;
    return true;
}

/* A word does not go on at its ends: "cat" does not stand in "cats". */
static bool stands_at(struct text text, size_t at, struct text choice) {
    const size_t end = at + choice.size;
    if (end > text.size || !alike(text.data + at, choice.data, choice.size))
        return false;
    const bool begins = at == 0 || !is_word(text.data[at - 1]) || !is_word(*choice.data);
    const bool ends = end == text.size || !is_word(text.data[end]) || !is_word(choice.data[choice.size - 1]);
    return begins && ends;
}

static const struct text *find_same(struct text text, const struct text *choices, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (choices[i].size == text.size && alike(text.data, choices[i].data, text.size))
            return &choices[i];
    return NULL;
}

const struct text *ask_choose(struct text text, const struct text *choices, size_t n) {
    const struct text *found = find_same(trim(text, is_space), choices, n);
    if (!found)
        found = find_same(trim(text, is_mark), choices, n);
    for (size_t at = 0; at < text.size && !found; at++)
        for (size_t i = 0; i < n; i++)
            if (stands_at(text, at, choices[i]) && (!found || choices[i].size > found->size))
                found = &choices[i];
    return found;
}

/* ---- the answer */

static void append_text(struct buffer *out, const char *before, struct text text) {
    buffer_string(out, before);
    if (text.data)
        buffer_json_text(out, text);
    else
        buffer_string(out, "null");
}

static void append_upstream(struct buffer *out, const struct ask_answer *answer) {
    const struct ask_reply *reply = answer->reply;
    append_text(out, ",\"upstream\":{\"model\":", reply->model);
    buffer_print(out, ",\"ms\":%.3f,\"tokens\":", (double)answer->ns / 1e6);
    if (reply->counted)
        buffer_print(out, "{\"prompt\":%llu,\"completion\":%llu}", (unsigned long long)reply->prompt_tokens,
                     (unsigned long long)reply->completion_tokens);
    else
        buffer_string(out, "null");
    append_text(out, ",\"finish_reason\":", reply->finish);
    buffer_string(out, "}");
}

void ask_write_answer(struct buffer *out, const struct ask_answer *answer) {
    const struct ask_request *request = answer->request;
    buffer_string(out, "{\"object\":\"answer\",\"model\":");
    buffer_json_string(out, answer->model);
    append_text(out, ",\"answer\":", answer->reply->text);
    if (request->n_choices) {
        const struct text *chosen = ask_choose(answer->reply->text, request->choices, request->n_choices);
        append_text(out, ",\"chosen\":", chosen ? *chosen : (struct text){.data = NULL});
    }
    append_text(out, ",\"prompt\":", answer->prompt);
    append_upstream(out, answer);
    buffer_string(out, ",\"usage\":");
    answer_usage(out, answer->usage);
    buffer_string(out, "}");
}
