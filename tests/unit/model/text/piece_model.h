/* piece_model.h - SentencePiece models made by hand, so that each can be wrong in one way. */
#ifndef LIMOE_TESTS_UNIT_MODEL_TEXT_PIECE_MODEL_H
#define LIMOE_TESTS_UNIT_MODEL_TEXT_PIECE_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/unit/model/support.h"

enum piece_kind {
    PIECE_NORMAL = 1,
    PIECE_UNKNOWN,
    PIECE_CONTROL,
    PIECE_USER_DEFINED,
    PIECE_UNUSED,
    PIECE_BYTE
};

/* Protocol buffers' wire format. */
void wire_varint(struct bytes *b, uint64_t value);
void wire_number(struct bytes *b, unsigned field, uint64_t value);
void wire_float(struct bytes *b, unsigned field, float value);
void wire_bytes(struct bytes *b, unsigned field, const void *data, size_t size);

void add_piece(struct bytes *model, const char *piece, float score, enum piece_kind kind);
void add_trainer_spec(struct bytes *model, unsigned type);
void add_normalizer_spec(struct bytes *model, const struct bytes *charsmap); /* an empty one: the identity */

/* A precompiled_charsmap whose rules replace "A", "AA", … up to `chain` of them, each by `replacement` (its
 * first `size` bytes, a NUL after them). `loop` leads the last rule back to itself. */
struct bytes chain_charsmap(unsigned chain, const char *replacement, size_t size, bool loop);

/* The pieces of a sound model. */
uint32_t count_pieces(const uint8_t *model, size_t size);

/* 40 pieces, as tiny_config says: <unk> <s> </s>, a few words, letters; "A" is normalised to "a". */
struct bytes tiny_model(void);
enum {
    TINY_UNK = 0,
    TINY_EOS = 2,
    TINY_SPACE = 3,
    TINY_CAT = 4,
    TINY_DOG = 5,
    TINY_A = 6 /* to TINY_A + 25: z */
};

#endif
