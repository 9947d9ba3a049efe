/* base64.c - four characters to three bytes through one table. No state, any thread. */
#include "base/base64.h"

#include "base/error.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* value + 1 of each character of the alphabet; 0 for the others. */
static const uint8_t value_plus_one[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64};

size_t base64_decoded_room(size_t size) {
    return size / 4 * 3 + 3;
}

static bool is_space(uint8_t c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The place behind the white space at in[i], if a line break is in it:
 * encoders for mail break their lines. */
static size_t skip_break(const uint8_t *in, size_t i, size_t end) {
    bool broken = false;
    size_t after = i;
    for (; after < end && is_space(in[after]); after++)
        broken = broken || in[after] == '\n' || in[after] == '\r';
    return broken ? after : i;
}

/* The message for a character that is not in the alphabet; `i` counts from 0. */
static enum limoe_status refuse(const char *text, size_t i, struct limoe_error *err) {
    const unsigned char c = (unsigned char)text[i];
    if (c == '=')
        return limoe_fail(err, LIMOE_INVALID, "not base64: \"=\" at character %zu, before the end", i + 1);
    if (is_space(c))
        return limoe_fail(
            err, LIMOE_INVALID,
            "not base64: white space without a line break at character %zu; was it a \"+\" that "
            "something decoded as a form's?",
            i + 1);
    if (c == '-' || c == '_')
        return limoe_fail(
            err, LIMOE_INVALID,
            "not base64: \"%c\" at character %zu is of the URL-safe alphabet; the standard one, "
            "with \"+\" and \"/\", is accepted",
            c, i + 1);
    if (c > 0x20 && c < 0x7F)
        return limoe_fail(err, LIMOE_INVALID, "not base64: \"%c\" at character %zu", c, i + 1);
    return limoe_fail(err, LIMOE_INVALID, "not base64: byte 0x%02x at character %zu", c, i + 1);
}

/* Whole groups of four that stand unbroken from in[*i] on; *i moves behind them.
 * Returns the bytes written. */
static size_t decode_groups(const uint8_t *in, size_t *i, size_t end, uint8_t *out) {
    size_t at = *i, n = 0; /* not *i itself: what is written to out might be it, for all a compiler knows */
    for (; at + 4 <= end; at += 4) {
        const uint32_t a = value_plus_one[in[at]], b = value_plus_one[in[at + 1]];
        const uint32_t c = value_plus_one[in[at + 2]], d = value_plus_one[in[at + 3]];
        if (!a || !b || !c || !d)
            break;
        const uint32_t word = (a - 1) << 18 | (b - 1) << 12 | (c - 1) << 6 | (d - 1);
        out[n] = (uint8_t)(word >> 16);
        out[n + 1] = (uint8_t)(word >> 8);
        out[n + 2] = (uint8_t)word;
        n += 3;
    }
    *i = at;
    return n;
}

/* Up to four digits from in[*i] on, line breaks between them skipped, as one number in *word; *i moves behind
 * them. Returns how many: fewer than four where the text ends, or stands still at what is no digit. */
static size_t read_group(const uint8_t *in, size_t *i, size_t end, uint32_t *word) {
    size_t digits = 0;
    *word = 0;
    for (; digits < 4; digits++, ++*i) {
        *i = skip_break(in, *i, end);
        if (*i == end || !value_plus_one[in[*i]])
            break;
        *word = *word << 6 | (value_plus_one[in[*i]] - 1u);
    }
    return digits;
}

/* The last two or three digits, whose padding was counted: one byte or two. */
static enum limoe_status decode_rest(uint32_t word, size_t digits, uint8_t *out, size_t *n,
                                     struct limoe_error *err) {
    const uint32_t spare_bits = digits == 2 ? 4 : 2;
    if (word & ((1u << spare_bits) - 1))
        return limoe_fail(err, LIMOE_INVALID,
                          "not base64: the last character carries bits that its padding denies");
    word >>= spare_bits;
    if (digits == 3)
        out[(*n)++] = (uint8_t)(word >> 8);
    out[(*n)++] = (uint8_t)word;
    return LIMOE_OK;
}

enum limoe_status base64_decode(const char *text, size_t size, uint8_t *out, size_t *decoded,
                                struct limoe_error *err) {
    const uint8_t *in = (const uint8_t *)text;
    size_t i = 0, end = size, padding = 0, n = 0, characters = 0, digits;
    uint32_t word;
    while (i < end && is_space(in[i]))
        i++;
    while (end > i && is_space(in[end - 1]))
        end--;
    for (; padding < 2 && end > i && in[end - 1] == '='; padding++)
        end--;

    do {
        const size_t whole = decode_groups(in, &i, end, out + n);
        n += whole;
        characters += whole / 3 * 4;
        digits = read_group(in, &i, end, &word);
        characters += digits;
        if (digits == 4) {
            out[n++] = (uint8_t)(word >> 16);
            out[n++] = (uint8_t)(word >> 8);
            out[n++] = (uint8_t)word;
        }
    } while (digits == 4);
    if (i < end)
        return refuse(text, i, err);
    characters += padding;
    if (characters % 4)
        return limoe_fail(err, LIMOE_INVALID,
                          "not base64: %zu characters, which is not a multiple of 4: it is cut short, or its "
                          "padding (\"=\") is missing",
                          characters);
    /* 0, 2 or 3 digits are left: 1 would take a third "=", which is no digit. */
    if (digits && decode_rest(word, digits, out, &n, err) != LIMOE_OK)
        return LIMOE_INVALID;
    *decoded = n;
    return LIMOE_OK;
}

size_t base64_encoded_size(size_t size) {
    return (size + 2) / 3 * 4;
}

void base64_encode(const void *bytes, size_t size, char *out) {
    const uint8_t *in = bytes;
    size_t i = 0;
    for (; i + 3 <= size; i += 3, out += 4) {
        const uint32_t word = (uint32_t)in[i] << 16 | (uint32_t)in[i + 1] << 8 | in[i + 2];
        out[0] = alphabet[word >> 18];
        out[1] = alphabet[word >> 12 & 63];
        out[2] = alphabet[word >> 6 & 63];
        out[3] = alphabet[word & 63];
    }
    if (i < size) {
        const bool two = size - i == 2;
        const uint32_t word = (uint32_t)in[i] << 16 | (two ? (uint32_t)in[i + 1] << 8 : 0);
        out[0] = alphabet[word >> 18];
        out[1] = alphabet[word >> 12 & 63];
        out[2] = two ? alphabet[word >> 6 & 63] : '=';
        out[3] = '=';
    }
}
