/* unicode.c - over utf8proc's properties; no state.
 *
 * utf8proc_map is not used: it sorts combining marks by exchanging neighbours, which takes n² steps for a text that
 * was made for it. Decomposing and composing are the library's, sorting is done here. */
#include "model/text/unicode.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* ---- characters */

uint32_t unicode_next(struct text text, size_t *at) {
    const unsigned char *s = (const unsigned char *)text.data + *at;
    if (s[0] < 0x80) {
        *at += 1;
        return s[0];
    }
    if (s[0] < 0xE0) {
        *at += 2;
        return (uint32_t)(s[0] & 0x1F) << 6 | (s[1] & 0x3F);
    }
    if (s[0] < 0xF0) {
        *at += 3;
        return (uint32_t)(s[0] & 0x0F) << 12 | (uint32_t)(s[1] & 0x3F) << 6 | (s[2] & 0x3F);
    }
    *at += 4;
    return (uint32_t)(s[0] & 0x07) << 18 | (uint32_t)(s[1] & 0x3F) << 12 | (uint32_t)(s[2] & 0x3F) << 6 |
           (s[3] & 0x3F);
}

uint32_t unicode_before(struct text text, size_t *at) {
    do
        --*at;
    while (((unsigned char)text.data[*at] & 0xC0) == 0x80);
    size_t from = *at;
    return unicode_next(text, &from);
}

void unicode_append(struct buffer *to, uint32_t c) {
    utf8proc_uint8_t bytes[4];
    const utf8proc_ssize_t n = utf8proc_encode_char((utf8proc_int32_t)c, bytes);
    buffer_bytes(to, bytes, (size_t)n);
}

static utf8proc_category_t category(uint32_t c) {
    return utf8proc_category((utf8proc_int32_t)c);
}

bool unicode_letter(uint32_t c) {
    if (c < 0x80)
        return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
    const utf8proc_category_t is = category(c);
    return is >= UTF8PROC_CATEGORY_LU && is <= UTF8PROC_CATEGORY_LO;
}

bool unicode_number(uint32_t c) {
    if (c < 0x80)
        return c >= '0' && c <= '9';
    const utf8proc_category_t is = category(c);
    return is >= UTF8PROC_CATEGORY_ND && is <= UTF8PROC_CATEGORY_NO;
}

bool unicode_decimal(uint32_t c) {
    return category(c) == UTF8PROC_CATEGORY_ND;
}

bool unicode_other(uint32_t c) {
    const utf8proc_category_t is = category(c);
    return is == UTF8PROC_CATEGORY_CC || is == UTF8PROC_CATEGORY_CF || is == UTF8PROC_CATEGORY_CO;
}

bool unicode_nonspacing(uint32_t c) {
    return category(c) == UTF8PROC_CATEGORY_MN;
}

bool unicode_punctuation(uint32_t c) {
    if (c < 0x80)
        return c > ' ' && c < 0x7F && !unicode_letter(c) && !unicode_number(c);
    const utf8proc_category_t is = category(c);
    return is >= UTF8PROC_CATEGORY_PC && is <= UTF8PROC_CATEGORY_PO;
}

bool unicode_space(uint32_t c) {
    if (c < 0x80)
        return c == ' ' || (c >= '\t' && c <= '\r');
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
           c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool unicode_python_space(uint32_t c) {
    return unicode_space(c) || (c >= 0x1C && c <= 0x1F);
}

/* ---- white space */

struct text unicode_python_strip(struct text text) {
    size_t begin = 0, end = text.size, at = 0;
    while (begin < end && unicode_python_space(unicode_next(text, &at)))
        begin = at;
    for (at = end; at > begin && unicode_python_space(unicode_before(text, &at)); end = at) {
    }
    return (struct text){.data = text.data + begin, .size = end - begin};
}

void unicode_python_collapse(struct text text, struct buffer *to) {
    text = unicode_python_strip(text);
    bool gap = false;
    for (size_t at = 0, from = 0; at < text.size; from = at) {
        const bool space = unicode_python_space(unicode_next(text, &at));
        if (space && !gap)
            buffer_bytes(to, " ", 1);
        else if (!space)
            buffer_bytes(to, text.data + from, at - from);
        gap = space;
    }
}

/* ---- case */

/* I with a dot above is the one character whose lower case is two, wherever it stands. */
static void append_lower(uint32_t c, struct buffer *to) {
    if (c == 0x130) {
        buffer_string(to, "i\xCC\x87");
        return;
    }
    unicode_append(to, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c));
}

/* Appends the lower case of ASCII from `at` on; returns where it ends. */
static size_t lower_ascii(struct text text, size_t at, struct buffer *to) {
    while (at < text.size && (unsigned char)text.data[at] < 0x80) {
        char run[64];
        size_t n = 0;
        for (; n < sizeof run && at < text.size && (unsigned char)text.data[at] < 0x80; n++, at++) {
            const char c = text.data[at];
            run[n] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
        }
        buffer_bytes(to, run, n);
    }
    return at;
}

void unicode_lower(struct text text, struct buffer *to) {
    for (size_t at = lower_ascii(text, 0, to); at < text.size; at = lower_ascii(text, at, to))
        append_lower(unicode_next(text, &at), to);
}

