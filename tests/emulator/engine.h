/* engine.h - what the parts of the emulator share: the running block, its warps and threads, waiting,
 * failing.
 *
 * One system thread (stream.cpp) runs one kernel at a time, block after block (block.cpp), so there is one
 * running block, and all that is declared here belongs to that system thread. A violation of CUDA's rules
 * ends the process with a message (die): nothing that a kernel does wrong may pass.
 */
#ifndef LIMOE_TESTS_EMULATOR_ENGINE_H
#define LIMOE_TESTS_EMULATOR_ENGINE_H

#include <cstdint>
#include <deque>
#include <vector>

#include "cuda_runtime.h"
#include "kernels/cuda/device/launch.cuh"
#include "tests/emulator/fiber.h"

namespace emulator {

constexpr unsigned warp_lanes = 32, max_threads = 1024, max_warps = max_threads / warp_lanes;
constexpr unsigned barriers = 16; /* bar.sync 0 to 15 */

/* Every 32 bits and both their halves are NaN, as float32 and as bfloat16. */
constexpr uint32_t garbage = 0xffa5ffa5u;
void fill_garbage(void *p, size_t bytes);

/* ---- the threads of a block */

/* A copy that cp.async has begun. */
struct async_copy {
    unsigned char *to;
    const unsigned char *from;
    unsigned bytes;
    bool valid;
};

struct thread {
    fiber stack;
    uint3 index;
    unsigned number; /* in the block; its lane is number % 32 */
    bool ended;
    const char *waits_for; /* nullptr while it may run */
    uint64_t detail;       /* of the wait, for the report: an address, a barrier's number, a mask */
    /* cp_async.cpp */
    std::vector<async_copy> open;
    std::deque<std::vector<async_copy>> groups;
    void *operand; /* of the collective operation that it has come to (warp.cpp) */
};

struct block {
    const call *kernel;
    unsigned threads, warps;
    unsigned live; /* threads that have not ended */
    uint32_t live_lanes[max_warps];
    uint32_t at_barrier[max_warps]; /* lanes that wait at one of bar.sync's barriers */
    uint32_t runnable[max_warps];   /* lanes that may run */
    uint32_t runnable_warps;        /* warps with such lanes, by rank: bit r stands for warp order[r] */
    unsigned order[max_warps], rank[max_warps];
    unsigned policy; /* how the next thread is chosen; see block.cpp */
    thread *current;
    unsigned char *dynamic, *dynamic_end; /* dynamic shared memory */
    unsigned char *statics, *statics_end; /* thread-locals: `__shared__` arrays */
    fiber scheduler;
};

extern block running;
thread &thread_at(unsigned number);
inline unsigned lane_of(const thread &t) {
    return t.number % warp_lanes;
}
inline unsigned warp_of(const thread &t) {
    return t.number / warp_lanes;
}

/* ---- waiting (block.cpp) */

/* Runs other threads until someone wakes the current one. */
void suspend(const char *waits_for, uint64_t detail);
void wake(thread &t);
/* The current thread stays runnable, and some runnable thread goes on. */
void let_others_run();

void run_kernel(const call &c, uint64_t number);

/* ---- warps (warp.cpp) */

/* Waits until every lane of `mask` has come to the same operation; the last one applies `all` to their
 * operands (those of other lanes are null), then all go on. */
void collect(const char *operation, uint32_t mask, void *operand,
             void (*all)(void *const operand[warp_lanes]));
/* The current thread comes to a barrier of the block, or ends: no lane of its warp may be waiting for it. */
void check_no_collective_waits(const char *what);
void warp_block_begins();

/* ---- random numbers, the same for the same LIMOE_TEST_EMULATED_SEED */
void seed_random(uint64_t stream);
uint32_t random_below(uint32_t n);

/* ---- shared memory */

/* Dies unless the bytes are shared memory of the block with that alignment. */
void check_shared(const void *p, size_t bytes, size_t alignment, const char *what);

/* ---- what the other parts do at the edges of a block */
void cp_async_thread_ends(thread &t);
void mbarrier_block_begins();
void mbarrier_block_ends();
void tma_block_ends();
/* Nothing can run: performs one copy that is due. False if there is none. */
bool tma_do_one(bool waited_for_only);
void tma_maybe_do_one();
void wgmma_block_begins();
void wgmma_thread_ends(thread &t);
void wgmma_block_ends();
/* Whether a product in flight reads any of these bytes of shared memory. */
bool wgmma_reads(const unsigned char *p, size_t bytes);
void mbarrier_complete(uint64_t *bar, uint32_t bytes);
bool mbarrier_has_waiters(const uint64_t *bar);
void mbarrier_check_usable(uint64_t *bar, const char *what);

/* ---- failing (fault.cpp) */
[[noreturn]] void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The function's name, from the symbol table of the file that holds it. */
const char *function_name(const void *function);
/* Tells the calling system thread's faults from others'. */
void run_kernels_here();
/* Called again and again, since others (test libraries) set handlers too. */
void catch_faults();

/* ---- settings from the environment (device.cpp) */
uint64_t setting(const char *name, uint64_t otherwise);

/* ---- memory (memory.cpp) */
/* What lies, or lay, at the address; false if nothing that the device has given. */
bool describe_allocation(const void *p, char *text, size_t size);

} // namespace emulator
#endif
