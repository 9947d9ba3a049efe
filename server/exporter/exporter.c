/* exporter.c - records in, batches out, one after the other. One thread.
 *
 * While a batch is on its way, or waits to be sent again, nothing is read: the pipe fills up, and the front drops what it
 * does not take. So there is one queue, the pipe, and one batch in memory.
 */
#include "server/exporter/exporter.h"

#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/process.h"
#include "server/exporter/batch.h"
#include "server/exporter/post.h"
#include "server/options/command.h"
#include "server/protocol/span_wire.h"

#define READ_BYTES  (64u << 10)
#define FIRST_PAUSE CLOCK_SECOND /* after one failure; twice that after two, … */
#define MOST_PAUSE  (30 * CLOCK_SECOND)
#define MOST_TRIES  6                  /* of one batch */
#define STOP_TIME   (4 * CLOCK_SECOND) /* for what is left once the front stops; it waits a little longer */

struct exporter {
    struct span_settings settings;
    int pipe;
    int64_t stop_at; /* when all is given up; 0: the front is there */
    struct post *post;
    struct batch batch;
    int64_t due;    /* when the batch is sent; 0: it is empty */
    int64_t paused; /* when anything may be sent again; 0: now */
    unsigned failures;
    struct span_report report;
    char bytes[READ_BYTES];
    size_t size; /* of bytes: records that are not complete */
};

static int complain(int status, const char *what) {
    fprintf(stderr, "limoe: exporter: %s\n", what);
    return status;
}

/* Sends what happened to spans to the front. One that does not read it now gets it with the next. */
static void report(struct exporter *exporter) {
    if (send(PROCESS_FD, &exporter->report, sizeof exporter->report, MSG_DONTWAIT | MSG_NOSIGNAL) ==
        (ssize_t)sizeof exporter->report)
        exporter->report.exported = exporter->report.failed = 0;
}

/* The front closes the pipe when it stops, and by its end. */
static void look_for_end(struct exporter *exporter) {
    struct pollfd pipe = {.fd = exporter->pipe};
    if (!exporter->stop_at && poll(&pipe, 1, 0) > 0 && (pipe.revents & (POLLHUP | POLLERR)))
        exporter->stop_at = clock_now() + STOP_TIME;
}

static bool is_given_up(void *arg) {
    struct exporter *exporter = arg;
    look_for_end(exporter);
    return exporter->stop_at && clock_now() >= exporter->stop_at;
}

/* Sleeps until then, or until the front stops. */
static void pause_until(struct exporter *exporter, int64_t until) {
    look_for_end(exporter);
    for (int64_t left; !exporter->stop_at && (left = until - clock_now()) > 0;) {
        struct pollfd pipe = {.fd = exporter->pipe};
        poll(&pipe, 1, (int)(left / CLOCK_MILLISECOND) + 1);
        look_for_end(exporter);
    }
}

/* Between half of the pause and the whole: servers that lost one collector do not come back to it all at once. */
static int64_t next_pause(unsigned failures, int64_t asked) {
    int64_t pause = FIRST_PAUSE;
    for (unsigned i = 1; i < failures && pause < MOST_PAUSE; i++)
        pause *= 2;
    pause = pause < MOST_PAUSE ? pause : MOST_PAUSE;
    pause = pause / 2 + clock_now() % (pause / 2);
    return asked > pause ? asked : pause;
}

/* Milliseconds for a post. */
static long time_left(const struct exporter *exporter) {
    const long most = (long)exporter->settings.timeout_ms;
    if (!exporter->stop_at)
        return most;
    const int64_t left = (exporter->stop_at - clock_now()) / CLOCK_MILLISECOND;
    return left <= 0 ? 0 : left < most ? (long)left : most;
}

/* Posts the batch once. True: it is over, one way or the other. */
static bool try_once(struct exporter *exporter, bool last) {
    struct post_answer answer;
    const size_t spans = exporter->batch.spans;
    post_send(exporter->post, &exporter->batch.json, time_left(exporter), &answer);
    memcpy(exporter->report.fault, answer.fault, sizeof exporter->report.fault);
    exporter->failures = answer.outcome == POST_LATER ? exporter->failures + 1 : 0;
    exporter->paused = 0;
    if (answer.outcome == POST_LATER)
        exporter->paused = clock_now() + next_pause(exporter->failures, answer.after_seconds * CLOCK_SECOND);
    if (answer.outcome == POST_TAKEN) {
        const uint64_t rejected = answer.rejected < spans ? answer.rejected : spans;
        exporter->report.exported += spans - rejected;
        exporter->report.failed += rejected;
    } else if (answer.outcome == POST_REFUSED || last) {
        exporter->report.failed += spans;
    } else {
        report(exporter); /* why it waits */
        return false;
    }
    report(exporter);
    return true;
}

