/* route.h - which code answers which path and method.
 *
 * Three kinds of route:
 *     get            answers at once, on the HTTP thread
 *     parse, answer  run on a worker, before and after what the request asks for is embedded. A parse that
 *                    leaves call->n at 0 asks for nothing to be embedded, and answer follows at once. Either
 *                    may end with stages_ask: then `stored` goes on where it left off, once the store has
 *                    answered, and may ask again. An answer may end with upstream_ask: then `relayed` goes on
 *                    once the language model has answered, or has not
 *     begin          takes the call over on a worker, and sees to it that stages_finish is called for it
 */
#ifndef LIMOE_SERVER_FRONT_CALLS_ROUTE_H
#define LIMOE_SERVER_FRONT_CALLS_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "server/api/api_error.h"
#include "server/api/dialects/dialect.h"

struct call;

/* Under which name routes are counted: the values of the metrics' label "route", which are the paths. */
enum route_series {
    ROUTE_CLASSIFY,
    ROUTE_EMBEDDINGS,
    ROUTE_ROUTING,
    ROUTE_ATTENTION,
    ROUTE_DESCRIBE,
    ROUTE_CAPTIONS,
    ROUTE_ASK,
    ROUTE_CHAT,
    ROUTE_CLASSIFIERS,
    ROUTE_CLASSIFIER,
    ROUTE_VOCABULARIES,
    ROUTE_VOCABULARY,
    ROUTE_ADAPTERS,
    ROUTE_ADAPTER,
    ROUTE_MODELS,
    ROUTE_MODEL,
    ROUTE_RERANK,
    ROUTE_RELOAD,
    ROUTE_LOADTESTS,
    ROUTE_LOADTEST,
    ROUTE_HEALTH,
    ROUTE_LIVE,
    ROUTE_READY,
    ROUTE_METRICS,
    ROUTE_OPENAPI,
    ROUTE_ROOT, /* GET: the page; POST: Hugging Face's */
    ROUTE_PAGE_FILE,
    ROUTE_HF,
    ROUTE_HF_MODEL,
    ROUTE_HF_EMBED,
    ROUTE_HF_SIMILARITY,
    ROUTE_HF_INFO,
    ROUTE_PING,
    ROUTE_PEERS_RERANK,
    ROUTE_COHERE_RERANK,
    ROUTE_NIM_METADATA,
    ROUTE_NIM_READY,
    ROUTE_NIM_LIVE,
    ROUTE_SAGEMAKER,
    ROUTE_VERTEX_PREDICT,
    ROUTE_VERTEX_HEALTH,
    ROUTE_TITAN,
    ROUTE_IMMICH,
    ROUTE_OLLAMA_EMBED,
    ROUTE_OLLAMA_EMBEDDINGS,
    ROUTE_OLLAMA_TAGS,
    ROUTE_OLLAMA_VERSION,
    ROUTE_COHERE_V1,
    ROUTE_COHERE_V2,
    ROUTE_VOYAGE,
    ROUTE_WEAVIATE,
    ROUTE_WEAVIATE_META,
    ROUTE_WEAVIATE_LIVE,
    ROUTE_WEAVIATE_READY,
    ROUTE_ROBOFLOW_TEXT,
    ROUTE_ROBOFLOW_IMAGE,
    ROUTE_ROBOFLOW_COMPARE,
    ROUTE_OIP,
    ROUTE_OIP_LIVE,
    ROUTE_OIP_READY,
    ROUTE_OIP_INDEX,
    ROUTE_OIP_MODEL,
    ROUTE_KSERVE_PREDICT,
    ROUTE_UNKNOWN,
    ROUTE_SERIES,
};
extern const char *const route_series_names[ROUTE_SERIES];

struct route {
    enum route_series series;
    const char *path;   /* "/v1/models"; NULL: the entry for paths that no route has */
    bool bare;          /* also answers without the "/v1" before it, as some clients ask */
    bool below;         /* answers what is below the path ("/v1/models/{id}"), not the path itself */
    const char *method; /* "GET" answers HEAD, too */
    void (*get)(struct call *call);
    /* Reads the body into call->inputs and call->request, and says which model it is for (call_choose). */
    bool (*parse)(struct call *call, struct api_error *error);
    /* Writes the answer from call->embeddings (or routing) to call->answer. */
    bool (*answer)(struct call *call, struct api_error *error);
    /* Goes on after the store has answered, with call->asked. */
    bool (*stored)(struct call *call, struct api_error *error);
    /* Goes on with what the language model's server has answered (upstream_take). */
    bool (*relayed)(struct call *call, struct api_error *error);
    void (*begin)(struct call *call);
    int success;          /* the status of what `answer` has written; 0: 200 */
    bool shares;          /* wants to know what patches add to the embedding of its one picture */
    bool routing;         /* wants to know the routing of what it has embedded */
    bool admin;           /* only for who administers the server */
    bool open;            /* also for who has no key */
    unsigned bodies;      /* accepted: 1 << enum request_body; 0: none is read */
    const char *accepted; /* the same in words */
    /* Of routes that a dialect's reader or teller answers (route_dialect.c): parse and answer, or get, are
     * route_dialect's. */
    dialect_reader *read;
    dialect_teller *tell;
    const char *header;            /* the name of a header that the reader wants to see, or NULL */
    const struct dialect *dialect; /* whose it is, and in whose form errors are written; NULL: our own */
};

/* In what follows `dialects` is the set of those that are served: routes of others are not there. */

