/* stream.cpp - streams, and the system thread that does what is queued on them.
 *
 * Tasks of one stream are done in order; of streams that have tasks ready, a random one goes on. With
 * LIMOE_TEST_EMULATED_LATE=1 a task is done only when someone waits for it (or for what depends on it), or when
 * nobody has waited for anything for a while: a missing synchronisation shows instead of being covered by a
 * fast device.
 */
#include "tests/emulator/queue.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <unistd.h>

namespace emulator {

/* ---- the system thread */

static uint32_t pick(state &s, size_t n) {
    s.random = s.random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((s.random >> 33) % n);
}

static bool is_wanted(const CUstream_st *s) {
    return std::any_of(s->items.begin(), s->items.end(), [](const item &i) { return i.reached->wanted; });
}

static bool is_ready(const CUstream_st *s) {
    return !s->items.empty() && std::all_of(s->items.front().after.begin(), s->items.front().after.end(),
                                            [](const mark_ptr &m) { return m->done; });
}

/* What is wanted makes what it waits for wanted. */
static void spread_wants(state &s) {
    for (bool more = true; more;) {
        more = false;
        for (const CUstream_st *stream : s.streams)
            for (size_t i = 0, wanted = 0; i < stream->items.size(); i++) {
                const item &back = stream->items[stream->items.size() - 1 - i];
                wanted |= back.reached->wanted;
                for (const mark_ptr &m : back.after)
                    if (wanted && !m->wanted && !m->done)
                        more = m->wanted = true;
            }
    }
}

static int64_t now() {
    return clock();
}

/* One task of a stream. False if it cannot be done yet. */
static bool do_front(state &s, CUstream_st *stream, std::unique_lock<std::mutex> &held) {
    const task &run = stream->items.front().run; /* stays where it is while others are queued behind it */
    held.unlock();
    open_device_memory(true);
    const bool finished = run();
    held.lock();
    if (!finished)
        return false;
    stream->items.front().reached->done = true;
    stream->items.front().reached->when = now();
    stream->items.pop_front();
    if (stream->destroyed && stream->items.empty()) {
        s.streams.remove(stream);
        delete stream;
    }
    if (std::all_of(s.streams.begin(), s.streams.end(),
                    [](const CUstream_st *other) { return other->items.empty(); }))
        open_device_memory(false);
    s.done.notify_all();
    return true;
}

[[noreturn]] static void work(state &s) {
    run_kernels_here();
    std::unique_lock<std::mutex> held(s.lock);
    bool idle = false;
    for (size_t stuck = 0;;) {
        std::vector<CUstream_st *> ready;
        if (s.late)
            spread_wants(s);
        for (CUstream_st *stream : s.streams)
            if (is_ready(stream) && (!s.late || idle || is_wanted(stream)))
                ready.push_back(stream);
        if (ready.empty() || stuck > 4 * ready.size()) {
            const bool timeout =
                s.work.wait_for(held, std::chrono::microseconds(ready.empty() ? 20000 : 200)) ==
                std::cv_status::timeout;
            idle = ready.empty() && timeout;
            stuck = 0;
            continue;
        }
        idle = false;
        stuck = do_front(s, ready[pick(s, ready.size())], held) ? 0 : stuck + 1;
    }
}

/* Never freed: the system thread uses it until the process ends. */
state &the() {
    static std::mutex starting;
    static state *s;
    static pid_t owner;
    std::lock_guard<std::mutex> guard(starting);
    if (!s || owner != getpid()) {
        owner = getpid();
        s = new state();
        s->late = setting("LIMOE_TEST_EMULATED_LATE", 0) != 0;
        s->random = setting("LIMOE_TEST_EMULATED_SEED", 1);
        s->streams.push_back(new CUstream_st{true, false, {}, std::make_shared<mark>(), nullptr, {}});
        s->streams.front()->last->done = true;
        catch_faults();
        std::thread(work, std::ref(*s)).detach();
    }
    return *s;
}

/* ---- queueing */

uint64_t number_of_launch() {
    std::lock_guard<std::mutex> guard(the().lock);
    return ++the().launches;
}

CUstream_st *find_stream(cudaStream_t handle) {
    state &s = the();
    if (!handle || handle == cudaStreamLegacy)
        return s.streams.front();
    for (CUstream_st *stream : s.streams)
        if (stream == handle && !stream->destroyed)
            return stream;
    return nullptr;
}

void kick_streams() {
    the().work.notify_all();
}

mark_ptr enqueue(CUstream_st *stream, task t, std::vector<mark_ptr> after) {
    state &s = the();
    const bool legacy = stream == s.streams.front();
    for (const CUstream_st *other : s.streams)
        if (other != stream && other->blocking && (legacy || other == s.streams.front()) && stream->blocking)
            after.push_back(other->last);
    stream->last = std::make_shared<mark>();
    stream->items.push_back({std::move(t), std::move(after), stream->last});
    s.work.notify_all();
    return stream->last;
}

cudaError_t legacy_conflict(const CUstream_st *stream) {
    state &s = the();
    if (stream != s.streams.front())
        return cudaSuccess;
    for (const CUstream_st *other : s.streams)
        if (other->captured && other->blocking) {
            invalidate(other->captured);
            return cudaErrorStreamCaptureImplicit;
        }
    return cudaSuccess;
}

cudaError_t add(CUstream_st *stream, task t) {
    if (!stream)
        return cudaErrorInvalidResourceHandle;
    if (const cudaError_t e = legacy_conflict(stream))
        return e;
    if (!stream->captured) {
        enqueue(stream, std::move(t));
        return cudaSuccess;
    }
    capture &c = *stream->captured;
    if (c.invalid)
        return cudaErrorStreamCaptureInvalidated;
    c.nodes.push_back({std::move(t), stream->tips});
    stream->tips = {c.nodes.size() - 1};
    return cudaSuccess;
}

cudaError_t queue_task(cudaStream_t stream, task t) {
    std::lock_guard<std::mutex> guard(the().lock);
    return add(find_stream(stream), std::move(t));
}

cudaError_t wait_until(std::unique_lock<std::mutex> &held, std::vector<mark_ptr> marks) {
    state &s = the();
    for (const mark_ptr &m : marks)
        m->wanted = true;
    s.work.notify_all();
    s.done.wait(held, [&] {
        return std::all_of(marks.begin(), marks.end(), [](const mark_ptr &m) { return m->done; });
    });
    return cudaSuccess;
}

} // namespace emulator

