/* device.cpp - the emulated device's properties, versions and errors.
 *
 * Environment:
 *   LIMOE_TEST_EMULATED_DEVICES      how many devices there are (default 1)
 *   LIMOE_TEST_EMULATED_SM           80 or 90 (default), the compute capability
 *   LIMOE_TEST_EMULATED_MEMORY       bytes of memory of each device (default 4 GiB)
 *   LIMOE_TEST_EMULATED_OPEN         1: the host may touch device memory (memory.cpp)
 *   LIMOE_TEST_EMULATED_SEED         of all random orders (default 1)
 *   LIMOE_TEST_EMULATED_LATE         1: nothing on a stream is done before someone waits for it (stream.cpp)
 *   LIMOE_TEST_EMULATED_FAIL_LAUNCH  n: the n-th kernel launched fails with cudaErrorIllegalAddress, and
 *                                    so does all after
 */
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <unordered_map>

#include "tests/emulator/cuda.h"
#include "tests/emulator/runtime.h"

namespace emulator {

static std::atomic<bool> broken;
static thread_local cudaError_t last_error;
static thread_local int current_device;

constexpr size_t shared_default = 48 * 1024, shared_most = 227 * 1024, shared_of_processor = 228 * 1024;
constexpr int processors = 3, threads_of_processor = 2048;

uint64_t setting(const char *name, uint64_t otherwise) {
    const char *value = getenv(name);
    return value && *value ? strtoull(value, nullptr, 10) : otherwise;
}

cudaError_t result(cudaError_t e) {
    if (e == cudaSuccess && broken)
        e = cudaErrorIllegalAddress;
    if (e != cudaSuccess && e != cudaErrorNotReady)
        last_error = e;
    return e;
}

bool launch_is_to_fail(uint64_t number) {
    return number == setting("LIMOE_TEST_EMULATED_FAIL_LAUNCH", 0);
}

void break_context() {
    broken = true;
}

bool context_is_broken() {
    return broken;
}

/* ---- attributes of kernels */

static std::mutex kernels_lock;
static std::unordered_map<const void *, size_t> most_shared;

static size_t shared_allowed(const void *kernel) {
    std::lock_guard<std::mutex> guard(kernels_lock);
    const auto found = most_shared.find(kernel);
    return found == most_shared.end() || found->second < shared_default ? shared_default : found->second;
}

static cudaError_t check_launch(const call &c) {
    const uint64_t threads = (uint64_t)c.block.x * c.block.y * c.block.z;
    if (!c.kernel)
        return cudaErrorInvalidDeviceFunction;
    if (!threads || threads > max_threads || c.block.z > 64 || !c.grid.x || !c.grid.y || !c.grid.z ||
        c.grid.x > 0x7fffffffu || c.grid.y > 65535 || c.grid.z > 65535)
        return cudaErrorInvalidConfiguration;
    return c.shared > shared_allowed(c.kernel) ? cudaErrorInvalidValue : cudaSuccess;
}

static void check_arguments(const call &c) {
    for (const uint64_t word : c.words)
        if (is_pageable(word))
            die("%s is given the address 0x%llx of ordinary host memory", function_name(c.kernel),
                (unsigned long long)word);
}

void queue(cudaStream_t stream, call c) {
    const uint64_t number = number_of_launch();
    const cudaError_t e = check_launch(c);
    if (e != cudaSuccess || context_is_broken()) {
        result(e);
        return;
    }
    check_arguments(c);
    auto kept = std::make_shared<call>(std::move(c));
    result(queue_task(stream, [kept, number] {
        if (launch_is_to_fail(number))
            break_context();
        if (!context_is_broken())
            run_kernel(*kept, number);
        return true;
    }));
}

} // namespace emulator

using namespace emulator;

/* ---- devices */

static int devices() {
    return (int)setting("LIMOE_TEST_EMULATED_DEVICES", 1);
}

cudaError_t cudaGetDeviceCount(int *count) {
    *count = devices();
    return result(*count ? cudaSuccess : cudaErrorNoDevice);
}

static cudaError_t check_device(int device) {
    return devices() == 0                      ? cudaErrorNoDevice
           : device < 0 || device >= devices() ? cudaErrorInvalidDevice
                                               : cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
    const cudaError_t e = check_device(device);
    if (e == cudaSuccess)
        current_device = device;
    return result(e);
}

