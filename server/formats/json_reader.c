/* json_reader.c - one pass over the bytes, recursive over arrays and objects to JSON_MAX_DEPTH. No state. */
#include "server/formats/json_reader.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reader {
    const char *start, *at, *end;
    struct arena *arena;
    struct json_error *error;
    const struct json_limits *limits;
    size_t values;
    int depth;
};

const char *json_type_name(enum json_type type) {
    switch (type) {
    case JSON_NULL:
        return "null";
    case JSON_FALSE:
        return "false";
    case JSON_TRUE:
        return "true";
    case JSON_NUMBER:
        return "a number";
    case JSON_STRING:
        return "a string";
    case JSON_ARRAY:
        return "an array";
    case JSON_OBJECT:
        return "an object";
    }
    return "nothing";
}

/* Fills the error with the place `at` and returns false. */
static bool fail_at(struct reader *r, const char *at, const char *format, ...)
    __attribute__((format(printf, 3, 4), cold));

static bool fail_at(struct reader *r, const char *at, const char *format, ...) {
    struct json_error *error = r->error;
    *error = (struct json_error){.offset = (size_t)(at - r->start), .line = 1, .column = 1};
    for (const char *c = r->start; c < at; c++) {
        error->column++;
        if (*c == '\n') {
            error->line++;
            error->column = 1;
        }
    }
    va_list args;
    va_start(args, format);
    vsnprintf(error->message, sizeof error->message, format, args);
    va_end(args);
    return false;
}

static bool fail_memory(struct reader *r) {
    fail_at(r, r->at, "no memory");
    r->error->no_memory = true;
    return false;
}

static void skip_space(struct reader *r) {
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r'))
        r->at++;
}

/* What stands at the reader, for messages: "end of input", "\"x\"", "byte 0x01". */
static const char *found(const struct reader *r, char out[16]) {
    if (r->at >= r->end)
        return "the end";
    const unsigned char c = (unsigned char)*r->at;
    if (c > 0x20 && c < 0x7F)
        snprintf(out, 16, "\"%c\"", c);
    else
        snprintf(out, 16, "byte 0x%02x", c);
    return out;
}

/* ---- strings */

/* Skips bytes that need no look: printable ASCII but for the quote and the backslash, eight at a time. A byte
 * b of the word has its high bit set in: word, if b >= 0x80; below(), if b < 0x20; equal(), if b is c. */
static const char *skip_plain(const char *at, const char *end) {
    const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
    while (end - at >= 8) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        const uint64_t quote = word ^ (ones * '"'), backslash = word ^ (ones * '\\');
        const uint64_t control = word - ones * 0x20;
        if ((word | control | (quote - ones) | (backslash - ones)) & highs)
            break;
        at += 8;
    }
    while (at < end && (unsigned char)*at >= 0x20 && (unsigned char)*at < 0x80 && *at != '"' && *at != '\\')
        at++;
    return at;
}

