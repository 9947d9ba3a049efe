/* available.h - how much memory this process and its children may still take. No state, any thread. */
#ifndef LIMOE_SERVER_FRONT_SERVE_AVAILABLE_H
#define LIMOE_SERVER_FRONT_SERVE_AVAILABLE_H

#include <stdint.h>

enum { AVAILABLE_WHERE_SIZE = 160 };

/* Bytes: of the machine's memory what the system says could be had without swapping, or, where that is less,
 * of a control group's (version 2 or 1, this process's or one above it) what is left of its limit. where[]
 * says which. UINT64_MAX: nothing tells. `root` stands before /proc and /sys: "" but in tests. */
uint64_t available_memory(const char *root, char where[AVAILABLE_WHERE_SIZE]);

#endif
