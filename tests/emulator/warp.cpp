/* warp.cpp - what the lanes of a warp do together.
 *
 * A collective operation waits until all lanes that its mask names have come to the same one with the same
 * mask. A lane that has ended, waits at a barrier of the block, or is at another operation can never come:
 * that is an error, not a wait. A lane that waits for an mbarrier may still come.
 */
#include "tests/emulator/engine.h"

namespace emulator {

/* An operation that some of its lanes have come to. */
struct gathering {
    const char *operation;
    uint32_t mask, came;
};

static std::vector<gathering> gatherings[max_warps]; /* their masks are apart */

void warp_block_begins() {
    for (auto &g : gatherings)
        g.clear();
}

void check_no_collective_waits(const char *what) {
    const thread &self = *running.current;
    for (const gathering &g : gatherings[warp_of(self)])
        if (g.mask >> lane_of(self) & 1)
            die("comes to %s while lanes 0x%08x wait for it at %s with mask 0x%08x", what, g.came,
                g.operation, g.mask);
}

/* What the current lane takes part in: begun by others, or new. */
static gathering &come_to(const char *operation, uint32_t mask) {
    const thread &self = *running.current;
    const unsigned warp = warp_of(self);
    for (gathering &g : gatherings[warp]) {
        if (g.mask == mask && (g.operation == operation || !strcmp(g.operation, operation)))
            return g;
        if (g.mask & mask)
            die("%s with mask 0x%08x meets lanes 0x%08x at %s with mask 0x%08x", operation, mask, g.came,
                g.operation, g.mask);
    }
    if (mask & ~running.live_lanes[warp])
        die("%s: lanes 0x%08x of mask 0x%08x have ended or do not exist", operation,
            mask & ~running.live_lanes[warp], mask);
    if (mask & running.at_barrier[warp])
        die("%s with mask 0x%08x waits for lanes 0x%08x, which wait at a barrier of the block", operation,
            mask, mask & running.at_barrier[warp]);
    gatherings[warp].push_back({operation, mask, 0});
    return gatherings[warp].back();
}

void collect(const char *operation, uint32_t mask, void *operand,
             void (*all)(void *const operand[warp_lanes])) {
    thread &self = *running.current;
    const unsigned warp = warp_of(self);
    gathering &g = come_to(operation, mask);
    if (!(mask >> lane_of(self) & 1))
        die("%s: mask 0x%08x does not name the calling lane %u", operation, mask, lane_of(self));
    g.came |= 1u << lane_of(self);
    self.operand = operand;
    if (g.came != mask) {
        suspend(operation, mask);
        return;
    }
    gatherings[warp].erase(gatherings[warp].begin() + (&g - gatherings[warp].data()));
    void *operands[warp_lanes] = {};
    for (uint32_t lanes = mask; lanes; lanes &= lanes - 1) {
        const unsigned l = (unsigned)__builtin_ctz(lanes);
        operands[l] = thread_at(warp * warp_lanes + l).operand;
    }
    all(operands);
    for (uint32_t lanes = mask; lanes; lanes &= lanes - 1)
        wake(thread_at(warp * warp_lanes + (unsigned)__builtin_ctz(lanes)));
    let_others_run();
}

void warp_sync(uint32_t mask) {
    collect("__syncwarp", mask, nullptr, [](void *const *) {});
}

/* ---- shuffles */

struct shuffle_operand {
    shuffle kind;
    uint32_t value, result;
    int operand, width;
};

/* Where a lane reads from, as PTX's shfl computes it: within its segment, itself if that is outside. */
static unsigned shuffle_source(unsigned l, const shuffle_operand &o) {
    const int self = (int)l, width = o.width, first = self & -width, last = first + width - 1;
    int source = self;
    switch (o.kind) {
    case shuffle::index:
        source = first + (o.operand & (width - 1));
        break;
    case shuffle::up:
        source = self - o.operand < first ? self : self - o.operand;
        break;
    case shuffle::down:
        source = self + o.operand > last ? self : self + o.operand;
        break;
    case shuffle::butterfly:
        source = (self ^ o.operand) > last ? self : self ^ o.operand;
        break;
    }
    return (unsigned)source % warp_lanes;
}

uint32_t warp_shuffle(shuffle kind, uint32_t mask, uint32_t value, int operand, int width) {
    static const char *const name[] = {"__shfl_sync", "__shfl_up_sync", "__shfl_down_sync",
                                       "__shfl_xor_sync"};
    if (width < 1 || width > (int)warp_lanes || (width & (width - 1)))
        die("%s: a width of %d; accepted are powers of two up to 32", name[(int)kind], width);
    shuffle_operand self = {kind, value, 0, operand, width};
    collect(name[(int)kind], mask, &self, [](void *const *lanes) {
        for (unsigned l = 0; l < warp_lanes; l++) {
            auto *o = (shuffle_operand *)lanes[l];
            if (!o)
                continue;
            const unsigned source = shuffle_source(l, *o);
            if (!lanes[source])
                die("lane %u reads lane %u, which is not in the shuffle's mask", l, source);
            o->result = ((const shuffle_operand *)lanes[source])->value;
        }
    });
    return self.result;
}

/* ---- votes */

struct vote_operand {
    bool predicate;
    uint32_t result;
};

uint32_t warp_ballot(uint32_t mask, bool predicate) {
    vote_operand self = {predicate, 0};
    collect("a vote", mask, &self, [](void *const *lanes) {
        uint32_t result = 0;
        for (unsigned l = 0; l < warp_lanes; l++)
            if (lanes[l] && ((const vote_operand *)lanes[l])->predicate)
                result |= 1u << l;
        for (unsigned l = 0; l < warp_lanes; l++)
            if (lanes[l])
                ((vote_operand *)lanes[l])->result = result;
    });
    return self.result;
}

struct match_operand {
    uint64_t value;
    uint32_t result;
};

uint32_t warp_match(uint32_t mask, uint64_t value) {
    match_operand self = {value, 0};
    collect("__match_any_sync", mask, &self, [](void *const *lanes) {
        for (unsigned l = 0; l < warp_lanes; l++)
            for (unsigned m = 0; lanes[l] && m < warp_lanes; m++)
                if (lanes[m] &&
                    ((const match_operand *)lanes[m])->value == ((const match_operand *)lanes[l])->value)
                    ((match_operand *)lanes[l])->result |= 1u << m;
    });
    return self.result;
}

} // namespace emulator
