/* memory.cpp - device and pinned memory.
 *
 * Device memory is ordinary memory between pages that nobody may touch, placed so that it ends (rounded up to
 * 256 bytes) where they begin; it is garbage at first, the rounding is checked when it is freed, and freed
 * memory stays forbidden for long. Kernels are checked by the processor, the host's own accesses are not.
 */
#include <algorithm>
#include <cstdio>
#include <deque>
#include <map>
#include <mutex>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/emulator/runtime.h"

namespace emulator {

struct allocation {
    size_t bytes;
    memory kind;
    unsigned char *mapped; /* of device memory and cudaHostAlloc's */
    size_t mapped_bytes;
};

struct forgotten {
    unsigned char *at;
    size_t bytes;
};

static std::mutex lock;
static std::map<uintptr_t, allocation> allocations;
static std::deque<forgotten> freed;
static size_t used;
static bool opened; /* device memory may be touched */

constexpr size_t granule = 256, most_freed = 4096;

static size_t round_up(size_t n, size_t to) {
    return (n + to - 1) / to * to;
}

/* The allocation that holds the address, or the end of the map. */
static std::map<uintptr_t, allocation>::iterator holder_of(uintptr_t address) {
    auto next = allocations.upper_bound(address);
    if (next == allocations.begin())
        return allocations.end();
    --next;
    return address < next->first + next->second.bytes ? next : allocations.end();
}

memory kind_of(const void *p, size_t bytes) {
    std::lock_guard<std::mutex> guard(lock);
    const auto a = holder_of((uintptr_t)p);
    if (a == allocations.end() || (uintptr_t)p + bytes > a->first + a->second.bytes)
        return memory::unknown;
    return a->second.kind;
}

static void protect(const allocation &a, int protection) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (mprotect(a.mapped + page, a.mapped_bytes - 2 * page, protection))
        die("no more can be mapped");
}

static bool is_closed(memory kind) {
    return kind == memory::device && !opened && !setting("LIMOE_TEST_EMULATED_OPEN", 0);
}

void open_device_memory(bool open) {
    std::lock_guard<std::mutex> guard(lock);
    if (opened == open || setting("LIMOE_TEST_EMULATED_OPEN", 0))
        return;
    opened = open;
    catch_faults();
    for (const auto &a : allocations)
        if (a.second.kind == memory::device)
            protect(a.second, open ? PROT_READ | PROT_WRITE : PROT_NONE);
}

static void *map_between_guards(size_t bytes, memory kind) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = round_up(bytes, page) + 2 * page;
    void *p = mmap(nullptr, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return nullptr;
    auto *mapped = (unsigned char *)p;
    if (mprotect(mapped + page, whole - 2 * page, PROT_READ | PROT_WRITE)) {
        munmap(mapped, whole);
        return nullptr;
    }
    unsigned char *at = mapped + whole - page - round_up(bytes, granule);
    fill_garbage(mapped + page, whole - 2 * page);
    allocations[(uintptr_t)at] = {bytes, kind, mapped, whole};
    if (is_closed(kind))
        protect(allocations[(uintptr_t)at], PROT_NONE);
    return at;
}

void *device_alloc(size_t bytes) {
    std::lock_guard<std::mutex> guard(lock);
    if (bytes > setting("LIMOE_TEST_EMULATED_MEMORY", UINT64_C(4) << 30) - used)
        return nullptr;
    void *p = map_between_guards(bytes, memory::device);
    if (p)
        used += bytes;
    return p;
}

static void check_surroundings(const unsigned char *at, const allocation &a) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char expected[sizeof garbage];
    fill_garbage(expected, sizeof expected);
    const unsigned char *first = a.mapped + page, *end = a.mapped + a.mapped_bytes - page;
    for (const unsigned char *p = first; p < at; p++)
        if (*p != expected[(size_t)(p - first) % sizeof expected])
            die("%zu bytes before an allocation of %zu bytes were written", (size_t)(at - p), a.bytes);
    for (const unsigned char *p = at + a.bytes; p < end; p++)
        if (*p != expected[(size_t)(p - first) % sizeof expected])
            die("byte %zu of an allocation of %zu bytes was written", (size_t)(p - at), a.bytes);
}

