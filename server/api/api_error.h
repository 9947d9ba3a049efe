/* api_error.h - a failed request, as the client will read it. */
#ifndef LIMOE_SERVER_API_API_ERROR_H
#define LIMOE_SERVER_API_API_ERROR_H

#include "limoe.h"

struct api_error {
    int status;       /* HTTP: 400, 404, 413 … */
    const char *code; /* static, machine-readable ("empty_labels"), or NULL */
    char param[64];   /* the field at fault ("labels[2]"), or "" */
    char message[640];
};

/* The error object's "type" for an HTTP status: "invalid_request_error", "rate_limit_error" … A static
 * string. */
const char *api_error_type(int status);

/* Fills *error and returns false, so that a failure is one line: return api_fail(error, 400, …). `param` may
 * be NULL; `code` must be static. */
bool api_fail(struct api_error *error, int status, const char *code, const char *param, const char *format,
              ...) __attribute__((format(printf, 5, 6), cold));

/* What liblimoe said about the field `param` (or NULL), with the HTTP status and code that fit. Returns
 * false. */
bool api_fail_from(struct api_error *error, const char *param, const struct limoe_error *cause);

bool api_fail_memory(struct api_error *error);

#endif
