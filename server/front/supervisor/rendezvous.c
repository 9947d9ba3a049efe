/* rendezvous.c - the address that ranks are told, the peers that are pending, and the token. */
#include "server/front/supervisor/rendezvous.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "server/protocol/join.h"

#define JOIN_TIMEOUT (5 * CLOCK_SECOND) /* a rank sends its JOIN as soon as it is connected */

void rendezvous_init(struct rendezvous *rendezvous) {
    *rendezvous = (struct rendezvous){.listening = -1};
    for (size_t i = 0; i < RENDEZVOUS_PENDING; i++)
        link_init(&rendezvous->pending[i].link, -1);
}

static enum limoe_status make_token(char token[FRAME_TOKEN_BYTES + 1], struct limoe_error *err) {
    uint8_t bytes[FRAME_TOKEN_BYTES / 2];
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        return limoe_fail(err, LIMOE_INTERNAL, "cannot make a token for ranks: %s", strerror(errno));
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(token + 2 * i, 3, "%02x", bytes[i]);
    return LIMOE_OK;
}

static enum limoe_status listen_unix(struct rendezvous *rendezvous, struct limoe_error *err) {
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char dir[sizeof rendezvous->dir];
    int n = snprintf(dir, sizeof dir, "%s/limoe-XXXXXX", runtime && *runtime == '/' ? runtime : "/tmp");
    if (n >= (int)sizeof address.sun_path - 8)
        snprintf(dir, sizeof dir, "/tmp/limoe-XXXXXX");
    if (!mkdtemp(dir))
        return limoe_fail(err, LIMOE_IO, "cannot make the directory %s for ranks: %s", dir, strerror(errno));
    memcpy(rendezvous->dir, dir, sizeof dir);
    snprintf(address.sun_path, sizeof address.sun_path, "%.90s/ranks", dir);
    if (bind(rendezvous->listening, (const struct sockaddr *)&address, sizeof address) != 0)
        return limoe_fail(err, LIMOE_IO, "cannot make the socket %s: %s", address.sun_path, strerror(errno));
    snprintf(rendezvous->address, sizeof rendezvous->address, "unix:%s", address.sun_path);
    return LIMOE_OK;
}

