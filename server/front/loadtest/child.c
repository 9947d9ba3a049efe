/* child.c - the load generator as the main thread sees it: started, read, told to end, reaped. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/event.h"
#include "server/front/loadtest/parts.h"

#define TIMEOUT_S 10                  /* of one request */
#define GRACE     (20 * CLOCK_SECOND) /* for its start and its end, on a busy machine */
/* Between the first SIGTERM, which ends the sending, the second, which ends the waiting for answers, and
 * SIGKILL. */
#define HURRY (2 * CLOCK_SECOND)

/* What the child's libraries may need; no key, and nothing that is an option of `limoe bench`. */
static const char *const variables[] = {
    "LIMOE_TEST_*",    "PATH",          "HOME",         "TMPDIR",   "LANG",
    "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "MALLOC_*", "GLIBC_*",
    "ASAN_*",          "UBSAN_*",       "LSAN_*",       "TSAN_*",   NULL};

/* ---- the end */

static void finish(struct loadtests *loadtests, struct loadtest *test, enum loadtest_state state) {
    static const char *const words[] = {
        [LOADTEST_DONE] = "done", [LOADTEST_STOPPED] = "stopped", [LOADTEST_FAILED] = "failed"};
    static const enum metrics_loadtest_end ends[] = {[LOADTEST_DONE] = METRICS_LOADTEST_DONE,
                                                     [LOADTEST_STOPPED] = METRICS_LOADTEST_STOPPED,
                                                     [LOADTEST_FAILED] = METRICS_LOADTEST_FAILED};
    test->state = state;
    test->ended = (int64_t)time(NULL);
    explicit_bzero(test->key, sizeof test->key);
    buffer_fit(&test->progress);
    buffer_fit(&test->result);
    metrics_loadtest_running(loadtests->options.metrics, METRICS_LOADTEST_NONE, 0);
    metrics_loadtest_ended(loadtests->options.metrics, ends[state]);
    log_print(loadtests->options.log, state == LOADTEST_FAILED ? LOG_WARNING : LOG_INFO, NULL,
              "load test %s: %s%s%s", test->id, words[state], *test->why ? ": " : "", test->why);
}

static void fail(struct loadtests *loadtests, struct loadtest *test, const char *why) {
    if (why && !*test->why)
        snprintf(test->why, sizeof test->why, "%.399s", why);
    finish(loadtests, test, LOADTEST_FAILED);
}

/* The child is gone. Stopped tests that had no time to measure are stopped still. */
static void reap(struct loadtests *loadtests, struct loadtest *test) {
    char ended[PROCESS_WHY_SIZE], why[PROCESS_WHY_SIZE + 40];
    process_kill(&loadtests->child, ended);
    buffer_free(&loadtests->line);
    snprintf(why, sizeof why, "the load generator %s", ended);
    if (test->state == LOADTEST_STOPPING)
        finish(loadtests, test, LOADTEST_STOPPED);
    else if (test->result.size)
        finish(loadtests, test, LOADTEST_DONE);
    else
        fail(loadtests, test, why);
}

/* ---- the start */

/* Its arguments, in *room; no key is among them. */
static bool spawn(struct loadtests *loadtests, const struct loadtest *test, struct limoe_error *err) {
    const struct loadtest_request *request = &test->request;
    char rate[48], duration[48], mix[96], model[LOADTEST_MOST_NAME_BYTES + 16], timeout[32];
    const char *argv[16];
    size_t n = 0;
    snprintf(rate, sizeof rate, "--rate=%.10g", request->rate);
    snprintf(duration, sizeof duration, "--duration=%.10g", request->seconds);
    snprintf(mix, sizeof mix, "--mix=classify=%u,image=%u,text=%u", request->mix[LOADTEST_CLASSIFY],
             request->mix[LOADTEST_IMAGE], request->mix[LOADTEST_TEXT]);
    snprintf(model, sizeof model, "--model=%s", test->model);
    snprintf(timeout, sizeof timeout, "--timeout=%d", TIMEOUT_S);
    argv[n++] = "loadtest";
    argv[n++] = "--json-lines";
    argv[n++] = rate;
    argv[n++] = duration;
    argv[n++] = request->constant ? "--arrivals=constant" : "--arrivals=poisson";
    argv[n++] = mix;
    argv[n++] = timeout;
    if (request->model.data)
        argv[n++] = model;
    if (!request->target.data && loadtests->options.encrypted)
        argv[n++] = "--insecure"; /* its own port, by an address that no certificate names */
    argv[n++] = request->target.data ? test->target : loadtests->own;
    argv[n] = NULL;
    return process_spawn(argv, variables, &loadtests->child, err) == LIMOE_OK;
}

