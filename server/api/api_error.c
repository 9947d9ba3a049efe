/* api_error.c - the table from liblimoe's statuses to HTTP's. No state. */
#include "server/api/api_error.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/text.h"

const char *api_error_type(int status) {
    switch (status) {
    case 401:
        return "authentication_error";
    case 429:
        return "rate_limit_error";
    case 500:
        return "server_error";
    case 503:
        return "service_unavailable_error";
    case 504:
        return "timeout_error";
    default:
        return status >= 500 ? "server_error" : "invalid_request_error";
    }
}

bool api_fail(struct api_error *error, int status, const char *code, const char *param, const char *format,
              ...) {
    char message[sizeof error->message];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);

    error->status = status;
    error->code = code;
    /* text_quote, because a message cut at the end of its array must not end in half a character. */
    text_quote(text_of(param ? param : ""), error->param, sizeof error->param);
    text_quote(text_of(message), error->message, sizeof error->message);
    return false;
}

static int http_status(enum limoe_status status) {
    switch (status) {
    case LIMOE_INVALID:
    case LIMOE_BAD_IMAGE:
    case LIMOE_UNSUPPORTED:
        return 400;
    case LIMOE_TOO_LARGE:
        return 413;
    case LIMOE_NO_MEMORY:
        return 503;
    default: /* the server's own files or a bug: never the client's fault */
        return 500;
    }
}

bool api_fail_from(struct api_error *error, const char *param, const struct limoe_error *cause) {
    const int status = http_status(cause->status);
    const bool named = param && *param;
    return api_fail(error, status, limoe_status_name(cause->status), param, "%s%s%s", named ? param : "",
                    named ? ": " : "", cause->message);
}

bool api_fail_memory(struct api_error *error) {
    return api_fail(error, 503, "no_memory", NULL,
                    "there is no memory left for this request; try again later");
}
