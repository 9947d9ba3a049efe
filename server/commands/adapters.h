/* adapters.h - what an adapter's file says of itself, on standard output. */
#ifndef LIMOE_SERVER_COMMANDS_ADAPTERS_H
#define LIMOE_SERVER_COMMANDS_ADAPTERS_H

#include <stdbool.h>

#include "base/arena.h"

/* For people, or as a JSON object. Returns the exit status. */
int adapters_show(const char *path, bool json, struct arena *arena);

#endif
