/* exchange.c - one rank, and the module for more. A limoe_ranks owns its exchange. */
#include "experts/exchange.h"

#include <stdlib.h>
#include <string.h>

#include "base/device_name.h"
#include "base/error.h"
#include "base/module.h"

struct limoe_ranks {
    const struct exchange *exchange;
};

/* ---- one rank */

static void local_close(const struct exchange *x) {
    (void)x;
}

static enum limoe_status local_gather(const struct exchange *x, const void *mine, size_t bytes, void *all,
                                      struct limoe_error *err) {
    (void)x;
    (void)err;
    memcpy(all, mine, bytes);
    return LIMOE_OK;
}

static enum limoe_status local_largest(const struct exchange *x, uint64_t *value, size_t n,
                                       struct limoe_error *err) {
    (void)x;
    (void)value;
    (void)n;
    (void)err;
    return LIMOE_OK;
}

static const struct exchange *exchange_local(void) {
    static const struct exchange_ops ops = {
        .close = local_close, .gather = local_gather, .largest = local_largest};
    static const struct exchange local = {.ops = &ops, .rank = 0, .ranks = 1};
    return &local;
}

const struct exchange *exchange_of(const struct limoe_ranks *ranks) {
    return ranks ? ranks->exchange : exchange_local();
}

/* ---- modules */

/* NULL: LIMOE_UNSUPPORTED, with a message. */
static const struct exchange_module *load(const char *kind, struct limoe_error *err) {
    struct limoe_error why;
    const void *found;
    if (module_load(kind, EXCHANGE_MODULE, EXCHANGE_VERSION, &found, &why) == LIMOE_OK)
        return found;
    if (why.status == LIMOE_INVALID)
        limoe_fail(err, LIMOE_UNSUPPORTED, "ranks of kind \"%.40s\"; accepted: local, mpi, nccl", kind);
    else
        limoe_fail(err, LIMOE_UNSUPPORTED, "ranks of kind \"%s\": %.450s", kind, why.message);
    return NULL;
}

/* ---- limoe.h */

/* module NULL: local; identity NULL: it knows its own. */
static enum limoe_status open_ranks(const struct exchange_module *module,
                                    const struct exchange_identity *identity, struct limoe_ranks **out,
                                    struct limoe_error *err) {
    struct limoe_ranks *r = calloc(1, sizeof *r);
    *out = NULL;
    if (!r)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for ranks");
    enum limoe_status status = LIMOE_OK;
    if (module)
        status = module->open(identity, &r->exchange, err);
    else
        r->exchange = exchange_local();
    if (status) {
        free(r);
        return status;
    }
    *out = r;
    return LIMOE_OK;
}

enum limoe_status limoe_ranks_open(const char *kind, struct limoe_ranks **out, struct limoe_error *err) {
    const struct exchange_module *module = NULL;
    *out = NULL;
    if (strcmp(kind, "local") != 0) {
        module = load(kind, err);
        if (!module)
            return LIMOE_UNSUPPORTED;
        if (module->placed)
            return limoe_fail(err, LIMOE_UNSUPPORTED, "ranks of kind \"%s\" must be told which they are",
                              kind);
    }
    return open_ranks(module, NULL, out, err);
}

enum limoe_status limoe_ranks_open_at(const char *kind, const struct limoe_rank_identity *identity,
                                      struct limoe_ranks **out, struct limoe_error *err) {
    struct exchange_identity at = {.rank = identity->rank, .ranks = identity->count};
    enum device_kind device;
    *out = NULL;
    if (identity->rank >= identity->count)
        return limoe_fail(err, LIMOE_INVALID, "rank %u of %u", identity->rank, identity->count);
    if (!device_name_parse(identity->device, &device, &at.gpu) || device != DEVICE_CUDA)
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          "ranks of kind \"%s\" compute on GPUs; device is \"%.40s\"; accepted: cuda, cuda:N",
                          kind, identity->device ? identity->device : "auto");
    const struct exchange_module *module = load(kind, err);
    if (!module)
        return LIMOE_UNSUPPORTED;
    if (!module->placed)
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          "ranks of kind \"%s\" carry rows between CPUs; those of GPUs are of kind \"nccl\"",
                          kind);
    return open_ranks(module, &at, out, err);
}

enum limoe_status limoe_ranks_make_unique_id(struct limoe_ranks *ranks,
                                             uint8_t unique_id[LIMOE_RANKS_UNIQUE_ID_BYTES],
                                             struct limoe_error *err) {
    const struct exchange *x = ranks->exchange;
    memset(unique_id, 0, LIMOE_RANKS_UNIQUE_ID_BYTES);
    return x->ops->make_unique_id ? x->ops->make_unique_id(x, unique_id, err) : LIMOE_OK;
}

enum limoe_status limoe_ranks_join(struct limoe_ranks *ranks,
                                   const uint8_t unique_id[LIMOE_RANKS_UNIQUE_ID_BYTES],
                                   struct limoe_error *err) {
    const struct exchange *x = ranks->exchange;
    return x->ops->join ? x->ops->join(x, unique_id, err) : LIMOE_OK;
}

void limoe_ranks_interrupt(struct limoe_ranks *ranks, bool on) {
    const struct exchange *x = ranks->exchange;
    if (x->ops->interrupt)
        x->ops->interrupt(x, on);
}

uint32_t limoe_ranks_rank(const struct limoe_ranks *ranks) {
    return ranks->exchange->rank;
}

uint32_t limoe_ranks_count(const struct limoe_ranks *ranks) {
    return ranks->exchange->ranks;
}

void limoe_ranks_close(struct limoe_ranks *ranks) {
    if (!ranks)
        return;
    if (ranks->exchange)
        ranks->exchange->ops->close(ranks->exchange);
    free(ranks);
}
