/* linear_int8.c - 8-bit rows as kernels/int8.h has them, and their product with weights of 8 bits. */
#include "kernels/reference/reference.h"

struct int8_row reference_int8_row(const float *x, uint32_t in, uint8_t *q) {
    float low = 0, high = 0;
    bool finite = true;
    for (uint32_t i = 0; i < in; i++) {
        finite &= isfinite(x[i]) != 0;
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    struct int8_row row = int8_row_between(low, high, finite);
    for (uint32_t i = 0; i < in; i++) {
        float step = row.scale > 0 ? rintf(x[i] * (1 / row.scale)) + (float)row.zero : 0;
        q[i] = (uint8_t)(step < 255 ? step : 255);
    }
    return row;
}

float reference_int8_dot(const uint8_t *x, struct int8_row row, const int8_t *w, float scale, uint32_t in) {
    int32_t sum = 0;
    for (uint32_t i = 0; i < in; i++)
        sum += (x[i] - row.zero) * w[i];
    return (float)sum * row.scale * scale;
}
