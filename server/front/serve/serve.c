/* serve.c - `limoe serve`: build the server, watch over it, take it down.
 *
 * The main thread owns the struct server. While requests are served it sleeps in poll: for signals (blocked
 * in every thread, read from a signalfd), for the events of generations (loading.c), and for its tick. The
 * other threads are the HTTP threads (http.c), the workers (stages.c), and those of each generation.
 *
 * Start: the socket listens first, so that a port in use is found at once; the model opens in the engine
 * while early requests get 503. Stop: accept no more, let what is in flight finish, then join everything in
 * reverse order.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "server/front/calls/exchange.h"
#include "server/front/calls/openapi.h"
#include "server/front/calls/route.h"
#include "server/front/calls/waiting.h"
#include "server/front/fetching/fetching.h"
#include "server/front/http/auth.h"
#include "server/front/http/hosts.h"
#include "server/front/http/http.h"
#include "server/front/http/timeouts.h"
#include "server/front/http/tls.h"
#include "server/front/loadtest/loadtests.h"
#include "server/front/observe/escape.h"
#include "server/front/relaying/relaying.h"
#include "server/front/serve/loading.h"
#include "server/front/serve/serve.h"
#include "server/front/serve/system.h"
#include "server/front/serve/teaching.h"
#include "server/front/server.h"
#include "server/front/tracing/tracing.h"
#include "server/front/training/training.h"
#include "server/front/vocabularies/vocabularies.h"
#include "server/options/command.h"
#include "server/options/model_dir.h"
#include "server/options/model_list.h"

/* Signals, slow clients, load tests. */
#define POLLED (2 + LOADTESTS_EVENTS)

#define TICK_MS       100
#define DRAIN_TICK_MS 10
#define ANSWER_GRACE  CLOCK_SECOND
#define ABANDON_GRACE (3 * CLOCK_SECOND) /* on a busy machine; else it takes milliseconds */
#define MOST_WORKERS  16u

/* Of the long lane's decoders: a tenth of the processor where others want all of it, all where nobody does. */
#define LONG_NICE 10

/* What serve.c needs beside the server. */
struct watch {
    struct server *server;
    struct http *http;
    struct loadings loadings;
    struct pollfd *polled; /* [POLLED + LOADING_EVENTS of each model] */
    int signals;           /* signalfd */
    int64_t began;
    char address[HTTP_ADDRESS_SIZE];
};

/* ---- watching */

static void print_model(const struct generation *generation) {
    const struct engine_info *engine = engine_info(generation->engine);
    const struct limoe_info *model = &engine->model;
    struct buffer name = {0};
    escape_message(&name, model->name);
    printf("model      %.*s: %.1f M parameters, %.1f M active", (int)name.size, name.data ? name.data : "",
           (double)model->total_parameters / 1e6, (double)model->active_parameters / 1e6);
    buffer_free(&name);
    if (model->moe_layers > 0)
        printf(", %u experts in %u of %u blocks", model->experts, model->moe_layers, model->blocks);
    printf("\ncompute    %s on %s, %u thread%s\n", limoe_dtype_name(engine->dtype), engine->backend,
           engine->threads, engine->threads == 1 ? "" : "s");
}

static void print_ready(const struct watch *watch) {
    const struct roster *roster = watch->server->roster; /* this thread alone changes it */
    for (size_t i = 0; i < roster->models.n; i++)
        print_model(roster->generation[i]);
    printf("ready      %s, %.0f ms after start\n", watch->address,
           (double)(clock_now() - watch->began) / (double)CLOCK_MILLISECOND);
    fflush(stdout);
}

/* Which signal was sent, or 0. */
static int read_signal(const struct watch *watch) {
    struct signalfd_siginfo info;
    return read(watch->signals, &info, sizeof info) == sizeof info ? (int)info.ssi_signo : 0;
}

/* Reads keys and certificate again; what cannot be read stays as it was. */
static void reload_access(struct server *server) {
    struct limoe_error err;
    if (auth_reload(server->auth, &err) != LIMOE_OK)
        log_print(server->log, LOG_WARNING, NULL, "the keys stay as they were: %s", err.message);
    if (server->tls && tls_reload(server->tls, &err) != LIMOE_OK)
        log_print(server->log, LOG_WARNING, NULL, "the certificate stays as it was: %s", err.message);
}

