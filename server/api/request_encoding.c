/* request_encoding.c - "encoding_format" and its kin. No state, any thread. */
#include "server/api/request_encoding.h"

#include <stdio.h>

#include "server/api/request_parts.h"

#define NUMBERS "\"float\", \"int8\", \"ubinary\" or \"binary\""
#define WRITTEN "\"float\", \"base64\", \"int8\", \"ubinary\" or \"binary\""

/* The fields, and what each accepts. */
static const struct encoding_field {
    const char *name;
    const char *accepted;
    const char *code; /* of the error for any other value */
    bool base64;      /* takes "base64" */
    bool list;        /* takes a list of one value */
} fields[] = {
    {.name = "encoding_format", .accepted = WRITTEN, .code = "invalid_encoding_format", .base64 = true},
    {.name = "embedding_type",
     .accepted = WRITTEN,
     .code = "unsupported_value",
     .base64 = true,
     .list = true},
    {.name = "embedding_types", .accepted = NUMBERS, .code = "unsupported_value", .list = true},
    {.name = "output_dtype", .accepted = NUMBERS, .code = "unsupported_value"},
};

static const struct encoding_field *find(struct text name) {
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (text_is(name, fields[i].name))
            return &fields[i];
    return NULL;
}

static bool refuse_value(const struct encoding_field *field, struct text found, struct api_error *error) {
    char quoted[64];
    return api_fail(error, 400, field->code, field->name, "%s is \"%s\"; accepted: %s", field->name,
                    text_quote(found, quoted, sizeof quoted), field->accepted);
}

static bool find_numbers(struct text name, enum request_encoding *out) {
    static const enum request_encoding numbers[] = {REQUEST_FLOAT, REQUEST_INT8, REQUEST_UBINARY,
                                                    REQUEST_BINARY};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (text_is(name, embedding_numbers_name(numbers[i]))) {
            *out = numbers[i];
            return true;
        }
    return false;
}

/* The field's one value; NULL: there are none or several, and *error says so. */
static const struct json_value *only_value(const struct encoding_field *field, const struct json_value *value,
                                           struct api_error *error) {
    if (!field->list || value->type != JSON_ARRAY)
        return value;
    if (value->count == 1)
        return value->child;
    api_fail(error, 400, "unsupported_value", field->name,
             "%s is a list of %zu; accepted: one of %s, for an answer has each embedding once", field->name,
             value->count, field->accepted);
    return NULL;
}

bool encoding_read(struct encoding_choice *choice, const struct json_value *member, struct api_error *error) {
    const struct encoding_field *field = find(member->name);
    const struct json_value *value = only_value(field, member, error);
    enum request_encoding numbers;
    if (!value)
        return false;
    if (value->type != JSON_STRING)
        return request_refuse_type(field->name, field->accepted, value->type, error);
    if (field->base64 && text_is(value->string, "base64")) {
        choice->base64 = true;
        return true;
    }
    if (!find_numbers(value->string, &numbers))
        return refuse_value(field, value->string, error);
    if (numbers == REQUEST_FLOAT && field == fields)
        return true; /* written as JSON numbers, whatever they are */
    if (choice->by && choice->numbers != numbers)
        return api_fail(error, 400, "conflicting_fields", field->name,
                        "%s is \"%s\" and %s \"%s\"; one of them is accepted", choice->by,
                        embedding_numbers_name(choice->numbers), field->name,
                        embedding_numbers_name(numbers));
    if (!choice->by || text_is(text_of(field->name), "output_dtype"))
        choice->by = field->name;
    choice->numbers = numbers;
    return true;
}

bool encoding_settle(const struct encoding_choice *choice, enum request_encoding *out,
                     struct api_error *error) {
    *out = choice->base64 ? (enum request_encoding)(choice->numbers | REQUEST_BASE64) : choice->numbers;
    if (!choice->base64 || choice->numbers == REQUEST_FLOAT || text_is(text_of(choice->by), "output_dtype"))
        return true;
    return api_fail(error, 400, "conflicting_fields", "encoding_format",
                    "%s is \"%s\" and encoding_format \"base64\", which clients decode as float32; send "
                    "encoding_format \"float\" for numbers, or name them by output_dtype for their bytes",
                    choice->by, embedding_numbers_name(choice->numbers));
}
