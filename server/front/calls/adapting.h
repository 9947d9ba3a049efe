/* adapting.h - a call's adapters: found by name, held against its model, and what its inputs are embedded by. */
#ifndef LIMOE_SERVER_FRONT_CALLS_ADAPTING_H
#define LIMOE_SERVER_FRONT_CALLS_ADAPTING_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"
#include "server/api/api_error.h"
#include "server/api/request.h"
#include "server/front/store/adapters.h"

struct call;

/* One of a list that is answered by. */
struct adapting_variant {
    struct text name;
    const struct adapter *adapter; /* with a reference; NULL: the model as it is */
    struct tail_key key;
    size_t pass; /* whose embeddings it is answered from */
};

struct adapting {
    struct adapting_variant
        *variants; /* [n_variants], in place of what follows; NULL: no list was asked for */
    size_t n_variants;
    const struct tail_key **passes; /* [n_passes]: what they embed by, each once; NULL: the model as it is */
    size_t n_passes;
    const struct adapter *adapter; /* with a reference; NULL: none is used */
    const struct adapter *draft;   /* likewise: what PUT has brought, not kept yet */
    bool on;                       /* inputs are embedded by: */
    struct tail_key key;           /* the adapter's, or the draft's, at the strength asked for */
    const struct tail_key *
        *of; /* [n]: what input i is embedded by, then of item i of the job; NULL: the model as it is */
};

/* Finds what the request asks for, if it asks for any, once its model is chosen. False: there is none of that name, it is
 * of another model, or the model takes none. */
bool adapting_choose(struct call *call, const struct request_adapter *asked, struct api_error *error);
/* Whether the call's model takes adapters; whether it takes this one. */
bool adapting_possible(const struct call *call, struct api_error *error);
bool adapting_fits(const struct call *call, const struct adapter *adapter, struct api_error *error);
/* False: there are several, which only /v1/classify answers by. */
bool adapting_one(const struct call *call, struct api_error *error);
/* False: the adapter that was chosen is a probe, which is of no use to who wants embeddings. */
bool adapting_changes(const struct call *call, struct api_error *error);
/* A probe's labels and templates are the request's, which must have none; of several in a list they must be the same. False also
 * where there are no labels at all. */
bool adapting_labels(struct call *call, struct classify_request *request, struct api_error *error);
/* How many answers there are: by each of a list. */
size_t adapting_answers(const struct call *call);
/* By how many of those an input is embedded otherwise, so that it stands so often in the call's, one after the other: what changes
 * no embedding, as a probe, shares the model's own. */
size_t adapting_passes(const struct call *call);
/* Once the call's inputs are listed: all of them are embedded by what was chosen, if anything was. False: no memory. */
bool adapting_all(struct call *call, struct api_error *error);
/* Bytes that it takes besides, of which the call's inputs are known. */
size_t adapting_bytes(const struct call *call);
/* What an input's embedding by this key (or NULL) is called in the cache of texts: the text itself, or in the arena; data NULL:
 * no memory. */
struct text adapting_cached_name(struct call *call, const struct request_item *input,
                                 const struct tail_key *key);
/* What the engine's failure means, of a call that has an adapter or a draft. False. */
bool adapting_fail(struct call *call, struct api_error *error);
/* Gives back what the call has of them. */
void adapting_release(struct call *call);

#endif
