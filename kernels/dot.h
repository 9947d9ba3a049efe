/* dot.h - one vector against many. */
#ifndef LIMOE_KERNELS_DOT_H
#define LIMOE_KERNELS_DOT_H

#include <stddef.h>
#include <stdint.h>

/* cosine[i] = a · rows[i], for a [width] and rows [n, width]. Each is the sum, in double, of eight
 * interleaved partial sums that are added in order; rounded to float at the end. So its bits depend on the
 * two vectors alone, not on n or the processor. */
void dot_rows(const float *a, const float *rows, size_t n, size_t width, float *cosine);

/* sum[i] = a · rows[i], for a [width] and rows [n, width] in 8 bits; width is a multiple of DOT_INT8_STEP. No sum may pass 31 bits,
 * nor a value of a 15. */
#define DOT_INT8_STEP 16u
void dot_rows_int8(const int16_t *a, const int8_t *rows, size_t n, size_t width, int32_t *sum);

#endif
