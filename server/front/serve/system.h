/* system.h - what the system allows this process, and how it is set to serve it. */
#ifndef LIMOE_SERVER_FRONT_SERVE_SYSTEM_H
#define LIMOE_SERVER_FRONT_SERVE_SYSTEM_H

#include "server/front/observe/log.h"

/* Processors in the affinity mask, at least 1. */
unsigned system_processors(void);

/* Raises the soft limit on open files towards the hard one, since each connection needs a descriptor.
 * Returns how many of `connections` there is room for, and says in the log if that is not all. */
unsigned system_connections(unsigned connections, struct log *log);

/* Makes the allocator give memory back to the system after a burst of requests. */
void system_tune_allocator(void);

#endif