using namespace emulator;

/* ---- the API */

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *out, unsigned int flags, int) {
    if (flags & ~cudaStreamNonBlocking)
        return result(cudaErrorInvalidValue);
    std::lock_guard<std::mutex> guard(the().lock);
    *out =
        new CUstream_st{!(flags & cudaStreamNonBlocking), false, {}, std::make_shared<mark>(), nullptr, {}};
    (*out)->last->done = true;
    the().streams.push_back(*out);
    return result(cudaSuccess);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned int flags) {
    return cudaStreamCreateWithPriority(out, flags, 0);
}

cudaError_t cudaStreamCreate(cudaStream_t *out) {
    return cudaStreamCreateWithFlags(out, cudaStreamDefault);
}

/* What is queued is still done. */
cudaError_t cudaStreamDestroy(cudaStream_t handle) {
    std::lock_guard<std::mutex> guard(the().lock);
    CUstream_st *s = find_stream(handle);
    if (!s || s == the().streams.front())
        return result(cudaErrorInvalidResourceHandle);
    if (s->captured)
        invalidate(s->captured);
    if (s->items.empty()) {
        the().streams.remove(s);
        delete s;
    } else {
        s->destroyed = true;
    }
    return result(cudaSuccess);
}

static cudaError_t refuse_if_captured(CUstream_st *s) {
    if (!s)
        return cudaErrorInvalidResourceHandle;
    if (const cudaError_t e = legacy_conflict(s))
        return e;
    if (!s->captured)
        return cudaSuccess;
    invalidate(s->captured);
    return cudaErrorStreamCaptureUnsupported;
}

/* The legacy default stream is done when the blocking streams are. */
static std::vector<mark_ptr> end_of(const CUstream_st *s) {
    std::vector<mark_ptr> marks = {s->last};
    if (s == the().streams.front())
        for (const CUstream_st *other : the().streams)
            if (other->blocking)
                marks.push_back(other->last);
    return marks;
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
    std::unique_lock<std::mutex> held(the().lock);
    CUstream_st *s = find_stream(handle);
    const cudaError_t e = refuse_if_captured(s);
    return result(e ? e : wait_until(held, end_of(s)));
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
    std::unique_lock<std::mutex> held(the().lock);
    CUstream_st *s = find_stream(handle);
    const cudaError_t e = refuse_if_captured(s);
    if (e)
        return result(e);
    bool done = true;
    for (const mark_ptr &m : end_of(s)) {
        m->wanted = true;
        done = done && m->done;
    }
    the().work.notify_all();
    return result(done ? cudaSuccess : cudaErrorNotReady);
}

