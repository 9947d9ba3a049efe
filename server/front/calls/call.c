/* call.c - a call's life on the HTTP thread: headers checked, body kept within limits, counted and logged at
 * the end.
 *
 * What can be refused from the headers alone is refused here, before any of the body is kept: key, path,
 * method, media type, length, a full queue, a server that is starting or draining.
 */
#include "server/front/calls/call.h"

#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "base/clock.h"
#include "server/front/calls/bulk.h"
#include "server/front/calls/quotas.h"
#include "server/front/calls/remote.h"
#include "server/front/calls/spans.h"
#include "server/front/calls/upstream.h"
#include "server/front/http/account.h"
#include "server/front/http/auth.h"
#include "server/front/http/hosts.h"
#include "server/front/http/timeouts.h"

#define SMALLEST_BODY_BUFFER   4096u
#define STARTING_RETRY_SECONDS 1u
#define DRAINING_RETRY_SECONDS 5u

/* ---- headers */

static void refuse_phase(struct call *call, enum server_phase phase) {
    struct api_error error;
    if (phase == SERVER_STARTING)
        api_fail(&error, 503, "starting", NULL, "the server is starting: the model is not ready yet");
    else
        api_fail(&error, 503, "draining", NULL, "the server is stopping and takes no new requests");
    call->retry_after = phase == SERVER_STARTING ? STARTING_RETRY_SECONDS : DRAINING_RETRY_SECONDS;
    call_fail(call, &error);
}

static const char *header(const struct call *call, const char *name) {
    return MHD_lookup_connection_value(call->connection, MHD_HEADER_KIND, name);
}

/* Sets the address of the connection's other end, which is a proxy's where there is one. */
static void set_client(struct call *call) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(call->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (!info || !info->client_addr)
        return;
    const struct sockaddr *address = info->client_addr;
    socklen_t size =
        address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    if (getnameinfo(address, size, call->client, sizeof call->client, NULL, 0, NI_NUMERICHOST) != 0)
        call->client[0] = '\0';
}

/* Sets the id: the client's own if that is short and plain enough for logs and headers, else 128 random
 * bits. */
static void set_id(struct call *call) {
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:/+=";
    const char *given = header(call, "X-Request-Id");
    size_t length = given ? strlen(given) : 0;
    if (length > 0 && length < sizeof call->id && strspn(given, allowed) == length) {
        memcpy(call->id, given, length + 1);
        return;
    }
    uint8_t random[16] = {0};
    if (getrandom(random, sizeof random, GRND_NONBLOCK) != sizeof random)
        memcpy(random, &call->began, sizeof call->began); /* an id for tracing, not a secret */
    for (size_t i = 0; i < sizeof random; i++) {
        static const char digits[] = "0123456789abcdef";
        call->id[2 * i] = digits[random[i] >> 4];
        call->id[2 * i + 1] = digits[random[i] & 15];
    }
}

static bool parse_digits(const char *text, uint64_t most, uint64_t *out) {
    uint64_t value = 0;
    if (!*text)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || value > (most - (uint64_t)(*text - '0')) / 10)
            return false;
        value = value * 10 + (uint64_t)(*text - '0');
    }
    *out = value;
    return true;
}

static bool read_deadline(struct call *call, struct api_error *error) {
    const char *given = header(call, "X-Request-Timeout-Ms");
    uint64_t milliseconds;
    if (!given)
        return true;
    if (!parse_digits(given, (uint64_t)CALL_LONGEST_DEADLINE, &milliseconds) || milliseconds == 0)
        return api_fail(
            error, 400, "invalid_header", "X-Request-Timeout-Ms",
            "the header X-Request-Timeout-Ms must be a whole number of milliseconds from 1 to %lld",
            (long long)CALL_LONGEST_DEADLINE);
    call->deadline = call->began + (int64_t)milliseconds * CLOCK_MILLISECOND;
    return true;
}

/* Reads how long the body will be. The syntax of both headers has been checked (head.h). */
static void read_length(struct call *call) {
    const char *length = header(call, "Content-Length");
    if (!length || !parse_digits(length, UINT64_MAX - 1, &call->content_length))
        call->content_length = header(call, "Transfer-Encoding") ? UINT64_MAX : 0;
}

struct arguments {
    struct call *call;
    struct request_field *fields;
    size_t n;
    struct api_error *error; /* its status is 0 as long as nothing has failed */
};

