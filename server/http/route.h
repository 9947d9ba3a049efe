/* route.h - which code answers which path.
 *
 * Two kinds of route: `get` answers at once on the HTTP thread; `work` needs the engine, and its two halves
 * run on a worker, before and after it.
 */
#ifndef LIMOE_ROUTE_H
#define LIMOE_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/api_error.h"
#include "codec/buffer.h"

struct call;

struct route {
    const char *path;  /* "/v1/models"; NULL: the entry for paths that no route has */
    bool below;        /* answers what is below the path ("/v1/models/{id}"), not the path itself */
    const char *label; /* in metrics and messages */
    void (*get)(struct call *call);
    /* Reads the body into call->inputs and call->request. */
    bool (*parse)(struct call *call, struct api_error *error);
    /* Writes the answer from the job's results to call->answer. */
    bool (*answer)(struct call *call, struct api_error *error);
    bool routing;         /* the job returns its routing */
    unsigned bodies;      /* accepted: 1 << enum request_body */
    const char *accepted; /* the same in words */
};

/* The routes [*n]; the last is the entry for unknown paths. */
const struct route *route_table(size_t *n);
/* Never NULL. */
const struct route *route_find(const char *path);
/* "GET, HEAD" or "POST". */
const char *route_methods(const struct route *route);

/* The handlers, each in the file of its name. */
void route_health(struct call *call);
void route_metrics(struct call *call);
void route_models(struct call *call);
void route_model(struct call *call);
bool route_classify_parse(struct call *call, struct api_error *error);
bool route_classify_answer(struct call *call, struct api_error *error);
bool route_embeddings_parse(struct call *call, struct api_error *error);
bool route_embeddings_answer(struct call *call, struct api_error *error);
bool route_routing_parse(struct call *call, struct api_error *error);
bool route_routing_answer(struct call *call, struct api_error *error);

#endif
