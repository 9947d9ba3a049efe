/* request_adapter.c - "adapter" and "strength", and names in paths. */
#include "server/api/adapter.h"

#include "server/api/classifier.h"
#include "server/api/request_parts.h"

bool request_read_adapter(struct request_adapter *out, const struct json_value *value,
                          struct api_error *error) {
    if (value->type != JSON_STRING)
        return request_refuse_type("adapter", "a string", value->type, error);
    out->name = value->string;
    return classifier_check_name(out->name, "adapter", error);
}

bool request_read_adapter_list(struct request_adapter *out, const struct json_value *value,
                               struct arena *arena, struct api_error *error) {
    const struct json_value *item = value->child;
    struct text *names = arena_array(arena, ADAPTER_MOST_LIST, sizeof *names);
    if (!names)
        return api_fail_memory(error);
    if (value->count == 0 || value->count > ADAPTER_MOST_LIST)
        return api_fail(error, 400, "too_many_items", "adapter",
                        "a list of %zu adapters; 1 to %u are accepted", value->count, ADAPTER_MOST_LIST);
    for (out->n = 0; item; item = item->next) {
        if (item->type != JSON_STRING)
            return request_refuse_type("adapter", "a string, or a list of strings", item->type, error);
        if (!classifier_check_name(item->string, "adapter", error))
            return false;
        for (size_t i = 0; i < out->n; i++)
            if (text_equal(names[i], item->string))
                return api_fail(error, 400, "duplicate_field", "adapter",
                                "\"%.*s\" is in the list twice; each once is accepted",
                                (int)item->string.size, item->string.data);
        names[out->n++] = item->string;
    }
    out->list = names;
    return true;
}

bool request_read_strength(struct request_adapter *out, const struct json_value *value,
                           struct api_error *error) {
    if (value->type != JSON_NUMBER)
        return request_refuse_type("strength", "a number", value->type, error);
    if (!(value->number >= 0 && value->number <= 1))
        return api_fail(error, 400, "invalid_strength", "strength",
                        "strength is %g; a number from 0 to 1 is accepted", value->number);
    out->strength = (float)value->number;
    out->has_strength = true;
    return true;
}

bool request_check_adapter(const struct request_adapter *adapter, struct api_error *error) {
    return adapter->name.data || adapter->list || !adapter->has_strength ||
           api_fail(error, 400, "conflicting_fields", "strength",
                    "there is a strength and no adapter; a strength is of an adapter");
}

bool request_adapter_name(struct text name, struct api_error *error) {
    if (text_is(name, ADAPTER_BASE))
        return api_fail(error, 400, "invalid_name", "name",
                        "\"" ADAPTER_BASE "\" is the model as it is; another name is accepted");
    return classifier_check_name(name, "name", error);
}

bool adapter_refuse_unknown(struct text name, const char *param, const char *nearest,
                            struct api_error *error) {
    char quoted[CLASSIFIER_NAME_BYTES + 1];
    text_quote(name, quoted, sizeof quoted);
    if (nearest)
        return api_fail(error, 404, "adapter_not_found", param,
                        "there is no adapter \"%s\"; the nearest: \"%s\"", quoted, nearest);
    return api_fail(error, 404, "adapter_not_found", param,
                    "there is no adapter \"%s\", nor one of a similar name; GET /v1/adapters lists them",
                    quoted);
}