static enum MHD_Result keep_argument(void *cls, enum MHD_ValueKind kind, const char *key, size_t key_size,
                                     const char *value, size_t value_size) {
    (void)kind;
    struct arguments *arguments = cls;
    struct arena *arena = arguments->call->arena;
    struct request_field *field = &arguments->fields[arguments->n++];
    /* Names are C strings from here on: one with a NUL in it would pass for a shorter one. */
    if (memchr(key, '\0', key_size)) {
        char quoted[64];
        text_quote((struct text){.data = key, .size = key_size}, quoted, sizeof quoted);
        api_fail(arguments->error, 400, "unknown_field", quoted,
                 "there is no argument \"%s\": its name has a NUL byte (%%00) in it", quoted);
        return MHD_NO;
    }
    field->name = arena_copy(arena, key, key_size);
    field->bytes = (const uint8_t *)arena_copy(arena, value ? value : "", value_size);
    field->size = value_size;
    return (field->name && field->bytes) || api_fail_memory(arguments->error) ? MHD_YES : MHD_NO;
}

/* Copies the query's arguments (percent-decoded), which the connection's memory holds, to the arena. */
static bool read_arguments(struct call *call, struct api_error *error) {
    int n = MHD_get_connection_values_n(call->connection, MHD_GET_ARGUMENT_KIND, NULL, NULL);
    struct arguments arguments = {.call = call, .error = error};
    error->status = 0;
    if (n <= 0)
        return true;
    arguments.fields = arena_array(call->arena, (size_t)n, sizeof *arguments.fields);
    if (!arguments.fields)
        return api_fail_memory(error);
    MHD_get_connection_values_n(call->connection, MHD_GET_ARGUMENT_KIND, keep_argument, &arguments);
    call->args = arguments.fields;
    call->n_args = arguments.n;
    return error->status == 0;
}

const char *call_authorization(const struct call *call) {
    return header(call, "Authorization");
}

static bool authorised(struct call *call, struct api_error *error) {
    const struct route *route = call->route;
    enum auth_level needed = route->admin ? AUTH_ADMIN : route->open ? AUTH_NONE : AUTH_USER;
    return auth_allow(call->server->auth, needed, call_authorization(call), &call->account, error);
}

static bool meant_for_us(struct call *call, struct api_error *error) {
    const struct hosts_request request = {.method = call->method,
                                          .host = header(call, "Host"),
                                          .origin = header(call, "Origin"),
                                          .fetch_site = header(call, "Sec-Fetch-Site")};
    return hosts_allow(call->server->hosts, &request, error);
}

static bool known_path(struct call *call, struct api_error *error) {
    if (call->route->path)
        return true;
    const struct route *nearest = route_nearest(call->route_path, call->dialect);
    char path[128];
    return api_fail(error, 404, "unknown_path", NULL, "there is nothing at %s; the nearest is %s %s",
                    text_quote(text_of(call->path), path, sizeof path), nearest->method,
                    route_series_names[nearest->series]);
}

static bool allowed_method(struct call *call, struct api_error *error) {
    if (route_takes(call->route, call->method))
        return true;
    char methods[64], method[32];
    route_methods(call->route, call->server->dialects, methods, sizeof methods);
    call->allow = arena_copy(call->arena, methods, strlen(methods));
    return api_fail(error, 405, "method_not_allowed", NULL, "%s does not take %s; it takes %s",
                    route_series_names[call->route->series],
                    text_quote(text_of(call->method), method, sizeof method), methods);
}

static bool accepted_body(struct call *call, struct api_error *error) {
    call->form = request_body_for(call->content_type, call->route->bodies);
    if (!call->route->bodies || (call->route->begin && call->content_length == 0))
        return true; /* whatever comes is not looked at; or nothing comes, whatever its type */
    /* Without a type the body itself tells, once it is there. */
    if (call->form != REQUEST_BODY_UNTYPED && !(call->route->bodies & 1u << call->form))
        return request_refuse_body(call->content_type, call->route->accepted, error);
    const char *coding = header(call, "Content-Encoding");
    if (coding && *coding && strcasecmp(coding, "identity") != 0) {
        char quoted[32];
        return api_fail(error, 415, "unsupported_content_encoding", NULL,
                        "a body with Content-Encoding \"%s\" is not accepted; send it as it is",
                        text_quote(text_of(coding), quoted, sizeof quoted));
    }
    return true;
}