static void send_batch(struct exporter *exporter) {
    batch_close(&exporter->batch);
    bool over = exporter->batch.json.failed;
    if (over)
        exporter->report.failed += exporter->batch.spans; /* there was no memory for it */
    for (int tries = 1; !over; tries++) {
        pause_until(exporter, exporter->paused);
        if (exporter->stop_at && time_left(exporter) == 0) {
            exporter->report.failed += exporter->batch.spans;
            report(exporter);
            break;
        }
        over = try_once(exporter, tries >= MOST_TRIES || exporter->stop_at);
    }
    batch_free(&exporter->batch);
    exporter->due = 0;
}

static bool is_full(const struct exporter *exporter) {
    return exporter->batch.json.size >= SPAN_BATCH_BYTES;
}

/* Moves the complete records of what was read into batches. False: what came is none. */
static bool take_records(struct exporter *exporter) {
    size_t at = 0;
    for (;;) {
        struct span_record record;
        const char *texts[SPAN_TEXTS];
        const size_t size = span_unpack(exporter->bytes + at, exporter->size - at, &record, texts);
        if (size == SIZE_MAX)
            return false;
        if (size == 0)
            break;
        if (!exporter->due) {
            batch_open(&exporter->batch, &exporter->settings);
            exporter->due = clock_now() + exporter->settings.delay_ms * CLOCK_MILLISECOND;
        }
        batch_add(&exporter->batch, &record, texts);
        at += size;
        if (is_full(exporter))
            send_batch(exporter);
    }
    exporter->size -= at;
    memmove(exporter->bytes, exporter->bytes + at, exporter->size);
    return true;
}

/* Waits for records, or for the batch to be due. False: the front has closed the pipe, and all was read. */
static bool read_more(struct exporter *exporter) {
    struct pollfd pipe = {.fd = exporter->pipe, .events = POLLIN};
    const int64_t left = exporter->due ? exporter->due - clock_now() : 0;
    const int timeout = !exporter->due ? -1 : left > 0 ? (int)(left / CLOCK_MILLISECOND) + 1 : 0;
    if (poll(&pipe, 1, timeout) <= 0)
        return true;
    const ssize_t size = read(exporter->pipe, exporter->bytes + exporter->size, READ_BYTES - exporter->size);
    if (size > 0)
        exporter->size += (size_t)size;
    return size > 0 || (size < 0 && (errno == EAGAIN || errno == EINTR));
}

static int export_all(struct exporter *exporter) {
    while (read_more(exporter)) {
        if (!take_records(exporter))
            return complain(COMMAND_INPUT, "the front sent a record that is malformed");
        if (exporter->due && clock_now() >= exporter->due)
            send_batch(exporter);
    }
    look_for_end(exporter);
    if (exporter->due)
        send_batch(exporter);
    return COMMAND_OK;
}

int exporter_main(int argc, char **argv) {
    struct limoe_error err;
    int status = COMMAND_OK;
    (void)argv;
    if (argc > 1)
        return complain(COMMAND_USAGE, "takes no options; only limoe itself starts this command");
    if (!process_child_setup(&err)) /* a front that is gone wants no complaint */
        return err.status == LIMOE_IO ? COMMAND_OK : complain(COMMAND_INPUT, err.message);
    struct exporter *exporter = calloc(1, sizeof *exporter);
    if (!exporter || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(exporter);
        return complain(COMMAND_INPUT, "no memory");
    }
    if (span_receive_settings(PROCESS_FD, &exporter->settings, &exporter->pipe)) {
        exporter->post = post_new(&exporter->settings, is_given_up, exporter);
        status = exporter->post ? export_all(exporter) : complain(COMMAND_INPUT, "no memory");
    }
    post_free(exporter->post);
    batch_free(&exporter->batch);
    free(exporter);
    curl_global_cleanup();
    return status;
}
