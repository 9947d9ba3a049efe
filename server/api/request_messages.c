/* request_messages.c - a chat's messages as something to embed. No state, any thread.
 *
 * vLLM embeds a whole chat, template and all, into one vector. A model of texts and pictures has no template:
 * what is embedded is the one text or picture that the chat has. */
#include "server/api/request_parts.h"

#define ONE_PART                                                                                             \
    "[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:…\"}}]}]"

/* The message's "content"; NULL: *error says what is there instead. */
static const struct json_value *find_message_content(const struct request_items_reader *r,
                                                     const struct json_value *message) {
    const struct json_value *content = NULL;
    if (message->type != JSON_OBJECT) {
        request_refuse_type("messages[0]", "{\"role\": …, \"content\": …}", message->type, r->error);
        return NULL;
    }
    for (const struct json_value *member = message->child; member; member = member->next) {
        char quoted[32];
        if (member->type == JSON_NULL || text_is(member->name, "role"))
            continue;
        if (!text_is(member->name, "content")) {
            api_fail(r->error, 400, "unknown_field", "messages[0]",
                     "messages[0] has no field \"%s\"; accepted: role, content",
                     text_quote(member->name, quoted, sizeof quoted));
            return NULL;
        }
        content = member;
    }
    if (!content)
        api_fail(r->error, 400, "missing_input", "messages[0].content",
                 "messages[0] has no content; accepted: " ONE_PART);
    return content;
}

static bool refuse_count(const struct request_items_reader *r, const char *param, const char *what,
                         size_t n) {
    return api_fail(r->error, 400, n ? "too_many_items" : "empty_input", param,
                    "%s has %zu %s; exactly one is accepted, for a text or a picture has an embedding of its "
                    "own: " ONE_PART,
                    param, n, what);
}

/* {"type":"text","text":""}: what a client has nothing to say in. */
static bool is_empty_text(const struct json_value *part) {
    const struct json_value *text = json_member(part, text_of("text"));
    const struct json_value *type = json_member(part, text_of("type"));
    return text && text->type == JSON_STRING && !text->string.size && part->count == (type ? 2 : 1) &&
           (!type || (type->type == JSON_STRING && text_is(type->string, "text")));
}

/* The content is a list of one part, beside which vLLM's clients send an empty text, as its own CLIP wants it. */
static bool read_parts(const struct request_items_reader *r, const struct json_value *content,
                       struct embed_request *out) {
    const struct json_value *found = NULL;
    size_t i = 0, at = 0, n = 0;
    for (const struct json_value *part = content->child; part; part = part->next, i++)
        if (content->count != 2 || !is_empty_text(part)) {
            found = part;
            at = i;
            n++;
        }
    if (!found || n != 1)
        return refuse_count(r, "messages[0].content", "parts", content->count);
    struct request_item *item = arena_array(r->arena, 1, sizeof *item);
    const char *param = arena_print(r->arena, "messages[0].content[%zu]", at);
    if (!item || !param)
        return api_fail_memory(r->error);
    out->items = item;
    out->n_items = 1;
    return request_read_item(r, found, param, item);
}

bool request_read_messages(const struct request_items_reader *r, const struct json_value *messages,
                           struct embed_request *out) {
    if (messages->type != JSON_ARRAY)
        return request_refuse_type("messages", ONE_PART, messages->type, r->error);
    if (messages->count != 1)
        return refuse_count(r, "messages", "messages", messages->count);
    const struct json_value *content = find_message_content(r, messages->child);
    if (!content)
        return false;
    if (content->type != JSON_ARRAY && content->type != JSON_STRING)
        return request_refuse_type("messages[0].content", "a string, or a list of one part", content->type,
                                   r->error);
    return content->type == JSON_ARRAY ? read_parts(r, content, out)
                                       : request_read_items(r, content, "messages[0].content", out);
}
