/* auth.c - key files read into digests, and digests compared.
 *
 * The digests of both files are one array that is replaced as a whole. Comparing digests rather than keys
 * makes every comparison equally long, and leaves no key in memory to be found in a core dump.
 */
#include "server/front/http/auth.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/error.h"
#include "server/front/http/key_line.h"

#define DIGEST_SIZE 32 /* SHA-256 */

struct key {
    unsigned char digest[DIGEST_SIZE];
    enum auth_level level;
    unsigned line;                 /* where it stands, for messages */
    struct account *account;       /* with a reference; NULL: it has no name */
    uint64_t quota[ACCOUNT_KINDS]; /* the account's, once the keys are in force */
};

struct keys {
    size_t n, capacity;
    struct key *keys; /* [capacity], n of them in use */
    size_t names;     /* keys with accounts */
};

struct auth {
    const char *paths[AUTH_ADMIN + 1]; /* by level; NULL: no file */
    struct log *log;
    pthread_rwlock_t lock;
    struct keys keys;
};

static bool digest_of(const char *key, size_t size, unsigned char digest[DIGEST_SIZE]) {
    return gnutls_hash_fast(GNUTLS_DIG_SHA256, key, size, digest) == 0;
}

/* ---- files */

/* Refuses a key, or a name, that another line has. */
static enum limoe_status check_others(const struct keys *keys, const char *path, const struct key *added,
                                      struct text name, struct limoe_error *err) {
    size_t of_file = 0;
    for (size_t i = 0; i < keys->n; i++) {
        const struct key *other = &keys->keys[i];
        of_file += other->level == added->level;
        if (name.data && other->account && text_is(name, account_name(other->account)))
            return limoe_fail(err, LIMOE_INVALID, "%s:%u: the name \"%s\" is also that of line %u%s", path,
                              added->line, account_name(other->account), other->line,
                              other->level == added->level ? "" : " of the API keys' file");
        if (memcmp(other->digest, added->digest, DIGEST_SIZE) != 0)
            continue;
        if (other->level == added->level)
            return limoe_fail(err, LIMOE_INVALID, "%s:%u: the key is that of line %u", path, added->line,
                              other->line);
        return limoe_fail(err, LIMOE_INVALID,
                          "%s:%u: the key is also in the API keys' file (line %u); an admin key must be one "
                          "of its own",
                          path, added->line, other->line);
    }
    if (of_file == AUTH_MOST_KEYS)
        return limoe_fail(err, LIMOE_TOO_LARGE, "%s:%u: more than %d keys", path, added->line,
                          AUTH_MOST_KEYS);
    if (name.data && keys->names == AUTH_MOST_NAMES)
        return limoe_fail(err, LIMOE_TOO_LARGE, "%s:%u: more than %d keys with names", path, added->line,
                          AUTH_MOST_NAMES);
    return LIMOE_OK;
}

/* The account that goes by the name among the keys in force, or a new one; with a reference. NULL: no memory. Only
 * the reloading thread replaces the keys, so it may read them without the lock. */
static struct account *account_of(const struct auth *auth, struct text name) {
    for (size_t i = 0; i < auth->keys.n; i++) {
        struct account *account = auth->keys.keys[i].account;
        if (account && text_is(name, account_name(account))) {
            account_retain(account);
            return account;
        }
    }
    return account_new(name);
}

static enum limoe_status keep_key(struct keys *keys, const char *path, const struct key *added,
                                  struct limoe_error *err) {
    if (keys->n == keys->capacity) {
        size_t capacity = keys->capacity ? 2 * keys->capacity : 16;
        struct key *larger = reallocarray(keys->keys, capacity, sizeof *larger);
        if (!larger)
            return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the keys of %s", path);
        keys->keys = larger;
        keys->capacity = capacity;
    }
    keys->keys[keys->n++] = *added;
    keys->names += added->account != NULL;
    return LIMOE_OK;
}

static enum limoe_status add_key(const struct auth *auth, struct keys *keys, enum auth_level level,
                                 unsigned line, struct text text, struct limoe_error *err) {
    const char *path = auth->paths[level];
    struct key added = {.level = level, .line = line};
    struct key_line said;
    enum limoe_status status = key_line_read(path, line, text, &said, err);
    if (status != LIMOE_OK)
        return status;
    if (!digest_of(said.key.data, said.key.size, added.digest))
        return limoe_fail(err, LIMOE_INTERNAL, "%s:%u: SHA-256 is not available", path, line);
    status = check_others(keys, path, &added, said.name, err);
    if (status != LIMOE_OK)
        return status;
    if (said.name.data) {
        added.account = account_of(auth, said.name);
        if (!added.account)
            return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the keys of %s", path);
        memcpy(added.quota, said.quota, sizeof added.quota);
    }
    status = keep_key(keys, path, &added, err);
    if (status != LIMOE_OK)
        account_release(added.account);
    return status;
}

static void warn_of_readers(const struct auth *auth, const char *path, FILE *file) {
    struct stat info;
    if (fstat(fileno(file), &info) == 0 && (info.st_mode & S_IROTH))
        log_print(auth->log, LOG_WARNING, NULL, "%s holds keys, and everybody can read it", path);
}

static enum limoe_status read_lines(const struct auth *auth, FILE *file, enum auth_level level,
                                    struct keys *keys, struct limoe_error *err) {
    const char *path = auth->paths[level];
    enum limoe_status status = LIMOE_OK;
    size_t before = keys->n, room = 0;
    char *text = NULL;
    ssize_t length;
    for (unsigned line = 1; status == LIMOE_OK && (length = getline(&text, &room, file)) > 0; line++) {
        size_t size = (size_t)length;
        while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == '\r'))
            size--;
        if (size > 0 && text[0] != '#')
            status = add_key(auth, keys, level, line, (struct text){.data = text, .size = size}, err);
    }
    if (status == LIMOE_OK && ferror(file))
        status = limoe_fail(err, LIMOE_IO, "cannot read %s: %s", path, strerror(errno));
    if (status == LIMOE_OK && keys->n == before)
        status = limoe_fail(err, LIMOE_INVALID, "%s holds no key", path);
    if (text)
        explicit_bzero(text, room);
    free(text);
    return status;
}

