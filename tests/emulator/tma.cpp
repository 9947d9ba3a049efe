/* tma.cpp - bulk tensor copies from global to shared memory (cp.async.bulk.tensor, tiled).
 *
 * A copy is done late: when all threads wait, or now and then when one polls; copies overtake each other. Its
 * destination is garbage from the instruction on, so a tile read before its mbarrier, or written while it is
 * still read, shows; a tile that a product in flight reads is refused outright.
 *
 * With the 128-byte swizzle, bits 4 to 6 of the shared address are those bits exclusive-or bits 7 to 9.
 */
#include "kernels/cuda/device/ptx.cuh"
#include "tests/emulator/engine.h"
#include "tests/emulator/tensor_map.h"

namespace emulator {

struct tensor_copy {
    tensor_map map;
    unsigned char *to;
    uint64_t *bar;
    int32_t at[5];
    uint32_t bytes;
};

static std::vector<tensor_copy> pending;

static tensor_map decode(const CUtensorMap *map) {
    tensor_map m;
    if ((uintptr_t)map % 64)
        die("a tensor map at %p, which is not a multiple of 64", (const void *)map);
    memcpy(&m, map, sizeof m);
    if (m.mark != tensor_map_mark)
        die("there is no tensor map at %p", (const void *)map);
    return m;
}

void tma_check(const CUtensorMap *map) {
    decode(map);
}

void tma_load(void *shared, const CUtensorMap *map, uint64_t *bar, unsigned rank, const int32_t *at) {
    tensor_copy c = {decode(map), (unsigned char *)shared, bar, {}, 0};
    if (c.map.rank != rank)
        die("a tensor copy of rank %u with a map of rank %u", rank, c.map.rank);
    c.bytes = c.map.element;
    for (unsigned i = 0; i < rank; i++) {
        c.bytes *= c.map.box[i];
        c.at[i] = at[i];
    }
    if (c.map.swizzled && c.map.box[0] * c.map.element != 128)
        die("the emulator swizzles rows of 128 bytes only, found %d", c.map.box[0] * c.map.element);
    check_shared(shared, c.bytes, c.map.swizzled ? 1024 : 128, "a tensor copy");
    mbarrier_check_usable(bar, "a tensor copy");
    for (const tensor_copy &p : pending)
        if (c.to < p.to + p.bytes && p.to < c.to + c.bytes)
            die("a tensor copy to %p while another to %p is in flight", shared, (void *)p.to);
    if (wgmma_reads(c.to, c.bytes))
        die("a tensor copy to %p, which a product in flight still reads", shared);
    fill_garbage(shared, c.bytes);
    pending.push_back(c);
    if (!random_below(8))
        let_others_run();
}

/* One row of the box, given its coordinates in dimensions 1 and up. */
static void copy_row(const tensor_copy &c, const uint32_t *in_box, unsigned char *to) {
    const tensor_map &m = c.map;
    const unsigned char *from = m.address;
    bool inside = true;
    for (unsigned i = 1; i < m.rank; i++) {
        const int64_t at = (int64_t)c.at[i] + in_box[i];
        inside = inside && at >= 0 && (uint64_t)at < m.size_of_dim[i];
        if (inside)
            from += (uint64_t)at * m.stride[i - 1];
    }
    for (unsigned e = 0; e < m.box[0]; e++) {
        const int64_t at = (int64_t)c.at[0] + e;
        auto address = (uintptr_t)(to + e * m.element);
        if (m.swizzled)
            address ^= (address >> 7 & 7) << 4;
        if (inside && at >= 0 && (uint64_t)at < m.size_of_dim[0])
            memcpy((void *)address, from + at * m.element, m.element);
        else
            memset((void *)address, 0, m.element);
    }
}

static void perform(const tensor_copy &c) {
    uint32_t in_box[5] = {};
    const unsigned row = c.map.box[0] * c.map.element;
    for (unsigned char *to = c.to; to < c.to + c.bytes; to += row) {
        copy_row(c, in_box, to);
        for (unsigned i = 1; i < c.map.rank && ++in_box[i] == c.map.box[i]; i++)
            in_box[i] = 0;
    }
    mbarrier_complete(c.bar, c.bytes);
}

bool tma_do_one(bool waited_for_only) {
    std::vector<size_t> due;
    for (size_t i = 0; i < pending.size(); i++)
        if (!waited_for_only || mbarrier_has_waiters(pending[i].bar))
            due.push_back(i);
    if (due.empty())
        return false;
    const size_t i = due[random_below((uint32_t)due.size())];
    const tensor_copy c = pending[i];
    pending[i] = pending.back();
    pending.pop_back();
    perform(c);
    return true;
}

void tma_maybe_do_one() {
    if (!pending.empty() && !random_below(16))
        tma_do_one(false);
}

void tma_block_ends() {
    if (!pending.empty())
        die("the block ended with %zu tensor copies in flight", pending.size());
}

} // namespace emulator
