/* buffer.h - bytes appended one after another, and the JSON scalars an answer is made of.
 *
 * The owner calls buffer_free, or takes the bytes with buffer_take and frees them with free(). Running out of
 * memory is remembered, not reported by each append: check `failed` once, at the end.
 */
#ifndef LIMOE_BASE_BUFFER_H
#define LIMOE_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

struct buffer {
    char *data; /* [size], not NUL-terminated */
    size_t size, capacity;
    bool failed; /* an append found no memory; what follows was dropped */
};

void buffer_free(struct buffer *buffer); /* also makes it empty and usable again */
/* Hands the bytes over (malloc'ed, *size of them) and leaves the buffer empty. NULL: it had failed. */
char *buffer_take(struct buffer *buffer, size_t *size);

/* What it has, until it is changed. */
static inline struct text buffer_text(const struct buffer *buffer) {
    return (struct text){.data = buffer->data, .size = buffer->size};
}

/* Gives back the room that has not been used. */
void buffer_fit(struct buffer *buffer);

/* Room for `size` more bytes that are known to come, and not for more: saves copies on the way. */
void buffer_reserve(struct buffer *buffer, size_t size);
/* The capacity that a buffer is to have for `size` more bytes of what a client sends: memory grows with what has
 * come, from `least` on by half of it and no more than 1 MiB at once, and past `most` only as far as needed. */
size_t buffer_growth(const struct buffer *buffer, size_t size, size_t least, size_t most);
void buffer_bytes(struct buffer *buffer, const void *bytes, size_t size);
void buffer_string(struct buffer *buffer, const char *string); /* a C string as it is */
void buffer_print(struct buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "text" with quotes and escapes; ill-formed UTF-8 becomes U+FFFD, so that the output is always JSON. */
void buffer_json_text(struct buffer *buffer, struct text text);
void buffer_json_string(struct buffer *buffer, const char *string); /* NULL: null */
void buffer_json_unsigned(struct buffer *buffer, uint64_t value);
/* Digits that read back as the same float32, the fewest that do where 1e-13 <= |value| < 1e9; null where it
 * is not finite. */
void buffer_json_float(struct buffer *buffer, float value);
/* "…": standard base64 with padding. */
void buffer_json_base64(struct buffer *buffer, const void *bytes, size_t size);

#endif
