/* lines.c - a line's buffer grows with what has come of it (buffer_growth). */
#include "server/front/calls/lines.h"

#include <string.h>

#define SMALLEST_BUFFER 1024u

void lines_free(struct lines *lines) {
    lines->let_go(lines->arg, lines->line.capacity);
    buffer_free(&lines->line);
}

static void drop(struct lines *lines, enum lines_found fault) {
    lines_free(lines);
    lines->fault = fault;
}

static bool make_room(struct lines *lines, size_t size) {
    const size_t capacity = lines->line.capacity,
                 wanted = buffer_growth(&lines->line, size, SMALLEST_BUFFER, lines->most);
    if (wanted == capacity)
        return true;
    if (!lines->hold(lines->arg, wanted - capacity))
        return false;
    buffer_reserve(&lines->line, wanted - lines->line.size);
    if (!lines->line.failed && lines->line.capacity == wanted)
        return true;
    if (lines->line.capacity < wanted) /* no memory */
        lines->let_go(lines->arg, wanted - capacity);
    return !lines->line.failed;
}

static void add(struct lines *lines, const char *bytes, size_t size) {
    if (lines->fault != LINES_NONE || size == 0)
        return;
    if (size > lines->most - lines->line.size)
        drop(lines, LINES_TOO_LONG);
    else if (!make_room(lines, size))
        drop(lines, LINES_NO_ROOM);
    else
        buffer_bytes(&lines->line, bytes, size);
}

static bool is_blank(const struct buffer *line) {
    for (size_t i = 0; i < line->size; i++)
        if (line->data[i] != ' ' && line->data[i] != '\t' && line->data[i] != '\r')
            return false;
    return true;
}

bool lines_pending(const struct lines *lines) {
    return lines->fault != LINES_NONE || !is_blank(&lines->line);
}

enum lines_found lines_end(struct lines *lines) {
    const enum lines_found fault = lines->fault;
    lines->fault = LINES_NONE;
    if (fault != LINES_NONE)
        return fault;
    if (!is_blank(&lines->line))
        return LINES_LINE;
    lines->line.size = 0; /* its room serves the next */
    return LINES_NONE;
}

enum lines_found lines_read(struct lines *lines, const char **at, const char *end) {
    while (*at < end) {
        const char *newline = memchr(*at, '\n', (size_t)(end - *at));
        const char *stop = newline ? newline : end;
        add(lines, *at, (size_t)(stop - *at));
        *at = newline ? newline + 1 : end;
        const enum lines_found found = newline ? lines_end(lines) : LINES_NONE;
        if (found != LINES_NONE)
            return found;
    }
    return LINES_NONE;
}

struct buffer lines_take(struct lines *lines) {
    const struct buffer line = lines->line;
    lines->line = (struct buffer){0};
    return line;
}
