/* serve.c - `limoe serve`: build the server, watch over it, take it down.
 *
 * The main thread owns the struct server. While requests are served it sleeps in poll: for signals (blocked
 * in every thread, read from a signalfd), for the engine's events, and once a second to probe the engine and
 * to answer calls whose deadline has passed. The other threads are the HTTP threads (http.c), the workers
 * (stages.c) and the engine (engine.c).
 *
 * Start: the socket listens first, so that a port in use is found at once; the model opens on the engine's
 * thread while early requests get 503. Stop: accept no more, let what is in flight finish, then join
 * everything in reverse order.
 */
#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/model_dir.h"
#include "http/http.h"
#include "http/route.h"
#include "observe/clock.h"
#include "server.h"

#define TICK_MS             1000
#define DRAIN_TICK_MS       10
#define ABANDON_GRACE       CLOCK_SECOND
#define HEALTH_LIMIT        (10 * CLOCK_SECOND) /* how old the engine's last answer to a probe may be */
#define MOST_WORKERS        16u
#define DESCRIPTORS_WANTED  65536u
#define DESCRIPTORS_SPARE   64u         /* for all that is no client connection */
#define MMAP_THRESHOLD_SIZE (256 << 10) /* larger allocations go back to the system when they are freed */

enum wake { WAKE_SIGNAL, WAKE_OPENED, WAKE_ANSWERED, WAKES };

/* serve.c's own, beside the server. */
struct watch {
    struct server *server;
    struct http *http;
    int fds[WAKES];
    int64_t began;
    char address[HTTP_ADDRESS_SIZE];
};

/* ---- the process */

static unsigned allowed_processors(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    int n = CPU_COUNT(&set);
    return n > 0 ? (unsigned)n : 1;
}

/* A connection needs a descriptor: raises the soft limit towards the hard one, and lowers the connections to
 * what is left. */
static void fit_descriptors(struct server *server) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    if (limit.rlim_cur < DESCRIPTORS_WANTED) {
        struct rlimit raised = limit;
        raised.rlim_cur = limit.rlim_max < DESCRIPTORS_WANTED ? limit.rlim_max : DESCRIPTORS_WANTED;
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
            limit = raised;
    }
    rlim_t most =
        limit.rlim_cur > 2 * DESCRIPTORS_SPARE ? limit.rlim_cur - DESCRIPTORS_SPARE : limit.rlim_cur / 2;
    if (server->options.connections > most) {
        log_print(server->log, LOG_WARNING, NULL,
                  "the limit on open files leaves room for %llu connections, not %u",
                  (unsigned long long)most, server->options.connections);
        server->options.connections = (unsigned)most;
    }
}

/* Memory that a burst of requests took must go back to the system after it: few malloc arenas, each of which
 * keeps what it once had, and large blocks from mmap. */
static void tune_allocator(void) {
    mallopt(M_ARENA_MAX, 2);
    mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_SIZE);
    mallopt(M_TRIM_THRESHOLD, MMAP_THRESHOLD_SIZE);
}

/* ---- watching */

static void print_model(const struct server *server) {
    const struct engine_info *engine = engine_info(server->engine);
    const struct limoe_info *model = &engine->model;
    printf("model      %s: %.1f M parameters, %.1f M active", model->name,
           (double)model->total_parameters / 1e6, (double)model->active_parameters / 1e6);
    if (model->moe_layers > 0)
        printf(", %u experts in %u of %u blocks", model->experts, model->moe_layers, model->blocks);
    printf("\ncompute    %s on %s, %u thread%s\n", limoe_dtype_name(engine->dtype), engine->backend,
           engine->threads, engine->threads == 1 ? "" : "s");
    fflush(stdout);
}

/* The model is open, or is not going to be. False: the server cannot go on. */
static bool on_opened(struct watch *watch) {
    struct limoe_error err;
    if (engine_opened(watch->server->engine, &err) != LIMOE_OK) {
        cli_complain("%s", err.message);
        return false;
    }
    print_model(watch->server);
    health_probe(watch->server->health, clock_now());
    return true;
}

/* The engine has answered a probe. The first answer makes the server ready, or shows that it never will be.
 */
