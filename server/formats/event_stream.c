/* event_stream.c - lines end with CR, LF or both; an empty one ends an event. */
#include "server/formats/event_stream.h"

#include <string.h>

#include "base/arena.h"
#include "server/formats/json_reader.h"

#define MARK "\xEF\xBB\xBF"

static bool is_object(struct text data) {
    struct arena *arena = arena_new();
    struct json_value *value = NULL;
    struct json_error error;
    const bool good =
        arena && json_read(data.data, data.size, arena, &value, &error) && value->type == JSON_OBJECT;
    arena_free(arena);
    return good;
}

/* JSON's strings have no line feed in them, so one between lines of data is white space. */
static bool end_event(struct event_stream *stream, struct buffer *out, const char **what) {
    const struct text data = buffer_text(&stream->data);
    if (!data.size)
        return true;
    stream->done = text_is(data, EVENT_STREAM_DONE);
    if (!stream->done && !is_object(data)) {
        *what = "an event that is no JSON object";
        return false;
    }
    stream->events += !stream->done;
    buffer_string(out, EVENT_STREAM_DATA);
    buffer_bytes(out, data.data, data.size);
    buffer_string(out, EVENT_STREAM_END);
    stream->data.size = 0;
    return true;
}

static bool take_data(struct event_stream *stream, struct text value, const char **what) {
    if (value.size && *value.data == ' ') {
        value.data++;
        value.size--;
    }
    if (stream->data.size + value.size >= EVENT_STREAM_MOST) {
        *what = "an event that is too long";
        return false;
    }
    if (stream->data.size)
        buffer_bytes(&stream->data, " ", 1);
    buffer_bytes(&stream->data, value.data, value.size);
    return true;
}

/* "data: …", or another field, which is dropped, or a comment. */
static bool end_line(struct event_stream *stream, struct buffer *out, const char **what) {
    static const char field[] = "data";
    struct text line = buffer_text(&stream->line);
    if (!stream->begun && line.size >= strlen(MARK) && memcmp(line.data, MARK, strlen(MARK)) == 0) {
        line.data += strlen(MARK);
        line.size -= strlen(MARK);
    }
    stream->begun = true;
    stream->line.size = 0;
    if (!line.size)
        return end_event(stream, out, what);
    const char *colon = memchr(line.data, ':', line.size);
    const size_t name = colon ? (size_t)(colon - line.data) : line.size;
    if (name != strlen(field) || memcmp(line.data, field, name) != 0)
        return true;
    const size_t used = colon ? name + 1 : name;
    return take_data(stream, (struct text){.data = line.data + used, .size = line.size - used}, what);
}

static size_t span_line(const char *bytes, size_t size) {
    size_t n = 0;
    while (n < size && bytes[n] != '\n' && bytes[n] != '\r')
        n++;
    return n;
}

static bool take_line(struct event_stream *stream, const char *bytes, size_t n, const char **what) {
    if (stream->line.size + n > EVENT_STREAM_MOST) {
        *what = "a line that is too long";
        return false;
    }
    buffer_bytes(&stream->line, bytes, n);
    return true;
}

bool event_stream_feed(struct event_stream *stream, const char *bytes, size_t size, struct buffer *out,
                       const char **what) {
    while (size && !stream->done) {
        const bool rest = stream->after_return && *bytes == '\n';
        const size_t n = rest ? 0 : span_line(bytes, size);
        if (!rest && !take_line(stream, bytes, n, what))
            return false;
        stream->after_return = n < size && bytes[n] == '\r';
        if (n < size && !rest && !end_line(stream, out, what))
            return false;
        const size_t taken = n < size ? n + 1 : n;
        bytes += taken;
        size -= taken;
    }
    const bool good = !stream->line.failed && !stream->data.failed && !out->failed;
    if (!good)
        *what = "more than there is memory for";
    return good;
}

bool event_stream_may_end(const struct event_stream *stream) {
    return stream->events && (stream->done || (!stream->line.size && !stream->data.size));
}

bool event_stream_next(struct text *events, struct text *data) {
    const size_t before = strlen(EVENT_STREAM_DATA), after = strlen(EVENT_STREAM_END);
    const char *end = events->size ? memmem(events->data, events->size, EVENT_STREAM_END, after) : NULL;
    if (!end || (size_t)(end - events->data) < before || memcmp(events->data, EVENT_STREAM_DATA, before) != 0)
        return false;
    const size_t size = (size_t)(end - events->data);
    *data = (struct text){.data = events->data + before, .size = size - before};
    *events = (struct text){.data = end + after, .size = events->size - size - after};
    return true;
}

void event_stream_free(struct event_stream *stream) {
    buffer_free(&stream->line);
    buffer_free(&stream->data);
}
