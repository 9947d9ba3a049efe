/* nccl.c - the exchange over NCCL: one rank to a GPU, in processes that somebody brings together with a
 * unique id.
 *
 * Nothing here waits for other ranks in a way that it could not leave. The communicator does not block: each
 * call is followed by looking, until it is done, an error shows, or this rank is interrupted. Then the
 * communicator is aborted, which also ends what it has running on the GPU, and this rank is apart until it
 * joins by the next unique id. What else lies on the GPU, the weights above all, stays.
 *
 * Rows lie on the GPU and travel from there. What lies in the host's memory goes by way of `staging`. All of
 * it runs on a stream of the exchange's own: who calls has waited for what was queued before, and this waits
 * for its own end, so the kernels' stream and this one never have work at the same time.
 *
 * The exchange owns its stream, its staging and its communicator; one thread calls, another may interrupt.
 */
#include <cuda_runtime_api.h>
#include <nccl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "experts/exchange.h"

_Static_assert(sizeof(ncclUniqueId) == LIMOE_RANKS_UNIQUE_ID_BYTES, "a unique id is NCCL's unique id");

struct nccl {
    struct exchange base; /* first: operations get its address */
    int gpu;
    cudaStream_t stream;
    ncclComm_t comm; /* NULL: apart */
    char *staging;   /* on the GPU */
    size_t room;     /* of staging */
    atomic_bool interrupted;
};

static struct nccl *self_of(const struct exchange *x) {
    return (struct nccl *)(void *)x;
}

/* ---- apart, and why */

static void part(struct nccl *n) {
    if (!n->comm)
        return;
    ncclCommAbort(n->comm);
    n->comm = NULL;
    cudaStreamSynchronize(n->stream); /* nothing more is written to where rows were to be received */
}

static enum limoe_status give_up(struct nccl *n, const char *why, struct limoe_error *err) {
    char text[256];
    snprintf(text, sizeof text, "%s", why); /* it may be the communicator's */
    part(n);
    return limoe_fail(err, LIMOE_LOST, "rank %u has lost the others: %s", n->base.rank, text);
}

static const char *reason(const struct nccl *n, ncclResult_t result) {
    const char *last = n->comm ? ncclGetLastError(n->comm) : NULL;
    return last && *last ? last : ncclGetErrorString(result);
}

__attribute__((noreturn)) static void nccl_end(const struct exchange *x, const char *message) {
    fprintf(stderr, "limoe: rank %u: %s\n", x->rank, message);
    _exit(1);
}

/* Ends the process if a call to its GPU has failed: it would fail from then on, and a new process may not. */
static void must(const struct nccl *n, cudaError_t code) {
    char message[256];
    if (code == cudaSuccess)
        return;
    snprintf(message, sizeof message, "GPU %d fails: %s", n->gpu, cudaGetErrorString(code));
    nccl_end(&n->base, message);
}

/* ---- waiting */

/* Looks often at first, for what takes microseconds, then leaves the processor to others. */
static void pause_after(unsigned looks) {
    enum { OFTEN = 2000, PAUSE_NS = 20000 };
    if (looks < OFTEN)
        sched_yield();
    else
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
}

/* What is under way is not to be waited for any longer: LIMOE_LOST. *busy:
 * the communicator is not done yet. */
static enum limoe_status look(struct nccl *n, bool *busy, struct limoe_error *err) {
    ncclResult_t state = ncclSuccess;
    if (atomic_load(&n->interrupted))
        return give_up(n, "it was told to stop waiting for them", err);
    const ncclResult_t result = ncclCommGetAsyncError(n->comm, &state);
    if (result != ncclSuccess)
        return give_up(n, reason(n, result), err);
    if (state != ncclSuccess && state != ncclInProgress)
        return give_up(n, reason(n, state), err);
    *busy = state == ncclInProgress;
    return LIMOE_OK;
}

/* Waits after a call that has returned `result` until the communicator can be used again. */
static enum limoe_status settle(struct nccl *n, ncclResult_t result, struct limoe_error *err) {
    bool busy = true;
    enum limoe_status status = LIMOE_OK;
    if (result != ncclSuccess && result != ncclInProgress)
        return give_up(n, reason(n, result), err);
    for (unsigned looks = 0; !status && busy; looks++) {
        status = look(n, &busy, err);
        if (!status && busy)
            pause_after(looks);
    }
    return status;
}

