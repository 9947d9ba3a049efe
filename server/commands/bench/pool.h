/* pool.h - the requests of a load: made once, before the first is sent, so that sending costs no work.
 *
 * The pool is finite and made from the seed, so two runs send the same bytes; each request remembers its
 * answer when the load is checked. Owns every body. One thread.
 */
#ifndef LIMOE_SERVER_COMMANDS_BENCH_POOL_H
#define LIMOE_SERVER_COMMANDS_BENCH_POOL_H

#include "base/arena.h"
#include "base/buffer.h"
#include "server/commands/bench/plan.h"
#include "server/commands/bench/random.h"

struct load_request {
    enum load_kind kind;
    const char *url;
    const char *content_type; /* NULL: GET, without a body */
    struct text body;
    struct text answer; /* what every answer must equal; data NULL: unknown */
};

struct pool {
    struct arena *arena;
    struct load_request *requests[LOAD_KINDS];
    size_t n[LOAD_KINDS];
    size_t next[LOAD_KINDS];
    struct random random; /* draws kinds */
    uint32_t mix[LOAD_KINDS], mix_sum;
    /* Where each text differs from all others, requests [LOAD_TEXT] is one that a body is made for. */
    bool unique;
    const char *model; /* the plan's */
    size_t items;
    uint64_t serial, seed;
    size_t pictures, texts; /* for the report */
    bool own_pictures, own_texts;
};

/* Zero-initialise before; close in any state. False: *message (in the arena) says what was wrong. */
bool pool_open(struct pool *pool, const struct plan *plan, const char **message);
void pool_close(struct pool *pool);

/* The next request of the mix. */
struct load_request *pool_next(struct pool *pool);
/* True: the request has no body of its own; pool_unique_body writes one that was never sent before. */
bool pool_wants_body(const struct pool *pool, const struct load_request *request);
void pool_unique_body(struct pool *pool, struct buffer *out);

#endif
