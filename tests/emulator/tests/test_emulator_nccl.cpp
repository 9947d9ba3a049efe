/* The emulated NCCL: ranks that are processes, what they exchange, and what is left of them when one is
 * killed. */
#include <csignal>
#include <cstdio>
#include <cstring>
#include <dirent.h>
#include <functional>
#include <nccl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/emulator/tests/support.h"

/* ---- ranks */

/* Runs the function in `ranks` children; all must say that all was well, but those that kill themselves. */
static void assert_ranks_hold(int ranks, const std::function<bool(int rank, ncclUniqueId id)> &function) {
    ncclUniqueId id;
    assert_int_equal(ncclGetUniqueId(&id), ncclSuccess);
    fflush(nullptr);
    std::vector<pid_t> children;
    for (int r = 0; r < ranks; r++) {
        children.push_back(fork());
        assert_true(children.back() >= 0);
        if (!children.back()) {
            alarm(60);
            _exit(function(r, id) ? 0 : 1);
        }
    }
    bool well = true;
    for (const pid_t child : children) {
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        well = well && (status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
    }
    assert_true(well);
    assert_null(opendir(id.internal)); /* nothing is left of how they met */
}

static ncclResult_t settle(ncclComm_t comm) {
    ncclResult_t state = ncclInProgress;
    while (state == ncclInProgress) {
        if (ncclCommGetAsyncError(comm, &state) != ncclSuccess)
            return ncclInternalError;
        usleep(20);
    }
    return state;
}

struct member {
    ncclComm_t comm;
    cudaStream_t stream;
    ncclResult_t state;
};

static member join(int rank, int ranks, ncclUniqueId id) {
    member m = {};
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    cudaStreamCreateWithFlags(&m.stream, cudaStreamNonBlocking);
    m.state = ncclCommInitRankConfig(&m.comm, ranks, id, rank, &config);
    if (m.state == ncclInProgress)
        m.state = settle(m.comm);
    return m;
}

static bool leave(const member &m) {
    return ncclCommFinalize(m.comm) == ncclInProgress && settle(m.comm) == ncclSuccess &&
           ncclCommDestroy(m.comm) == ncclSuccess;
}

/* ---- what they exchange */

static bool gather(const member &m, int rank, int ranks) {
    const size_t n = 1000;
    std::vector<int> own(n, rank + 1), all(n * ranks);
    int *from = device(own), *to = device<int>(n * ranks);
    if (ncclAllGather(from, to, n, ncclInt32, m.comm, m.stream) != ncclInProgress ||
        settle(m.comm) != ncclSuccess)
        return false;
    cudaMemcpyAsync(all.data(), to, all.size() * sizeof(int), cudaMemcpyDeviceToHost, m.stream);
    for (size_t i = 0; i < all.size(); i++)
        if (all[i] != (int)(i / n) + 1)
            return false;
    return true;
}

static bool reduce(const member &m, int rank, int ranks) {
    std::vector<uint64_t> own = {(uint64_t)rank, UINT64_MAX - (uint64_t)rank, 7}, result(3);
    uint64_t *p = device(own);
    if (ncclAllReduce(p, p, 3, ncclUint64, ncclMax, m.comm, m.stream) != ncclInProgress ||
        settle(m.comm) != ncclSuccess)
        return false;
    cudaMemcpyAsync(result.data(), p, 24, cudaMemcpyDeviceToHost, m.stream);
    return result == std::vector<uint64_t>{(uint64_t)ranks - 1, UINT64_MAX, 7};
}

/* Everyone sends everyone, itself too, another number of bytes, more than sockets hold. */
static bool swap(const member &m, int rank, int ranks) {
    auto bytes = [](int from, int to) { return (size_t)(300000 * (1 + from) + 1000 * to); };
    std::vector<unsigned char *> out(ranks), in(ranks);
    ncclGroupStart();
    for (int r = 0; r < ranks; r++) {
        out[r] = device(std::vector<unsigned char>(bytes(rank, r), (unsigned char)(16 * rank + r)));
        in[r] = device<unsigned char>(bytes(r, rank));
        if (ncclSend(out[r], bytes(rank, r), ncclUint8, r, m.comm, m.stream) != ncclSuccess ||
            ncclRecv(in[r], bytes(r, rank), ncclUint8, r, m.comm, m.stream) != ncclSuccess)
            return false;
    }
    if (ncclGroupEnd() != ncclInProgress || settle(m.comm) != ncclSuccess ||
        cudaStreamSynchronize(m.stream) != cudaSuccess)
        return false;
    for (int r = 0; r < ranks; r++)
        for (size_t i = 0; i < bytes(r, rank); i++)
            if (in[r][i] != 16 * r + rank)
                return false;
    return true;
}

static void ranks_exchange(void **) {
    for (const int ranks : {1, 2, 3, 5})
        assert_ranks_hold(ranks, [ranks](int rank, ncclUniqueId id) {
            const member m = join(rank, ranks, id);
            int count = 0, self = -1;
            ncclCommCount(m.comm, &count);
            ncclCommUserRank(m.comm, &self);
            bool well = m.state == ncclSuccess && count == ranks && self == rank;
            for (int i = 0; i < 3; i++)
                well = well && gather(m, rank, ranks) && reduce(m, rank, ranks) && swap(m, rank, ranks);
            return well && leave(m);
        });
}

static void ranks_exchange_over_a_network(void **) {
    setenv("NCCL_SOCKET_IFNAME", "none,lo", 1);
    for (const int ranks : {1, 2, 4})
        assert_ranks_hold(ranks, [ranks](int rank, ncclUniqueId id) {
            const member m = join(rank, ranks, id);
            return !strncmp(id.internal, "tcp:127.0.0.1:", 14) && m.state == ncclSuccess &&
                   gather(m, rank, ranks) && reduce(m, rank, ranks) && swap(m, rank, ranks) && leave(m);
        });
    unsetenv("NCCL_SOCKET_IFNAME");
}

static void blocking_communicators_block(void **) {
    assert_ranks_hold(2, [](int rank, ncclUniqueId id) {
        ncclComm_t comm;
        uint64_t *p = device(std::vector<uint64_t>{(uint64_t)rank}), result = 0;
        const bool well = ncclCommInitRank(&comm, 2, id, rank) == ncclSuccess &&
                          ncclAllReduce(p, p, 1, ncclUint64, ncclMax, comm, nullptr) == ncclSuccess &&
                          cudaMemcpy(&result, p, 8, cudaMemcpyDeviceToHost) == cudaSuccess;
        return well && result == 1 && ncclCommDestroy(comm) == ncclSuccess;
    });
}

static void graphs_exchange(void **) {
    assert_ranks_hold(2, [](int rank, ncclUniqueId id) {
        const member m = join(rank, 2, id);
        int *from = device<int>(1), *to = device<int>(2);
        cudaGraph_t graph;
        cudaGraphExec_t exec;
        cudaStreamBeginCapture(m.stream, cudaStreamCaptureModeThreadLocal);
        bool well = ncclAllGather(from, to, 1, ncclInt32, m.comm, m.stream) == ncclSuccess &&
                    cudaStreamEndCapture(m.stream, &graph) == cudaSuccess &&
                    cudaGraphInstantiate(&exec, graph) == cudaSuccess;
        for (int i = 0; i < 4; i++) {
            const int own = 10 * i + rank;
            int all[2] = {};
            cudaMemcpyAsync(from, &own, 4, cudaMemcpyHostToDevice, m.stream);
            cudaGraphLaunch(exec, m.stream);
            cudaMemcpyAsync(all, to, 8, cudaMemcpyDeviceToHost, m.stream);
            well = well && all[0] == 10 * i && all[1] == 10 * i + 1;
        }
        return well && leave(m);
    });
}

/* ---- what NCCL asks of its caller */

/* Rank 1 joins only when rank 0 has been refused. */
static void a_communicator_in_progress_refuses_calls(void **) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_ranks_hold(2, [&ends](int rank, ncclUniqueId id) {
        ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
        ncclComm_t comm;
        char word = 0;
        uint64_t *p = device<uint64_t>(2);
        config.blocking = 0;
        bool well = !rank || read(ends[0], &word, 1) == 1;
        well = ncclCommInitRankConfig(&comm, 2, id, rank, &config) == ncclInProgress && well;
        if (!rank) {
            well = ncclAllReduce(p, p, 1, ncclUint64, ncclMax, comm, nullptr) == ncclInvalidArgument &&
                   well && strstr(ncclGetLastError(comm), "in progress");
            well = write(ends[1], &word, 1) == 1 && well;
        }
        const member m = {comm, nullptr, settle(comm)};
        return well && ncclAllReduce(p, p, 1, ncclUint64, ncclMax, comm, nullptr) == ncclInProgress &&
               settle(comm) == ncclSuccess && leave(m);
    });
    close(ends[0]);
    close(ends[1]);
}