/* Reads the four digits of a \uXXXX whose backslash is at `at`; -1: they are not there. */
static int32_t hex4(const char *at, const char *end) {
    if (end - at < 6 || at[0] != '\\' || at[1] != 'u')
        return -1;
    int32_t value = 0;
    for (int i = 2; i < 6; i++) {
        const char c = at[i];
        int digit;
        if (c >= '0' && c <= '9')
            digit = c - '0';
        else if (c >= 'a' && c <= 'f')
            digit = c - 'a' + 10;
        else if (c >= 'A' && c <= 'F')
            digit = c - 'A' + 10;
        else
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

static size_t put_utf8(char *out, uint32_t code) {
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xC0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xE0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3F));
        out[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3F));
    out[2] = (char)(0x80 | (code >> 6 & 0x3F));
    out[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

/* Checks the escape at `at` and gives its length in the source and its character. */
static bool read_escape(struct reader *r, const char *at, size_t *length, uint32_t *code) {
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const char *name = r->end - at >= 2 && at[1] ? strchr(names, at[1]) : NULL;
    if (name) {
        *length = 2;
        *code = (uint32_t)(unsigned char)values[name - names];
        return true;
    }
    const int32_t unit = hex4(at, r->end);
    if (unit < 0)
        return fail_at(r, at, "an escape that is none of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX");
    *length = 6;
    *code = (uint32_t)unit;
    if (unit == 0)
        return fail_at(r, at, "\\u0000 is not accepted in a string");
    if (unit >= 0xD800 && unit <= 0xDFFF) {
        const int32_t low = unit <= 0xDBFF ? hex4(at + 6, r->end) : -1;
        if (low < 0xDC00 || low > 0xDFFF)
            return fail_at(r, at, "half a surrogate pair (\\u%04x)", (unsigned)unit);
        *length = 12;
        *code = 0x10000u + ((uint32_t)(unit - 0xD800) << 10) + (uint32_t)(low - 0xDC00);
    }
    return true;
}

/* A string whose opening quote is at the reader. One pass checks it and finds its end; a second copies it to
 * the arena, only when it has escapes. */
static bool read_string(struct reader *r, struct text *out) {
    const char *const open = r->at, *const start = open + 1;
    const char *at = start;
    bool escapes = false;
    for (;;) {
        at = skip_plain(at, r->end);
        if (at >= r->end)
            return fail_at(r, open, "a string that does not end");
        const unsigned char c = (unsigned char)*at;
        if (c == '"')
            break;
        size_t length = 0;
        uint32_t code = 0;
        if (c == '\\') {
            if (!read_escape(r, at, &length, &code))
                return false;
            escapes = true;
        } else if (c < 0x20) {
            return fail_at(r, at, "control character 0x%02x in a string; write it as an escape", c);
        } else {
            length = text_sequence(at, (size_t)(r->end - at));
            if (!length)
                return fail_at(r, at, "byte 0x%02x is not UTF-8", c);
        }
        at += length;
    }
    r->at = at + 1;
    *out = (struct text){.data = start, .size = (size_t)(at - start)};
    if (!escapes)
        return true;

    char *copy = arena_alloc(r->arena, out->size); /* no escape is shorter than what it stands for */
    if (!copy)
        return fail_memory(r);
    size_t n = 0;
    for (const char *from = start; from < at;) {
        const char *backslash = memchr(from, '\\', (size_t)(at - from));
        const size_t plain = (size_t)((backslash ? backslash : at) - from);
        memcpy(copy + n, from, plain);
        n += plain;
        from += plain;
        if (backslash) {
            size_t length = 0;
            uint32_t code = 0;
            if (!read_escape(r, from, &length, &code))
                return false;
            n += put_utf8(copy + n, code);
            from += length;
        }
    }
    *out = (struct text){.data = copy, .size = n};
    return true;
}

/* ---- numbers and words */

static size_t digits_at(const struct reader *r, const char *at) {
    const char *first = at;
    while (at < r->end && *at >= '0' && *at <= '9')
        at++;
    return (size_t)(at - first);
}

static bool read_number(struct reader *r, struct json_value *value) {
    const char *at = r->at + (*r->at == '-');
    const size_t whole = digits_at(r, at);
    if (!whole || (whole > 1 && *at == '0'))
        return fail_at(r, r->at, whole ? "a number that begins with 0" : "a \"-\" without a number");
    at += whole;
    if (at < r->end && *at == '.') {
        const size_t fraction = digits_at(r, at + 1);
        if (!fraction)
            return fail_at(r, at, "a number that ends with its decimal point");
        at += 1 + fraction;
    }
    if (at < r->end && (*at == 'e' || *at == 'E')) {
        at++;
        at += at < r->end && (*at == '+' || *at == '-');
        const size_t exponent = digits_at(r, at);
        if (!exponent)
            return fail_at(r, r->at, "a number without the digits of its exponent");
        at += exponent;
    }
    char copy[64]; /* strtod wants a NUL after it */
    const size_t size = (size_t)(at - r->at);
    if (size >= sizeof copy)
        return fail_at(r, r->at, "a number of %zu characters; up to %zu are accepted", size, sizeof copy - 1);
    memcpy(copy, r->at, size);
    copy[size] = '\0';
    value->number = strtod(copy, NULL);
    value->string = (struct text){.data = r->at, .size = size};
    r->at = at;
    return true;
}

static bool read_word(struct reader *r, const char *word, enum json_type type, struct json_value *value) {
    const size_t size = strlen(word);
    if ((size_t)(r->end - r->at) < size || memcmp(r->at, word, size) != 0)
        return fail_at(r, r->at, "neither a value nor true, false or null");
    r->at += size;
    value->type = type;
    return true;
}

/* ---- values */

static bool read_value(struct reader *r, struct text name, struct json_value **out);

const struct json_value *json_member(const struct json_value *object, struct text name) {
    if (object && object->type == JSON_OBJECT)
        for (const struct json_value *member = object->child; member; member = member->next)
            if (text_equal(member->name, name))
                return member;
    return NULL;
}

const struct json_value *json_given(const struct json_value *object, struct text name) {
    const struct json_value *member = json_member(object, name);
    return member && member->type != JSON_NULL ? member : NULL;
}

/* "name": with the reader at the name. */
static bool read_name(struct reader *r, const struct json_value *object, struct text *name) {
    char seen[16], quoted[48];
    const char *at = r->at;
    if (at >= r->end || *at != '"')
        return fail_at(r, at, "expected a member's name in double quotes, found %s", found(r, seen));
    if (object->count == r->limits->members)
        return fail_at(r, at, "an object of more than %zu members", r->limits->members);
    if (!read_string(r, name))
        return false;
    if (json_member(object, *name))
        return fail_at(r, at, "\"%s\" is given twice", text_quote(*name, quoted, sizeof quoted));
    skip_space(r);
    if (r->at >= r->end || *r->at != ':')
        return fail_at(r, r->at, "expected \":\" after a member's name, found %s", found(r, seen));
    r->at++;
    return true;
}

/* The rest of an array or object, with the reader after its opening bracket. */
static bool read_children(struct reader *r, struct json_value *parent, char close) {
    char seen[16];
    if (++r->depth > JSON_MAX_DEPTH)
        return fail_at(r, r->at - 1, "nested more than %d deep", JSON_MAX_DEPTH);
    struct json_value **next = &parent->child;
    skip_space(r);
    if (r->at < r->end && *r->at == close) {
        r->at++;
        r->depth--;
        return true;
    }
    for (;;) {
        struct text name = {0};
        skip_space(r);
        if (parent->type == JSON_OBJECT && !read_name(r, parent, &name))
            return false;
        if (!read_value(r, name, next))
            return false;
        next = &(*next)->next;
        parent->count++;

        skip_space(r);
        if (r->at < r->end && *r->at == ',') {
            r->at++;
            continue;
        }
        if (r->at < r->end && *r->at == close) {
            r->at++;
            r->depth--;
            return true;
        }
        return fail_at(r, r->at, "expected \",\" or \"%c\", found %s", close, found(r, seen));
    }
}

static bool read_value(struct reader *r, struct text name, struct json_value **out) {
    char seen[16];
    skip_space(r);
    if (++r->values > r->limits->values)
        return fail_at(r, r->at, "more than %zu values", r->limits->values);
    struct json_value *value = arena_array(r->arena, 1, sizeof *value);
    if (!value)
        return fail_memory(r);
    value->name = name;
    *out = value;

    if (r->at >= r->end)
        return fail_at(r, r->at, "expected a value, found the end");
    switch (*r->at) {
    case '"':
        value->type = JSON_STRING;
        return read_string(r, &value->string);
    case '[':
        r->at++;
        value->type = JSON_ARRAY;
        return read_children(r, value, ']');
    case '{':
        r->at++;
        value->type = JSON_OBJECT;
        return read_children(r, value, '}');
    case 't':
        return read_word(r, "true", JSON_TRUE, value);
    case 'f':
        return read_word(r, "false", JSON_FALSE, value);
    case 'n':
        return read_word(r, "null", JSON_NULL, value);
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        value->type = JSON_NUMBER;
        return read_number(r, value);
    default:
        return fail_at(r, r->at, "expected a value, found %s", found(r, seen));
    }
}

/* ---- byte order marks */

static bool begins_with(const char *bytes, size_t size, const char *mark, size_t mark_size) {
    return size >= mark_size && memcmp(bytes, mark, mark_size) == 0;
}

/* Length of a UTF-8 byte order mark, or 0. */
static size_t utf8_mark(const char *bytes, size_t size) {
    return begins_with(bytes, size, "\xEF\xBB\xBF", 3) ? 3 : 0;
}

/* The encoding that the bytes are in, if it is none of JSON's, or NULL: by its byte order mark, or by the
 * zero bytes that "{" has in it. The longer marks stand first, for the shorter ones begin them. */
static const char *foreign_encoding(const char *bytes, size_t size) {
    static const struct {
        const char *mark;
        size_t size;
        const char *name;
    } marks[] = {
        {"\xFF\xFE\0\0", 4, "UTF-32"}, {"\0\0\xFE\xFF", 4, "UTF-32"}, {"\xFF\xFE", 2, "UTF-16"},
        {"\xFE\xFF", 2, "UTF-16"},     {"{\0\0\0", 4, "UTF-32"},      {"\0\0\0{", 4, "UTF-32"},
        {"{\0", 2, "UTF-16"},          {"\0{", 2, "UTF-16"},
    };
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (begins_with(bytes, size, marks[i].mark, marks[i].size))
            return marks[i].name;
    return NULL;
}

bool json_begins(const char *bytes, size_t size) {
    if (foreign_encoding(bytes, size))
        return true; /* json_read says which */
    const size_t mark = utf8_mark(bytes, size);
    struct reader r = {.at = bytes + mark, .end = bytes + size};
    skip_space(&r);
    return r.at < r.end && (*r.at == '{' || *r.at == '[');
}

/* ---- */

bool json_read_within(const char *bytes, size_t size, const struct json_limits *limits, struct arena *arena,
                      struct json_value **out, struct json_error *error) {
    const char *start = bytes + utf8_mark(bytes, size);
    struct reader r = {
        .start = start, .at = start, .end = bytes + size, .arena = arena, .limits = limits, .error = error};
    char seen[16];
    const char *encoding = foreign_encoding(bytes, size);
    if (encoding)
        return fail_at(&r, r.at, "this is %s; UTF-8 is accepted", encoding);
    if (!read_value(&r, (struct text){0}, out))
        return false;
    skip_space(&r);
    if (r.at < r.end)
        return fail_at(&r, r.at, "expected the end after the value, found %s", found(&r, seen));
    return true;
}

bool json_read(const char *bytes, size_t size, struct arena *arena, struct json_value **out,
               struct json_error *error) {
    static const struct json_limits limits = {.values = JSON_MAX_VALUES, .members = JSON_MAX_MEMBERS};
    return json_read_within(bytes, size, &limits, arena, out, error);
}
