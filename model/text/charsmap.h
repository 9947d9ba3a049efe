/* charsmap.h - SentencePiece's rules of normalisation, applied as `tokenizers` applies them. */
#ifndef LIMOE_MODEL_TEXT_CHARSMAP_H
#define LIMOE_MODEL_TEXT_CHARSMAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/text.h"
#include "limoe.h"

struct charsmap {
    uint8_t *bytes;      /* owned */
    const uint8_t *unit; /* [units] of 4 bytes: a double array */
    size_t units;
    struct text replacements;
};

/* Decodes and checks a "precompiled_charsmap" in base64. LIMOE_CORRUPT or LIMOE_NO_MEMORY; `where` begins the message.
 * Free with charsmap_free, in any case. */
enum limoe_status charsmap_read(struct charsmap *map, const char *base64, const char *where,
                                struct limoe_error *err);
void charsmap_free(struct charsmap *map);

/* Appends text with the rules applied: to each grapheme cluster of less than 6 bytes as a whole, where a rule begins it;
 * else to each of its characters. Of several rules the shortest counts. */
void charsmap_apply(const struct charsmap *map, struct text text, struct buffer *to);

#endif
