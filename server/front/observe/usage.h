/* usage.h - what a process uses of the system, from /proc. No state, any thread. */
#ifndef LIMOE_SERVER_FRONT_OBSERVE_USAGE_H
#define LIMOE_SERVER_FRONT_OBSERVE_USAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct process_usage {
    uint64_t resident_bytes; /* memory that is in RAM */
    double cpu_seconds;      /* of all its threads, in user and kernel */
};

/* False if there is no such process, or no /proc. */
bool usage_read(pid_t pid, struct process_usage *usage);

/* Open file descriptors of the calling process; 0 where /proc is missing. */
uint64_t usage_open_files(void);

#endif
