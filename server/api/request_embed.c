/* request_embed.c - POST /v1/embeddings and POST /v1/routing: one list of texts and pictures, in every form
 * that clients of other servers send it. */
#include <string.h>

#include "server/api/request_parts.h"
#include "server/api/request_peers.h"
#include "server/formats/data_uri.h"

#define EMBEDDINGS_FIELDS "input, model, encoding_format, dimensions, modality, user"
#define ROUTING_FIELDS    "input, model, modality"
#define INPUT_FORMS       "a string, or a list of strings and of {\"text\": …} or {\"image\": …} items"

static bool read_text(const struct request_items_reader *r, struct text text, const char *param,
                      struct request_item *out) {
    /* White space is a text: its embedding is that of the tokens it has, perhaps of the end token alone. */
    if (!text.size)
        return api_fail(r->error, 400, "empty_input", param, "%s is empty", param);
    if (text.size > REQUEST_MAX_TEXT_BYTES)
        return api_fail(r->error, 400, "too_long", param, "%s has %zu bytes of text; up to %u are accepted",
                        param, text.size, REQUEST_MAX_TEXT_BYTES);
    *out = (struct request_item){
        .modality = LIMOE_TEXT, .bytes = (const uint8_t *)text.data, .size = text.size, .param = param};
    return true;
}

/* {"text": "…"} or {"image": "…"}, nothing else. */
static bool read_object(const struct request_items_reader *r, const struct json_value *object,
                        const char *param, struct request_item *out) {
    const struct json_value *text = NULL, *image = NULL;
    for (const struct json_value *member = object->child; member; member = member->next) {
        char quoted[32];
        if (member->type == JSON_NULL)
            continue;
        if (text_is(member->name, "text"))
            text = member;
        else if (text_is(member->name, "image"))
            image = member;
        else
            return api_fail(r->error, 400, "unknown_field", param,
                            "%s has no field \"%s\"; accepted: text or image", param,
                            text_quote(member->name, quoted, sizeof quoted));
    }
    if (!text == !image)
        return api_fail(r->error, 400, "invalid_item", param, "%s has %s; exactly one is accepted", param,
                        text ? "both text and image" : "neither text nor image");

    const struct json_value *content = text ? text : image;
    const char *content_param = arena_print(r->arena, "%s.%s", param, text ? "text" : "image");
    if (!content_param)
        return api_fail_memory(r->error);
    if (content->type != JSON_STRING)
        return request_refuse_type(content_param, text ? "a string" : "a string (a data URI or base64)",
                                   content->type, r->error);
    return text ? read_text(r, text->string, content_param, out)
                : request_read_image(image->string, content_param, r->arena, out, r->error);
}

bool request_read_item(const struct request_items_reader *r, const struct json_value *value,
                       const char *param, struct request_item *out) {
    switch (value->type) {
    case JSON_STRING: {
        const bool image = r->strings == STRINGS_ARE_IMAGES ||
                           (r->strings == STRINGS_BY_LOOK && data_uri_is_meant(value->string));
        return image ? request_read_image(value->string, param, r->arena, out, r->error)
                     : read_text(r, value->string, param, out);
    }
    case JSON_OBJECT:
        return read_object(r, value, param, out);
    case JSON_NUMBER:
    case JSON_ARRAY:
        return api_fail(r->error, 400, "invalid_type", param,
                        "%s is %s: token ids are not accepted, for no other vocabulary is this model's; send "
                        "the text itself (LangChain: check_embedding_ctx_length=False)",
                        param, json_type_name(value->type));
    default:
        return request_refuse_type(param, "a string, {\"text\": …} or {\"image\": …}", value->type, r->error);
    }
}

bool request_read_item_list(const struct request_items_reader *r, const struct json_value *list,
                            const char *name, struct request_item *items) {
    size_t i = 0;
    for (const struct json_value *value = list->child; value; value = value->next, i++) {
        const char *param = arena_print(r->arena, "%s[%zu]", name, i);
        if (!param)
            return api_fail_memory(r->error);
        if (!request_read_item(r, value, param, &items[i]))
            return false;
    }
    return true;
}

bool request_read_items(const struct request_items_reader *r, const struct json_value *input,
                        const char *name, struct embed_request *out) {
    if (!input)
        return api_fail(r->error, 400, "missing_input", name, "%s is missing; accepted: " INPUT_FORMS, name);
    if (input->type != JSON_STRING && input->type != JSON_ARRAY)
        return request_refuse_type(name, INPUT_FORMS, input->type, r->error);

    const size_t n = input->type == JSON_ARRAY ? input->count : 1;
    if (n == 0)
        return api_fail(r->error, 400, "empty_input", name, "%s is empty; 1 to %u items are accepted", name,
                        REQUEST_MAX_ITEMS);
    if (n > REQUEST_MAX_ITEMS)
        return api_fail(r->error, 400, "too_many_items", name, "%zu items; up to %u are accepted", n,
                        REQUEST_MAX_ITEMS);
    struct request_item *items = arena_array(r->arena, n, sizeof *items);
    if (!items)
        return api_fail_memory(r->error);

    out->items = items;
    out->n_items = n;
    return input->type == JSON_STRING ? request_read_item(r, input, name, &items[0])
                                      : request_read_item_list(r, input, name, items);
}

