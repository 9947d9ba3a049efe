/* exchange.h - how rows travel between the ranks of a model. Nothing here knows what they hold.
 *
 * A kind of exchange is an implementation of exchange_ops. "local" is built in: one rank, which has nobody to
 * exchange with. Others live in modules, limoe-KIND.so, loaded when they are asked for, so that one build
 * serves machines with and without what they need.
 *
 * gather, largest and swap are collective: all ranks call the same ones in the same order, with sizes that
 * agree, and one returns when this rank's part is done, or fails. What breaks between ranks cannot be mended
 * by one of them. MPI then ends the processes of all ranks, so its calls never fail. Ranks that another
 * process brings together, which can bring them together again, get LIMOE_LOST: their memory is as they left
 * it, but for what was being received, and after the next join all of them begin the same thing anew.
 *
 * One thread at a time, but for interrupt.
 */
#ifndef LIMOE_EXPERTS_EXCHANGE_H
#define LIMOE_EXPERTS_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe.h"

struct exchange;

/* Where what is swapped lies. */
enum exchange_memory {
    EXCHANGE_HOST,
    EXCHANGE_DEVICE, /* in the kernels' memory, which is the host's on the CPU; nothing is queued on it */
};

struct exchange_ops {
    /* The last call. */
    void (*close)(const struct exchange *x);
    /* all[ranks * bytes] = what each rank had at mine[bytes], by rank. */
    enum limoe_status (*gather)(const struct exchange *x, const void *mine, size_t bytes, void *all,
                                struct limoe_error *err);
    /* value[i] = the largest that any rank had there. */
    enum limoe_status (*largest)(const struct exchange *x, uint64_t *value, size_t n,
                                 struct limoe_error *err);
    /* Sends out_count[p] elements of `size` bytes to each peer p, and receives in_count[p] from it. Buffers
     * are dense and by peer, in the order of exchange_peer; counts are the host's. Not called with one rank.
     */
    enum limoe_status (*swap)(const struct exchange *x, enum exchange_memory memory, const void *out,
                              const uint32_t *out_count, void *in, const uint32_t *in_count, size_t size,
                              struct limoe_error *err);
    /* Ends this process with this message; with MPI, those of all ranks. Not called with one rank. */
    void (*end)(const struct exchange *x, const char *message) __attribute__((noreturn));

    /* As in limoe.h, of ranks that somebody brings together; NULL where there is nothing to do. */
    enum limoe_status (*make_unique_id)(const struct exchange *x,
                                        uint8_t unique_id[LIMOE_RANKS_UNIQUE_ID_BYTES],
                                        struct limoe_error *err);
    enum limoe_status (*join)(const struct exchange *x, const uint8_t unique_id[LIMOE_RANKS_UNIQUE_ID_BYTES],
                              struct limoe_error *err);
    void (*interrupt)(const struct exchange *x, bool on);
};

struct exchange {
    const struct exchange_ops *ops;
    uint32_t rank, ranks;
    bool on_gpus; /* EXCHANGE_DEVICE is a GPU's memory; else the host's */
};

/* A rank's peers, 0 <= i < ranks - 1: those after it, around to the one before. The last, i = ranks - 1, is
 * the rank itself. */
static inline uint32_t exchange_peer(const struct exchange *x, uint32_t i) {
    return (x->rank + 1 + i) % x->ranks;
}

/* Where a GPU's memory is needed for what lies in the host's, and there is less: room for so many bytes, and more. */
static inline size_t exchange_staging(size_t bytes) {
    return bytes + bytes / 4;
}

/* What a handle of limoe.h stands for; NULL: one rank. */
const struct exchange *exchange_of(const struct limoe_ranks *ranks);

/* ---- modules */

/* Modules of another version are refused: change it with anything above. */
#define EXCHANGE_VERSION 2u

/* Which rank a process is. Only exchanges that are `placed` are told. */
struct exchange_identity {
    uint32_t rank, ranks, gpu;
};

/* A module exports one, under the name EXCHANGE_MODULE. */
struct exchange_module {
    uint32_t version;
    bool placed; /* open is told which rank this is, and of how many */
    enum limoe_status (*open)(const struct exchange_identity *identity, const struct exchange **out,
                              struct limoe_error *err);
};
#define EXCHANGE_MODULE "limoe_exchange_module"

#endif
