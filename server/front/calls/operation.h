/* operation.h - what is said of a route in the OpenAPI document: a row for each path and method.
 *
 * What the table of routes knows (bodies, keys, paths without /v1) is taken from there, and a request's
 * fields from the table that its reader reads by (server/api/fields.h).
 */
#ifndef LIMOE_SERVER_FRONT_CALLS_OPERATION_H
#define LIMOE_SERVER_FRONT_CALLS_OPERATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/api/fields.h"

#define OPERATION_ANSWERS 4

struct operation_answer {
    int status;         /* 0: no more of them */
    const char *type;   /* media type; NULL: application/json */
    const char *schema; /* a component's name; NULL: there is no body */
    const char *what;   /* NULL: nothing to be said */
    const char
        *other; /* a media type that the request may ask for instead, bytes or, of text/…, text; or NULL */
};

struct operation {
    const char *method;  /* "GET" is HEAD, too */
    const char *path;    /* with its parameters: "/v1/classifiers/{name}" */
    const char *id;      /* unlike any other's: what clients that are made from the document call it */
    const char *summary; /* a line */
    const char *about;   /* more; or NULL */
    /* Of a route that reads bodies: in JSON, as a form's parts, and beside a picture as the body in the query. */
    const struct field_table *body;
    const char *
        body_schema; /* in place of `body`, of JSON that is no flat list of fields, or of a file: a component's name */
    bool optional;                   /* there may be no body */
    const char *example;             /* a JSON body that is accepted; or NULL */
    const struct field_table *query; /* arguments; NULL: none but those of `body` */
    struct operation_answer answers[OPERATION_ANSWERS];
    uint64_t errors;         /* ERRORS_…, beside those that follow from the route */
    const char *error;       /* a component: errors as this route writes them; NULL: as all others do */
    const char *path_schema; /* of the parameter in the path; NULL: any text */
};

extern const struct operation operations[]; /* [operation_count]; those of one path stand together */
extern const size_t operation_count;

/* A path that the operation answers, in room of `size` bytes: its parameters become an "x". Returns out. */
const char *operation_path(const struct operation *operation, char *out, size_t size);

#endif
