/* request_embed.c - POST /v1/embeddings and POST /v1/routing: one list of texts and pictures, in every form
 * that clients of other servers send it. */
#include "server/api/request_encoding.h"
#include "server/api/request_parts.h"
#include "server/api/request_peers.h"

#define EMBEDDINGS_FIELDS "input, messages, model, encoding_format, dimensions, modality, user"
#define ROUTING_FIELDS    "input, model, modality"

/* Texts and pictures, in whichever field they are. */
static bool read_input(const struct request_items_reader *r, const struct json_value *input,
                       const struct json_value *messages, struct embed_request *out) {
    if (input && messages)
        return api_fail(r->error, 400, "conflicting_fields", "messages",
                        "there are input and messages; one of them is accepted");
    if (messages)
        return request_read_messages(r, messages, out);
    return request_read_items(r, input, "input", out);
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

/* 0 stands for the model's own, as for some servers. */
static bool check_dimensions(const struct limoe_info *model, const struct json_value *value,
                             struct api_error *error) {
    if (value->type != JSON_NUMBER)
        return request_refuse_type("dimensions", "a number", value->type, error);
    if (value->number != 0 && value->number != (double)model->embed)
        return api_fail(error, 400, "unsupported_dimensions", "dimensions",
                        "dimensions is %g; this model's embeddings have %u, and it was not trained to be cut "
                        "shorter; accepted: %u, and 0 for the model's own",
                        value->number, model->embed, model->embed);
    return true;
}

/* `routing` has no embeddings to encode, and so fewer fields. */
static bool read_request(const struct request_models *models, const char *body, size_t size, bool routing,
                         struct arena *arena, struct embed_request *out, struct api_error *error) {
    const struct json_value *object, *input = NULL, *messages = NULL;
    struct encoding_choice encoding = {0};
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
        else if (!routing && text_is(field->name, "messages"))
            messages = field;
        else if (text_is(field->name, "modality"))
            ok = read_modality(field, &reader.strings, error);
        else if (!routing && encoding_is_field(field->name))
            ok = encoding_read(&encoding, field, error);
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
    return encoding_settle(&encoding, &out->encoding, error) && read_input(&reader, input, messages, out) &&
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
