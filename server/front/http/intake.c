/* intake.c - from the library's calls to the connection they are for, and from a screen's results to errno
 * and GnuTLS's codes.
 *
 * A TLS session leads to its connection by the pointer that GnuTLS keeps for its user. A call to recv brings
 * a descriptor only; the table it is looked up in belongs to the HTTP thread, whose connections stay with it,
 * so that nobody else reads or writes it and no lock is needed. The pointer to that table is thread-local,
 * set once as the thread begins, because the library's call has no argument that could carry it.
 *
 * The library clears its note that a socket may have more when it gets fewer bytes than it asked for, or
 * EAGAIN; then it waits for an edge. So what a screen keeps back while the source has nothing new is told as
 * EINTR, which leaves the note as it is.
 */
#include "server/front/http/intake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define FIRST_DESCRIPTORS 64u

struct intake {
    struct screen screen;
    struct screen_source source;
    int fd;
    gnutls_session_t session; /* NULL: plain HTTP */
    int code;                 /* of SCREEN_LOST: an errno, or one of GnuTLS's */
};

struct slot {
    struct intake *intake; /* NULL: no connection of this thread has the descriptor */
};

struct intakes {
    struct slot *slots; /* [n], by descriptor */
    size_t n;
    bool handshook; /* see intakes_handshook */
};

static _Thread_local struct intakes *entered;

/* ---- sources */

static ssize_t lost(struct intake *intake, int code) {
    intake->code = code;
    return SCREEN_LOST;
}

static ssize_t read_plain(void *arg, char *out, size_t size) {
    struct intake *intake = arg;
    ssize_t n;
    do
        n = recv(intake->fd, out, size, 0);
    while (n < 0 && errno == EINTR);
    if (n >= 0)
        return n;
    return errno == EAGAIN || errno == EWOULDBLOCK ? SCREEN_AGAIN : lost(intake, errno);
}

static ssize_t read_session(void *arg, char *out, size_t size) {
    struct intake *intake = arg;
    ssize_t n;
    do
        n = gnutls_record_recv(intake->session, out, size);
    while (n == GNUTLS_E_INTERRUPTED);
    if (n >= 0)
        return n;
    return n == GNUTLS_E_AGAIN ? SCREEN_AGAIN : lost(intake, (int)n);
}

/* ---- the library's calls */

static struct intake *find(const struct intakes *intakes, int fd) {
    return intakes && fd >= 0 && (size_t)fd < intakes->n ? intakes->slots[fd].intake : NULL;
}

/* The code of an end; `otherwise` if the screen has ended for want of memory, which leaves no code. */
static int code_of(const struct intake *intake, int otherwise) {
    return intake->code ? intake->code : otherwise;
}

ssize_t intake_recv(int fd, void *out, size_t size, int flags) {
    (void)flags; /* the library passes none */
    struct intake *intake = find(entered, fd);
    if (!intake)
        return 0;
    const ssize_t n = screen_read(&intake->screen, &intake->source, out, size);
    if (n >= 0)
        return n;
    errno = n == SCREEN_AGAIN ? EAGAIN : n == SCREEN_LATER ? EINTR : code_of(intake, ENOMEM);
    return -1;
}

ssize_t intake_gnutls_record_recv(gnutls_session_t session, void *out, size_t size) {
    struct intake *intake = gnutls_session_get_ptr(session);
    if (!intake)
        return 0;
    const ssize_t n = screen_read(&intake->screen, &intake->source, out, size);
    if (n >= 0)
        return n;
    return n == SCREEN_AGAIN   ? GNUTLS_E_AGAIN
           : n == SCREEN_LATER ? GNUTLS_E_INTERRUPTED
                               : code_of(intake, GNUTLS_E_MEMORY_ERROR);
}

int intake_gnutls_handshake(gnutls_session_t session) {
    const int code = gnutls_handshake(session);
    if (code == GNUTLS_E_AGAIN && entered)
        entered->handshook = true;
    return code;
}

bool intakes_handshook(struct intakes *intakes) {
    const bool handshook = intakes->handshook;
    intakes->handshook = false;
    return handshook;
}

/* ---- connections */

struct intakes *intakes_new(void) {
    return calloc(1, sizeof(struct intakes));
}

void intakes_free(struct intakes *intakes) {
    if (!intakes)
        return;
    free(intakes->slots);
    free(intakes);
}

void intakes_enter(struct intakes *intakes) {
    entered = intakes;
}

static bool make_room(struct intakes *intakes, int fd) {
    size_t n = intakes->n ? intakes->n : FIRST_DESCRIPTORS;
    while (n <= (size_t)fd)
        n *= 2;
    if (n == intakes->n)
        return true;
    struct slot *slots = realloc(intakes->slots, n * sizeof *slots);
    if (!slots)
        return false;
    memset(slots + intakes->n, 0, (n - intakes->n) * sizeof *slots);
    intakes->slots = slots;
    intakes->n = n;
    return true;
}

struct intake *intake_open(struct intakes *intakes, int fd, gnutls_session_t session) {
    struct intake *intake = make_room(intakes, fd) ? calloc(1, sizeof *intake) : NULL;
    if (session)
        gnutls_session_set_ptr(session, intake);
    if (!intake)
        return NULL;
    intake->fd = fd;
    intake->session = session;
    intake->source = (struct screen_source){.read = session ? read_session : read_plain, .arg = intake};
    intakes->slots[fd].intake = intake;
    return intake;
}

void intake_close(struct intakes *intakes, struct intake *intake) {
    if (!intake)
        return;
    intakes->slots[intake->fd].intake = NULL;
    screen_free(&intake->screen);
    free(intake);
}

struct screen *intake_screen(struct intake *intake) {
    return &intake->screen;
}

enum intake_ahead intake_ahead(const struct intake *intake) {
    char byte;
    if (intake->session)
        return INTAKE_QUIET; /* short reads clear no note for TLS */
    if (screen_holds(&intake->screen))
        return INTAKE_MORE;
    const ssize_t n = recv(intake->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n > 0)
        return INTAKE_MORE;
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? INTAKE_QUIET : INTAKE_ENDED;
}
