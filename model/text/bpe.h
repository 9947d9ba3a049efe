/* bpe.h - byte-pair encoding: which pairs of pieces become one, and in which order.
 *
 * The merges are rows by left piece, each sorted by right piece, so that looking a pair up takes log n steps
 * whatever the file holds. Merging takes pairs from a heap by rank, then by place, as `tokenizers` does: n log n
 * in the word's length, where taking the best of all pairs each time would be n². Where each piece is made of
 * pieces that earlier merges made, as training gives it, that is also the order of CLIP's original.
 */
#ifndef LIMOE_MODEL_TEXT_BPE_H
#define LIMOE_MODEL_TEXT_BPE_H

#include <stddef.h>
#include <stdint.h>

#include "limoe.h"

struct bpe_merge {
    uint32_t left, right, made; /* piece ids */
};

struct bpe {
    uint32_t vocab;   /* left pieces are below it */
    uint32_t *first;  /* [vocab + 1]: where a left piece's merges begin */
    struct bpe_rule { /* [first[vocab]] */
        uint32_t right, made, rank;
    } * rule;
};

/* Takes the merges in order of rank, all of whose pieces are below `vocab`. Of a pair that is there twice the last
 * counts. LIMOE_NO_MEMORY; `where` begins the message. Free with bpe_free, in any case. */
enum limoe_status bpe_init(struct bpe *bpe, const struct bpe_merge *merges, size_t n, uint32_t vocab,
                           const char *where, struct limoe_error *err);
void bpe_free(struct bpe *bpe);

/* What merging a word needs, kept from word to word: grows to the longest. Zero it; free with bpe_word_free. */
struct bpe_word {
    struct bpe_symbol {
        uint32_t id;
        uint32_t next, before; /* places in symbol; UINT32_MAX: none. id UINT32_MAX: merged away */
    } * symbol;
    struct bpe_pair {
        uint32_t rank, place, made;
    } * heap;
    size_t size;  /* symbols of the word */
    size_t pairs; /* in the heap */
    size_t symbol_room, heap_room;
};

void bpe_word_free(struct bpe_word *word);
void bpe_word_clear(struct bpe_word *word); /* begins the next word */
/* Appends a piece. LIMOE_NO_MEMORY. */
enum limoe_status bpe_word_add(struct bpe_word *word, uint32_t id, struct limoe_error *err);

/* Merges what can be merged, and writes the first `capacity` of the pieces that are left. *count: how many were
 * written. LIMOE_NO_MEMORY. */
enum limoe_status bpe_word_merge(const struct bpe *bpe, struct bpe_word *word, int32_t *ids,
                                 uint32_t capacity, uint32_t *count, struct limoe_error *err);

#endif
