/* replay.c - a list of flights. */
#include "server/front/supervisor/replay.h"

#include <stdlib.h>

/* A step that has been suspected so often is divided or, if it has only one item, is poison. One suspicion
 * may be chance: another step's memory, an operator's kill. */
#define MOST_SUSPICIONS 2

void replay_init(struct replay *replay, size_t capacity) {
    *replay = (struct replay){.capacity = capacity};
    replay->last = &replay->first;
}

static void flight_free(struct flight *flight) {
    if (!flight)
        return;
    queue_step_free(&flight->step);
    free(flight->rank);
    free(flight);
}

void replay_free(struct replay *replay) {
    while (replay->first)
        flight_free(replay_remove(replay));
    flight_free(replay->spare);
    replay->spare = NULL;
}

struct flight *replay_new(struct replay *replay) {
    struct flight *flight = replay->spare;
    replay->spare = NULL;
    if (!flight) {
        flight = calloc(1, sizeof *flight);
        if (!flight || !queue_step_init(&flight->step, replay->capacity)) {
            free(flight);
            return NULL;
        }
    }
    flight->id = ++replay->ids;
    flight->suspicions = 0;
    flight->next = NULL;
    return flight;
}

void replay_recycle(struct replay *replay, struct flight *flight) {
    if (replay->spare || flight->step.capacity < replay->capacity)
        flight_free(flight);
    else
        replay->spare = flight;
}

/* `link` is where the list's pointer to what follows lies. */
static void insert(struct replay *replay, struct flight **link, struct flight *flight) {
    flight->next = *link;
    *link = flight;
    if (!flight->next)
        replay->last = &flight->next;
}

void replay_add(struct replay *replay, struct flight *flight) {
    insert(replay, replay->last, flight);
}

/* Where the pointer to the first unsent flight lies. */
static struct flight **unsent(struct replay *replay) {
    struct flight **link = &replay->first;
    for (size_t i = 0; i < replay->sent && *link; i++)
        link = &(*link)->next;
    return link;
}

struct flight *replay_next(const struct replay *replay) {
    struct flight *flight = replay->first;
    for (size_t i = 0; i < replay->sent && flight; i++)
        flight = flight->next;
    return flight;
}

void replay_sent(struct replay *replay) {
    replay->sent++;
}

struct flight *replay_oldest(const struct replay *replay) {
    return replay->sent > 0 ? replay->first : NULL;
}

struct flight *replay_remove(struct replay *replay) {
    struct flight *flight = replay->first;
    if (!flight)
        return NULL;
    replay->first = flight->next;
    if (!replay->first)
        replay->last = &replay->first;
    if (replay->sent > 0)
        replay->sent--;
    flight->next = NULL;
    return flight;
}

size_t replay_lost(struct replay *replay) {
    size_t sent = replay->sent;
    replay->sent = 0;
    return sent;
}

/* Moves all but the first `items` items into a flight of their own, which has not been added. NULL: no
 * memory. */
static struct flight *divide(struct replay *replay, struct flight *flight, size_t items) {
    struct flight *rest = calloc(1, sizeof *rest);
    if (!rest || !queue_step_split(&flight->step, items, &rest->step)) {
        free(rest);
        return NULL;
    }
    rest->id = ++replay->ids;
    return rest;
}

void replay_defer(struct replay *replay) {
    struct flight *first = replay->first;
    replay->first = first->next;
    insert(replay, &replay->first->next, first);
}

enum replay_verdict replay_suspect(struct replay *replay) {
    struct flight *flight = replay->first;
    if (++flight->suspicions < MOST_SUSPICIONS)
        return REPLAY_AGAIN;
    if (flight->step.items == 1)
        return REPLAY_POISON;
    struct flight *half = divide(replay, flight, flight->step.items / 2);
    if (!half)
        return REPLAY_NO_MEMORY;
    flight->suspicions = half->suspicions = MOST_SUSPICIONS - 1;
    insert(replay, &flight->next, half);
    return REPLAY_AGAIN;
}

bool replay_divide(struct replay *replay) {
    struct flight *flight = replay_oldest(replay);
    if (flight->step.n_slices == 1)
        return false;
    struct flight *parts = NULL, **last = &parts;
    /* From the back, so that what is left at a failure is whole. The parts are collected in order. */
    while (flight->step.n_slices > 1) {
        size_t others = flight->step.items - flight->step.slices[flight->step.n_slices - 1].count;
        struct flight *part = divide(replay, flight, others);
        if (!part)
            break;
        part->next = parts;
        parts = part;
    }
    if (!parts)
        return false;
    for (struct flight *part = parts; part; part = part->next)
        last = &part->next;
    replay_remove(replay); /* the first slice, or those that there was no memory to divide */
    struct flight **link = unsent(replay);
    *last = *link;
    if (!*last)
        replay->last = last;
    *link = parts;
    insert(replay, link, flight);
    return true;
}
