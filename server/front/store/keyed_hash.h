/* keyed_hash.h - a hash that outsiders cannot aim at.
 *
 * Names and texts come from anyone. Under a hash that everybody knows, texts can be chosen that all fall into
 * one bucket; under a secret drawn at start they cannot. XXH3 mixes the whole secret into the bytes it reads.
 * The values mean nothing outside this process: they are never stored.
 */
#ifndef LIMOE_SERVER_FRONT_STORE_KEYED_HASH_H
#define LIMOE_SERVER_FRONT_STORE_KEYED_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "limoe.h"

struct hash_secret {
    unsigned char bytes[192];
};

/* Draws a secret from the system's random numbers. */
enum limoe_status keyed_hash_draw(struct hash_secret *secret, struct limoe_error *err);
uint64_t keyed_hash(const struct hash_secret *secret, const void *bytes, size_t size);

#endif