/* Waits until the stream is idle, and fails if anything that it did has failed. */
static enum limoe_status finish(struct nccl *n, struct limoe_error *err) {
    cudaError_t code;
    bool busy;
    for (unsigned looks = 0; (code = cudaStreamQuery(n->stream)) == cudaErrorNotReady; looks++) {
        enum limoe_status status = look(n, &busy, err);
        if (status)
            return status;
        pause_after(looks);
    }
    must(n, code);
    return look(n, &busy, err);
}

/* Comes before anything else. Which GPU is used is a setting of the calling thread. */
static enum limoe_status begin(struct nccl *n, struct limoe_error *err) {
    must(n, cudaSetDevice(n->gpu));
    return n->comm ? LIMOE_OK
                   : limoe_fail(err, LIMOE_LOST, "rank %u has not joined the others", n->base.rank);
}

/* ---- what is in the host's memory */

/* Makes room, without keeping the contents. It ends the process if there is none: the other ranks are in
 * the same call, and could not be told. */
static void reserve(struct nccl *n, size_t bytes) {
    if (bytes <= n->room)
        return;
    cudaFree(n->staging);
    n->staging = NULL;
    n->room = exchange_staging(bytes);
    if (cudaMalloc((void **)&n->staging, n->room) != cudaSuccess)
        nccl_end(&n->base, "no memory on the GPU to exchange what lies on the host");
}

static void stage(struct nccl *n, const void *host, size_t bytes) {
    if (bytes)
        must(n, cudaMemcpyAsync(n->staging, host, bytes, cudaMemcpyHostToDevice, n->stream));
}

/* Once the others have done their part: a copy could not be left. */
static enum limoe_status unstage(struct nccl *n, void *host, const char *from, size_t bytes,
                                 struct limoe_error *err) {
    enum limoe_status status = finish(n, err);
    if (status || !bytes)
        return status;
    must(n, cudaMemcpyAsync(host, from, bytes, cudaMemcpyDeviceToHost, n->stream));
    must(n, cudaStreamSynchronize(n->stream));
    return LIMOE_OK;
}

/* ---- operations */

static enum limoe_status nccl_gather(const struct exchange *x, const void *mine, size_t bytes, void *all,
                                     struct limoe_error *err) {
    struct nccl *n = self_of(x);
    enum limoe_status status = begin(n, err);
    if (status)
        return status;
    reserve(n, bytes * (x->ranks + 1));
    char *gathered = n->staging + bytes;
    stage(n, mine, bytes);
    const ncclResult_t result = ncclAllGather(n->staging, gathered, bytes, ncclUint8, n->comm, n->stream);
    if ((status = settle(n, result, err)))
        return status;
    return unstage(n, all, gathered, bytes * x->ranks, err);
}

static enum limoe_status nccl_largest(const struct exchange *x, uint64_t *value, size_t count,
                                      struct limoe_error *err) {
    struct nccl *n = self_of(x);
    const size_t bytes = count * sizeof *value;
    enum limoe_status status = begin(n, err);
    if (status)
        return status;
    reserve(n, bytes);
    stage(n, value, bytes);
    const ncclResult_t result =
        ncclAllReduce(n->staging, n->staging, count, ncclUint64, ncclMax, n->comm, n->stream);
    if ((status = settle(n, result, err)))
        return status;
    return unstage(n, value, n->staging, bytes, err);
}

/* Sends and receives in one group, so that no order among ranks matters. Both on the GPU. */
static enum limoe_status send_and_receive(struct nccl *n, const char *out, const uint32_t *out_count,
                                          char *in, const uint32_t *in_count, size_t size,
                                          struct limoe_error *err) {
    ncclResult_t result = ncclGroupStart();
    for (uint32_t p = 0; p + 1 < n->base.ranks && result == ncclSuccess; p++) {
        const int peer = (int)exchange_peer(&n->base, p);
        const size_t sent = out_count[p] * size, received = in_count[p] * size;
        if (sent)
            result = ncclSend(out, sent, ncclUint8, peer, n->comm, n->stream);
        if (received && result == ncclSuccess)
            result = ncclRecv(in, received, ncclUint8, peer, n->comm, n->stream);
        out += sent;
        in += received;
    }
    const ncclResult_t ended = ncclGroupEnd();
    return settle(n, result != ncclSuccess ? result : ended, err);
}

