/* capture.cpp - work captured from streams into graphs, and graphs launched.
 *
 * A graph keeps tasks with copies of their arguments, and which follow which; at a launch they are done in a
 * random order among those allowed. A capture must join all streams that it has spread to, and forbids what
 * CUDA forbids.
 */
#include "tests/emulator/queue.h"

#include <algorithm>

using namespace emulator;

struct CUgraph_st {
    std::vector<node> nodes;
};

struct CUgraphExec_st {
    std::vector<node> nodes;
    mark_ptr last; /* launches of one executable graph follow each other */
};

namespace emulator {

void invalidate(const capture_ptr &c) {
    c->invalid = true;
}

void join_capture(CUstream_st *s, const capture_ptr &c, const std::vector<size_t> &tips) {
    s->captured = c;
    for (const size_t tip : tips)
        if (std::find(s->tips.begin(), s->tips.end(), tip) == s->tips.end())
            s->tips.push_back(tip);
}

bool capture_forbids() {
    state &s = the();
    std::lock_guard<std::mutex> guard(s.lock);
    bool forbids = false;
    for (const capture_ptr &c : s.captures) {
        const bool own = c->owner == std::this_thread::get_id();
        if (c->mode == cudaStreamCaptureModeRelaxed || (c->mode == cudaStreamCaptureModeThreadLocal && !own))
            continue;
        invalidate(c);
        forbids = true;
    }
    return forbids;
}

bool is_capturing(cudaStream_t stream) {
    std::lock_guard<std::mutex> guard(the().lock);
    const CUstream_st *s = find_stream(stream);
    return s && s->captured;
}

/* Whether the stream's last nodes follow, directly or not, all nodes of the capture. */
static bool joins_all(const capture &c, const std::vector<size_t> &tips) {
    std::vector<bool> reached(c.nodes.size());
    for (const size_t tip : tips)
        reached[tip] = true;
    for (size_t i = c.nodes.size(); i-- > 0;) /* nodes come after those they follow */
        for (const size_t before : c.nodes[i].after)
            if (reached[i])
                reached[before] = true;
    return std::all_of(reached.begin(), reached.end(), [](bool r) { return r; });
}

/* One launch of a graph in progress. */
struct progress {
    std::vector<node> nodes;
    std::vector<bool> done;
    uint64_t random;
};

/* Does what can be done; true when all is. */
static bool go_on(progress &p) {
    for (;;) {
        std::vector<size_t> ready;
        for (size_t i = 0; i < p.nodes.size(); i++)
            if (!p.done[i] && std::all_of(p.nodes[i].after.begin(), p.nodes[i].after.end(),
                                          [&](size_t before) { return p.done[before]; }))
                ready.push_back(i);
        if (ready.empty())
            return true;
        p.random = p.random * 6364136223846793005u + 1442695040888963407u;
        const size_t turn = (size_t)(p.random >> 33) % ready.size();
        bool moved = false;
        for (size_t i = 0; i < ready.size() && !moved; i++) {
            const size_t n = ready[(turn + i) % ready.size()];
            moved = p.done[n] = p.nodes[n].run();
        }
        if (!moved)
            return false;
    }
}

} // namespace emulator

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
    std::lock_guard<std::mutex> guard(the().lock);
    CUstream_st *s = find_stream(handle);
    if (!s)
        return result(cudaErrorInvalidResourceHandle);
    if (s == the().streams.front())
        return result(cudaErrorStreamCaptureUnsupported);
    if (s->captured)
        return result(cudaErrorIllegalState);
    s->captured = std::make_shared<capture>();
    s->captured->origin = s;
    s->captured->mode = mode;
    s->captured->owner = std::this_thread::get_id();
    s->tips.clear();
    the().captures.push_back(s->captured);
    return result(cudaSuccess);
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t *out) {
    std::lock_guard<std::mutex> guard(the().lock);
    *out = nullptr;
    CUstream_st *s = find_stream(handle);
    if (!s)
        return result(cudaErrorInvalidResourceHandle);
    const capture_ptr c = s->captured;
    if (!c)
        return result(cudaErrorIllegalState);
    cudaError_t e = cudaSuccess;
    if (c->mode != cudaStreamCaptureModeRelaxed && c->owner != std::this_thread::get_id())
        return result(cudaErrorStreamCaptureWrongThread);
    if (c->origin != s)
        e = cudaErrorStreamCaptureUnmatched;
    else if (c->invalid)
        e = cudaErrorStreamCaptureInvalidated;
    else if (!joins_all(*c, s->tips))
        e = cudaErrorStreamCaptureUnjoined;
    for (CUstream_st *other : the().streams)
        if (other->captured == c) {
            other->captured = nullptr;
            other->tips.clear();
        }
    c->ended = true;
    the().captures.remove(c);
    if (e == cudaSuccess)
        *out = new CUgraph_st{std::move(c->nodes)};
    return result(e);
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus *status) {
    std::lock_guard<std::mutex> guard(the().lock);
    const CUstream_st *s = find_stream(handle);
    if (!s)
        return result(cudaErrorInvalidResourceHandle);
    *status = !s->captured           ? cudaStreamCaptureStatusNone
              : s->captured->invalid ? cudaStreamCaptureStatusInvalidated
                                     : cudaStreamCaptureStatusActive;
    return result(cudaSuccess);
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long flags) {
    if (!graph || flags)
        return result(cudaErrorInvalidValue);
    *out = new CUgraphExec_st{graph->nodes, nullptr};
    return result(cudaSuccess);
}

cudaError_t cudaGraphUpload(cudaGraphExec_t graph, cudaStream_t) {
    return result(graph ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t handle) {
    std::lock_guard<std::mutex> guard(the().lock);
    CUstream_st *s = find_stream(handle);
    if (!graph || !s)
        return result(cudaErrorInvalidValue);
    if (const cudaError_t e = legacy_conflict(s))
        return result(e);
    if (s->captured)
        return result(cudaErrorNotSupported); /* graphs within graphs: not emulated */
    static uint64_t launches;
    auto p = std::make_shared<progress>(progress{graph->nodes, std::vector<bool>(graph->nodes.size()),
                                                 setting("LIMOE_TEST_EMULATED_SEED", 1) + ++launches});
    std::vector<mark_ptr> after;
    if (graph->last)
        after.push_back(graph->last);
    graph->last = enqueue(
        s, [p] { return go_on(*p); }, std::move(after));
    return result(cudaSuccess);
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete graph;
    return result(graph ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
    delete graph;
    return result(graph ? cudaSuccess : cudaErrorInvalidValue);
}
