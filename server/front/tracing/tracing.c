/* tracing.c - the exporter's pipe, its reports, its life.
 *
 * `pipe` is one descriptor number for good: that of another exporter's pipe is put in its place by dup3, so that who writes
 * meanwhile needs no lock. What an exporter was handed and has not reported when it ends counts as dropped.
 */
#include "server/front/tracing/tracing.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/process.h"

#define PIPE_BYTES  (1 << 20) /* as much as the system lets anybody have */
#define FIRST_PAUSE CLOCK_SECOND
#define MOST_PAUSE  (60 * CLOCK_SECOND)
#define STOP_MS     5000
#define STOP_TICK   20
#define FULL_PAUSE  (10 * CLOCK_MILLISECOND)
#define NICE        10 /* requests come before what is told of them */

/* What libcurl and TLS are set by. */
static const char *const kept[] = {"http_proxy", "https_proxy", "HTTPS_PROXY",     "all_proxy", "ALL_PROXY",
                                   "no_proxy",   "NO_PROXY",    "SSL_CERT_*",      "RES_*",     "PATH",
                                   "HOME",       "LANG",        "LD_LIBRARY_PATH", "MALLOC_*",  "GLIBC_*",
                                   "ASAN_*",     "UBSAN_*",     "LSAN_*",          "TSAN_*",    NULL};

struct tracing {
    struct span_settings settings;
    struct log *log;
    struct metrics *metrics;
    int pipe;                   /* its writing end; while there is no exporter nobody reads it */
    _Atomic uint64_t handed;    /* spans in the pipe or behind it, those of earlier exporters included */
    _Atomic int64_t full_until; /* a pipe that took nothing is not asked again before then */
    _Atomic pid_t pid;          /* process.pid, for who asks; 0: none */
    /* The rest is the polling thread's. */
    struct process process; /* pid -1: none */
    uint64_t settled;       /* of `handed`: what became of them is known */
    int64_t start_at;
    unsigned failures;
    struct span_report report; /* being received */
    size_t received;
    char fault[sizeof((struct span_report *)0)->fault]; /* the last that was logged */
};

static void set_pipe(int fd) {
    fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES); /* what is refused stays as it is: 64 KiB */
}

/* ---- records */

bool tracing_is_full(const struct tracing *tracing, int64_t now) {
    return now < atomic_load_explicit(&tracing->full_until, memory_order_relaxed);
}

void tracing_drop(struct tracing *tracing, size_t spans) {
    metrics_count(tracing->metrics, METRICS_SPANS_DROPPED, spans);
}

void tracing_record(struct tracing *tracing, struct span_record *record,
                    const char *const texts[SPAN_TEXTS]) {
    char bytes[SPAN_RECORD_MOST];
    const size_t size = span_pack(record, texts, bytes), spans = span_count(record);
    atomic_fetch_add(&tracing->handed, spans);
    if (write(tracing->pipe, bytes, size) == (ssize_t)size)
        return;
    atomic_fetch_sub(&tracing->handed, spans);
    tracing_drop(tracing, spans);
    atomic_store_explicit(&tracing->full_until, clock_now() + FULL_PAUSE, memory_order_relaxed);
}

/* ---- reports */

static void note_fault(struct tracing *tracing, const char *fault) {
    if (strcmp(fault, tracing->fault) == 0)
        return;
    memcpy(tracing->fault, fault, sizeof tracing->fault);
    if (*fault)
        log_print(tracing->log, LOG_WARNING, NULL, "traces: %s", fault);
    else
        log_print(tracing->log, LOG_INFO, NULL, "traces: the collector takes spans again");
}

static void take_report(struct tracing *tracing) {
    struct span_report *report = &tracing->report;
    report->fault[sizeof report->fault - 1] = '\0';
    metrics_count(tracing->metrics, METRICS_SPANS_EXPORTED, report->exported);
    metrics_count(tracing->metrics, METRICS_SPANS_FAILED, report->failed);
    tracing->settled += report->exported + report->failed;
    note_fault(tracing, report->fault);
    if (report->exported)
        tracing->failures = 0;
}

static void take_reports(struct tracing *tracing) {
    for (;;) {
        char *at = (char *)&tracing->report + tracing->received;
        const ssize_t size =
            recv(tracing->process.fd, at, sizeof tracing->report - tracing->received, MSG_DONTWAIT);
        if (size <= 0)
            return;
        tracing->received += (size_t)size;
        if (tracing->received == sizeof tracing->report) {
            tracing->received = 0;
            take_report(tracing);
        }
    }
}

/* ---- the exporter's life */

