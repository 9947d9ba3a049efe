/* vocabularies.h - vocabularies that clients bring: terms on the disk, and in memory what each model makes of them.
 *
 * STATE/vocabularies has a file NAME.json for each, which is whole before PUT is answered, and NAME@DIGEST.rows for each model
 * that has embedded it: the digest is of the terms, the template and the model's fingerprint, so that another model, or other
 * terms, have another file. The folder belongs to one server. Vectors of all vocabularies stay in memory for each model that is
 * served, within a bound that PUT checks; who opens the folder with a smaller one leaves what is past it alone.
 *
 * A thread of its own embeds what is missing, one vocabulary after the other, by the queue that everybody uses; a request never
 * waits for it. Any thread may call any function but the first and the last; those that change something wait for the disk.
 */
#ifndef LIMOE_SERVER_FRONT_VOCABULARIES_VOCABULARIES_H
#define LIMOE_SERVER_FRONT_VOCABULARIES_VOCABULARIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe.h"
#include "server/api/vocabularies.h"
#include "server/front/feeder.h"
#include "server/front/observe/log.h"
#include "server/front/roster.h"
#include "server/front/store/classifier.h"

#define VOCABULARIES_MOST  1000u               /* in one folder */
#define VOCABULARIES_BYTES (UINT64_C(1) << 30) /* of terms and vectors, for each model */

struct vocabularies;

struct vocabularies_options {
    const char *state_dir; /* there, or made; outlives them, as does all below */
    uint64_t bytes;
    struct log *log;
    struct roster *(*roster)(void *context); /* the models in force, with a reference; NULL: none are yet */
    void *context;
};

/* Makes the folder (mode 0700) where it is missing, removes what an interrupted change has left, reads the definitions, and
 * starts the thread. A file that cannot be read is left alone, and is no vocabulary. */
enum limoe_status vocabularies_open(const struct vocabularies_options *options, struct vocabularies **out,
                                    struct limoe_error *err);
/* Ends the thread; before the models that it asks are closed. Nobody puts anything any more. NULL is fine. */
void vocabularies_stop(struct vocabularies *all);
void vocabularies_close(struct vocabularies *all); /* what was given out stays. NULL is fine */

/* Other models are in force, or there is more room: what they lack is made, also what could not be made before. */
void vocabularies_renew(struct vocabularies *all);
/* The last request of a model is answered, or it is not to be served: unless one in force has its fingerprint, what was made for it
 * leaves the memory. */
void vocabularies_forget(struct vocabularies *all, const char *fingerprint);
/* Makes all of them ready for a model that is not in force yet, on the caller's thread; what fails is tried again once it is. */
void vocabularies_prepare(struct vocabularies *all, struct generation *generation, struct feeder *feeder);

/* How a PUT went. */
enum vocabularies_outcome {
    VOCABULARIES_STORED,
    VOCABULARIES_TOO_MANY, /* there are as many as may be */
    VOCABULARIES_FULL,     /* no room in memory, by the bound, or on the disk: *err says which */
    VOCABULARIES_NO_MEMORY,
    VOCABULARIES_UNWRITTEN /* the disk failed */
};
/* Stores it in place of one of that name. */
enum vocabularies_outcome vocabularies_put(struct vocabularies *all, struct text name,
                                           const struct vocabulary_definition *definition,
                                           struct limoe_error *err);
/* *found: there was one. */
enum limoe_status vocabularies_delete(struct vocabularies *all, struct text name, bool *found,
                                      struct limoe_error *err);

/* A vocabulary as it is now. */
struct vocabularies_found {
    const struct classifier
        *words; /* its terms are the labels, its template the only one; with a reference */
    bool automatic;
    float threshold;
    struct vocabulary_progress progress; /* with the model that was asked for; its `model` is not set */
    unsigned seconds;                    /* about so many until it is ready, 1 or more */
};
/* For the model of this fingerprint (NULL: of none; no progress is told then). Once it is ready, words->matrix has its vectors. False:
 * there is none of this name. Give words back with classifier_release. */
bool vocabularies_find(struct vocabularies *all, struct text name, const char *fingerprint,
                       struct vocabularies_found *out);
/* The name that looks most like it, to nearest[129]; false: none does. */
bool vocabularies_nearest(struct vocabularies *all, struct text name, char nearest[129]);
/* Names behind `after`, in the order of bytes: at most `limit`, to out[][129]. *more: there are others behind them. */
size_t vocabularies_list(struct vocabularies *all, struct text after, size_t limit, char (*out)[129],
                         bool *more);

#endif
