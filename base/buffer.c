/* buffer.c - an append buffer that doubles, and JSON scalars. No state, any thread. */
#include "base/buffer.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"

#define GREATEST_GROWTH ((size_t)1 << 20) /* bytes, of buffer_growth */

void buffer_free(struct buffer *buffer) {
    free(buffer->data);
    *buffer = (struct buffer){0};
}

char *buffer_take(struct buffer *buffer, size_t *size) {
    if (buffer->failed) {
        buffer_free(buffer);
        *size = 0;
        return NULL;
    }
    /* Empty is not failed: the caller gets memory to free either way. */
    char *data = buffer->data ? buffer->data : malloc(1);
    *size = buffer->size;
    *buffer = (struct buffer){0};
    return data;
}

static bool grow(struct buffer *buffer, size_t capacity) {
    char *data = capacity <= PTRDIFF_MAX ? realloc(buffer->data, capacity) : NULL;
    buffer->failed = !data;
    if (data) {
        buffer->data = data;
        buffer->capacity = capacity;
    }
    return data != NULL;
}

/* Makes room for `size` more bytes and returns where they go, or NULL. */
static char *room(struct buffer *buffer, size_t size) {
    if (buffer->failed)
        return NULL;
    if (buffer->capacity - buffer->size < size) {
        size_t capacity = buffer->capacity ? buffer->capacity : 512;
        while (capacity - buffer->size < size && capacity <= SIZE_MAX / 2)
            capacity *= 2;
        buffer->failed = capacity - buffer->size < size;
        if (buffer->failed || !grow(buffer, capacity))
            return NULL;
    }
    return buffer->data + buffer->size;
}

void buffer_fit(struct buffer *buffer) {
    char *data = buffer->size < buffer->capacity ? realloc(buffer->data, buffer->size + 1) : NULL;
    if (data) { /* else it is as it was: too large is not wrong */
        buffer->data = data;
        buffer->capacity = buffer->size + 1;
    }
}

void buffer_reserve(struct buffer *buffer, size_t size) {
    if (buffer->failed || buffer->capacity - buffer->size >= size)
        return;
    buffer->failed = size > SIZE_MAX - buffer->size;
    if (!buffer->failed)
        grow(buffer, buffer->size + size);
}

size_t buffer_growth(const struct buffer *buffer, size_t size, size_t least, size_t most) {
    const size_t capacity = buffer->capacity, needed = buffer->size + size;
    if (needed <= capacity)
        return capacity;
    size_t wanted = capacity + (capacity / 2 < GREATEST_GROWTH ? capacity / 2 : GREATEST_GROWTH);
    if (wanted < least)
        wanted = least;
    if (wanted > most)
        wanted = most;
    return wanted < needed ? needed : wanted;
}

void buffer_bytes(struct buffer *buffer, const void *bytes, size_t size) {
    char *out = room(buffer, size);
    if (!out || !size)
        return;
    memcpy(out, bytes, size);
    buffer->size += size;
}

void buffer_string(struct buffer *buffer, const char *string) {
    buffer_bytes(buffer, string, strlen(string));
}

void buffer_print(struct buffer *buffer, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    /* vsnprintf ends its text with a NUL, which needs room but is not part of it. */
    char *out = size >= 0 ? room(buffer, (size_t)size + 1) : NULL;
    if (!out)
        return;
    va_start(args, format);
    vsnprintf(out, (size_t)size + 1, format, args);
    va_end(args);
    buffer->size += (size_t)size;
}

/* Stands for itself in a JSON string, alone. */
static bool is_plain(char c) {
    return c >= 0x20 && c < 0x7F && c != '"' && c != '\\';
}

void buffer_json_text(struct buffer *buffer, struct text text) {
    buffer_bytes(buffer, "\"", 1);
    size_t plain = 0; /* start of the run that needs no escape */
    for (size_t i = 0; i < text.size;) {
        if (is_plain(text.data[i])) {
            i++;
            continue;
        }
        const unsigned char c = (unsigned char)text.data[i];
        const size_t length = text_sequence(text.data + i, text.size - i);
        char escape[8] = "";
        if (length == 0)
            strcpy(escape, "\xEF\xBF\xBD");
        else if (c == '"' || c == '\\')
            snprintf(escape, sizeof escape, "\\%c", c);
        else if (c < 0x20 || c == 0x7F)
            snprintf(escape, sizeof escape, "\\u%04x", c);

        const size_t step = length ? length : 1;
        if (*escape) {
            buffer_bytes(buffer, text.data + plain, i - plain);
            buffer_string(buffer, escape);
            plain = i + step;
        }
        i += step;
    }
    buffer_bytes(buffer, text.data + plain, text.size - plain);
    buffer_bytes(buffer, "\"", 1);
}