bool call_settle_form(struct call *call, struct api_error *error) {
    if (!call->route->bodies || call->form != REQUEST_BODY_UNTYPED)
        return true;
    call->form = call->route->bodies == 1u << REQUEST_BODY_OTHER
                     ? REQUEST_BODY_OTHER
                     : request_body_look(call->body.data, call->body.size);
    return call->route->bodies & 1u << call->form ||
           api_fail(error, 415, "unsupported_media_type", NULL,
                    "the request has no Content-Type, and its body does not begin as JSON does; accepted: %s",
                    call->route->accepted);
}

static bool fail_too_large(const struct call *call, struct api_error *error) {
    return api_fail(error, 413, "body_too_large", NULL,
                    "the body is larger than the %zu bytes that are accepted",
                    call->server->options.max_body_bytes);
}

static bool has_lines(const struct call *call) {
    return call->form == REQUEST_BODY_LINES && call->route->bodies & 1u << REQUEST_BODY_LINES;
}

/* A body of lines may have any length: it is a line that is limited (bulk.h). */
static bool fits(const struct call *call) {
    return call->content_length == UINT64_MAX || has_lines(call) ||
           call->content_length <= call->server->options.max_body_bytes;
}

/* Of one model it is known from the start whose queue counts what a request holds. With several the intake
 * does, and models are looked for once the body is complete. */
static void count_in(struct call *call) {
    call->counter = call->server->intake;
    if (call->counter) { /* a body may take its time: no model is kept in memory for it meanwhile */
        roster_release(call->roster);
        call->roster = NULL;
        return;
    }
    call->generation = call->roster->generation[0];
    generation_retain(call->generation);
    call->counter = call->generation->queue;
}

/* What administration asks for is let in whatever the queue holds. */
static bool admit(struct call *call, const struct queue_load *more) {
    if (!call->route->admin)
        return queue_admit(call->counter, more, &call->held);
    queue_charge(call->counter, more);
    return true;
}

void call_let_in(struct call *call) {
    count_in(call);
    const struct queue_load one = {.items = 1, .bytes = arena_size(call->arena) + call->body.capacity};
    if (!call->route->bodies)
        return; /* holds nothing that is worth counting */
    if (admit(call, &one))
        call->held = one;
    else
        call_refuse_full(call);
}

/* Checks everything that the headers decide. A call that may go on is counted as one item, until its body
 * says how many there are, and with the memory of its head. */
static void check_headers(struct call *call) {
    struct server *server = call->server;
    struct api_error error;
    if (!meant_for_us(call, &error) || !authorised(call, &error)) {
        call_fail(call, &error);
        return;
    }
    if (!quotas_begin(call))
        return;
    if (!known_path(call, &error) || !allowed_method(call, &error) || !read_deadline(call, &error)) {
        call_fail(call, &error);
        return;
    }
    if (call->route->get)
        return;
    enum server_phase phase = atomic_load(&server->phase);
    if (phase != SERVER_READY || !call->roster) {
        refuse_phase(call, phase == SERVER_READY ? SERVER_STARTING : phase);
        return;
    }
    if (!accepted_body(call, &error) || (!fits(call) && !fail_too_large(call, &error)) ||
        !read_arguments(call, &error)) {
        call_fail(call, &error);
        return;
    }
    call_let_in(call);
}

/* Whoever watches asks /health and /metrics all the time: these are traced for callers that want it, and not of our
 * own accord. */
static void begin_spans(struct call *call) {
    if (!call->server->tracing || (call->route->open && !call->trace.parent_id[0]))
        return;
    const char *agent = header(call, "User-Agent");
    call->traced = trace_sample(&call->trace, call->server->options.tracing.sample);
    if (call->traced && agent)
        call->agent = arena_copy(call->arena, agent, strlen(agent));
}

/* ---- life */

struct call *call_new(struct server *server) {
    struct call *call = calloc(1, sizeof *call);
    if (!call)
        return NULL;
    call->arena = arena_new();
    if (!call->arena) {
        free(call);
        return NULL;
    }
    call->server = server;
    call->began = clock_now();
    return call;
}

struct call *call_of_task(struct task *task) {
    return (struct call *)((char *)task - offsetof(struct call, task));
}