/* The key's line, which fits into the socket's buffer. */
static void send_key(struct loadtests *loadtests, struct loadtest *test) {
    char line[LOADTEST_KEY_SIZE + 1];
    const int size = snprintf(line, sizeof line, "%s\n", test->key);
    const ssize_t sent = send(loadtests->child.fd, line, (size_t)size, MSG_NOSIGNAL);
    (void)sent; /* a child that is gone already is found by its end */
    explicit_bzero(line, sizeof line);
    explicit_bzero(test->key, sizeof test->key);
}

static void start(struct loadtests *loadtests, struct loadtest *test) {
    struct limoe_error err;
    const bool other = test->request.target.data != NULL;
    if ((other && loadtest_read_key(loadtests->options.key_file, test->key, &err) != LIMOE_OK) ||
        !spawn(loadtests, test, &err)) {
        fail(loadtests, test, err.message);
        return;
    }
    send_key(loadtests, test);
    fcntl(loadtests->child.fd, F_SETFL, O_NONBLOCK);
    loadtests->closed = false;
    loadtests->signals = 0;
    loadtests->deadline = clock_now() + (int64_t)((test->request.seconds + TIMEOUT_S) * 1e9) + GRACE;
    test->state = LOADTEST_RUNNING;
    metrics_loadtest_running(loadtests->options.metrics,
                             other ? METRICS_LOADTEST_OTHER : METRICS_LOADTEST_SELF, test->request.rate);
    log_print(loadtests->options.log, LOG_INFO, NULL, "load test %s: %.10g/s for %.10g s against %s",
              test->id, test->request.rate, test->request.seconds, other ? test->target : "this server");
}

/* ---- while it runs */

static bool take_lines(struct loadtests *loadtests, struct loadtest *test) {
    struct buffer *line = &loadtests->line;
    size_t begin = 0;
    const char *end;
    while ((end = memchr(line->data + begin, '\n', line->size - begin)) != NULL) {
        const struct text one = {.data = line->data + begin, .size = (size_t)(end - line->data) - begin};
        if (!loadtest_take_line(loadtests, test, one))
            return false;
        begin += one.size + 1;
    }
    line->size -= begin;
    memmove(line->data, line->data + begin, line->size);
    return line->size <= LOADTEST_LINE_SIZE;
}

/* Reads what is there, at most some lines at a time. False: it is not what the generator says. */
static bool read_lines(struct loadtests *loadtests, struct loadtest *test) {
    char bytes[4096];
    for (int i = 0; i < 32 && !loadtests->closed; i++) {
        const ssize_t n = read(loadtests->child.fd, bytes, sizeof bytes);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return true;
        loadtests->closed = n <= 0;
        if (n <= 0)
            return true;
        buffer_bytes(&loadtests->line, bytes, (size_t)n);
        if (loadtests->line.failed || !take_lines(loadtests, test))
            return false;
    }
    return true;
}

/* What is to stop is told so, then hurried, then killed. */
static void hurry(struct loadtests *loadtests) {
    const int64_t now = clock_now();
    if (loadtests->signals && now < loadtests->next_signal)
        return;
    kill(loadtests->child.pid, loadtests->signals < 2 ? SIGTERM : SIGKILL); /* ours: it is not reaped yet */
    loadtests->signals++;
    loadtests->next_signal = now + HURRY;
}

static void run(struct loadtests *loadtests, struct loadtest *test) {
    const bool over = process_ended(&loadtests->child); /* before reading: what it said is all there then */
    if (!read_lines(loadtests, test)) {
        snprintf(test->why, sizeof test->why, "the load generator says what it should not");
        process_kill(&loadtests->child, NULL);
        fail(loadtests, test, NULL);
    } else if (over && loadtests->closed) {
        reap(loadtests, test);
    } else if (clock_now() > loadtests->deadline) {
        process_kill(&loadtests->child, NULL);
        fail(loadtests, test, "the load generator did not end in time");
    } else if (test->state == LOADTEST_STOPPING) {
        hurry(loadtests);
    }
}

void loadtests_poll(struct loadtests *loadtests) {
    event_take(loadtests->wake);
    pthread_mutex_lock(&loadtests->lock);
    struct loadtest *test = loadtests_current(loadtests);
    if (test && loadtests->child.pid > 0)
        run(loadtests, test);
    else if (test && test->state == LOADTEST_QUEUED)
        start(loadtests, test);
    else if (test)
        finish(loadtests, test, LOADTEST_STOPPED); /* before it began */
    pthread_mutex_unlock(&loadtests->lock);
}

size_t loadtests_events(struct loadtests *loadtests, struct pollfd *polled) {
    size_t n = 0;
    polled[n++] = (struct pollfd){.fd = loadtests->wake, .events = POLLIN};
    if (loadtests->child.pid > 0) {
        polled[n++] = (struct pollfd){.fd = loadtests->closed ? -1 : loadtests->child.fd, .events = POLLIN};
        polled[n++] =
            (struct pollfd){.fd = loadtests->closed ? loadtests->child.pidfd : -1, .events = POLLIN};
    }
    return n;
}
