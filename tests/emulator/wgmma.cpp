/* wgmma.cpp - wgmma.mma_async.m64nNk16 over a warpgroup of four warps, both operands in shared memory.
 *
 * The operands are read, and the accumulators written, by the wait that makes their group due, warp by warp:
 * a tile freed too early shows. Until then the accumulators are garbage, which must still be there at the
 * next instruction: a register touched while in flight is an error. All four warps must issue the same
 * products; a wait lasts until they have. wgmma.fence is asked for before accumulators that are not in flight
 * are first used.
 */
#include <algorithm>

#include "kernels/cuda/device/ptx.cuh"
#include "tests/emulator/engine.h"

namespace emulator {

struct product {
    unsigned columns;
    uint64_t a, b;
    float *d[warp_lanes];
};

/* Registers in flight: their values, while the registers themselves hold garbage. */
struct accumulators {
    float *d;
    std::vector<float> value;
};

struct warp_products {
    std::vector<product> open;
    std::deque<std::vector<product>> groups;
    std::vector<accumulators> of_lane[warp_lanes];
    bool fenced;
    uint64_t issued;
    uint32_t registers; /* as setmaxnreg last set them; 0 if never */
};

/* What a warpgroup has issued, for the warps to be compared. */
struct history {
    std::vector<product> all;
};

static warp_products warps[max_warps];
static history groups_of_block[max_warps / 4];

/* ---- descriptors */

/* A matrix of rows of 128 swizzled bytes, 8 rows every `stride` bytes, from `start` in dynamic shared memory
 * on. */
struct tile {
    unsigned char *start;
    uint64_t stride;
};

uint64_t wgmma_descriptor(const void *shared) {
    auto *at = (const unsigned char *)shared;
    if (at < running.dynamic || at >= running.dynamic_end)
        die("wgmma: %p is not in dynamic shared memory", shared);
    return (uint64_t)(at - running.dynamic) >> 4 | UINT64_C(1) << 16 | UINT64_C(64) << 32 | UINT64_C(1) << 62;
}

static tile decode(uint64_t descriptor, unsigned rows, const char *operand) {
    const uint64_t start = (descriptor & 0x3fff) << 4, stride = (descriptor >> 32 & 0x3fff) << 4;
    if (descriptor >> 62 != 1)
        die("wgmma: operand %s has layout %u; emulated is 1, the 128-byte swizzle", operand,
            (unsigned)(descriptor >> 62));
    if (descriptor >> 49 & 7)
        die("wgmma: operand %s has a base offset of %u; emulated is 0", operand,
            (unsigned)(descriptor >> 49 & 7));
    if (start % 1024 >= 128 || start % 32)
        die("wgmma: operand %s starts 0x%llx into shared memory; accepted are multiples of 1024 advanced by "
            "0, 32, 64 "
            "or 96",
            operand, (unsigned long long)start);
    if (stride % 1024 || !stride)
        die("wgmma: operand %s has 8 rows every %llu bytes; accepted are multiples of 1024", operand,
            (unsigned long long)stride);
    const tile t = {running.dynamic + start, stride};
    check_shared(t.start - start % 1024, (rows / 8 - 1) * stride + 1024, 1024, "wgmma");
    return t;
}

/* Row r, columns k to k + 15 of the step at the tile's start. */
static void read_row(const tile &t, unsigned r, float out[16]) {
    const unsigned char *row = t.start + r / 8 * t.stride + r % 8 * 128;
    for (unsigned k = 0; k < 16; k++) {
        auto address = (uintptr_t)(row + 2 * k);
        address ^= (address >> 7 & 7) << 4;
        uint16_t bits;
        memcpy(&bits, (const void *)address, sizeof bits);
        out[k] = __uint_as_float((uint32_t)bits << 16);
    }
}

static bool tile_overlaps(uint64_t descriptor, unsigned rows, const unsigned char *p, size_t bytes) {
    const tile t = decode(descriptor, rows, "in flight");
    const unsigned char *low = t.start - (t.start - running.dynamic) % 1024;
    for (unsigned i = 0; i < rows / 8; i++, low += t.stride)
        if (low < p + bytes && p < low + 1024)
            return true;
    return false;
}

static bool reads(const product &x, const unsigned char *p, size_t bytes) {
    return tile_overlaps(x.a, 64, p, bytes) || tile_overlaps(x.b, x.columns, p, bytes);
}

bool wgmma_reads(const unsigned char *p, size_t bytes) {
    for (unsigned w = 0; w < running.warps; w++) {
        for (const product &x : warps[w].open)
            if (reads(x, p, bytes))
                return true;
        for (const auto &group : warps[w].groups)
            for (const product &x : group)
                if (reads(x, p, bytes))
                    return true;
    }
    return false;
}

/* ---- registers in flight */

static bool untouched(const accumulators &a) {
    for (size_t i = 0; i < a.value.size(); i++)
        if (__float_as_uint(a.d[i]) != garbage)
            return false;
    return true;
}

static void check_untouched(const warp_products &w) {
    for (unsigned l = 0; l < warp_lanes; l++)
        for (const accumulators &a : w.of_lane[l])
            if (!untouched(a))
                die("wgmma: lane %u's accumulators at %p were written while in flight", l, (void *)a.d);
}

static accumulators *find(std::vector<accumulators> &all, const float *d) {
    for (accumulators &a : all)
        if (a.d == d)
            return &a;
    return nullptr;
}

static void take_registers(warp_products &w, unsigned l, float *d, unsigned count) {
    if (const accumulators *a = find(w.of_lane[l], d)) {
        if (a->value.size() != count)
            die("wgmma: accumulators in flight are used with another number of columns");
        return;
    }
    for (const accumulators &a : w.of_lane[l])
        if (d < a.d + a.value.size() && a.d < d + count)
            die("wgmma: accumulators overlap others in flight");
    if (!w.fenced)
        die("wgmma: no wgmma_fence() since the accumulators were last the thread's own");
    w.of_lane[l].push_back({d, std::vector<float>(d, d + count)});
    fill_garbage(d, count * sizeof *d);
}

static bool in_flight(const warp_products &w, unsigned l, const float *d) {
    auto uses = [&](const product &x) { return x.d[l] == d; };
    for (const auto &group : w.groups)
        if (std::any_of(group.begin(), group.end(), uses))
            return true;
    return std::any_of(w.open.begin(), w.open.end(), uses);
}

static void give_registers_back(warp_products &w) {
    for (unsigned l = 0; l < warp_lanes; l++)
        for (size_t i = 0; i < w.of_lane[l].size();) {
            accumulators &a = w.of_lane[l][i];
            if (in_flight(w, l, a.d)) {
                i++;
                continue;
            }
            memcpy(a.d, a.value.data(), a.value.size() * sizeof *a.d);
            w.of_lane[l].erase(w.of_lane[l].begin() + (ptrdiff_t)i);
            w.fenced = false;
        }
}

/* ---- issuing */

static warp_products &mine() {
    return warps[warp_of(*running.current)];
}

static unsigned group_of(const thread &t) {
    return warp_of(t) / 4;
}

struct issue_operand {
    unsigned columns;
    float *d;
    uint64_t a, b;
};

static void check_same_as_others(const product &x) {
    std::vector<product> &all = groups_of_block[group_of(*running.current)].all;
    warp_products &w = mine();
    if (w.issued == all.size()) {
        all.push_back(x);
    } else {
        const product &other = all[w.issued];
        if (other.columns != x.columns || other.a != x.a || other.b != x.b)
            die("wgmma: the warps of a warpgroup differ in product %llu: n%u a 0x%llx b 0x%llx and n%u a "
                "0x%llx b "
                "0x%llx",
                (unsigned long long)w.issued, other.columns, (unsigned long long)other.a,
                (unsigned long long)other.b, x.columns, (unsigned long long)x.a, (unsigned long long)x.b);
    }
    w.issued++;
}

/* Warps that wait for this one to issue look again. */
static void wake_peers() {
    const unsigned first = group_of(*running.current) * 4 * warp_lanes;
    for (unsigned i = first; i < first + 4 * warp_lanes; i++) {
        thread &t = thread_at(i);
        if (!t.ended && t.waits_for && !strcmp(t.waits_for, "the warpgroup's other warps"))
            wake(t);
    }
}

static void issue(void *const *lanes) {
    const issue_operand first = *(const issue_operand *)lanes[0];
    warp_products &w = mine();
    product x = {first.columns, first.a, first.b, {}};
    check_untouched(w);
    for (unsigned l = 0; l < warp_lanes; l++) {
        const auto *o = (const issue_operand *)lanes[l];
        if (o->columns != first.columns || o->a != first.a || o->b != first.b)
            die("wgmma: lane %u has other descriptors or columns than lane 0", l);
        take_registers(w, l, o->d, first.columns / 2);
        x.d[l] = o->d;
    }
    decode(x.a, 64, "A");
    decode(x.b, x.columns, "B");
    check_same_as_others(x);
    w.open.push_back(x);
    wake_peers();
}

static void check_warpgroup(const char *what) {
    if (group_of(*running.current) * 4 + 4 > running.warps || running.threads % warp_lanes)
        die("%s: the block of %u threads ends within this warpgroup of 128", what, running.threads);
}

void wgmma(unsigned columns, float *d, uint64_t a, uint64_t b) {
    check_warpgroup("wgmma");
    issue_operand self = {columns, d, a, b};
    collect("wgmma.mma_async", 0xffffffffu, &self, issue);
}

void wgmma_fence() {
    check_warpgroup("wgmma.fence");
    collect("wgmma.fence", 0xffffffffu, nullptr, [](void *const *) { mine().fenced = true; });
}

void wgmma_commit() {
    check_warpgroup("wgmma.commit_group");
    collect("wgmma.commit_group", 0xffffffffu, nullptr, [](void *const *) {
        warp_products &w = mine();
        w.groups.emplace_back();
        w.groups.back().swap(w.open);
    });
}

/* ---- waiting */

/* The warp's 16 rows of one product; float32, k ascending. */
static void multiply(warp_products &w, unsigned warp_in_group, const product &x) {
    const tile a = decode(x.a, 64, "A"), b = decode(x.b, x.columns, "B");
    float row[16], by_k[16][16]; /* A transposed, so that the sums of 16 rows advance together */
    for (unsigned r = 0; r < 16; r++) {
        read_row(a, 16 * warp_in_group + r, row);
        for (unsigned k = 0; k < 16; k++)
            by_k[k][r] = row[k];
    }
    accumulators *to[warp_lanes];
    for (unsigned l = 0; l < warp_lanes; l++)
        to[l] = find(w.of_lane[l], x.d[l]);
    for (unsigned n = 0; n < x.columns; n++) {
        float column[16], sum[16];
        read_row(b, n, column);
        float *d[16];
        for (unsigned r = 0; r < 16; r++) {
            d[r] = &to[r % 8 * 4 + n % 8 / 2]->value[n / 8 * 4 + r / 8 * 2 + n % 2];
            sum[r] = *d[r];
        }
        for (unsigned k = 0; k < 16; k++)
            for (unsigned r = 0; r < 16; r++)
                sum[r] += by_k[k][r] * column[k];
        for (unsigned r = 0; r < 16; r++)
            *d[r] = sum[r];
    }
}

static void finish_groups(unsigned left) {
    warp_products &w = mine();
    check_untouched(w);
    while (w.groups.size() > left) {
        for (const product &x : w.groups.front())
            multiply(w, warp_of(*running.current) % 4, x);
        w.groups.pop_front();
    }
    give_registers_back(w);
}

/* The products of all groups but the latest `left` were issued by all four warps. */
static bool others_have_issued(unsigned left) {
    const warp_products &w = mine();
    uint64_t needed = w.issued - w.open.size();
    for (size_t i = w.groups.size(); i-- > (w.groups.size() > left ? w.groups.size() - left : 0);)
        needed -= w.groups[i].size();
    const unsigned first = group_of(*running.current) * 4;
    for (unsigned i = first; i < first + 4; i++)
        if (warps[i].issued < needed)
            return false;
    return true;
}

void wgmma_wait(unsigned groups) {
    check_warpgroup("wgmma.wait_group");
    while (!others_have_issued(groups))
        suspend("the warpgroup's other warps", warp_of(*running.current));
    unsigned self = groups;
    collect("wgmma.wait_group", 0xffffffffu, &self, [](void *const *lanes) {
        for (unsigned l = 0; l < warp_lanes; l++)
            if (*(const unsigned *)lanes[l] != *(const unsigned *)lanes[0])
                die("wgmma.wait_group: lane %u waits for another number of groups than lane 0", l);
        finish_groups(*(const unsigned *)lanes[0]);
    });
}

/* ---- setmaxnreg */

void set_registers(unsigned count, bool more) {
    check_warpgroup("setmaxnreg");
    unsigned self = count;
    collect(more ? "setmaxnreg.inc" : "setmaxnreg.dec", 0xffffffffu, &self, [](void *const *lanes) {
        for (unsigned l = 0; l < warp_lanes; l++)
            if (*(const unsigned *)lanes[l] != *(const unsigned *)lanes[0])
                die("setmaxnreg: lane %u asks for another number than lane 0", l);
        mine().registers = *(const unsigned *)lanes[0];
    });
}

/* All warps of a warpgroup must have set the same; what warpgroups have taken must fit the processor's
 * registers. */
static void check_registers() {
    unsigned total = 0;
    for (unsigned w = 0; w < running.warps; w++) {
        if (warps[w].registers != warps[w / 4 * 4].registers)
            die("setmaxnreg: warps %u and %u of a warpgroup set %u and %u", w / 4 * 4, w,
                warps[w / 4 * 4].registers, warps[w].registers);
        total += warps[w].registers * warp_lanes;
    }
    if (total > 65536)
        die("setmaxnreg: the warpgroups took %u registers of 65536", total);
}

/* ---- the edges of a block */

void wgmma_block_begins() {
    for (unsigned i = 0; i < running.warps; i++)
        warps[i] = {};
    for (history &h : groups_of_block)
        h.all.clear();
}

void wgmma_thread_ends(thread &t) {
    const warp_products &w = warps[warp_of(t)];
    size_t left = w.open.size();
    for (const auto &group : w.groups)
        left += group.size();
    if (left)
        die("the thread ends with %zu products of wgmma that it never waited for", left);
}

void wgmma_block_ends() {
    for (unsigned w = 0; w < running.warps; w++)
        if (warps[w].issued != groups_of_block[w / 4].all.size())
            die("wgmma: warp %u issued %llu products, its warpgroup %zu", w,
                (unsigned long long)warps[w].issued, groups_of_block[w / 4].all.size());
    check_registers();
}

} // namespace emulator
