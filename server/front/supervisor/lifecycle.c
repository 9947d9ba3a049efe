/* lifecycle.c - an engine's process: started, heard, lost, started again.
 *
 * A process that has answered a step works; if it is lost, another is started at once, and the step that it
 * was computing is suspected. So is one that was lost with a step in hand before it answered any: that is
 * what a step that breaks engines looks like. One that is lost with nothing in hand before it answered
 * anything does not work: the next start waits, longer each time, and after MOST_FAILURES the engine is said
 * not to run.
 *
 * Ranks that come to the front and find each other by themselves (launcher.h) have little time to do it, but
 * for the first, of which nobody knows how much they need; and all the time that weights may take from then
 * on. Where ranks are separable, only the one that is lost is started again. The steps that all of them had
 * are suspected and sent again as ever. Where it is not known who is at fault, as when a step takes too long,
 * all are.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "server/front/supervisor/engine_parts.h"
#include "server/front/supervisor/hosts.h"

#define MOST_FAILURES  3
#define SHORTEST_PAUSE (100 * CLOCK_MILLISECOND)
#define LONGEST_PAUSE  (10 * CLOCK_SECOND)
#define RANKS_PAUSE                                                                                          \
    (2 * CLOCK_SECOND) /* the longest of several ranks': a host that is back should not wait */
#define CONNECT_LEAST  (5 * CLOCK_SECOND) /* for ranks to come, and again to find each other */
#define CONNECT_MOST   (30 * CLOCK_SECOND)
#define CONNECT_TIMES  5                         /* as long as it took at its quickest */
#define CONNECT_MORE   CLOCK_SECOND              /* for each start in a row that has failed */
#define OPEN_TIMEOUT   (600 * CLOCK_SECOND)      /* weights may come over a network */
#define END_TIMEOUT    2000                      /* ms from a socket's end to its process's */
#define REJOIN_TIMEOUT (500 * CLOCK_MILLISECOND) /* for the end to show of whoever the others have lost */

/* ---- failed starts */

static int64_t pause_after(unsigned failures, int64_t longest) {
    int64_t pause = SHORTEST_PAUSE;
    for (unsigned i = 1; i < failures && pause < longest; i++)
        pause *= 2;
    return pause < longest ? pause : longest;
}

/* Notes that the process was of no use. A model that cannot be opened at the very first start is for the
 * operator to mend, at once; whatever else goes wrong is tried again. */
static void failed(struct engine *engine, const struct limoe_error *err, bool final) {
    engine->failures++;
    bool over = final || engine->failures >= MOST_FAILURES;
    if (!atomic_load(&engine->settled) && over) {
        engine_settle(engine, err->status, err);
        return;
    }
    log_print(engine->options.log, over ? LOG_ERROR : LOG_WARNING, NULL,
              "%s: start %u in a row has failed: %s", engine->label, engine->failures, err->message);
    if (over)
        engine_set_fault(engine, err->message);
    engine->start_at =
        clock_now() + pause_after(engine->failures, engine->membership.n == 1 ? LONGEST_PAUSE : RANKS_PAUSE);
}

/* ---- start */

/* The arguments of `limoe engine`. */
struct arguments {
    const char *list[24]; /* NULL behind the last */
    size_t n;
    char threads[16], step_tokens[24], expert_bytes[24], adapter_bytes[24], trunk_bytes[24];
};

static void add(struct arguments *arguments, const char *flag, const char *value) {
    arguments->list[arguments->n++] = flag;
    arguments->list[arguments->n++] = value;
}

