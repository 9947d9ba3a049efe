/* inspect_ranks.h - limoe inspect --ranks: the table for people. */
#ifndef LIMOE_SERVER_COMMANDS_INSPECT_RANKS_H
#define LIMOE_SERVER_COMMANDS_INSPECT_RANKS_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "limoe.h"

/* What each rank holds and in how much memory, and how even a measured load would fall. False: no memory. */
bool inspect_ranks_print(const struct limoe_placement *ranks, struct arena *arena, struct buffer *out);

#endif