/* Sleeps until something happens, at most `timeout` ms, and sees to it. False: the server cannot go on.
 * *signal_number is 0 or the signal that asks it to stop. */
static bool watch_once(struct watch *watch, int timeout, int *signal_number) {
    struct server *server = watch->server;
    struct pollfd *polled = watch->polled;
    polled[0] = (struct pollfd){.fd = watch->signals, .events = POLLIN};
    polled[1] = (struct pollfd){.fd = timeouts_fd(server->timeouts), .events = POLLIN};
    size_t n = 2 + loadtests_events(server->loadtests, polled + 2);
    n += loadings_events(&watch->loadings, polled + n);
    *signal_number = 0;
    if (poll(polled, n, timeout) > 0 && polled[0].revents) /* whatever fails: the tick goes on */
        *signal_number = read_signal(watch);
    if (*signal_number == SIGHUP) {
        *signal_number = 0;
        reload_access(server);
        server_reload(server, 0, server->n_served, NULL);
    }
    metrics_count(server->metrics, METRICS_SLOW_CLIENTS,
                  timeouts_sweep(server->timeouts, clock_now(), server_pressed(server)));
    waiting_sweep(server, clock_now());
    tracing_poll(server->tracing);
    loadtests_poll(server->loadtests);
    struct limoe_error err;
    enum loading_outcome outcome = loadings_poll(&watch->loadings, &err);
    bool starting = atomic_load(&server->phase) == SERVER_STARTING;
    if (starting && outcome == LOADING_SWAPPED) {
        atomic_store(&server->phase, SERVER_READY);
        training_begin(server->training);
        print_ready(watch);
    }
    if (outcome == LOADING_SWAPPED)
        vocabularies_renew(server->vocabularies);
    if (starting && outcome == LOADING_FAILED) {
        command_complain("%s", err.message);
        return false;
    }
    return true;
}

/* Whether nothing is left to wait for. Once the server has given up (stopped_at), bodies that are still
 * coming in are cut off, and answers that say so, if any were made (late), get a moment to be sent. */
static bool is_drained(struct server *server, bool late, int64_t stopped_at) {
    if (atomic_load(&server->handed) > 0)
        return false;
    if (atomic_load(&server->calls) == 0)
        return true;
    return stopped_at && (!late || clock_now() > stopped_at + ANSWER_GRACE);
}

/* Lets what is in flight finish. What has not by the end of the time given is given up: waiting items and
 * pictures are answered 503. */
static void drain(struct watch *watch, int signal_number) {
    struct server *server = watch->server;
    log_print(server->log, LOG_INFO, NULL, "%s: stopping; %llu requests in flight", strsignal(signal_number),
              (unsigned long long)atomic_load(&server->calls));
    atomic_store(&server->phase, SERVER_DRAINING);
    http_stop_accepting(watch->http);
    loadings_stop(&watch->loadings);
    loadtests_stop_any(server->loadtests, false, "stopped with the server");
    int64_t limit = clock_now() + (int64_t)server->options.drain_seconds * CLOCK_SECOND, stopped_at = 0;
    bool late = false;
    while (!is_drained(server, late, stopped_at)) {
        watch_once(watch, DRAIN_TICK_MS, &signal_number);
        if (signal_number) {
            log_print(server->log, LOG_WARNING, NULL, "stopped at once");
            _exit(128 + signal_number);
        }
        if (clock_now() < limit)
            continue;
        if (stopped_at && atomic_load(&server->handed) > 0) {
            log_print(server->log, LOG_ERROR, NULL,
                      "the engine does not finish what it computes; stopped without it");
            _exit(COMMAND_INPUT);
        }
        if (stopped_at)
            continue;
        atomic_store(&server->phase, SERVER_STOPPED); /* from here on no call is handed over */
        late = atomic_load(&server->handed) > 0;
        loadings_abandon(&watch->loadings); /* who waits is told so, which takes a moment */
        stopped_at = clock_now();
        limit = stopped_at + ABANDON_GRACE;
    }
}

