/* clean.c - ftfy.fix_text by its rules, then html.unescape, then white space and case. Buffers are the call's. */
#include "model/text/clean.h"

#include <string.h>

#include "model/text/entities.h"
#include "model/text/unicode.h"

#define MAX_ROUNDS 64

/* ---- ftfy: characters one by one */

/* Control characters of ISO 8859-1 mean those of Windows-1252. Five have no meaning there and stay. */
static uint32_t fix_c1(uint32_t c) {
    static const uint16_t meant[32] = {0x20AC, 0x81,   0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021,
                                       0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0x8D,   0x017D, 0x8F,
                                       0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
                                       0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x9D,   0x017E, 0x0178};
    return c >= 0x80 && c <= 0x9F ? meant[c - 0x80] : c;
}

/* Latin ligatures and digraphs in their letters; NULL: it is none. U+0149's apostrophe is a quotation mark to
 * uncurl. */
static const char *ligature(uint32_t c) {
    static const struct {
        uint32_t c;
        const char *letters;
    } table[] = {{0x132, "IJ"},         {0x133, "ij"},        {0x149, "'n"},   {0x1C4, "D\xC5\xBD"},
                 {0x1C5, "D\xC5\xBE"},  {0x1C6, "d\xC5\xBE"}, {0x1C7, "LJ"},   {0x1C8, "Lj"},
                 {0x1C9, "lj"},         {0x1CA, "NJ"},        {0x1CB, "Nj"},   {0x1CC, "nj"},
                 {0x1F1, "DZ"},         {0x1F2, "Dz"},        {0x1F3, "dz"},   {0xFB00, "ff"},
                 {0xFB01, "fi"},        {0xFB02, "fl"},       {0xFB03, "ffi"}, {0xFB04, "ffl"},
                 {0xFB05, "\xC5\xBFt"}, {0xFB06, "st"}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].c == c)
            return table[i].letters;
    return NULL;
}

/* Full-width forms, quotation marks and line breaks made plain. */
static void append_plain(uint32_t c, struct buffer *to) {
    const char *letters = c >= 0x132 ? ligature(c) : NULL;
    if (letters)
        buffer_string(to, letters);
    else if (c == 0x3000)
        buffer_bytes(to, " ", 1);
    else if (c >= 0xFF01 && c <= 0xFFEF)
        unicode_decompose_compatible(c, to);
    else if (c == 0x2BC || (c >= 0x2018 && c <= 0x201B))
        buffer_bytes(to, "'", 1);
    else if (c >= 0x201C && c <= 0x201F)
        buffer_bytes(to, "\"", 1);
    else if (c == 0x2028 || c == 0x2029)
        buffer_bytes(to, "\n", 1);
    else
        unicode_append(to, c);
}

static void fix_characters(struct text text, struct buffer *to) {
    for (size_t at = 0; at < text.size;) {
        const uint32_t c = unicode_next(text, &at);
        if (c != '\r')
            append_plain(fix_c1(c), to);
        else if (at == text.size || text.data[at] != '\n')
            buffer_bytes(to, "\n", 1);
    }
}

/* ---- ftfy: what is taken out */

/* Bytes of a terminal's escape, ESC [ digits and semicolons, letter, that begin text[at]; 0: none. */
static size_t escape_size(struct text text, size_t from) {
    size_t at = from + 2, next = at;
    if (text.size - from < 3 || text.data[from] != '\033' || text.data[from + 1] != '[')
        return 0;
    while (at < text.size) {
        const uint32_t c = unicode_next(text, &next);
        if ((c | 0x20) >= 'a' && (c | 0x20) <= 'z' && c < 0x80)
            return next - from;
        if (c != ';' && !unicode_decimal(c))
            return 0;
        at = next;
    }
    return 0;
}

static bool is_control(uint32_t c) {
    return c <= 8 || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || (c >= 0x206A && c <= 0x206F) ||
           c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFC);
}

static void remove_controls(struct text text, struct buffer *to) {
    for (size_t at = 0, from = 0; at < text.size; from = at) {
        const size_t escape = escape_size(text, at);
        if (escape > 0) {
            at += escape;
            continue;
        }
        if (!is_control(unicode_next(text, &at)))
            buffer_bytes(to, text.data + from, at - from);
    }
}

