/* tail_key.h - which weights an item is embedded by, where they are not the model's own: an adapter's, by what its file
 * holds, at a strength. */
#ifndef LIMOE_SERVER_PROTOCOL_TAIL_KEY_H
#define LIMOE_SERVER_PROTOCOL_TAIL_KEY_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define TAIL_KEY_DIGEST 32                    /* bytes */
#define TAIL_KEY_HEX    (2 * TAIL_KEY_DIGEST) /* letters */
#define TAIL_KEY_SUFFIX ".safetensors"        /* of the files' names, ...@HEX.safetensors: */
#define TAIL_KEY_END    (1 + TAIL_KEY_HEX + sizeof TAIL_KEY_SUFFIX - 1) /* bytes of them from the @ on */

struct tail_key {
    uint8_t sha256[TAIL_KEY_DIGEST]; /* of the adapter's file */
    float strength;                  /* above 0, to 1 */
};

static inline bool tail_key_equal(const struct tail_key *a, const struct tail_key *b) {
    return a == b || (a->strength == b->strength && memcmp(a->sha256, b->sha256, sizeof a->sha256) == 0);
}

/* The digest in hexadecimal digits. */
static inline void tail_key_hex(const uint8_t sha256[TAIL_KEY_DIGEST], char hex[TAIL_KEY_HEX + 1]) {
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < TAIL_KEY_DIGEST; i++) {
        hex[2 * i] = digits[sha256[i] >> 4];
        hex[2 * i + 1] = digits[sha256[i] & 15];
    }
    hex[TAIL_KEY_HEX] = '\0';
}

#endif
