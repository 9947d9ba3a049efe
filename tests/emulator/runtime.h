/* runtime.h - what the parts of the emulated runtime API share: memory, tasks on streams, errors.
 *
 * Host threads queue tasks; one system thread runs them (stream.cpp). NCCL's emulation queues through here
 * too.
 */
#ifndef LIMOE_TESTS_EMULATOR_RUNTIME_H
#define LIMOE_TESTS_EMULATOR_RUNTIME_H

#include <functional>
#include <memory>

#include "tests/emulator/engine.h"

namespace emulator {

/* ---- errors (device.cpp) */

/* Keeps the error for cudaGetLastError() and gives it back. Once a fault was injected,
 * every call has that. */
cudaError_t result(cudaError_t e);
/* LIMOE_TEST_EMULATED_FAIL_LAUNCH=n: the n-th kernel of the process fails as one that broke
 * the device's context. */
bool launch_is_to_fail(uint64_t number);
void break_context();
bool context_is_broken();

/* ---- memory (memory.cpp) */

enum class memory { unknown, device, pinned };
/* What the bytes are: all in one allocation, or unknown. */
memory kind_of(const void *p, size_t bytes);
void *device_alloc(size_t bytes);
/* False: no such allocation. Dies if what lies around it was written. */
bool device_free(void *p);
/* Lets the process touch device memory, while there is work, or forbids it. */
void open_device_memory(bool open);
/* Ordinary memory of the host that is mapped: not for kernels. */
bool is_pageable(uint64_t address);

/* ---- tasks (stream.cpp) */

/* Called by the thread that runs kernels until it says true; must not block. */
using task = std::function<bool()>;

/* Queues the task, or adds it to the graph that the stream is captured into. */
cudaError_t queue_task(cudaStream_t stream, task t);
/* A task that could not go on may be able to now. */
void kick_streams();
/* Counts the process's launches, from 1. */
uint64_t number_of_launch();
/* Whether the calls that may not be made during a capture are refused to this thread now. */
bool capture_forbids();
bool is_capturing(cudaStream_t stream);

} // namespace emulator
#endif
