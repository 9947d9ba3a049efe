/* request_items.c - one text or picture to embed, in the forms that clients of several servers send it. No
 * state, any thread.
 *
 *     "a cat", "data:image/png;base64,…"
 *     {"text": …}, {"image": …}, {"url": …}, {"bytes": …}
 *     {"type":"text","text": …}, {"type":"image_url","image_url":{"url": …}}, {"type":"image_base64",…}
 *
 * A picture is a data URI or base64 in each, or the URL that it is to be fetched from. */
#include "server/api/request_parts.h"
#include "server/formats/data_uri.h"

#define INPUT_FORMS "a string, or a list of strings and of {\"text\": …} or {\"image\": …} items"
#define MEMBERS     "text, image, url, bytes, image_url or image_base64"

bool request_read_text(struct text text, const char *param, struct request_item *out,
                       struct api_error *error) {
    /* White space is a text: its embedding is that of the tokens it has, perhaps of the end token alone. */
    if (!text.size)
        return api_fail(error, 400, "empty_input", param, "%s is empty", param);
    if (text.size > REQUEST_MAX_TEXT_BYTES)
        return api_fail(error, 400, "too_long", param, "%s has %zu bytes of text; up to %u are accepted",
                        param, text.size, REQUEST_MAX_TEXT_BYTES);
    *out = (struct request_item){
        .modality = LIMOE_TEXT, .bytes = (const uint8_t *)text.data, .size = text.size, .param = param};
    return true;
}

/* ---- the members that an item's content stands in */

enum content { CONTENT_TEXT, CONTENT_IMAGE, CONTENT_URL };

static const struct member {
    const char *name;
    enum content content;
} members[] = {
    {"text", CONTENT_TEXT},          /* of all */
    {"image", CONTENT_IMAGE},        /* ours, Jina's */
    {"url", CONTENT_IMAGE},          /* Jina's, a data URI */
    {"bytes", CONTENT_IMAGE},        /* Jina's, base64 */
    {"image_base64", CONTENT_IMAGE}, /* Voyage's, a data URI */
    {"image_url", CONTENT_URL},      /* OpenAI's chat: {"url": …}; Voyage's: a string */
};

static const struct member *find_member(struct text name) {
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if (text_is(name, members[i].name))
            return &members[i];
    return NULL;
}

/* {"url": a data URI, "detail": whatever}: how finely it is looked at is not for the request to say. */
static bool read_url(const struct request_items_reader *r, const struct json_value *value, const char *param,
                     struct request_item *out) {
    const struct json_value *url = value->type == JSON_STRING ? value : NULL;
    if (value->type == JSON_OBJECT)
        for (const struct json_value *member = value->child; member; member = member->next) {
            char quoted[32];
            if (text_is(member->name, "url") && member->type == JSON_STRING)
                url = member;
            else if (member->type != JSON_NULL && !text_is(member->name, "detail"))
                return api_fail(r->error, 400, "unknown_field", param,
                                "%s has no string \"%s\"; accepted: url, a data URI", param,
                                text_quote(member->name, quoted, sizeof quoted));
        }
    if (!url)
        return request_refuse_type(param, "{\"url\": a data URI}, or the data URI", value->type, r->error);
    return request_read_image(url->string, param, r->arena, out, r->error);
}

static bool read_content(const struct request_items_reader *r, const struct json_value *value,
                         enum content content, const char *param, struct request_item *out) {
    if (content == CONTENT_URL)
        return read_url(r, value, param, out);
    if (value->type != JSON_STRING)
        return request_refuse_type(param,
                                   content == CONTENT_TEXT ? "a string" : "a string (a data URI or base64)",
                                   value->type, r->error);
    return content == CONTENT_TEXT ? request_read_text(value->string, param, out, r->error)
                                   : request_read_image(value->string, param, r->arena, out, r->error);
}

/* "type", where it is given, must be what the content is: its member's name, or "image" for a picture. */
static bool check_type(const struct request_items_reader *r, const struct json_value *type,
                       const struct member *member, const char *param) {
    char quoted[32];
    if (!type)
        return true;
    if (type->type != JSON_STRING)
        return api_fail(r->error, 400, "invalid_type", param, "%s.type is %s; accepted: a string", param,
                        json_type_name(type->type));
    if (text_is(type->string, member->name) ||
        (member->content != CONTENT_TEXT && text_is(type->string, "image")))
        return true;
    return api_fail(r->error, 400, "invalid_item", param, "%s is of type \"%s\" and has %s; accepted: \"%s\"",
                    param, text_quote(type->string, quoted, sizeof quoted), member->name, member->name);
}

/* Finds the one member that is the content; *type is "type", or NULL. */
static bool find_content(const struct request_items_reader *r, const struct json_value *object,
                         const char *param, const struct json_value **content,
                         const struct json_value **type) {
    *content = *type = NULL;
    for (const struct json_value *value = object->child; value; value = value->next) {
        char quoted[32], first[32];
        if (value->type == JSON_NULL)
            continue;
        if (text_is(value->name, "type"))
            *type = value;
        else if (!find_member(value->name))
            return api_fail(r->error, 400, "unknown_field", param,
                            "%s has no field \"%s\"; accepted: " MEMBERS ", and type", param,
                            text_quote(value->name, quoted, sizeof quoted));
        else if (*content)
            return api_fail(r->error, 400, "invalid_item", param,
                            "%s has both %s and %s; exactly one is accepted: an item has one embedding",
                            param, text_quote((*content)->name, first, sizeof first),
                            text_quote(value->name, quoted, sizeof quoted));
        else
            *content = value;
    }
    return *content || api_fail(r->error, 400, "invalid_item", param,
                                "%s has nothing to embed; accepted is one of " MEMBERS, param);
}

static bool read_object(const struct request_items_reader *r, const struct json_value *object,
                        const char *param, struct request_item *out) {
    const struct json_value *content, *type;
    if (!find_content(r, object, param, &content, &type) || !content)
        return false;
    const struct member *member = find_member(content->name);
    const char *content_param = arena_print(r->arena, "%s.%s", param, member->name);
    if (!content_param)
        return api_fail_memory(r->error);
    return check_type(r, type, member, param) &&
           read_content(r, content, member->content, content_param, out);
}

/* ---- items */

bool request_read_item(const struct request_items_reader *r, const struct json_value *value,
                       const char *param, struct request_item *out) {
    switch (value->type) {
    case JSON_STRING: {
        const bool image = r->strings == STRINGS_ARE_IMAGES ||
                           (r->strings == STRINGS_BY_LOOK && data_uri_is_meant(value->string));
        return image ? request_read_image(value->string, param, r->arena, out, r->error)
                     : request_read_text(value->string, param, out, r->error);
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