static enum limoe_status listen_tcp(struct rendezvous *rendezvous, const char *text,
                                    struct limoe_error *err) {
    struct addrinfo *found = NULL;
    const int on = 1;
    enum limoe_status status = join_resolve(text, AI_PASSIVE, &found, err);
    if (status != LIMOE_OK || !found)
        return status;
    rendezvous->listening = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_storage bound;
    socklen_t size = sizeof bound;
    char host[256], port[8];
    join_split_host(text, host, port);
    if (rendezvous->listening >= 0)
        setsockopt(rendezvous->listening, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (rendezvous->listening < 0 || bind(rendezvous->listening, found->ai_addr, found->ai_addrlen) != 0 ||
        getsockname(rendezvous->listening, (struct sockaddr *)&bound, &size) != 0 ||
        getnameinfo((struct sockaddr *)&bound, size, NULL, 0, port, sizeof port, NI_NUMERICSERV) != 0)
        status = limoe_fail(err, LIMOE_IO, "cannot listen for ranks at %s: %s", text, strerror(errno));
    else
        snprintf(rendezvous->address, sizeof rendezvous->address,
                 strchr(host, ':') ? "tcp:[%s]:%s" : "tcp:%s:%s", host, port);
    freeaddrinfo(found);
    return status;
}

enum limoe_status rendezvous_open(struct rendezvous *rendezvous, const char *host, unsigned silent,
                                  struct limoe_error *err) {
    rendezvous_init(rendezvous);
    rendezvous->silent = silent;
    enum limoe_status status = make_token(rendezvous->token, err);
    if (status == LIMOE_OK && host) {
        status = listen_tcp(rendezvous, host, err);
    } else if (status == LIMOE_OK) {
        rendezvous->listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        status = rendezvous->listening >= 0
                     ? listen_unix(rendezvous, err)
                     : limoe_fail(err, LIMOE_INTERNAL, "cannot make a socket for ranks: %s", strerror(errno));
    }
    if (status == LIMOE_OK && listen(rendezvous->listening, SOMAXCONN) != 0)
        status = limoe_fail(err, LIMOE_IO, "cannot listen for ranks: %s", strerror(errno));
    if (status != LIMOE_OK)
        rendezvous_close(rendezvous);
    return status;
}

static void dismiss(struct pending_peer *peer) {
    if (peer->link.fd >= 0)
        close(peer->link.fd);
    link_free(&peer->link);
}

void rendezvous_close(struct rendezvous *rendezvous) {
    for (size_t i = 0; i < RENDEZVOUS_PENDING; i++)
        dismiss(&rendezvous->pending[i]);
    if (rendezvous->listening >= 0)
        close(rendezvous->listening);
    rendezvous->listening = -1;
    explicit_bzero(rendezvous->token, sizeof rendezvous->token);
    if (!rendezvous->dir[0])
        return;
    char path[sizeof rendezvous->dir + 8];
    snprintf(path, sizeof path, "%s/ranks", rendezvous->dir);
    unlink(path);
    rmdir(rendezvous->dir);
    rendezvous->dir[0] = '\0';
}

size_t rendezvous_events(const struct rendezvous *rendezvous, struct pollfd events[RENDEZVOUS_EVENTS]) {
    size_t n = 0;
    bool room = false;
    for (size_t i = 0; i < RENDEZVOUS_PENDING; i++) {
        room = room || rendezvous->pending[i].link.fd < 0;
        if (rendezvous->pending[i].link.fd >= 0)
            events[n++] = (struct pollfd){.fd = rendezvous->pending[i].link.fd, .events = POLLIN};
    }
    if (rendezvous->listening >= 0 && room)
        events[n++] = (struct pollfd){.fd = rendezvous->listening, .events = POLLIN};
    return n;
}

static void accept_peers(struct rendezvous *rendezvous, int64_t now) {
    for (size_t i = 0; i < RENDEZVOUS_PENDING && rendezvous->listening >= 0; i++) {
        struct pending_peer *peer = &rendezvous->pending[i];
        if (peer->link.fd >= 0)
            continue;
        peer->link.fd = accept4(rendezvous->listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (peer->link.fd < 0)
            return;
        link_reset(&peer->link, peer->link.fd);
        peer->until = now + JOIN_TIMEOUT;
        if (!rendezvous->dir[0])
            join_keep_alive(peer->link.fd, rendezvous->silent);
    }
}

/* Takes a time that does not depend on where they differ. */
static bool token_equal(const char *token, const char *shown) {
    uint8_t different = 0;
    for (size_t i = 0; i < FRAME_TOKEN_BYTES; i++)
        different |= (uint8_t)((uint8_t)token[i] ^ (uint8_t)shown[i]);
    return different == 0;
}

static pid_t process_of(const struct rendezvous *rendezvous, int fd) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    bool known = rendezvous->dir[0] && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0;
    return known ? peer.pid : 0;
}

/* Whether the peer may join, once its JOIN has come or its time is over; else why not. */
static bool may_join(const struct rendezvous *rendezvous, const struct pending_peer *peer,
                     enum link_event event, struct frame_join *join, struct limoe_error *err) {
    if (event == LINK_WAITS)
        limoe_fail(err, LIMOE_INVALID, "it sent no JOIN for %lld s",
                   (long long)(JOIN_TIMEOUT / CLOCK_SECOND));
    else if (event == LINK_ENDED)
        limoe_fail(err, LIMOE_INVALID, "it sent no JOIN");
    if (event != LINK_DONE ||
        frame_get_join(peer->link.payload, peer->link.frame.length, join, err) != LIMOE_OK)
        return false;
    if (token_equal(rendezvous->token, join->token))
        return true;
    limoe_fail(err, LIMOE_INVALID, "it did not show the token of this round");
    return false;
}

bool rendezvous_next(struct rendezvous *rendezvous, int64_t now, int *fd, pid_t *pid,
                     struct frame_join *join) {
    struct limoe_error err;
    accept_peers(rendezvous, now);
    for (size_t i = 0; i < RENDEZVOUS_PENDING; i++) {
        struct pending_peer *peer = &rendezvous->pending[i];
        if (peer->link.fd < 0)
            continue;
        enum link_event event = link_receive(&peer->link, FRAME_JOIN, FRAME_JOIN_BYTES, &err);
        if (event == LINK_WAITS && now < peer->until)
            continue;
        if (may_join(rendezvous, peer, event, join, &err)) {
            *fd = peer->link.fd;
            *pid = process_of(rendezvous, *fd);
            peer->link.fd = -1;
            dismiss(peer);
            return true;
        }
        snprintf(rendezvous->refused, sizeof rendezvous->refused, "%.150s", err.message);
        dismiss(peer);
    }
    return false;
}
