/* escape.c - one walk over the characters, and three ways to write those that are not written as they are. */
#include "server/front/observe/escape.h"

#include <stddef.h>
#include <string.h>

#include "base/text.h"

/* Controls, formats (Unicode's Cc, Cf, Zl, Zp, Zs but U+0020), fillers that show nothing, and noncharacters.
 * In order. */
static const struct {
    uint32_t first, last;
} hidden[] = {
    {0x0000, 0x001F},   {0x007F, 0x00A0},   {0x00AD, 0x00AD},   {0x034F, 0x034F},   {0x0600, 0x0605},
    {0x061C, 0x061C},   {0x06DD, 0x06DD},   {0x070F, 0x070F},   {0x0890, 0x0891},   {0x08E2, 0x08E2},
    {0x115F, 0x1160},   {0x1680, 0x1680},   {0x17B4, 0x17B5},   {0x180B, 0x180F},   {0x2000, 0x200F},
    {0x2028, 0x202F},   {0x205F, 0x206F},   {0x2800, 0x2800},   {0x3000, 0x3000},   {0x3164, 0x3164},
    {0xFDD0, 0xFDEF},   {0xFEFF, 0xFEFF},   {0xFFA0, 0xFFA0},   {0xFFF0, 0xFFFB},   {0xFFFE, 0xFFFF},
    {0x110BD, 0x110BD}, {0x110CD, 0x110CD}, {0x13430, 0x1343F}, {0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A},
    {0xE0000, 0xE0FFF},
};

/* Whether a character is escaped everywhere. */
static bool is_hidden(uint32_t code) {
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden && hidden[i].first <= code; i++)
        if (code <= hidden[i].last)
            return true;
    return (code & 0xFFFE) == 0xFFFE; /* the last two of every plane */
}

/* Of a well-formed sequence. */
static uint32_t code_of(const char *text, size_t length) {
    const unsigned char *bytes = (const unsigned char *)text;
    uint32_t code = length == 1 ? bytes[0] : bytes[0] & (0x7Fu >> length);
    for (size_t i = 1; i < length; i++)
        code = code << 6 | (bytes[i] & 0x3Fu);
    return code;
}

/* The characters of a string in turn. */
struct walk {
    const char *at;
    size_t left;
    const char *bytes; /* of this character */
    size_t length;
    bool valid;
    uint32_t code; /* of a valid one */
};

static struct walk begin(const char *string) {
    return (struct walk){.at = string, .left = strlen(string)};
}

static bool next(struct walk *walk) {
    if (walk->left == 0)
        return false;
    const size_t length = text_sequence(walk->at, walk->left);
    walk->bytes = walk->at;
    walk->valid = length > 0;
    walk->length = walk->valid ? length : 1;
    walk->code = walk->valid ? code_of(walk->at, length) : 0;
    walk->at += walk->length;
    walk->left -= walk->length;
    return true;
}

static bool hides(const struct walk *walk) {
    return !walk->valid || is_hidden(walk->code);
}

/* ---- text */

static void put_text(struct buffer *out, const char *string, bool quoted) {
    if (quoted)
        buffer_bytes(out, "\"", 1);
    for (struct walk walk = begin(string); next(&walk);)
        if (!walk.valid || walk.code < 0x20 || walk.code == 0x7F)
            buffer_print(out, "\\x%02x", (unsigned)(unsigned char)*walk.bytes);
        else if (is_hidden(walk.code))
            buffer_print(out, walk.code > 0xFFFF ? "\\U%08x" : "\\u%04x", (unsigned)walk.code);
        else if (walk.code == '\\' || (quoted && walk.code == '"'))
            buffer_print(out, "\\%c", (char)walk.code);
        else
            buffer_bytes(out, walk.bytes, walk.length);
    if (quoted)
        buffer_bytes(out, "\"", 1);
}

void escape_value(struct buffer *out, const char *value) {
    bool quoted = !*value;
    for (struct walk walk = begin(value); !quoted && next(&walk);)
        quoted = hides(&walk) || strchr(" =\"\\", *walk.bytes);
    put_text(out, value, quoted);
}

void escape_message(struct buffer *out, const char *message) {
    put_text(out, message, !*message || *message == '"' || strchr(message, '='));
}

/* ---- JSON */

static void put_utf16(struct buffer *out, uint32_t code) {
    if (code > 0xFFFF)
        buffer_print(out, "\\u%04x\\u%04x", (unsigned)(0xD7C0 + (code >> 10)),
                     (unsigned)(0xDC00 + (code & 0x3FF)));
    else
        buffer_print(out, "\\u%04x", (unsigned)code);
}

void escape_json(struct buffer *out, const char *value) {
    buffer_bytes(out, "\"", 1);
    for (struct walk walk = begin(value); next(&walk);)
        if (!walk.valid)
            buffer_string(out, "\xEF\xBF\xBD");
        else if (is_hidden(walk.code))
            put_utf16(out, walk.code);
        else if (walk.code == '"' || walk.code == '\\')
            buffer_print(out, "\\%c", (char)walk.code);
        else
            buffer_bytes(out, walk.bytes, walk.length);
    buffer_bytes(out, "\"", 1);
}
