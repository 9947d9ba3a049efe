/* embedding.c - embeddings as JSON arrays and as base64. */
#include "server/api/embedding.h"

#include <math.h>

#include "base/base64.h"

/* Bytes that are made at a time: a multiple of three, so that base64's pieces join. */
enum { PIECE = 3 * 256, BITS = 8 };

/* The contract's bytes are little-endian; so is every machine this builds for. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "float32 is sent as it lies in memory");

static enum request_encoding numbers_of(enum request_encoding encoding) {
    return (enum request_encoding)(encoding & ~REQUEST_BASE64);
}

const char *embedding_numbers_name(enum request_encoding encoding) {
    static const char *const names[] = {[REQUEST_FLOAT] = "float",
                                        [REQUEST_INT8] = "int8",
                                        [REQUEST_UBINARY] = "ubinary",
                                        [REQUEST_BINARY] = "binary"};
    return names[numbers_of(encoding)];
}

/* ---- numbers to bytes */

/* How many bytes the numbers are, float32 aside. */
static size_t byte_count(size_t embed, enum request_encoding numbers) {
    return numbers == REQUEST_INT8 ? embed : (embed + BITS - 1) / BITS;
}

static float int8_scale(const float *row, size_t embed) {
    float most = 0;
    for (size_t i = 0; i < embed; i++)
        most = fabsf(row[i]) > most ? fabsf(row[i]) : most;
    return most / 127;
}

/* Eight numbers, or what is left of them, by their signs. */
static uint8_t pack_signs(const float *row, size_t n) {
    unsigned bits = 0;
    for (size_t i = 0; i < BITS; i++)
        bits = bits << 1 | (i < n && row[i] > 0);
    return (uint8_t)bits;
}

/* Byte i of the embedding. */
static uint8_t byte_at(const float *row, size_t embed, size_t i, enum request_encoding numbers, float scale) {
    if (numbers == REQUEST_INT8)
        return (uint8_t)(int8_t)(scale > 0 ? lrintf(row[i] / scale) : 0);
    const uint8_t packed = pack_signs(row + i * BITS, embed - i * BITS);
    return numbers == REQUEST_UBINARY ? packed : (uint8_t)(packed ^ 0x80); /* less 128, modulo 256 */
}

/* ---- bytes to JSON */

static void write_base64(struct buffer *out, const uint8_t *bytes, size_t n) {
    char encoded[PIECE / 3 * 4];
    base64_encode(bytes, n, encoded);
    buffer_bytes(out, encoded, base64_encoded_size(n));
}

/* `first`: no comma before it. */
static void write_numbers(struct buffer *out, const uint8_t *bytes, size_t n, bool first, bool is_signed) {
    for (size_t i = 0; i < n; i++) {
        const int value = is_signed ? (int8_t)bytes[i] : bytes[i];
        buffer_string(out, first && i == 0 ? "" : ",");
        if (value < 0)
            buffer_string(out, "-");
        buffer_json_unsigned(out, (uint64_t)(value < 0 ? -value : value));
    }
}

/* Returns the scale. */
static float write_bytes(struct buffer *out, const float *row, size_t embed, enum request_encoding encoding) {
    const enum request_encoding numbers = numbers_of(encoding);
    const bool base64 = encoding & REQUEST_BASE64;
    const float scale = numbers == REQUEST_INT8 ? int8_scale(row, embed) : 0;
    const size_t all = byte_count(embed, numbers);
    uint8_t piece[PIECE];
    buffer_string(out, base64 ? "\"" : "[");
    for (size_t from = 0; from < all; from += PIECE) {
        const size_t n = all - from < PIECE ? all - from : PIECE;
        for (size_t i = 0; i < n; i++)
            piece[i] = byte_at(row, embed, from + i, numbers, scale);
        if (base64)
            write_base64(out, piece, n);
        else
            write_numbers(out, piece, n, from == 0, numbers != REQUEST_UBINARY);
    }
    buffer_string(out, base64 ? "\"" : "]");
    return scale;
}

static void write_floats(struct buffer *out, const float *row, size_t embed) {
    buffer_string(out, "[");
    for (size_t k = 0; k < embed; k++) {
        if (k)
            buffer_bytes(out, ",", 1);
        buffer_json_float(out, row[k]);
    }
    buffer_string(out, "]");
}

/* 13 characters a float and its comma, 5 an int8 and its; or 4 of base64 for 3 bytes. */
size_t embedding_size(size_t embed, enum request_encoding encoding) {
    const enum request_encoding numbers = numbers_of(encoding);
    if (encoding == REQUEST_FLOAT)
        return embed * 13 + 2;
    if (encoding == REQUEST_BASE64)
        return embed * 6 + 2;
    const size_t bytes = byte_count(embed, numbers);
    return (encoding & REQUEST_BASE64 ? base64_encoded_size(bytes) : bytes * 5) + 2;
}

float embedding_write(struct buffer *out, const float *row, size_t embed, enum request_encoding encoding) {
    if (encoding == REQUEST_FLOAT)
        write_floats(out, row, embed);
    else if (encoding == REQUEST_BASE64)
        buffer_json_base64(out, row, embed * sizeof *row);
    else
        return write_bytes(out, row, embed, encoding);
    return 0;
}
