/* text.c - slices of UTF-8. No state. */
#include "base/text.h"

#include <stdint.h>
#include <string.h>

struct text text_of(const char *string) {
    return (struct text){.data = string, .size = strlen(string)};
}

bool text_equal(struct text a, struct text b) {
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

bool text_is(struct text text, const char *string) {
    return text_equal(text, text_of(string));
}

int text_compare(struct text a, struct text b) {
    const int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

size_t text_place(struct text name, const void *list, size_t n,
                  struct text (*name_at)(const void *list, size_t i), bool *found) {
    size_t low = 0, high = n;
    *found = false;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = text_compare(name_at(list, middle), name);
        if (order == 0)
            *found = true;
        if (order >= 0)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

size_t text_sequence(const char *text, size_t size) {
    const unsigned char *s = (const unsigned char *)text;
    if (s[0] < 0x80)
        return 1;

    /* The second byte's range is what rules out overlong forms, surrogates and code points over U+10FFFF. */
    size_t length;
    unsigned char low = 0x80, high = 0xBF;
    if (s[0] >= 0xC2 && s[0] <= 0xDF)
        length = 2;
    else if (s[0] >= 0xE0 && s[0] <= 0xEF) {
        length = 3;
        if (s[0] == 0xE0)
            low = 0xA0;
        if (s[0] == 0xED)
            high = 0x9F;
    } else if (s[0] >= 0xF0 && s[0] <= 0xF4) {
        length = 4;
        if (s[0] == 0xF0)
            low = 0x90;
        if (s[0] == 0xF4)
            high = 0x8F;
    } else
        return 0;

    if (size < length || s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    return length;
}

size_t text_check(const char *text, size_t size) {
    size_t i = 0;
    while (i < size) {
        const size_t length = text[i] ? text_sequence(text + i, size - i) : 0;
        if (!length)
            return i;
        i += length;
    }
    return size;
}

bool text_blank(struct text text) {
    size_t i = 0;
    while (i < text.size) {
        const char *rest = text.data + i;
        const size_t left = text.size - i;
        if (rest[0] == ' ' || (rest[0] >= '\t' && rest[0] <= '\r'))
            i += 1;
        else if (left >= 2 && memcmp(rest, "\xC2\xA0", 2) == 0)
            i += 2;
        else if (left >= 3 && memcmp(rest, "\xE3\x80\x80", 3) == 0)
            i += 3;
        else
            return false;
    }
    return true;
}

size_t text_comma_count(struct text list) {
    size_t n = 1;
    for (size_t i = 0; i < list.size; i++)
        n += list.data[i] == ',';
    return n;
}

static struct text trimmed(struct text text) {
    while (text.size && (text.data[0] == ' ' || text.data[0] == '\t'))
        text = (struct text){.data = text.data + 1, .size = text.size - 1};
    while (text.size && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t'))
        text.size--;
    return text;
}

struct text text_comma_next(struct text *rest) {
    const char *comma = rest->size ? memchr(rest->data, ',', rest->size) : NULL;
    const struct text first = {.data = rest->data, .size = comma ? (size_t)(comma - rest->data) : rest->size};
    const size_t used = first.size + (comma != NULL);
    *rest = (struct text){.data = rest->data + used, .size = rest->size - used};
    return trimmed(first);
}

bool text_take_suffix(struct text *text, const char *suffix) {
    const size_t size = strlen(suffix);
    if (text->size <= size || memcmp(text->data + text->size - size, suffix, size) != 0)
        return false;
    text->size -= size;
    return true;
}

/* Whether a well-formed sequence is one of U+0000 to U+001F, or of U+007F to U+009F. */
static bool is_control(const char *sequence, size_t length) {
    const unsigned char *s = (const unsigned char *)sequence;
    return length == 1 ? s[0] < 0x20 || s[0] == 0x7F : length == 2 && s[0] == 0xC2 && s[1] < 0xA0;
}

char *text_quote(struct text text, char *out, size_t limit) {
    const char ellipsis[] = "…";
    size_t used = 0, keep = 0; /* keep: the longest prefix that leaves room for the ellipsis */
    for (size_t i = 0; i < text.size;) {
        const size_t length = text_sequence(text.data + i, text.size - i); /* 0: it is none */
        const bool shown = length && !is_control(text.data + i, length);
        const char *source = shown ? text.data + i : "?";
        const size_t size = shown ? length : 1;
        if (used + size >= limit) {
            memcpy(out + keep, ellipsis, sizeof ellipsis);
            return out;
        }
        memcpy(out + used, source, size);
        used += size;
        i += length ? length : 1;
        if (used + sizeof ellipsis <= limit)
            keep = used;
    }
    out[used] = '\0';
    return out;
}
