/* head.h - the head of a request: where it ends, whether it is sound, and its canonical form.
 *
 * Strict where leniency would let two readers of one stream see different requests (RFC 9112): lines end with
 * CR LF, nothing is folded, a body has one length. Pure functions on the caller's bytes; any thread.
 */
#ifndef LIMOE_SERVER_FRONT_HTTP_HEAD_H
#define LIMOE_SERVER_FRONT_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/api/api_error.h"

/* The most bytes of a head as it comes in. */
#define HEAD_MOST (56u * 1024)
/* What each field and each argument of the query counts as beside its text: libmicrohttpd keeps a record of
 * each. */
#define HEAD_ENTRY_BYTES 64u
/* The most bytes of a head in canonical form and its entries. */
#define HEAD_MOST_MEMORY (60u * 1024)

enum head_scan {
    HEAD_PARTIAL, /* no end yet, and nothing wrong */
    HEAD_WHOLE,
    HEAD_BAD, /* *error says why */
};

/* Looks for the end of a line (its CR LF) or of a head (an empty line behind others) in bytes[0..n), of which
 * bytes[0..*seen) have been looked at before, when there were fewer. What it finds does not depend on how the
 * bytes were divided among calls. *length includes the line ends. A line or head is bad as soon as a byte is
 * there that none may have, or when it has not ended after `most` bytes (lines), HEAD_MOST (heads). */
enum head_scan head_scan(const char *bytes, size_t n, size_t *seen, size_t *length, struct api_error *error);
enum head_scan head_scan_line(const char *bytes, size_t n, size_t most, size_t *seen, size_t *length,
                              struct api_error *error);

enum head_body {
    HEAD_NO_BODY,
    HEAD_COUNTED, /* of `size` bytes */
    HEAD_CHUNKED,
};

struct head {
    size_t length; /* in canonical form */
    enum head_body body;
    uint64_t size;
};

/* Checks a whole head and rewrites it in place to its canonical form, which is never longer: no white space
 * around values but one blank before, Content-Length without leading zeros, the target in origin-form (Host
 * is what an absolute target said), no cookies (nothing here reads them, and the library would copy them).
 * A head in canonical form is left as it is. False: *error has the answer; the bytes are not to be used. */
bool head_settle(char *bytes, size_t length, struct head *head, struct api_error *error);

/* Whether line[0..length), without its line end, is a field: a name, a colon, a value.
 * Else *error says why. */
bool head_check_field(const char *line, size_t length, struct api_error *error);

#endif