static void arguments_are_checked(void **) {
    assert_ranks_hold(1, [](int rank, ncclUniqueId id) {
        ncclConfig_t config = NCCL_CONFIG_INITIALIZER, other = config;
        other.magic = 0;
        ncclComm_t comm;
        if (ncclCommInitRankConfig(&comm, 1, id, 1, &config) != ncclInvalidArgument ||
            ncclCommInitRankConfig(&comm, 1, id, 0, &other) != ncclInvalidArgument)
            return false;
        const member m = join(rank, 1, id);
        int host = 0, *p = device<int>(4);
        return ncclSend(p, 5, ncclInt32, 0, m.comm, m.stream) == ncclInvalidArgument &&
               ncclSend(&host, 1, ncclInt32, 0, m.comm, m.stream) == ncclInvalidArgument &&
               ncclSend(p, 4, ncclInt32, 1, m.comm, m.stream) == ncclInvalidArgument &&
               ncclGroupEnd() == ncclInvalidUsage && leave(m);
    });
    assert_dies([] { ncclCommAbort((ncclComm_t)&arguments_are_checked); },
                "ncclCommAbort: there is no communicator");
}

static void ranks_that_disagree_end(void **) {
    assert_dies(
        [] {
            ncclUniqueId id;
            ncclGetUniqueId(&id);
            const pid_t other = fork();
            const member m = join(other ? 1 : 0, 2, id);
            int *p = device<int>(8);
            if (other)
                ncclRecv(p, 4, ncclInt32, 0, m.comm, m.stream);
            else
                ncclSend(p, 5, ncclInt32, 1, m.comm, m.stream);
            settle(m.comm);
            cudaStreamSynchronize(m.stream);
            if (!other)
                _exit(0);
        },
        "nccl: rank 0 sends (20 bytes, type 0, op 0) where rank 1 expects that it sends (16 bytes");
}

