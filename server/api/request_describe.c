/* request_describe.c - POST /v1/describe: pictures, what words are wanted, and the prompt. */
#include <stdio.h>
#include <string.h>

#include "server/api/request_describe.h"
#include "server/vocabulary/vocabulary.h"

_Static_assert(DESCRIBE_MOST_TERMS == 50 && DESCRIBE_TERMS == 5 && DESCRIBE_MOST_EXAMPLES == 16,
               "as the schemas have it");
_Static_assert(REQUEST_MAX_TEXT_BYTES == 65536, "as the schemas have it");

/* Lower than any cosine. */
#define NO_THRESHOLD (-2.0f)

/* The reader, of an object in a field, too. */
struct reader {
    struct describe_reader shared;
    const struct json_value *image, *images; /* read last */
};

/* ---- objects in fields */

/* "k" → "tags.k". */
static bool within(const char *field, struct api_error *error) {
    char inner[sizeof error->param];
    snprintf(inner, sizeof inner, "%s", error->param);
    snprintf(error->param, sizeof error->param, "%s%s%.40s", field, inner[0] == '[' ? "" : ".", inner);
    return false;
}

static bool read_object(struct describe_reader *r, const struct json_value *value, const char *field,
                        const struct field_table *table) {
    if (value->type != JSON_OBJECT)
        return request_refuse_type(field, "an object", value->type, r->error);
    return field_read_object(value, table, r, r->error) || within(field, r->error);
}

bool describe_read_text(const struct describe_reader *r, const struct json_value *value, const char *param,
                        struct text *out) {
    if (value->type != JSON_STRING)
        return request_refuse_type(param, "a string", value->type, r->error);
    *out = value->string;
    return value->string.size <= REQUEST_MAX_TEXT_BYTES ||
           api_fail(r->error, 400, "too_long", param, "%s has %zu bytes; up to %u are accepted", param,
                    value->string.size, REQUEST_MAX_TEXT_BYTES);
}

/* ---- tags, attributes, captions */

static bool read_vocabulary(void *reader, const struct json_value *value) {
    struct describe_reader *r = reader;
    if (value->type != JSON_STRING)
        return request_refuse_type("vocabulary", "a string", value->type, r->error);
    r->words->vocabulary = value->string;
    return classifier_check_name(value->string, "vocabulary", r->error);
}

static bool read_count(struct describe_reader *r, const struct json_value *value, const char *name) {
    const bool whole = value->type == JSON_NUMBER && value->number >= 0 &&
                       value->number <= DESCRIBE_MOST_TERMS && value->number == (double)(size_t)value->number;
    r->words->most = whole ? (size_t)value->number : 0;
    return whole || api_fail(r->error, 400, "invalid_value", name, "%s must be a whole number from 0 to %u",
                             name, DESCRIBE_MOST_TERMS);
}

static bool read_k(void *reader, const struct json_value *value) {
    return read_count(reader, value, "k");
}

static bool read_n(void *reader, const struct json_value *value) {
    return read_count(reader, value, "n");
}

static bool read_threshold(void *reader, const struct json_value *value) {
    struct describe_reader *r = reader;
    const bool number = value->type == JSON_NUMBER && value->number >= -1 && value->number <= 1;
    r->words->told = true;
    r->words->automatic = value->type == JSON_STRING && text_is(value->string, "auto");
    r->words->threshold = number ? (float)value->number : 0;
    return number || r->words->automatic ||
           api_fail(r->error, 400, "invalid_value", "threshold",
                    "threshold must be \"auto\" or a cosine, -1 to 1");
}

/* Options of a decoder are known, so that who names one is told what it goes with (refuse_option). */
static bool pass_option(void *reader, const struct json_value *value) {
    (void)reader;
    (void)value;
    return true;
}

#define DECODER_OPTION(option)                                                                               \
    { .name = (option), .forms = FIELD_JSON, .unlisted = true, .read = pass_option }

static const struct field of_terms[] = {
    {.name = "vocabulary", .forms = FIELD_JSON, .read = read_vocabulary},
    {.name = "k", .forms = FIELD_JSON, .read = read_k},
    {.name = "threshold", .forms = FIELD_JSON, .read = read_threshold},
};
static const struct field_table terms_table = {FIELD_TABLE(of_terms)};
static const struct field of_captions[] = {
    {.name = "vocabulary", .forms = FIELD_JSON, .read = read_vocabulary},
    {.name = "n", .forms = FIELD_JSON, .read = read_n},
    DECODER_OPTION("top_k"),
    DECODER_OPTION("temperature"),
    DECODER_OPTION("min"),
    DECODER_OPTION("max"),
    DECODER_OPTION("beams"),
    DECODER_OPTION("seed"),
};
static const struct field_table captions_table = {FIELD_TABLE(of_captions)};