struct call *call_begin(struct server *server, struct MHD_Connection *connection, const char *url,
                        const char *method, const struct api_error *refusal) {
    struct call *call = call_new(server);
    if (!call)
        return NULL;
    call->connection = connection;
    const struct route_names names = {.predict = server->options.vertex_predict,
                                      .health = server->options.vertex_health};
    call->route_path =
        route_path(route_named(url, method, &names, server->dialects), server->dialects, call->arena);
    call->route = call->route_path ? route_find(call->route_path, method, server->dialects) : NULL;
    if (call->route)
        call->dialect =
            call->route->path ? call->route->dialect : dialects_at(server->dialects, call->route_path);
    call->path = arena_copy(call->arena, url, strlen(url));
    call->method = arena_copy(call->arena, method, strlen(method));
    const char *type = header(call, "Content-Type");
    call->content_type = type ? arena_copy(call->arena, type, strlen(type)) : NULL;
    if (!call->route || !call->path || !call->method || (type && !call->content_type)) {
        arena_free(call->arena);
        free(call);
        return NULL;
    }
    atomic_fetch_add(&server->calls, 1);
    call->roster = server_roster(server);
    set_id(call);
    set_client(call);
    trace_begin(header(call, "traceparent"), &call->trace);
    read_length(call);
    begin_spans(call);
    if (refusal)
        call_fail(call, refusal);
    else
        check_headers(call);
    if (call->stage == CALL_RECEIVING && has_lines(call))
        bulk_begin(call);
    call->head_mark = arena_mark(call->arena);
    return call;
}

static void log_call(const struct call *call, bool answered) {
    log_request(call->server->log, &(struct log_request){
                                       .request_id = call->id,
                                       .method = call->method,
                                       .path = call->path,
                                       .client = call->client,
                                       .trace_id = call->trace.trace_id,
                                       .span_id = call->trace.span_id,
                                       .parent_id = call->trace.parent_id,
                                       .status = answered ? call->status : 0,
                                       .items = call->n,
                                       .received = call->received,
                                       .sent = call->sent,
                                       .queue_ns = call->queue_ns,
                                       .inference_ns = call->inference_ns,
                                       .total_ns = answered ? call->total_ns : clock_now() - call->began,
                                   });
}

void call_end(struct call *call, bool answered) {
    struct server *server = call->server;
    const int served = call->generation ? (int)call->generation->index : METRICS_NO_MODEL;
    const bool whole = call->bulk && !call->line; /* its lines are counted, each by itself */
    if (whole)
        bulk_end(call);
    upstream_free(call);
    if (answered && !(whole && call->status < 400))
        metrics_count_request(server->metrics, call->route->series, served, call->status, call->total_ns);
    else if (!answered && !call->line)
        metrics_count_disconnect(server->metrics);
    if (call->inference_ns > 0)
        metrics_count_stages(server->metrics, (size_t)served, call->queue_ns, call->preprocess_ns,
                             call->inference_ns);
    if (answered && call->generation && call->n > 0)
        metrics_count_inference(server->metrics, (size_t)served, call->status < 400, call->total_ns);
    if (!call->line)
        log_call(call, answered);
    if (call->traced && answered && !whole)
        metrics_keep_exemplar(server->metrics, call->route->series, call->total_ns, call->trace.trace_id,
                              call->trace.span_id);
    if (call->traced)
        spans_record(call, answered);
    account_release(call->account);
    if (call->counter)
        queue_release(call->counter, &call->held);
    classifier_release(call->classifier);
    adapting_release(call);
    describing_release(call);
    store_job_free(call->asked);
    remote_free(call);
    buffer_free(&call->body);
    buffer_free(&call->answer);
    arena_free(call->arena);
    generation_release(call->generation);
    roster_release(call->roster);
    free(call);
    atomic_fetch_sub(&server->calls, 1); /* last: a stopping server waits for it */
}

/* ---- what it is for */

struct text call_below(const struct call *call) {
    const struct route *route = call->route;
    return route->below ? text_of(call->route_path + strlen(route->path))
                        : (struct text){.data = "", .size = 0};
}

