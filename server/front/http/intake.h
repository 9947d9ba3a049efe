/* intake.h - where libmicrohttpd's reading calls end up: each connection's bytes pass its screen.
 *
 * The library has no hook between the socket and its parser. It is linked with its two reading calls, recv
 * and gnutls_record_recv, and with gnutls_handshake renamed to the ones below (rename-reads); nothing else in
 * the program is.
 */
#ifndef LIMOE_SERVER_FRONT_HTTP_INTAKE_H
#define LIMOE_SERVER_FRONT_HTTP_INTAKE_H

#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "server/front/http/screen.h"

struct intake;  /* one connection's */
struct intakes; /* those of one HTTP thread, by descriptor */

/* NULL: no memory. */
struct intakes *intakes_new(void);
void intakes_free(struct intakes *intakes); /* all are closed; NULL is fine */
/* Sets in what this thread's connections are looked up from here on. */
void intakes_enter(struct intakes *intakes);
/* Whether a handshake has waited for its client since the last call. On the HTTP thread. */
bool intakes_handshook(struct intakes *intakes);

/* Makes the intake of a new connection, on its HTTP thread; `session` is NULL for plain HTTP. NULL: no
 * memory. A connection without an intake reads nothing, as if its peer had closed it. */
struct intake *intake_open(struct intakes *intakes, int fd, gnutls_session_t session);
/* Called before fd is closed; NULL is fine. The session is not touched: the library may have freed it
 * already. */
void intake_close(struct intakes *intakes, struct intake *intake);
struct screen *intake_screen(struct intake *intake);

/* What the library would find if it read on, which it does not know. */
enum intake_ahead {
    INTAKE_QUIET, /* nothing; or it will look by itself */
    INTAKE_MORE,  /* a next request, or part of it */
    INTAKE_ENDED, /* the peer has closed its side */
};
enum intake_ahead intake_ahead(const struct intake *intake);

/* For the library alone; they behave as the calls that they stand for. */
ssize_t intake_recv(int fd, void *out, size_t size, int flags);
ssize_t intake_gnutls_record_recv(gnutls_session_t session, void *out, size_t size);
int intake_gnutls_handshake(gnutls_session_t session);

#endif