/* The first option of a decoder that the object has; NULL: there is none. */
static const char *decoder_option(const struct json_value *object) {
    for (size_t i = 0; i < captions_table.n; i++) {
        const struct field *field = &captions_table.fields[i];
        const struct json_value *value = field->unlisted ? json_member(object, text_of(field->name)) : NULL;
        if (value && value->type != JSON_NULL)
            return field->name;
    }
    return NULL;
}

static bool refuse_option(const char *option, struct api_error *error) {
    char param[40];
    snprintf(param, sizeof param, "captions.%s", option);
    return api_fail(
        error, 400, "conflicting_fields", param,
        "%s is of a decoder, and captions.vocabulary names a bank of captions; accepted with it: n", param);
}

static bool read_words(struct describe_reader *r, const struct json_value *value, enum describe_list list) {
    r->words = &r->out->words[list];
    return read_object(r, value, describe_names[list],
                       list == DESCRIBE_CAPTIONS ? &captions_table : &terms_table);
}

bool describe_read_tags(void *reader, const struct json_value *value) {
    return read_words(reader, value, DESCRIBE_TAGS);
}

bool describe_read_attributes(void *reader, const struct json_value *value) {
    return read_words(reader, value, DESCRIBE_ATTRIBUTES);
}

bool describe_read_captions(void *reader, const struct json_value *value) {
    struct describe_reader *r = reader;
    r->out->words[DESCRIBE_CAPTIONS].most = DESCRIBE_TERMS;
    if (!read_words(r, value, DESCRIBE_CAPTIONS))
        return false;
    const char *option = decoder_option(value);
    if (option && r->words->vocabulary.data)
        return refuse_option(option, r->error);
    return (!r->words->most && !option) || r->words->vocabulary.data ||
           api_fail(
               r->error, 400, "no_decoder", "captions.vocabulary",
               "a description takes its captions from a vocabulary, and none is named; accepted: a stored "
               "vocabulary whose terms are captions, or a classifier whose labels are. POST /v1/captions has "
               "a decoder write them");
}

/* ---- the prompt */

static bool read_mode(void *reader, const struct json_value *value) {
    struct describe_reader *r = reader;
    if (value->type == JSON_STRING)
        r->out->prompt.mode = describe_mode_of(value->string);
    return (value->type == JSON_STRING && r->out->prompt.mode) ||
           api_fail(r->error, 400, "invalid_value", "mode", "mode must be one of " DESCRIBE_MODES);
}

static bool read_question(void *reader, const struct json_value *value) {
    struct describe_reader *r = reader;
    return describe_read_text(r, value, "question", &r->out->prompt.question);
}

static bool read_example(const struct describe_reader *r, const struct json_value *value, size_t i,
                         struct describe_example *out) {
    static const char *const names[] = {"prompt", "answer"};
    struct text *const texts[] = {&out->prompt, &out->answer};
    char param[40];
    snprintf(param, sizeof param, "examples[%zu]", i);
    if (value->type != JSON_OBJECT || value->count != 2)
        return api_fail(r->error, 400, "invalid_type", param, "%s must be an object with prompt and answer",
                        param);
    for (size_t t = 0; t < 2; t++) {
        const struct json_value *member = json_member(value, text_of(names[t]));
        snprintf(param, sizeof param, "examples[%zu].%s", i, names[t]);
        if (!member)
            return api_fail(r->error, 400, "missing_field", param, "%s is not there", param);
        if (!describe_read_text(r, member, param, texts[t]))
            return false;
    }
    return true;
}

static bool read_examples(void *reader, const struct json_value *value) {
    struct describe_reader *r = reader;
    if (value->type != JSON_ARRAY)
        return request_refuse_type("examples", "a list of objects", value->type, r->error);
    if (value->count > DESCRIBE_MOST_EXAMPLES)
        return api_fail(r->error, 400, "too_many_items", "examples", "%zu examples; up to %u are accepted",
                        value->count, DESCRIBE_MOST_EXAMPLES);
    struct describe_example *examples = arena_array(r->arena, value->count, sizeof *examples);
    if (!examples)
        return api_fail_memory(r->error);
    size_t n = 0;
    for (const struct json_value *one = value->child; one; one = one->next, n++)
        if (!read_example(r, one, n, &examples[n]))
            return false;
    r->out->prompt.examples = examples;
    r->out->prompt.n_examples = n;
    return true;
}

static const struct field of_prompt[] = {
    {.name = "mode", .forms = FIELD_JSON, .read = read_mode},
    {.name = "question", .forms = FIELD_JSON, .read = read_question},
    {.name = "examples", .forms = FIELD_JSON, .read = read_examples},
};
static const struct field_table prompt_table = {FIELD_TABLE(of_prompt)};

