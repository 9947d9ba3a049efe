/* openapi_components.c - what the document's operations refer to: schemas, responses, headers, keys. No state. */
#include <stdio.h>
#include <string.h>

#include "server/api/api_error.h"
#include "server/api/error_codes.h"
#include "server/api/schemas.h"
#include "server/front/calls/call.h"
#include "server/front/calls/openapi_parts.h"
#include "server/front/calls/route.h"

/* ---- errors */

/* Of the groups, those that make a difference at this status. */
static uint64_t that_matter(int status, uint64_t groups) {
    uint64_t all = 0;
    for (size_t i = 0; i < error_code_count; i++)
        if (error_codes[i].status == status)
            all |= error_codes[i].groups;
    return all & groups;
}

bool openapi_has_error(int status, uint64_t groups) {
    return that_matter(status, groups) != 0;
}

const char *openapi_error_name(int status, uint64_t groups, const char *error, bool head,
                               char name[OPENAPI_NAME_BYTES]) {
    const uint64_t matter = that_matter(status, groups);
    size_t used =
        (size_t)snprintf(name, OPENAPI_NAME_BYTES, "%s%s%d", error ? error : "", error ? "_" : "", status);
    for (uint64_t bit = 1; bit && bit <= matter && used < OPENAPI_NAME_BYTES; bit <<= 1)
        if (matter & bit)
            used += (size_t)snprintf(name + used, OPENAPI_NAME_BYTES - used, "_%s", error_group_name(bit));
    if (head && used < OPENAPI_NAME_BYTES)
        snprintf(name + used, OPENAPI_NAME_BYTES - used, "_head");
    return name;
}

/* "a": … "b": …: each code of the status and what it means. */
static void describe(struct buffer *out, int status, uint64_t groups) {
    struct buffer text = {0};
    for (size_t i = 0; i < error_code_count; i++)
        if (error_codes[i].status == status && error_codes[i].groups & groups)
            buffer_print(&text, "%s%s: %s", text.size ? " " : "", error_codes[i].code, error_codes[i].when);
    buffer_json_text(out, (struct text){.data = text.data ? text.data : "", .size = text.size});
    out->failed = out->failed || text.failed;
    buffer_free(&text);
}

void openapi_error_schema(struct buffer *out, int status, uint64_t groups, const char *error) {
    size_t n = 0;
    if (error) { /* its own form, in which codes need not stand */
        buffer_print(out, "{\"$ref\":\"#/components/schemas/%s\"}", error);
        return;
    }
    buffer_print(out,
                 "{\"allOf\":[{\"$ref\":\"#/components/schemas/Error\"}],\"properties\":{\"error\":{"
                 "\"properties\":{\"type\":{\"const\":\"%s\"},\"code\":{\"enum\":[",
                 api_error_type(status));
    for (size_t i = 0; i < error_code_count; i++)
        if (error_codes[i].status == status && error_codes[i].groups & groups)
            buffer_print(out, "%s\"%s\"", n++ ? "," : "", error_codes[i].code);
    buffer_string(out, "]}}}}}");
}

static void error_response(struct buffer *out, int status, uint64_t groups, const char *error, bool head) {
    buffer_string(out, "{\"description\":");
    describe(out, status, groups);
    buffer_string(out, ",\"headers\":");
    openapi_headers(out, status, false);
    if (!head) {
        buffer_string(out, ",\"content\":{\"application/json\":{\"schema\":");
        openapi_error_schema(out, status, groups, error);
        buffer_string(out, "}}");
    }
    buffer_string(out, "}");
}

/* Appends the response, if none before it has its name: *names is the list of those, each between blanks. */
static void once(struct buffer *out, struct buffer *names, int status, uint64_t groups, const char *error,
                 bool head) {
    char name[OPENAPI_NAME_BYTES], between[OPENAPI_NAME_BYTES + 2];
    openapi_error_name(status, groups, error, head, name);
    snprintf(between, sizeof between, " %s ", name);
    if (names->data && memmem(names->data, names->size, between, strlen(between)))
        return;
    buffer_print(out, "%s\"%s\":", names->size ? "," : "", name);
    buffer_string(names, between);
    error_response(out, status, groups, error, head);
}

static void errors_of(struct buffer *out, struct buffer *names, const struct operation *operation,
                      bool head) {
    const uint64_t groups = openapi_errors(operation, openapi_route(operation));
    int last = 0;
    for (size_t i = 0; i < error_code_count; i++) {
        if (!(error_codes[i].groups & groups) || error_codes[i].status == last)
            continue;
        last = error_codes[i].status;
        once(out, names, last, groups, operation->error, head);
    }
}

static void responses(struct buffer *out) {
    struct buffer names = {0};
    buffer_string(out, ",\"responses\":{");
    once(out, &names, 404, ERRORS_PATH, NULL, false);
    once(out, &names, 405, ERRORS_PATH, NULL, false);
    for (size_t i = 0; i < operation_count; i++) {
        errors_of(out, &names, &operations[i], false);
        if (strcmp(operations[i].method, "GET") == 0)
            errors_of(out, &names, &operations[i], true);
    }
    out->failed = out->failed || names.failed;
    buffer_free(&names);
    buffer_string(out, "}");
}

