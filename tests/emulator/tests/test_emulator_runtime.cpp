/* The emulated runtime API: memory, streams, events, graphs and errors, as CUDA says and late where it may
 * be. */
#include <cstdio>
#include <cstring>
#include <functional>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/emulator/tests/emulator_from_c.h"
#include "tests/emulator/tests/support.h"

/* Runs the function in a child with that in the environment; it says whether all was well. */
static void assert_holds_with(const char *name, const char *setting, bool (*function)()) {
    fflush(nullptr);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        setenv(name, setting, 1);
        _exit(function() ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static __global__ void fill(int *p, int value) {
    p[blockIdx.x * blockDim.x + threadIdx.x] = value;
}

static __global__ void copy(const int *from, int *to) {
    to[threadIdx.x] = from[threadIdx.x];
}

static bool all_are(const int *p, int value) {
    for (int i = 0; i < 64; i++)
        if (p[i] != value)
            return false;
    return true;
}

/* ---- the device */

static void the_device_is_described(void **) {
    cudaDeviceProp p;
    int n = 0, major = 0;
    assert_int_equal(cudaGetDeviceCount(&n), cudaSuccess);
    assert_int_equal(n, 1);
    assert_int_equal(cudaSetDevice(1), cudaErrorInvalidDevice);
    assert_int_equal(cudaGetLastError(), cudaErrorInvalidDevice);
    assert_int_equal(cudaGetLastError(), cudaSuccess);
    assert_int_equal(cudaGetDeviceProperties(&p, 0), cudaSuccess);
    assert_string_equal(p.name, "emulated");
    assert_true(p.major == 9 && p.minor == 0 && p.multiProcessorCount == 3 &&
                p.sharedMemPerBlockOptin == 227 * 1024);
    assert_int_equal(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0), cudaSuccess);
    assert_int_equal(major, 9);
    assert_string_equal(cudaGetErrorName(cudaErrorMemoryAllocation), "cudaErrorMemoryAllocation");
    assert_string_equal(cudaGetErrorString(cudaErrorMemoryAllocation), "out of memory");
    assert_holds_with("LIMOE_TEST_EMULATED_DEVICES", "0", [] {
        int count = 7;
        return cudaGetDeviceCount(&count) == cudaErrorNoDevice && count == 0 &&
               cudaSetDevice(0) == cudaErrorNoDevice;
    });
    assert_holds_with("LIMOE_TEST_EMULATED_SM", "80", [] {
        cudaDeviceProp older;
        return cudaGetDeviceProperties(&older, 0) == cudaSuccess && older.major == 8 && older.minor == 0;
    });
}

static void the_headers_are_c(void **) {
    assert_int_equal(numbers_there_and_back(1000), 1000);
    assert_true(tensor_map_from_c());
}

/* ---- memory */

static void memory_is_garbage_aligned_and_limited(void **) {
    uint32_t *p = device<uint32_t>(1001);
    assert_int_equal((uintptr_t)p % 256, 0);
    for (int i = 0; i < 1001; i++)
        assert_true(std::isnan(__uint_as_float(p[i])));
    cudaPointerAttributes a;
    assert_int_equal(cudaPointerGetAttributes(&a, p + 1000), cudaSuccess);
    assert_int_equal(a.type, cudaMemoryTypeDevice);
    assert_int_equal(cudaFree(p), cudaSuccess);
    assert_int_equal(cudaFree(p), cudaErrorInvalidValue);
    assert_int_equal(cudaFree(nullptr), cudaSuccess);
    cudaGetLastError();
    assert_holds_with("LIMOE_TEST_EMULATED_MEMORY", "100000", [] {
        void *a, *b;
        size_t left, all;
        return cudaMalloc(&a, 60000) == cudaSuccess && cudaMalloc(&b, 60000) == cudaErrorMemoryAllocation &&
               !b && cudaGetLastError() == cudaErrorMemoryAllocation &&
               cudaMemGetInfo(&left, &all) == cudaSuccess && left == 40000 && all == 100000 &&
               cudaFree(a) == cudaSuccess && cudaMalloc(&b, 60000) == cudaSuccess;
    });
}

static void memory_is_checked(void **) {
    assert_dies(
        [] {
            char *p = device<char>(100);
            p[100] = 1;
            cudaFree(p);
        },
        "byte 100 of an allocation of 100 bytes was written");
    assert_dies(
        [] {
            char *p = device<char>(100);
            p[-1] = 1;
            cudaFree(p);
        },
        "before an allocation");
    assert_dies(
        [] {
            int *p = device<int>(64);
            cudaFree(p);
            run(fill, 1, 64, 0, p, 1);
        },
        "memory that was freed");
    assert_dies(
        [] {
            int *p = device<int>(64), *stream_ordered = nullptr;
            cudaMallocAsync((void **)&stream_ordered, 256, nullptr);
            cudaFreeAsync(stream_ordered, nullptr);
            run(copy, 1, 64, 0, (const int *)stream_ordered, p);
        },
        "memory that was freed");
    assert_dies(
        [] {
            static int ordinary[64];
            run(fill, 1, 64, 0, (int *)ordinary, 1);
        },
        "fill(int*, int) is given the address");
    int *p = device<int>(64), host[64];
    assert_int_equal(cudaMemcpy(host, p, 257, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
    assert_int_equal(cudaMemcpy(p, host, 256, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
    assert_int_equal(cudaMemsetAsync(p, 0, 257, nullptr), cudaErrorInvalidValue);
    cudaGetLastError();
    cudaFree(p);
}

static void hosts_may_not_touch_device_memory(void **) {
    assert_dies(
        [] {
            setenv("LIMOE_TEST_EMULATED_OPEN", "0", 1);
            int *p = device<int>(64);
            run(fill, 1, 64, 0, p, 1);
            p[3] = 1;
        },
        "the host touches device memory");
    assert_dies(
        [] {
            setenv("LIMOE_TEST_EMULATED_OPEN", "0", 1);
            device<int>(64)[5] = 1;
        },
        "byte 20 of an allocation of 256 bytes");
    assert_holds_with("LIMOE_TEST_EMULATED_OPEN", "0", [] {
        int *p = device<int>(64), host[64];
        run(fill, 1, 64, 0, p, 1);
        return cudaMemcpy(host, p, 256, cudaMemcpyDeviceToHost) == cudaSuccess && all_are(host, 1) &&
               cudaFree(p) == cudaSuccess;
    });
}

struct padded {
    int *p;
    float x; /* and four bytes that nobody sets */
};

static __global__ void fill_padded(padded arguments) {
    arguments.p[threadIdx.x] = arguments.x > 0;
}

static void structures_may_hold_anything_but_addresses_of_the_host(void **) {
    static int ordinary[64];
    padded arguments;
    const auto half = (uint32_t)((uint64_t)(uintptr_t)ordinary >> 32);
    memset(&arguments, 0, sizeof arguments);
    memcpy((char *)&arguments + 12, &half, sizeof half);
    arguments.p = device<int>(64);
    arguments.x = __uint_as_float((uint32_t)(uintptr_t)ordinary);
    run(fill_padded, 1, 64, 0, arguments);
    cudaFree(arguments.p);
    assert_dies(
        [] {
            padded wrong = {ordinary, 1.0f};
            run(fill_padded, 1, 64, 0, wrong);
        },
        "is given the address");
}

static void pinned_memory_is_the_kernels_too(void **) {
    int *pinned = nullptr, registered[64];
    assert_int_equal(cudaHostAlloc((void **)&pinned, 256, cudaHostAllocMapped), cudaSuccess);
    run(fill, 1, 64, 0, pinned, 5);
    assert_int_equal(pinned[63], 5);
    assert_int_equal(cudaFreeHost(pinned), cudaSuccess);
    assert_int_equal(cudaHostRegister(registered, sizeof registered, cudaHostRegisterDefault), cudaSuccess);
    assert_int_equal(cudaHostRegister(registered, 4, cudaHostRegisterDefault),
                     cudaErrorHostMemoryAlreadyRegistered);
    assert_int_equal(cudaGetLastError(), cudaErrorHostMemoryAlreadyRegistered);
    run(fill, 1, 64, 0, (int *)registered, 6);
    assert_int_equal(registered[63], 6);
    assert_int_equal(cudaHostUnregister(registered), cudaSuccess);
    assert_int_equal(cudaHostUnregister(registered), cudaErrorHostMemoryNotRegistered);
    cudaGetLastError();
}

static void rectangles_are_copied(void **) {
    unsigned char host[4][10] = {}, back[4][7] = {};
    for (int i = 0; i < 40; i++)
        host[i / 10][i % 10] = (unsigned char)i;
    auto *p = device<unsigned char>(4 * 16);
    assert_int_equal(cudaMemcpy2DAsync(p, 16, host, 10, 5, 4, cudaMemcpyHostToDevice, nullptr), cudaSuccess);
    assert_int_equal(cudaMemcpy2DAsync(back, 7, p, 16, 5, 4, cudaMemcpyDeviceToHost, nullptr), cudaSuccess);
    for (int i = 0; i < 28; i++)
        assert_int_equal(back[i / 7][i % 7], i % 7 < 5 ? i / 7 * 10 + i % 7 : 0);
    assert_int_equal(cudaMemcpy2DAsync(p, 4, host, 10, 5, 4, cudaMemcpyHostToDevice, nullptr),
                     cudaErrorInvalidPitchValue);
    cudaGetLastError();
    cudaFree(p);
}

/* ---- launches */

static void launches_are_checked(void **) {
    int *p = device<int>(64);
    launch(nullptr, fill, dim3(0), dim3(64), 0, p, 1);
    assert_int_equal(cudaGetLastError(), cudaErrorInvalidConfiguration);
    launch(nullptr, fill, dim3(1), dim3(1025), 0, p, 1);
    assert_int_equal(cudaGetLastError(), cudaErrorInvalidConfiguration);
    launch(nullptr, fill, dim3(1), dim3(64), 48 * 1024 + 1, p, 1);
    assert_int_equal(cudaGetLastError(), cudaErrorInvalidValue);
    assert_int_equal(cudaFuncSetAttribute(fill, cudaFuncAttributeMaxDynamicSharedMemorySize, 228 * 1024),
                     cudaErrorInvalidValue);
    cudaGetLastError();
    run(fill, 1, 64, 227 * 1024, p, 1);
    int blocks = 0;
    assert_int_equal(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, fill, 256, 100 * 1024),
                     cudaSuccess);
    assert_int_equal(blocks, 2);
    launch((cudaStream_t)p, fill, dim3(1), dim3(64), 0, p, 1);
    assert_int_equal(cudaGetLastError(), cudaErrorInvalidResourceHandle);
    cudaFree(p);
}

static void a_broken_context_stays_broken(void **) {
    assert_holds_with("LIMOE_TEST_EMULATED_FAIL_LAUNCH", "2", [] {
        int *p = device<int>(64);
        for (int i = 1; i <= 2; i++)
            launch(nullptr, fill, dim3(1), dim3(64), 0, p, i);
        return cudaDeviceSynchronize() == cudaErrorIllegalAddress && all_are(p, 1) &&
               cudaGetLastError() == cudaErrorIllegalAddress &&
               cudaGetLastError() == cudaErrorIllegalAddress && cudaMalloc(&p, 4) == cudaErrorIllegalAddress;
    });
}

/* ---- streams and events */

struct two_streams {
    cudaStream_t a, b;
    cudaEvent_t event;
    int *p, *q, *back;
};

static two_streams make_streams() {
    two_streams s;
    cudaStreamCreateWithFlags(&s.a, cudaStreamNonBlocking);
    cudaStreamCreateWithPriority(&s.b, cudaStreamNonBlocking, -1);
    cudaEventCreateWithFlags(&s.event, cudaEventDisableTiming);
    s.p = device<int>(64);
    s.q = device<int>(64);
    cudaMallocHost(&s.back, 64 * sizeof(int));
    return s;
}

/* fill on one stream, copy and download on another, with or without the event between. */
static void cross_streams(const two_streams &s, bool with_event) {
    launch(s.a, fill, dim3(1), dim3(64), 0, s.p, 9);
    cudaEventRecord(s.event, s.a);
    if (with_event)
        cudaStreamWaitEvent(s.b, s.event);
    launch(s.b, copy, dim3(1), dim3(64), 0, (const int *)s.p, s.q);
    cudaMemcpyAsync(s.back, s.q, 256, cudaMemcpyDeviceToHost, s.b);
}

static void events_order_streams(void **) {
    const two_streams s = make_streams();
    assert_int_equal(cudaEventQuery(s.event), cudaSuccess); /* never recorded */
    cross_streams(s, true);
    assert_int_equal(cudaStreamSynchronize(s.b), cudaSuccess);
    assert_true(all_are(s.back, 9));
    assert_int_equal(cudaEventQuery(s.event), cudaSuccess);
    assert_int_equal(cudaEventSynchronize(s.event), cudaSuccess);
    assert_int_equal(cudaStreamQuery(s.a), cudaSuccess);
    assert_int_equal(cudaStreamDestroy(s.a), cudaSuccess);
    assert_int_equal(cudaStreamQuery(s.a), cudaErrorInvalidResourceHandle);
    cudaGetLastError();
    cudaEvent_t start, end;
    float ms = -1;
    cudaEventCreate(&start);
    cudaEventCreate(&end);
    cudaEventRecord(start, s.b);
    launch(s.b, fill, dim3(1), dim3(64), 0, s.p, 1);
    cudaEventRecord(end, s.b);
    assert_int_equal(cudaEventSynchronize(end), cudaSuccess);
    assert_int_equal(cudaEventElapsedTime(&ms, start, end), cudaSuccess);
    assert_true(ms > 0);
}

static void work_may_be_as_late_as_it_can(void **) {
    assert_holds_with("LIMOE_TEST_EMULATED_LATE", "1", [] {
        const two_streams s = make_streams();
        cross_streams(s, false);
        const bool unfinished = !all_are(s.back, 9) && cudaStreamQuery(s.b) == cudaErrorNotReady;
        cudaStreamSynchronize(s.b);
        const bool wrong = !all_are(s.back, 9); /* nobody asked for stream a */
        cross_streams(s, true);
        cudaStreamSynchronize(s.b);
        return unfinished && wrong && all_are(s.back, 9);
    });
}

static void the_default_stream_waits_for_blocking_streams(void **) {
    assert_holds_with("LIMOE_TEST_EMULATED_LATE", "1", [] {
        cudaStream_t blocking;
        cudaStreamCreate(&blocking);
        int *p = device<int>(64), *q = device<int>(64), host[64];
        launch(blocking, fill, dim3(1), dim3(64), 0, p, 3);
        launch(nullptr, copy, dim3(1), dim3(64), 0, (const int *)p, q);
        launch(blocking, fill, dim3(1), dim3(64), 0, p, 4);
        cudaMemcpy(host, q, 256, cudaMemcpyDeviceToHost);
        return all_are(host, 3) && all_are(p, 4);
    });
}

static void pinned_memory_is_read_late(void **) {
    assert_holds_with("LIMOE_TEST_EMULATED_LATE", "1", [] {
        const two_streams s = make_streams();
        int pageable[64];
        for (int i = 0; i < 64; i++)
            s.back[i] = pageable[i] = 1;
        cudaMemcpyAsync(s.p, s.back, 256, cudaMemcpyHostToDevice, s.a);
        cudaMemcpyAsync(s.q, pageable, 256, cudaMemcpyHostToDevice, s.a);
        for (int i = 0; i < 64; i++)
            s.back[i] = pageable[i] = 2;
        cudaStreamSynchronize(s.a);
        return all_are(s.p, 2) && all_are(s.q, 1);
    });
}

/* ---- graphs */

static void graphs_run_what_was_captured(void **) {
    const two_streams s = make_streams();
    cudaEvent_t back;
    cudaEventCreateWithFlags(&back, cudaEventDisableTiming);
    cudaMemset(s.p, 0, 256);
    assert_int_equal(cudaStreamBeginCapture(s.a, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    cross_streams(s, true);
    cudaEventRecord(back, s.b);
    cudaStreamWaitEvent(s.a, back);
    cudaStreamCaptureStatus status;
    assert_int_equal(cudaStreamIsCapturing(s.b, &status), cudaSuccess);
    assert_int_equal(status, cudaStreamCaptureStatusActive);
    assert_int_equal(cudaEventQuery(back), cudaErrorCapturedEvent);
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    assert_int_equal(cudaStreamEndCapture(s.a, &graph), cudaSuccess);
    assert_int_equal(cudaDeviceSynchronize(), cudaSuccess);
    assert_true(all_are(s.p, 0));
    assert_int_equal(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
    assert_int_equal(cudaGraphDestroy(graph), cudaSuccess);
    for (int i = 0; i < 5; i++) {
        cudaMemset(s.p, 0, 256);
        memset(s.back, 0, 256);
        assert_int_equal(cudaGraphLaunch(exec, s.a), cudaSuccess);
        assert_int_equal(cudaStreamSynchronize(s.a), cudaSuccess);
        assert_true(all_are(s.back, 9));
    }
    assert_int_equal(cudaGraphExecDestroy(exec), cudaSuccess);
}

static void captures_are_checked(void **) {
    const two_streams s = make_streams();
    cudaGraph_t graph;
    void *p;
    cudaStreamBeginCapture(s.a, cudaStreamCaptureModeThreadLocal);
    cross_streams(s, true); /* stream b is never joined */
    assert_int_equal(cudaStreamEndCapture(s.a, &graph), cudaErrorStreamCaptureUnjoined);
    assert_null(graph);
    cudaStreamBeginCapture(s.a, cudaStreamCaptureModeThreadLocal);
    assert_int_equal(cudaMalloc(&p, 16), cudaErrorStreamCaptureUnsupported);
    assert_int_equal(cudaStreamEndCapture(s.a, &graph), cudaErrorStreamCaptureInvalidated);
    cudaStreamBeginCapture(s.a, cudaStreamCaptureModeThreadLocal);
    assert_int_equal(cudaStreamSynchronize(s.a), cudaErrorStreamCaptureUnsupported);
    launch(s.a, fill, dim3(1), dim3(64), 0, s.p, 1);
    assert_int_equal(cudaGetLastError(), cudaErrorStreamCaptureInvalidated);
    assert_int_equal(cudaStreamEndCapture(s.a, &graph), cudaErrorStreamCaptureInvalidated);
    launch(s.b, fill, dim3(1), dim3(64), 0, s.p, 1);
    cudaEventRecord(s.event, s.b);
    cudaStreamBeginCapture(s.a, cudaStreamCaptureModeThreadLocal);
    assert_int_equal(cudaStreamWaitEvent(s.a, s.event), cudaErrorStreamCaptureIsolation);
    cudaStreamEndCapture(s.a, &graph);
    cudaGetLastError();
    assert_int_equal(cudaDeviceSynchronize(), cudaSuccess);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_device_is_described),
        cmocka_unit_test(the_headers_are_c),
        cmocka_unit_test(memory_is_garbage_aligned_and_limited),
        cmocka_unit_test(memory_is_checked),
        cmocka_unit_test(hosts_may_not_touch_device_memory),
        cmocka_unit_test(structures_may_hold_anything_but_addresses_of_the_host),
        cmocka_unit_test(pinned_memory_is_the_kernels_too),
        cmocka_unit_test(rectangles_are_copied),
        cmocka_unit_test(launches_are_checked),
        cmocka_unit_test(a_broken_context_stays_broken),
        cmocka_unit_test(events_order_streams),
        cmocka_unit_test(work_may_be_as_late_as_it_can),
        cmocka_unit_test(the_default_stream_waits_for_blocking_streams),
        cmocka_unit_test(pinned_memory_is_read_late),
        cmocka_unit_test(graphs_run_what_was_captured),
        cmocka_unit_test(captures_are_checked),
    };
    return cmocka_run_group_tests_name("emulator runtime", tests, nullptr, nullptr);
}
