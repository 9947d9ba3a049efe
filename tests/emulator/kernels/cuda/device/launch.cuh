/* launch.cuh - queueing a kernel, for the emulator; the twin of kernels/cuda/device/launch.cuh. */
#ifndef LIMOE_TESTS_EMULATOR_KERNELS_CUDA_DEVICE_LAUNCH_CUH
#define LIMOE_TESTS_EMULATOR_KERNELS_CUDA_DEVICE_LAUNCH_CUH

#include <functional>
#include <tuple>
#include <type_traits>
#include <vector>

#include <cuda_runtime.h>

namespace emulator {

/* One kernel with its arguments: what a launch queues and a captured graph keeps. */
struct call {
    const void *kernel;
    dim3 grid, block;
    size_t shared;
    std::function<void()> body;  /* runs the kernel as one thread */
    std::vector<uint64_t> words; /* of pointers and structures among the arguments, to be checked */
    unsigned char *(
        *thread_locals)(); /* an address among the thread-locals beside the kernel: `__shared__` */
};

/* What is wrong with the launch, if anything, is left for cudaGetLastError(). */
void queue(cudaStream_t stream, call c);

unsigned char *dynamic_shared();

/* One in each file, which stands for the library or program that it is linked into. */
static inline unsigned char *thread_locals() {
    static thread_local unsigned char anchor;
    return &anchor;
}

template <typename T> void add_words(std::vector<uint64_t> &words, T argument) {
#if __has_builtin(__builtin_clear_padding)
    if constexpr (std::is_class_v<T>)
        __builtin_clear_padding(&argument); /* what lies between members may look like anything */
#endif
    if constexpr (std::is_pointer_v<T> || std::is_class_v<T>)
        for (size_t i = 0; i + 8 <= sizeof argument; i += 8) {
            uint64_t word;
            memcpy(&word, (const unsigned char *)&argument + i, sizeof word);
            words.push_back(word);
        }
}

} // namespace emulator

/* Dynamic shared memory of the running block, 1024-byte aligned. */
inline unsigned char *dynamic_shared() {
    return emulator::dynamic_shared();
}

/* Queues kernel<<<grid, block, shared, stream>>>(arguments...); errors by cudaGetLastError(). */
template <typename... P, typename... A>
__attribute__((visibility("hidden"))) void launch(cudaStream_t stream, void (*kernel)(P...), dim3 grid,
                                                  dim3 block, size_t shared, A... arguments) {
    static_assert(sizeof...(P) == sizeof...(A), "the kernel takes another number of arguments");
    static_assert((std::is_trivially_copyable_v<P> && ...), "arguments of kernels are copied as bytes");
    std::tuple<P...> kept(static_cast<P>(arguments)...);
    std::vector<uint64_t> words;
    std::apply([&](const P &...p) { (emulator::add_words(words, p), ...); }, kept);
    emulator::queue(stream,
                    {(const void *)kernel, grid, block, shared, [kernel, kept] { std::apply(kernel, kept); },
                     std::move(words), emulator::thread_locals});
}

#endif
