/* finite.h - whether what was computed are numbers. */
#ifndef LIMOE_MODEL_FORWARD_FINITE_H
#define LIMOE_MODEL_FORWARD_FINITE_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>

static inline bool all_finite(const float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

#endif