static bool on_answered(struct watch *watch) {
    struct server *server = watch->server;
    char why[700];
    bool good = health_good(server->health, why, sizeof why);
    if (atomic_load(&server->phase) != SERVER_STARTING) {
        if (!good)
            log_print(server->log, LOG_ERROR, NULL, "health: %s", why);
        return true;
    }
    if (!good) {
        cli_complain("%s", why);
        return false;
    }
    malloc_trim(0); /* what opening the model needed besides the model */
    atomic_store(&server->phase, SERVER_READY);
    printf("ready      %s, %.0f ms after start\n", watch->address,
           (double)(clock_now() - watch->began) / (double)CLOCK_MILLISECOND);
    fflush(stdout);
    return true;
}

/* Which signal was sent, or 0. */
static int read_signal(const struct watch *watch) {
    struct signalfd_siginfo info;
    return read(watch->fds[WAKE_SIGNAL], &info, sizeof info) == sizeof info ? (int)info.ssi_signo : 0;
}

/* Sleeps until something happens, at most `timeout` ms, and sees to the engine. False: the server cannot go
 * on. *signal_number is 0 or the signal that came. */
static bool watch_once(struct watch *watch, int timeout, int *signal_number) {
    struct pollfd polled[WAKES];
    for (int i = 0; i < WAKES; i++)
        polled[i] = (struct pollfd){.fd = watch->fds[i], .events = POLLIN};
    *signal_number = 0;
    if (poll(polled, WAKES, timeout) < 0)
        memset(polled, 0, sizeof polled); /* whatever it was: the tick goes on */
    bool good = true;
    for (int i = WAKE_OPENED; i < WAKES; i++) {
        uint64_t count;
        if (polled[i].revents && read(watch->fds[i], &count, sizeof count) == sizeof count)
            good = good && (i == WAKE_OPENED ? on_opened(watch) : on_answered(watch));
    }
    if (polled[WAKE_SIGNAL].revents)
        *signal_number = read_signal(watch);

    struct server *server = watch->server;
    int64_t now = clock_now();
    queue_expire(server->queue, now);
    if (atomic_load(&server->phase) == SERVER_READY)
        health_probe(server->health, now);
    return good;
}

/* Lets what is in flight finish. False: the engine did not finish its part within the time given. Requests
 * whose bodies are still coming in by then are cut off: they were never the engine's. */
static bool drain(struct watch *watch, int signal_number) {
    struct server *server = watch->server;
    log_print(server->log, LOG_INFO, NULL, "%s: stopping; %llu requests in flight", strsignal(signal_number),
              (unsigned long long)atomic_load(&server->calls));
    atomic_store(&server->phase, SERVER_DRAINING);
    http_stop_accepting(watch->http);
    int64_t limit = clock_now() + (int64_t)server->options.drain_seconds * CLOCK_SECOND;
    bool late = false;
    for (;;) {
        bool stopped = atomic_load(&server->phase) == SERVER_STOPPED;
        if (atomic_load(&server->handed) == 0 && (stopped || atomic_load(&server->calls) == 0))
            return !late;
        if (!watch_once(watch, DRAIN_TICK_MS, &signal_number) || signal_number) {
            log_print(server->log, LOG_WARNING, NULL, "stopped at once");
            _exit(128 + signal_number);
        }
        if (clock_now() < limit)
            continue;
        if (stopped) {
            log_print(server->log, LOG_ERROR, NULL,
                      "the engine does not finish what it computes; stopped without it");
            _exit(CLI_INPUT);
        }
        atomic_store(&server->phase, SERVER_STOPPED); /* from here on no call is handed over */
        late = atomic_load(&server->handed) > 0;
        queue_abandon(server->queue); /* who waits is told so, which takes a moment */
        limit = clock_now() + ABANDON_GRACE;
    }
}

static int run(struct watch *watch) {
    int signal_number = 0;
    while (!signal_number)
        if (!watch_once(watch, TICK_MS, &signal_number))
            return 1;
    return drain(watch, signal_number) ? 0 : 1;
}

/* ---- life */

static bool fail(const struct limoe_error *err) {
    cli_complain("%s", err->message);
    return false;
}

/* Everything up to the listening socket and the running threads, in the order of struct server. What was
 * built is the caller's to take down, also after a failure. */
