/* support.h - what the tests of the emulator share: kernels run, memory of the device, children that must
 * die. */
#ifndef LIMOE_TESTS_EMULATOR_TESTS_SUPPORT_H
#define LIMOE_TESTS_EMULATOR_TESTS_SUPPORT_H

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

extern "C" {
#include <cmocka.h>
}

#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/device/ptx.cuh"

/* The function, run in a forked child, must end it with a message that has `says` in it. */
void assert_dies(void (*function)(), const char *says);

void set_seed(unsigned seed);

/* Launches, waits, and asserts that both went well. */
template <typename... P, typename... A>
void run(void (*kernel)(P...), unsigned blocks, dim3 threads, size_t shared, A... arguments) {
    if (shared > 48 * 1024)
        assert_int_equal(
            cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared), 0);
    launch(nullptr, kernel, dim3(blocks), threads, shared, arguments...);
    assert_int_equal(cudaGetLastError(), cudaSuccess);
    assert_int_equal(cudaDeviceSynchronize(), cudaSuccess);
}

/* n elements on the device; tests read and write them directly where no copy is the subject. */
template <typename T> T *device(size_t n) {
    T *p = nullptr;
    assert_int_equal(cudaMalloc(&p, n * sizeof(T)), cudaSuccess);
    return p;
}

template <typename T> T *device(const std::vector<T> &host) {
    T *p = device<T>(host.size());
    assert_int_equal(cudaMemcpy(p, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice),
                     cudaSuccess);
    return p;
}

/* Small multiples of a quarter, which sums of products keep exactly. */
float some_float(size_t i);
uint16_t bf16_of(float x);

#endif