static bool read_prompt(void *reader, const struct json_value *value) {
    struct describe_reader *r = reader;
    r->out->prompt.mode = DESCRIBE_PAPER;
    return read_object(r, value, "prompt", &prompt_table);
}

bool describe_read_ocr(void *reader, const struct json_value *value) {
    struct describe_reader *r = reader;
    return describe_read_text(r, value, "ocr", &r->out->prompt.ocr);
}

/* ---- all */

static bool read_image(void *reader, const struct json_value *value) {
    ((struct reader *)reader)->image = value;
    return true;
}

static bool read_images(void *reader, const struct json_value *value) {
    ((struct reader *)reader)->images = value;
    return true;
}

#define PROMPT_SCHEMA                                                                                        \
    "{\"type\":\"object\",\"properties\":{"                                                                  \
    "\"mode\":{\"enum\":[\"paper\",\"all\",\"vision\",\"vqa\",\"hm\",null],\"default\":\"paper\"},"          \
    "\"question\":{\"type\":[\"string\",\"null\"],\"maxLength\":65536},"                                     \
    "\"examples\":{\"type\":[\"array\",\"null\"],\"maxItems\":16,\"items\":{\"type\":\"object\","            \
    "\"properties\":{\"prompt\":{\"type\":\"string\",\"maxLength\":65536},\"answer\":{\"type\":\"string\","  \
    "\"maxLength\":65536}},\"required\":[\"prompt\",\"answer\"],\"additionalProperties\":false}}},"          \
    "\"if\":{\"properties\":{\"mode\":{\"const\":\"hm\"}},\"required\":[\"mode\"]},"                         \
    "\"then\":{\"properties\":{\"question\":{\"type\":\"null\"}}},"                                          \
    "\"else\":{\"properties\":{\"question\":{\"type\":\"string\"}},\"required\":[\"question\"]},"            \
    "\"additionalProperties\":{\"type\":\"null\"}}"

static const struct field rows[] = {
    {.name = "image",
     .forms = FIELD_JSON,
     .kind = FIELD_PICTURE,
     .what = "The picture: a data URI, base64, or a URL where these are fetched.",
     .read = read_image},
    {FIELD_IMAGES_ROW, .read = read_images},
    DESCRIBE_WORDS_ROWS,
    {.name = "prompt",
     .forms = FIELD_JSON,
     .kind = FIELD_SCHEMA,
     .schema = PROMPT_SCHEMA,
     .what = "A prompt that tells the words to a language model: in the form of LENS's paper or of a mode of "
             "its program.",
     .read = read_prompt},
    FIELD_MODEL(FIELD_JSON),
};
const struct field_table describe_fields = {FIELD_TABLE(rows)};

bool describe_check(const struct describe_request *request, struct api_error *error) {
    const struct describe_prompt *prompt = &request->prompt;
    if (prompt->ocr.data && prompt->mode != DESCRIBE_PAPER)
        return api_fail(error, 400, "conflicting_fields", "ocr",
                        "a prompt of mode paper alone has a place for ocr");
    if (prompt->mode == DESCRIBE_HM && prompt->question.data)
        return api_fail(error, 400, "conflicting_fields", "prompt.question",
                        "mode hm has a question of its own; leave question out");
    if (prompt->mode != DESCRIBE_NO_PROMPT && prompt->mode != DESCRIBE_HM && !prompt->question.data)
        return api_fail(error, 400, "missing_field", "prompt.question",
                        "prompt has no question; mode hm alone has one of its own");
    return true;
}

struct describe_request describe_defaults(void) {
    return (struct describe_request){
        .words = {[DESCRIBE_TAGS] = {text_of(VOCABULARY_TAGS), DESCRIBE_TERMS, true, 0, false},
                  [DESCRIBE_ATTRIBUTES] = {text_of(VOCABULARY_ATTRIBUTES), DESCRIBE_TERMS, true, 0, false},
                  [DESCRIBE_CAPTIONS] = {.threshold = NO_THRESHOLD, .told = true}}};
}

bool describe_read(const struct request_models *models, const char *body, size_t size, struct arena *arena,
                   struct describe_request *out, struct api_error *error) {
    const struct json_value *object;
    struct reader reader = {.shared = {.out = out, .arena = arena, .error = error}};
    *out = describe_defaults();
    return request_read_object(body, size, arena, &object, error) &&
           request_choose_model(models, object, &out->model, error) &&
           field_read_object(object, &describe_fields, &reader, error) && describe_check(out, error) &&
           request_read_images(reader.image, reader.images, arena, &out->images, &out->n_images, error);
}
