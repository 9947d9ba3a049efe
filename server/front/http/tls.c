/* tls.c - PEM files are read and checked against each other; credentials are counted by the connections that
 * use them.
 *
 * Each connection's session is given its credentials as it begins. (The library's own callback for choosing a
 * certificate is told neither the daemon nor the connection, and would need a global.)
 */
#include "server/front/http/tls.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/error.h"

#define MOST_CERTIFICATES 16 /* of a chain */

struct tls_credentials {
    unsigned users; /* connections, and struct tls while they are the current ones */
    gnutls_certificate_credentials_t certificate;
    int64_t expiry;
};

struct tls {
    const char *certificate, *key; /* paths */
    struct log *log;
    pthread_mutex_t lock; /* of current, and of every `users` */
    struct tls_credentials *current;
};

/* What the files hold, before GnuTLS copies it into credentials. */
struct pair {
    gnutls_x509_crt_t *chain; /* [n], the server's own first; from gnutls_malloc */
    unsigned n;
    gnutls_x509_privkey_t key;
};

static void pair_free(struct pair *pair) {
    for (unsigned i = 0; i < pair->n; i++)
        gnutls_x509_crt_deinit(pair->chain[i]);
    gnutls_free(pair->chain);
    if (pair->key)
        gnutls_x509_privkey_deinit(pair->key);
}

/* ---- reading */

static enum limoe_status fail_gnutls(struct limoe_error *err, const char *path, const char *what, int code) {
    if (code == GNUTLS_E_MEMORY_ERROR)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for %s", path);
    return limoe_fail(err, LIMOE_INVALID, "%s is not %s: %s", path, what, gnutls_strerror(code));
}

static enum limoe_status load(const char *path, gnutls_datum_t *out, struct limoe_error *err) {
    errno = 0;
    int code = gnutls_load_file(path, out);
    if (code == 0)
        return LIMOE_OK;
    return limoe_fail(err, errno == ENOENT ? LIMOE_NOT_FOUND : LIMOE_IO, "cannot read %s: %s", path,
                      errno ? strerror(errno) : gnutls_strerror(code));
}

static enum limoe_status read_chain(const char *path, struct pair *pair, struct limoe_error *err) {
    gnutls_datum_t pem;
    enum limoe_status status = load(path, &pem, err);
    if (status != LIMOE_OK)
        return status;
    int code = gnutls_x509_crt_list_import2(&pair->chain, &pair->n, &pem, GNUTLS_X509_FMT_PEM,
                                            GNUTLS_X509_CRT_LIST_FAIL_IF_UNSORTED);
    gnutls_free(pem.data);
    if (code < 0) {
        pair->chain = NULL;
        pair->n = 0;
        return fail_gnutls(err, path, "a chain of PEM certificates, each signed by the next", code);
    }
    if (pair->n > MOST_CERTIFICATES)
        return limoe_fail(err, LIMOE_INVALID, "%s holds %u certificates; accepted are 1 to %d", path, pair->n,
                          MOST_CERTIFICATES);
    return LIMOE_OK;
}

static enum limoe_status read_key(const char *path, struct pair *pair, struct limoe_error *err) {
    gnutls_datum_t pem;
    enum limoe_status status = load(path, &pem, err);
    if (status != LIMOE_OK)
        return status;
    int code = gnutls_x509_privkey_init(&pair->key);
    if (code == 0)
        code = gnutls_x509_privkey_import2(pair->key, &pem, GNUTLS_X509_FMT_PEM, NULL, 0);
    gnutls_memset(pem.data, 0, pem.size);
    gnutls_free(pem.data);
    return code == 0 ? LIMOE_OK : fail_gnutls(err, path, "a PEM private key without a password", code);
}

static enum limoe_status read_pair(const struct tls *tls, struct pair *pair, struct limoe_error *err) {
    enum limoe_status status = read_chain(tls->certificate, pair, err);
    return status == LIMOE_OK ? read_key(tls->key, pair, err) : status;
}