static enum limoe_status read_file(const struct auth *auth, enum auth_level level, struct keys *keys,
                                   struct limoe_error *err) {
    const char *path = auth->paths[level];
    if (!path)
        return LIMOE_OK;
    FILE *file = fopen(path, "re");
    if (!file)
        return limoe_fail(err, errno == ENOENT ? LIMOE_NOT_FOUND : LIMOE_IO, "cannot open the keys of %s: %s",
                          path, strerror(errno));
    warn_of_readers(auth, path, file);
    enum limoe_status status = read_lines(auth, file, level, keys, err);
    fclose(file);
    return status;
}

/* ---- life */

static void free_keys(struct keys *keys) {
    for (size_t i = 0; i < keys->n; i++)
        account_release(keys->keys[i].account);
    free(keys->keys);
}

enum limoe_status auth_reload(struct auth *auth, struct limoe_error *err) {
    struct keys keys = {0};
    enum limoe_status status = read_file(auth, AUTH_USER, &keys, err);
    if (status == LIMOE_OK)
        status = read_file(auth, AUTH_ADMIN, &keys, err);
    if (status == LIMOE_OK) {
        pthread_rwlock_wrlock(&auth->lock);
        struct keys old = auth->keys;
        auth->keys = keys;
        keys = old;
        pthread_rwlock_unlock(&auth->lock);
        for (size_t i = 0; i < auth->keys.n; i++)
            if (auth->keys.keys[i].account)
                account_set_quotas(auth->keys.keys[i].account, auth->keys.keys[i].quota);
    }
    free_keys(&keys);
    return status;
}

enum limoe_status auth_new(const char *api_keys, const char *admin_keys, struct log *log, struct auth **out,
                           struct limoe_error *err) {
    struct auth *auth = calloc(1, sizeof *auth);
    if (!auth || pthread_rwlock_init(&auth->lock, NULL) != 0) {
        free(auth);
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the keys");
    }
    auth->paths[AUTH_USER] = api_keys;
    auth->paths[AUTH_ADMIN] = admin_keys;
    auth->log = log;
    enum limoe_status status = auth_reload(auth, err);
    if (status == LIMOE_OK)
        *out = auth;
    else
        auth_free(auth);
    return status;
}

void auth_free(struct auth *auth) {
    if (!auth)
        return;
    pthread_rwlock_destroy(&auth->lock);
    free_keys(&auth->keys);
    free(auth);
}

/* ---- checks */

/* The key of "Bearer KEY" (RFC 6750; the scheme's case does not matter, RFC 9110 11.1), or NULL. */
static const char *bearer(const char *authorization) {
    static const char scheme[] = "Bearer ";
    if (!authorization || strncasecmp(authorization, scheme, sizeof scheme - 1) != 0)
        return NULL;
    const char *key = authorization + sizeof scheme - 1;
    return key + strspn(key, " ");
}

enum auth_level auth_check(struct auth *auth, const char *authorization, struct account **account) {
    unsigned char digest[DIGEST_SIZE];
    const char *key = bearer(authorization);
    *account = NULL;
    if (!key || !digest_of(key, strlen(key), digest))
        return AUTH_NONE;
    size_t found = 0; /* its index + 1 */
    pthread_rwlock_rdlock(&auth->lock);
    for (size_t i = 0; i < auth->keys.n; i++) {
        const struct key *known = &auth->keys.keys[i];
        unsigned match = gnutls_memcmp(known->digest, digest, DIGEST_SIZE) == 0;
        found |= (i + 1) & ((size_t)0 - match); /* no branch, and no early end */
    }
    const struct key *known = found ? &auth->keys.keys[found - 1] : NULL;
    const enum auth_level level = known ? known->level : AUTH_NONE;
    if (known && known->account) {
        *account = known->account;
        account_retain(*account);
    }
    pthread_rwlock_unlock(&auth->lock);
    return level;
}

bool auth_allow(struct auth *auth, enum auth_level level, const char *authorization, struct account **account,
                struct api_error *error) {
    bool for_admins = level == AUTH_ADMIN;
    *account = NULL;
    if (level == AUTH_NONE || (!for_admins && !auth->paths[AUTH_USER]))
        return true;
    if (!auth->paths[level])
        return api_fail(
            error, 403, "admin_disabled", NULL,
            "this needs an admin key, and the server has none: --admin-keys-file FILE gives it some");
    enum auth_level given = auth_check(auth, authorization, account);
    if (given >= level)
        return true;
    if (given == AUTH_USER)
        return api_fail(error, 403, "admin_key_required", NULL, "this needs an admin key, not an API key");
    return api_fail(error, 401, "invalid_api_key", NULL,
                    bearer(authorization) ? "the key is not one of this server's"
                                          : "this needs a key: send the header Authorization: Bearer KEY");
}

size_t auth_accounts(struct auth *auth, struct account *out[AUTH_MOST_NAMES]) {
    size_t n = 0;
    pthread_rwlock_rdlock(&auth->lock);
    for (size_t i = 0; i < auth->keys.n; i++)
        if (auth->keys.keys[i].account) {
            out[n] = auth->keys.keys[i].account;
            account_retain(out[n++]);
        }
    pthread_rwlock_unlock(&auth->lock);
    return n;
}