static bool build(struct watch *watch, int *listening, const char *const *labels, size_t n_labels) {
    struct server *server = watch->server;
    const struct serve_options *options = &server->options;
    struct limoe_error err;
    server->log = log_new(STDERR_FILENO, options->log_format, options->log_level);
    server->metrics = metrics_new(labels, n_labels);
    server->queue = queue_new(&options->queue);
    if (!server->log || !server->metrics || !server->queue) {
        cli_complain("no memory");
        return false;
    }
    fit_descriptors(server);
    if (http_listen(options->host, options->port, listening, watch->address, &err) != LIMOE_OK ||
        limoe_processor_open(options->model, &options->image, &server->processor, &err) != LIMOE_OK)
        return fail(&err);
    server->model = limoe_processor_info(server->processor);
    if (health_new(server->processor, server->queue, HEALTH_LIMIT, watch->fds[WAKE_ANSWERED], &server->health,
                   &err) != LIMOE_OK)
        return fail(&err);
    const struct engine_options engine = {
        .model = options->model,
        .compute = options->compute,
        .step_tokens = options->step_tokens,
        .queue = server->queue,
        .metrics = server->metrics,
        .log = server->log,
        .opened_event = watch->fds[WAKE_OPENED],
    };
    if (engine_start(&engine, &server->engine, &err) != LIMOE_OK ||
        workers_start(options->workers, &server->workers, &err) != LIMOE_OK ||
        http_start(server, *listening, &watch->http, &err) != LIMOE_OK)
        return fail(&err);
    return true;
}

/* In reverse order. Works for what build left unfinished, too. */
static void take_down(struct watch *watch, int listening) {
    struct server *server = watch->server;
    http_stop(watch->http);
    engine_stop(server->engine); /* after the last call, before the workers that its jobs go to */
    workers_stop(server->workers);
    health_free(server->health);
    limoe_processor_close(server->processor);
    if (listening >= 0)
        close(listening);
    queue_free(server->queue);
    metrics_free(server->metrics);
    log_free(server->log);
}

/* SIGTERM and SIGINT come through the descriptor from now on, in every thread. */
static int signal_descriptor(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN); /* a client that hangs up is an error of write(2), not the server's end */
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int cli_serve(int argc, char **argv) {
    struct server server = {.phase = SERVER_STARTING};
    struct watch watch = {.server = &server, .fds = {-1, -1, -1}, .began = clock_now()};
    switch (serve_parse(argc, argv, &server.options)) {
    case SERVE_EXIT_OK:
        return CLI_OK;
    case SERVE_EXIT_USAGE:
        return CLI_USAGE;
    case SERVE_RUN:
        break;
    }
    char room[PATH_MAX];
    server.options.model = model_dir(server.options.model, room);
    if (!server.options.model) {
        cli_complain("no model is named, and none is where it is looked for; --model names one");
        return CLI_INPUT;
    }
    if (!server.options.workers) {
        unsigned n = server.options.compute.threads ? server.options.compute.threads : allowed_processors();
        server.options.workers = n < MOST_WORKERS ? n : MOST_WORKERS;
    }
    tune_allocator();

    int listening = -1, status = CLI_INPUT;
    size_t n;
    const struct route *routes = route_table(&n);
    const char **labels = calloc(n, sizeof *labels); /* of the metrics */
    for (size_t i = 0; labels && i < n; i++)
        labels[i] = routes[i].label;
    watch.fds[WAKE_SIGNAL] = signal_descriptor();
    watch.fds[WAKE_OPENED] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    watch.fds[WAKE_ANSWERED] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!labels || watch.fds[WAKE_SIGNAL] < 0 || watch.fds[WAKE_OPENED] < 0 || watch.fds[WAKE_ANSWERED] < 0) {
        cli_complain("cannot start: %s", strerror(errno));
        goto out;
    }
    printf("%s\n", limoe_version());
    fflush(stdout);
    if (build(&watch, &listening, labels, n)) {
        printf("listening  %s\n", watch.address);
        fflush(stdout);
        status = run(&watch);
        log_print(server.log, LOG_INFO, NULL, "stopped");
    }
    take_down(&watch, listening);
out:
    for (int i = 0; i < WAKES; i++)
        if (watch.fds[i] >= 0)
            close(watch.fds[i]);
    free(labels);
    return status;
}
