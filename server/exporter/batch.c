/* batch.c - spans, written attribute by attribute. Names are those of OpenTelemetry's semantic conventions for HTTP
 * servers (stable since 1.23), and limoe.* for what they have no name for. */
#include "server/exporter/batch.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "server/formats/header_list.h"

/* Values of opentelemetry-proto's trace.proto. */
enum { KIND_INTERNAL = 1, KIND_SERVER = 2, STATUS_ERROR = 2 };
enum {
    FLAGS_SAMPLED = 0x01,
    FLAGS_KNOWN = 0x100,
    FLAGS_REMOTE = 0x200
}; /* of the parent, whether it is remote */

static const char *const part_names[SPAN_PARTS] = {
    [SPAN_TOKENIZE] = "tokenize", [SPAN_DECODE] = "decode",      [SPAN_QUEUE] = "queue",
    [SPAN_STEP] = "step",         [SPAN_STORE_BEFORE] = "store", [SPAN_STORE_AFTER] = "store",
};

/* ---- attributes */

static void key(struct buffer *out, bool *first, const char *name) {
    buffer_string(out, *first ? "{\"key\":\"" : ",{\"key\":\"");
    buffer_string(out, name);
    *first = false;
}

static void put_text(struct buffer *out, bool *first, const char *name, struct text value) {
    if (!value.size)
        return;
    key(out, first, name);
    buffer_string(out, "\",\"value\":{\"stringValue\":");
    buffer_json_text(out, value);
    buffer_string(out, "}}");
}

static void put_count(struct buffer *out, bool *first, const char *name, uint64_t value) {
    key(out, first, name);
    buffer_string(out, "\",\"value\":{\"intValue\":\"");
    buffer_json_unsigned(out, value);
    buffer_string(out, "\"}}");
}

/* ---- the resource */

/* Attributes that the operator gives, but for the three that the settings have fields for. */
static void put_given(struct buffer *out, bool *first, const char *list) {
    struct header_pair pair;
    while (header_list_next(&list, &pair) == HEADER_LIST_PAIR) {
        if (strcmp(pair.name, "service.name") != 0 && strcmp(pair.name, "service.version") != 0 &&
            strcmp(pair.name, "service.instance.id") != 0) {
            key(out, first, pair.name); /* a token: nothing to escape */
            buffer_string(out, "\",\"value\":{\"stringValue\":");
            buffer_json_string(out, pair.value);
            buffer_string(out, "}}");
        }
    }
}

void batch_open(struct batch *batch, const struct span_settings *settings) {
    struct buffer *out = &batch->json;
    bool first = true;
    buffer_free(out);
    batch->spans = 0;
    buffer_string(out, "{\"resourceSpans\":[{\"resource\":{\"attributes\":[");
    put_text(out, &first, "service.name", text_of(settings->service));
    put_text(out, &first, "service.version", text_of(settings->version));
    put_text(out, &first, "service.instance.id", text_of(settings->instance));
    put_given(out, &first, settings->attributes);
    buffer_string(out, "]},\"scopeSpans\":[{\"scope\":{\"name\":\"limoe\",\"version\":");
    buffer_json_string(out, settings->version);
    buffer_string(out, "},\"spans\":[");
}

void batch_close(struct batch *batch) {
    buffer_string(&batch->json, "]}]}]}");
}

void batch_free(struct batch *batch) {
    buffer_free(&batch->json);
    batch->spans = 0;
}

/* ---- spans */

/* Opens a span: all of its fields but its attributes and its end. */
static void open_span(struct batch *batch, const struct span_record *record, const char *id,
                      const char *parent, const struct span_times *times) {
    struct buffer *out = &batch->json;
    const bool remote = parent == record->parent_id && *parent;
    const uint32_t flags = (record->flags & 0xff) | FLAGS_SAMPLED | FLAGS_KNOWN | (remote ? FLAGS_REMOTE : 0);
    buffer_string(out, batch->spans++ ? ",{\"traceId\":\"" : "{\"traceId\":\"");
    buffer_string(out, record->trace_id);
    buffer_string(out, "\",\"spanId\":\"");
    buffer_string(out, id);
    if (*parent) {
        buffer_string(out, "\",\"parentSpanId\":\"");
        buffer_string(out, parent);
    }
    buffer_string(out, "\",\"flags\":");
    buffer_json_unsigned(out, flags);
    buffer_string(out, ",\"startTimeUnixNano\":\"");
    buffer_json_unsigned(out, (uint64_t)times->began);
    buffer_string(out, "\",\"endTimeUnixNano\":\"");
    buffer_json_unsigned(out, (uint64_t)(times->ended > times->began ? times->ended : times->began));
    buffer_string(out, "\",\"kind\":");
}

static struct text text_at(const struct span_record *record, const char *const texts[SPAN_TEXTS],
                           enum span_text which) {
    return (struct text){.data = texts[which], .size = record->length[which]};
}

/* "POST /v1/classify", or the method alone where there is no route. A method that HTTP does not define is the client's
 * invention, of which there may be any number: conventions have "HTTP" and "_OTHER" for it. */