static enum limoe_status make_credentials(const struct tls *tls, const struct pair *pair,
                                          struct tls_credentials **out, struct limoe_error *err) {
    struct tls_credentials *made = calloc(1, sizeof *made);
    if (!made)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the certificate");
    int code = gnutls_certificate_allocate_credentials(&made->certificate);
    if (code == 0)
        code = gnutls_certificate_set_x509_key(made->certificate, pair->chain, (int)pair->n, pair->key);
    if (code < 0) {
        if (made->certificate)
            gnutls_certificate_free_credentials(made->certificate);
        free(made);
        return code == GNUTLS_E_CERTIFICATE_KEY_MISMATCH
                   ? limoe_fail(err, LIMOE_INVALID, "the key of %s is not that of the certificate of %s",
                                tls->key, tls->certificate)
                   : fail_gnutls(err, tls->certificate, "a certificate that can be served", code);
    }
    made->users = 1;
    made->expiry = gnutls_x509_crt_get_expiration_time(pair->chain[0]);
    *out = made;
    return LIMOE_OK;
}

/* ---- what an operator should know of it */

static void print_day(time_t when, char out[16]) {
    struct tm utc;
    if (!gmtime_r(&when, &utc) || !strftime(out, 16, "%Y-%m-%d", &utc))
        snprintf(out, 16, "?");
}

static void describe(const struct tls *tls, const struct pair *pair) {
    char name[256] = "", from[16], until[16];
    size_t size = sizeof name;
    struct stat info;
    if (gnutls_x509_crt_get_dn(pair->chain[0], name, &size) != 0)
        snprintf(name, sizeof name, "%s", tls->certificate); /* no subject, or one too long to print */
    time_t now = time(NULL), begins = gnutls_x509_crt_get_activation_time(pair->chain[0]),
           ends = gnutls_x509_crt_get_expiration_time(pair->chain[0]);
    print_day(begins, from);
    print_day(ends, until);
    log_print(tls->log, LOG_INFO, NULL, "tls: certificate of %s, valid until %s", name, until);
    if (now > ends)
        log_print(tls->log, LOG_WARNING, NULL, "tls: the certificate of %s expired on %s", name, until);
    if (now < begins)
        log_print(tls->log, LOG_WARNING, NULL, "tls: the certificate of %s is valid only from %s on", name,
                  from);
    if (stat(tls->key, &info) == 0 && (info.st_mode & S_IROTH))
        log_print(tls->log, LOG_WARNING, NULL, "tls: everybody can read the private key %s", tls->key);
}

/* ---- life */

void tls_give_back(struct tls *tls, struct tls_credentials *credentials) {
    if (!credentials)
        return;
    pthread_mutex_lock(&tls->lock);
    bool last = --credentials->users == 0;
    pthread_mutex_unlock(&tls->lock);
    if (!last)
        return;
    gnutls_certificate_free_credentials(credentials->certificate);
    free(credentials);
}

enum limoe_status tls_reload(struct tls *tls, struct limoe_error *err) {
    struct pair pair = {0};
    struct tls_credentials *made = NULL;
    enum limoe_status status = read_pair(tls, &pair, err);
    if (status == LIMOE_OK)
        status = make_credentials(tls, &pair, &made, err);
    if (status == LIMOE_OK) {
        describe(tls, &pair);
        pthread_mutex_lock(&tls->lock);
        struct tls_credentials *old = tls->current;
        tls->current = made;
        pthread_mutex_unlock(&tls->lock);
        tls_give_back(tls, old);
    }
    pair_free(&pair);
    return status;
}

enum limoe_status tls_new(const char *certificate, const char *key, struct log *log, struct tls **out,
                          struct limoe_error *err) {
    struct tls *tls = calloc(1, sizeof *tls);
    if (!tls || pthread_mutex_init(&tls->lock, NULL) != 0) {
        free(tls);
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for TLS");
    }
    tls->certificate = certificate;
    tls->key = key;
    tls->log = log;
    enum limoe_status status = tls_reload(tls, err);
    if (status == LIMOE_OK)
        *out = tls;
    else
        tls_free(tls);
    return status;
}

void tls_free(struct tls *tls) {
    if (!tls)
        return;
    tls_give_back(tls, tls->current);
    pthread_mutex_destroy(&tls->lock);
    free(tls);
}

int64_t tls_expiry(struct tls *tls) {
    pthread_mutex_lock(&tls->lock);
    int64_t expiry = tls->current->expiry;
    pthread_mutex_unlock(&tls->lock);
    return expiry;
}

struct tls_credentials *tls_equip(struct tls *tls, gnutls_session_t session) {
    pthread_mutex_lock(&tls->lock);
    struct tls_credentials *current = tls->current;
    current->users++;
    pthread_mutex_unlock(&tls->lock);
    if (gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, current->certificate) == 0)
        return current;
    tls_give_back(tls, current);
    return NULL;
}
