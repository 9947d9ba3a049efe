/* call.h - one HTTP request, from its headers to the end of its answer.
 *
 * A call has one owner at a time, who may touch it without a lock:
 *   - the connection's HTTP thread, from call_begin on, while headers and body come in;
 * - a worker, once the body is complete (the connection is suspended meanwhile): parse, admit, decode,
 * tokenise;
 *   - the queue and the engine, through the call's job;
 *   - a worker again, to write the answer;
 *   - the HTTP thread, once the connection is resumed: it sends the answer and frees the call (call_end).
 * A client that disconnects meanwhile is noticed when the connection is resumed: no owner loses the call.
 */
#ifndef LIMOE_SERVER_FRONT_CALLS_CALL_H
#define LIMOE_SERVER_FRONT_CALLS_CALL_H

#include <microhttpd.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/workers.h"
#include "server/api/answer.h"
#include "server/api/api_error.h"
#include "server/api/ask.h"
#include "server/api/attention.h"
#include "server/api/captions.h"
#include "server/api/chat.h"
#include "server/api/describe.h"
#include "server/api/prepare.h"
#include "server/api/request.h"
#include "server/api/training.h"
#include "server/api/vocabularies.h"
#include "server/front/calls/adapting.h"
#include "server/front/calls/captioning.h"
#include "server/front/calls/describing.h"
#include "server/front/calls/route.h"
#include "server/front/generation.h"
#include "server/front/http/http.h"
#include "server/front/http/trace.h"
#include "server/front/schedule/job.h"
#include "server/front/server.h"
#include "server/front/store/classifiers.h"
#include "server/protocol/span_wire.h"

#define CALL_ID_SIZE          129                         /* of a request id, with its NUL */
#define CALL_LONGEST_DEADLINE (INT64_C(24) * 3600 * 1000) /* milliseconds */

enum call_stage {
    CALL_RECEIVING, /* headers are read, the body is coming in */
    CALL_WORKING,   /* handed over: not the HTTP thread's now */
    CALL_ANSWERED,  /* status and answer are set */
};

/* A header of an answer; both live as long as the call. */
struct answer_header {
    const char *name, *value;
};

struct call {
    struct server *server;
    /* Each with a reference. The models that are in force, while the head is looked at, and again from when
     * the body is complete until it has said which one it is for (call_choose); NULL while none are. */
    struct roster *roster;
    struct generation *generation; /* the one that it is for; NULL: it has not said so yet */
    struct queue *counter; /* where `held` is counted: the intake, or the model's queue; NULL: nowhere yet */
    struct MHD_Connection *connection;
    const struct http_connection *from; /* what is kept of it: there until call_end */
    const struct route *route;
    const struct dialect *dialect;            /* in whose form errors are written; NULL: our own */
    const char *method, *path, *content_type; /* in the arena, as they came; content_type may be NULL */
    const char *route_path;                   /* the path as the routes have it (route_path) */
    char id[CALL_ID_SIZE];
    char client[INET6_ADDRSTRLEN]; /* numeric address; "": not known */
    struct trace trace;
    struct account *account; /* of its key, with a reference; NULL: that has no name, or none was needed */
    uint64_t charged;        /* tokens, to the account, and not settled yet */
    bool traced;             /* it is to become spans */
    const char *agent;       /* User-Agent, of those alone; in the arena, or NULL */
    enum call_stage stage;
    struct arena *arena;
    size_t head_mark;       /* the arena when the headers had been read: what call_end needs is older */
    struct queue_load held; /* of the counter's limits; given back by call_end */
    bool over;              /* parsing took more memory than there is for it */

    /* Times, as clock_now(). */
    int64_t began, body_complete;
    int64_t deadline; /* 0: none */
    int64_t paused;   /* since when preparing has waited for its next slice; 0: it does not */
    struct span_times parts[SPAN_PARTS]; /* of the request, as far as it has come */
    int64_t queue_ns, preprocess_ns, inference_ns, total_ns;

    /* What came in. */
    enum request_body form;
    uint64_t received;       /* bytes of the body, also those not kept */
    uint64_t content_length; /* UINT64_MAX: chunked */
    struct buffer body;
    const struct request_field *args; /* [n_args] of the query */
    size_t n_args;

    /* What is to be embedded; a worker's. */
    struct task task;
    union {
        struct classify_request classify;
        struct classifier_request classifier;
        struct embed_request embed;
        struct attention_request attention;
        struct describe_request describe;
        struct captions_request captions; /* begins with what is described */
        struct ask_request ask;           /* begins with what is described, */
        struct chat_request chat;         /* and so does this */
        struct dialect_request dialect;
        struct training_request training;
        struct vocabulary_request vocabulary;
    } request;
    const struct classifier *classifier; /* with a reference; NULL: none is used */
    struct store_job
        *asked;     /* what the store was asked last; NULL: nothing, or it has not answered in time */
    bool asking;    /* asked is to be handed to the store (stages_ask) */
    bool answering; /* everything is embedded: the route has been asked for its answer */
    struct store_waiter waiting;
    struct adapting adapting;
    struct describing describing;
    struct captioning captioning;
    struct upstream *upstream;         /* what the language model is asked (upstream.h); NULL: nothing */
    bool relaying;                     /* upstream is to be handed over (upstream_ask) */
    bool streaming;                    /* the answer is what comes of it (upstream_response) */
    struct text prompt;                /* of it, in the arena */
    const struct request_item *inputs; /* [n] */
    struct remote *remote;             /* those that were named by URLs (remote.h); NULL: none was */
    size_t n, pictures;                /* pictures: of the n */
    size_t
        shared; /* the last of the inputs: embedded once for everybody, so that no key is charged for them */
    enum lane lane;           /* that these are decoded in */
    size_t prepared;          /* inputs looked at: for texts, then again for pictures */
    float *embeddings;        /* [n, embed]: row i for inputs[i], computed or found in the cache */
    float *shares;            /* of the picture's patches, where the route wants them; or NULL */
    struct limoe_item *items; /* [job.n]: the inputs that the cache does not have */
    size_t *input_of;         /* [job.n]: which */
    bool slow;                /* writing the answer takes more than a slice */
    size_t scratch;           /* bytes that writing the answer will take besides, where they matter */
    struct usage usage;
    struct job job;
    _Atomic(struct queue *) pushed; /* where the job is; NULL: it has not been handed over */
    atomic_bool gone;               /* the client has hung up: what waits need not be computed */
    /* Of a body of lines (bulk.h): the request's own, which it holds, or what this is a line of. */
    struct bulk *bulk;
    struct bulk_line *line; /* not NULL: the call is a line, and has no connection */
    bool full;              /* it was refused for want of room */

