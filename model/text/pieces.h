/* pieces.h - SentencePiece behind a plain C face (pieces.cpp is the project's only C++). */
#ifndef LIMOE_MODEL_TEXT_PIECES_H
#define LIMOE_MODEL_TEXT_PIECES_H

#include <stddef.h>
#include <stdint.h>

#include "limoe.h"

#ifdef __cplusplus
extern "C" {
#endif

struct pieces;

/* Loads a serialised ModelProto, which is checked first (sentencepiece.h). `name`, the file's, begins messages and
 * must outlive the pieces. */
enum limoe_status pieces_open(const uint8_t *bytes, size_t size, const char *name, struct pieces **out,
                              struct limoe_error *err);
void pieces_close(struct pieces *pieces); /* NULL is fine */

uint32_t pieces_count(const struct pieces *pieces);
/* The id of a piece; that of the unknown one when there is no such piece. */
int32_t pieces_id(const struct pieces *pieces, const char *piece);

/* Encodes UTF-8 text; leaves out the first `skip` ids, if there are as many, and keeps at most `capacity` of the others. Safe from many
 * threads at once. */
enum limoe_status pieces_encode(const struct pieces *pieces, const char *text, size_t size, uint32_t skip,
                                int32_t *ids, uint32_t capacity, uint32_t *count, struct limoe_error *err);

/* The text of ids below pieces_count, NUL-terminated, to text[size]. LIMOE_TOO_LARGE: there is no room. */
enum limoe_status pieces_decode(const struct pieces *pieces, const int32_t *ids, uint32_t count, char *text,
                                size_t size, struct limoe_error *err);

#ifdef __cplusplus
}
#endif
#endif
