/* auth.h - API keys: who may call what.
 *
 * Keys come from files, a key a line; blank lines and lines that begin with '#' are skipped. Only their
 * SHA-256 digests are kept. Any thread may check while another reloads.
 */
#ifndef LIMOE_SERVER_FRONT_HTTP_AUTH_H
#define LIMOE_SERVER_FRONT_HTTP_AUTH_H

#include <stdbool.h>

#include "limoe.h"
#include "server/api/api_error.h"
#include "server/front/observe/log.h"

#define AUTH_LEAST_BYTES 16 /* of a key: what is shorter can be guessed */
#define AUTH_MOST_BYTES  512
#define AUTH_MOST_KEYS   10000 /* of a file: every check compares with all of them */

enum auth_level {
    AUTH_NONE,  /* no key, or none that is known */
    AUTH_USER,  /* a key of api_keys */
    AUTH_ADMIN, /* a key of admin_keys: also opens what AUTH_USER opens */
};

struct auth;

/* Either path may be NULL: no keys of that kind. The paths are kept, not copied. A file that everybody
 * can read is used, with a warning in the log. Errors name file and line, never a key. */
enum limoe_status auth_new(const char *api_keys, const char *admin_keys, struct log *log, struct auth **out,
                           struct limoe_error *err);
void auth_free(struct auth *auth); /* NULL is fine */

/* Reads the files again, all or nothing: after a failure the keys are those from before. */
enum limoe_status auth_reload(struct auth *auth, struct limoe_error *err);

/* What the value of an Authorization header (or NULL) is good for. Takes the same time whichever key it is,
 * and whether it is one. */
enum auth_level auth_check(struct auth *auth, const char *authorization);

/* Whether a request with this header may call what needs `level`. Without API keys everybody may what
 * AUTH_USER may; without admin keys nobody may what AUTH_ADMIN may. False: *error is a 401 (answer it with
 * WWW-Authenticate: Bearer) or a 403. */
bool auth_allow(struct auth *auth, enum auth_level level, const char *authorization, struct api_error *error);

#endif
