/* error.c - statuses and messages. No state, no threads. */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

const char *limoe_status_name(enum limoe_status status) {
    switch (status) {
    case LIMOE_OK:
        return "ok";
    case LIMOE_INVALID:
        return "invalid";
    case LIMOE_NOT_FOUND:
        return "not_found";
    case LIMOE_IO:
        return "io";
    case LIMOE_CORRUPT:
        return "corrupt";
    case LIMOE_BAD_IMAGE:
        return "bad_image";
    case LIMOE_TOO_LARGE:
        return "too_large";
    case LIMOE_UNSUPPORTED:
        return "unsupported";
    case LIMOE_NO_MEMORY:
        return "no_memory";
    case LIMOE_INTERNAL:
        return "internal";
    case LIMOE_LOST:
        return "lost";
    case LIMOE_BROKEN:
        return "broken";
    }
    return "unknown";
}

enum limoe_status limoe_fail(struct limoe_error *err, enum limoe_status status, const char *format, ...) {
    if (err) {
        err->status = status;
        va_list args;
        va_start(args, format);
        vsnprintf(err->message, sizeof err->message, format, args);
        va_end(args);
    }
    return status;
}