/* Paths that the operator gives Vertex AI's two routes besides their own; or NULL. */
struct route_names {
    const char *predict, *health;
};
/* The URL, or of one that is such a name the path of its route. A name goes before a route that has the same
 * path, but what answers GET there goes before the name for health: it tells as well. */
const char *route_named(const char *url, const char *method, const struct route_names *names,
                        uint32_t dialects);
/* The path as the table has it, in the arena: repeated slashes become one, a slash at the end is dropped,
 * and "/v1" is put before what may be asked without it. Routes that need no key, or an administrator's,
 * answer at their own path alone. NULL: no memory. */
char *route_path(const char *url, uint32_t dialects, struct arena *arena);
/* The route for this method, or the first with this path if it has another; never NULL. */
const struct route *route_find(const char *path, const char *method, uint32_t dialects);
/* Route i of the table, from 0 on; NULL: there are no more. */
const struct route *route_at(size_t i);
bool route_takes(const struct route *route, const char *method);
/* The methods of all routes that answer the same paths, for Allow: "GET, HEAD, PUT". */
char *route_methods(const struct route *route, uint32_t dialects, char *out, size_t size);
/* The dialect's route (NULL: of our own) whose path is the fewest edits away from one that no route has. */
const struct route *route_nearest(const char *path, const struct dialect *dialect);

/* The handlers, each in the file of its name. */
void route_health(struct call *call);
void route_live(struct call *call);
void route_ready(struct call *call);
void route_metrics(struct call *call);
void route_openapi(struct call *call);
void route_page(struct call *call);
void route_models(struct call *call);
void route_model(struct call *call);
void route_reload(struct call *call);
void route_loadtests(struct call *call);
void route_loadtest(struct call *call);
void route_loadtest_start(struct call *call);
void route_loadtest_stop(struct call *call);
bool route_classify_parse(struct call *call, struct api_error *error);
bool route_classify_stored(struct call *call, struct api_error *error);
bool route_classify_answer(struct call *call, struct api_error *error);
bool route_embeddings_parse(struct call *call, struct api_error *error);
bool route_embeddings_answer(struct call *call, struct api_error *error);
bool route_routing_parse(struct call *call, struct api_error *error);
bool route_routing_answer(struct call *call, struct api_error *error);
bool route_attention_parse(struct call *call, struct api_error *error);
bool route_attention_answer(struct call *call, struct api_error *error);
bool route_describe_parse(struct call *call, struct api_error *error);
bool route_describe_stored(struct call *call, struct api_error *error);
bool route_ask_parse(struct call *call, struct api_error *error);
bool route_ask_answer(struct call *call, struct api_error *error);
bool route_ask_stored(struct call *call, struct api_error *error);
bool route_ask_relayed(struct call *call, struct api_error *error);
bool route_chat_parse(struct call *call, struct api_error *error);
bool route_chat_answer(struct call *call, struct api_error *error);
bool route_chat_stored(struct call *call, struct api_error *error);
bool route_chat_relayed(struct call *call, struct api_error *error);
bool route_describe_answer(struct call *call, struct api_error *error);
bool route_captions_parse(struct call *call, struct api_error *error);
bool route_captions_stored(struct call *call, struct api_error *error);
bool route_captions_answer(struct call *call, struct api_error *error);

bool route_dialect_parse(struct call *call, struct api_error *error);
bool route_dialect_answer(struct call *call, struct api_error *error);
void route_dialect_get(struct call *call);

/* route_classifiers.c */
bool route_classifier_put_parse(struct call *call, struct api_error *error);
bool route_classifier_put_stored(struct call *call, struct api_error *error);
bool route_classifier_put_answer(struct call *call, struct api_error *error);
bool route_classifier_get_parse(struct call *call, struct api_error *error);
bool route_classifier_get_stored(struct call *call, struct api_error *error);
bool route_classifier_get_answer(struct call *call, struct api_error *error);
bool route_classifier_delete_parse(struct call *call, struct api_error *error);
bool route_classifier_delete_stored(struct call *call, struct api_error *error);
bool route_classifier_delete_answer(struct call *call, struct api_error *error);
bool route_classifiers_parse(struct call *call, struct api_error *error);
bool route_classifiers_stored(struct call *call, struct api_error *error);
bool route_classifiers_answer(struct call *call, struct api_error *error);

/* route_vocabularies.c */
bool route_vocabulary_put_parse(struct call *call, struct api_error *error);
bool route_vocabulary_put_answer(struct call *call, struct api_error *error);
bool route_vocabulary_get_parse(struct call *call, struct api_error *error);
bool route_vocabulary_get_answer(struct call *call, struct api_error *error);
bool route_vocabulary_delete_parse(struct call *call, struct api_error *error);
bool route_vocabulary_delete_answer(struct call *call, struct api_error *error);
bool route_vocabularies_parse(struct call *call, struct api_error *error);
bool route_vocabularies_answer(struct call *call, struct api_error *error);

/* route_adapters.c */
bool route_adapter_put_parse(struct call *call, struct api_error *error);
bool route_adapter_put_answer(struct call *call, struct api_error *error);
bool route_adapter_get_parse(struct call *call, struct api_error *error);
bool route_adapter_get_answer(struct call *call, struct api_error *error);
bool route_adapter_delete_parse(struct call *call, struct api_error *error);
bool route_adapter_delete_answer(struct call *call, struct api_error *error);
/* route_training.c */
bool route_adapter_post_parse(struct call *call, struct api_error *error);
bool route_adapter_post_answer(struct call *call, struct api_error *error);

bool route_adapters_parse(struct call *call, struct api_error *error);
bool route_adapters_answer(struct call *call, struct api_error *error);

#endif
