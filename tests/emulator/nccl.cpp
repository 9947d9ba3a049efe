/* nccl.cpp - NCCL's API over sockets, for ranks that are processes of one machine, or, where NCCL_SOCKET_IFNAME is
 * set, of several (nccl.h, communicator.h).
 *
 * As with NCCL: a communicator that does not block must be asked until it is no longer in progress, and
 * refuses calls until then; operations are ordered by their stream, and grouped ones take place together; a
 * lost rank leaves an asynchronous error (or, with LIMOE_TEST_EMULATED_NCCL_LOSS=hang, none) and operations that
 * only ncclCommAbort ends. Stricter than NCCL: a communicator used after its end, and ranks that disagree,
 * end the process.
 */
#include <cstdlib>
#include <unistd.h>

#include "tests/emulator/communicator.h"

namespace emulator {

/* ---- the communicators of the process */

static std::mutex alive_lock;
static std::vector<communicator_ptr> alive;

static communicator_ptr get(ncclComm_t comm, const char *call) {
    std::lock_guard<std::mutex> guard(alive_lock);
    for (const communicator_ptr &c : alive)
        if ((ncclComm_t)c.get() == comm)
            return c;
    die("%s: there is no communicator %p, or no more", call, (void *)comm);
}

static void forget(const communicator_ptr &c) {
    std::lock_guard<std::mutex> guard(alive_lock);
    for (size_t i = 0; i < alive.size(); i++)
        if (alive[i] == c) {
            alive.erase(alive.begin() + (ptrdiff_t)i);
            return;
        }
}

/* ncclSuccess if operations may be called now. */
static ncclResult_t check_ready(communicator &c) {
    std::lock_guard<std::mutex> guard(c.lock);
    if (c.state == ncclInProgress || c.finalize) {
        c.error = c.finalize ? "the communicator was finalized"
                             : "the communicator is in progress: ask ncclCommGetAsyncError until it is not";
        return ncclInvalidArgument;
    }
    return c.state;
}

/* ---- groups */

struct group {
    unsigned depth;
    ncclResult_t error;
    struct entry {
        communicator_ptr c;
        std::deque<communicator::launch> launches;
    };
    std::vector<entry> entries;
};

static thread_local group current;

static std::deque<communicator::launch> &launches_of(const communicator_ptr &c) {
    for (group::entry &e : current.entries)
        if (e.c == c)
            return e.launches;
    current.entries.push_back({c, {}});
    return current.entries.back().launches;
}

/* The messages of a group on one stream are one operation. */
static operation &point_to_point(const communicator_ptr &c, cudaStream_t stream) {
    auto &launches = launches_of(c);
    for (auto &l : launches)
        if (l.o->what == kind::point_to_point && l.stream == stream)
            return *l.o;
    auto o = std::make_shared<operation>();
    o->what = kind::point_to_point;
    o->send.resize((size_t)c->ranks);
    o->receive.resize((size_t)c->ranks);
    launches.push_back({o, stream});
    return *o;
}

static ncclResult_t close_group() {
    std::vector<group::entry> entries;
    entries.swap(current.entries);
    ncclResult_t r = current.error;
    current.error = ncclSuccess;
    for (group::entry &e : entries)
        if (r == ncclSuccess || r == ncclInProgress) {
            const ncclResult_t one = communicator_launch(e.c, std::move(e.launches));
            r = r == ncclSuccess ? one : r;
        }
    return r;
}

static bool on_device(const void *p, uint64_t bytes) {
    return !bytes || kind_of(p, bytes) != memory::unknown;
}

static const uint64_t size_of_type[] = {1, 1, 4, 4, 8, 8, 2, 4, 8, 2, 1, 1};

/* What all operations ask: a communicator ready, a type, memory of the device. */
static ncclResult_t check_call(communicator &c, ncclDataType_t type, const void *from, const void *to,
                               uint64_t from_bytes, uint64_t to_bytes) {
    if (const ncclResult_t r = check_ready(c))
        return r;
    if ((unsigned)type >= ncclNumTypes || !on_device(from, from_bytes) || !on_device(to, to_bytes)) {
        std::lock_guard<std::mutex> guard(c.lock);
        c.error = (unsigned)type >= ncclNumTypes ? "no such type"
                                                 : "a buffer that is not, or not all, on the device";
        return ncclInvalidArgument;
    }
    return ncclSuccess;
}

static ncclResult_t refuse(ncclResult_t r) {
    if (current.depth && current.error == ncclSuccess)
        current.error = r;
    return r;
}

static ncclResult_t launched() {
    return current.depth ? ncclSuccess : close_group();
}

/* ---- joining */

/* Folders that this process has made and nobody may have joined. */
static struct folders {
    std::mutex lock;
    std::vector<std::string> made;
    pid_t maker = getpid(); /* not a child that was forked meanwhile */
    ~folders() {
        for (const std::string &f : made)
            if (maker == getpid())
                rmdir(f.c_str());
    }
} folders;

static bool config_is_valid(const ncclConfig_t *config) {
    return config->magic == 0xcafebeef && config->size == sizeof *config &&
           (config->blocking == NCCL_CONFIG_UNDEF_INT || config->blocking == 0 || config->blocking == 1);
}

static ncclResult_t wait_while_in_progress(communicator &c) {
    std::unique_lock<std::mutex> held(c.lock);
    c.changed.wait(held, [&] { return c.state != ncclInProgress || c.stop; });
    return c.stop ? ncclInternalError : c.state;
}

} // namespace emulator

