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

#define DIGEST_SIZE 32 /* SHA-256 */

struct key {
    unsigned char digest[DIGEST_SIZE];
    enum auth_level level;
    unsigned line; /* where it stands, for messages */
};

struct keys {
    size_t n, capacity;
    struct key *keys; /* [capacity], n of them in use */
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

static enum limoe_status add_key(struct keys *keys, const char *path, enum auth_level level, unsigned line,
                                 const char *key, size_t size, struct limoe_error *err) {
    for (size_t i = 0; i < size; i++)
        if (key[i] < 0x21 || key[i] > 0x7e)
            return limoe_fail(err, LIMOE_INVALID,
                              "%s:%u: byte %zu of the key is not accepted; a key is of printable ASCII, "
                              "without spaces",
                              path, line, i + 1);
    if (size < AUTH_LEAST_BYTES || size > AUTH_MOST_BYTES)
        return limoe_fail(err, LIMOE_INVALID, "%s:%u: the key has %zu bytes; accepted are %d to %d", path,
                          line, size, AUTH_LEAST_BYTES, AUTH_MOST_BYTES);
    struct key added = {.level = level, .line = line};
    if (!digest_of(key, size, added.digest))
        return limoe_fail(err, LIMOE_INTERNAL, "%s:%u: SHA-256 is not available", path, line);
    size_t of_file = 0;
    for (size_t i = 0; i < keys->n; i++) {
        const struct key *other = &keys->keys[i];
        of_file += other->level == level;
        if (memcmp(other->digest, added.digest, DIGEST_SIZE) != 0)
            continue;
        if (other->level == level)
            return limoe_fail(err, LIMOE_INVALID, "%s:%u: the key is that of line %u", path, line,
                              other->line);
        return limoe_fail(err, LIMOE_INVALID,
                          "%s:%u: the key is also in the API keys' file (line %u); an admin key must be one "
                          "of its own",
                          path, line, other->line);
    }
    if (of_file == AUTH_MOST_KEYS)
        return limoe_fail(err, LIMOE_TOO_LARGE, "%s:%u: more than %d keys", path, line, AUTH_MOST_KEYS);
    if (keys->n == keys->capacity) {
        size_t capacity = keys->capacity ? 2 * keys->capacity : 16;
        struct key *larger = reallocarray(keys->keys, capacity, sizeof *larger);
        if (!larger)
            return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the keys of %s", path);
        keys->keys = larger;
        keys->capacity = capacity;
    }
    keys->keys[keys->n++] = added;
    return LIMOE_OK;
}

static void warn_of_readers(const struct auth *auth, const char *path, FILE *file) {
    struct stat info;
    if (fstat(fileno(file), &info) == 0 && (info.st_mode & S_IROTH))
        log_print(auth->log, LOG_WARNING, NULL, "%s holds keys, and everybody can read it", path);
}

static enum limoe_status read_lines(FILE *file, const char *path, enum auth_level level, struct keys *keys,
                                    struct limoe_error *err) {
    enum limoe_status status = LIMOE_OK;
    size_t before = keys->n, room = 0;
    char *text = NULL;
    ssize_t length;
    for (unsigned line = 1; status == LIMOE_OK && (length = getline(&text, &room, file)) > 0; line++) {
        size_t size = (size_t)length;
        while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == '\r'))
            size--;
        if (size > 0 && text[0] != '#')
            status = add_key(keys, path, level, line, text, size, err);
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
    enum limoe_status status = read_lines(file, path, level, keys, err);
    fclose(file);
    return status;
}

/* ---- life */

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
    }
    free(keys.keys);
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
    free(auth->keys.keys);
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

enum auth_level auth_check(struct auth *auth, const char *authorization) {
    unsigned char digest[DIGEST_SIZE];
    const char *key = bearer(authorization);
    if (!key || !digest_of(key, strlen(key), digest))
        return AUTH_NONE;
    unsigned level = AUTH_NONE;
    pthread_rwlock_rdlock(&auth->lock);
    for (size_t i = 0; i < auth->keys.n; i++) {
        const struct key *known = &auth->keys.keys[i];
        unsigned match = gnutls_memcmp(known->digest, digest, DIGEST_SIZE) == 0;
        level |= (unsigned)known->level & (0u - match); /* no branch, and no early end */
    }
    pthread_rwlock_unlock(&auth->lock);
    return (enum auth_level)level;
}

bool auth_allow(struct auth *auth, enum auth_level level, const char *authorization,
                struct api_error *error) {
    bool for_admins = level == AUTH_ADMIN;
    if (level == AUTH_NONE || (!for_admins && !auth->paths[AUTH_USER]))
        return true;
    if (!auth->paths[level])
        return api_fail(
            error, 403, "admin_disabled", NULL,
            "this needs an admin key, and the server has none: --admin-keys-file FILE gives it some");
    enum auth_level given = auth_check(auth, authorization);
    if (given >= level)
        return true;
    if (given == AUTH_USER)
        return api_fail(error, 403, "admin_key_required", NULL, "this needs an admin key, not an API key");
    return api_fail(error, 401, "invalid_api_key", NULL,
                    bearer(authorization) ? "the key is not one of this server's"
                                          : "this needs a key: send the header Authorization: Bearer KEY");
}