static size_t sum(const struct exchange *x, const uint32_t *count) {
    size_t total = 0;
    for (uint32_t p = 0; p + 1 < x->ranks; p++)
        total += count[p];
    return total;
}

static enum limoe_status nccl_swap(const struct exchange *x, enum exchange_memory memory, const void *out,
                                   const uint32_t *out_count, void *in, const uint32_t *in_count, size_t size,
                                   struct limoe_error *err) {
    struct nccl *n = self_of(x);
    enum limoe_status status = begin(n, err);
    if (status)
        return status;
    if (memory == EXCHANGE_DEVICE) {
        status = send_and_receive(n, out, out_count, in, in_count, size, err);
        return status ? status : finish(n, err);
    }
    const size_t sent = sum(x, out_count) * size, received = sum(x, in_count) * size;
    reserve(n, sent + received);
    char *arrived = n->staging + sent;
    stage(n, out, sent);
    if ((status = send_and_receive(n, n->staging, out_count, arrived, in_count, size, err)))
        return status;
    return unstage(n, in, arrived, received, err);
}

/* ---- joining */

static enum limoe_status nccl_make_unique_id(const struct exchange *x,
                                             uint8_t unique_id[LIMOE_RANKS_UNIQUE_ID_BYTES],
                                             struct limoe_error *err) {
    ncclUniqueId id;
    const ncclResult_t result = ncclGetUniqueId(&id);
    if (result != ncclSuccess)
        return limoe_fail(err, LIMOE_INTERNAL, "rank %u: NCCL makes no unique id: %s", x->rank,
                          ncclGetErrorString(result));
    memcpy(unique_id, &id, sizeof id);
    return LIMOE_OK;
}

static enum limoe_status nccl_join(const struct exchange *x,
                                   const uint8_t unique_id[LIMOE_RANKS_UNIQUE_ID_BYTES],
                                   struct limoe_error *err) {
    struct nccl *n = self_of(x);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    ncclUniqueId id;
    config.blocking = 0;
    memcpy(&id, unique_id, sizeof id);
    part(n);
    must(n, cudaSetDevice(n->gpu));
    const ncclResult_t result = ncclCommInitRankConfig(&n->comm, (int)x->ranks, id, (int)x->rank, &config);
    if (!n->comm)
        return give_up(n, ncclGetErrorString(result), err);
    return settle(n, result, err);
}

static void nccl_interrupt(const struct exchange *x, bool on) {
    atomic_store(&self_of(x)->interrupted, on);
}

static void nccl_close(const struct exchange *x) {
    struct nccl *n = self_of(x);
    cudaSetDevice(n->gpu);
    part(n);
    cudaFree(n->staging);
    if (n->stream)
        cudaStreamDestroy(n->stream);
    free(n);
}

static enum limoe_status nccl_open(const struct exchange_identity *identity, const struct exchange **out,
                                   struct limoe_error *err) {
    static const struct exchange_ops ops = {.close = nccl_close,
                                            .gather = nccl_gather,
                                            .largest = nccl_largest,
                                            .swap = nccl_swap,
                                            .end = nccl_end,
                                            .make_unique_id = nccl_make_unique_id,
                                            .join = nccl_join,
                                            .interrupt = nccl_interrupt};
    struct nccl *n = calloc(1, sizeof *n);
    if (!n)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for ranks");
    n->base =
        (struct exchange){.ops = &ops, .rank = identity->rank, .ranks = identity->ranks, .on_gpus = true};
    n->gpu = (int)identity->gpu;
    cudaError_t code = cudaSetDevice(n->gpu);
    if (code == cudaSuccess)
        code = cudaStreamCreateWithFlags(&n->stream, cudaStreamNonBlocking);
    if (code != cudaSuccess) {
        free(n);
        return limoe_fail(err, LIMOE_UNSUPPORTED, "rank %u cannot use GPU %u: %s", identity->rank,
                          identity->gpu, cudaGetErrorString(code));
    }
    *out = &n->base;
    return LIMOE_OK;
}

__attribute__((visibility("default"))) extern const struct exchange_module limoe_exchange_module;
const struct exchange_module limoe_exchange_module = {
    .version = EXCHANGE_VERSION, .placed = true, .open = nccl_open};