static bool release(void *p, memory kind) {
    std::lock_guard<std::mutex> guard(lock);
    const auto a = allocations.find((uintptr_t)p);
    if (a == allocations.end() || a->second.kind != kind || !a->second.mapped)
        return false;
    if (is_closed(kind))
        protect(a->second, PROT_READ);
    check_surroundings((const unsigned char *)p, a->second);
    mmap(a->second.mapped, a->second.mapped_bytes, PROT_NONE,
         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    freed.push_back({a->second.mapped, a->second.mapped_bytes});
    if (freed.size() > most_freed) {
        munmap(freed.front().at, freed.front().bytes);
        freed.pop_front();
    }
    if (kind == memory::device)
        used -= a->second.bytes;
    allocations.erase(a);
    return true;
}

bool device_free(void *p) {
    return release(p, memory::device);
}

bool is_pageable(uint64_t address) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char present;
    if (address < UINT64_C(0x500000000000) ||
        address >> 48) /* programs and mappings lie above, packed numbers below */
        return false;
    {
        std::lock_guard<std::mutex> guard(lock);
        if (holder_of(address) != allocations.end() || holder_of(address - 1) != allocations.end())
            return false; /* one beyond the end is a pointer's business too */
    }
    if (mincore((void *)(address / page * page), page, &present))
        return false;
    std::lock_guard<std::mutex> guard(lock);
    return std::none_of(freed.begin(), freed.end(), [&](const forgotten &f) {
        return address >= (uintptr_t)f.at &&
               address < (uintptr_t)f.at + f.bytes; /* forbidden in another way */
    });
}

/* For a message: takes no lock, since it is called where the holder of it may have stopped. */
bool describe_allocation(const void *p, char *text, size_t size) {
    const auto address = (uintptr_t)p;
    for (const auto &a : allocations)
        if (a.second.mapped && p >= (void *)a.second.mapped &&
            p < (void *)(a.second.mapped + a.second.mapped_bytes)) {
            const long long offset = (long long)(address - a.first);
            snprintf(text, size, "byte %lld of an allocation of %zu bytes", offset, a.second.bytes);
            return true;
        }
    for (const forgotten &f : freed)
        if (p >= (void *)f.at && p < (void *)(f.at + f.bytes)) {
            snprintf(text, size, "memory that was freed");
            return true;
        }
    if (p >= (void *)running.dynamic_end && address < (uintptr_t)running.dynamic_end + 65536)
        snprintf(text, size, "byte %lld of %lld bytes of dynamic shared memory",
                 (long long)(address - (uintptr_t)running.dynamic),
                 (long long)(running.dynamic_end - running.dynamic));
    else
        snprintf(text, size, "no allocation");
    return false;
}

} // namespace emulator

using namespace emulator;

/* ---- the API */

cudaError_t cudaMalloc(void **p, size_t bytes) {
    *p = nullptr;
    if (capture_forbids())
        return result(cudaErrorStreamCaptureUnsupported);
    if (context_is_broken() || !bytes)
        return result(cudaSuccess);
    *p = device_alloc(bytes);
    return result(*p ? cudaSuccess : cudaErrorMemoryAllocation);
}

/* As on a device, waits for all work first. */
cudaError_t cudaFree(void *p) {
    if (capture_forbids())
        return result(cudaErrorStreamCaptureUnsupported);
    const cudaError_t e = cudaDeviceSynchronize();
    if (p && !device_free(p))
        return result(cudaErrorInvalidValue);
    return e;
}

