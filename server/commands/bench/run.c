/* run.c - the loop: what has arrived is sent, what was sent ends. One thread. */
#include "server/commands/bench/run.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "server/commands/bench/client.h"

/* Arrivals that wait for a connection, oldest first: a ring. */
struct backlog {
    struct flight *waiting; /* [room] */
    size_t room, first, n;
};

struct run {
    const struct plan *plan;
    struct pool *pool;
    struct tally *tally;
    struct client *client;
    size_t connections;
    struct backlog backlog;
    struct buffer body; /* of a request that is like no other */
    struct arrivals arrivals;
    int64_t next_ns;                      /* the next arrival; open loop */
    int64_t start_ns, counted_ns, end_ns; /* of sending; of what counts; of sending */
    int64_t timeout_ns;
    bool interrupted;
    run_line *line;
    void *context;
    /* Since the last progress line. */
    int64_t line_ns;
    uint64_t offered, outcomes[OUTCOMES];
};

static int64_t nanoseconds(double seconds) {
    return llround(seconds * 1e9);
}

static void on_answer(void *context, const struct flight *flight, const struct client_answer *answer) {
    struct run *run = context;
    run->outcomes[tally_answer(run->tally, flight, answer)]++;
}

/* ---- sending */

static void send_now(struct run *run, const struct flight *flight, int64_t now) {
    struct text body = {0};
    if (pool_wants_body(run->pool, flight->request)) {
        run->body.size = 0;
        pool_unique_body(run->pool, &run->body);
        body = (struct text){.data = run->body.data, .size = run->body.size};
    }
    tally_sent(run->tally, flight, now);
    client_send(run->client, flight, body, flight->due_ns + run->timeout_ns - now);
}

static void drop(uint64_t *reason, const struct flight *flight) {
    *reason += flight->counted;
}

/* Sends what waits while there is a connection, and drops what has waited for its whole timeout. */
static void send_waiting(struct run *run, int64_t now) {
    struct backlog *backlog = &run->backlog;
    while (backlog->n) {
        const struct flight *oldest = &backlog->waiting[backlog->first];
        if (now - oldest->due_ns >= run->timeout_ns)
            drop(&run->tally->dropped_waiting, oldest);
        else if (client_in_flight(run->client) < run->connections)
            send_now(run, oldest, now);
        else
            return;
        backlog->first = (backlog->first + 1) % backlog->room;
        backlog->n--;
    }
}

static struct flight arrive(struct run *run, int64_t due_ns) {
    const struct flight flight = {
        .request = pool_next(run->pool), .due_ns = due_ns, .counted = due_ns >= run->counted_ns};
    run->tally->arrived += flight.counted;
    run->offered++;
    return flight;
}

static void take_arrivals(struct run *run, int64_t now) {
    struct backlog *backlog = &run->backlog;
    while (run->next_ns < run->end_ns && run->next_ns <= now) {
        const struct flight flight = arrive(run, run->next_ns);
        if (backlog->n == backlog->room)
            drop(&run->tally->dropped_full, &flight);
        else
            backlog->waiting[(backlog->first + backlog->n++) % backlog->room] = flight;
        run->next_ns = run->start_ns + arrivals_next(&run->arrivals);
        send_waiting(run, now);
    }
}

static void keep_busy(struct run *run, int64_t now) {
    /* No more than there are clients: a request that fails at once must not hold up the loop. */
    for (size_t i = 0; i < run->connections && now < run->end_ns; i++) {
        if (client_in_flight(run->client) == run->connections)
            return;
        const struct flight flight = arrive(run, now);
        send_now(run, &flight, now);
    }
}

/* ---- time */

static enum progress_phase phase_of(const struct run *run, int64_t now) {
    if (now >= run->end_ns)
        return PROGRESS_DRAIN;
    return now <= run->counted_ns && run->plan->warmup_s > 0 ? PROGRESS_WARMUP : PROGRESS_LOAD;
}

