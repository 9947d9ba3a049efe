/* exchange.h - how rows travel between the ranks of a model. Opaque: nothing here knows what travels.
 *
 * A kind of exchange is an implementation of exchange_ops. "local" is built in: one rank, which has nobody to
 * exchange with. Others live in modules, limoe-KIND.so, loaded when they are asked for, so that one build
 * serves machines with and without what they need.
 *
 * Every operation but `end` is collective: all ranks call the same ones in the same order, with sizes that
 * agree, and an operation returns when this rank's part is done. None reports an error. What breaks between
 * ranks cannot be mended by one of them: it ends the processes of them all, and whoever started the job
 * starts it again.
 *
 * One thread at a time.
 */
#ifndef LIMOE_EXCHANGE_H
#define LIMOE_EXCHANGE_H

#include <stddef.h>
#include <stdint.h>

#include "limoe.h"

struct exchange;

struct exchange_ops {
    /* The last call. */
    void (*close)(const struct exchange *x);
    /* all[ranks * bytes] = what each rank had at mine[bytes], by rank. */
    void (*gather)(const struct exchange *x, const void *mine, size_t bytes, void *all);
    /* value[i] = the largest that any rank had there. */
    void (*largest)(const struct exchange *x, uint64_t *value, size_t n);
    /* Sends out_count[p] elements of `size` bytes to each peer p, and receives in_count[p] from it. Buffers
     * are dense and by peer, in the order of exchange_peer. Not called with one rank. */
    void (*swap)(const struct exchange *x, const void *out, const uint32_t *out_count, void *in,
                 const uint32_t *in_count, size_t size);
    /* Ends the processes of all ranks with this message. Not called with one rank. */
    void (*end)(const struct exchange *x, const char *message) __attribute__((noreturn));
};

struct exchange {
    const struct exchange_ops *ops;
    uint32_t rank, ranks;
};

/* A rank's peers, 0 <= i < ranks - 1: those after it, around to the one before. The last, i = ranks - 1, is
 * the rank itself. */
static inline uint32_t exchange_peer(const struct exchange *x, uint32_t i) {
    return (x->rank + 1 + i) % x->ranks;
}

/* One rank. */
const struct exchange *exchange_local(void);

/* What a handle of limoe.h stands for; NULL: one rank. */
const struct exchange *exchange_of(const struct limoe_ranks *ranks);

/* ---- modules ---- */

/* Modules of another version are refused: change it with anything above. */
#define EXCHANGE_VERSION 1u

/* A module exports one, under the name EXCHANGE_MODULE. */
struct exchange_module {
    uint32_t version;
    enum limoe_status (*open)(const struct exchange **out, struct limoe_error *err);
};
#define EXCHANGE_MODULE "limoe_exchange_module"

#endif