static void plan_start(struct tracing *tracing) {
    int64_t pause = FIRST_PAUSE;
    for (unsigned i = 0; i < tracing->failures && pause < MOST_PAUSE; i++)
        pause *= 2;
    tracing->failures++;
    tracing->start_at = clock_now() + (pause < MOST_PAUSE ? pause : MOST_PAUSE);
}

static enum limoe_status start(struct tracing *tracing, struct limoe_error *err) {
    static const char *const argv[] = {"exporter", NULL};
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
        return limoe_fail(err, LIMOE_INTERNAL, "cannot make a pipe for traces: %s", strerror(errno));
    set_pipe(ends[1]);
    enum limoe_status status = process_spawn(argv, kept, &tracing->process, err);
    tracing->received = 0;
    if (status == LIMOE_OK) {
        atomic_store(&tracing->pid, tracing->process.pid);
        setpriority(PRIO_PROCESS, (id_t)tracing->process.pid,
                    NICE); /* cannot fail: a child, and stands back */
        span_send_settings(tracing->process.fd, &tracing->settings,
                           ends[0]); /* gone already: its end tells */
        if (tracing->pipe < 0)
            tracing->pipe = fcntl(ends[1], F_DUPFD_CLOEXEC, 0);
        else
            dup3(ends[1], tracing->pipe, O_CLOEXEC);
    }
    close(ends[0]);
    close(ends[1]);
    if (status == LIMOE_OK && tracing->pipe < 0)
        status = limoe_fail(err, LIMOE_INTERNAL, "cannot keep a pipe for traces: %s", strerror(errno));
    return status;
}

/* What it had taken is lost with it. */
static void lost(struct tracing *tracing) {
    char why[PROCESS_WHY_SIZE];
    take_reports(tracing);
    atomic_store(&tracing->pid, 0);
    process_kill(&tracing->process, why);
    const uint64_t handed = atomic_load(&tracing->handed);
    if (handed > tracing->settled)
        metrics_count(tracing->metrics, METRICS_SPANS_DROPPED, handed - tracing->settled);
    tracing->settled = handed;
    plan_start(tracing);
    log_print(tracing->log, LOG_WARNING, NULL, "traces: the exporter was lost (%s), another is started", why);
}

void tracing_poll(struct tracing *tracing) {
    struct limoe_error err;
    if (!tracing)
        return;
    if (tracing->process.pid > 0)
        take_reports(tracing);
    if (tracing->process.pid > 0 && process_ended(&tracing->process))
        lost(tracing);
    if (tracing->process.pid > 0 || clock_now() < tracing->start_at)
        return;
    if (start(tracing, &err) != LIMOE_OK) {
        plan_start(tracing);
        log_print(tracing->log, LOG_WARNING, NULL, "traces: %s", err.message);
    }
}

enum limoe_status tracing_start(const struct tracing_options *options, struct log *log,
                                struct metrics *metrics, struct tracing **out, struct limoe_error *err) {
    struct tracing *tracing = calloc(1, sizeof *tracing);
    if (!tracing)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for traces");
    tracing->log = log;
    tracing->metrics = metrics;
    tracing->pipe = -1;
    tracing->process = (struct process){.pid = -1, .pidfd = -1, .fd = -1};
    tracing_settings(options, &tracing->settings);
    const enum limoe_status status = start(tracing, err);
    if (status == LIMOE_OK)
        *out = tracing;
    else
        tracing_stop(tracing);
    return status;
}

pid_t tracing_pid(struct tracing *tracing) {
    return tracing ? atomic_load(&tracing->pid) : 0;
}

void tracing_stop(struct tracing *tracing) {
    if (!tracing)
        return;
    if (tracing->pipe >= 0)
        close(tracing->pipe); /* the exporter's sign to send what it has */
    if (tracing->process.pid > 0) {
        for (int waited = 0; waited < STOP_MS && !process_ended(&tracing->process); waited += STOP_TICK) {
            struct pollfd end = {.fd = tracing->process.pidfd, .events = POLLIN};
            poll(&end, 1, STOP_TICK);
            take_reports(tracing);
        }
        take_reports(tracing);
        process_kill(&tracing->process, NULL);
        const uint64_t handed = atomic_load(&tracing->handed);
        if (handed > tracing->settled)
            log_print(tracing->log, LOG_WARNING, NULL,
                      "traces: %llu spans were not sent before the server stopped",
                      (unsigned long long)(handed - tracing->settled));
    }
    explicit_bzero(&tracing->settings, sizeof tracing->settings); /* headers may hold a token */
    free(tracing);
}
