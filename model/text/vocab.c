/* vocab.c - open addressing, at most half full. The table owns its arrays, not the texts. */
#include "model/text/vocab.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <xxhash.h>

#include "base/error.h"

void vocab_init(struct vocab *vocab, const char *where) {
    *vocab = (struct vocab){.where = where};
    if (getrandom(&vocab->seed, sizeof vocab->seed, GRND_NONBLOCK) != sizeof vocab->seed)
        vocab->seed = (uint64_t)(uintptr_t)vocab;
}

void vocab_free(struct vocab *vocab) {
    free(vocab->piece);
    free(vocab->slot);
    vocab->piece = NULL;
    vocab->slot = NULL;
    vocab->size = vocab->room = vocab->slots = 0;
}

static uint32_t hash_of(const struct vocab *vocab, struct text text) {
    return (uint32_t)XXH3_64bits_withSeed(text.data, text.size, vocab->seed);
}

/* The slot of the text, or the empty one where it would be. */
static size_t place_of(const struct vocab *vocab, struct text text, uint32_t hash) {
    size_t at = hash & (vocab->slots - 1);
    while (vocab->slot[at] != 0) {
        const struct vocab_piece *piece = &vocab->piece[vocab->slot[at] - 1];
        if (piece->hash == hash && text_equal(piece->text, text))
            break;
        at = (at + 1) & (vocab->slots - 1);
    }
    return at;
}

static bool grow(struct vocab *vocab) {
    const size_t room = vocab->room ? vocab->room * 2 : 512;
    struct vocab_piece *piece = realloc(vocab->piece, room * sizeof *piece);
    if (!piece)
        return false;
    vocab->piece = piece;
    vocab->room = room;
    uint32_t *slot = calloc(room * 2, sizeof *slot);
    if (!slot)
        return false;
    free(vocab->slot);
    vocab->slot = slot;
    vocab->slots = room * 2;
    for (size_t i = 0; i < vocab->size; i++) {
        size_t at = piece[i].hash & (vocab->slots - 1);
        while (slot[at] != 0)
            at = (at + 1) & (vocab->slots - 1);
        slot[at] = (uint32_t)i + 1;
    }
    return true;
}

enum limoe_status vocab_add(struct vocab *vocab, struct text text, uint32_t id, struct limoe_error *err) {
    char quoted[80];
    if (id >= VOCAB_MAX) {
        return limoe_fail(err, LIMOE_TOO_LARGE, "%s: the id of \"%s\" is %u; less than %u are accepted",
                          vocab->where, text_quote(text, quoted, sizeof quoted), id, VOCAB_MAX);
    }
    if (vocab->size == vocab->room && !grow(vocab))
        return limoe_fail(err, LIMOE_NO_MEMORY, "%s: no memory for %zu pieces", vocab->where, vocab->size);
    const uint32_t hash = hash_of(vocab, text);
    const size_t at = place_of(vocab, text, hash);
    if (vocab->slot[at] != 0) {
        return limoe_fail(err, LIMOE_CORRUPT, "%s: the piece \"%s\" is there twice", vocab->where,
                          text_quote(text, quoted, sizeof quoted));
    }
    vocab->piece[vocab->size] = (struct vocab_piece){.text = text, .id = id, .hash = hash};
    vocab->slot[at] = (uint32_t)++vocab->size;
    if (id >= vocab->end)
        vocab->end = id + 1;
    return LIMOE_OK;
}

const struct vocab_piece *vocab_find(const struct vocab *vocab, struct text text) {
    if (vocab->slots == 0)
        return NULL;
    const size_t at = place_of(vocab, text, hash_of(vocab, text));
    return vocab->slot[at] != 0 ? &vocab->piece[vocab->slot[at] - 1] : NULL;
}

enum limoe_status vocab_check_ids(const struct vocab *vocab, struct limoe_error *err) {
    uint32_t *holder = calloc((size_t)vocab->end + 1, sizeof *holder);
    if (!holder)
        return limoe_fail(err, LIMOE_NO_MEMORY, "%s: no memory for %u ids", vocab->where, vocab->end);
    enum limoe_status status = LIMOE_OK;
    for (size_t i = 0; i < vocab->size && status == LIMOE_OK; i++) {
        const struct vocab_piece *piece = &vocab->piece[i];
        if (holder[piece->id] != 0) {
            char one[64], other[64];
            status =
                limoe_fail(err, LIMOE_CORRUPT, "%s: \"%s\" and \"%s\" have the same id, %u", vocab->where,
                           text_quote(vocab->piece[holder[piece->id] - 1].text, one, sizeof one),
                           text_quote(piece->text, other, sizeof other), piece->id);
        }
        holder[piece->id] = (uint32_t)i + 1;
    }
    for (uint32_t id = 0; id < vocab->end && status == LIMOE_OK; id++)
        if (holder[id] == 0)
            status = limoe_fail(err, LIMOE_CORRUPT, "%s: no piece has the id %u", vocab->where, id);
    free(holder);
    return status;
}
