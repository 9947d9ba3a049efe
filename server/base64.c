/* base64.c - four characters to three bytes through one table. No state, any thread. */
#include "base64.h"

#include "error.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* value + 1 of each character of the alphabet; 0 for the others. */
#define RUN26(c, v)                                                                                          \
    [c] = v, [c + 1] = v + 1, [c + 2] = v + 2, [c + 3] = v + 3, [c + 4] = v + 4, [c + 5] = v + 5,            \
    [c + 6] = v + 6, [c + 7] = v + 7, [c + 8] = v + 8, [c + 9] = v + 9, [c + 10] = v + 10,                   \
    [c + 11] = v + 11, [c + 12] = v + 12, [c + 13] = v + 13, [c + 14] = v + 14, [c + 15] = v + 15,           \
    [c + 16] = v + 16, [c + 17] = v + 17, [c + 18] = v + 18, [c + 19] = v + 19, [c + 20] = v + 20,           \
    [c + 21] = v + 21, [c + 22] = v + 22, [c + 23] = v + 23, [c + 24] = v + 24, [c + 25] = v + 25
static const uint8_t value_plus_one[256] = {
    RUN26('A', 1), RUN26('a', 27), ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56, ['4'] = 57,
    ['5'] = 58,    ['6'] = 59,     ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64,
};
#undef RUN26

size_t base64_decoded_room(size_t size) {
    return size / 4 * 3 + 3;
}

/* The message for a character that is not in the alphabet; `i` counts from 0. */
static enum limoe_status refuse(const char *text, size_t i, struct limoe_error *err) {
    const unsigned char c = (unsigned char)text[i];
    if (c == '=')
        return limoe_fail(err, LIMOE_INVALID, "not base64: \"=\" at character %zu, before the end", i + 1);
    if (c == '\n' || c == '\r' || c == ' ' || c == '\t')
        return limoe_fail(err, LIMOE_INVALID,
                          "not base64: white space at character %zu; send it unbroken (base64 -w0)", i + 1);
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

enum limoe_status base64_decode(const char *text, size_t size, uint8_t *out, size_t *decoded,
                                struct limoe_error *err) {
    const uint8_t *in = (const uint8_t *)text;
    size_t padding = 0;
    while (padding < 2 && padding < size && text[size - 1 - padding] == '=')
        padding++;
    const size_t digits = size - padding;

    size_t i = 0, n = 0;
    for (; i + 4 <= digits; i += 4) {
        const uint32_t a = value_plus_one[in[i]], b = value_plus_one[in[i + 1]];
        const uint32_t c = value_plus_one[in[i + 2]], d = value_plus_one[in[i + 3]];
        if (!a || !b || !c || !d)
            break;
        const uint32_t word = (a - 1) << 18 | (b - 1) << 12 | (c - 1) << 6 | (d - 1);
        out[n] = (uint8_t)(word >> 16);
        out[n + 1] = (uint8_t)(word >> 8);
        out[n + 2] = (uint8_t)word;
        n += 3;
    }
    for (size_t k = i; k < digits && k < i + 4; k++)
        if (!value_plus_one[in[k]])
            return refuse(text, k, err);

    if (size % 4)
        return limoe_fail(err, LIMOE_INVALID,
                          "not base64: %zu characters, which is not a multiple of 4: it is cut short, or its "
                          "padding (\"=\") is missing",
                          size);
    const size_t rest = digits - i; /* 0, 2 or 3: 1 would take a third "=", which is no digit */
    if (rest) {
        uint32_t word = 0;
        for (size_t k = 0; k < rest; k++)
            word = word << 6 | (value_plus_one[in[i + k]] - 1u);
        const uint32_t spare_bits = rest == 2 ? 4 : 2;
        if (word & ((1u << spare_bits) - 1))
            return limoe_fail(err, LIMOE_INVALID,
                              "not base64: the last character carries bits that its padding denies");
        word >>= spare_bits;
        if (rest == 3)
            out[n++] = (uint8_t)(word >> 8);
        out[n++] = (uint8_t)word;
    }
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
