/* contents.c - [{"content":[part]},…] → items. No state, any thread. */
#include "server/api/dialects/contents.h"

#define PART "[{\"type\": \"text\", \"text\": …}] or [{\"type\": \"image_url\", \"image_url\": a data URI}]"

/* The input's one part; NULL: *error says what is there instead. */
static const struct json_value *find_part(const struct request_items_reader *r,
                                          const struct json_value *input, const char *param) {
    const struct json_value *content = json_member(input, text_of("content"));
    if (!content || content->type != JSON_ARRAY)
        request_refuse_type(param, PART, content ? content->type : JSON_NULL, r->error);
    else if (input->count != 1)
        api_fail(r->error, 400, "unknown_field", param, "%s has %zu fields; accepted: content", param,
                 input->count);
    else if (content->count != 1)
        api_fail(r->error, 400, content->count ? "too_many_items" : "empty_input", param,
                 "%s has %zu parts; exactly one is accepted, for a text or a picture has an embedding of its "
                 "own: " PART,
                 param, content->count);
    else
        return content->child;
    return NULL;
}

static bool read_input(const struct request_items_reader *r, const struct json_value *input, const char *name,
                       size_t i, struct request_item *out) {
    const char *param = arena_print(r->arena, "%s[%zu].content", name, i);
    const char *part_param = arena_print(r->arena, "%s[%zu].content[0]", name, i);
    if (!param || !part_param)
        return api_fail_memory(r->error);
    const struct json_value *part = find_part(r, input, param);
    return part && request_read_item(r, part, part_param, out);
}

bool contents_read(const struct request_items_reader *r, const struct json_value *list, const char *name,
                   struct embed_request *out) {
    if (!list)
        return api_fail(r->error, 400, "missing_input", name,
                        "%s is missing; accepted: a list of "
                        "{\"content\": " PART "}",
                        name);
    if (list->type != JSON_ARRAY)
        return request_refuse_type(name, "a list of {\"content\": " PART "}", list->type, r->error);
    if (!list->count || list->count > REQUEST_MAX_ITEMS)
        return api_fail(r->error, 400, list->count ? "too_many_items" : "empty_input", name,
                        "%s has %zu items; 1 to %u are accepted", name, list->count, REQUEST_MAX_ITEMS);
    struct request_item *items = arena_array(r->arena, list->count, sizeof *items);
    size_t i = 0;
    if (!items)
        return api_fail_memory(r->error);
    out->items = items;
    out->n_items = list->count;
    for (const struct json_value *input = list->child; input; input = input->next, i++)
        if (!read_input(r, input, name, i, &items[i]))
            return false;
    return true;
}
