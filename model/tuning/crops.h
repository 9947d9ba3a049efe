/* crops.h - augmentation: a random crop, mirrored where the classes allow it, in other colours and tones; as
 * train/fewshot/crops.py has it. A pure function, of any thread. */
#ifndef LIMOE_MODEL_TUNING_CROPS_H
#define LIMOE_MODEL_TUNING_CROPS_H

#include <stdbool.h>
#include <stdint.h>

/* Numbers in [0, 1) that a picture takes: 0 to 3 area, aspect, left, top of the crop; 4 the mirror; 5 grey or not;
 * 6 saturation, 7 contrast, 8 brightness. */
enum { CROPS_DRAWS = 9 };

/* RGB from[side, side, 3] to to[size, size, 3]. */
void crops_augment(const uint8_t *from, uint32_t side, uint32_t size, bool flip, const float u[CROPS_DRAWS],
                   uint8_t *to);

#endif
