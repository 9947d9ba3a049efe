/* embedding.h - an embedding's numbers, and how they are written.
 *
 *     float    float32 as the engine computed them
 *     int8     round(x / scale), ties to even, in -127 … 127; scale = max |x| / 127, of each embedding by itself
 *     ubinary  one bit a number, set where x > 0; eight to a byte, the first in the highest bit, zeros where the
 *              last byte has no more of them
 *     binary   the same bytes less 128, as int8
 *
 * Each follows from the float32 alone, in float32 arithmetic: equal embeddings have equal bytes. These are the
 * layouts of numpy.packbits and of what vector stores call binary vectors. No state, any thread.
 */
#ifndef LIMOE_SERVER_API_EMBEDDING_H
#define LIMOE_SERVER_API_EMBEDDING_H

#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

/* The numbers, and beside them whether their bytes are written as base64 (little-endian) or as JSON numbers. */
enum request_encoding {
    REQUEST_FLOAT,
    REQUEST_BASE64, /* float32 in base64; and the bit that asks for base64 of the others */
    REQUEST_INT8,
    REQUEST_INT8_BASE64,
    REQUEST_UBINARY,
    REQUEST_UBINARY_BASE64,
    REQUEST_BINARY,
    REQUEST_BINARY_BASE64,
};

/* "float", "int8", "ubinary", "binary": the name of the numbers, whatever they are written as. */
const char *embedding_numbers_name(enum request_encoding encoding);

/* About how many bytes embedding_write appends. */
size_t embedding_size(size_t embed, enum request_encoding encoding);

/* row[embed], a unit vector, as a JSON array or a base64 string. Returns what int8 numbers are multiplied with to come
 * near the row: 0 where all are 0, and of other numbers. */
float embedding_write(struct buffer *out, const float *row, size_t embed, enum request_encoding encoding);

#endif
