/* header_list.c - one pair after the other, without memory of its own. */
#include "server/formats/header_list.h"

#include <string.h>

#define TOKEN "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~"

static bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

static void trim(const char **from, const char **to) {
    while (*from < *to && is_blank(**from))
        ++*from;
    while (*to > *from && is_blank((*to)[-1]))
        --*to;
}

/* -1: no digit of hexadecimal. */
static int digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool copy_name(const char *from, const char *to, char out[HEADER_LIST_NAME_SIZE]) {
    trim(&from, &to);
    const size_t size = (size_t)(to - from);
    if (size == 0 || size >= HEADER_LIST_NAME_SIZE || strspn(from, TOKEN) < size)
        return false;
    memcpy(out, from, size);
    out[size] = '\0';
    return true;
}

static bool copy_value(const char *from, const char *to, char out[HEADER_LIST_VALUE_SIZE]) {
    size_t size = 0;
    for (trim(&from, &to); from < to; from++) {
        int byte = (unsigned char)*from;
        if (*from == '%') {
            const int high = to - from > 2 ? digit(from[1]) : -1, low = high >= 0 ? digit(from[2]) : -1;
            if (low < 0)
                return false;
            byte = high << 4 | low;
            from += 2;
        }
        if (byte < ' ' || byte == 0x7f || size + 1 == HEADER_LIST_VALUE_SIZE)
            return false;
        out[size++] = (char)byte;
    }
    out[size] = '\0';
    return true;
}

enum header_list_step header_list_next(const char **list, struct header_pair *pair) {
    const char *from = *list, *end = from + strcspn(from, ",");
    if (!*from)
        return HEADER_LIST_END;
    const char *equals = memchr(from, '=', (size_t)(end - from));
    *list = *end ? end + 1 : end;
    return equals && copy_name(from, equals, pair->name) && copy_value(equals + 1, end, pair->value)
               ? HEADER_LIST_PAIR
               : HEADER_LIST_WRONG;
}

bool header_list_check(const char *list) {
    struct header_pair pair;
    enum header_list_step step;
    while ((step = header_list_next(&list, &pair)) == HEADER_LIST_PAIR)
        ;
    return step == HEADER_LIST_END;
}