static int run(struct watch *watch) {
    int signal_number = 0;
    struct limoe_error err;
    if (loadings_begin(&watch->loadings, &err) != LIMOE_OK) {
        command_complain("%s", err.message);
        return COMMAND_INPUT;
    }
    while (!signal_number)
        if (!watch_once(watch, TICK_MS, &signal_number))
            return COMMAND_INPUT;
    drain(watch, signal_number);
    return COMMAND_OK;
}

/* ---- life */

static bool fail(const struct limoe_error *err) {
    command_complain("%s", err->message);
    return false;
}

/* Sets up who may connect, by which name and with which key, and how long they may take. */
static enum limoe_status open_access(struct server *server, int listening, struct limoe_error *err) {
    const struct serve_options *options = &server->options;
    const struct timeouts_limits limits = {.idle_seconds = options->idle_seconds,
                                           .receive_seconds = options->receive_seconds,
                                           .stall_seconds = options->stall_seconds};
    enum limoe_status status =
        auth_new(options->api_keys, options->admin_keys, server->log, &server->auth, err);
    if (status == LIMOE_OK && options->tls_certificate)
        status = tls_new(options->tls_certificate, options->tls_key, server->log, &server->tls, err);
    if (status == LIMOE_OK)
        status = hosts_new(&(struct hosts_options){.host = options->host,
                                                   .allowed = options->allowed_hosts,
                                                   .cors = options->cors_origin,
                                                   .keys = options->api_keys != NULL,
                                                   .listening = listening},
                           &server->hosts, err);
    if (status == LIMOE_OK)
        status = timeouts_new(&limits, server->tls != NULL, &server->timeouts, err);
    return status;
}

static enum limoe_status start_decoders(struct server *server, struct limoe_error *err) {
    const struct serve_options *options = &server->options;
    struct decoders_options decoders = {
        .limits = options->image,
        .processes = options->workers,
        .seconds = options->decode_seconds,
        .pictures = options->decoder_pictures,
        .unconfined = options->unconfined_decoders,
        .metrics = server->metrics,
        .log = server->log,
    };
    enum limoe_status status = decoders_start(&decoders, &server->decoders[LANE_QUICK], err);
    if (status != LIMOE_OK)
        return status;
    decoders.nice = LONG_NICE;
    return decoders_start(&decoders, &server->decoders[LANE_LONG], err);
}

static enum limoe_status start_tracing(struct server *server, struct limoe_error *err) {
    const struct tracing_options *options = &server->options.tracing;
    return options->endpoint ? tracing_start(options, server->log, server->metrics, &server->tracing, err)
                             : LIMOE_OK;
}

static enum limoe_status start_fetching(struct server *server, struct limoe_error *err) {
    const struct fetching_options *options = &server->options.fetching;
    return options->hosts ? fetching_start(options, server->log, server->metrics, &server->fetching, err)
                          : LIMOE_OK;
}

static enum limoe_status start_relaying(struct server *server, struct limoe_error *err) {
    const struct relaying_options *options = &server->options.relaying;
    return options->url ? relaying_start(options, server->log, server->metrics, &server->relaying, err)
                        : LIMOE_OK;
}

static enum limoe_status open_loadtests(struct server *server, int listening, struct limoe_error *err) {
    const struct loadtests_options options = {.listening = listening,
                                              .encrypted = server->tls != NULL,
                                              .key_file = server->options.loadtest_key,
                                              .log = server->log,
                                              .metrics = server->metrics};
    return loadtests_new(&options, &server->loadtests, err);
}

static enum limoe_status start_http(struct server *server, int listening, struct http **out,
                                    struct limoe_error *err) {
    const struct serve_options *options = &server->options;
    const struct http_options http = {
        .threads = options->http_threads,
        .connections = options->connections,
        .connections_per_address = options->connections_per_address,
        .idle_seconds = options->idle_seconds,
        .timeouts = server->timeouts,
        .tls = server->tls,
        .log = server->log,
        .metrics = server->metrics,
        .open = &server->connections,
        .handler = exchange_handler(server),
    };
    return http_start(&http, listening, out, err);
}

