/* base64.h - RFC 4648 section 4, strictly: the standard alphabet, padded, canonical. Line breaks are skipped,
 * with the blanks around them, since encoders for mail (Python's encodebytes, Ruby's encode64, base64 without
 * -w0) put them there; so is white space at both ends.
 *
 * The libraries at hand skip stray characters or do not say where a text goes wrong; a client that truncated
 * a picture should hear of it here, with the place, not from a decoder of pictures.
 */
#ifndef LIMOE_BASE_BASE64_H
#define LIMOE_BASE_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe.h"

/* Room that base64_decode needs for `size` characters. */
size_t base64_decoded_room(size_t size);

/* text[size] → out[*decoded]. On failure *err says which character (counted from 1, white space included) or
 * what length (without white space) is wrong. */
enum limoe_status base64_decode(const char *text, size_t size, uint8_t *out, size_t *decoded,
                                struct limoe_error *err);

/* Characters that base64_encode writes for `size` bytes (no NUL). */
size_t base64_encoded_size(size_t size);
void base64_encode(const void *bytes, size_t size, char *out);

#endif
