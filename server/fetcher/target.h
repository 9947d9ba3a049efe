/* target.h - a picture's URL, and whether the operator allows its host. No state, any thread.
 *
 * Readers of URLs disagree about what is odd, and that is how a URL gets past one of them: so only the plain form is
 * read, up to FETCH_URL_MOST bytes, and what is fetched is put together from what was read here, not the client's string.
 */
#ifndef LIMOE_SERVER_FETCHER_TARGET_H
#define LIMOE_SERVER_FETCHER_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"
#include "limoe.h"
#include "server/protocol/fetch_wire.h"

#define TARGET_HOST_SIZE  254 /* with its NUL: 253 bytes are the most that DNS has */
#define TARGET_MOST_RULES 64

struct target {
    bool http; /* else https */
    uint16_t port;
    char host[TARGET_HOST_SIZE]; /* in lower case, without a dot at the end; IPv6 without brackets */
    struct text path;            /* with the query, without the fragment; "" or begins with "/" or "?" */
};

/* Reads "https://host[:port][/path][?query][#fragment]", or http. LIMOE_INVALID says what is odd: another scheme, a user
 * name, an IPv4 address in a form other than four decimal numbers, a character that a URL has to escape. */
enum limoe_status target_read(struct text url, struct target *out, struct limoe_error *err);

struct target_rule {
    bool below; /* the names below `target`'s, not the name itself */
    struct target target;
};

struct target_rules {
    size_t n;
    struct target_rule list[TARGET_MOST_RULES];
};

/* Reads "a.example,*.b.example:8443,http://c.example": https and its port unless said. `option` names the list in
 * messages. LIMOE_INVALID: an entry is none of these, there is none, or too many. */
enum limoe_status target_read_rules(const char *list, const char *option, struct target_rules *out,
                                    struct limoe_error *err);

/* Scheme, host and port are those of a rule. What the host resolves to is for address.h to judge. */
bool target_is_allowed(const struct target *target, const struct target_rules *rules);

#endif
