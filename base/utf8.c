/* utf8.c - one pass over the bytes, no state, no tables. */
#include "base/utf8.h"

#include <stdint.h>

/* Bytes of the well-formed character at s[0..left-1]; 0 when there is none. The second byte's range is what
 * rules out overlong forms (E0, F0), surrogates (ED) and code points beyond U+10FFFF (F4). */
static size_t character(const uint8_t *s, size_t left) {
    if (s[0] < 0x80)
        return 1;
    size_t length = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
    if (s[0] < 0xC2 || s[0] > 0xF4 || length > left)
        return 0;
    uint8_t low = s[0] == 0xE0 ? 0xA0 : s[0] == 0xF0 ? 0x90 : 0x80;
    uint8_t high = s[0] == 0xED ? 0x9F : s[0] == 0xF4 ? 0x8F : 0xBF;
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    return length;
}

size_t utf8_check(const void *text, size_t size) {
    const uint8_t *s = text;
    size_t i = 0;
    while (i < size) {
        size_t length = character(s + i, size - i);
        if (length == 0)
            break;
        i += length;
    }
    return i;
}
