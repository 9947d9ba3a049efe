/* pictures.h - PNG files for a load that brings none of its own: seeded, of mixed small sizes. */
#ifndef LIMOE_SERVER_COMMANDS_BENCH_PICTURES_H
#define LIMOE_SERVER_COMMANDS_BENCH_PICTURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/text.h"

/* The picture `index` of the seed: an encoded PNG in the arena. False: no memory. */
bool picture_make(uint64_t seed, size_t index, struct arena *arena, struct text *out);

#endif
