/* keyed_hash.c - XXH3 with a secret of its own. No state, any thread. */
#include "server/front/store/keyed_hash.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <xxhash.h>

#include "base/error.h"

_Static_assert(sizeof(((struct hash_secret *)0)->bytes) >= XXH3_SECRET_SIZE_MIN, "XXH3 asks for as much");

enum limoe_status keyed_hash_draw(struct hash_secret *secret, struct limoe_error *err) {
    /* Up to 256 bytes come whole, and no signal interrupts them. */
    if (getrandom(secret->bytes, sizeof secret->bytes, 0) != (ssize_t)sizeof secret->bytes)
        return limoe_fail(err, LIMOE_IO, "the system gave no random bytes: %s", strerror(errno));
    return LIMOE_OK;
}

uint64_t keyed_hash(const struct hash_secret *secret, const void *bytes, size_t size) {
    return XXH3_64bits_withSecret(bytes, size, secret->bytes, sizeof secret->bytes);
}
