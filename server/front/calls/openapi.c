/* openapi.c - tables → the OpenAPI document. Each function reads as the object it prints. No state. */
#include "server/front/calls/openapi.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "limoe.h"
#include "server/api/api_error.h"
#include "server/api/error_codes.h"
#include "server/api/request.h"
#include "server/api/schemas.h"
#include "server/front/calls/openapi_parts.h"
#include "server/front/calls/operation.h"
#include "server/front/calls/route.h"

#define LINES_TYPE "application/x-ndjson"

#define ABOUT                                                                                                \
    "JSON in and out. An answer depends on its input alone, to the bit. Fields that a route does not know "  \
    "are refused, and a field that is null counts as absent. Every GET is HEAD, too, without the body. A "   \
    "path that is none, or another method, gets the responses 404_path and 405_path. Limits that are "       \
    "options of the server (bytes of a body, pixels of a picture, what is queued) are in "                   \
    "docs/configuration.md."

static void member(struct buffer *out, const char *name, const char *value) {
    buffer_print(out, ",\"%s\":", name);
    buffer_json_string(out, value);
}

const struct route *openapi_route(const struct operation *operation) {
    char path[128];
    return route_find(operation_path(operation, path, sizeof path), operation->method, 0);
}

/* ---- parameters */

static void query_parameter(struct buffer *out, const struct field *field) {
    const bool list = field->kind == FIELD_LABELS;
    buffer_string(out, ",{\"in\":\"query\",\"name\":");
    buffer_json_string(out, field->name);
    buffer_string(out, field->required ? ",\"required\":true" : "");
    buffer_string(out, list ? ",\"style\":\"form\",\"explode\":true,\"schema\":" : ",\"schema\":");
    field_schema(out, field, FIELD_QUERY);
    buffer_string(out, "}");
}

static void query_parameters(struct buffer *out, const struct field_table *table) {
    for (size_t i = 0; table && i < table->n; i++)
        if (table->fields[i].forms & FIELD_QUERY)
            query_parameter(out, &table->fields[i]);
}

/* {name}: a path has one at most. */
static void path_parameter(struct buffer *out, const struct operation *operation) {
    const char *name = strchr(operation->path, '{');
    if (!name)
        return;
    buffer_print(out, ",{\"in\":\"path\",\"name\":\"%.*s\",\"required\":true,\"schema\":%s}",
                 (int)strcspn(name + 1, "}"), name + 1,
                 operation->path_schema ? operation->path_schema : "{\"type\":\"string\",\"minLength\":1}");
}

static void parameters(struct buffer *out, const struct operation *operation, const struct route *route) {
    buffer_string(out, ",\"parameters\":[{\"$ref\":\"#/components/parameters/X-Request-Timeout-Ms\"},"
                       "{\"$ref\":\"#/components/parameters/X-Request-Id\"},"
                       "{\"$ref\":\"#/components/parameters/traceparent\"}");
    path_parameter(out, operation);
    query_parameters(out, operation->query);
    if (route->bodies & 1u << REQUEST_BODY_IMAGE)
        query_parameters(out, operation->body);
    buffer_string(out, "]");
}

/* ---- bodies */

static void form(struct buffer *out, bool more, const char *type, const struct field_table *table,
                 unsigned form) {
    buffer_print(out, "%s\"%s\":{\"schema\":", more ? "," : "", type);
    field_object_schema(out, table, form);
}

/* Bodies of lines, which come beside JSON. */
static void lines_content(struct buffer *out, const char *what) {
    buffer_string(out, ",\"" LINES_TYPE "\":{\"schema\":{\"type\":\"string\",\"description\":");
    buffer_json_string(out, what);
    buffer_string(out, "}}");
}

/* The errors that no status tells of are named, too. */
static void lines_answers(struct buffer *out) {
    struct buffer text = {0};
    buffer_string(&text, "For each line, in order, an answer of application/json or an error.");
    for (size_t i = 0; i < error_code_count; i++)
        if (error_codes[i].groups & ERRORS_LINES)
            buffer_print(&text, " %s: %s", error_codes[i].code, error_codes[i].when);
    buffer_bytes(&text, "", 1);
    lines_content(out, text.failed ? "" : text.data);
    out->failed = out->failed || text.failed;
    buffer_free(&text);
}

