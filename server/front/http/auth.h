/* auth.h - API keys: who may call what.
 *
 * Keys come from files, a key a line (key_line.h); blank lines and lines that begin with '#' are skipped. Only their
 * SHA-256 digests are kept. A key with a name has an account, which it keeps when the files are read again. Any thread
 * may check while another reloads.
 */
#ifndef LIMOE_SERVER_FRONT_HTTP_AUTH_H
#define LIMOE_SERVER_FRONT_HTTP_AUTH_H

#include <stdbool.h>

#include "limoe.h"
#include "server/api/api_error.h"
#include "server/front/http/account.h"
#include "server/front/observe/log.h"

#define AUTH_MOST_KEYS  10000 /* of a file: every check compares with all of them */
#define AUTH_MOST_NAMES 1000  /* of both: each has its lines in the metrics */

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
 * and whether it is one. *account: as auth_allow says it. */
enum auth_level auth_check(struct auth *auth, const char *authorization, struct account **account);

/* Whether a request with this header may call what needs `level`. Without API keys everybody may what
 * AUTH_USER may; without admin keys nobody may what AUTH_ADMIN may. False: *error is a 401 (answer it with
 * WWW-Authenticate: Bearer) or a 403. *account: that of the key which was needed, with a reference; NULL: it has no
 * name, or none was needed. */
bool auth_allow(struct auth *auth, enum auth_level level, const char *authorization, struct account **account,
                struct api_error *error);

/* The accounts of all keys that have names, in the order of the files; at most AUTH_MOST_NAMES, each with a reference.
 * Returns how many. */
size_t auth_accounts(struct auth *auth, struct account *out[AUTH_MOST_NAMES]);

#endif
