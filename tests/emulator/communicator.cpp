/* communicator.cpp - the life of an emulated communicator, and its thread. See communicator.h.
 *
 * The thread brings the ranks together, then serves: launches go to their streams, operations whose streams
 * have come to them are performed, one after another. A communicator that does not block is in progress for a
 * random while after each launch, so that who does not ask ncclCommGetAsyncError finds the stream without the
 * operation.
 */
#include "tests/emulator/communicator.h"

#include <cstdio>
#include <cstdlib>
#include <sys/eventfd.h>
#include <unistd.h>

namespace emulator {

void wake_worker(const communicator &c) {
    const uint64_t one = 1;
    if (write(c.wake, &one, sizeof one) != sizeof one)
        die("eventfd of a communicator");
}

void set_error(communicator &c, ncclResult_t result, const std::string &why) {
    std::lock_guard<std::mutex> guard(c.lock);
    if (c.state != ncclSuccess && c.state != ncclInProgress)
        return;
    c.state = result;
    c.error = why;
    c.changed.notify_all();
}

/* The stream has come to the operation, or looks whether it is done. */
static bool run_on_stream(const communicator_ptr &c, const operation_ptr &o, bool captured) {
    std::lock_guard<std::mutex> guard(c->lock);
    if (c->stop)
        return c->ended; /* nothing touches the buffers any more */
    if (o->state == operation::idle) {
        o->state = operation::begun;
        c->begun.push_back(o);
        wake_worker(*c);
    }
    if (o->state != operation::done)
        return false;
    o->state = operation::idle; /* a graph may come again */
    if (!captured && !--c->outstanding)
        wake_worker(*c);
    return true;
}

static void put_on_stream(const communicator_ptr &c, const communicator::launch &l) {
    const operation_ptr o = l.o;
    const bool captured = is_capturing(l.stream);
    {
        std::lock_guard<std::mutex> guard(c->lock);
        c->outstanding += !captured;
    }
    if (queue_task(l.stream, [c, o, captured] { return run_on_stream(c, o, captured); }) != cudaSuccess)
        set_error(*c, ncclUnhandledCudaError, "an operation could not be queued on its stream");
}

ncclResult_t communicator_launch(const communicator_ptr &c, std::deque<communicator::launch> launches) {
    if (c->blocking || (!launches.empty() && is_capturing(launches.front().stream))) {
        for (const auto &l : launches)
            put_on_stream(c, l);
        return ncclSuccess;
    }
    std::lock_guard<std::mutex> guard(c->lock);
    c->state = ncclInProgress;
    for (auto &l : launches)
        c->launches.push_back(std::move(l));
    wake_worker(*c);
    return ncclInProgress;
}

void serve(const communicator_ptr &c) {
    std::deque<communicator::launch> launches;
    {
        std::lock_guard<std::mutex> guard(c->lock);
        launches.swap(c->launches);
    }
    if (launches.empty())
        return;
    usleep((unsigned)(rand() % 300));
    for (const auto &l : launches)
        put_on_stream(c, l);
    std::lock_guard<std::mutex> guard(c->lock);
    if (c->state == ncclInProgress && c->launches.empty())
        c->state = ncclSuccess;
    c->changed.notify_all();
}

static operation everybody(const communicator &c, kind what) {
    operation o;
    o.what = what;
    o.send.resize((size_t)c.ranks);
    o.receive.resize((size_t)c.ranks);
    for (int r = 0; r < c.ranks; r++)
        if (r != c.rank) {
            o.send[(size_t)r].push_back({nullptr, 0});
            o.receive[(size_t)r].push_back({nullptr, 0});
        }
    return o;
}

static void become(communicator &c, bool finalized) {
    std::lock_guard<std::mutex> guard(c.lock);
    if (c.state == ncclInProgress)
        c.state = ncclSuccess;
    c.finalized = c.finalized || finalized;
    c.changed.notify_all();
}

/* Sleeps until something is to be done; the operation to perform, or none: serve, finalize or stop. */
static operation_ptr next(const communicator_ptr &c, bool *finalize) {
    uint64_t times;
    {
        std::lock_guard<std::mutex> guard(c->lock);
        *finalize = c->finalize && !c->finalized && !c->outstanding && c->launches.empty();
        if (!c->begun.empty()) {
            const operation_ptr o = c->begun.front();
            c->begun.pop_front();
            return o;
        }
        if (*finalize || !c->launches.empty() || c->stop)
            return nullptr;
    }
    if (read(c->wake, &times, sizeof times) < 0)
        return nullptr;
    return nullptr;
}

static void finish(communicator &c, operation &o) {
    {
        std::lock_guard<std::mutex> guard(c.lock);
        o.state = operation::done;
    }
    kick_streams();
}

static void work(const communicator_ptr &c) {
    const bool met = is_over_network(c->id) ? meet_over_network(c) : meet_in_folder(c);
    if (!met || !perform(c, everybody(*c, kind::ready)))
        return;
    remove_traces(*c);
    become(*c, false);
    while (!c->stop) {
        bool finalize;
        const operation_ptr o = next(c, &finalize);
        serve(c);
        if (o && perform(c, *o))
            finish(*c, *o);
        if (!o && finalize && perform(c, everybody(*c, kind::bye)))
            become(*c, true);
    }
}

communicator_ptr communicator_open(const std::string &id, int rank, int ranks, bool blocking) {
    const char *loss = getenv("LIMOE_TEST_EMULATED_NCCL_LOSS");
    auto c = std::make_shared<communicator>();
    c->rank = rank;
    c->ranks = ranks;
    c->blocking = blocking;
    c->losses_show = !loss || std::string(loss) != "hang";
    c->id = id;
    c->peers.resize((size_t)ranks);
    if (cudaGetDevice(&c->device) != cudaSuccess || (c->wake = eventfd(0, EFD_CLOEXEC)) < 0)
        return nullptr;
    c->worker = std::thread(work, c);
    return c;
}

void communicator_stop(const communicator_ptr &c) {
    {
        std::lock_guard<std::mutex> guard(c->lock);
        c->stop = true;
        c->changed.notify_all();
    }
    wake_worker(*c);
    c->worker.join();
    {
        std::lock_guard<std::mutex> guard(c->lock);
        c->ended = true;
    }
    kick_streams();
    remove_traces(*c);
    for (const peer &p : c->peers)
        if (p.socket >= 0)
            close(p.socket);
    close(c->wake);
    c->wake = -1;
}

} // namespace emulator
