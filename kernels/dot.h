/* dot.h - one vector against many. */
#ifndef LIMOE_KERNELS_DOT_H
#define LIMOE_KERNELS_DOT_H

#include <stddef.h>

/* cosine[i] = a · rows[i], for a [width] and rows [n, width]. Each is the sum, in double, of eight
 * interleaved partial sums that are added in order; rounded to float at the end. So its bits depend on the
 * two vectors alone, not on n or the processor. */
void dot_rows(const float *a, const float *rows, size_t n, size_t width, float *cosine);

#endif