    /* What goes out. */
    int status;
    struct buffer answer;
    const char *answer_type;             /* NULL: JSON, of a route that says nothing of it */
    const char *allow;                   /* for Allow, or NULL; in the arena */
    unsigned retry_after;                /* seconds; 0: no such header */
    const struct answer_header *headers; /* [n_headers]: what this answer has besides; in the arena */
    size_t n_headers;
    uint64_t sent; /* bytes of the answer */
};

/* A call that has begun, with nothing in it; NULL: no memory. What both ways to make one below begin with. */
struct call *call_new(struct server *server);
/* The call that the task is of. */
struct call *call_of_task(struct task *task);
/* Makes a call of a request whose headers were just read; if `refusal` is not NULL, the call is answered
 * with it. NULL: no memory. */
struct call *call_begin(struct server *server, struct MHD_Connection *connection, const char *url,
                        const char *method, const struct api_error *refusal);
/* Counts, logs and frees the call. `answered` says that the client got the whole answer. */
void call_end(struct call *call, bool answered);

/* What the calls of a request's lines have from the request. */
struct line_head {
    struct server *server;
    const struct route *route;
    struct account *account; /* or NULL */
    char id[CALL_ID_SIZE];
    int64_t within; /* nanoseconds for each line; 0: no deadline */
};

/* Makes a call of one line, which takes over the body's bytes. It has no connection. `charged`: its key has been
 * charged for a request. It may be answered already. NULL: no memory; the body is still the
 * caller's. */
struct call *call_begin_line(const struct line_head *head, struct bulk_line *line, struct buffer *body,
                             bool charged);

/* Counts a call that may go on as one item, with the memory of its head and what there is of its body, or refuses
 * it. */
void call_let_in(struct call *call);
/* Counts `bytes` more as held. False if others hold too much already. */
bool call_hold(struct call *call, size_t bytes);
void call_let_go(struct call *call, size_t bytes);

/* Adds to the body. If that is not possible (too large, no room), answers the call with an error and drops
 * the body. False if the client sends far more than it may, so that its connection is to be closed. */
bool call_receive(struct call *call, const char *bytes, size_t size);

/* While this is on, what the arena takes is counted as held, and refused (call->over) when others hold too
 * much. It is on while a body is parsed, since nobody knows beforehand how much memory that takes; what
 * later stages take is admitted before they take it. */
void call_meter(struct call *call, bool on);
/* Gives back all that an answered call holds but its head and its answer, which a slow reader may keep for
 * long. */
void call_trim(struct call *call);
/* Finds the form of a complete body by its bytes, if no Content-Type has told it. False if the route reads
 * no such form. */
bool call_settle_form(struct call *call, struct api_error *error);

/* What is below the route's path: of "/v1/adapters/" in "/v1/adapters/pets" the name. */
struct text call_below(const struct call *call);

/* The request is for this model of the roster: it is the model's from here on, and counted in its queue. False:
 * that is full (call->over), and the request is to be refused with call_refuse_full. */
bool call_choose(struct call *call, size_t model);
/* The same of the model that the query's "model" names, or of the default. `alone`: any other argument is refused. */
bool call_choose_named(struct call *call, bool alone, struct api_error *error);

/* An argument of the query, of a route whose arguments are not read otherwise; data NULL: it is not there. */
struct text call_argument(const struct call *call, const char *name);

/* The header Authorization, or NULL; it is the connection's. */
const char *call_authorization(const struct call *call);

/* What is said of the roster's models, [roster->models.n], to be given back with models_forget; NULL: no
 * memory. In route_models.c. */
struct answer_model *models_describe(struct call *call);
void models_forget(struct answer_model *models, size_t n); /* NULL is fine */
/* Whether every model answers; else `why` says which does not. In route_health.c. */
bool health_of_all(struct call *call, char *why, size_t size);

/* The job that the call has waited for, or waits for. */
const struct job *call_job(const struct call *call);

/* Answers with call->answer as it is. */
void call_succeed(struct call *call, const char *content_type);
/* Answers with the error, as the call's dialect writes it. */
void call_fail(struct call *call, const struct api_error *error);
/* Answers 429, or 503 when the server is not serving (*error says which), with Retry-After. */
void call_refuse_full(struct call *call);

#endif
