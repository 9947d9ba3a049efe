/* fingerprint.c - parts to digits. The caller owns the fingerprint; no threads. */
#include "model/checkpoint/fingerprint.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/error.h"

struct fingerprint {
    XXH3_state_t *state; /* its alignment is the library's business */
};

enum limoe_status fingerprint_create(struct fingerprint **out, struct limoe_error *err) {
    struct fingerprint *f = calloc(1, sizeof *f);
    *out = f;
    if (f)
        f->state = XXH3_createState();
    if (!f || !f->state) {
        fingerprint_free(f);
        *out = NULL;
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a fingerprint");
    }
    XXH3_64bits_reset(f->state);
    return LIMOE_OK;
}

void fingerprint_free(struct fingerprint *f) {
    if (!f)
        return;
    XXH3_freeState(f->state);
    free(f);
}

void fingerprint_add(struct fingerprint *f, const char *name, const void *bytes, size_t size) {
    const uint64_t sizes[2] = {strlen(name), size};
    XXH3_64bits_update(f->state, sizes, sizeof sizes);
    XXH3_64bits_update(f->state, name, sizes[0]);
    XXH3_64bits_update(f->state, bytes, size);
}

void fingerprint_digits(const struct fingerprint *f, char to[FINGERPRINT_DIGITS + 1]) {
    snprintf(to, FINGERPRINT_DIGITS + 1, "%016" PRIx64, XXH3_64bits_digest(f->state));
}