static void set_arguments(const struct engine *engine, struct arguments *arguments) {
    const struct engine_options *options = &engine->options;
    const struct limoe_options *compute = &options->compute;
    const char *device = engine->launcher->ops->device(compute);
    *arguments = (struct arguments){.n = 0};
    snprintf(arguments->threads, sizeof arguments->threads, "%u", compute->threads);
    snprintf(arguments->step_tokens, sizeof arguments->step_tokens, "%llu",
             (unsigned long long)options->step_tokens);
    snprintf(arguments->expert_bytes, sizeof arguments->expert_bytes, "%llu",
             (unsigned long long)compute->expert_bytes);
    add(arguments, "--model", options->model);
    if (device)
        add(arguments, "--device", device);
    add(arguments, "--dtype", compute->dtype == LIMOE_DTYPE_AUTO ? "auto" : limoe_dtype_name(compute->dtype));
    if (options->step_tokens)
        add(arguments, "--step-tokens", arguments->step_tokens);
    if (compute->threads)
        add(arguments, "--threads", arguments->threads);
    if (compute->load_file)
        add(arguments, "--load", compute->load_file);
    if (compute->load_file && compute->expert_bytes)
        add(arguments, "--expert-bytes", arguments->expert_bytes);
    if (!options->adapters || engine->membership.n > 1) /* ranks may be on other hosts, and have no tails */
        return;
    snprintf(arguments->adapter_bytes, sizeof arguments->adapter_bytes, "%llu",
             (unsigned long long)options->adapter_bytes);
    add(arguments, "--adapters", options->adapters);
    add(arguments, "--adapter-memory", arguments->adapter_bytes);
    snprintf(arguments->trunk_bytes, sizeof arguments->trunk_bytes, "%llu",
             (unsigned long long)options->trunk_bytes);
    add(arguments, "--trunk-cache", arguments->trunk_bytes);
}

/* Publishes what other threads may know of the ranks now. */
static void tell_ranks(struct engine *engine) {
    pthread_mutex_lock(&engine->lock);
    for (uint32_t r = 0; r < engine->membership.n; r++) {
        const struct member *rank = &engine->membership.rank[r];
        engine->ranks[r] = (struct engine_rank){.pid = rank->pid};
        if (!rank->heard)
            continue;
        engine->ranks[r].experts = rank->hello.experts;
        engine->ranks[r].dense_bytes = rank->hello.dense_bytes;
        engine->ranks[r].expert_bytes = rank->hello.expert_bytes;
    }
    pthread_mutex_unlock(&engine->lock);
}

/* Whether all processes are there, as they may be when ranks have only lost each other. */
static bool is_whole(const struct launcher *launcher) {
    return launcher->ops->whole && launcher->ops->whole(launcher);
}

static pid_t engine_process(const struct engine *engine) {
    return engine->launcher->ops->pid(engine->launcher);
}

/* How long ranks have to come, and again to find each other. It grows, so that a machine that has become
 * slow is not given up for ever. */
static int64_t connect_timeout(const struct engine *engine) {
    int64_t timeout = CONNECT_TIMES * engine->connected_after;
    if (timeout < CONNECT_LEAST)
        timeout = CONNECT_LEAST;
    timeout += engine->failures * CONNECT_MORE;
    return engine->connected_after && timeout < CONNECT_MOST ? timeout : CONNECT_MOST;
}

void lifecycle_start(struct engine *engine) {
    const struct engine_options *options = &engine->options;
    struct launcher *launcher = engine->launcher;
    struct arguments arguments;
    struct limoe_error err;
    set_arguments(engine, &arguments);
    engine->start_at = 0;
    if (atomic_load(&engine->settled) && !is_whole(launcher))
        metrics_count_model(options->metrics, options->served, METRICS_ENGINE_RESTARTS, 1);
    if (launcher->ops->start(launcher, arguments.list, &err) != LIMOE_OK) {
        failed(engine, &err, false);
        return;
    }
    atomic_store(&engine->pid, engine_process(engine));
    tell_ranks(engine);
    engine->phase = ENGINE_OPENING;
    engine->answered = false;
    over_forget(queue_over(options->queue));
    engine->began = clock_now();
    const bool apart = engine->membership.connected < engine->membership.n;
    engine->deadline = engine->began + (apart ? connect_timeout(engine) : OPEN_TIMEOUT);
}

