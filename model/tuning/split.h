/* split.h - which pictures are held out, to judge by. Pure functions. */
#ifndef LIMOE_MODEL_TUNING_SPLIT_H
#define LIMOE_MODEL_TUNING_SPLIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A class with fewer pictures could spare none. */
enum { SPLIT_LEAST = 4 };

/* held[n] of pictures whose classes are label[n], below `classes`: of each class that has pictures the same number, this share
 * (0 to 0.5) of the smallest class', rounded to the nearest, at least one; none where one has fewer than SPLIT_LEAST. Returns how many all
 * together; SIZE_MAX: no memory. */
size_t split_held_out(const uint32_t *label, size_t n, uint32_t classes, double share, uint64_t seed,
                      bool *held);

#endif
