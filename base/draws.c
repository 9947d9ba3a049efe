/* draws.c - Philox4x32-10, and what is made of its numbers. No state. */
#include "base/draws.h"

enum { ROUNDS = 10 };

void draws_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t x[4] = {counter[0], counter[1], counter[2], counter[3]}, k[2] = {key[0], key[1]};
    for (int round = 0; round < ROUNDS; round++) {
        const uint64_t a = UINT64_C(0xD2511F53) * x[0], b = UINT64_C(0xCD9E8D57) * x[2];
        const uint32_t next[4] = {(uint32_t)(b >> 32) ^ x[1] ^ k[0], (uint32_t)b,
                                  (uint32_t)(a >> 32) ^ x[3] ^ k[1], (uint32_t)a};
        for (int i = 0; i < 4; i++)
            x[i] = next[i];
        k[0] += UINT32_C(0x9E3779B9);
        k[1] += UINT32_C(0xBB67AE85);
    }
    for (int i = 0; i < 4; i++)
        out[i] = x[i];
}

/* Numbers 4 block .. 4 block + 3 of a place. */
static void draw(const struct draws_place *p, uint32_t block, uint32_t out[4]) {
    const uint32_t counter[4] = {block, p->item, p->epoch, (uint32_t)p->use};
    const uint32_t key[2] = {(uint32_t)p->seed, (uint32_t)(p->seed >> 32)};
    draws_philox(counter, key, out);
}

void draws_uniform(const struct draws_place *place, size_t n, float *u) {
    uint32_t four[4];
    for (size_t i = 0; i < n; i++) {
        if (i % 4 == 0)
            draw(place, (uint32_t)(i / 4), four);
        u[i] = (float)(four[i % 4] >> 8) * 0x1p-24f;
    }
}

/* Fisher and Yates', with 64 bits a choice: no place is preferred by more than n / 2^64. */
void draws_order(const struct draws_place *place, uint32_t n, uint32_t *order) {
    for (uint32_t i = 0; i < n; i++)
        order[i] = i;
    for (uint32_t i = n; i > 1; i--) {
        uint32_t four[4];
        draw(place, i, four);
        const uint32_t at = (uint32_t)(((uint64_t)four[1] << 32 | four[0]) % i), last = order[i - 1];
        order[i - 1] = order[at];
        order[at] = last;
    }
}
