/* request_attention.c - POST /v1/attention: a picture and texts. */
#include "server/api/attention.h"
#include "server/api/request_parts.h"

_Static_assert(ATTENTION_MOST_TEXTS == 1000, "as the schema has it");

/* The reader. */
struct reader {
    const struct json_value *image, *texts; /* read last */
    struct attention_request *out;
    struct api_error *error;
};

static bool keep_image(void *reader, const struct json_value *value) {
    ((struct reader *)reader)->image = value;
    return true;
}

static bool keep_texts(void *reader, const struct json_value *value) {
    ((struct reader *)reader)->texts = value;
    return true;
}

static bool read_kind(void *reader, const struct json_value *value) {
    struct api_error *error = ((struct reader *)reader)->error;
    if (value->type != JSON_STRING)
        return request_refuse_type("kind", "\"contribution\"", value->type, error);
    if (text_is(value->string, "cross"))
        return api_fail(
            error, 400, "unsupported_kind", "kind",
            "kind \"cross\" is the attention of a decoder that writes captions, and no model here has "
            "one; accepted: \"contribution\"");
    return text_is(value->string, "contribution") ||
           api_fail(error, 400, "invalid_kind", "kind", "kind must be \"contribution\"");
}

static bool read_format(void *reader, const struct json_value *value) {
    struct reader *r = reader;
    if (value->type != JSON_STRING)
        return request_refuse_type("format", "\"json\" or \"png\"", value->type, r->error);
    r->out->png = text_is(value->string, "png");
    return r->out->png || text_is(value->string, "json") ||
           api_fail(r->error, 400, "invalid_format", "format", "format must be \"json\" or \"png\"");
}

static const char *const kinds[] = {"contribution", NULL};
static const char *const formats[] = {"json", "png", NULL};

static const struct field rows[] = {
    {.name = "image",
     .forms = FIELD_JSON,
     .kind = FIELD_PICTURE,
     .required = true,
     .most = 1,
     .what = "The picture: a data URI, base64, or a URL where these are fetched.",
     .read = keep_image},
    {.name = "texts",
     .forms = FIELD_JSON,
     .kind = FIELD_SCHEMA,
     .required = true,
     .schema = "{\"type\":\"array\",\"minItems\":1,\"maxItems\":1000,\"items\":{\"type\":\"string\","
               "\"minLength\":1}}",
     .what = "What the picture is compared with: texts of 1 to 65536 bytes. Texts x patches are bounded, too "
             "(too_many_items); with format png there is one.",
     .read = keep_texts},
    {.name = "kind",
     .forms = FIELD_JSON,
     .kind = FIELD_CHOICE,
     .choices = kinds,
     .fallback = "\"contribution\"",
     .what = "What is told of each patch: what it adds to the cosine.",
     .read = read_kind},
    {.name = "format",
     .forms = FIELD_JSON,
     .kind = FIELD_CHOICE,
     .choices = formats,
     .fallback = "\"json\"",
     .what = "Numbers, or the picture with a map of them laid over it.",
     .read = read_format},
    FIELD_MODEL(FIELD_JSON),
};
const struct field_table attention_fields = {FIELD_TABLE(rows)};

static bool check_texts(const struct reader *r) {
    const struct json_value *texts = r->texts;
    if (!texts)
        return api_fail(r->error, 400, "missing_input", "texts",
                        "there are no texts; accepted: a list of 1 to %u strings", ATTENTION_MOST_TEXTS);
    if (texts->type != JSON_ARRAY)
        return request_refuse_type("texts", "a list of strings", texts->type, r->error);
    if (!texts->count)
        return api_fail(r->error, 400, "empty_input", "texts", "texts is empty; 1 to %u are accepted",
                        ATTENTION_MOST_TEXTS);
    if (texts->count > ATTENTION_MOST_TEXTS)
        return api_fail(r->error, 400, "too_many_items", "texts", "%zu texts; up to %u are accepted",
                        texts->count, ATTENTION_MOST_TEXTS);
    if (r->out->png && texts->count > 1)
        return api_fail(r->error, 400, "conflicting_fields", "texts",
                        "format is \"png\", and there are %zu texts; one is accepted with it", texts->count);
    return true;
}

static bool read_items(const struct reader *r, struct arena *arena) {
    if (!check_texts(r))
        return false;
    if (!r->image)
        return api_fail(r->error, 400, "missing_image", "image",
                        "there is no image; accepted: a data URI or base64");
    if (r->image->type != JSON_STRING)
        return request_refuse_type("image", "a string", r->image->type, r->error);
    struct request_item *items = arena_array(arena, 1 + r->texts->count, sizeof *items);
    if (!items)
        return api_fail_memory(r->error);
    size_t n = 0;
    for (const struct json_value *text = r->texts->child; text; text = text->next, n++) {
        const char *param = arena_print(arena, "texts[%zu]", n);
        if (!param)
            return api_fail_memory(r->error);
        if (text->type != JSON_STRING)
            return request_refuse_type(param, "a string", text->type, r->error);
        if (!request_read_text(text->string, param, &items[1 + n], r->error))
            return false;
    }
    r->out->items = items;
    r->out->n = n;
    return request_read_image(r->image->string, "image", arena, items, r->error);
}

bool attention_read(const struct request_models *models, const char *body, size_t size, struct arena *arena,
                    struct attention_request *out, struct api_error *error) {
    const struct json_value *object;
    struct reader reader = {.out = out, .error = error};
    *out = (struct attention_request){0};
    return request_read_object(body, size, arena, &object, error) &&
           request_choose_model(models, object, &out->model, error) &&
           field_read_object(object, &attention_fields, &reader, error) && read_items(&reader, arena) &&
           attention_check(models->info[out->model], out->n, error);
}

bool attention_check(const struct limoe_info *model, size_t texts, struct api_error *error) {
    struct limoe_error missing;
    for (int m = 0; m < LIMOE_MODALITIES; m++)
        if (limoe_accepts(model, (enum limoe_modality)m, &missing))
            return api_fail(error, 400, "unsupported_modality", "model",
                            "what is split is the cosine of a picture and a text, and %s", missing.message);
    const size_t patches = (size_t)attention_side(model) * attention_side(model);
    const uint64_t bytes = (uint64_t)attention_shares_size(model) * sizeof(float);
    if (model->shares == LIMOE_SHARES_NONE || bytes > ATTENTION_MOST_BYTES)
        return api_fail(
            error, 400, "unsupported_kind", "kind",
            "the embeddings of \"%s\" cannot be split by its %zu patches: %s", model->name, patches,
            model->shares ? "they would take more than 64 MiB" : "they are no sum of what patches add");
    if (texts * patches > ATTENTION_MOST_SHARES)
        return api_fail(error, 400, "too_many_items", "texts",
                        "%zu texts x %zu patches are more than the %u shares of one answer", texts, patches,
                        ATTENTION_MOST_SHARES);
    return true;
}