static void say_line(struct run *run, int64_t now) {
    const double whole = (double)(run->end_ns - run->start_ns);
    struct progress progress = {.phase = phase_of(run, now),
                                .seconds = (double)(now - run->start_ns) / 1e9,
                                .span_s = (double)(now - run->line_ns) / 1e9,
                                .fraction = fmin(1, (double)(now - run->start_ns) / fmax(whole, 1)),
                                .offered = run->offered,
                                .in_flight = client_in_flight(run->client),
                                .waiting = run->backlog.n,
                                .interrupted = run->interrupted};
    for (int i = 0; i < OUTCOMES; i++)
        progress.outcomes[i] = run->outcomes[i];
    run->line(run->context, &progress, run->tally);
    tally_next_line(run->tally);
    run->line_ns = now;
    run->offered = 0;
    for (int i = 0; i < OUTCOMES; i++)
        run->outcomes[i] = 0;
}

static void interrupt(struct run *run, int64_t now) {
    if (run->interrupted) {
        client_interrupt(run->client);
        return;
    }
    run->interrupted = true;
    if (!run->plan->quiet)
        fputs("limoe: interrupted; waiting for what is in flight (again: not even for that)\n", stderr);
    if (now < run->end_ns)
        run->end_ns = now;
    for (; run->backlog.n; run->backlog.n--) {
        drop(&run->tally->dropped_waiting, &run->backlog.waiting[run->backlog.first]);
        run->backlog.first = (run->backlog.first + 1) % run->backlog.room;
    }
}

static int64_t sooner(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* When the loop has something to do though no request ends. */
static int64_t next_wake(const struct run *run, int64_t now) {
    int64_t wake = run->line_ns + CLOCK_SECOND;
    if (now < run->end_ns)
        wake = sooner(wake, run->end_ns);
    if (now < run->counted_ns)
        wake = sooner(wake, run->counted_ns);
    if (!run->plan->closed && run->next_ns < run->end_ns)
        wake = sooner(wake, run->next_ns);
    if (run->backlog.n)
        wake = sooner(wake, run->backlog.waiting[run->backlog.first].due_ns + run->timeout_ns);
    if (run->plan->closed && now < run->end_ns && client_in_flight(run->client) < run->connections)
        wake = now;
    return wake;
}

static void loop(struct run *run, int signals) {
    for (;;) {
        struct signalfd_siginfo got;
        const int64_t now = clock_now();
        while (read(signals, &got, sizeof got) == (ssize_t)sizeof got)
            interrupt(run, now);
        if (!run->tally->start_ns && now >= run->counted_ns)
            tally_start(run->tally, run->counted_ns);
        if (run->plan->closed)
            keep_busy(run, now);
        else
            take_arrivals(run, now);
        send_waiting(run, now);
        if (now >= run->end_ns) {
            if (run->tally->start_ns && !run->tally->end_ns)
                tally_end(run->tally, run->end_ns);
            if (!client_in_flight(run->client) && !run->backlog.n) {
                say_line(run, now);
                return;
            }
        }
        if (now - run->line_ns >= CLOCK_SECOND)
            say_line(run, now);
        client_wait(run->client, next_wake(run, now), signals);
    }
}

bool run_load(const struct plan *plan, struct pool *pool, struct tally *tally, run_line *line, void *context,
              struct run_result *result) {
    struct run run = {.plan = plan,
                      .pool = pool,
                      .tally = tally,
                      .line = line,
                      .context = context,
                      .connections = plan->closed ? plan->closed : plan->connections,
                      .timeout_ns = nanoseconds(plan->timeout_s)};
    sigset_t ours, before;
    bool ok = false;
    sigemptyset(&ours);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGTERM);
    sigprocmask(SIG_BLOCK, &ours, &before);
    const int signals = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
    run.client = client_new(plan, run.connections, on_answer, &run);
    run.backlog.room = plan->closed ? 1 : plan->backlog;
    run.backlog.waiting = calloc(run.backlog.room, sizeof *run.backlog.waiting);
    if (signals < 0 || !run.client || !run.backlog.waiting)
        goto out;

    run.start_ns = run.line_ns = clock_now();
    run.counted_ns = run.start_ns + nanoseconds(plan->warmup_s);
    run.end_ns = run.counted_ns + nanoseconds(plan->duration_s);
    if (!plan->closed) {
        run.arrivals = arrivals_start(plan->arrivals, plan->rate, plan->seed);
        run.next_ns = run.start_ns + arrivals_next(&run.arrivals);
    }
    loop(&run, signals);
    *result = (struct run_result){.interrupted = run.interrupted, .connects = client_connects(run.client)};
    ok = true;
out:
    free(run.backlog.waiting);
    buffer_free(&run.body);
    client_free(run.client);
    if (signals >= 0)
        close(signals);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return ok;
}
