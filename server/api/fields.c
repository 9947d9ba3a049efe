/* fields.c - tables of fields: looked up, listed, read by, written as JSON schemas. No state. */
#include "server/api/fields.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/api/request_parts.h"

/* A format of our own: a data URI, base64, or a URL where pictures are fetched. */
#define FIELD_PICTURE_FORMAT ",\"format\":\"picture\""
/* What text_blank finds nothing in has one character at least that is none of these. */
#define NOT_BLANK "[^\\\\t\\\\n\\\\v\\\\f\\\\r \\\\u00a0\\\\u3000]"

const struct field *field_find(const struct field_table *table, struct text name, unsigned form) {
    for (size_t i = 0; i < table->n; i++)
        if (table->fields[i].forms & form && text_is(name, table->fields[i].name))
            return &table->fields[i];
    return NULL;
}

const char *field_names(const struct field_table *table, unsigned form, char *out, size_t size) {
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < table->n && used < size; i++)
        if (table->fields[i].forms & form && !table->fields[i].unlisted)
            used +=
                (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "", table->fields[i].name);
    return out;
}

static bool refuse(const struct field_table *table, struct text name, struct api_error *error) {
    char names[400];
    return request_refuse_field(name.data, name.size, field_names(table, FIELD_JSON, names, sizeof names),
                                error);
}

bool field_read_object(const struct json_value *object, const struct field_table *table, void *reader,
                       struct api_error *error) {
    for (const struct json_value *value = object->child; value; value = value->next) {
        if (value->type == JSON_NULL)
            continue;
        const struct field *field = field_find(table, value->name, FIELD_JSON);
        bool ok = true;
        if (field)
            ok = !field->read || field->read(reader, value);
        else
            ok = table->other ? table->other(reader, value) : refuse(table, value->name, error);
        if (!ok)
            return false;
    }
    return true;
}

/* ---- schemas */

/* ,"minLength":1: what is not bounded is not said. */
static void bound(struct buffer *out, const char *name, uint64_t value) {
    if (value)
        buffer_print(out, ",\"%s\":%" PRIu64, name, value);
}

/* Only JSON has null, which is as if the field were absent. */
static bool may_be_null(const struct field *field, unsigned form) {
    return form == FIELD_JSON && !field->required;
}

static void type(struct buffer *out, const char *name, const struct field *field, unsigned form) {
    buffer_print(out, may_be_null(field, form) ? "\"type\":[\"%s\",\"null\"]" : "\"type\":\"%s\"", name);
}

static void labels(struct buffer *out, const struct field *field, unsigned form) {
    type(out, "array", field, form);
    bound(out, "minItems", field->least);
    bound(out, "maxItems", field->most);
    /* A bound in bytes holds for characters, too, of which each has one byte or more. */
    buffer_string(out, ",\"items\":{\"type\":\"string\"");
    bound(out, "maxLength", field->bytes);
    buffer_string(out, ",\"pattern\":\"" NOT_BLANK "\"}");
}

static void picture(struct buffer *out, const struct field *field, unsigned form) {
    if (form == FIELD_JSON) {
        type(out, "string", field, form);
        buffer_string(out, FIELD_PICTURE_FORMAT);
    } else
        buffer_print(out,
                     "\"type\":\"array\",\"minItems\":1,\"maxItems\":%" PRIu64
                     ",\"items\":{\"type\":\"string\",\"format\":\"binary\"}",
                     field->most);
}

static void items(struct buffer *out, const struct field *field, unsigned form) {
    static const char item[] =
        SCHEMA({"type" : "string", "minLength" : 1}, {"$ref" : "#/components/schemas/Item"});
    buffer_print(out, "\"anyOf\":[{\"type\":\"string\",\"minLength\":1},{\"type\":\"array\"");
    bound(out, "minItems", field->least);
    bound(out, "maxItems", field->most);
    buffer_print(out, ",\"items\":{\"anyOf\":[%s]}}%s]", item,
                 may_be_null(field, form) ? ",{\"type\":\"null\"}" : "");
}

static void choice(struct buffer *out, const struct field *field, unsigned form) {
    buffer_string(out, "\"enum\":[");
    for (size_t i = 0; field->choices[i]; i++) {
        buffer_string(out, i ? "," : "");
        buffer_json_string(out, field->choices[i]);
    }
    buffer_string(out, may_be_null(field, form) ? ",null]" : "]");
}

static void other(struct buffer *out, const struct field *field, unsigned form) {
    if (may_be_null(field, form))
        buffer_print(out, "\"anyOf\":[%s,{\"type\":\"null\"}]", field->schema);
    else
        buffer_print(out, "\"allOf\":[%s]", field->schema);
}

static void kind(struct buffer *out, const struct field *field, unsigned form) {
    switch (field->kind) {
    case FIELD_STRING:
        type(out, "string", field, form);
        bound(out, "minLength", field->least);
        bound(out, "maxLength", field->most);
        break;
    case FIELD_LABELS:
        labels(out, field, form);
        break;
    case FIELD_PICTURE:
        picture(out, field, form);
        break;
    case FIELD_PICTURES:
        type(out, "array", field, form);
        bound(out, "minItems", field->least);
        bound(out, "maxItems", field->most);
        buffer_string(out, ",\"items\":{\"type\":\"string\"" FIELD_PICTURE_FORMAT "}");
        break;
    case FIELD_ITEMS:
        items(out, field, form);
        break;
    case FIELD_WHOLE:
        type(out, "integer", field, form);
        bound(out, "minimum", field->least);
        bound(out, "maximum", field->most);
        break;
    case FIELD_CHOICE:
        choice(out, field, form);
        break;
    case FIELD_SCHEMA:
        other(out, field, form);
        break;
    }
}

void field_schema(struct buffer *out, const struct field *field, unsigned form) {
    buffer_string(out, "{");
    kind(out, field, form);
    if (field->fallback)
        buffer_print(out, ",\"default\":%s", field->fallback);
    if (field->what) {
        buffer_string(out, ",\"description\":");
        buffer_json_string(out, field->what);
    }
    buffer_string(out, "}");
}

void field_object_schema(struct buffer *out, const struct field_table *table, unsigned form) {
    size_t n = 0;
    buffer_string(out, "{\"type\":\"object\",\"properties\":{");
    for (size_t i = 0; i < table->n; i++) {
        if (!(table->fields[i].forms & form))
            continue;
        buffer_string(out, n++ ? "," : "");
        buffer_json_string(out, table->fields[i].name);
        buffer_string(out, ":");
        field_schema(out, &table->fields[i], form);
    }
    if (table->write_others && form == FIELD_JSON)
        table->write_others(out);
    /* What is null is absent, whatever its name. */
    buffer_string(out, form == FIELD_JSON ? "},\"additionalProperties\":{\"type\":\"null\"}"
                                          : "},\"additionalProperties\":false");
    n = 0;
    for (size_t i = 0; i < table->n; i++)
        if (table->fields[i].forms & form && table->fields[i].required) {
            buffer_string(out, n++ ? "," : ",\"required\":[");
            buffer_json_string(out, table->fields[i].name);
        }
    buffer_string(out, n ? "]}" : "}");
}
