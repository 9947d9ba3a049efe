/* request_ask.c - POST /v1/ask: a picture, a question, perhaps choices. */
#include <stdio.h>

#include "server/api/ask.h"
#include "server/api/request_describe.h"

_Static_assert(ASK_MOST_CHOICES == 100 && ASK_MOST_TOKENS == 4096 && ASK_TOKENS == 256,
               "as docs/api.md has them");

/* The reader. */
struct reader {
    struct describe_reader shared;
    const struct json_value *image; /* read last */
    struct ask_request *out;
};

static bool keep_image(void *reader, const struct json_value *value) {
    ((struct reader *)reader)->image = value;
    return true;
}

static bool read_question(void *reader, const struct json_value *value) {
    struct reader *r = reader;
    return describe_read_text(&r->shared, value, "question", &r->out->describe.prompt.question);
}

static bool read_mode(void *reader, const struct json_value *value) {
    struct reader *r = reader;
    struct describe_prompt *prompt = &r->out->describe.prompt;
    prompt->mode = value->type == JSON_STRING ? describe_mode_of(value->string) : DESCRIBE_NO_PROMPT;
    return (prompt->mode != DESCRIBE_NO_PROMPT && prompt->mode != DESCRIBE_HM) ||
           api_fail(r->shared.error, 400, "invalid_value", "mode",
                    "mode must be one of paper, all, vision and vqa");
}

static bool read_max_tokens(void *reader, const struct json_value *value) {
    struct reader *r = reader;
    const bool whole = value->type == JSON_NUMBER && value->number >= 1 && value->number <= ASK_MOST_TOKENS &&
                       value->number == (double)(unsigned)value->number;
    r->out->max_tokens = whole ? (unsigned)value->number : 0;
    return whole || api_fail(r->shared.error, 400, "invalid_value", "max_tokens",
                             "max_tokens must be a whole number from 1 to %u", ASK_MOST_TOKENS);
}

static bool read_stream(void *reader, const struct json_value *value) {
    struct reader *r = reader;
    r->out->stream = value->type == JSON_TRUE;
    return r->out->stream || value->type == JSON_FALSE ||
           request_refuse_type("stream", "true or false", value->type, r->shared.error);
}

static bool check_choice(const struct reader *r, size_t i) {
    const struct text choice = r->out->choices[i];
    char param[40];
    snprintf(param, sizeof param, "choices[%zu]", i);
    if (text_blank(choice))
        return api_fail(r->shared.error, 400, "empty_labels", param, "%s is empty or nothing but white space",
                        param);
    return choice.size <= REQUEST_MAX_LABEL_BYTES ||
           api_fail(r->shared.error, 400, "too_long", param, "%s has %zu bytes; up to %u are accepted", param,
                    choice.size, REQUEST_MAX_LABEL_BYTES);
}

static bool read_choices(void *reader, const struct json_value *value) {
    struct reader *r = reader;
    const struct request_list list = {.name = "choices",
                                      .most = ASK_MOST_CHOICES,
                                      .too_many = "too_many_items",
                                      .texts = &r->out->choices,
                                      .count = &r->out->n_choices};
    if (value->type != JSON_ARRAY)
        return request_refuse_type("choices", "a list of strings", value->type, r->shared.error);
    if (!value->count)
        return api_fail(r->shared.error, 400, "empty_labels", "choices",
                        "choices is empty; 1 to %u are accepted", ASK_MOST_CHOICES);
    if (!request_read_strings(value, &list, r->shared.arena, r->shared.error))
        return false;
    for (size_t i = 0; i < r->out->n_choices; i++)
        if (!check_choice(r, i))
            return false;
    return true;
}

static const char *const modes[] = {"paper", "all", "vision", "vqa", NULL};

static const struct field rows[] = {
    {.name = "image",
     .forms = FIELD_JSON,
     .kind = FIELD_PICTURE,
     .required = true,
     .most = 1,
     .what = "The picture: a data URI, base64, or a URL where these are fetched.",
     .read = keep_image},
    {.name = "question",
     .forms = FIELD_JSON,
     .kind = FIELD_STRING,
     .required = true,
     .most = REQUEST_MAX_TEXT_BYTES,
     .what = "What is asked about it.",
     .read = read_question},
    {.name = "choices",
     .forms = FIELD_JSON,
     .kind = FIELD_LABELS,
     .least = 1,
     .most = ASK_MOST_CHOICES,
     .bytes = REQUEST_MAX_LABEL_BYTES,
     .what = "Answers to choose from, which the prompt lists behind the question.",
     .read = read_choices},
    {.name = "max_tokens",
     .forms = FIELD_JSON,
     .kind = FIELD_WHOLE,
     .least = 1,
     .most = ASK_MOST_TOKENS,
     .fallback = FIELD_NUMBER(256),
     .what = "The most tokens of the answer.",
     .read = read_max_tokens},
    {.name = "stream",
     .forms = FIELD_JSON,
     .kind = FIELD_SCHEMA,
     .schema = "{\"type\":\"boolean\"}",
     .fallback = "false",
     .what = "Whether the answer comes as it is written, as events.",
     .read = read_stream},
    {.name = "mode",
     .forms = FIELD_JSON,
     .kind = FIELD_CHOICE,
     .choices = modes,
     .fallback = "\"paper\"",
     .what = "The prompt's form, as of a description.",
     .read = read_mode},
    DESCRIBE_WORDS_ROWS,
    FIELD_MODEL(FIELD_JSON),
};
const struct field_table ask_fields = {FIELD_TABLE(rows)};

/* The prompts' forms have no place for choices: they stand behind the question. */
static bool append_choices(struct ask_request *out, struct arena *arena, struct api_error *error) {
    struct text *question = &out->describe.prompt.question;
    struct buffer whole = {0};
    buffer_bytes(&whole, question->data, question->size);
    for (size_t i = 0; i < out->n_choices; i++) {
        buffer_string(&whole, i ? ", " : " Answer with one of: ");
        buffer_bytes(&whole, out->choices[i].data, out->choices[i].size);
    }
    buffer_string(&whole, ".");
    const char *copy = whole.failed ? NULL : arena_copy(arena, whole.data, whole.size);
    *question = (struct text){.data = copy, .size = whole.size};
    buffer_free(&whole);
    return copy || api_fail_memory(error);
}

static bool check(const struct reader *r) {
    if (!r->out->describe.prompt.question.data)
        return api_fail(r->shared.error, 400, "missing_field", "question", "there is no question");
    if (!r->image)
        return api_fail(r->shared.error, 400, "missing_image", "image",
                        "there is no image; accepted: a data URI or base64");
    return describe_check(&r->out->describe, r->shared.error);
}

bool ask_read(const struct request_models *models, const char *body, size_t size, struct arena *arena,
              struct ask_request *out, struct api_error *error) {
    const struct json_value *object;
    struct describe_request *describe = &out->describe;
    struct reader reader = {.shared = {.out = describe, .arena = arena, .error = error}, .out = out};
    *out = (struct ask_request){.describe = describe_defaults(), .max_tokens = ASK_TOKENS};
    describe->prompt.mode = DESCRIBE_PAPER;
    return request_read_object(body, size, arena, &object, error) &&
           request_choose_model(models, object, &describe->model, error) &&
           field_read_object(object, &ask_fields, &reader, error) && check(&reader) &&
           (!out->n_choices || append_choices(out, arena, error)) &&
           request_read_images(reader.image, NULL, arena, &describe->images, &describe->n_images, error);
}