static void all_connected(struct engine *engine, int64_t now) {
    const int64_t after = now - engine->began;
    if (!engine->connected_after || after < engine->connected_after)
        engine->connected_after = after;
    engine->deadline = now + OPEN_TIMEOUT;
}

void lifecycle_rendezvous(struct engine *engine) {
    struct launcher *launcher = engine->launcher;
    const int64_t now = clock_now();
    const char *cause;
    struct member *absent;
    if (launcher->ops->accept && launcher->ops->accept(launcher, now) && engine->phase == ENGINE_OPENING) {
        if (launcher->ops->separable) /* how long they take to find each other, NCCL bounds */
            all_connected(engine, now);
        else
            engine->deadline = now + connect_timeout(engine);
    }
    while (launcher->ops->absent && (absent = launcher->ops->absent(launcher, &cause)))
        lifecycle_rank_lost(engine, absent, cause);
}

void lifecycle_connected(struct engine *engine, struct member *rank) {
    if (membership_connected(&engine->membership, rank))
        all_connected(engine, clock_now());
}

/* ---- loss */

static void go_down(struct engine *engine) {
    engine->phase = ENGINE_DOWN;
    engine->deadline = engine->measure_at = engine->ask_at = 0;
    engine->peers_lost[0] = '\0';
}

/* Ends all, or of separable ranks `alone`, and says how the last one ended. */
static void end_process(struct engine *engine, const struct member *alone, char ended[PROCESS_WHY_SIZE]) {
    struct launcher *launcher = engine->launcher;
    launcher->ops->end(launcher, alone, ended);
    const pid_t pid = engine_process(engine);
    atomic_store(&engine->pid, pid > 0 ? pid : 0);
    tell_ranks(engine);
    go_down(engine);
}

void lifecycle_stop(struct engine *engine) {
    struct launcher *launcher = engine->launcher;
    if (launcher->ops->let_go)
        launcher->ops->let_go(launcher);
    end_process(engine, NULL, NULL);
}

/* Suspects the first of the steps that the engine had, or the one behind it, if whoever was lost had
 * answered the first. All are sent again, but for a poison item. */
static void suspect(struct engine *engine, bool answered, size_t in_hand, const char *cause) {
    struct replay *replay = &engine->replay;
    if (in_hand == 0 || (answered && in_hand == 1))
        return;
    if (answered)
        replay_defer(replay);
    const struct queue_slice *slice = &replay->first->step.slices[0];
    char message[sizeof(struct limoe_error)];
    switch (replay_suspect(replay)) {
    case REPLAY_AGAIN:
        return;
    case REPLAY_POISON:
        snprintf(message, sizeof message,
                 "the engine was lost twice while it computed item %zu, the last time alone: %.400s",
                 slice->first, cause);
        metrics_count_model(engine->options.metrics, engine->options.served, METRICS_POISON_ITEMS, 1);
        steps_fail(engine, LIMOE_INTERNAL, message);
        return;
    case REPLAY_NO_MEMORY:
        steps_fail(engine, LIMOE_NO_MEMORY, "no memory to find the item that breaks the engine");
        return;
    }
}

/* What is to be done once something is lost. */
struct loss {
    const char *what; /* "process 7" */
    const char *cause;
    bool was_up;
    bool answered; /* it had answered the oldest step */
};

static void replace(struct engine *engine, const struct loss *loss) {
    struct limoe_error err;
    size_t in_hand = replay_lost(&engine->replay);
    if (!loss->was_up || (!engine->answered && in_hand == 0)) {
        limoe_fail(&err, LIMOE_INTERNAL, "the engine (%s%s) was lost before it answered: %.400s",
                   engine->launcher->ops->remote ? "several ranks, " : "", loss->what, loss->cause);
        failed(engine, &err, false);
        return;
    }
    log_print(engine->options.log, LOG_WARNING, NULL, "%s: %s was lost: %s; started again, with %zu steps",
              engine->label, loss->what, loss->cause, in_hand);
    metrics_count_model(engine->options.metrics, engine->options.served, METRICS_REPLAYED_STEPS, in_hand);
    suspect(engine, loss->answered, in_hand, loss->cause);
    engine->start_at = clock_now();
}

