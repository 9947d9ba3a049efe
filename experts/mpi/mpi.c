/* mpi.c - the exchange over MPI: the ranks are those of MPI_COMM_WORLD.
 *
 * Calls are not checked: MPI's own handling of an error, which is to end the job with a message, is one of
 * the two ways that exchange.h allows; so nothing here ever fails. The exchange owns a communicator of its
 * own and one scratch of counts; MPI is called by whichever thread calls here, one at a time.
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "experts/exchange.h"

struct mpi {
    struct exchange base; /* first: operations get its address */
    MPI_Comm comm;
    int *count; /* [4][ranks]: out counts and displacements, in counts and displacements; by rank */
};

static void mpi_close(const struct exchange *x) {
    struct mpi *m = (struct mpi *)(void *)x;
    MPI_Comm_free(&m->comm);
    MPI_Finalize();
    free(m->count);
    free(m);
}

__attribute__((noreturn)) static void mpi_end(const struct exchange *x, const char *message) {
    const struct mpi *m = (const struct mpi *)(const void *)x;
    fprintf(stderr, "limoe: rank %u: %s\n", x->rank, message);
    MPI_Abort(m->comm, 1);
    abort(); /* MPI_Abort does not return, but is not declared so */
}

/* One element of `size` bytes, so that MPI's int counts rows, not bytes. */
static MPI_Datatype element(size_t size) {
    MPI_Datatype type;
    MPI_Type_contiguous((int)size, MPI_BYTE, &type);
    MPI_Type_commit(&type);
    return type;
}

static enum limoe_status mpi_gather(const struct exchange *x, const void *mine, size_t bytes, void *all,
                                    struct limoe_error *err) {
    (void)err;
    const struct mpi *m = (const struct mpi *)(const void *)x;
    MPI_Datatype type = element(bytes);
    MPI_Allgather(mine, 1, type, all, 1, type, m->comm);
    MPI_Type_free(&type);
    return LIMOE_OK;
}

static enum limoe_status mpi_largest(const struct exchange *x, uint64_t *value, size_t n,
                                     struct limoe_error *err) {
    (void)err;
    const struct mpi *m = (const struct mpi *)(const void *)x;
    enum { PIECE = 1 << 20 };
    for (size_t at = 0; at < n; at += PIECE)
        MPI_Allreduce(MPI_IN_PLACE, value + at, (int)(n - at < PIECE ? n - at : PIECE), MPI_UINT64_T, MPI_MAX,
                      m->comm);
    return LIMOE_OK;
}

/* Turns counts by peer into counts and displacements by rank; nothing goes to oneself. */
static void lay_out(const struct exchange *x, const uint32_t *by_peer, int *count, int *displacement) {
    uint64_t at = 0;
    count[x->rank] = displacement[x->rank] = 0;
    for (uint32_t p = 0; p + 1 < x->ranks; p++) {
        const uint32_t rank = exchange_peer(x, p);
        count[rank] = (int)by_peer[p];
        displacement[rank] = (int)at;
        at += by_peer[p];
    }
    if (at > INT32_MAX)
        mpi_end(x, "more than 2147483647 rows to exchange in one step");
}

/* The memory is the host's: model/model.c lets no GPU compute for these ranks. */
static enum limoe_status mpi_swap(const struct exchange *x, enum exchange_memory memory, const void *out,
                                  const uint32_t *out_count, void *in, const uint32_t *in_count, size_t size,
                                  struct limoe_error *err) {
    (void)memory;
    (void)err;
    const struct mpi *m = (const struct mpi *)(const void *)x;
    int *to = m->count, *to_place = to + x->ranks, *from = to_place + x->ranks, *from_place = from + x->ranks;
    MPI_Datatype type = element(size);
    lay_out(x, out_count, to, to_place);
    lay_out(x, in_count, from, from_place);
    MPI_Alltoallv(out, to, to_place, type, in, from, from_place, type, m->comm);
    MPI_Type_free(&type);
    return LIMOE_OK;
}

/* MPI connects two ranks when they first speak to each other. All speak to all here, so that one that cannot
 * be reached is found out before anything depends on it: MPI then waits for ever, and whoever waits for the
 * exchange to be opened must not. */
static void connect_all(const struct mpi *m) {
    const int rank = (int)m->base.rank, ranks = (int)m->base.ranks;
    for (int i = 1; i < ranks; i++)
        MPI_Sendrecv(NULL, 0, MPI_BYTE, (rank + i) % ranks, 0, NULL, 0, MPI_BYTE, (rank + ranks - i) % ranks,
                     0, m->comm, MPI_STATUS_IGNORE);
}

static enum limoe_status mpi_open(const struct exchange_identity *identity, const struct exchange **out,
                                  struct limoe_error *err) {
    (void)identity; /* mpirun's to give */
    static const struct exchange_ops ops = {
        .close = mpi_close, .gather = mpi_gather, .largest = mpi_largest, .swap = mpi_swap, .end = mpi_end};
    int initialized, provided, rank, ranks;
    MPI_Initialized(&initialized);
    if (initialized)
        return limoe_fail(err, LIMOE_INVALID, "MPI can be started once in a process, and has been");
    struct mpi *m = calloc(1, sizeof *m);
    if (!m)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for ranks");
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided) != MPI_SUCCESS) {
        free(m);
        return limoe_fail(err, LIMOE_INTERNAL, "MPI does not start");
    }
    MPI_Comm_dup(MPI_COMM_WORLD, &m->comm);
    MPI_Comm_rank(m->comm, &rank);
    MPI_Comm_size(m->comm, &ranks);
    m->base = (struct exchange){.ops = &ops, .rank = (uint32_t)rank, .ranks = (uint32_t)ranks};
    m->count = calloc(4 * (size_t)ranks, sizeof *m->count);
    if (!m->count)
        mpi_end(&m->base, "no memory for the counts of an exchange");
    if (provided < MPI_THREAD_SERIALIZED)
        mpi_end(&m->base, "this MPI cannot be called by one thread after another");
    connect_all(m);
    *out = &m->base;
    return LIMOE_OK;
}

__attribute__((visibility("default"))) extern const struct exchange_module limoe_exchange_module;
const struct exchange_module limoe_exchange_module = {.version = EXCHANGE_VERSION, .open = mpi_open};
