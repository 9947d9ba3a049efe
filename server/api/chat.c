/* chat.c - a chat's request written anew, and its answer looked at. */
#include "server/api/chat.h"

#include "server/formats/json_writer.h"

bool chat_part_is_image(const struct json_value *part) {
    const struct json_value *type = json_given(part, text_of("type"));
    return type && type->type == JSON_STRING && text_is(type->string, "image_url");
}

static bool has_image(const struct json_value *content) {
    if (content->type == JSON_ARRAY)
        for (const struct json_value *part = content->child; part; part = part->next)
            if (chat_part_is_image(part))
                return true;
    return false;
}

/* The parts as one text, a line each: what any model's template takes. */
static void write_content(struct buffer *out, const struct json_value *content, const struct text **seen) {
    struct buffer text = {0};
    for (const struct json_value *part = content->child; part; part = part->next) {
        const struct json_value *said = json_given(part, text_of("text"));
        const struct text line = chat_part_is_image(part) ? *(*seen)++ : said ? said->string : text_of("");
        buffer_string(&text, part == content->child ? "" : "\n");
        buffer_bytes(&text, line.data, line.size);
    }
    buffer_json_text(out, buffer_text(&text));
    out->failed = out->failed || text.failed;
    buffer_free(&text);
}

static void write_name(struct buffer *out, const struct json_value *parent, const struct json_value *member) {
    buffer_string(out, member == parent->child ? "" : ",");
    buffer_json_text(out, member->name);
    buffer_string(out, ":");
}

static void write_message(struct buffer *out, const struct json_value *message, const struct text **seen) {
    buffer_string(out, "{");
    for (const struct json_value *member = message->child; member; member = member->next) {
        write_name(out, message, member);
        if (text_is(member->name, "content") && has_image(member))
            write_content(out, member, seen);
        else
            json_write(out, member);
    }
    buffer_string(out, "}");
}

static void write_messages(struct buffer *out, const struct json_value *messages, const struct text *seen) {
    buffer_string(out, "[");
    for (const struct json_value *message = messages->child; message; message = message->next) {
        buffer_string(out, message == messages->child ? "" : ",");
        write_message(out, message, &seen);
    }
    buffer_string(out, "]");
}

void chat_write_request(struct buffer *out, const struct chat_request *request, const char *upstream,
                        const struct text *seen) {
    buffer_string(out, "{\"model\":");
    buffer_json_string(out, upstream);
    for (const struct json_value *member = request->object->child; member; member = member->next) {
        if (text_is(member->name, "model"))
            continue;
        buffer_string(out, ",");
        buffer_json_text(out, member->name);
        buffer_string(out, ":");
        if (text_is(member->name, "messages"))
            write_messages(out, member, seen);
        else
            json_write(out, member);
    }
    buffer_string(out, "}");
}

bool chat_check_reply(const char *bytes, size_t size, struct arena *arena, struct api_error *error) {
    struct json_value *root;
    struct json_error odd;
    const bool good = json_read(bytes, size, arena, &root, &odd);
    if (!good && odd.no_memory)
        return api_fail_memory(error);
    const struct json_value *choices = good ? json_given(root, text_of("choices")) : NULL;
    return (choices && choices->type == JSON_ARRAY) ||
           api_fail(error, 502, "upstream_invalid", NULL,
                    "the language model's server answers with what is no answer of a chat");
}
