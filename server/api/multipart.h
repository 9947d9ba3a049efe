/* multipart.h - a multipart/form-data body (RFC 7578) → its parts.
 *
 * Over the whole body at once, and without copying it: a part's bytes are a slice of the body. Parsed by
 * ourselves because libmicrohttpd's processor, fed piecemeal, announces some parts twice (once empty, when a
 * piece ends between a part's headers and its content), which a repeated field cannot bear; and it takes
 * parameters behind the boundary for a part of it.
 */
#ifndef LIMOE_SERVER_API_MULTIPART_H
#define LIMOE_SERVER_API_MULTIPART_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "server/api/api_error.h"
#include "server/api/request.h"

/* More than any route takes: every picture, label and template in a part of its own. */
#define MULTIPART_MOST_PARTS 16384u

/* `content_type` is the request's header ("multipart/form-data; boundary=…"). Fills *parts [n] in the arena;
 * their bytes lie in the body, which must outlive them. Reading stops at the closing delimiter, and takes
 * memory for the parts that there are, at most MULTIPART_MOST_PARTS. False: *error says what is malformed,
 * and in which part. */
bool multipart_parse(const char *content_type, const char *body, size_t size, struct arena *arena,
                     struct request_field **parts, size_t *n, struct api_error *error);

#endif
