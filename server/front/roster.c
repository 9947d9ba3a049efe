/* roster.c - one allocation for the roster and its two lists. */
#include "server/front/roster.h"

#include <stdlib.h>

struct roster *roster_new(struct generation *const *generations, size_t n, const char *aliases) {
    struct roster *roster = calloc(1, sizeof *roster + n * (sizeof(void *) + sizeof(void *)));
    if (!roster)
        return NULL;
    const struct limoe_info **info = (const struct limoe_info **)(roster + 1);
    roster->references = 1;
    roster->generation = (struct generation **)(info + n);
    roster->models = (struct request_models){.info = info, .n = n, .aliases = aliases};
    for (size_t i = 0; i < n; i++) {
        info[i] = generations[i]->model;
        roster->generation[i] = generations[i];
        generation_retain(generations[i]);
    }
    return roster;
}

void roster_retain(struct roster *roster) {
    atomic_fetch_add(&roster->references, 1);
}

void roster_release(struct roster *roster) {
    if (!roster || atomic_fetch_sub(&roster->references, 1) > 1)
        return;
    for (size_t i = 0; i < roster->models.n; i++)
        generation_release(roster->generation[i]);
    free(roster);
}