bool call_choose(struct call *call, size_t model) {
    static const struct queue_load nothing;
    if (call->generation)
        return true; /* there is one alone */
    struct generation *generation = call->roster->generation[model];
    generation_retain(generation);
    roster_release(call->roster);
    call->roster = NULL;
    call->generation = generation;
    call->over = call->route->bodies && !queue_admit(generation->queue, &call->held, &nothing);
    if (call->over)
        return false;
    if (!call->route->bodies)
        queue_charge(generation->queue, &call->held); /* next to nothing */
    queue_release(call->counter, &call->held);
    call->counter = generation->queue;
    return true;
}

bool call_choose_named(struct call *call, bool alone, struct api_error *error) {
    size_t model = 0;
    for (size_t i = 0; i < call->n_args; i++) {
        const struct request_field *field = &call->args[i];
        const struct text name = {.data = (const char *)field->bytes, .size = field->size};
        const bool named = strcmp(field->name, "model") == 0;
        if (!named && alone)
            return api_fail(error, 400, "unknown_field", field->name,
                            "there is no argument \"%s\"; accepted: model", field->name);
        if (named && !request_find_model(&call->roster->models, name, &model, error))
            return false;
    }
    return call_choose(call, model);
}

struct text call_argument(const struct call *call, const char *name) {
    const char *value = NULL;
    size_t size = 0;
    if (MHD_lookup_connection_value_n(call->connection, MHD_GET_ARGUMENT_KIND, name, strlen(name), &value,
                                      &size) != MHD_YES)
        return (struct text){.data = NULL};
    return (struct text){.data = value ? value : "", .size = size};
}

const struct job *call_job(const struct call *call) {
    return call->captioning.n ? &call->captioning.job : &call->job;
}

/* ---- memory */

bool call_hold(struct call *call, size_t bytes) {
    const struct queue_load more = {.bytes = bytes};
    if (!admit(call, &more))
        return false;
    call->held.bytes += bytes;
    return true;
}

void call_let_go(struct call *call, size_t bytes) {
    const struct queue_load less = {.bytes = bytes};
    queue_release(call->counter, &less);
    call->held.bytes -= bytes;
}

static bool meter(void *context, size_t bytes) {
    struct call *call = context;
    call->over = !call_hold(call, bytes);
    return !call->over;
}

void call_meter(struct call *call, bool on) {
    arena_set_meter(call->arena, on ? meter : NULL, call);
}

void call_trim(struct call *call) {
    store_job_free(call->asked);
    call->asked = NULL;
    adapting_release(call);
    describing_release(call);
    remote_free(call);
    if (!call->streaming)
        upstream_free(call);
    buffer_free(&call->body);
    buffer_fit(&call->answer);
    arena_rewind(call->arena, call->head_mark);
    const size_t left = arena_size(call->arena) + call->answer.capacity + upstream_size(call);
    if (!call->counter)
        return; /* it was answered from its head */
    if (call->held.bytes >= left) {
        call_let_go(call, call->held.bytes - left);
        return;
    }
    const struct queue_load more = {.bytes = left - call->held.bytes};
    queue_charge(call->counter, &more);
    call->held.bytes = left;
}

/* ---- body */

/* Makes room in the body's buffer for `size` more bytes, counted as held, and never past what the client
 * announced. */
static bool make_room(struct call *call, size_t size) {
    const size_t capacity = call->body.capacity,
                 wanted = buffer_growth(&call->body, size, SMALLEST_BODY_BUFFER, call->content_length);
    if (wanted == capacity)
        return true;
    if (!call_hold(call, wanted - capacity))
        return false;
    buffer_reserve(&call->body, wanted - call->body.size);
    return true;
}

static void drop_body(struct call *call) {
    call_let_go(call, call->body.capacity);
    buffer_free(&call->body);
}

bool call_receive(struct call *call, const char *bytes, size_t size) {
    uint64_t most = call->server->options.max_body_bytes;
    struct api_error error;
    call->received += size;
    timeouts_received(call->from->timed, size);
    if (call->stage == CALL_ANSWERED ||
        !call->route->bodies) /* read for politeness only, and only so much of it */
        return call->received <= 2 * most;
    if (call->received > most) {
        fail_too_large(call, &error);
        call_fail(call, &error);
        drop_body(call);
    } else if (!make_room(call, size)) {
        call_refuse_full(call);
        drop_body(call);
    } else {
        buffer_bytes(&call->body, bytes, size);
        if (call->body.failed) {
            api_fail_memory(&error);
            call_fail(call, &error);
        }
    }
    return true;
}
