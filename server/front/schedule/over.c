/* over.c - numbers, and a list of those that are to be passed on. */
#include "server/front/schedule/over.h"

#include <stdlib.h>
#include <string.h>

void over_init(struct over *over) {
    *over = (struct over){0};
    pthread_mutex_init(&over->lock, NULL);
}

void over_free(struct over *over) {
    pthread_mutex_destroy(&over->lock);
    free(over->ids);
}

/* The lock is held. */
static bool make_room(struct over *over) {
    if (over->n + over->live < over->room)
        return true;
    const size_t room = over->room ? 2 * over->room : 64;
    uint64_t *ids = realloc(over->ids, room * sizeof *ids);
    if (!ids)
        return false;
    over->ids = ids;
    over->room = room;
    return true;
}

uint64_t over_begin(struct over *over) {
    pthread_mutex_lock(&over->lock);
    const bool good = make_room(over);
    over->live += good;
    over->given += good;
    const uint64_t id = good ? over->given : 0;
    pthread_mutex_unlock(&over->lock);
    return id;
}

void over_end(struct over *over, uint64_t id, bool sent) {
    pthread_mutex_lock(&over->lock);
    over->live--;
    if (sent)
        over->ids[over->n++] = id;
    pthread_mutex_unlock(&over->lock);
}

size_t over_look(struct over *over, uint64_t *ids, size_t most) {
    pthread_mutex_lock(&over->lock);
    const size_t n = over->n < most ? over->n : most;
    if (n)
        memcpy(ids, over->ids, n * sizeof *ids);
    pthread_mutex_unlock(&over->lock);
    return n;
}

void over_told(struct over *over, size_t n) {
    pthread_mutex_lock(&over->lock);
    over->n -= n;
    if (n && over->n) /* others came meanwhile, behind them */
        memmove(over->ids, over->ids + n, over->n * sizeof *over->ids);
    pthread_mutex_unlock(&over->lock);
}

void over_forget(struct over *over) {
    pthread_mutex_lock(&over->lock);
    over->n = 0;
    pthread_mutex_unlock(&over->lock);
}
