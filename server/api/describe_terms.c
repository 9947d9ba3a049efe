/* describe_terms.c - a file of terms. */
#include <string.h>

#include "server/api/describe.h"

static bool refuse(struct api_error *error, const char *name, size_t line, const char *what) {
    return api_fail(error, 400, "invalid_value", NULL, "%s: line %zu %s", name, line, what);
}

/* A line without its end, which "\r\n" may be, too. */
static struct text next_line(struct text *rest) {
    const char *end = memchr(rest->data, '\n', rest->size);
    struct text line = {.data = rest->data, .size = end ? (size_t)(end - rest->data) : rest->size};
    const size_t taken = line.size + (end ? 1 : 0);
    rest->data += taken;
    rest->size -= taken;
    if (line.size && line.data[line.size - 1] == '\r')
        line.size--;
    return line;
}

static size_t count_lines(struct text rest) {
    size_t n = 0;
    while (rest.size) {
        next_line(&rest);
        n++;
    }
    return n;
}

bool describe_read_terms(const char *name, const char *bytes, size_t size, struct arena *arena,
                         const struct text **terms, size_t *n, struct api_error *error) {
    struct text rest = {.data = bytes, .size = size};
    const size_t lines = count_lines(rest);
    struct text *found = arena_array(arena, lines, sizeof *found);
    size_t count = 0;
    if (!found)
        return api_fail_memory(error);
    for (size_t line = 1; rest.size; line++) {
        const struct text term = next_line(&rest);
        if (text_check(term.data, term.size) < term.size)
            return refuse(error, name, line, "is not UTF-8, or has a NUL byte");
        if (text_blank(term))
            continue;
        if (term.size > REQUEST_MAX_LABEL_BYTES)
            return refuse(error, name, line, "has more than 1024 bytes");
        if (count == DESCRIBE_MOST_VOCABULARY)
            return refuse(error, name, line, "is behind 100000 terms, as many as are accepted");
        found[count++] = term;
    }
    *terms = found;
    *n = count;
    return count > 0 ||
           api_fail(error, 400, "empty_labels", NULL, "%s: no terms; accepted: one a line", name);
}
