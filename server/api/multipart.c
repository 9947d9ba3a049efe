/* multipart.c - delimiters, part headers, parameters. No state, any thread. */
#include "server/api/multipart.h"

#include <string.h>
#include <strings.h>

#define BOUNDARY_MOST     70   /* RFC 2046, section 5.1.1 */
#define PART_HEADERS_MOST 8192 /* bytes */

/* ---- parameters of a header: value; name=token; name="quoted \" string" */

static const char *skip_blanks(const char *c, const char *end) {
    while (c < end && (*c == ' ' || *c == '\t'))
        c++;
    return c;
}

/* The end of a quoted string that begins at c (a quote): just behind its closing quote, or NULL. */
static const char *quoted_end(const char *c, const char *end) {
    for (c++; c < end; c++)
        if (*c == '\\' && c + 1 < end)
            c++;
        else if (*c == '"')
            return c + 1;
    return NULL;
}

static char *copy_unquoted(struct arena *arena, const char *from, const char *end) {
    char *copy = arena_alloc(arena, (size_t)(end - from) + 1), *to = copy;
    if (!copy)
        return NULL;
    for (from++, end--; from < end; from++) {
        if (*from == '\\' && from + 1 < end && (from[1] == '"' || from[1] == '\\'))
            from++;
        *to++ = *from;
    }
    *to = '\0';
    return copy;
}

enum found { FOUND, MISSING, MALFORMED, NO_MEMORY };

/* The parameter `name` of header[0..end), copied to the arena. */
static enum found parameter(const char *header, const char *end, const char *name, struct arena *arena,
                            const char **out) {
    size_t length = strlen(name);
    const char *c = memchr(header, ';', (size_t)(end - header));
    while (c && c < end) {
        const char *key = skip_blanks(c + 1, end);
        const char *equals = key;
        while (equals < end && *equals != '=' && *equals != ';')
            equals++;
        if (equals == end || *equals == ';') { /* a parameter without a value */
            c = equals;
            continue;
        }
        const char *value = skip_blanks(equals + 1, end), *after = value;
        bool quoted = value < end && *value == '"';
        if (quoted) {
            after = quoted_end(value, end);
            if (!after)
                return MALFORMED;
        } else {
            while (after < end && *after != ';' && *after != ' ' && *after != '\t')
                after++;
        }
        if ((size_t)(equals - key) == length && strncasecmp(key, name, length) == 0) {
            *out = quoted ? copy_unquoted(arena, value, after)
                          : arena_copy(arena, value, (size_t)(after - value));
            return *out ? FOUND : NO_MEMORY;
        }
        c = memchr(after, ';', (size_t)(end - after));
    }
    return MISSING;
}

/* ---- parts */

struct reader {
    const char *c, *end;
    const char *delimiter; /* "\r\n--boundary" */
    size_t length;
    struct arena *arena;
    struct api_error *error;
};

/* The value of header `name` among lines[0..end) (each ends with CRLF), or NULL; *value_end is its end. */
static const char *header_value(const char *lines, const char *end, const char *name,
                                const char **value_end) {
    size_t length = strlen(name);
    while (lines < end) {
        const char *line_end = memmem(lines, (size_t)(end - lines), "\r\n", 2);
        if (!line_end)
            return NULL;
        if ((size_t)(line_end - lines) > length && lines[length] == ':' &&
            strncasecmp(lines, name, length) == 0) {
            *value_end = line_end;
            return skip_blanks(lines + length + 1, line_end);
        }
        lines = line_end + 2;
    }
    return NULL;
}

/* Names are C strings from here on: one with a NUL in it would pass for a shorter one. */
static bool check_nul(struct reader *reader, size_t index, const char *lines, const char *end) {
    const char *nul = memchr(lines, '\0', (size_t)(end - lines)), *line = nul;
    if (!nul)
        return true;
    while (line > lines && line[-1] != '\n')
        line--;
    const char *line_end = memmem(nul, (size_t)(end - nul), "\r\n", 2);
    char quoted[96];
    text_quote((struct text){.data = line, .size = (size_t)((line_end ? line_end : end) - line)}, quoted,
               sizeof quoted);
    return api_fail(reader->error, 400, "malformed_multipart", NULL,
                    "part %zu of the multipart body has a NUL byte in its header: \"%s\"", index, quoted);
}

static bool read_headers(struct reader *reader, size_t index, struct request_field *part) {
    const char *lines = reader->c;
    size_t left = (size_t)(reader->end - lines);
    const char *blank =
        left >= 2 && memcmp(lines, "\r\n", 2) == 0
            ? lines - 2
            : memmem(lines, left < PART_HEADERS_MOST ? left : PART_HEADERS_MOST, "\r\n\r\n", 4);
    if (!blank)
        return api_fail(
            reader->error, 400, "malformed_multipart", NULL,
            "part %zu of the multipart body has no empty line between its headers and its content (within "
            "%d bytes)",
            index, PART_HEADERS_MOST);
    const char *end = blank + 2, *value_end;
    if (end > lines && !check_nul(reader, index, lines, end))
        return false;
    reader->c = blank + 4;

    const char *disposition = header_value(lines, end, "Content-Disposition", &value_end);
    enum found found =
        disposition ? parameter(disposition, value_end, "name", reader->arena, &part->name) : MISSING;
    if (found == FOUND)
        found = parameter(disposition, value_end, "filename", reader->arena, &part->filename);
    else if (found != NO_MEMORY)
        return api_fail(
            reader->error, 400, "malformed_multipart", NULL,
            "part %zu of the multipart body has no name: its header must be 'Content-Disposition: "
            "form-data; name=\"…\"'",
            index);
    if (found == MALFORMED)
        return api_fail(reader->error, 400, "malformed_multipart", NULL,
                        "part %zu of the multipart body: the filename's quote is never closed", index);
    if (found == NO_MEMORY)
        return api_fail_memory(reader->error);

    const char *type = header_value(lines, end, "Content-Type", &value_end);
    if (type) {
        part->content_type = arena_copy(reader->arena, type, (size_t)(value_end - type));
        if (!part->content_type)
            return api_fail_memory(reader->error);
    }
    const char *encoding = header_value(lines, end, "Content-Transfer-Encoding", &value_end);
    if (encoding) {
        struct text text = {encoding, (size_t)(value_end - encoding)};
        char quoted[64];
        if (strncasecmp(encoding, "binary", 6) != 0 && strncasecmp(encoding, "8bit", 4) != 0 &&
            strncasecmp(encoding, "7bit", 4) != 0)
            return api_fail(
                reader->error, 400, "malformed_multipart", NULL,
                "part %zu of the multipart body has Content-Transfer-Encoding \"%s\"; accepted are "
                "binary, 8bit and 7bit",
                index, text_quote(text, quoted, sizeof quoted));
    }
    return true;
}

