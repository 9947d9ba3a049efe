/* convolve_choose.c - chooses an instruction set at run time. No state, no threads. */
#include "model/image/convolve.h"

const struct convolve *convolve_at(size_t i) {
#if defined(__x86_64__)
    if (i == 1)
        return __builtin_cpu_supports("avx2") ? &convolve_avx2 : NULL;
#endif
    return i == 0 ? &convolve_generic : NULL;
}

const struct convolve *convolve_choose(void) {
    const struct convolve *best = convolve_at(1);
    return best ? best : convolve_at(0);
}
