/* digests.h - what was read of a checkpoint: one digest for each tensor, or for each expert's part of one.
 *
 * A rank reads the dense part and its own experts. The digests of all ranks together stand for the whole
 * checkpoint, so that it has one name whoever asks, and nobody reads an expert only to name it; and where two
 * ranks have read the same, they show whether it was the same. The digest is the fingerprint's.
 */
#ifndef LIMOE_MODEL_CHECKPOINT_DIGESTS_H
#define LIMOE_MODEL_CHECKPOINT_DIGESTS_H

#include <stddef.h>
#include <stdint.h>

#include "limoe.h"
#include "model/checkpoint/config.h"
#include "model/checkpoint/fingerprint.h"
#include "model/checkpoint/layout.h"
#include "model/checkpoint/safetensors.h"

struct digests {
    const struct config *config;
    uint64_t *value; /* [count]; 0: not read here */
    size_t count;
};

/* Room for the digests of a checkpoint of this config, which must outlive them; none is noted yet. */
enum limoe_status digests_create(const struct config *config, struct digests *out, struct limoe_error *err);
void digests_free(struct digests *d); /* empty ones are fine */

/* Notes `size` bytes of tensor t, `id` of the block: the whole tensor, or of a stack of experts the part of
 * one. */
void digests_note(struct digests *d, enum layout_id id, uint32_t block, uint32_t expert,
                  const struct tensor *t, const void *bytes, size_t size);

/* Notes more bytes of what was noted last of it: the scales of what is int8. */
void digests_note_more(struct digests *d, enum layout_id id, uint32_t block, uint32_t expert,
                       const void *bytes, size_t size);

/* 16 digits of all that digests value[count] stand for, whatever their order: of the tensors alone. */
enum limoe_status digests_name(const uint64_t *value, size_t count, char digits[FINGERPRINT_DIGITS + 1],
                               struct limoe_error *err);

/* The first thing whose digest in `all` is not the one in d, of those in d; false when there is none. What it
 * is goes to name: "tensor \"ln.bias\"", "expert 3 of tensor \"blocks.1.moe.fc1.weight\"". */
bool digests_differ(const struct digests *d, const uint64_t *all, char name[128]);

#endif