cudaError_t cudaInitDevice(int device, unsigned int, unsigned int) {
    return result(check_device(device));
}

cudaError_t cudaGetDevice(int *device) {
    *device = current_device;
    return result(check_device(current_device));
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int device) {
    if (check_device(device) != cudaSuccess)
        return result(check_device(device));
    const int sm = (int)setting("LIMOE_TEST_EMULATED_SM", 90);
    *p = {};
    snprintf(p->name, sizeof p->name, "emulated");
    p->totalGlobalMem = setting("LIMOE_TEST_EMULATED_MEMORY", UINT64_C(4) << 30);
    p->sharedMemPerBlock = shared_default;
    p->regsPerBlock = p->regsPerMultiprocessor = 65536;
    p->warpSize = 32;
    p->maxThreadsPerBlock = p->maxThreadsDim[0] = p->maxThreadsDim[1] = max_threads;
    p->maxThreadsDim[2] = 64;
    p->maxGridSize[0] = 0x7fffffff;
    p->maxGridSize[1] = p->maxGridSize[2] = 65535;
    p->major = sm / 10;
    p->minor = sm % 10;
    p->multiProcessorCount = processors;
    p->pciBusID = device + 1;
    p->unifiedAddressing = 1;
    p->l2CacheSize = 50 << 20;
    p->maxThreadsPerMultiProcessor = threads_of_processor;
    p->sharedMemPerMultiprocessor = shared_of_processor;
    p->sharedMemPerBlockOptin = shared_most;
    p->reservedSharedMemPerBlock = 1024;
    p->memoryPoolsSupported = 1;
    return result(cudaSuccess);
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device) {
    cudaDeviceProp p;
    const cudaError_t e = cudaGetDeviceProperties(&p, device);
    if (e != cudaSuccess)
        return e;
    switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
    case cudaDevAttrMaxBlockDimX:
    case cudaDevAttrMaxBlockDimY:
        *value = p.maxThreadsPerBlock;
        break;
    case cudaDevAttrMaxBlockDimZ:
        *value = p.maxThreadsDim[2];
        break;
    case cudaDevAttrMaxGridDimX:
        *value = p.maxGridSize[0];
        break;
    case cudaDevAttrMaxGridDimY:
    case cudaDevAttrMaxGridDimZ:
        *value = p.maxGridSize[1];
        break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
        *value = (int)p.sharedMemPerBlock;
        break;
    case cudaDevAttrWarpSize:
        *value = p.warpSize;
        break;
    case cudaDevAttrMaxRegistersPerBlock:
    case cudaDevAttrMaxRegistersPerMultiprocessor:
        *value = p.regsPerBlock;
        break;
    case cudaDevAttrMultiProcessorCount:
        *value = p.multiProcessorCount;
        break;
    case cudaDevAttrL2CacheSize:
        *value = p.l2CacheSize;
        break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
        *value = p.maxThreadsPerMultiProcessor;
        break;
    case cudaDevAttrUnifiedAddressing:
    case cudaDevAttrMemoryPoolsSupported:
        *value = 1;
        break;
    case cudaDevAttrComputeCapabilityMajor:
        *value = p.major;
        break;
    case cudaDevAttrComputeCapabilityMinor:
        *value = p.minor;
        break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
        *value = (int)p.sharedMemPerMultiprocessor;
        break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        *value = (int)p.sharedMemPerBlockOptin;
        break;
    case cudaDevAttrReservedSharedMemoryPerBlock:
        *value = (int)p.reservedSharedMemPerBlock;
        break;
    default:
        return result(cudaErrorInvalidValue);
    }
    return result(cudaSuccess);
}

cudaError_t cudaDeviceGetPCIBusId(char *id, int length, int device) {
    if (check_device(device) != cudaSuccess)
        return result(check_device(device));
    return result(snprintf(id, (size_t)length, "0000:%02X:00.0", device + 1) < length
                      ? cudaSuccess
                      : cudaErrorInvalidValue);
}

cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest) {
    *least = 0;
    *greatest = -5;
    return result(cudaSuccess);
}

cudaError_t cudaDriverGetVersion(int *version) {
    *version = devices() ? CUDA_VERSION : 0;
    return result(cudaSuccess);
}

cudaError_t cudaRuntimeGetVersion(int *version) {
    *version = CUDART_VERSION;
    return result(cudaSuccess);
}

