/* memory.h - is there memory for the engines that are about to be started? The main thread's. */
#ifndef LIMOE_SERVER_FRONT_SERVE_MEMORY_H
#define LIMOE_SERVER_FRONT_SERVE_MEMORY_H

#include <stddef.h>

#include "server/front/server.h"

/* Counts what models first … first + n - 1 will take in this host's memory, as limoe inspect does from their
 * headers, against what there is now. LIMOE_NO_MEMORY: which model, how much it needs, and how much there is.
 * Not counted are models on GPUs, ranks on other hosts, and a model that cannot be read: its engine says why. */
enum limoe_status memory_check(const struct server *server, size_t first, size_t n, struct limoe_error *err);

#endif
