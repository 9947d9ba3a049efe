/* digests.c - a table of digests: the towers' tensors by id and block, then the experts' parts by id, block and expert, then
 * the decoder's by id and block.
 * The caller owns it; no threads. */
#include "model/checkpoint/digests.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/error.h"

enum { STACKS = LAYOUT_MOE_FC2_BIAS - LAYOUT_MOE_FC1_WEIGHT + 1 };

static bool is_stack(enum layout_id id) {
    return id >= LAYOUT_MOE_FC1_WEIGHT && id <= LAYOUT_MOE_FC2_BIAS;
}

/* Those of the towers. */
static size_t count_towers(const struct config *c) {
    const size_t experts = c->moe.layers ? c->moe.experts : 0;
    return (LAYOUT_TOWERS + STACKS * experts) * config_blocks(c);
}

static size_t place(const struct config *c, enum layout_id id, uint32_t block, uint32_t expert) {
    const size_t tensors = (size_t)LAYOUT_TOWERS * config_blocks(c);
    if (id >= LAYOUT_TOWERS)
        return count_towers(c) + (size_t)(id - LAYOUT_TOWERS) * c->decoder.tower.blocks + block;
    if (!is_stack(id))
        return (size_t)id * config_blocks(c) + block;
    return tensors + ((size_t)(id - LAYOUT_MOE_FC1_WEIGHT) * config_blocks(c) + block) * c->moe.experts +
           expert;
}

enum limoe_status digests_create(const struct config *config, struct digests *out, struct limoe_error *err) {
    const size_t decoder = LAYOUT_COUNT - LAYOUT_TOWERS;
    out->config = config;
    out->count = count_towers(config) + decoder * config->decoder.tower.blocks;
    out->value = calloc(out->count, sizeof *out->value);
    return out->value ? LIMOE_OK : limoe_fail(err, LIMOE_NO_MEMORY, "no memory for %zu digests", out->count);
}

void digests_free(struct digests *d) {
    free(d->value);
    *d = (struct digests){0};
}

/* The name and the dtype come first, each with its end; 0 is kept for what was not read. */
void digests_note(struct digests *d, enum layout_id id, uint32_t block, uint32_t expert,
                  const struct tensor *t, const void *bytes, size_t size) {
    XXH64_hash_t seed = XXH3_64bits(t->name, strlen(t->name) + 1);
    seed = XXH3_64bits_withSeed(t->dtype_name, strlen(t->dtype_name) + 1, seed);
    const XXH64_hash_t digest = XXH3_64bits_withSeed(bytes, size, seed);
    d->value[place(d->config, id, block, expert)] = digest ? digest : 1;
}

void digests_note_more(struct digests *d, enum layout_id id, uint32_t block, uint32_t expert,
                       const void *bytes, size_t size) {
    uint64_t *value = &d->value[place(d->config, id, block, expert)];
    const XXH64_hash_t digest = XXH3_64bits_withSeed(bytes, size, *value);
    *value = digest ? digest : 1;
}

static int compare(const void *a, const void *b) {
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

/* What was not read is left out, so that nothing of the table's own shape shows. */
enum limoe_status digests_name(const uint64_t *value, size_t count, char digits[FINGERPRINT_DIGITS + 1],
                               struct limoe_error *err) {
    struct fingerprint *name = NULL;
    uint64_t *sorted = malloc((count ? count : 1) * sizeof *sorted);
    size_t n = 0;
    if (!sorted)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for %zu digests", count);
    for (size_t i = 0; i < count; i++)
        if (value[i])
            sorted[n++] = value[i];
    qsort(sorted, n, sizeof *sorted, compare);
    enum limoe_status status = fingerprint_create(&name, err);
    if (!status) {
        fingerprint_add(name, "tensors", sorted, n * sizeof *sorted);
        fingerprint_digits(name, digits);
    }
    fingerprint_free(name);
    free(sorted);
    return status;
}

bool digests_differ(const struct digests *d, const uint64_t *all, char name[128]) {
    for (int i = 0; i < LAYOUT_COUNT; i++) {
        const enum layout_id id = (enum layout_id)i;
        const uint32_t blocks = layout_blocks(d->config, id);
        for (uint32_t block = 0; block < blocks; block++) {
            struct layout_tensor t;
            if (!layout_expected(d->config, id, block, &t))
                continue;
            for (uint32_t e = 0; e < (is_stack(id) ? d->config->moe.experts : 1); e++) {
                const size_t at = place(d->config, id, block, e);
                if (!d->value[at] || d->value[at] == all[at])
                    continue;
                if (is_stack(id))
                    snprintf(name, 128, "expert %u of tensor \"%s\"", e, t.name);
                else
                    snprintf(name, 128, "tensor \"%s\"", t.name);
                return true;
            }
        }
    }
    return false;
}
