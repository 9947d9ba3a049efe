/* block.cpp - runs kernels: block after block in random order, the threads of a block as fibers.
 *
 * A fiber runs until it must wait, then hands over to a runnable one; so between two waits a thread is alone,
 * and what is missing between them (a barrier) shows as garbage read or values lost for some order of
 * threads. Orders are drawn per block, to make the bad ones likely: even (any warp), ahead (the first of a
 * random ranking of warps that can run: it runs as far ahead as barriers let it), sticky (the same warp
 * again, mostly). Within a warp any lane may be next.
 *
 * __syncthreads and bar.sync are counted as on sm_70 and later: thread by thread, and those that have ended
 * are not waited for.
 */
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <cwchar>
#include <link.h>
#include <memory>
#include <numeric>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/emulator/engine.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace emulator {

block running;

/* One of bar.sync's barriers: who waits at it, and for how many. */
struct bar {
    unsigned wanted; /* 0: all that live */
    unsigned came;
    uint32_t lanes[max_warps];
};

static bar bars[barriers];
static thread threads[max_threads];
static uint64_t random_state;
enum { even, ahead, sticky, policies };

thread &thread_at(unsigned number) {
    return threads[number];
}

void seed_random(uint64_t stream) {
    uint64_t z = setting("LIMOE_TEST_EMULATED_SEED", 1) * 0x9e3779b97f4a7c15u + stream;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    random_state = (z ^ z >> 31) | 1;
}

/* xorshift64* */
uint32_t random_below(uint32_t n) {
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint32_t)((random_state * 0x2545f4914f6cdd1du >> 32) * n >> 32);
}

void fill_garbage(void *p, size_t bytes) {
    static_assert(sizeof(wchar_t) == sizeof garbage, "wmemset is the fastest way");
    if ((uintptr_t)p % sizeof garbage == 0)
        wmemset((wchar_t *)p, (wchar_t)garbage, bytes / sizeof garbage);
    else
        for (size_t i = 0; i + sizeof garbage <= bytes; i += sizeof garbage)
            memcpy((unsigned char *)p + i, &garbage, sizeof garbage);
    const size_t rest = bytes % sizeof garbage;
    memcpy((unsigned char *)p + bytes - rest, &garbage, rest);
}

/* ---- choosing who runs */

static unsigned random_bit(uint32_t set) {
    const unsigned turn = random_below(32);
    const uint32_t turned = set >> turn | (turn ? set << (32 - turn) : 0);
    return ((unsigned)__builtin_ctz(turned) + turn) % 32;
}

static thread &choose() {
    const unsigned last = running.current ? warp_of(*running.current) : 0;
    unsigned warp;
    if (running.policy == ahead)
        warp = running.order[__builtin_ctz(running.runnable_warps)];
    else if (running.policy == sticky && running.runnable[last] && random_below(16))
        warp = last;
    else
        warp = running.order[random_bit(running.runnable_warps)];
    return threads[warp * warp_lanes + random_bit(running.runnable[warp])];
}

static void set_runnable(const thread &t) {
    running.runnable[warp_of(t)] |= 1u << lane_of(t);
    running.runnable_warps |= 1u << running.rank[warp_of(t)];
}

static void clear_runnable(const thread &t) {
    running.runnable[warp_of(t)] &= ~(1u << lane_of(t));
    if (!running.runnable[warp_of(t)])
        running.runnable_warps &= ~(1u << running.rank[warp_of(t)]);
}

static void report_waits() {
    fprintf(stderr, "emulator: no thread can run; they wait:\n");
    for (unsigned i = 0, shown = 0; i < running.threads; i++) {
        if (threads[i].ended || !threads[i].waits_for)
            continue;
        unsigned end = i + 1;
        while (end < running.threads && threads[end].waits_for && !threads[end].ended &&
               threads[end].waits_for == threads[i].waits_for && threads[end].detail == threads[i].detail)
            end++;
        if (shown++ < 64)
            fprintf(stderr, "emulator:   threads %u to %u: %s (0x%llx)\n", i, end - 1, threads[i].waits_for,
                    (unsigned long long)threads[i].detail);
        i = end - 1;
    }
}

/* Leaves the current thread, which is runnable, waits or has ended, for one that can run; returns when it is
 * its turn again. */
static void hand_over() {
    thread &from = *running.current;
    while (!running.runnable_warps)
        if (running.live && !tma_do_one(true)) {
            report_waits();
            die("deadlock");
        } else if (!running.live) {
            fiber_switch(from.stack, running.scheduler, true);
        }
    thread &to = choose();
    if (&to == &from)
        return;
    running.current = &to;
    threadIdx = to.index;
    fiber_switch(from.stack, to.stack, from.ended);
}