cudaError_t cudaMallocAsync(void **p, size_t bytes, cudaStream_t stream) {
    *p = nullptr;
    if (is_capturing(stream))
        return result(cudaErrorNotSupported);
    if (context_is_broken() || !bytes)
        return result(cudaSuccess);
    *p = device_alloc(bytes);
    if (!*p && cudaDeviceSynchronize() == cudaSuccess) /* what is to be freed on streams may be enough */
        *p = device_alloc(bytes);
    return result(*p ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t cudaFreeAsync(void *p, cudaStream_t stream) {
    if (is_capturing(stream))
        return result(cudaErrorNotSupported);
    if (p && kind_of(p, 0) != memory::device)
        return result(cudaErrorInvalidValue);
    return result(p ? queue_task(stream,
                                 [p] {
                                     if (!device_free(p))
                                         die("cudaFreeAsync: %p is no allocation any more", p);
                                     return true;
                                 })
                    : cudaSuccess);
}

cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned int flags) {
    *p = nullptr;
    if (capture_forbids())
        return result(cudaErrorStreamCaptureUnsupported);
    if (flags & ~(cudaHostAllocPortable | cudaHostAllocMapped | cudaHostAllocWriteCombined))
        return result(cudaErrorInvalidValue);
    std::lock_guard<std::mutex> guard(lock);
    if (bytes)
        *p = map_between_guards(bytes, memory::pinned);
    return result(*p || !bytes ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t cudaMallocHost(void **p, size_t bytes) {
    return cudaHostAlloc(p, bytes, cudaHostAllocDefault);
}

cudaError_t cudaFreeHost(void *p) {
    if (capture_forbids())
        return result(cudaErrorStreamCaptureUnsupported);
    const cudaError_t e = cudaDeviceSynchronize();
    return !p || release(p, memory::pinned) ? e : result(cudaErrorInvalidValue);
}

cudaError_t cudaHostRegister(void *p, size_t bytes, unsigned int flags) {
    if (!p || !bytes ||
        (flags & ~(cudaHostRegisterPortable | cudaHostRegisterMapped | cudaHostRegisterReadOnly)))
        return result(cudaErrorInvalidValue);
    std::lock_guard<std::mutex> guard(lock);
    const auto first = (uintptr_t)p;
    const auto next = allocations.upper_bound(first);
    if (holder_of(first) != allocations.end() || (next != allocations.end() && next->first < first + bytes))
        return result(cudaErrorHostMemoryAlreadyRegistered);
    allocations[first] = {bytes, memory::pinned, nullptr, 0};
    return result(cudaSuccess);
}

cudaError_t cudaHostUnregister(void *p) {
    const cudaError_t e = cudaDeviceSynchronize();
    std::lock_guard<std::mutex> guard(lock);
    const auto a = allocations.find((uintptr_t)p);
    if (a == allocations.end() || a->second.kind != memory::pinned || a->second.mapped)
        return result(cudaErrorHostMemoryNotRegistered);
    allocations.erase(a);
    return e;
}

cudaError_t cudaMemGetInfo(size_t *free, size_t *total) {
    std::lock_guard<std::mutex> guard(lock);
    *total = setting("LIMOE_TEST_EMULATED_MEMORY", UINT64_C(4) << 30);
    *free = *total - used;
    return result(cudaSuccess);
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *attributes, const void *p) {
    const memory kind = kind_of(p, 0);
    *attributes = {};
    attributes->type = kind == memory::device   ? cudaMemoryTypeDevice
                       : kind == memory::pinned ? cudaMemoryTypeHost
                                                : cudaMemoryTypeUnregistered;
    attributes->devicePointer = kind == memory::unknown ? nullptr : (void *)p;
    attributes->hostPointer = kind == memory::device ? nullptr : (void *)p;
    return result(cudaSuccess);
}

/* ---- the pool of cudaMallocAsync: there is one, and it keeps nothing */

struct CUmemPoolHandle_st {
    int device;
};

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *pool, int) {
    static CUmemPoolHandle_st only;
    *pool = &only;
    return result(cudaSuccess);
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void *value) {
    return result(pool && value && attribute >= cudaMemPoolReuseFollowEventDependencies &&
                          attribute <= cudaMemPoolAttrReleaseThreshold
                      ? cudaSuccess
                      : cudaErrorInvalidValue);
}

cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, size_t) {
    return result(pool ? cudaSuccess : cudaErrorInvalidValue);
}
