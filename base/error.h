/* error.h - how liblimoe says what went wrong. */
#ifndef LIMOE_BASE_ERROR_H
#define LIMOE_BASE_ERROR_H

#include "limoe.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Fills *err (which may be NULL) and returns `status`, so that a failure is one line:
 *     return limoe_fail(err, LIMOE_CORRUPT, "%s: \"width\" is %d, accepted: 1 to 65536", where, width);
 */
enum limoe_status limoe_fail(struct limoe_error *err, enum limoe_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4), cold));

#ifdef __cplusplus
}
#endif

#endif
