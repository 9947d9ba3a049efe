/* request_chat.c - POST /v1/chat/completions read: the messages' pictures are found, all else is left as it is.
 *
 * Parts that are neither text nor picture are refused: what is behind the URL of a video or a file would be fetched by the language
 * model's server, where no client may send it.
 */
#include <stdio.h>

#include "server/api/chat.h"
#include "server/api/request_parts.h"

struct reader {
    struct request_items_reader items;
    struct request_item *images; /* [n] found so far */
    size_t n;
};

static bool is_part(const struct json_value *part, const char *type) {
    const struct json_value *said = json_given(part, text_of("type"));
    return said && said->type == JSON_STRING && text_is(said->string, type);
}

static bool read_part(struct reader *r, const struct json_value *part, size_t message, size_t i) {
    const char *param = arena_print(r->items.arena, "messages[%zu].content[%zu]", message, i);
    if (!param)
        return api_fail_memory(r->items.error);
    if (part->type != JSON_OBJECT)
        return request_refuse_type(param, "{\"type\": …}", part->type, r->items.error);
    if (chat_part_is_image(part))
        return request_read_item(&r->items, part, param, &r->images[r->n++]);
    if (json_given(part, text_of("image_url")))
        return api_fail(r->items.error, 400, "unsupported_value", param,
                        "%s has an image_url, but not the type image_url; it would be passed on unseen",
                        param);
    const struct json_value *text = json_given(part, text_of(is_part(part, "refusal") ? "refusal" : "text"));
    if (!is_part(part, "text") && !is_part(part, "refusal"))
        return api_fail(r->items.error, 400, "unsupported_value", param,
                        "%s is of a type that is not passed on; accepted: text and image_url", param);
    return (text && text->type == JSON_STRING) ||
           api_fail(r->items.error, 400, "invalid_type", param, "%s has no text; accepted: a string", param);
}

static bool read_message(struct reader *r, const struct json_value *message, size_t i) {
    char param[48];
    snprintf(param, sizeof param, "messages[%zu]", i);
    if (message->type != JSON_OBJECT)
        return request_refuse_type(param, "{\"role\": …, \"content\": …}", message->type, r->items.error);
    const struct json_value *content = json_given(message, text_of("content"));
    snprintf(param, sizeof param, "messages[%zu].content", i);
    if (!content || content->type == JSON_STRING)
        return true;
    if (content->type != JSON_ARRAY)
        return request_refuse_type(param, "a string, or a list of parts", content->type, r->items.error);
    size_t n = 0;
    for (const struct json_value *part = content->child; part; part = part->next, n++)
        if (!read_part(r, part, i, n))
            return false;
    return true;
}

static size_t count_images(const struct json_value *messages) {
    size_t n = 0;
    for (const struct json_value *message = messages->child; message; message = message->next) {
        const struct json_value *content = json_given(message, text_of("content"));
        if (content && content->type == JSON_ARRAY)
            for (const struct json_value *part = content->child; part; part = part->next)
                n += chat_part_is_image(part);
    }
    return n;
}

static bool read_messages(const struct json_value *messages, struct arena *arena,
                          struct describe_request *out, struct api_error *error) {
    struct reader r = {.items = {.arena = arena, .strings = STRINGS_ARE_IMAGES, .error = error}};
    if (!messages)
        return api_fail(error, 400, "missing_field", "messages", "there are no messages");
    if (messages->type != JSON_ARRAY)
        return request_refuse_type("messages", "a list of messages", messages->type, error);
    if (!messages->count)
        return api_fail(error, 400, "empty_input", "messages", "messages is empty");
    const size_t n = count_images(messages);
    if (n > REQUEST_MAX_ITEMS)
        return api_fail(error, 400, "too_many_images", "messages", "%zu pictures; up to %u are accepted", n,
                        REQUEST_MAX_ITEMS);
    r.images = arena_array(arena, n, sizeof *r.images);
    if (!r.images)
        return api_fail_memory(error);
    size_t i = 0;
    for (const struct json_value *message = messages->child; message; message = message->next, i++)
        if (!read_message(&r, message, i))
            return false;
    out->images = r.images;
    out->n_images = n;
    return true;
}

/* A model of ours, which sees the pictures; or the language model by its name, for which the default one does. */
static bool choose_model(const struct request_models *models, const char *upstream,
                         const struct json_value *object, size_t *out, struct api_error *error) {
    const struct json_value *model = json_given(object, text_of("model"));
    *out = 0;
    return (model && model->type == JSON_STRING && text_is(model->string, upstream)) ||
           request_choose_model(models, object, out, error);
}

bool chat_read(const struct request_models *models, const char *upstream, const char *body, size_t size,
               struct arena *arena, struct chat_request *out, struct api_error *error) {
    *out = (struct chat_request){.describe = describe_defaults()};
    if (!request_read_object(body, size, arena, &out->object, error) ||
        !choose_model(models, upstream, out->object, &out->describe.model, error) ||
        !read_messages(json_given(out->object, text_of("messages")), arena, &out->describe, error))
        return false;
    const struct json_value *stream = json_given(out->object, text_of("stream"));
    out->stream = stream && stream->type == JSON_TRUE;
    return !stream || out->stream || stream->type == JSON_FALSE ||
           request_refuse_type("stream", "true or false", stream->type, error);
}
