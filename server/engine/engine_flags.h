/* engine_flags.h - the command line of `limoe engine`, which the front writes. */
#ifndef LIMOE_SERVER_ENGINE_ENGINE_FLAGS_H
#define LIMOE_SERVER_ENGINE_ENGINE_FLAGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "limoe.h"
#include "server/engine/adapted.h"

struct engine_flags {
    const char *model;
    struct limoe_options compute;
    uint64_t step_tokens;
    struct adapted_options adapters;
    const char *connect;  /* NULL: PROCESS_FD is the front */
    unsigned rank, ranks; /* of those that the front brings together; ranks 0: this is none of them */
};

/* False: exit with *status. Strings lie in the arena, or in argv. */
bool engine_flags_parse(int argc, char **argv, struct arena *arena, struct engine_flags *flags, int *status);

#endif