static struct roster *roster_of(void *context) {
    return server_roster(context);
}

/* Builds everything up to the listening socket and the running threads, in the order of struct server. The
 * caller takes down what was built, also after a failure. */
static bool build(struct watch *watch, int *listening) {
    struct server *server = watch->server;
    struct serve_options *options = &server->options;
    struct limoe_error err;
    if (dialects_parse(options->dialects, &server->dialects, &err) != LIMOE_OK)
        return fail(&err);
    server->log = log_new(STDERR_FILENO, options->log_format, options->log_level);
    server->metrics = metrics_new(route_series_names, ROUTE_SERIES, server->n_served);
    openapi_write(&server->openapi);
    if (!server->log || !server->metrics || server->openapi.failed) {
        command_complain("no memory");
        return false;
    }
    watch->polled = calloc(POLLED + LOADING_EVENTS * server->n_served, sizeof *watch->polled);
    if (server->n_served > 1)
        server->intake = queue_new(&options->queue);
    if (!watch->polled || (server->n_served > 1 && !server->intake)) {
        command_complain("no memory");
        return false;
    }
    if (loadings_open(&watch->loadings, server, &err) != LIMOE_OK)
        return fail(&err);
    options->connections = system_connections(options->connections, server->log);
    if (options->connections_per_address == SERVE_HALF)
        options->connections_per_address =
            options->connections / 2 > SERVE_LEAST_HALF ? options->connections / 2 : SERVE_LEAST_HALF;
    const struct classifiers_options classifiers = {.dir = options->state_dir,
                                                    .disk_bytes = options->classifier_bytes,
                                                    .models = server->n_served,
                                                    .log = server->log};
    const struct adapters_options adapters = {
        .state_dir = options->state_dir, .disk_bytes = options->adapter_bytes, .log = server->log};
    const struct vocabularies_options vocabularies = {.state_dir = options->state_dir,
                                                      .bytes = options->vocabulary_bytes,
                                                      .log = server->log,
                                                      .roster = roster_of,
                                                      .context = server};
    const bool encrypted = options->tls_certificate != NULL;
    if (http_listen(options->host, options->port, encrypted, listening, watch->address, &err) != LIMOE_OK ||
        open_access(server, *listening, &err) != LIMOE_OK ||
        open_loadtests(server, *listening, &err) != LIMOE_OK ||
        classifiers_open(&classifiers, &server->classifiers, &err) != LIMOE_OK ||
        adapters_open(&adapters, &server->adapters, &err) != LIMOE_OK ||
        vocabularies_open(&vocabularies, &server->vocabularies, &err) != LIMOE_OK ||
        workers_start(options->workers, "limoe-worker", &server->workers, &err) != LIMOE_OK ||
        workers_start(options->workers, "limoe-bulk", &server->bulk, &err) != LIMOE_OK ||
        workers_start(options->workers, "limoe-pictures", &server->decoding[LANE_QUICK], &err) != LIMOE_OK ||
        workers_start(options->workers, "limoe-albums", &server->decoding[LANE_LONG], &err) != LIMOE_OK ||
        start_decoders(server, &err) != LIMOE_OK || teaching_start(server, &err) != LIMOE_OK ||
        start_tracing(server, &err) != LIMOE_OK || start_fetching(server, &err) != LIMOE_OK ||
        start_relaying(server, &err) != LIMOE_OK ||
        start_http(server, *listening, &watch->http, &err) != LIMOE_OK)
        return fail(&err);
    return true;
}