using namespace emulator;

ncclResult_t ncclGetVersion(int *version) {
    *version = NCCL_VERSION_CODE;
    return ncclSuccess;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id) {
    const char *tmp = getenv("TMPDIR");
    memset(id, 0, sizeof *id);
    if (getenv("NCCL_SOCKET_IFNAME"))
        return make_network_id(id->internal, sizeof id->internal) ? ncclSuccess : ncclSystemError;
    if (snprintf(id->internal, sizeof id->internal, "%s/limoe-nccl-XXXXXX", tmp ? tmp : "/tmp") > 90 ||
        !mkdtemp(id->internal))
        return ncclSystemError;
    std::lock_guard<std::mutex> guard(folders.lock);
    folders.made.push_back(id->internal);
    return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t *config) {
    if (!comm || ranks < 1 || rank < 0 || rank >= ranks || (config && !config_is_valid(config)))
        return ncclInvalidArgument;
    *comm = nullptr;
    const bool blocking = !config || config->blocking != 0;
    id.internal[NCCL_UNIQUE_ID_BYTES - 1] = 0;
    const communicator_ptr c = communicator_open(id.internal, rank, ranks, blocking);
    if (!c)
        return ncclUnhandledCudaError;
    {
        std::lock_guard<std::mutex> guard(alive_lock);
        alive.push_back(c);
    }
    *comm = (ncclComm_t)c.get();
    return blocking ? wait_while_in_progress(*c) : ncclInProgress;
}

ncclResult_t ncclCommInitRank(ncclComm_t *comm, int ranks, ncclUniqueId id, int rank) {
    return ncclCommInitRankConfig(comm, ranks, id, rank, nullptr);
}

/* ---- leaving */

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
    const communicator_ptr c = get(comm, "ncclCommFinalize");
    if (const ncclResult_t r = check_ready(*c))
        return r;
    {
        std::lock_guard<std::mutex> guard(c->lock);
        c->finalize = true;
        c->state = ncclInProgress;
    }
    wake_worker(*c);
    return c->blocking ? wait_while_in_progress(*c) : ncclInProgress;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
    const communicator_ptr c = get(comm, "ncclCommDestroy");
    wait_while_in_progress(*c);
    if (check_ready(*c) == ncclSuccess) {
        ncclCommFinalize(comm);
        wait_while_in_progress(*c);
    }
    forget(c);
    communicator_stop(c);
    return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm) {
    const communicator_ptr c = get(comm, "ncclCommAbort");
    forget(c);
    communicator_stop(c);
    return ncclSuccess;
}

/* ---- asking */

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *error) {
    const communicator_ptr c = get(comm, "ncclCommGetAsyncError");
    std::lock_guard<std::mutex> guard(c->lock);
    *error = c->state;
    return ncclSuccess;
}

ncclResult_t ncclCommCount(const ncclComm_t comm, int *count) {
    *count = get(comm, "ncclCommCount")->ranks;
    return ncclSuccess;
}

ncclResult_t ncclCommCuDevice(const ncclComm_t comm, int *device) {
    *device = get(comm, "ncclCommCuDevice")->device;
    return ncclSuccess;
}

