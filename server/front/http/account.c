/* account.c - balances that fill up with time. One mutex an account, held for a few sums. */
#include "server/front/http/account.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define MINUTE 60.0 /* seconds */

const char *const account_kind_names[ACCOUNT_KINDS] = {
    [ACCOUNT_REQUESTS] = "requests", [ACCOUNT_TOKENS] = "tokens"};

struct balance {
    uint64_t quota; /* a minute; 0: none */
    double left;    /* at the time `at`; below 0: owed */
    int64_t at;
};

struct account {
    _Atomic unsigned references;
    pthread_mutex_t lock; /* guards the two below */
    struct balance balance[ACCOUNT_KINDS];
    struct account_counts counts;
    char name[]; /* with its NUL */
};

/* ---- life */

struct account *account_new(struct text name) {
    struct account *account = calloc(1, sizeof *account + name.size + 1);
    if (!account || pthread_mutex_init(&account->lock, NULL) != 0) {
        free(account);
        return NULL;
    }
    atomic_init(&account->references, 1);
    memcpy(account->name, name.data, name.size);
    return account;
}

void account_retain(struct account *account) {
    atomic_fetch_add(&account->references, 1);
}

void account_release(struct account *account) {
    if (!account || atomic_fetch_sub(&account->references, 1) != 1)
        return;
    pthread_mutex_destroy(&account->lock);
    free(account);
}

const char *account_name(const struct account *account) {
    return account->name;
}

/* ---- balances */

static void fill(struct balance *balance, int64_t now) {
    if (now > balance->at) { /* another thread may have come with a later time */
        const double seconds = (double)(now - balance->at) / (double)CLOCK_SECOND;
        balance->left =
            fmin((double)balance->quota, balance->left + seconds * (double)balance->quota / MINUTE);
        balance->at = now;
    }
}

void account_set_quotas(struct account *account, const uint64_t per_minute[ACCOUNT_KINDS]) {
    const int64_t now = clock_now();
    pthread_mutex_lock(&account->lock);
    for (int kind = 0; kind < ACCOUNT_KINDS; kind++) {
        struct balance *balance = &account->balance[kind];
        const bool is_new = balance->quota == 0;
        fill(balance, now);
        balance->quota = per_minute[kind];
        if (is_new || balance->left > (double)balance->quota)
            balance->left = (double)balance->quota;
        balance->at = now;
    }
    pthread_mutex_unlock(&account->lock);
}

/* Seconds until so much is there, rounded up. */
static unsigned seconds_until(const struct balance *balance, double level) {
    if (balance->left >= level)
        return 0;
    return (unsigned)ceil((level - balance->left) * MINUTE / (double)balance->quota);
}

/* Whether there is one left of the kind. The caller holds the lock. */
static bool has_left(struct account *account, enum account_kind kind, int64_t now,
                     struct account_refusal *refusal) {
    struct balance *balance = &account->balance[kind];
    if (!balance->quota)
        return true;
    fill(balance, now);
    if (balance->left >= 1)
        return true;
    *refusal = (struct account_refusal){kind, balance->quota, seconds_until(balance, 1)};
    account->counts.refused[kind]++;
    return false;
}

bool account_begin(struct account *account, bool takes_tokens, int64_t now, struct account_refusal *refusal) {
    pthread_mutex_lock(&account->lock);
    const bool good = has_left(account, ACCOUNT_REQUESTS, now, refusal) &&
                      (!takes_tokens || has_left(account, ACCOUNT_TOKENS, now, refusal));
    if (good) {
        account->balance[ACCOUNT_REQUESTS].left -= 1;
        account->counts.requests++;
    }
    pthread_mutex_unlock(&account->lock);
    return good;
}

bool account_charge(struct account *account, uint64_t tokens, int64_t now, struct account_refusal *refusal) {
    pthread_mutex_lock(&account->lock);
    const bool good = has_left(account, ACCOUNT_TOKENS, now, refusal);
    if (good)
        account->balance[ACCOUNT_TOKENS].left -= (double)tokens;
    pthread_mutex_unlock(&account->lock);
    return good;
}

void account_settle(struct account *account, bool computed, uint64_t tokens, uint64_t pictures) {
    struct balance *balance = &account->balance[ACCOUNT_TOKENS];
    pthread_mutex_lock(&account->lock);
    if (computed) {
        account->counts.tokens += tokens;
        account->counts.pictures += pictures;
    } else
        balance->left = fmin((double)balance->quota, balance->left + (double)tokens);
    pthread_mutex_unlock(&account->lock);
}

void account_counts(struct account *account, struct account_counts *out) {
    pthread_mutex_lock(&account->lock);
    *out = account->counts;
    pthread_mutex_unlock(&account->lock);
}

/* ---- headers */

bool account_headers(struct account *account, int64_t now, char policy[ACCOUNT_HEADER_SIZE],
                     char left[ACCOUNT_HEADER_SIZE]) {
    size_t policies = 0, lefts = 0;
    pthread_mutex_lock(&account->lock);
    for (int kind = 0; kind < ACCOUNT_KINDS; kind++) {
        struct balance *balance = &account->balance[kind];
        const char *comma = policies ? ", " : "";
        if (!balance->quota)
            continue;
        fill(balance, now);
        policies +=
            (size_t)snprintf(policy + policies, ACCOUNT_HEADER_SIZE - policies, "%s\"%s\";q=%llu;w=60", comma,
                             account_kind_names[kind], (unsigned long long)balance->quota);
        lefts += (size_t)snprintf(left + lefts, ACCOUNT_HEADER_SIZE - lefts, "%s\"%s\";r=%llu;t=%u", comma,
                                  account_kind_names[kind], (unsigned long long)fmax(0, balance->left),
                                  seconds_until(balance, (double)balance->quota));
    }
    pthread_mutex_unlock(&account->lock);
    return policies > 0;
}