/* Takes all down in reverse order, also what build has left unfinished. */
static void take_down(struct watch *watch, int listening) {
    struct server *server = watch->server;
    loadings_stop(&watch->loadings);
    http_stop(watch->http);
    training_stop(server->training); /* before the models and decoders that it asks for */
    /* After the last call: what is embedded for none waits for no engine that is lost. */
    loadings_abandon(&watch->loadings);
    vocabularies_stop(server->vocabularies); /* before the models, which it holds */
    fetching_stop(server->fetching);  /* after the last call, before the workers that it hands calls to */
    relaying_stop(server->relaying);  /* likewise */
    tracing_stop(server->tracing);    /* after the last call */
    loadings_close(&watch->loadings); /* after the last call, before the workers that its jobs go to */
    for (int lane = 0; lane < LANES; lane++) {
        workers_stop(server->decoding[lane]);
        decoders_stop(server->decoders[lane]);
    }
    workers_stop(server->bulk);
    workers_stop(server->workers);
    vocabularies_close(server->vocabularies);
    adapters_close(server->adapters);
    classifiers_close(server->classifiers);
    loadtests_free(server->loadtests);
    timeouts_free(server->timeouts);
    hosts_free(server->hosts);
    tls_free(server->tls);
    auth_free(server->auth);
    if (listening >= 0)
        close(listening);
    queue_free(server->intake);
    free(watch->polled);
    buffer_free(&server->openapi);
    metrics_free(server->metrics);
    log_free(server->log);
}

/* ---- the models, as they are named */

static void close_served(struct server *server) {
    for (size_t i = 0; i < server->n_served; i++) {
        struct served *served = &server->served[i];
        free((char *)served->name);
        free((char *)served->dir);
        if (served->reload_event >= 0)
            close(served->reload_event);
        if (served->unused_event >= 0)
            close(served->unused_event);
    }
    free(server->served);
}

static bool name_one(struct served *served, const struct model_entry *entry) {
    served->name = entry->name.data ? strndup(entry->name.data, entry->name.size) : NULL;
    served->dir = strndup(entry->dir.data, entry->dir.size);
    served->reload_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    served->unused_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return served->dir && (served->name || !entry->name.data) && served->reload_event >= 0 &&
           served->unused_event >= 0;
}

/* What was opened is closed by close_served, also after a failure. */
static bool open_served(struct server *server) {
    char room[PATH_MAX];
    struct model_entry entry;
    const char *list = server->options.models, *own = list ? NULL : model_dir(NULL, room);
    if (!list && !own) {
        command_complain("no model is named, and none is where it is looked for; --model names one");
        return false;
    }
    server->served = calloc(list ? model_list_count(list) : 1, sizeof *server->served);
    bool good = server->served != NULL;
    if (good && own)
        good = name_one(&server->served[server->n_served++], &(struct model_entry){.dir = text_of(own)});
    while (good && model_list_next(&list, &entry))
        good = name_one(&server->served[server->n_served++], &entry);
    if (!good)
        command_complain("cannot start: %s", strerror(errno));
    return good;
}

/* Blocks the signals in every thread, so that they come through the descriptor from now on. */
static int signal_descriptor(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN); /* a client that hangs up is an error of write(2), not the server's end */
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int serve_main(int argc, char **argv) {
    struct server server = {.phase = SERVER_STARTING, .lock = PTHREAD_MUTEX_INITIALIZER};
    struct watch watch = {.server = &server, .signals = -1, .began = clock_now()};
    switch (serve_parse(argc, argv, &server.options)) {
    case SERVE_EXIT_OK:
        return COMMAND_OK;
    case SERVE_EXIT_USAGE:
        return COMMAND_USAGE;
    case SERVE_RUN:
        break;
    }
    if (!open_served(&server)) {
        close_served(&server);
        return COMMAND_INPUT;
    }
    if (!server.options.workers) {
        unsigned n = server.options.compute.threads ? server.options.compute.threads : system_processors();
        server.options.workers = n < MOST_WORKERS ? n : MOST_WORKERS;
    }
    system_tune_allocator();
    watch.signals = signal_descriptor();
    if (watch.signals < 0) {
        command_complain("cannot start: %s", strerror(errno));
        close_served(&server);
        return COMMAND_INPUT;
    }
    printf("%s\n", limoe_version());
    fflush(stdout);
    int listening = -1, status = COMMAND_INPUT;
    if (build(&watch, &listening)) {
        printf("listening  %s\n", watch.address);
        fflush(stdout);
        status = run(&watch);
        log_print(server.log, LOG_INFO, NULL, "stopped");
    }
    take_down(&watch, listening);
    close_served(&server);
    close(watch.signals);
    return status;
}
