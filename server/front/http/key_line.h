/* key_line.h - a line of a key file: KEY, or KEY name=NAME requests-per-minute=N tokens-per-minute=N. */
#ifndef LIMOE_SERVER_FRONT_HTTP_KEY_LINE_H
#define LIMOE_SERVER_FRONT_HTTP_KEY_LINE_H

#include <stdint.h>

#include "base/text.h"
#include "limoe.h"
#include "server/front/http/account.h"

#define KEY_LEAST_BYTES 16 /* of a key: what is shorter can be guessed */
#define KEY_MOST_BYTES  512
#define KEY_NAME_MOST   64         /* bytes of a name */
#define KEY_QUOTA_MOST  1000000000 /* of anything a minute */

struct key_line {
    struct text key;
    struct text name;              /* data NULL: it has none, nor quotas */
    uint64_t quota[ACCOUNT_KINDS]; /* a minute; 0: none */
};

/* The line is without its end; the texts are slices of it. Messages begin with "path:number: ", and never show a key, nor
 * what might be one. */
enum limoe_status key_line_read(const char *path, unsigned number, struct text line, struct key_line *out,
                                struct limoe_error *err);

#endif
