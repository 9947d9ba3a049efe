/* spans.c - a call's times and facts, copied into a record. On the HTTP thread: nothing of it waits. */
#include "server/front/calls/spans.h"

#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "server/front/http/account.h"
#include "server/front/tracing/tracing.h"

/* What is to be added to clock_now() for Unix time. */
static int64_t unix_offset(int64_t now) {
    struct timespec real;
    clock_gettime(CLOCK_REALTIME, &real);
    return (int64_t)real.tv_sec * CLOCK_SECOND + real.tv_nsec - now;
}

static struct span_times shifted(struct span_times times, int64_t offset) {
    if (!times.began)
        return (struct span_times){0};
    return (struct span_times){times.began + offset, times.ended ? times.ended + offset : 0};
}

/* A part in which nothing was done has no span. */
static bool is_part(const struct call *call, int part) {
    if (part == SPAN_TOKENIZE)
        return call->n > call->pictures;
    return part != SPAN_DECODE || call->pictures > 0;
}

static size_t count_spans(const struct call *call) {
    size_t n = 1;
    for (int i = 0; i < SPAN_PARTS; i++)
        n += call->parts[i].began && is_part(call, i);
    return n;
}

void spans_record(struct call *call, bool answered) {
    struct tracing *tracing = call->server->tracing;
    const int64_t now = clock_now();
    if (tracing_is_full(tracing, now)) { /* a dead collector costs no more than this */
        tracing_drop(tracing, count_spans(call));
        return;
    }
    const int64_t offset = unix_offset(now);
    const struct usage *usage = &call->usage;
    struct span_record record = {
        .flags = call->trace.flags,
        .request = {call->began + offset, now + offset},
        .status = answered ? (uint32_t)call->status : 0,
        .items = call->n,
        .pictures = call->pictures,
        .tokens = usage->prompt_tokens + usage->image_tokens,
        .received = call->received,
        .sent = call->sent,
    };
    const char *const texts[SPAN_TEXTS] = {
        [SPAN_METHOD] = call->method,
        [SPAN_ROUTE] = call->route->path ? route_series_names[call->route->series] : NULL,
        [SPAN_PATH] = call->path,
        [SPAN_SCHEME] = call->server->tls ? "https" : "http",
        [SPAN_CLIENT] = call->client,
        [SPAN_AGENT] = call->agent,
        [SPAN_REQUEST_ID] = call->id,
        [SPAN_MODEL] = call->generation && call->n ? call->generation->model->name : NULL,
        [SPAN_KEY] = call->account ? account_name(call->account) : NULL,
        [SPAN_ERROR] = answered ? NULL : "client_gone",
    };
    memcpy(record.trace_id, call->trace.trace_id, sizeof record.trace_id);
    memcpy(record.span_id, call->trace.span_id, sizeof record.span_id);
    memcpy(record.parent_id, call->trace.parent_id, sizeof record.parent_id);
    for (int i = 0; i < SPAN_PARTS; i++)
        if (is_part(call, i))
            record.part[i] = shifted(call->parts[i], offset);
    tracing_record(tracing, &record, texts);
}