/* At a delimiter's end: skips to the next part. False: the body ends here, or is malformed (then *error is
 * set). */
static bool next_part(struct reader *reader, bool *malformed) {
    *malformed = false;
    if (reader->end - reader->c >= 2 && memcmp(reader->c, "--", 2) == 0)
        return false;
    const char *c = skip_blanks(reader->c, reader->end);
    *malformed = reader->end - c < 2 || memcmp(c, "\r\n", 2) != 0;
    reader->c = c + 2;
    return !*malformed;
}

static bool read_content(struct reader *reader, size_t index, struct request_field *part) {
    const char *content = reader->c;
    /* An empty content's delimiter may share its CRLF with the headers' empty line. */
    const char *from = content - 2;
    const char *delimiter = memmem(from, (size_t)(reader->end - from), reader->delimiter, reader->length);
    if (!delimiter)
        return api_fail(
            reader->error, 400, "malformed_multipart", NULL,
            "the multipart body ends within part %zu (\"%.40s\"): its closing boundary is missing", index,
            part->name);
    part->bytes = (const uint8_t *)content;
    part->size = delimiter > content ? (size_t)(delimiter - content) : 0;
    reader->c = delimiter + reader->length;
    return true;
}

/* The parts read so far. Grown by doubling: what the arena keeps of outgrown arrays is less than the last. */
struct parts {
    struct request_field *fields; /* [capacity], n of them read */
    size_t n, capacity;
};

/* Room for one more part, zeroed; NULL: no memory. */
static struct request_field *new_part(struct reader *reader, struct parts *parts) {
    if (parts->n == parts->capacity) {
        const size_t capacity = parts->capacity ? 2 * parts->capacity : 16;
        struct request_field *fields = arena_array(reader->arena, capacity, sizeof *fields);
        if (!fields)
            return NULL;
        if (parts->n)
            memcpy(fields, parts->fields, parts->n * sizeof *fields);
        parts->fields = fields;
        parts->capacity = capacity;
    }
    return &parts->fields[parts->n];
}

/* From behind the first delimiter to the closing one. What comes after that is an epilogue, which says
 * nothing (RFC 2046, section 5.1.1), and is not looked at. */
static bool read_parts(struct reader *reader, struct parts *parts) {
    bool malformed;
    while (next_part(reader, &malformed)) {
        if (parts->n == MULTIPART_MOST_PARTS)
            return api_fail(reader->error, 400, "too_many_parts", NULL,
                            "the multipart body has more than %u parts", MULTIPART_MOST_PARTS);
        struct request_field *part = new_part(reader, parts);
        if (!part)
            return api_fail_memory(reader->error);
        if (!read_headers(reader, parts->n, part) || !read_content(reader, parts->n, part))
            return false;
        parts->n++;
    }
    return !malformed ||
           api_fail(reader->error, 400, "malformed_multipart", NULL,
                    "the boundary before part %zu of the multipart body is followed neither by a line break "
                    "nor by \"--\"",
                    parts->n);
}

bool multipart_parse(const char *content_type, const char *body, size_t size, struct arena *arena,
                     struct request_field **parts, size_t *n, struct api_error *error) {
    const char *boundary = NULL;
    enum found found =
        parameter(content_type, content_type + strlen(content_type), "boundary", arena, &boundary);
    if (found == NO_MEMORY)
        return api_fail_memory(error);
    if (found != FOUND || !*boundary || strlen(boundary) > BOUNDARY_MOST)
        return api_fail(error, 400, "malformed_multipart", NULL,
                        "the Content-Type multipart/form-data needs a boundary of 1 to %d characters",
                        BOUNDARY_MOST);
    const char *delimiter = arena_print(arena, "\r\n--%s", boundary);
    if (!delimiter)
        return api_fail_memory(error);

    struct reader reader = {.c = body,
                            .end = body + size,
                            .delimiter = delimiter,
                            .length = strlen(delimiter),
                            .arena = arena,
                            .error = error};
    bool at_start = size >= reader.length - 2 && memcmp(body, delimiter + 2, reader.length - 2) == 0;
    const char *first = at_start ? NULL : memmem(body, size, delimiter, reader.length);
    if (!at_start && !first)
        return api_fail(error, 400, "malformed_multipart", NULL,
                        "the multipart body (%zu bytes) does not hold its boundary \"%s\"", size, boundary);
    reader.c = at_start ? body + reader.length - 2 : first + reader.length;

    struct parts all = {0};
    if (!read_parts(&reader, &all))
        return false;
    *parts = all.fields;
    *n = all.n;
    return true;
}