cudaError_t cudaDeviceSynchronize(void) {
    if (capture_forbids())
        return result(cudaErrorStreamCaptureUnsupported);
    std::unique_lock<std::mutex> held(the().lock);
    std::vector<mark_ptr> marks;
    for (const CUstream_st *s : the().streams)
        marks.push_back(s->last);
    return result(wait_until(held, std::move(marks)));
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void *argument) {
    return result(queue_task(stream, [function, argument] {
        function(argument);
        return true;
    }));
}

/* ---- events */

namespace emulator {

static CUevent_st *find_event(cudaEvent_t handle) {
    for (CUevent_st *e : the().events)
        if (e == handle)
            return e;
    return nullptr;
}

} // namespace emulator

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned int flags) {
    if (flags & ~(cudaEventBlockingSync | cudaEventDisableTiming))
        return result(cudaErrorInvalidValue);
    std::lock_guard<std::mutex> guard(the().lock);
    *out = new CUevent_st{!(flags & cudaEventDisableTiming), nullptr, nullptr, {}};
    the().events.push_back(*out);
    return result(cudaSuccess);
}

cudaError_t cudaEventCreate(cudaEvent_t *out) {
    return cudaEventCreateWithFlags(out, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t handle) {
    std::lock_guard<std::mutex> guard(the().lock);
    CUevent_st *e = find_event(handle);
    if (!e)
        return result(cudaErrorInvalidResourceHandle);
    the().events.remove(e);
    delete e;
    return result(cudaSuccess);
}

cudaError_t cudaEventRecord(cudaEvent_t handle, cudaStream_t stream) {
    std::lock_guard<std::mutex> guard(the().lock);
    CUevent_st *e = find_event(handle);
    CUstream_st *s = find_stream(stream);
    if (!e || !s)
        return result(cudaErrorInvalidResourceHandle);
    if (const cudaError_t conflict = legacy_conflict(s))
        return result(conflict);
    e->captured = s->captured;
    e->tips = s->tips;
    e->recorded = s->captured ? nullptr : enqueue(s, [] { return true; });
    return result(cudaSuccess);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t handle, unsigned int flags) {
    std::lock_guard<std::mutex> guard(the().lock);
    CUevent_st *e = find_event(handle);
    CUstream_st *s = find_stream(stream);
    if (!e || !s)
        return result(cudaErrorInvalidResourceHandle);
    if (flags)
        return result(cudaErrorInvalidValue);
    if (const cudaError_t conflict = legacy_conflict(s))
        return result(conflict);
    if (e->captured) {
        if (e->captured->ended)
            return result(cudaErrorCapturedEvent);
        if (s->captured && s->captured != e->captured)
            return result(cudaErrorStreamCaptureMerge);
        join_capture(s, e->captured, e->tips);
    } else if (s->captured) {
        invalidate(s->captured);
        return result(cudaErrorStreamCaptureIsolation);
    } else if (e->recorded) {
        enqueue(s, [] { return true; }, {e->recorded});
    }
    return result(cudaSuccess);
}

cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
    std::unique_lock<std::mutex> held(the().lock);
    CUevent_st *e = find_event(handle);
    if (!e)
        return result(cudaErrorInvalidResourceHandle);
    if (e->captured)
        return result(cudaErrorCapturedEvent);
    return result(e->recorded ? wait_until(held, {e->recorded}) : cudaSuccess);
}

cudaError_t cudaEventQuery(cudaEvent_t handle) {
    std::unique_lock<std::mutex> held(the().lock);
    CUevent_st *e = find_event(handle);
    if (!e)
        return result(cudaErrorInvalidResourceHandle);
    if (e->captured)
        return result(cudaErrorCapturedEvent);
    if (!e->recorded || e->recorded->done)
        return result(cudaSuccess);
    e->recorded->wanted = true;
    the().work.notify_all();
    return result(cudaErrorNotReady);
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end) {
    std::lock_guard<std::mutex> guard(the().lock);
    const CUevent_st *a = find_event(start), *b = find_event(end);
    if (!a || !b || !a->timed || !b->timed || !a->recorded || !b->recorded)
        return result(cudaErrorInvalidResourceHandle);
    if (!a->recorded->done || !b->recorded->done)
        return result(cudaErrorNotReady);
    *ms = (float)(b->recorded->when - a->recorded->when) / 1e6f;
    return result(cudaSuccess);
}
