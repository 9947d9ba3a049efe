/* agree.c - each rank says how it went and on what terms; all read what all have said. No
 * state, no threads. */
#include "model/agree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/error.h"

struct report {
    int32_t status;
    char message[512];
    struct terms terms;
};

struct terms agree_terms(void) {
    struct terms t = {0};
    snprintf(t.version, sizeof t.version, "%s", limoe_version());
    return t;
}

uint64_t agree_digest(const struct placement *p) {
    const size_t experts = (size_t)p->shape.layers * p->shape.experts;
    const XXH64_hash_t seed = XXH3_64bits(p->first, (experts + 1) * sizeof *p->first);
    return XXH3_64bits_withSeed(p->owner, p->first[experts] * sizeof *p->owner, seed);
}

size_t agree_bytes(uint32_t ranks) {
    return sizeof(struct report) * ((size_t)ranks + 1);
}

/* Rank 0's terms and another's. */
static enum limoe_status compare(uint32_t rank, const struct terms *a, const struct terms *b,
                                 struct limoe_error *err) {
    if (strcmp(a->version, b->version) != 0)
        return limoe_fail(err, LIMOE_INVALID, "rank 0 is %s, rank %u is %s; all must be the same", a->version,
                          rank, b->version);
    if (strcmp(a->inputs, b->inputs) != 0)
        return limoe_fail(err, LIMOE_INVALID,
                          "rank %u reads another config.json or tokenizer.model than rank 0; all must read "
                          "the same model",
                          rank);
    if (a->dtype != b->dtype || strcmp(a->backend, b->backend) != 0)
        return limoe_fail(err, LIMOE_INVALID,
                          "rank 0 computes in %s on %s, rank %u in %s on %s; all must be the same, or bits "
                          "would depend on the rank",
                          limoe_dtype_name(a->dtype), a->backend, rank, limoe_dtype_name(b->dtype),
                          b->backend);
    if (a->placement != b->placement)
        return limoe_fail(err, LIMOE_INVALID,
                          "rank %u places experts otherwise than rank 0; all must be given the same load "
                          "file and the same room for experts",
                          rank);
    return LIMOE_OK;
}

static enum limoe_status judge(const struct report *all, uint32_t ranks, bool on_terms,
                               struct limoe_error *err) {
    for (uint32_t r = 0; r < ranks; r++)
        if (all[r].status)
            return limoe_fail(err, (enum limoe_status)all[r].status, "rank %u: %s", r, all[r].message);
    enum limoe_status status = LIMOE_OK;
    for (uint32_t r = 1; on_terms && !status && r < ranks; r++)
        status = compare(r, &all[0].terms, &all[r].terms, err);
    return status;
}

enum limoe_status agree(const struct exchange *x, enum limoe_status status, const struct terms *terms,
                        struct limoe_error *err) {
    if (x->ranks == 1)
        return status;
    struct report mine = {.status = (int32_t)status};
    struct report *all = calloc(x->ranks, sizeof *all);
    if (!all)
        x->ops->end(x, "no memory to hear of the other ranks");
    if (status)
        snprintf(mine.message, sizeof mine.message, "%s", err->message);
    if (terms)
        mine.terms = *terms;
    if ((status = x->ops->gather(x, &mine, sizeof mine, all, err)) == LIMOE_OK)
        status = judge(all, x->ranks, terms != NULL, err);
    free(all);
    return status;
}