/* The engine is lost, with all its ranks. */
static void lose(struct engine *engine, const char *cause, bool answered) {
    char ended[PROCESS_WHY_SIZE], both[sizeof engine->fault], what[64];
    pid_t pid = engine_process(engine);
    bool up = engine->phase == ENGINE_UP;
    end_process(engine, NULL, ended);
    if (cause && engine->launcher->ops->remote)
        snprintf(both, sizeof both, "%s; %s", cause, ended);
    else
        snprintf(both, sizeof both, "%s", cause ? cause : ended);
    snprintf(what, sizeof what, "process %ld", (long)pid);
    replace(engine, &(struct loss){.what = what, .cause = both, .was_up = up, .answered = answered});
}

void lifecycle_lost(struct engine *engine, const char *cause) {
    lose(engine, cause, false);
}

void lifecycle_rank_lost(struct engine *engine, struct member *rank, const char *cause) {
    char ended[PROCESS_WHY_SIZE], what[HOSTS_NAME_SIZE + 64], why[512];
    const bool up = engine->phase == ENGINE_UP, down = engine->phase == ENGINE_DOWN,
               answered = rank->answered;
    if (!engine->launcher->ops->separable) {
        lifecycle_lost(engine, cause);
        return;
    }
    membership_describe(&engine->membership, rank, what, sizeof what);
    snprintf(why, sizeof why, "%s", cause ? cause : ""); /* it may be the launcher's, about this rank */
    end_process(engine, rank, ended);
    if (!down) /* then a start is due already */
        replace(engine, &(struct loss){
                            .what = what, .cause = cause ? why : ended, .was_up = up, .answered = answered});
}

void lifecycle_late(struct engine *engine) {
    const struct launcher *launcher = engine->launcher;
    struct membership *membership = &engine->membership;
    struct member *last = NULL;
    char cause[PROCESS_WHY_SIZE];
    if (!launcher->ops->separable) {
        snprintf(cause, sizeof cause, "only %u of %u ranks were started and came to the front in time",
                 membership->joined, membership->n);
        lifecycle_lost(engine, cause);
        return;
    }
    for (uint32_t r = 0; r < membership->n; r++) {
        if (membership->rank[r].link.fd >= 0)
            continue;
        if (last)
            launcher->ops->end(engine->launcher, last, NULL);
        last = &membership->rank[r];
    }
    snprintf(cause, sizeof cause, "it did not come to the front in %.0f s",
             (double)(clock_now() - engine->began) / (double)CLOCK_SECOND);
    if (last)
        lifecycle_rank_lost(engine, last, cause);
}

void lifecycle_peers_lost(struct engine *engine, const char *message) {
    const int64_t until = clock_now() + REJOIN_TIMEOUT;
    if (engine->peers_lost[0])
        return;
    snprintf(engine->peers_lost, sizeof engine->peers_lost, "%.250s",
             message[0] ? message : "it does not say why");
    if (!engine->deadline || until < engine->deadline)
        engine->deadline = until;
}

void lifecycle_rejoin(struct engine *engine) {
    char cause[sizeof engine->peers_lost];
    const bool up = engine->phase == ENGINE_UP;
    memcpy(cause, engine->peers_lost, sizeof cause);
    engine->launcher->ops->detach(engine->launcher);
    go_down(engine);
    replace(engine, &(struct loss){.what = "its ranks' exchange", .cause = cause, .was_up = up});
}

/* Reads what a rank has said before it ended, which may be why it cannot open the model. True if that was
 * it, and has been seen to. */
static bool last_words(struct engine *engine, struct member *rank) {
    while (steps_listening(engine, rank) &&
           link_receive_any(&rank->link, steps_due(engine, rank), FRAME_HELLO_BYTES, NULL) == LINK_DONE)
        if (rank->link.frame.type == FRAME_HELLO)
            lifecycle_hello(engine, rank);
        else if (rank->link.frame.type == FRAME_CONNECTED)
            lifecycle_connected(engine, rank);
    return engine->phase == ENGINE_DOWN;
}

