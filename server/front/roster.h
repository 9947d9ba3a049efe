/* roster.h - the generations in force, one of each model, as one thing that is swapped whole.
 *
 * A request takes the roster to find its model by name, keeps the generation that it has found, and lets go of
 * the roster: from then on a reload of another model is nothing to it. Immutable, shared by reference count;
 * it holds a reference to each of its generations. Any thread.
 */
#ifndef LIMOE_SERVER_FRONT_ROSTER_H
#define LIMOE_SERVER_FRONT_ROSTER_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "server/api/model_names.h"
#include "server/front/generation.h"

struct roster {
    _Atomic uint64_t references;
    struct request_models models;   /* by which requests find theirs; models.n of them */
    struct generation **generation; /* [models.n], in the order of the options: the first is the default */
};

/* With one reference for the caller. `aliases` outlives it. NULL: no memory. */
struct roster *roster_new(struct generation *const *generations, size_t n, const char *aliases);
void roster_retain(struct roster *roster);
void roster_release(struct roster *roster); /* NULL is fine */

#endif
