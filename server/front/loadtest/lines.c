/* lines.c - what the load generator says, and the object that is made of it. */
#include <string.h>

#include "base/error.h"
#include "server/formats/json_reader.h"
#include "server/front/loadtest/parts.h"

static uint64_t whole(const struct json_value *value) {
    const bool good = value && value->type == JSON_NUMBER && value->number >= 0 && value->number < 1e15;
    return good ? (uint64_t)value->number : 0;
}

/* "200" → 200; 0 for "none" and whatever else. */
static int status_of(struct text name) {
    int status = 0;
    for (size_t i = 0; i < name.size && i < 3; i++)
        status = name.data[i] >= '0' && name.data[i] <= '9' ? 10 * status + name.data[i] - '0' : 1000;
    return name.size == 3 && status < METRICS_LOADTEST_STATUSES ? status : 0;
}

static void read_counts(const struct json_value *all, struct metrics_loadtest_counts *out) {
    const struct json_value *answers = json_member(all, text_of("answers")),
                            *counts = json_member(all, text_of("latency_counts"));
    const struct json_value *sum = json_member(all, text_of("latency_sum_ms"));
    *out = (struct metrics_loadtest_counts){.sent = whole(json_member(all, text_of("sent"))),
                                            .dropped = whole(json_member(all, text_of("dropped")))};
    if (sum && sum->type == JSON_NUMBER && sum->number >= 0 && sum->number < 1e12)
        out->latency_ns = (uint64_t)(sum->number * 1e6);
    if (answers && answers->type == JSON_OBJECT)
        for (const struct json_value *value = answers->child; value; value = value->next)
            out->answers[status_of(value->name)] += whole(value);
    const struct json_value *value = counts && counts->type == JSON_ARRAY ? counts->child : NULL;
    for (int i = 0; i <= DURATIONS && value; i++, value = value->next)
        out->latency_counts[i] = whole(value);
}

static uint64_t more(uint64_t now, uint64_t before) {
    return now > before ? now - before : 0;
}

/* The difference to what was counted before goes to the metrics. */
static void count(struct metrics *metrics, struct metrics_loadtest_counts *before,
                  const struct metrics_loadtest_counts *now) {
    struct metrics_loadtest_counts since = {.sent = more(now->sent, before->sent),
                                            .dropped = more(now->dropped, before->dropped),
                                            .latency_ns = more(now->latency_ns, before->latency_ns)};
    for (int i = 0; i < METRICS_LOADTEST_STATUSES; i++)
        since.answers[i] = more(now->answers[i], before->answers[i]);
    for (int i = 0; i <= DURATIONS; i++)
        since.latency_counts[i] = more(now->latency_counts[i], before->latency_counts[i]);
    metrics_loadtest_count(metrics, &since);
    *before = *now;
}

static bool keep(struct buffer *out, struct text line) {
    out->size = 0;
    buffer_bytes(out, line.data, line.size);
    if (!out->failed)
        return true;
    buffer_free(out);
    return false;
}

static bool take(struct loadtests *loadtests, struct loadtest *test, const struct json_value *said,
                 struct text line) {
    const struct json_value *object = json_member(said, text_of("object")),
                            *message = json_member(said, text_of("message"));
    struct metrics_loadtest_counts counts;
    if (said->type != JSON_OBJECT)
        return false;
    if (!object) /* what `limoe bench --json` prints */
        return keep(&test->result, line);
    if (object->type == JSON_STRING && text_is(object->string, "bench.progress")) {
        read_counts(json_member(said, text_of("all")), &counts);
        count(loadtests->options.metrics, &test->counted, &counts);
        return keep(&test->progress, line);
    }
    if (!message || message->type != JSON_STRING)
        return false;
    text_quote(message->string, test->why, sizeof test->why);
    return true;
}

bool loadtest_take_line(struct loadtests *loadtests, struct loadtest *test, struct text line) {
    struct json_value *said;
    struct json_error error;
    struct arena *arena = arena_new();
    const bool good =
        arena && json_read(line.data, line.size, arena, &said, &error) && take(loadtests, test, said, line);
    arena_free(arena);
    return good;
}

/* ---- the object */

static void write_text(struct buffer *out, const char *name, struct text text) {
    buffer_print(out, ",\"%s\":", name);
    if (text.data)
        buffer_json_text(out, text);
    else
        buffer_string(out, "null");
}

static void write_request(const struct loadtest_request *request, struct buffer *out) {
    buffer_print(out, ",\"request\":{\"rate\":%.10g,\"duration\":%.10g,\"arrivals\":\"%s\",\"mix\":{",
                 request->rate, request->seconds, request->constant ? "constant" : "poisson");
    for (int kind = 0; kind < LOADTEST_KINDS; kind++)
        buffer_print(out, "%s\"%s\":%u", kind ? "," : "", loadtest_kinds[kind], request->mix[kind]);
    buffer_string(out, "}");
    write_text(out, "target", request->target);
    write_text(out, "model", request->model);
    buffer_string(out, "}");
}

static void write_line(struct buffer *out, const char *name, const struct buffer *line) {
    buffer_print(out, ",\"%s\":", name);
    if (line->size)
        buffer_bytes(out, line->data, line->size);
    else
        buffer_string(out, "null");
}

void loadtest_write(const struct loadtest *test, struct buffer *out) {
    static const char *const states[] = {
        [LOADTEST_QUEUED] = "queued", [LOADTEST_RUNNING] = "running", [LOADTEST_STOPPING] = "stopping",
        [LOADTEST_DONE] = "done",     [LOADTEST_STOPPED] = "stopped", [LOADTEST_FAILED] = "failed",
    };
    buffer_print(out, "{\"object\":\"loadtest\",\"id\":\"%s\",\"state\":\"%s\",\"created\":%lld,\"ended\":",
                 test->id, states[test->state], (long long)test->created);
    if (test->ended)
        buffer_print(out, "%lld", (long long)test->ended);
    else
        buffer_string(out, "null");
    write_text(out, "reason", *test->why ? text_of(test->why) : (struct text){.data = NULL});
    write_request(&test->request, out);
    write_line(out, "progress", &test->progress);
    write_line(out, "result", &test->result);
    buffer_string(out, "}");
}