/* The same of all ranks: the end of one ends the job, and others may be gone before what it has said is
 * read. */
static bool last_words_of_any(struct engine *engine) {
    bool heard = false;
    for (uint32_t r = 0; !heard && r < engine->membership.joined; r++)
        heard = last_words(engine, &engine->membership.rank[r]);
    return heard;
}

void lifecycle_disconnected(struct engine *engine, struct member *rank, const char *cause) {
    const bool opening = engine->phase == ENGINE_OPENING, has_answered = rank->answered;
    char whose[sizeof engine->fault];
    const struct launcher *launcher = engine->launcher;
    if (!launcher->ops->remote) {
        struct pollfd end = {.fd = launcher->ops->pidfd(launcher, rank), .events = POLLIN};
        if (!opening || !last_words(engine, rank))
            lifecycle_rank_lost(engine, rank, end.fd >= 0 && poll(&end, 1, END_TIMEOUT) == 1 ? NULL : cause);
        return;
    }
    if (opening)
        snprintf(whose, sizeof whose, "a rank: %s", cause);
    else
        snprintf(whose, sizeof whose, "rank %u: %s", (unsigned)(rank - engine->membership.rank), cause);
    if (!opening || !last_words_of_any(engine))
        lose(engine, whose, has_answered);
}

/* ---- hello */

/* The first HELLO: what is served from now on. */
static enum limoe_status adopt(struct engine *engine, struct limoe_error *err) {
    const struct frame_hello *hello = &engine->hello;
    engine->info = (struct engine_info){
        .model = hello->model,
        .dtype = hello->dtype,
        .backend = hello->backend,
        .fingerprint = hello->fingerprint,
        .base = hello->base,
        .threads = hello->threads,
        .step_tokens = hello->step_tokens,
        .ranks = engine->membership.n,
        .created = (int64_t)time(NULL),
    };
    if (engine->options.name)
        engine->info.model.name = engine->options.name;
    /* Also where the option left it open, so that processes started from now on are told the same. */
    engine->options.step_tokens = hello->step_tokens;
    replay_init(&engine->replay, hello->step_tokens + 1); /* the probe has two items, whatever the budget */
    const struct frame_shape shape = frame_shape(&hello->model, hello->step_tokens);
    if (!transfer_init(&engine->transfer, &shape, engine->membership.n))
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for steps of %llu tokens",
                          (unsigned long long)hello->step_tokens);
    engine->counters = metrics_open_model(engine->options.metrics, &engine->info.model);
    return LIMOE_OK;
}

/* Whether steps may be sent to these ranks. */
static enum limoe_status accept_ranks(struct engine *engine, struct limoe_error *err) {
    enum limoe_status status = membership_verify(&engine->membership, err);
    if (status != LIMOE_OK)
        return status;
    const struct frame_hello *hello = &engine->membership.rank[0].hello;
    if (!atomic_load(&engine->settled)) {
        engine->hello = *hello;
        engine->hello.model.name = engine->hello.name;
        engine->hello.model.moe_blocks = engine->hello.moe_blocks;
        return adopt(engine, err);
    }
    if (frame_hello_equal(hello, &engine->hello))
        return LIMOE_OK;
    atomic_store(&engine->superseded, true);
    return limoe_fail(err, LIMOE_CORRUPT,
                      "%s is not the model any more that it was at first: answers would change",
                      engine->options.model);
}

void lifecycle_unique_id(struct engine *engine, struct member *rank) {
    struct limoe_error err;
    if (rank != engine->membership.rank)
        lifecycle_rank_lost(engine, rank, "it gave a unique id and is not rank 0");
    else if (engine->launcher->ops->unique_id(engine->launcher, &err) != LIMOE_OK)
        lifecycle_rank_lost(engine, rank, err.message);
}