void buffer_json_string(struct buffer *buffer, const char *string) {
    if (string)
        buffer_json_text(buffer, text_of(string));
    else
        buffer_string(buffer, "null");
}

void buffer_json_unsigned(struct buffer *buffer, uint64_t value) {
    char digits[20];
    size_t first = sizeof digits;
    do
        digits[--first] = (char)('0' + value % 10);
    while (value /= 10);
    buffer_bytes(buffer, digits + first, sizeof digits - first);
}

/* The shortest decimal of |x| as digits and a power of ten: |x| ≈ digits * 10^exponent, `digits` not a
 * multiple of 10. Only for 1e-13 <= |x| < 1e9, where every power of ten below is exact in a double.
 *
 * Any decimal within half a unit in the last place of x reads back as x. Candidates of 6, 7, 8 and 9 digits
 * are tried: 6 suffice for every float that has so short a form (FLT_DIG), 9 for all. A candidate is off by
 * one rounding of a double, 2^-29 of a float's, so it is accepted only a little inside the half unit.
 *
 * An answer may carry 400,000 floats: this takes 43 ns for each, printf("%.9g") 168 ns, and reading back to
 * find out whether fewer digits do comes on top of that. */
static void shortest(float x, uint64_t *digits, int *exponent) {
    static const double power[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                   1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const float magnitude = fabsf(x);
    const double value = (double)magnitude;
    const double half_unit = 0.5 * (value - (double)nextafterf(magnitude, 0.0f));

    int decimal = 0; /* 10^decimal <= value < 10^(decimal + 1) */
    while (decimal < 9 && value >= power[decimal + 1])
        decimal++;
    while (value * power[-decimal < 0 ? 0 : -decimal] < 1.0)
        decimal--;

    for (int count = 6; count <= 9; count++) {
        const int scale = count - 1 - decimal; /* candidate = round(value * 10^scale) / 10^scale */
        const double scaled = scale >= 0 ? value * power[scale] : value / power[-scale];
        const double rounded = rint(scaled);
        const double candidate = scale >= 0 ? rounded / power[scale] : rounded * power[-scale];
        *digits = (uint64_t)rounded;
        *exponent = -scale;
        if (fabs(candidate - value) < half_unit * 0.9999)
            break;
    }
    while (*digits % 10 == 0) {
        *digits /= 10;
        ++*exponent;
    }
}

void buffer_json_float(struct buffer *buffer, float value) {
    if (!isfinite(value)) {
        buffer_string(buffer, "null");
        return;
    }
    const float magnitude = fabsf(value);
    if (magnitude == 0.0f) {
        buffer_string(buffer, signbit(value) ? "-0.0" : "0.0");
        return;
    }
    if (magnitude < 1e-13f || magnitude >= 1e9f) {
        buffer_print(buffer, "%.9g", (double)value);
        return;
    }

    uint64_t number;
    int exponent;
    shortest(value, &number, &exponent);
    char digits[20];
    size_t first = sizeof digits;
    do
        digits[--first] = (char)('0' + number % 10);
    while (number /= 10);
    const char *text = digits + first;
    const int count = (int)(sizeof digits - first);
    const int point = count + exponent; /* digits before the decimal point */

    char out[32];
    size_t n = 0;
    if (signbit(value))
        out[n++] = '-';
    if (point < -4) { /* 1.25e-7 */
        out[n++] = text[0];
        out[n++] = '.';
        for (int i = 1; i < count; i++)
            out[n++] = text[i];
        if (count == 1)
            out[n++] = '0';
        n += (size_t)snprintf(out + n, sizeof out - n, "e%d", point - 1);
    } else { /* 0.00125, 1.25, 125.0 */
        if (point <= 0)
            out[n++] = '0';
        for (int i = 0; i < point; i++)
            out[n++] = i < count ? text[i] : '0';
        out[n++] = '.';
        for (int i = point; i < 0; i++)
            out[n++] = '0';
        for (int i = point > 0 ? point : 0; i < count; i++)
            out[n++] = text[i];
        if (point >= count)
            out[n++] = '0';
    }
    buffer_bytes(buffer, out, n);
}

void buffer_json_base64(struct buffer *buffer, const void *bytes, size_t size) {
    const size_t encoded = base64_encoded_size(size);
    char *out = room(buffer, encoded + 2);
    if (!out)
        return;
    out[0] = '"';
    base64_encode(bytes, size, out + 1);
    out[encoded + 1] = '"';
    buffer->size += encoded + 2;
}
