/* tally.c - answers → counts. */
#include "server/commands/bench/tally.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_RETRY_S 4e6 /* what its histogram can hold of milliseconds */

struct tally *tally_new(void) {
    return calloc(1, sizeof(struct tally));
}

void tally_start(struct tally *tally, int64_t now) {
    tally->start_ns = tally->last_ok_ns = now;
}

static void stall_until(struct tally *tally, int64_t now) {
    if (now - tally->last_ok_ns > tally->longest_stall_ns)
        tally->longest_stall_ns = now - tally->last_ok_ns;
    tally->last_ok_ns = now;
}

void tally_end(struct tally *tally, int64_t now) {
    tally->end_ns = now;
    if (tally->last_ok_ns < now)
        stall_until(tally, now);
}

void tally_next_line(struct tally *tally) {
    hdr_clear(&tally->second);
    for (int i = 0; i < CLIENT_SERVER_TIMES; i++)
        hdr_clear(&tally->second_server[i]);
}

/* "classify answered 500: {…", cut between characters. */
static void describe(char *out, const struct flight *flight, const struct client_answer *answer) {
    char said[160];
    const char *kind = load_kind_names[flight->request->kind];
    if (answer->error != CLIENT_ANSWERED)
        snprintf(out, TALLY_SHOWN_BYTES, "%s: %s: %s", kind, client_error_names[answer->error],
                 answer->detail);
    else
        snprintf(out, TALLY_SHOWN_BYTES, "%s answered %d: %s", kind, answer->status,
                 text_quote(answer->body, said, sizeof said));
}

static void compare(struct tally *tally, const struct flight *flight, const struct client_answer *answer) {
    const struct text expected = flight->request->answer;
    if (!expected.data || text_equal(expected, answer->body))
        return;
    if (tally->wrong < TALLY_SHOWN_WRONG) {
        char was[80], is[80];
        size_t at = 0;
        while (at < expected.size && at < answer->body.size && expected.data[at] == answer->body.data[at])
            at++;
        const struct text rest = {.data = expected.data + at, .size = expected.size - at};
        const struct text other = {.data = answer->body.data ? answer->body.data + at : "",
                                   .size = answer->body.size - at};
        snprintf(tally->wrongs[tally->wrong], TALLY_SHOWN_BYTES, "%s differs at byte %zu: \"%s\" was \"%s\"",
                 load_kind_names[flight->request->kind], at, text_quote(other, is, sizeof is),
                 text_quote(rest, was, sizeof was));
    }
    tally->wrong++;
}

static void count_server(struct hdr server[CLIENT_SERVER_TIMES], const struct client_answer *answer) {
    for (int i = 0; i < CLIENT_SERVER_TIMES; i++)
        if (answer->server_ms[i] >= 0 && answer->server_ms[i] < 1e9)
            hdr_count(&server[i], (uint64_t)(answer->server_ms[i] * 1e3 + 0.5));
}

static void count_ok(struct tally *tally, const struct flight *flight, const struct client_answer *answer,
                     uint64_t microseconds) {
    tally->ok++;
    tally->kind_ok[flight->request->kind]++;
    hdr_count(&tally->latency, microseconds);
    hdr_count(&tally->kinds[flight->request->kind], microseconds);
    int bound = 0;
    while (bound < DURATIONS && microseconds * 1000 > durations[bound])
        bound++;
    tally->latency_counts[bound]++;
    count_server(tally->server, answer);
    compare(tally, flight, answer);
}

static uint64_t microseconds(int64_t ns) {
    return (uint64_t)(ns > 0 ? (ns + 500) / 1000 : 0);
}

void tally_sent(struct tally *tally, const struct flight *flight, int64_t now) {
    if (!flight->counted)
        return;
    tally->sent++;
    tally->kind_sent[flight->request->kind]++;
    hdr_count(&tally->waited, microseconds(now - flight->due_ns));
}

/* The status of a whole answer; 0: there was none. */
static int status_of(const struct client_answer *answer) {
    const bool known = answer->status > 0 && answer->status < TALLY_STATUSES;
    return answer->error == CLIENT_ANSWERED && known ? answer->status : 0;
}

static enum outcome outcome_of(const struct client_answer *answer) {
    const int status = status_of(answer);
    if (status >= 200 && status < 300)
        return OUTCOME_OK;
    return (status == 429 || status == 503) && answer->retry_after_s >= 0 ? OUTCOME_REFUSED : OUTCOME_FAILED;
}

enum outcome tally_answer(struct tally *tally, const struct flight *flight,
                          const struct client_answer *answer) {
    const uint64_t latency = microseconds(answer->done_ns - flight->due_ns);
    const enum outcome outcome = outcome_of(answer);
    if (outcome == OUTCOME_OK) {
        hdr_count(&tally->second, latency);
        count_server(tally->second_server, answer);
        if (tally->start_ns && !tally->end_ns) {
            tally->ok_within++;
            stall_until(tally, answer->done_ns);
        }
    }
    if (!flight->counted)
        return outcome;
    if (status_of(answer))
        tally->answers[status_of(answer)]++;
    if (outcome != OUTCOME_OK && status_of(answer))
        tally->statuses[status_of(answer)]++;
    switch (outcome) {
    case OUTCOME_OK:
        count_ok(tally, flight, answer, latency);
        break;
    case OUTCOME_REFUSED:
        tally->refused++;
        hdr_count(&tally->refusals, latency);
        hdr_count(&tally->retry_after, (uint64_t)(fmin(answer->retry_after_s, MOST_RETRY_S) * 1e3));
        break;
    default:
        if (tally->failed < TALLY_SHOWN_FAILED)
            describe(tally->failures[tally->failed], flight, answer);
        tally->failed++;
        if (!status_of(answer))
            tally->errors[answer->error == CLIENT_ANSWERED ? CLIENT_PROTOCOL : answer->error]++;
    }
    return outcome;
}
