/* threads.c - the pool of compute threads.
 *
 * A loop is published in one 64-bit ticket: [epoch : 32][chunks : 16][next chunk : 16]. A thread claims a
 * chunk by compare-and-swap on the ticket it read; since an epoch's loop ends only when all its chunks are
 * done, a claim that succeeds proves that the function and context read beforehand were that epoch's. A
 * late thread's claim fails against the new epoch and it looks again.
 */
#include "kernels/cpu/threads.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/error.h"

enum {
    LOOKS_BEFORE_SLEEP = 1500, /* a pause takes some 40 ns: about 60 us */
    LOOKS_BEFORE_YIELD = 20000,
};

struct worker {
    struct threads *pool;
    pthread_t id;
    uint32_t thread;
};

struct threads {
    uint32_t count, started; /* started: workers to join */
    struct worker *worker;   /* [count - 1] */

    /* Written by the caller while no chunk is unclaimed or running. */
    _Atomic(threads_chunk *) chunk;
    _Atomic(void *) context;

    _Alignas(64) _Atomic uint64_t ticket;
    _Alignas(64) _Atomic uint32_t done; /* chunks of this epoch */

    _Alignas(64) _Atomic uint32_t sleepers;
    _Atomic bool stop;
    pthread_mutex_t lock; /* guards nothing but the sleep */
    pthread_cond_t wake;
};

static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

static inline uint32_t epoch_of(uint64_t ticket) {
    return (uint32_t)(ticket >> 32);
}

uint32_t threads_allowed(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set))
        return 1;
    int n = CPU_COUNT(&set);
    return n < 1 ? 1 : n > THREADS_MOST ? THREADS_MOST : (uint32_t)n;
}

uint32_t threads_count(const struct threads *t) {
    return t->count;
}

/* Claims and runs chunks of the present loop until none is left.
 * Returns the epoch of the last ticket seen. */
static uint32_t work(struct threads *t, uint32_t thread) {
    uint64_t ticket = atomic_load_explicit(&t->ticket, memory_order_acquire);
    for (;;) {
        uint32_t chunks = ticket >> 16 & 0xffff, next = ticket & 0xffff;
        if (next >= chunks)
            return epoch_of(ticket);
        threads_chunk *chunk = atomic_load_explicit(&t->chunk, memory_order_relaxed);
        void *context = atomic_load_explicit(&t->context, memory_order_relaxed);
        if (!atomic_compare_exchange_weak_explicit(&t->ticket, &ticket, ticket + 1, memory_order_acq_rel,
                                                   memory_order_acquire))
            continue;
        chunk(context, next, thread);
        atomic_fetch_add_explicit(&t->done, 1, memory_order_release);
        ticket = atomic_load_explicit(&t->ticket, memory_order_acquire);
    }
}

static bool changed(struct threads *t, uint32_t epoch) {
    return epoch_of(atomic_load(&t->ticket)) != epoch || atomic_load(&t->stop);
}

static void await_loop(struct threads *t, uint32_t epoch) {
    for (int i = 0; i < LOOKS_BEFORE_SLEEP; i++) {
        if (changed(t, epoch))
            return;
        relax();
    }
    pthread_mutex_lock(&t->lock);
    atomic_fetch_add(&t->sleepers,
                     1); /* before the last look: either we see the loop or its caller sees us */
    while (!changed(t, epoch))
        pthread_cond_wait(&t->wake, &t->lock);
    atomic_fetch_sub(&t->sleepers, 1);
    pthread_mutex_unlock(&t->lock);
}

static void *worker_main(void *argument) {
    struct worker *w = argument;
    while (!atomic_load(&w->pool->stop))
        await_loop(w->pool, work(w->pool, w->thread));
    return NULL;
}

static void wake_all(struct threads *t) {
    pthread_mutex_lock(&t->lock);
    pthread_cond_broadcast(&t->wake);
    pthread_mutex_unlock(&t->lock);
}

void threads_run(struct threads *t, uint32_t chunks, threads_chunk *chunk, void *context) {
    if (t->count == 1 || chunks <= 1) {
        for (uint32_t i = 0; i < chunks; i++)
            chunk(context, i, 0);
        return;
    }
    atomic_store_explicit(&t->chunk, chunk, memory_order_relaxed);
    atomic_store_explicit(&t->context, context, memory_order_relaxed);
    atomic_store_explicit(&t->done, 0, memory_order_relaxed);
    uint32_t epoch = epoch_of(atomic_load_explicit(&t->ticket, memory_order_relaxed)) + 1;
    atomic_store(&t->ticket, (uint64_t)epoch << 32 | (uint64_t)chunks << 16);
    if (atomic_load(&t->sleepers))
        wake_all(t);
    work(t, 0);
    for (int i = 0; atomic_load_explicit(&t->done, memory_order_acquire) != chunks; i++)
        if (i < LOOKS_BEFORE_YIELD)
            relax();
        /* the missing chunk's thread may be waiting for this very processor */
        else
            sched_yield();
}

enum limoe_status threads_create(uint32_t count, struct threads **out, struct limoe_error *err) {
    *out = NULL;
    struct threads *t = aligned_alloc(_Alignof(struct threads), sizeof *t);
    if (!t)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a pool of %u threads", count);
    *t = (struct threads){.count = count};
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->wake, NULL);
    t->worker = calloc(count, sizeof *t->worker);
    if (!t->worker) {
        threads_destroy(t);
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a pool of %u threads", count);
    }
    for (uint32_t i = 1; i < count; i++) {
        struct worker *w = &t->worker[t->started];
        *w = (struct worker){.pool = t, .thread = i};
        if (pthread_create(&w->id, NULL, worker_main, w)) {
            threads_destroy(t);
            return limoe_fail(err, LIMOE_NO_MEMORY, "the system refused thread %u of %u", i + 1, count);
        }
        t->started++;
    }
    *out = t;
    return LIMOE_OK;
}

void threads_destroy(struct threads *t) {
    if (!t)
        return;
    atomic_store(&t->stop, true);
    wake_all(t);
    for (uint32_t i = 0; i < t->started; i++)
        pthread_join(t->worker[i].id, NULL);
    pthread_cond_destroy(&t->wake);
    pthread_mutex_destroy(&t->lock);
    free(t->worker);
    free(t);
}
