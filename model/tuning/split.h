/* split.h - which pictures are held out, to judge by. Pure functions. */
#ifndef LIMOE_MODEL_TUNING_SPLIT_H
#define LIMOE_MODEL_TUNING_SPLIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A class with fewer pictures could spare none. */
enum { SPLIT_LEAST = 4 };

/* held[n] of pictures whose classes are label[n], below `classes`: of each class the same number, a fifth of the smallest
 * class' pictures, rounded to the nearest; none where a class has fewer than SPLIT_LEAST. Returns how many all together;
 * SIZE_MAX: no memory. */
size_t split_held_out(const uint32_t *label, size_t n, uint32_t classes, uint64_t seed, bool *held);

#endif
