/* vocab.h - pieces by their text, while a tokenizer's files are read.
 *
 * A hash table over strings that stay where they are in the files' memory. Its seed is drawn anew for each table,
 * so that no file can be made whose pieces collide.
 */
#ifndef LIMOE_MODEL_TEXT_VOCAB_H
#define LIMOE_MODEL_TEXT_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "limoe.h"

#define VOCAB_MAX (1u << 24) /* ids are below it */

struct vocab {
    struct vocab_piece {
        struct text text;
        uint32_t id;
        uint32_t hash;
    } * piece;      /* [size], in the file's order */
    uint32_t *slot; /* [slots]: 1 + an index into piece; 0: empty */
    size_t size, room, slots;
    uint32_t end; /* one more than the largest id */
    uint64_t seed;
    const char *where; /* begins messages */
};

/* `where` must outlive the table. */
void vocab_init(struct vocab *vocab, const char *where);
void vocab_free(struct vocab *vocab);

/* Adds a piece. LIMOE_CORRUPT when its text is there already; LIMOE_TOO_LARGE; LIMOE_NO_MEMORY. */
enum limoe_status vocab_add(struct vocab *vocab, struct text text, uint32_t id, struct limoe_error *err);

/* NULL: no such piece. */
const struct vocab_piece *vocab_find(const struct vocab *vocab, struct text text);

/* Refuses ids that two pieces share, and those below the largest that none has. LIMOE_CORRUPT or LIMOE_NO_MEMORY. */
enum limoe_status vocab_check_ids(const struct vocab *vocab, struct limoe_error *err);

#endif
