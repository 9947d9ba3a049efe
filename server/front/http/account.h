/* account.h - what a named key has asked for, and how much of it is left.
 *
 * A quota is so many of a kind a minute. What is left of it grows all the time, up to one minute's worth, and is less
 * than nothing after a request that took more than there was: whoever has 1 left is let in whole, as the queue does it,
 * and pays afterwards. So any request can be served that is acceptable by itself, and over time nobody gets more than
 * the quota.
 *
 * Accounts are counted references: keys that are read again keep theirs by name, and a request keeps its own whatever
 * becomes of its key. Any thread may call any function.
 */
#ifndef LIMOE_SERVER_FRONT_HTTP_ACCOUNT_H
#define LIMOE_SERVER_FRONT_HTTP_ACCOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

#define ACCOUNT_HEADER_SIZE 160

enum account_kind { ACCOUNT_REQUESTS, ACCOUNT_TOKENS, ACCOUNT_KINDS };
extern const char *const account_kind_names[ACCOUNT_KINDS]; /* "requests", "tokens" */

struct account;

/* With a reference, and without quotas. The name is copied. NULL: no memory. */
struct account *account_new(struct text name);
void account_retain(struct account *account);
void account_release(struct account *account); /* NULL is fine */
const char *account_name(const struct account *account);

/* So much a minute; 0: as much as it likes. What was left stays left, as far as the new quota goes. */
void account_set_quotas(struct account *account, const uint64_t per_minute[ACCOUNT_KINDS]);

struct account_refusal {
    enum account_kind kind;
    uint64_t quota;
    unsigned seconds; /* until there is something left again, at least 1 */
};

/* A request at `now` (clock_now), which is counted. False: one of the quotas is used up, of tokens where it will take
 * some, and *refusal says which; that is counted, too. */
bool account_begin(struct account *account, bool takes_tokens, int64_t now, struct account_refusal *refusal);
/* Takes the tokens of a request that was let in. False: others have used them up meanwhile. */
bool account_charge(struct account *account, uint64_t tokens, int64_t now, struct account_refusal *refusal);
/* How a request ended whose tokens were taken. Computed: they count, and so do its pictures; if not, they are given back. */
void account_settle(struct account *account, bool computed, uint64_t tokens, uint64_t pictures);

struct account_counts {
    uint64_t requests, tokens, pictures; /* let in; computed */
    uint64_t refused[ACCOUNT_KINDS];     /* requests, by the quota */
};
void account_counts(struct account *account, struct account_counts *out);

/* The values of RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers): its quotas; what is left, and in
 * how many seconds all of it will be. False: it has none. */
bool account_headers(struct account *account, int64_t now, char policy[ACCOUNT_HEADER_SIZE],
                     char left[ACCOUNT_HEADER_SIZE]);

#endif