cudaError_t cudaGetDriverEntryPointByVersion(const char *symbol, void **function, unsigned int version,
                                             unsigned long long, cudaDriverEntryPointQueryResult *status) {
    const bool known = !strcmp(symbol, "cuTensorMapEncodeTiled");
    const bool old_enough = version >= 12000;
    *function = known && old_enough ? (void *)cuTensorMapEncodeTiled : nullptr;
    if (status)
        *status = !known        ? cudaDriverEntryPointSymbolNotFound
                  : !old_enough ? cudaDriverEntryPointVersionNotSufficent
                                : cudaDriverEntryPointSuccess;
    return result(cudaSuccess);
}

cudaError_t cudaGetDriverEntryPoint(const char *symbol, void **function, unsigned long long flags,
                                    cudaDriverEntryPointQueryResult *status) {
    return cudaGetDriverEntryPointByVersion(symbol, function, CUDA_VERSION, flags, status);
}

/* ---- kernels */

cudaError_t cudaFuncSetAttribute(const void *kernel, cudaFuncAttribute attribute, int value) {
    if (!kernel)
        return result(cudaErrorInvalidDeviceFunction);
    if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout)
        return result(value < -1 || value > 100 ? cudaErrorInvalidValue : cudaSuccess);
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 || (size_t)value > shared_most)
        return result(cudaErrorInvalidValue);
    std::lock_guard<std::mutex> guard(kernels_lock);
    most_shared[kernel] = (size_t)value;
    return result(cudaSuccess);
}

/* As if a kernel's registers never were the limit. */
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const void *kernel, int threads,
                                                          size_t shared) {
    if (!kernel || threads <= 0 || threads > (int)max_threads)
        return result(cudaErrorInvalidValue);
    const int by_shared = shared > shared_allowed(kernel) ? 0 : (int)(shared_of_processor / (shared + 1024));
    const int by_threads = threads_of_processor / threads;
    *blocks = by_shared < by_threads ? by_shared : by_threads;
    if (*blocks > 32)
        *blocks = 32;
    return result(cudaSuccess);
}

/* ---- errors */

cudaError_t cudaGetLastError(void) {
    const cudaError_t e = cudaPeekAtLastError();
    last_error = cudaSuccess;
    return e;
}

cudaError_t cudaPeekAtLastError(void) {
    return context_is_broken() ? cudaErrorIllegalAddress : last_error;
}

static const struct {
    cudaError_t error;
    const char *name, *text;
} errors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInvalidPitchValue, "cudaErrorInvalidPitchValue", "invalid pitch argument"},
    {cudaErrorInvalidMemcpyDirection, "cudaErrorInvalidMemcpyDirection", "invalid copy direction for memcpy"},
    {cudaErrorInvalidDeviceFunction, "cudaErrorInvalidDeviceFunction", "invalid device function"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {cudaErrorHostMemoryAlreadyRegistered, "cudaErrorHostMemoryAlreadyRegistered",
     "part or all of the requested memory range is already mapped"},
    {cudaErrorHostMemoryNotRegistered, "cudaErrorHostMemoryNotRegistered",
     "pointer does not correspond to a registered memory region"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {cudaErrorStreamCaptureMerge, "cudaErrorStreamCaptureMerge",
     "operation would result in a merge of separate capture sequences"},
    {cudaErrorStreamCaptureUnmatched, "cudaErrorStreamCaptureUnmatched",
     "capture was not ended in the same stream"},
    {cudaErrorStreamCaptureUnjoined, "cudaErrorStreamCaptureUnjoined", "capturing stream has unjoined work"},
    {cudaErrorStreamCaptureIsolation, "cudaErrorStreamCaptureIsolation",
     "dependency created on uncaptured work in another stream"},
    {cudaErrorStreamCaptureImplicit, "cudaErrorStreamCaptureImplicit",
     "operation would make the legacy stream depend on a capturing blocking stream"},
    {cudaErrorCapturedEvent, "cudaErrorCapturedEvent",
     "operation not permitted on an event last recorded in a "
     "capturing stream"},
};

const char *cudaGetErrorName(cudaError_t error) {
    for (const auto &e : errors)
        if (e.error == error)
            return e.name;
    return "unrecognized error code";
}

const char *cudaGetErrorString(cudaError_t error) {
    for (const auto &e : errors)
        if (e.error == error)
            return e.text;
    return "unrecognized error code";
}