static void error_codes_schema(struct buffer *out) {
    buffer_string(out, ",\"ErrorCode\":{\"description\":\"What an error is.\",\"oneOf\":[");
    for (size_t i = 0; i < error_code_count; i++) {
        buffer_print(out, "%s{\"const\":\"%s\",\"description\":", i ? "," : "", error_codes[i].code);
        buffer_json_string(out, error_codes[i].when);
        buffer_print(out, ",\"x-status\":%d}", error_codes[i].status);
    }
    buffer_string(out, "]}");
}

static void schema_list(struct buffer *out) {
    buffer_string(out, "\"schemas\":{");
    for (size_t i = 0; i < schema_count; i++)
        buffer_print(out, "%s\"%s\":%s", i ? "," : "", schemas[i].name, schemas[i].json);
    error_codes_schema(out);
    buffer_string(out, "}");
}

/* ---- headers */

static const struct {
    const char *name, *schema, *what;
} headers[] = {
    {"X-Request-Id", "{\"type\":\"string\"}", "The request's, or one that was made for it."},
    {"traceresponse", "{\"type\":\"string\",\"pattern\":\"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$\"}",
     "The trace and this server's span in it."},
    {"X-Total-Ms", "{\"type\":\"number\"}", "How long it took in all."},
    {"X-Queue-Ms", "{\"type\":\"number\"}", "How long it waited."},
    {"X-Inference-Ms", "{\"type\":\"number\"}", "How long it was computed."},
    {"Retry-After", "{\"type\":\"integer\",\"minimum\":0}", "Seconds until it is worth trying again."},
    {"RateLimit-Policy", "{\"type\":\"string\"}", "What the key may ask for a minute, where it has quotas."},
    {"RateLimit", "{\"type\":\"string\"}",
     "What is left of these (r), and in how many seconds all of it will be (t)."},
    {"WWW-Authenticate", "{\"type\":\"string\"}", "Bearer."},
    {"Allow", "{\"type\":\"string\"}", "The methods that the path takes."},
    {"Access-Control-Allow-Origin", "{\"type\":\"string\"}", "With --cors-origin."},
};

/* Whether answers of the status may have the header; of those that are answered at once, `work` is false. */
static bool has_header(const char *name, int status, bool work) {
    if (strcmp(name, "X-Queue-Ms") == 0 || strcmp(name, "X-Inference-Ms") == 0)
        return work;
    if (strcmp(name, "Retry-After") == 0)
        return status == 429 || status == 503;
    if (strcmp(name, "WWW-Authenticate") == 0)
        return status == 401;
    return strcmp(name, "Allow") != 0 || status == 405;
}

void openapi_headers(struct buffer *out, int status, bool work) {
    size_t n = 0;
    buffer_string(out, "{");
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
        if (has_header(headers[i].name, status, work))
            buffer_print(out, "%s\"%s\":{\"$ref\":\"#/components/headers/%s\"}", n++ ? "," : "",
                         headers[i].name, headers[i].name);
    buffer_string(out, "}");
}

static void header_list(struct buffer *out) {
    buffer_string(out, ",\"headers\":{");
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        buffer_print(out, "%s\"%s\":{\"schema\":%s,\"description\":", i ? "," : "", headers[i].name,
                     headers[i].schema);
        buffer_json_string(out, headers[i].what);
        buffer_string(out, "}");
    }
    buffer_string(out, "}");
}

static void parameter(struct buffer *out, const char *name, const char *schema, const char *what) {
    buffer_print(out, "\"%s\":{\"in\":\"header\",\"name\":\"%s\",\"schema\":%s,\"description\":", name, name,
                 schema);
    buffer_json_string(out, what);
    buffer_string(out, "}");
}

static void parameter_list(struct buffer *out) {
    char schema[64];
    snprintf(schema, sizeof schema, "{\"type\":\"integer\",\"minimum\":1,\"maximum\":%lld}",
             (long long)CALL_LONGEST_DEADLINE);
    buffer_string(out, ",\"parameters\":{");
    parameter(out, "X-Request-Timeout-Ms", schema,
              "The request's deadline, in milliseconds from its arrival. Absent: none.");
    buffer_string(out, ",");
    parameter(out, "X-Request-Id", "{\"type\":\"string\"}",
              "Echoed where it is short and plain enough; else one is made.");
    buffer_string(out, ",");
    parameter(out, "traceparent", "{\"type\":\"string\"}",
              "W3C Trace Context. A malformed one is ignored, and a new trace begun.");
    buffer_string(out, "}");
}

static void key_list(struct buffer *out) {
    buffer_string(out,
                  ",\"securitySchemes\":{\"ApiKey\":{\"type\":\"http\",\"scheme\":\"bearer\","
                  "\"description\":\"A key of --api-keys-file, where the server has one, or an admin "
                  "key.\"},\"AdminKey\":{\"type\":\"http\",\"scheme\":\"bearer\",\"description\":\"A key "
                  "of --admin-keys-file.\"}}");
}

void openapi_components(struct buffer *out) {
    buffer_string(out, ",\"components\":{");
    schema_list(out);
    responses(out);
    header_list(out);
    parameter_list(out);
    key_list(out);
    buffer_string(out, "}");
}