/* A picture's own bytes. */
static void picture_content(struct buffer *out, bool more, const char *type) {
    buffer_print(out,
                 "%s\"%s\":{\"schema\":{\"type\":\"string\",\"format\":\"binary\",\"description\":"
                 "\"The picture itself; the arguments of the query are what else there is.\"}}",
                 more ? "," : "", type);
}

static void request_body(struct buffer *out, const struct operation *operation, const struct route *route) {
    const bool json = route->bodies & 1u << REQUEST_BODY_JSON;
    const bool parts = route->bodies & 1u << REQUEST_BODY_MULTIPART;
    if (!route->bodies)
        return;
    buffer_print(out, ",\"requestBody\":{\"required\":%s,\"content\":{",
                 operation->optional ? "false" : "true");
    if (json) {
        if (operation->body)
            form(out, false, "application/json", operation->body, FIELD_JSON);
        else
            buffer_print(out, "\"application/json\":{\"schema\":{\"$ref\":\"#/components/schemas/%s\"}",
                         operation->body_schema);
        if (operation->example)
            buffer_print(out, ",\"example\":%s", operation->example);
        buffer_string(out, "}");
    }
    if (parts) {
        form(out, json, "multipart/form-data", operation->body, FIELD_PART);
        buffer_string(out, "}");
    }
    if (route->bodies & 1u << REQUEST_BODY_LINES)
        lines_content(out, "A request of application/json in each line; there may be any number of them.");
    if (route->bodies & 1u << REQUEST_BODY_IMAGE) {
        picture_content(out, json || parts, "image/*");
        picture_content(out, true, "application/octet-stream");
    }
    if (route->bodies == 1u << REQUEST_BODY_OTHER)
        buffer_print(out, "\"%s\":{\"schema\":{\"$ref\":\"#/components/schemas/%s\"}}", route->accepted,
                     operation->body_schema);
    buffer_string(out, "}}");
}

/* ---- responses */

uint64_t openapi_errors(const struct operation *operation, const struct route *route) {
    uint64_t groups = operation->errors | ERRORS_ANY;
    groups |= route->open ? 0 : ERRORS_KEY;
    groups |= route->admin ? ERRORS_ADMIN : 0;
    groups |= route->get ? 0 : ERRORS_WORK;
    groups |= route->bodies ? ERRORS_BODY : 0;
    groups |= route->bodies & 1u << REQUEST_BODY_JSON ? ERRORS_JSON : 0;
    groups |= route->bodies & 1u << REQUEST_BODY_MULTIPART ? ERRORS_FORM : 0;
    return groups;
}

/* Whether an answer that is no error has the status, too: then it is told with the other. */
static const struct operation_answer *answer_of(const struct operation *operation, int status) {
    for (size_t i = 0; i < OPERATION_ANSWERS && operation->answers[i].status; i++)
        if (operation->answers[i].status == status)
            return &operation->answers[i];
    return NULL;
}

static void answer(struct buffer *out, const struct operation *operation,
                   const struct operation_answer *answer, const struct route *route, bool head) {
    const uint64_t groups = openapi_errors(operation, route);
    const bool error_too = openapi_has_error(answer->status, groups);
    buffer_print(out, "\"%d\":{\"description\":", answer->status);
    buffer_json_string(out, answer->what ? answer->what : "As asked.");
    buffer_string(out, ",\"headers\":");
    openapi_headers(out, answer->status, !route->get);
    if (answer->schema && !head) {
        buffer_string(out, ",\"content\":{");
        buffer_json_string(out, answer->type ? answer->type : "application/json");
        buffer_string(out, ":{\"schema\":");
        if (error_too) {
            buffer_print(out, "{\"anyOf\":[{\"$ref\":\"#/components/schemas/%s\"},", answer->schema);
            openapi_error_schema(out, answer->status, groups, operation->error);
            buffer_string(out, "]}}");
        } else
            buffer_print(out, "{\"$ref\":\"#/components/schemas/%s\"}}", answer->schema);
        if (answer->other)
            buffer_print(out, ",\"%s\":{\"schema\":{\"type\":\"string\"%s}}", answer->other,
                         strncmp(answer->other, "text/", 5) == 0 ? "" : ",\"format\":\"binary\"");
        if (route->bodies & 1u << REQUEST_BODY_LINES)
            lines_answers(out);
        buffer_string(out, "}");
    }
    buffer_string(out, "}");
}