void suspend(const char *waits_for, uint64_t detail) {
    thread &t = *running.current;
    t.waits_for = waits_for;
    t.detail = detail;
    clear_runnable(t);
    hand_over();
}

void wake(thread &t) {
    t.waits_for = nullptr;
    set_runnable(t);
}

void let_others_run() {
    tma_maybe_do_one();
    hand_over();
}

/* ---- bar.sync */

static void open_if_complete(unsigned id) {
    bar &b = bars[id];
    const unsigned wanted = b.wanted ? b.wanted : running.live;
    if (!b.came || b.came < wanted)
        return;
    if (b.came > wanted)
        die("%u threads came to barrier %u, which %u pass", b.came, id, wanted);
    for (unsigned w = 0; w < running.warps; w++) {
        if (b.lanes[w] && b.lanes[w] != (b.wanted ? 0xffffffffu : running.live_lanes[w]))
            die("only lanes 0x%08x of warp %u came to barrier %u: bar.sync is executed by whole warps",
                b.lanes[w], w, id);
        running.at_barrier[w] &= ~b.lanes[w];
        for (uint32_t lanes = b.lanes[w]; lanes; lanes &= lanes - 1)
            wake(threads[w * warp_lanes + (unsigned)__builtin_ctz(lanes)]);
    }
    b = {};
}

static void come_to(unsigned id, unsigned wanted, const char *what) {
    const thread &t = *running.current;
    bar &b = bars[id];
    if (b.came && b.wanted != wanted)
        die("barrier %u is used for %u threads and for %u at once (0: all)", id, b.wanted, wanted);
    check_no_collective_waits(what);
    b.wanted = wanted;
    b.came++;
    b.lanes[warp_of(t)] |= 1u << lane_of(t);
    running.at_barrier[warp_of(t)] |= 1u << lane_of(t);
    open_if_complete(id);
    if (b.came)
        suspend(what, id);
    else
        let_others_run();
}

void barrier_all() {
    come_to(0, 0, "__syncthreads");
}

void barrier_some(int id, int count) {
    if (id < 0 || id >= (int)barriers)
        die("there is no barrier %d; they are 0 to 15", id);
    if (count <= 0 || count % (int)warp_lanes || (unsigned)count > running.warps * warp_lanes)
        die("a barrier for %d threads; accepted is a multiple of 32, at most the block's %u", count,
            running.threads);
    come_to((unsigned)id, (unsigned)count, "bar.sync");
}

/* ---- the life of a thread */

static void end_thread() {
    thread &t = *running.current;
    cp_async_thread_ends(t);
    wgmma_thread_ends(t);
    check_no_collective_waits("the end of the kernel");
    t.ended = true;
    clear_runnable(t);
    running.live--;
    running.live_lanes[warp_of(t)] &= ~(1u << lane_of(t));
    for (unsigned i = 0; i < barriers; i++)
        if (bars[i].came && !bars[i].wanted)
            open_if_complete(i);
    hand_over();
    abort(); /* an ended thread is never chosen */
}

static void run_thread() {
    fiber_entered();
    running.kernel->body();
    end_thread();
}

/* ---- memory of a block */

/* Ends at a page that nobody may touch. */
static unsigned char *shared_end() {
    static unsigned char *end;
    if (!end) {
        const size_t bytes = 256 * 1024, page = (size_t)sysconf(_SC_PAGESIZE);
        auto *p = (unsigned char *)mmap(nullptr, bytes + page, PROT_READ | PROT_WRITE,
                                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED || mprotect(p + bytes, page, PROT_NONE))
            abort();
        end = p + bytes;
    }
    return end;
}

/* The thread-locals of the file that holds the kernel: its `__shared__` arrays. */
struct thread_local_range {
    const unsigned char *holds;
    unsigned char *begin, *end;
};

static int find_thread_locals(dl_phdr_info *info, size_t, void *argument) {
    auto *range = (thread_local_range *)argument;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        auto *begin = (unsigned char *)info->dlpi_tls_data;
        if (info->dlpi_phdr[i].p_type != PT_TLS || !begin || range->holds < begin ||
            range->holds >= begin + info->dlpi_phdr[i].p_memsz)
            continue;
        range->begin = begin;
        range->end = begin + info->dlpi_phdr[i].p_memsz;
        return 1;
    }
    return 0;
}

