/* entities.c - one pass each over the text. */
#include "model/text/entities.h"

#include <string.h>

#include "model/text/unicode.h"

#define LONGEST 32 /* characters of a name that html.unescape looks at */

/* ---- names */

static const struct entity *find(struct text name) {
    size_t low = 0, high = entities_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const char *at = entities_table[middle].name;
        const size_t size = strlen(at);
        int order = memcmp(at, name.data, size < name.size ? size : name.size);
        if (order == 0)
            order = size < name.size ? -1 : size > name.size;
        if (order == 0)
            return &entities_table[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* The longest name without a semicolon, of two characters or more, that begins this text. */
static const struct entity *find_bare(struct text text) {
    for (; text.size > 1; text.size--) {
        const struct entity *entity = find(text);
        if (entity && ENTITY_BARE(entity->value))
            return entity;
    }
    return NULL;
}

static void append_entity(const struct entity *entity, struct buffer *to) {
    unicode_append(to, ENTITY_FIRST(entity->value));
    if (ENTITY_SECOND(entity->value) != 0)
        unicode_append(to, ENTITY_SECOND(entity->value));
}

/* ---- numbers */

static int digit(char c, unsigned base) {
    const char lower = (char)(c | 0x20);
    if (c >= '0' && c <= '9')
        return c - '0';
    return base == 16 && lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* From behind "&#": the number and the bytes it takes, its semicolon included; false: none. Large ones stop at
 * 0x110000, which is none of Unicode's. */
static bool read_number(struct text text, uint32_t *number, size_t *taken) {
    const unsigned base = text.size > 0 && (text.data[0] | 0x20) == 'x' ? 16 : 10;
    const size_t from = base == 16;
    size_t at = from;
    *number = 0;
    for (; at < text.size && digit(text.data[at], base) >= 0; at++) {
        *number = *number * base + (uint32_t)digit(text.data[at], base);
        if (*number > 0x110000)
            *number = 0x110000;
    }
    *taken = at + (at < text.size && text.data[at] == ';');
    return at > from;
}

/* What stands in HTML for a number that is a control character of ISO 8859-1; 0: itself. */
static uint32_t windows_1252(uint32_t number) {
    static const uint16_t table[32] = {0x20AC, 0,      0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021,
                                       0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0,      0x017D, 0,
                                       0,      0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
                                       0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0,      0x017E, 0x0178};
    return number >= 0x80 && number <= 0x9F && table[number - 0x80] != 0 ? table[number - 0x80] : number;
}

/* Numbers that stand for nothing: control characters and noncharacters. */
static bool is_nothing(uint32_t number) {
    return (number >= 1 && number <= 8) || number == 0xB || (number >= 0xE && number <= 0x1F) ||
           number == 0x7F || (number >= 0xFDD0 && number <= 0xFDEF) || (number & 0xFFFE) == 0xFFFE;
}

static void append_number(uint32_t number, struct buffer *to) {
    if (number == 0 || (number >= 0xD800 && number <= 0xDFFF) || number > 0x10FFFF)
        unicode_append(to, 0xFFFD);
    else if (!is_nothing(number))
        unicode_append(to, windows_1252(number));
}

/* ---- html.unescape */

static struct text behind(struct text text, size_t at) {
    return (struct text){.data = text.data + at, .size = text.size - at};
}

/* Bytes of what could be a name: up to 32 characters, none of which ends one. */
static size_t name_size(struct text text) {
    size_t at = 0;
    for (size_t next = 0, n = 0; at < text.size && n < LONGEST; n++, at = next) {
        if (strchr("\t\n\f <&#;", text.data[at]) && text.data[at] != '\0')
            break;
        unicode_next(text, &next);
    }
    return at;
}

/* From behind '&': appends what the reference stands for, returns the bytes it takes; 0: it is none. */
static size_t unescape_one(struct text text, struct buffer *to) {
    uint32_t number;
    size_t taken;
    if (text.size > 0 && text.data[0] == '#') {
        if (!read_number(behind(text, 1), &number, &taken))
            return 0;
        append_number(number, to);
        return 1 + taken;
    }
    const struct text name = {.data = text.data, .size = name_size(text)};
    const bool ended = name.size < text.size && text.data[name.size] == ';';
    const struct entity *entity = find(name);
    if (entity && (ended || ENTITY_BARE(entity->value))) {
        append_entity(entity, to);
        return name.size + ended;
    }
    entity = find_bare(name);
    if (!entity)
        return 0;
    append_entity(entity, to);
    return strlen(entity->name);
}

void entities_unescape(struct text text, struct buffer *to) {
    for (size_t at = 0; at < text.size;) {
        const char *mark = memchr(text.data + at, '&', text.size - at);
        const size_t end = mark ? (size_t)(mark - text.data) : text.size;
        buffer_bytes(to, text.data + at, end - at);
        at = end;
        if (!mark)
            break;
        const size_t taken = unescape_one(behind(text, at + 1), to);
        if (taken == 0)
            buffer_bytes(to, "&", 1);
        at += 1 + taken;
    }
}

/* ---- ftfy's */

/* Upper cases that are not one character. */
static const struct {
    uint32_t c;
    const char *upper;
} upper_cases[] = {{0xDF, "SS"},   {0x149, "\xCA\xBCN"}, {0xFB00, "FF"}, {0xFB01, "FI"},
                   {0xFB02, "FL"}, {0xFB03, "FFI"},      {0xFB04, "FFL"}};

static void append_upper(uint32_t c, struct buffer *to) {
    for (size_t i = 0; i < sizeof upper_cases / sizeof *upper_cases; i++) {
        if (upper_cases[i].c == c) {
            buffer_string(to, upper_cases[i].upper);
            return;
        }
    }
    unicode_append(to, unicode_upper(c));
}

/* A name in capitals, where the one in small letters is known and HTML would see nothing in it. */
static const struct entity *find_capitals(struct text name) {
    char lower[LONGEST];
    for (size_t i = 0; i < name.size; i++) {
        if (name.data[i] >= 'a' && name.data[i] <= 'z')
            return NULL;
        lower[i] = name.data[i] >= 'A' && name.data[i] <= 'Z' ? (char)(name.data[i] | 0x20) : name.data[i];
    }
    const struct entity *entity = find((struct text){.data = lower, .size = name.size});
    return entity && !find_bare(name) ? entity : NULL;
}

/* Bytes of "#?[0-9A-Za-z]{1,24};" that begin this text; 0: none. */
static size_t strict_size(struct text text) {
    const size_t from = text.size > 0 && text.data[0] == '#';
    size_t at = from;
    while (at < text.size && at - from < 25 &&
           ((text.data[at] >= '0' && text.data[at] <= '9') ||
            ((text.data[at] | 0x20) >= 'a' && (text.data[at] | 0x20) <= 'z')))
        at++;
    return at > from && at - from < 25 && at < text.size && text.data[at] == ';' ? at + 1 : 0;
}

/* From behind '&': appends what the reference stands for, returns the bytes it takes; 0: it is none. `*mark`: it
 * stands for '&', which is not appended. */
static size_t unescape_strictly(struct text text, struct buffer *to, bool *mark) {
    const size_t size = strict_size(text);
    uint32_t number;
    size_t taken;
    *mark = false;
    if (size == 0)
        return 0;
    if (text.data[0] == '#') {
        if (!read_number(behind(text, 1), &number, &taken) || taken + 1 != size || number == ';')
            return 0;
        *mark = number == '&';
        if (!*mark)
            append_number(number, to);
        return size;
    }
    const struct text name = {.data = text.data, .size = size - 1};
    const struct entity *entity = find(name);
    if (entity) {
        *mark = ENTITY_FIRST(entity->value) == '&';
        if (!*mark)
            append_entity(entity, to);
        return size;
    }
    entity = find_capitals(name);
    if (!entity)
        return 0;
    append_upper(ENTITY_FIRST(entity->value), to);
    if (ENTITY_SECOND(entity->value) != 0)
        append_upper(ENTITY_SECOND(entity->value), to);
    return size;
}

void entities_unescape_strict(struct text text, struct buffer *to) {
    for (size_t at = 0; at < text.size;) {
        const char *found = memchr(text.data + at, '&', text.size - at);
        const size_t end = found ? (size_t)(found - text.data) : text.size;
        buffer_bytes(to, text.data + at, end - at);
        at = end;
        if (!found)
            break;
        bool mark = true;
        size_t taken;
        for (at++; mark; at += taken) {
            taken = unescape_strictly(behind(text, at), to, &mark);
            if (taken == 0)
                buffer_bytes(to, "&", 1);
        }
    }
}
