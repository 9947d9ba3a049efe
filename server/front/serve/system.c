/* system.c - affinity, descriptors, malloc. Called at start, by the main thread. */
#include "server/front/serve/system.h"

#include <malloc.h>
#include <sched.h>
#include <sys/resource.h>

#define DESCRIPTORS_WANTED  65536u
#define DESCRIPTORS_SPARE   128u        /* for all that is no client connection */
#define MMAP_THRESHOLD_SIZE (256 << 10) /* larger allocations go back to the system when they are freed */

unsigned system_processors(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    int n = CPU_COUNT(&set);
    return n > 0 ? (unsigned)n : 1;
}

unsigned system_connections(unsigned connections, struct log *log) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return connections;
    if (limit.rlim_cur < DESCRIPTORS_WANTED) {
        struct rlimit raised = limit;
        raised.rlim_cur = limit.rlim_max < DESCRIPTORS_WANTED ? limit.rlim_max : DESCRIPTORS_WANTED;
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
            limit = raised;
    }
    rlim_t most =
        limit.rlim_cur > 2 * DESCRIPTORS_SPARE ? limit.rlim_cur - DESCRIPTORS_SPARE : limit.rlim_cur / 2;
    if (connections <= most)
        return connections;
    log_print(log, LOG_WARNING, NULL, "the limit on open files leaves room for %llu connections, not %u",
              (unsigned long long)most, connections);
    return (unsigned)most;
}

void system_tune_allocator(void) {
    mallopt(M_ARENA_MAX, 2); /* each arena keeps what it once had */
    mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_SIZE);
    mallopt(M_TRIM_THRESHOLD, MMAP_THRESHOLD_SIZE);
}
