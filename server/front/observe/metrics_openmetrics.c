/* metrics_openmetrics.c - the page once more, line by line, under OpenMetrics' grammar.
 *
 * The samples are those of the plain page, which so stays the one place where families are written. What differs are heads,
 * bounds, the end, and the exemplars, which only this format has.
 */
#include <string.h>

#include "server/front/observe/metrics_parts.h"

#define TIMED "limoe_request_duration_seconds_bucket{route=\""

struct pass {
    struct metrics *metrics;
    struct buffer *out;
    struct text route; /* whose buckets are being written */
    size_t bucket;
};

static bool begins(struct text line, const char *with) {
    const size_t size = strlen(with);
    return line.size >= size && memcmp(line.data, with, size) == 0;
}

static bool ends(struct text text, const char *with) {
    const size_t size = strlen(with);
    return text.size >= size && memcmp(text.data + text.size - size, with, size) == 0;
}

/* "# HELP name …", "# TYPE name …": the family of a counter is called without "_total". */
static void write_head(struct pass *pass, struct text line) {
    const size_t word = sizeof "# TYPE " - 1;
    struct text name = {.data = line.data + word};
    while (name.size < line.size - word && name.data[name.size] != ' ')
        name.size++;
    const struct text rest = {.data = name.data + name.size, .size = line.size - word - name.size};
    if (ends(name, "_total"))
        name.size -= sizeof "_total" - 1;
    buffer_bytes(pass->out, line.data, word);
    buffer_bytes(pass->out, name.data, name.size);
    buffer_bytes(pass->out, rest.data, rest.size);
    buffer_bytes(pass->out, "\n", 1);
    static const char *const units[] = {"seconds", "bytes", "ratio"};
    for (size_t i = 0; begins(line, "# TYPE") && i < sizeof units / sizeof *units; i++)
        if (ends(name, units[i]) && name.data[name.size - strlen(units[i]) - 1] == '_')
            buffer_print(pass->out, "# UNIT %.*s %s\n", (int)name.size, name.data, units[i]);
}

static void write_exemplar(struct pass *pass, size_t route, size_t bucket) {
    pthread_mutex_lock(&pass->metrics->exemplars_lock);
    const struct metrics_exemplar exemplar = pass->metrics->routes[route].exemplar[bucket];
    pthread_mutex_unlock(&pass->metrics->exemplars_lock);
    if (exemplar.trace_id[0])
        buffer_print(pass->out, " # {trace_id=\"%s\",span_id=\"%s\"} %.9g %.3f", exemplar.trace_id,
                     exemplar.span_id, exemplar.seconds, exemplar.at);
}

/* Behind a bucket of a route's durations, whose buckets stand in their order. */
static void add_exemplar(struct pass *pass, struct text line) {
    if (!begins(line, TIMED))
        return;
    struct text route = {.data = line.data + sizeof TIMED - 1};
    while (route.data[route.size] != '"')
        route.size++;
    pass->bucket = text_equal(route, pass->route) ? pass->bucket + 1 : 0;
    pass->route = route;
    for (size_t i = 0; i < pass->metrics->n; i++)
        if (text_is(route, pass->metrics->names[i]))
            write_exemplar(pass, i, pass->bucket);
}

/* A bound that is a whole number has a point: le="1.0". */
static void write_sample(struct pass *pass, struct text line) {
    size_t at = 0;
    for (size_t i = 0; i + 4 <= line.size; i++)
        if (memcmp(line.data + i, "le=\"", 4) == 0 && i > 0 &&
            (line.data[i - 1] == ',' || line.data[i - 1] == '{'))
            at = i + 4;
    size_t digits = at;
    while (at && digits < line.size && line.data[digits] >= '0' && line.data[digits] <= '9')
        digits++;
    const bool whole = digits > at && line.data[digits] == '"';
    buffer_bytes(pass->out, line.data, whole ? digits : line.size);
    if (whole) {
        buffer_string(pass->out, ".0");
        buffer_bytes(pass->out, line.data + digits, line.size - digits);
    }
    add_exemplar(pass, line);
    buffer_bytes(pass->out, "\n", 1);
}

void metrics_write_openmetrics(struct metrics *metrics, const struct buffer *page, struct buffer *out) {
    struct pass pass = {.metrics = metrics, .out = out, .route = {.data = ""}};
    out->failed = out->failed || page->failed;
    for (size_t from = 0; !out->failed && from < page->size;) {
        const char *line = page->data + from, *end = memchr(line, '\n', page->size - from);
        const struct text text = {.data = line, .size = (size_t)(end - line)}; /* every line has an end */
        if (begins(text, "# "))
            write_head(&pass, text);
        else
            write_sample(&pass, text);
        from += text.size + 1;
    }
    buffer_string(out, "# EOF\n");
}
