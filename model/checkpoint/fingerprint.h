/* fingerprint.h - a name for content: 16 hex digits of the parts that were added, in order.
 *
 * A processor's fingerprint is made of config.json and tokenizer.model; a model's begins with those same
 * digits and goes on with those of its tensors, dtype and backend. Parts are what is in the files, not the
 * files: another directory or other shards with the same content give the same digits.
 *
 * The digest is XXH3: it costs a fraction of reading the weights, and tells apart what differs by accident or
 * by an update. It does not withstand someone who builds a collision; it grants nothing, it only compares.
 */
#ifndef LIMOE_MODEL_CHECKPOINT_FINGERPRINT_H
#define LIMOE_MODEL_CHECKPOINT_FINGERPRINT_H

#include <stddef.h>

#include "limoe.h"

#ifdef __cplusplus
extern "C" {
#endif

#define FINGERPRINT_DIGITS 16

struct fingerprint;

enum limoe_status fingerprint_create(struct fingerprint **out, struct limoe_error *err);
void fingerprint_free(struct fingerprint *f); /* NULL is fine */

/* Adds one part. Its name and size are added too, so that no bytes can pass from a part to
 * the next unseen. */
void fingerprint_add(struct fingerprint *f, const char *name, const void *bytes, size_t size);

/* The digits of all parts so far, and a NUL. */
void fingerprint_digits(const struct fingerprint *f, char to[FINGERPRINT_DIGITS + 1]);

#ifdef __cplusplus
}
#endif
#endif
