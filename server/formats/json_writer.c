/* json_writer.c - recursive over arrays and objects, as the reader is. No state. */
#include "server/formats/json_writer.h"

static void write_children(struct buffer *out, const struct json_value *parent) {
    const bool object = parent->type == JSON_OBJECT;
    buffer_string(out, object ? "{" : "[");
    for (const struct json_value *child = parent->child; child; child = child->next) {
        buffer_string(out, child == parent->child ? "" : ",");
        if (object) {
            buffer_json_text(out, child->name);
            buffer_string(out, ":");
        }
        json_write(out, child);
    }
    buffer_string(out, object ? "}" : "]");
}

void json_write(struct buffer *out, const struct json_value *value) {
    switch (value->type) {
    case JSON_NULL:
        buffer_string(out, "null");
        break;
    case JSON_FALSE:
        buffer_string(out, "false");
        break;
    case JSON_TRUE:
        buffer_string(out, "true");
        break;
    case JSON_NUMBER:
        buffer_bytes(out, value->string.data, value->string.size);
        break;
    case JSON_STRING:
        buffer_json_text(out, value->string);
        break;
    case JSON_ARRAY:
    case JSON_OBJECT:
        write_children(out, value);
    }
}
