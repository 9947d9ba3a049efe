/* mbarrier.cpp - mbarriers: phases that end when enough arrivals and enough bytes have come.
 *
 * The state lies here; the word in shared memory holds a mark alone, by which an overwritten or never
 * initialised barrier is noticed. A phase is complete when no arrival is pending and the bytes expected
 * (tx-count) have come; the next one then has all arrivals pending again. wait(parity) passes once the
 * current phase's parity is another.
 */
#include "kernels/cuda/device/ptx.cuh"
#include "tests/emulator/engine.h"

namespace emulator {

struct mbarrier {
    uint64_t *word;
    uint32_t count, pending;
    int64_t bytes; /* expected less come; may be negative for a while */
    uint32_t phase;
    const thread *maker;
    bool fenced;
    std::vector<std::pair<thread *, uint32_t>> waiters; /* with the parity each waits for */
};

static std::vector<mbarrier> made;

constexpr int64_t most_bytes = (1 << 20) - 1;
constexpr uint32_t most_count = (1 << 20) - 1;

static uint64_t mark(const uint64_t *word) {
    return (uintptr_t)word * 0x9e3779b97f4a7c15u ^ 0x6d62617272696572u;
}

static mbarrier *find(const uint64_t *word) {
    for (mbarrier &b : made)
        if (b.word == word)
            return &b;
    return nullptr;
}

static mbarrier &get(uint64_t *word, const char *what) {
    check_shared(word, sizeof *word, sizeof *word, what);
    mbarrier *b = find(word);
    if (!b)
        die("%s: there is no mbarrier at %p: not initialised, or not before this thread came here", what,
            (void *)word);
    if (*word != mark(word))
        die("%s: the mbarrier at %p was overwritten", what, (void *)word);
    if (!b->fenced && running.current && b->maker != running.current)
        die("%s: the mbarrier at %p is used by another thread than made it, before barrier_init_fence()",
            what, (void *)word);
    return *b;
}

void mbarrier_check_usable(uint64_t *bar, const char *what) {
    if (!get(bar, what).fenced)
        die("%s: no barrier_init_fence() since the mbarrier at %p was initialised", what, (void *)bar);
}

void mbarrier_init(uint64_t *word, uint32_t count) {
    check_shared(word, sizeof *word, sizeof *word, "mbarrier.init");
    if (!count || count > most_count)
        die("mbarrier.init: a count of %u; accepted is 1 to %u", count, most_count);
    if (find(word))
        die("mbarrier.init: there is an mbarrier at %p already", (void *)word);
    made.push_back({word, count, count, 0, 0, running.current, false, {}});
    *word = mark(word);
}

void mbarrier_init_fence() {
    for (mbarrier &b : made)
        if (b.maker == running.current)
            b.fenced = true;
}

static void end_phase_if_complete(mbarrier &b) {
    if (b.pending || b.bytes)
        return;
    b.phase++;
    b.pending = b.count;
    for (size_t i = 0; i < b.waiters.size();)
        if (b.waiters[i].second != (b.phase & 1)) {
            wake(*b.waiters[i].first);
            b.waiters[i] = b.waiters.back();
            b.waiters.pop_back();
        } else {
            i++;
        }
}

void mbarrier_arrive(uint64_t *word, uint32_t bytes) {
    mbarrier &b = get(word, "mbarrier.arrive");
    if (!b.pending)
        die("mbarrier.arrive: one more than the %u arrivals of phase %u at %p, whose bytes have not come",
            b.count, b.phase, (void *)word);
    b.bytes += bytes;
    if (b.bytes > most_bytes)
        die("mbarrier.arrive: %lld bytes expected at %p; the limit is %lld", (long long)b.bytes, (void *)word,
            (long long)most_bytes);
    b.pending--;
    end_phase_if_complete(b);
}

void mbarrier_complete(uint64_t *word, uint32_t bytes) {
    mbarrier &b = get(word, "a tensor copy");
    b.bytes -= bytes;
    if (b.bytes < -most_bytes)
        die("%lld bytes more than expected came to the mbarrier at %p", (long long)-b.bytes, (void *)word);
    end_phase_if_complete(b);
}

bool mbarrier_has_waiters(const uint64_t *word) {
    const mbarrier *b = find(word);
    return b && !b->waiters.empty();
}

void mbarrier_wait(uint64_t *word, uint32_t parity) {
    if (parity > 1)
        die("mbarrier.try_wait: a parity of %u; accepted are 0 and 1", parity);
    tma_maybe_do_one();
    mbarrier &b = get(word, "mbarrier.try_wait");
    if ((b.phase & 1) != parity) {
        if (!random_below(4))
            let_others_run();
        return;
    }
    b.waiters.push_back({running.current, parity});
    suspend(parity ? "an mbarrier, parity 1" : "an mbarrier, parity 0", (uintptr_t)word);
}

void mbarrier_block_begins() {
    made.clear();
}

void mbarrier_block_ends() {
    for (const mbarrier &b : made) {
        if (*b.word != mark(b.word))
            die("the mbarrier at %p was overwritten", (void *)b.word);
        if (b.bytes)
            die("the block ended with %lld bytes still expected at the mbarrier at %p, phase %u",
                (long long)b.bytes, (void *)b.word, b.phase);
    }
}

} // namespace emulator
