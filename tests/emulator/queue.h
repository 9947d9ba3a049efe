/* queue.h - streams, events and captures inside (stream.cpp, event.cpp and capture.cpp share them).
 *
 * All of it is guarded by one lock, state::lock.
 */
#ifndef LIMOE_TESTS_EMULATOR_QUEUE_H
#define LIMOE_TESTS_EMULATOR_QUEUE_H

#include <condition_variable>
#include <list>
#include <mutex>
#include <thread>

#include "tests/emulator/runtime.h"

namespace emulator {

/* A point in a stream: reached when all work queued before it is done. */
struct mark {
    bool done = false, wanted = false; /* wanted: someone waits for it */
    int64_t when = 0;                  /* ns, once done */
};
using mark_ptr = std::shared_ptr<mark>;

struct item {
    task run;
    std::vector<mark_ptr> after;
    mark_ptr reached;
};

struct node {
    task run;
    std::vector<size_t> after;
};

/* A capture in progress. Streams and captured events hold it. */
struct capture {
    std::vector<node> nodes;
    cudaStream_t origin;
    cudaStreamCaptureMode mode;
    std::thread::id owner;
    bool invalid = false, ended = false;
};
using capture_ptr = std::shared_ptr<capture>;

struct state {
    std::mutex lock;
    std::condition_variable work, done;
    std::list<CUstream_st *> streams; /* the legacy default stream is the first */
    std::list<CUevent_st *> events;
    std::list<capture_ptr> captures;
    bool late;
    uint64_t random, launches;
};

/* Starts the system thread that runs the tasks, when first called and again in a forked child. */
state &the();

/* All but the last are called with the lock held. */
CUstream_st *find_stream(cudaStream_t handle); /* nullptr: no such stream */
mark_ptr enqueue(CUstream_st *s, task t, std::vector<mark_ptr> after = {});
cudaError_t add(CUstream_st *s, task t); /* to the stream, or the graph it is captured into */
cudaError_t legacy_conflict(const CUstream_st *s);
cudaError_t wait_until(std::unique_lock<std::mutex> &held, std::vector<mark_ptr> marks);
void invalidate(const capture_ptr &c);
void join_capture(CUstream_st *s, const capture_ptr &c, const std::vector<size_t> &tips);

} // namespace emulator

struct CUstream_st {
    bool blocking; /* waits for the legacy default stream and it for this one */
    bool destroyed;
    std::deque<emulator::item> items;
    emulator::mark_ptr last;
    emulator::capture_ptr captured; /* null: work is queued, not captured */
    std::vector<size_t> tips;       /* the nodes that the next one of this stream follows */
};

struct CUevent_st {
    bool timed;
    emulator::mark_ptr recorded;
    emulator::capture_ptr captured; /* where it was last recorded, if that was a capture */
    std::vector<size_t> tips;
};

#endif