bool request_check_modalities(const struct limoe_info *model, const struct request_item *items, size_t n,
                              struct api_error *error) {
    struct limoe_error missing;
    for (size_t i = 0; i < n; i++) {
        const struct request_item *item = &items[i];
        if (limoe_accepts(model, item->modality, &missing))
            return api_fail(error, 400, "unsupported_modality", item->param, "%s is %s: %s", item->param,
                            item->modality == LIMOE_IMAGE ? "a picture" : "a text", missing.message);
    }
    return true;
}

static bool read_modality(const struct json_value *value, enum request_strings *out,
                          struct api_error *error) {
    const char *accepted = "\"text\" or \"image\"";
    if (value->type != JSON_STRING)
        return request_refuse_type("modality", accepted, value->type, error);
    if (text_is(value->string, "text"))
        *out = STRINGS_ARE_TEXTS;
    else if (text_is(value->string, "image"))
        *out = STRINGS_ARE_IMAGES;
    else
        return api_fail(error, 400, "invalid_modality", "modality", "modality must be %s", accepted);
    return true;
}

static bool read_encoding(const struct json_value *value, enum request_encoding *out,
                          struct api_error *error) {
    const char *accepted = "\"float\" or \"base64\"";
    if (value->type != JSON_STRING)
        return request_refuse_type("encoding_format", accepted, value->type, error);
    if (text_is(value->string, "float"))
        *out = REQUEST_FLOAT;
    else if (text_is(value->string, "base64"))
        *out = REQUEST_BASE64;
    else
        return api_fail(error, 400, "invalid_encoding_format", "encoding_format",
                        "encoding_format must be %s", accepted);
    return true;
}

static bool check_dimensions(const struct limoe_info *model, const struct json_value *value,
                             struct api_error *error) {
    if (value->type != JSON_NUMBER)
        return request_refuse_type("dimensions", "a number", value->type, error);
    if (value->number != (double)model->embed)
        return api_fail(error, 400, "unsupported_dimensions", "dimensions",
                        "dimensions is %g; this model's embeddings have %u, and it was not trained to be cut "
                        "shorter",
                        value->number, model->embed);
    return true;
}

/* `routing` has no embeddings to encode, and so fewer fields. */
static bool read_request(const struct request_models *models, const char *body, size_t size, bool routing,
                         struct arena *arena, struct embed_request *out, struct api_error *error) {
    const struct json_value *object, *input = NULL;
    struct request_items_reader reader = {.arena = arena, .strings = STRINGS_BY_LOOK, .error = error};
    *out = (struct embed_request){.encoding = REQUEST_FLOAT};
    if (!request_read_object(body, size, arena, &object, error) ||
        !request_choose_model(models, object, &out->model, error))
        return false;
    const struct limoe_info *model = models->info[out->model];

    for (const struct json_value *field = object->child; field; field = field->next) {
        const struct request_peer_field *peer;
        bool ok = true;
        if (field->type == JSON_NULL || text_is(field->name, "model"))
            continue;
        if (text_is(field->name, "input"))
            input = field;
        else if (text_is(field->name, "modality"))
            ok = read_modality(field, &reader.strings, error);
        else if (!routing && text_is(field->name, "encoding_format"))
            ok = read_encoding(field, &out->encoding, error);
        else if (!routing && text_is(field->name, "dimensions"))
            ok = check_dimensions(model, field, error);
        else if (!routing && text_is(field->name, "user")) /* whose request it is: of no use here */
            ok = field->type == JSON_STRING || request_refuse_type("user", "a string", field->type, error);
        else if (!routing && (peer = request_peer_find(field->name)))
            ok = request_peer_check(peer, model, field, error);
        else
            ok = request_refuse_field(field->name.data, field->name.size,
                                      routing ? ROUTING_FIELDS : EMBEDDINGS_FIELDS, error);
        if (!ok)
            return false;
    }
    return request_read_items(&reader, input, "input", out) &&
           request_check_modalities(model, out->items, out->n_items, error);
}

bool request_embeddings_json(const struct request_models *models, const char *body, size_t size,
                             struct arena *arena, struct embed_request *out, struct api_error *error) {
    return read_request(models, body, size, false, arena, out, error);
}

bool request_routing_json(const struct request_models *models, const char *body, size_t size,
                          struct arena *arena, struct embed_request *out, struct api_error *error) {
    return read_request(models, body, size, true, arena, out, error);
}