ncclResult_t ncclCommUserRank(const ncclComm_t comm, int *rank) {
    *rank = get(comm, "ncclCommUserRank")->rank;
    return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t result) {
    static const char *const text[] = {"no error",
                                       "unhandled cuda error (run with NCCL_DEBUG=INFO for details)",
                                       "unhandled system error (run with NCCL_DEBUG=INFO for details)",
                                       "internal error - please report this issue to the NCCL developers",
                                       "invalid argument (run with NCCL_DEBUG=WARN for details)",
                                       "invalid usage (run with NCCL_DEBUG=WARN for details)",
                                       "remote process exited or there was a network error",
                                       "NCCL operation in progress"};
    return (unsigned)result < ncclNumResults ? text[result] : "unknown result code";
}

/* Valid until the thread asks again. */
const char *ncclGetLastError(ncclComm_t comm) {
    static thread_local std::string text;
    if (!comm)
        return "";
    const communicator_ptr c = get(comm, "ncclGetLastError");
    std::lock_guard<std::mutex> guard(c->lock);
    text = c->error;
    return text.c_str();
}

/* ---- operations */

ncclResult_t ncclGroupStart(void) {
    current.depth++;
    return ncclSuccess;
}

ncclResult_t ncclGroupEnd(void) {
    if (!current.depth)
        return ncclInvalidUsage;
    return --current.depth ? ncclSuccess : close_group();
}

ncclResult_t ncclSend(const void *from, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
    const communicator_ptr c = get(comm, "ncclSend");
    const uint64_t bytes = (unsigned)type < ncclNumTypes ? count * size_of_type[type] : 0;
    if (const ncclResult_t r = check_call(*c, type, from, nullptr, bytes, 0))
        return refuse(r);
    if (peer < 0 || peer >= c->ranks)
        return refuse(ncclInvalidArgument);
    point_to_point(c, stream).send[(size_t)peer].push_back({(unsigned char *)from, bytes});
    return launched();
}

ncclResult_t ncclRecv(void *to, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
    const communicator_ptr c = get(comm, "ncclRecv");
    const uint64_t bytes = (unsigned)type < ncclNumTypes ? count * size_of_type[type] : 0;
    if (const ncclResult_t r = check_call(*c, type, nullptr, to, 0, bytes))
        return refuse(r);
    if (peer < 0 || peer >= c->ranks)
        return refuse(ncclInvalidArgument);
    point_to_point(c, stream).receive[(size_t)peer].push_back({(unsigned char *)to, bytes});
    return launched();
}

ncclResult_t ncclAllGather(const void *from, void *to, size_t count, ncclDataType_t type, ncclComm_t comm,
                           cudaStream_t stream) {
    const communicator_ptr c = get(comm, "ncclAllGather");
    const auto ranks = (size_t)c->ranks;
    const uint64_t bytes = (unsigned)type < ncclNumTypes ? count * size_of_type[type] : 0;
    if (const ncclResult_t r = check_call(*c, type, from, to, bytes, bytes * ranks))
        return refuse(r);
    auto o = std::make_shared<operation>();
    o->what = kind::all_gather;
    o->send.resize(ranks);
    o->receive.resize(ranks);
    for (size_t r = 0; r < ranks; r++) {
        o->send[r].push_back({(unsigned char *)from, bytes});
        o->receive[r].push_back({(unsigned char *)to + r * bytes, bytes});
    }
    launches_of(c).push_back({o, stream});
    return launched();
}

ncclResult_t ncclAllReduce(const void *from, void *to, size_t count, ncclDataType_t type, ncclRedOp_t op,
                           ncclComm_t comm, cudaStream_t stream) {
    const communicator_ptr c = get(comm, "ncclAllReduce");
    const bool emulated = (unsigned)type < ncclFloat16 || type == ncclFloat32 || type == ncclFloat64;
    const uint64_t bytes = emulated ? count * size_of_type[type] : 0;
    if (const ncclResult_t r = check_call(*c, type, from, to, bytes, bytes))
        return refuse(r);
    if (!emulated || (unsigned)op > ncclMin)
        return refuse(ncclInvalidArgument);
    auto o = std::make_shared<operation>();
    o->what = kind::all_reduce;
    o->type = (uint32_t)type;
    o->reduce = (uint32_t)op;
    o->from = (const unsigned char *)from;
    o->to = (unsigned char *)to;
    o->count = count;
    launches_of(c).push_back({o, stream});
    return launched();
}