/* Whether a HELLO belongs to a generation that is over. A HELLO without a generation is from a rank that
 * cannot take part in any, and says why. */
static bool is_late(const struct engine *engine, const struct member *rank) {
    const uint64_t generation = rank->link.frame.id;
    const uint64_t latest = engine->launcher->generation;
    return latest && generation && generation != latest;
}

/* Takes the rank's HELLO. Separable ranks have their numbers from the start. */
static enum limoe_status hear(struct engine *engine, struct member *rank, struct limoe_error *err) {
    const uint32_t number = (uint32_t)(rank - engine->membership.rank);
    enum limoe_status status = membership_hello(&engine->membership, rank, err);
    if (status == LIMOE_OK && engine->launcher->ops->separable && rank->hello.rank != number)
        return limoe_fail(err, LIMOE_CORRUPT, "rank %u says that it is rank %u", number, rank->hello.rank);
    return status;
}

static bool is_newcomer(const struct member *rank) {
    return rank->place && !rank->proven;
}

/* What keeps ranks from computing that have done it before is the doing of those that have come from other hosts since:
 * of the one that says it, or of all, if one of the others does. Only these are lost. False: it is nobody's in
 * particular. */
static bool suspect_newcomers(struct engine *engine, struct member *rank, const char *message) {
    struct membership *membership = &engine->membership;
    struct member *last = is_newcomer(rank) ? rank : NULL;
    char cause[sizeof engine->fault];
    for (uint32_t r = 0; !is_newcomer(rank) && r < membership->n; r++) {
        if (!is_newcomer(&membership->rank[r]))
            continue;
        if (last)
            engine->launcher->ops->end(engine->launcher, last, NULL);
        last = &membership->rank[r];
    }
    if (!last || !atomic_load(&engine->settled))
        return false;
    snprintf(cause, sizeof cause, "rank %u says: %s", (unsigned)(rank - membership->rank), message);
    lifecycle_rank_lost(engine, last, cause);
    return true;
}

static void say_open(const struct engine *engine, int64_t now) {
    log_print(engine->options.log, LOG_INFO, NULL, "%s: process %ld has %s open after %.0f ms, %u rank%s",
              engine->label, (long)engine_process(engine), engine->info.model.name,
              (double)(now - engine->began) / (double)CLOCK_MILLISECOND, engine->membership.n,
              engine->membership.n == 1 ? "" : "s");
}

void lifecycle_hello(struct engine *engine, struct member *rank) {
    struct limoe_error err;
    struct membership *membership = &engine->membership;
    bool first = !atomic_load(&engine->settled);
    if (is_late(engine, rank))
        return;
    enum limoe_status status = hear(engine, rank, &err);
    if (status == LIMOE_LOST && engine->launcher->ops->separable) {
        lifecycle_peers_lost(engine, err.message);
        return;
    }
    if (status == LIMOE_OK && membership->heard < membership->n)
        return;
    if (status != LIMOE_OK && suspect_newcomers(engine, rank, err.message))
        return;
    if (status != LIMOE_OK || accept_ranks(engine, &err) != LIMOE_OK) {
        end_process(engine, NULL, NULL);
        failed(engine, &err, first);
        return;
    }
    int64_t now = clock_now();
    engine->phase = ENGINE_UP;
    engine->deadline = 0;
    engine->measure_at = engine->options.memory_bytes ? now : 0;
    tell_ranks(engine);
    for (uint32_t r = 0; r < membership->n; r++)
        membership->rank[r].proven = true;
    say_open(engine, now);
    if (first && engine->hello.note[0])
        log_print(engine->options.log, LOG_INFO, NULL, "%s: %s", engine->label, engine->hello.note);
    if (first)
        engine_settle(engine, LIMOE_OK, NULL);
}

void lifecycle_answered(struct engine *engine) {
    if (engine->answered)
        return;
    engine->answered = true;
    engine->failures = 0;
    engine_set_fault(engine, "");
}