/* ---- ranks lost */

/* Rank 1 of 3 is killed when all have joined; the others are in an operation then or later. */
static bool survive(int rank, ncclUniqueId id, bool error_expected) {
    const member m = join(rank, 3, id);
    int *from = device<int>(1), *to = device<int>(3);
    if (m.state != ncclSuccess || !gather(m, rank, 3))
        return false;
    if (rank == 1)
        kill(getpid(), SIGKILL);
    if (ncclAllGather(from, to, 1, ncclInt32, m.comm, m.stream) != ncclInProgress)
        return false;
    ncclResult_t state = ncclSuccess;
    for (int i = 0; i < 300 && (state == ncclSuccess || state == ncclInProgress); i++) {
        usleep(1000);
        ncclCommGetAsyncError(m.comm, &state);
    }
    /* Of rank 1, or of the other that has given up by then. */
    const bool told = state == ncclRemoteError && strstr(ncclGetLastError(m.comm), "the connection to rank");
    const bool lasts = cudaStreamQuery(m.stream) == cudaErrorNotReady;
    return told == error_expected && lasts && ncclCommAbort(m.comm) == ncclSuccess &&
           cudaStreamSynchronize(m.stream) == cudaSuccess;
}

static void a_lost_rank_is_an_asynchronous_error(void **) {
    assert_ranks_hold(3, [](int rank, ncclUniqueId id) { return survive(rank, id, true); });
}

static void or_a_hang_that_abort_ends(void **) {
    assert_ranks_hold(3, [](int rank, ncclUniqueId id) {
        setenv("LIMOE_TEST_EMULATED_NCCL_LOSS", "hang", 1);
        return survive(rank, id, false);
    });
}

static void a_rank_that_never_comes_is_waited_for_until_abort(void **) {
    assert_ranks_hold(2, [](int rank, ncclUniqueId id) {
        ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
        ncclComm_t comm;
        ncclResult_t state = ncclSuccess;
        config.blocking = 0;
        if (rank || ncclCommInitRankConfig(&comm, 2, id, rank, &config) != ncclInProgress)
            return rank == 1;
        usleep(100000);
        return ncclCommGetAsyncError(comm, &state) == ncclSuccess && state == ncclInProgress &&
               ncclCommAbort(comm) == ncclSuccess;
    });
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_exchange),
        cmocka_unit_test(ranks_exchange_over_a_network),
        cmocka_unit_test(blocking_communicators_block),
        cmocka_unit_test(graphs_exchange),
        cmocka_unit_test(a_communicator_in_progress_refuses_calls),
        cmocka_unit_test(arguments_are_checked),
        cmocka_unit_test(ranks_that_disagree_end),
        cmocka_unit_test(a_lost_rank_is_an_asynchronous_error),
        cmocka_unit_test(or_a_hang_that_abort_ends),
        cmocka_unit_test(a_rank_that_never_comes_is_waited_for_until_abort),
    };
    return cmocka_run_group_tests_name("emulator nccl", tests, nullptr, nullptr);
}
