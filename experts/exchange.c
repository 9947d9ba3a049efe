/* exchange.c - one rank, and the module for more. A limoe_ranks owns its exchange. */
#include "exchange.h"

#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "module.h"

struct limoe_ranks {
    const struct exchange *exchange;
};

/* ---- one rank ---- */

static void local_close(const struct exchange *x) {
    (void)x;
}

static void local_gather(const struct exchange *x, const void *mine, size_t bytes, void *all) {
    (void)x;
    memcpy(all, mine, bytes);
}

static void local_largest(const struct exchange *x, uint64_t *value, size_t n) {
    (void)x;
    (void)value;
    (void)n;
}

const struct exchange *exchange_local(void) {
    static const struct exchange_ops ops = {
        .close = local_close, .gather = local_gather, .largest = local_largest};
    static const struct exchange local = {.ops = &ops, .rank = 0, .ranks = 1};
    return &local;
}

const struct exchange *exchange_of(const struct limoe_ranks *ranks) {
    return ranks ? ranks->exchange : exchange_local();
}

/* ---- modules ---- */

static enum limoe_status open_module(const char *kind, struct limoe_ranks *r, struct limoe_error *err) {
    struct limoe_error why;
    const void *found;
    if (module_load(kind, EXCHANGE_MODULE, EXCHANGE_VERSION, &found, &why) == LIMOE_OK) {
        const struct exchange_module *module = found;
        return module->open(&r->exchange, err);
    }
    if (why.status == LIMOE_INVALID)
        return limoe_fail(err, LIMOE_UNSUPPORTED, "ranks of kind \"%.40s\"; accepted: local, mpi", kind);
    return limoe_fail(err, LIMOE_UNSUPPORTED, "ranks of kind \"%s\": %.450s", kind, why.message);
}

/* ---- limoe.h ---- */

enum limoe_status limoe_ranks_open(const char *kind, struct limoe_ranks **out, struct limoe_error *err) {
    *out = NULL;
    struct limoe_ranks *r = calloc(1, sizeof *r);
    if (!r)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for ranks");
    enum limoe_status status = LIMOE_OK;
    if (strcmp(kind, "local") == 0)
        r->exchange = exchange_local();
    else
        status = open_module(kind, r, err);
    if (status) {
        limoe_ranks_close(r);
        return status;
    }
    *out = r;
    return LIMOE_OK;
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