static bool is_known_method(struct text method) {
    static const char *const known[] = {"GET",     "HEAD",    "POST",  "PUT",  "DELETE",
                                        "CONNECT", "OPTIONS", "TRACE", "PATCH"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (text_is(method, known[i]))
            return true;
    return false;
}

static void put_name(struct buffer *out, struct text method, struct text route) {
    char name[2 * SPAN_TEXT_MOST + 2];
    if (!is_known_method(method))
        method = text_of("HTTP");
    memcpy(name, method.data, method.size);
    size_t size = method.size;
    if (route.size) {
        name[size++] = ' ';
        memcpy(name + size, route.data, route.size);
        size += route.size;
    }
    buffer_string(out, ",\"name\":");
    buffer_json_text(out, (struct text){.data = name, .size = size});
}

static void put_method(struct buffer *out, bool *first, struct text method) {
    const bool known = is_known_method(method);
    put_text(out, first, "http.request.method", known ? method : text_of("_OTHER"));
    if (!known)
        put_text(out, first, "http.request.method_original", method);
}

/* Of client errors the conventions leave a server's status unset: the server did what it should. */
static void put_status(struct buffer *out, const struct span_record *record, struct text error) {
    if (record->status && record->status < 500)
        return;
    buffer_print(out, ",\"status\":{\"code\":%d", STATUS_ERROR);
    if (error.size) {
        buffer_string(out, ",\"message\":");
        buffer_json_text(out, error);
    }
    buffer_string(out, "}");
}

static void put_error_type(struct buffer *out, bool *first, const struct span_record *record,
                           struct text error) {
    char code[16];
    snprintf(code, sizeof code, "%u", (unsigned)record->status);
    if (error.size)
        put_text(out, first, "error.type", error);
    else if (record->status >= 500)
        put_text(out, first, "error.type", text_of(code));
}

static void add_request(struct batch *batch, const struct span_record *record,
                        const char *const texts[SPAN_TEXTS]) {
    struct buffer *out = &batch->json;
    const struct text method = text_at(record, texts, SPAN_METHOD),
                      error = text_at(record, texts, SPAN_ERROR);
    bool first = true;
    open_span(batch, record, record->span_id, record->parent_id, &record->request);
    buffer_json_unsigned(out, KIND_SERVER);
    put_name(out, method, text_at(record, texts, SPAN_ROUTE));
    buffer_string(out, ",\"attributes\":[");
    put_method(out, &first, method);
    put_text(out, &first, "url.scheme", text_at(record, texts, SPAN_SCHEME));
    put_text(out, &first, "url.path", text_at(record, texts, SPAN_PATH));
    put_text(out, &first, "http.route", text_at(record, texts, SPAN_ROUTE));
    if (record->status)
        put_count(out, &first, "http.response.status_code", record->status);
    put_error_type(out, &first, record, error);
    put_text(out, &first, "client.address", text_at(record, texts, SPAN_CLIENT));
    put_text(out, &first, "user_agent.original", text_at(record, texts, SPAN_AGENT));
    put_count(out, &first, "http.request.body.size", record->received);
    put_count(out, &first, "http.response.body.size", record->sent);
    put_text(out, &first, "limoe.request_id", text_at(record, texts, SPAN_REQUEST_ID));
    put_text(out, &first, "limoe.model", text_at(record, texts, SPAN_MODEL));
    put_text(out, &first, "limoe.key", text_at(record, texts, SPAN_KEY));
    put_count(out, &first, "limoe.items", record->items);
    buffer_string(out, "]");
    put_status(out, record, error);
    buffer_string(out, "}");
}

static void add_part(struct batch *batch, const struct span_record *record, enum span_part part,
                     const char *id) {
    struct buffer *out = &batch->json;
    bool first = true;
    open_span(batch, record, id, record->span_id, &record->part[part]);
    buffer_json_unsigned(out, KIND_INTERNAL);
    buffer_string(out, ",\"name\":\"");
    buffer_string(out, part_names[part]);
    buffer_string(out, "\",\"attributes\":[");
    if (part == SPAN_DECODE)
        put_count(out, &first, "limoe.pictures", record->pictures);
    if (part == SPAN_STEP)
        put_count(out, &first, "limoe.items", record->items);
    if (part == SPAN_STEP)
        put_count(out, &first, "limoe.tokens", record->tokens);
    buffer_string(out, "]}");
}

/* Ids have to differ, not to be secret; 0 is none. */
static void print_id(uint64_t id, char out[17]) {
    static const char digits[] = "0123456789abcdef";
    id += id == 0;
    for (int i = 15; i >= 0; i--, id >>= 4)
        out[i] = digits[id & 15];
    out[16] = '\0';
}

void batch_add(struct batch *batch, const struct span_record *record, const char *const texts[SPAN_TEXTS]) {
    uint64_t ids[SPAN_PARTS];
    if (getrandom(ids, sizeof ids, GRND_NONBLOCK) != (ssize_t)sizeof ids)
        for (int i = 0; i < SPAN_PARTS; i++)
            ids[i] = (uint64_t)clock_now() * UINT64_C(6364136223846793005) + (uint64_t)i;
    add_request(batch, record, texts);
    for (int i = 0; i < SPAN_PARTS; i++) {
        char id[17];
        print_id(ids[i], id);
        if (record->part[i].began)
            add_part(batch, record, (enum span_part)i, id);
    }
}