static bool cased(uint32_t c) {
    const utf8proc_category_t is = category(c);
    return is == UTF8PROC_CATEGORY_LU || is == UTF8PROC_CATEGORY_LL || is == UTF8PROC_CATEGORY_LT ||
           c == 0xAA || c == 0xBA || (c >= 0x2160 && c <= 0x217F) || (c >= 0x24B6 && c <= 0x24E9) ||
           (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
}

/* Case_Ignorable: marks, format and modifier characters, and punctuation that stands inside words. */
static bool ignorable(uint32_t c) {
    static const uint16_t inside[] = {0x27,   0x2E,   0x3A,   0xB7,   0x387,  0x55F,  0x5F4,  0x2018, 0x2019,
                                      0x2024, 0x2027, 0xFE13, 0xFE52, 0xFE55, 0xFF07, 0xFF0E, 0xFF1A};
    for (size_t i = 0; i < sizeof inside / sizeof *inside; i++)
        if (c == inside[i])
            return true;
    switch (category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
        return true;
    default:
        return false;
    }
}

/* Whether the capital sigma before `behind` ends a word: a cased letter before it, and none after it. Runs of
 * ignorable characters are between at most two sigmas, so all of this is linear. */
static bool final_sigma(struct text text, size_t behind) {
    size_t at = behind - 2;
    bool before = false;
    while (at > 0) {
        const uint32_t c = unicode_before(text, &at);
        if (ignorable(c))
            continue;
        before = cased(c);
        break;
    }
    if (!before)
        return false;
    for (at = behind; at < text.size;) {
        const uint32_t c = unicode_next(text, &at);
        if (!ignorable(c))
            return !cased(c);
    }
    return true;
}

void unicode_python_lower(struct text text, struct buffer *to) {
    for (size_t at = lower_ascii(text, 0, to); at < text.size; at = lower_ascii(text, at, to)) {
        const uint32_t c = unicode_next(text, &at);
        if (c == 0x3A3)
            unicode_append(to, final_sigma(text, at) ? 0x3C2 : 0x3C3);
        else
            append_lower(c, to);
    }
}

uint32_t unicode_upper(uint32_t c) {
    return (uint32_t)utf8proc_toupper((utf8proc_int32_t)c);
}

/* ---- normalisation */

struct mark {
    utf8proc_int32_t c;
    uint32_t order; /* its combining class, then its place */
};

static int compare_marks(const void *a, const void *b) {
    const uint32_t x = ((const struct mark *)a)->order, y = ((const struct mark *)b)->order;
    return x < y ? -1 : x > y;
}

static uint32_t class_of(utf8proc_int32_t c) {
    return (uint32_t)utf8proc_get_property(c)->combining_class;
}

/* Sorts a run of combining marks by their class; those of one class stay in order. */
static bool sort_run(utf8proc_int32_t *c, size_t n) {
    if (n < 2)
        return true;
    struct mark few[32], *mark = n <= sizeof few / sizeof *few ? few : malloc(n * sizeof *mark);
    if (!mark || n >= 1u << 24)
        return false;
    for (size_t i = 0; i < n; i++)
        mark[i] = (struct mark){.c = c[i], .order = class_of(c[i]) << 24 | (uint32_t)i};
    qsort(mark, n, sizeof *mark, compare_marks);
    for (size_t i = 0; i < n; i++)
        c[i] = mark[i].c;
    if (mark != few)
        free(mark);
    return true;
}

static bool sort_marks(utf8proc_int32_t *c, size_t n) {
    for (size_t i = 0, from; i < n; i++) {
        for (from = i; i < n && class_of(c[i]) != 0; i++) {
        }
        if (!sort_run(c + from, i - from))
            return false;
    }
    return true;
}

/* One character's canonical decomposition into to[room]; how many there are. */
static size_t decompose(uint32_t c, utf8proc_int32_t *to, size_t room) {
    int boundary = 0;
    const utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)c, to, (utf8proc_ssize_t)room,
                                                       UTF8PROC_DECOMPOSE | UTF8PROC_STABLE, &boundary);
    return n < 0 ? 0 : (size_t)n;
}

static void append_all(utf8proc_int32_t *c, size_t n, bool composed, struct buffer *to) {
    utf8proc_ssize_t left = (utf8proc_ssize_t)n;
    if (composed)
        left = utf8proc_normalize_utf32(c, left, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    for (utf8proc_ssize_t i = 0; i < left; i++)
        unicode_append(to, (uint32_t)c[i]);
}

static void normalize(struct text text, bool composed, struct buffer *to) {
    enum { LONGEST = 4 }; /* of one character's canonical decomposition (Unicode 15) */
    utf8proc_int32_t *c = malloc((text.size + 1) * LONGEST * sizeof *c);
    size_t n = 0;
    for (size_t at = 0; c && at < text.size;)
        n += decompose(unicode_next(text, &at), c + n, (text.size + 1) * LONGEST - n);
    if (c && sort_marks(c, n))
        append_all(c, n, composed, to);
    else
        to->failed = true;
    free(c);
}

void unicode_nfd(struct text text, struct buffer *to) {
    normalize(text, false, to);
}

/* Whether no character of the text changes in form C: what is below U+0300 neither combines nor decomposes in
 * ways that composing would not undo. */
static bool is_composed(struct text text) {
    for (size_t i = 0; i < text.size; i++)
        if ((unsigned char)text.data[i] >= 0xCC)
            return false;
    return true;
}

void unicode_nfc(struct text text, struct buffer *to) {
    if (is_composed(text)) {
        buffer_bytes(to, text.data, text.size);
        return;
    }
    normalize(text, true, to);
}

void unicode_decompose_compatible(uint32_t c, struct buffer *to) {
    utf8proc_int32_t part[32];
    int boundary = 0;
    const utf8proc_ssize_t n =
        utf8proc_decompose_char((utf8proc_int32_t)c, part, sizeof part / sizeof *part,
                                UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT | UTF8PROC_STABLE, &boundary);
    for (utf8proc_ssize_t i = 0; i < n; i++)
        unicode_append(to, (uint32_t)part[i]);
}