/* ---- ftfy: rounds */

typedef void step_fn(struct text text, struct buffer *to);

/* Replaces what is in `at` by what `step` makes of it. */
static void apply(step_fn *step, struct buffer *at, struct buffer *scratch) {
    scratch->size = 0;
    step((struct text){.data = at->data, .size = at->size}, scratch);
    const struct buffer done = *scratch;
    *scratch = *at;
    *at = done;
}

static bool plain_ascii(struct text text) {
    for (size_t i = 0; i < text.size; i++)
        if ((unsigned char)text.data[i] >= 0x7F || is_control((unsigned char)text.data[i]) ||
            text.data[i] == '\r' || text.data[i] == '&')
            return false;
    return true;
}

/* fix_text of one line; appends it. */
static void fix_line(struct text line, bool unescape, struct buffer *to) {
    if (plain_ascii(line)) {
        buffer_bytes(to, line.data, line.size);
        return;
    }
    struct buffer now = {0}, scratch = {0}, before = {0};
    buffer_bytes(&now, line.data, line.size);
    for (int round = 0; round < MAX_ROUNDS && !now.failed && !scratch.failed && !before.failed; round++) {
        before.size = 0;
        buffer_bytes(&before, now.data, now.size);
        if (unescape)
            apply(entities_unescape_strict, &now, &scratch);
        apply(fix_characters, &now, &scratch);
        apply(remove_controls, &now, &scratch);
        apply(unicode_nfc, &now, &scratch);
        if (now.size == before.size && (now.size == 0 || memcmp(now.data, before.data, now.size) == 0))
            break;
    }
    buffer_bytes(to, now.data, now.size);
    to->failed = to->failed || now.failed || scratch.failed || before.failed;
    buffer_free(&now);
    buffer_free(&scratch);
    buffer_free(&before);
}

/* From the first line with a '<' on, which looks like HTML that is meant to be seen, references stay. */
static void fix_text(struct text text, struct buffer *to) {
    bool unescape = true;
    for (size_t at = 0, end; at < text.size; at = end) {
        const char *newline = memchr(text.data + at, '\n', text.size - at);
        end = newline ? (size_t)(newline - text.data) + 1 : text.size;
        unescape = unescape && !memchr(text.data + at, '<', end - at);
        fix_line((struct text){.data = text.data + at, .size = end - at}, unescape, to);
    }
}

/* ---- open_clip */

static void strip_punctuation(struct text text, struct buffer *to) {
    for (size_t i = 0; i < text.size; i++) {
        const char c = text.data[i];
        const bool punctuation =
            c > ' ' && c < 0x7F && !unicode_letter((uint32_t)c) && !unicode_number((uint32_t)c);
        if (!punctuation)
            buffer_bytes(to, &c, 1);
        else if (c == '_')
            buffer_bytes(to, " ", 1);
    }
}

static void strip(struct text text, struct buffer *to) {
    text = unicode_python_strip(text);
    buffer_bytes(to, text.data, text.size);
}

void clean_text(enum clean how, struct text text, struct buffer *to) {
    static step_fn *const steps[][8] = {
        [CLEAN_NOTHING] = {NULL},
        [CLEAN_WHITESPACE] = {fix_text, entities_unescape, entities_unescape, strip, unicode_python_collapse},
        [CLEAN_LOWER] = {fix_text, entities_unescape, entities_unescape, strip, unicode_python_collapse,
                         unicode_python_lower},
        [CLEAN_CANONICALIZE] = {fix_text, entities_unescape, entities_unescape, strip, strip_punctuation,
                                unicode_python_lower, unicode_python_collapse},
    };
    struct buffer now = {0}, scratch = {0};
    buffer_bytes(&now, text.data, text.size);
    for (step_fn *const *step = steps[how]; *step; step++)
        apply(*step, &now, &scratch);
    buffer_bytes(to, now.data, now.size);
    to->failed = to->failed || now.failed || scratch.failed;
    buffer_free(&now);
    buffer_free(&scratch);
}