static void responses(struct buffer *out, const struct operation *operation, const struct route *route,
                      bool head) {
    const uint64_t groups = openapi_errors(operation, route);
    int last = 0;
    buffer_string(out, ",\"responses\":{");
    for (size_t i = 0; i < OPERATION_ANSWERS && operation->answers[i].status; i++) {
        buffer_string(out, i ? "," : "");
        answer(out, operation, &operation->answers[i], route, head);
    }
    for (size_t i = 0; i < error_code_count; i++) {
        const int status = error_codes[i].status;
        if (!(error_codes[i].groups & groups) || status == last || answer_of(operation, status))
            continue;
        char name[OPENAPI_NAME_BYTES];
        last = status;
        buffer_print(out, ",\"%d\":{\"$ref\":\"#/components/responses/%s\"}", status,
                     openapi_error_name(status, groups, operation->error, head, name));
    }
    buffer_string(out, "}");
}

/* ---- paths */

static void operation_object(struct buffer *out, const struct operation *operation, const struct route *route,
                             const char *suffix, bool head) {
    buffer_string(out, "{\"operationId\":\"");
    buffer_print(out, "%s%s%s\"", operation->id, suffix, head ? "Head" : "");
    member(out, "summary", operation->summary);
    if (operation->about)
        member(out, "description", operation->about);
    buffer_string(out, route->open ? ",\"security\":[]" : ",\"security\":[{\"");
    if (!route->open)
        buffer_string(out, route->admin ? "AdminKey\":[]}]" : "ApiKey\":[]},{}]");
    parameters(out, operation, route);
    request_body(out, operation, route);
    responses(out, operation, route, head);
    buffer_string(out, "}");
}

/* All that have the path of the first, whose path is printed from `skip` on. */
static void path_item(struct buffer *out, const struct operation *first, size_t n, size_t skip,
                      const char *suffix) {
    buffer_print(out, "\"%s\":{", first->path + skip);
    for (size_t i = 0; i < n; i++) {
        const struct route *route = openapi_route(&first[i]);
        const bool get = strcmp(first[i].method, "GET") == 0;
        char method[16];
        size_t k = 0;
        for (; first[i].method[k] && k + 1 < sizeof method; k++)
            method[k] = (char)(first[i].method[k] | 0x20); /* to lower case */
        method[k] = '\0';
        buffer_print(out, "%s\"%s\":", i ? "," : "", method);
        operation_object(out, &first[i], route, suffix, false);
        if (get) {
            buffer_string(out, ",\"head\":");
            operation_object(out, &first[i], route, suffix, true);
        }
    }
    buffer_string(out, "}");
}

static void paths(struct buffer *out) {
    buffer_string(out, ",\"paths\":{");
    for (size_t i = 0, n; i < operation_count; i += n) {
        for (n = 1; i + n < operation_count && strcmp(operations[i + n].path, operations[i].path) == 0;)
            n++;
        buffer_string(out, i ? "," : "");
        path_item(out, &operations[i], n, 0, "");
        if (!openapi_route(&operations[i])->bare)
            continue;
        buffer_string(out, ",");
        path_item(out, &operations[i], n, strlen("/v1"), "Bare");
    }
    buffer_string(out, "}");
}

void openapi_write(struct buffer *out) {
    buffer_string(out, "{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"limoe\"");
    member(out, "version", strrchr(limoe_version(), ' ') + 1); /* "limoe 0.1.0" */
    member(out, "summary", "Sparse mixture-of-experts image-text models over HTTP");
    member(out, "description", ABOUT);
    buffer_string(out, "},\"servers\":[{\"url\":\"/\"}]");
    paths(out);
    openapi_components(out);
    buffer_string(out, "}\n");
}
