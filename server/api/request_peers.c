/* request_peers.c - the table, and a value held against it. Read-only, any thread. */
#include "server/api/request_peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/request_parts.h"

#define CUT      "a text is cut at its end to the model's length, and never refused for its tokens"
#define UNIT     "embeddings are unit vectors"
#define NO_CHAT  "a text is embedded as it is, without a chat's template"
#define ONE_ROLE "a text has one embedding, whatever it is for"

const struct request_peer_field request_peer_fields[] = {
    {.name = "input_type",
     .values = {"\"query\"", "\"document\"", "\"passage\"", "\"search_query\"", "\"search_document\"",
                "\"classification\"", "\"clustering\"", "\"image\"", "\"text\""},
     .reason = ONE_ROLE},
    {.name = "task",
     .values = {"\"retrieval\"", "\"retrieval.query\"", "\"retrieval.passage\"", "\"text-matching\"",
                "\"classification\"", "\"clustering\"", "\"separation\""},
     .reason = ONE_ROLE},
    {.name = "truncate", .values = {"true", "\"END\""}, .reason = CUT},
    {.name = "truncation", .values = {"true"}, .reason = CUT},
    {.name = "truncation_direction", .values = {"\"right\"", "\"Right\""}, .reason = CUT},
    {.name = "truncate_prompt_tokens", .values = {"-1"}, .number = PEER_TEXT_LENGTH, .reason = CUT},
    {.name = "add_special_tokens", .values = {"true"}, .reason = "a text always has its end token"},
    {.name = "normalized", .values = {"true"}, .reason = UNIT},
    {.name = "normalize", .values = {"true"}, .reason = UNIT},
    {.name = "normalize_embeddings", .values = {"true"}, .reason = UNIT},
    {.name = "output_dimension",
     .number = PEER_DIMENSIONS,
     .reason = "the model was not trained to be cut shorter"},
    {.name = "late_chunking", .values = {"false"}, .reason = "each item is embedded by itself"},
    {.name = "add_generation_prompt", .values = {"true", "false"}, .reason = NO_CHAT},
    {.name = "continue_final_message", .values = {"true", "false"}, .reason = NO_CHAT},
    {.name = "return_multivector", .values = {"false"}, .reason = "an item has one embedding"},
};
const size_t request_peer_count = sizeof request_peer_fields / sizeof *request_peer_fields;

const struct request_peer_field *request_peer_find(struct text name) {
    for (size_t i = 0; i < request_peer_count; i++)
        if (text_is(name, request_peer_fields[i].name))
            return &request_peer_fields[i];
    return NULL;
}

/* The number of the model's that the field may be; 0: none. */
static uint32_t number_of(const struct request_peer_field *field, const struct limoe_info *model) {
    return field->number == PEER_DIMENSIONS    ? model->embed
           : field->number == PEER_TEXT_LENGTH ? model->text_length
                                               : 0;
}

/* Whether the value is what the JSON text `accepted` says. */
static bool is_value(const struct json_value *value, const char *accepted) {
    switch (value->type) {
    case JSON_TRUE:
        return strcmp(accepted, "true") == 0;
    case JSON_FALSE:
        return strcmp(accepted, "false") == 0;
    case JSON_NUMBER:
        return strchr("-0123456789", accepted[0]) && value->number == strtod(accepted, NULL);
    case JSON_STRING:
        return accepted[0] == '"' &&
               text_equal(value->string, (struct text){.data = accepted + 1, .size = strlen(accepted) - 2});
    default:
        return false;
    }
}

static bool takes(const struct request_peer_field *field, const struct limoe_info *model,
                  const struct json_value *value) {
    if (field->number && value->type == JSON_NUMBER && value->number == (double)number_of(field, model))
        return true;
    for (size_t i = 0; i < REQUEST_PEER_VALUES && field->values[i]; i++)
        if (is_value(value, field->values[i]))
            return true;
    return false;
}

/* "\"END\"", "false": what was found. */
static const char *show_found(const struct json_value *value, char *out, size_t size) {
    char quoted[64];
    if (value->type == JSON_STRING)
        snprintf(out, size, "\"%s\"", text_quote(value->string, quoted, sizeof quoted));
    else if (value->type == JSON_NUMBER)
        snprintf(out, size, "%g", value->number);
    else
        snprintf(out, size, "%s", json_type_name(value->type));
    return out;
}

/* "true, \"END\"": what is accepted. */
static const char *show_accepted(const struct request_peer_field *field, const struct limoe_info *model,
                                 char *out, size_t size) {
    size_t used = 0;
    for (size_t i = 0; i < REQUEST_PEER_VALUES && field->values[i] && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "", field->values[i]);
    if (field->number && used < size)
        snprintf(out + used, size - used, "%s%u", used ? ", " : "", number_of(field, model));
    return out;
}

static bool refuse(const struct request_peer_field *field, const struct limoe_info *model,
                   const struct json_value *value, struct api_error *error) {
    char found[80], accepted[256];
    return api_fail(error, 400, "unsupported_value", field->name, "%s is %s; accepted: %s, because %s",
                    field->name, show_found(value, found, sizeof found),
                    show_accepted(field, model, accepted, sizeof accepted), field->reason);
}

bool request_peer_check(const struct request_peer_field *field, const struct limoe_info *model,
                        const struct json_value *value, struct api_error *error) {
    return takes(field, model, value) || refuse(field, model, value, error);
}

/* {"enum":[…]}, and any number of the model's, which is not known here. */
static void one_schema(struct buffer *out, const struct request_peer_field *field) {
    buffer_string(out, "{\"enum\":[");
    for (size_t i = 0; i < REQUEST_PEER_VALUES && field->values[i]; i++)
        buffer_print(out, "%s%s", i ? "," : "", field->values[i]);
    buffer_string(out, "]}");
}

static void schema(struct buffer *out, const struct request_peer_field *field) {
    buffer_string(out, "{\"anyOf\":[");
    if (field->values[0]) {
        one_schema(out, field);
        buffer_string(out, ",");
    }
    if (field->number)
        buffer_string(out, "{\"type\":\"integer\",\"minimum\":1},");
    buffer_string(out, "{\"type\":\"null\"}],\"description\":\"Accepted, because ");
    buffer_print(out, "%s.\"}", field->reason);
}

void request_peer_schemas(struct buffer *out) {
    for (size_t i = 0; i < request_peer_count; i++) {
        buffer_print(out, ",\"%s\":", request_peer_fields[i].name);
        schema(out, &request_peer_fields[i]);
    }
}
