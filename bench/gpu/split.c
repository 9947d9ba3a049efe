/* split.c - threads that take one index after another. They live as long as the call; the caller is one of them. */
#include "bench/gpu/split.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

enum { MOST = 32 };

struct work {
    void (*run)(void *context, size_t i);
    void *context;
    size_t n;
    atomic_size_t next;
};

static void *take(void *argument) {
    struct work *w = argument;
    size_t i;
    while ((i = atomic_fetch_add(&w->next, 1)) < w->n)
        w->run(w->context, i);
    return NULL;
}

void split(size_t n, void (*run)(void *context, size_t i), void *context) {
    struct work w = {.run = run, .context = context, .n = n};
    const long processors = sysconf(_SC_NPROCESSORS_ONLN);
    pthread_t thread[MOST];
    size_t helpers = 0;
    /* Where no thread can be had, those that there are do it all. */
    while (helpers < MOST && helpers + 1 < n && (long)helpers + 1 < processors &&
           pthread_create(&thread[helpers], NULL, take, &w) == 0)
        helpers++;
    take(&w);
    for (size_t i = 0; i < helpers; i++)
        pthread_join(thread[i], NULL);
}
