/* system.h - what the system allows this process, and what it is told in return. */
#ifndef LIMOE_SERVER_FRONT_SERVE_SYSTEM_H
#define LIMOE_SERVER_FRONT_SERVE_SYSTEM_H

#include "server/front/observe/log.h"

/* Processors in the affinity mask, at least 1. */
unsigned system_processors(void);

/* A connection needs a descriptor: raises the soft limit on open files towards the hard one. Returns how many
 * of `connections` there is room for; says so in the log if that is not all. */
unsigned system_connections(unsigned connections, struct log *log);

/* Memory that a burst of requests took must go back to the system after it. */
void system_tune_allocator(void);

#endif
