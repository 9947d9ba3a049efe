/* tls.h - the certificate and key that HTTPS is served with, replaceable while it is.
 *
 * Any thread may call any function. A connection keeps the credentials it began with until it ends, so that
 * nothing a handshake uses is replaced under it.
 */
#ifndef LIMOE_SERVER_FRONT_HTTP_TLS_H
#define LIMOE_SERVER_FRONT_HTTP_TLS_H

#include <gnutls/gnutls.h>
#include <stdint.h>

#include "limoe.h"
#include "server/front/observe/log.h"

/* TLS 1.2 and 1.3, forward secrecy and authenticated encryption only. */
#define TLS_PRIORITIES "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA:-DHE-RSA:-AES-128-CBC:-AES-256-CBC"

struct tls;
struct tls_credentials; /* one certificate with its chain and key */

/* PEM files: the certificate with the chain above it behind it, and its key, not encrypted. The paths are
 * kept, not copied. A certificate that is not valid now is served all the same, with a warning in the log. */
enum limoe_status tls_new(const char *certificate, const char *key, struct log *log, struct tls **out,
                          struct limoe_error *err);
void tls_free(struct tls *tls); /* after the last connection; NULL is fine */

/* Reads the files again, all or nothing: after a failure what was served before still is. */
enum limoe_status tls_reload(struct tls *tls, struct limoe_error *err);

/* Unix seconds after which the certificate served is no longer valid. */
int64_t tls_expiry(struct tls *tls);

/* Gives a session that has not shaken hands yet the current credentials, which live until they are given
 * back. NULL: no memory, and the session has none. */
struct tls_credentials *tls_equip(struct tls *tls, gnutls_session_t session);
/* Gives them back after the session's end; NULL is fine. */
void tls_give_back(struct tls *tls, struct tls_credentials *credentials);

#endif