static void lay_out_shared(const call &c) {
    thread_local_range range = {c.thread_locals(), nullptr, nullptr};
    if (!dl_iterate_phdr(find_thread_locals, &range))
        die("the thread-locals of the kernel's file are not found");
    running.statics = range.begin;
    running.statics_end = range.end;
    running.dynamic = shared_end() - (c.shared + 1023) / 1024 * 1024;
    running.dynamic_end = running.dynamic + c.shared;
}

unsigned char *dynamic_shared() {
    return running.dynamic;
}

void check_shared(const void *p, size_t bytes, size_t alignment, const char *what) {
    auto *at = (const unsigned char *)p;
    if (!(at >= running.dynamic && at + bytes <= running.dynamic_end) &&
        !(at >= running.statics && at + bytes <= running.statics_end))
        die("%s: %zu bytes at %p are not the block's shared memory (dynamic: %p to %p)", what, bytes, p,
            (void *)running.dynamic, (void *)running.dynamic_end);
    if ((uintptr_t)p % alignment)
        die("%s: the shared address %p is not a multiple of %zu", what, p, alignment);
}

/* ---- blocks */

static void begin_block(unsigned linear) {
    const dim3 grid = running.kernel->grid, block = running.kernel->block;
    blockIdx = {linear % grid.x, linear / grid.x % grid.y, linear / grid.x / grid.y};
    running.live = running.threads;
    running.runnable_warps = 0;
    running.current = nullptr;
    running.policy = random_below(policies);
    std::iota(running.order, running.order + running.warps, 0u);
    for (unsigned w = running.warps; w-- > 1;)
        std::swap(running.order[w], running.order[random_below(w + 1)]);
    for (unsigned r = 0; r < running.warps; r++)
        running.rank[running.order[r]] = r;
    memset(running.live_lanes, 0, sizeof running.live_lanes);
    memset(running.runnable, 0, sizeof running.runnable);
    memset(running.at_barrier, 0, sizeof running.at_barrier);
    memset(bars, 0, sizeof bars);
    for (unsigned i = 0; i < running.threads; i++) {
        thread &t = threads[i];
        t.number = i;
        t.index = {i % block.x, i / block.x % block.y, i / block.x / block.y};
        t.ended = false;
        t.waits_for = nullptr;
        fiber_prepare(t.stack, fiber_stack(i), run_thread);
        running.live_lanes[warp_of(t)] |= 1u << lane_of(t);
        set_runnable(t);
    }
    fill_garbage(running.statics, (size_t)(running.statics_end - running.statics));
    fill_garbage(running.dynamic, (size_t)(shared_end() - running.dynamic));
    warp_block_begins();
    mbarrier_block_begins();
    wgmma_block_begins();
}

static void end_block() {
    running.current = nullptr;
    tma_block_ends();
    wgmma_block_ends();
    mbarrier_block_ends();
    for (unsigned i = 0; i < barriers; i++)
        if (bars[i].came)
            die("the block ended while threads wait at barrier %u", i);
    std::unique_ptr<unsigned char[]> untouched(new unsigned char[1024]);
    const size_t slack = (size_t)(shared_end() - running.dynamic_end);
    const size_t phase = (size_t)(running.dynamic_end - running.dynamic) % sizeof garbage;
    fill_garbage(untouched.get(), 1024);
    if (memcmp(running.dynamic_end, untouched.get() + phase, slack))
        die("written beyond the %zu bytes of dynamic shared memory", running.kernel->shared);
}

void run_kernel(const call &c, uint64_t number) {
    const unsigned blocks = c.grid.x * c.grid.y * c.grid.z;
    running.kernel = &c;
    running.threads = c.block.x * c.block.y * c.block.z;
    running.warps = (running.threads + warp_lanes - 1) / warp_lanes;
    blockDim = c.block;
    gridDim = c.grid;
    catch_faults();
    lay_out_shared(c);
    std::vector<unsigned> order(blocks);
    std::iota(order.begin(), order.end(), 0u);
    seed_random(number);
    for (unsigned i = blocks; i-- > 1;)
        std::swap(order[i], order[random_below(i + 1)]);
    for (const unsigned linear : order) {
        begin_block(linear);
        running.current = &choose();
        threadIdx = running.current->index;
        fiber_switch(running.scheduler, running.current->stack);
        end_block();
    }
    running.kernel = nullptr;
}

[[noreturn]] void trap() {
    die("__trap()");
}

long long clock() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

} // namespace emulator
