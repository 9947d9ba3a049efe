/* meeting.c - addresses, guests, and the token. */
#include "server/front/supervisor/meeting.h"

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

#define GUEST_PATIENCE (5 * CLOCK_SECOND) /* a rank sends its JOIN as soon as it is connected */

void meeting_init(struct meeting *meeting) {
    *meeting = (struct meeting){.listening = -1};
    for (size_t i = 0; i < MEETING_GUESTS; i++)
        link_init(&meeting->guests[i].link, -1);
}

static enum limoe_status make_token(char token[FRAME_JOIN_BYTES + 1], struct limoe_error *err) {
    uint8_t bytes[FRAME_JOIN_BYTES / 2];
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        return limoe_fail(err, LIMOE_INTERNAL, "cannot make a token for ranks: %s", strerror(errno));
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(token + 2 * i, 3, "%02x", bytes[i]);
    return LIMOE_OK;
}

static enum limoe_status listen_unix(struct meeting *meeting, struct limoe_error *err) {
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char dir[sizeof meeting->dir];
    int n = snprintf(dir, sizeof dir, "%s/limoe-XXXXXX", runtime && *runtime == '/' ? runtime : "/tmp");
    if (n >= (int)sizeof address.sun_path - 8)
        snprintf(dir, sizeof dir, "/tmp/limoe-XXXXXX");
    if (!mkdtemp(dir))
        return limoe_fail(err, LIMOE_IO, "cannot make the directory %s for ranks: %s", dir, strerror(errno));
    memcpy(meeting->dir, dir, sizeof dir);
    snprintf(address.sun_path, sizeof address.sun_path, "%.90s/ranks", dir);
    if (bind(meeting->listening, (const struct sockaddr *)&address, sizeof address) != 0)
        return limoe_fail(err, LIMOE_IO, "cannot make the socket %s: %s", address.sun_path, strerror(errno));
    snprintf(meeting->address, sizeof meeting->address, "unix:%s", address.sun_path);
    return LIMOE_OK;
}

static enum limoe_status listen_tcp(struct meeting *meeting, const char *text, struct limoe_error *err) {
    struct addrinfo *found = NULL;
    const int on = 1;
    enum limoe_status status = join_resolve(text, AI_PASSIVE, &found, err);
    if (status != LIMOE_OK || !found)
        return status;
    meeting->listening = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_storage bound;
    socklen_t size = sizeof bound;
    char host[256], port[8];
    join_split_host(text, host, port);
    if (meeting->listening >= 0)
        setsockopt(meeting->listening, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (meeting->listening < 0 || bind(meeting->listening, found->ai_addr, found->ai_addrlen) != 0 ||
        getsockname(meeting->listening, (struct sockaddr *)&bound, &size) != 0 ||
        getnameinfo((struct sockaddr *)&bound, size, NULL, 0, port, sizeof port, NI_NUMERICSERV) != 0)
        status = limoe_fail(err, LIMOE_IO, "cannot listen for ranks at %s: %s", text, strerror(errno));
    else
        snprintf(meeting->address, sizeof meeting->address, strchr(host, ':') ? "tcp:[%s]:%s" : "tcp:%s:%s",
                 host, port);
    freeaddrinfo(found);
    return status;
}

enum limoe_status meeting_open(struct meeting *meeting, const char *host, struct limoe_error *err) {
    meeting_init(meeting);
    enum limoe_status status = make_token(meeting->token, err);
    if (status == LIMOE_OK && host) {
        status = listen_tcp(meeting, host, err);
    } else if (status == LIMOE_OK) {
        meeting->listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        status = meeting->listening >= 0
                     ? listen_unix(meeting, err)
                     : limoe_fail(err, LIMOE_INTERNAL, "cannot make a socket for ranks: %s", strerror(errno));
    }
    if (status == LIMOE_OK && listen(meeting->listening, SOMAXCONN) != 0)
        status = limoe_fail(err, LIMOE_IO, "cannot listen for ranks: %s", strerror(errno));
    if (status != LIMOE_OK)
        meeting_close(meeting);
    return status;
}

static void dismiss(struct guest *guest) {
    if (guest->link.fd >= 0)
        close(guest->link.fd);
    link_free(&guest->link);
}

void meeting_close(struct meeting *meeting) {
    for (size_t i = 0; i < MEETING_GUESTS; i++)
        dismiss(&meeting->guests[i]);
    if (meeting->listening >= 0)
        close(meeting->listening);
    meeting->listening = -1;
    explicit_bzero(meeting->token, sizeof meeting->token);
    if (!meeting->dir[0])
        return;
    char path[sizeof meeting->dir + 8];
    snprintf(path, sizeof path, "%s/ranks", meeting->dir);
    unlink(path);
    rmdir(meeting->dir);
    meeting->dir[0] = '\0';
}

size_t meeting_events(const struct meeting *meeting, struct pollfd events[MEETING_EVENTS]) {
    size_t n = 0;
    bool room = false;
    for (size_t i = 0; i < MEETING_GUESTS; i++) {
        room = room || meeting->guests[i].link.fd < 0;
        if (meeting->guests[i].link.fd >= 0)
            events[n++] = (struct pollfd){.fd = meeting->guests[i].link.fd, .events = POLLIN};
    }
    if (meeting->listening >= 0 && room)
        events[n++] = (struct pollfd){.fd = meeting->listening, .events = POLLIN};
    return n;
}

static void accept_guests(struct meeting *meeting, int64_t now) {
    for (size_t i = 0; i < MEETING_GUESTS && meeting->listening >= 0; i++) {
        struct guest *guest = &meeting->guests[i];
        if (guest->link.fd >= 0)
            continue;
        guest->link.fd = accept4(meeting->listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (guest->link.fd < 0)
            return;
        link_reset(&guest->link, guest->link.fd);
        guest->until = now + GUEST_PATIENCE;
        if (!meeting->dir[0])
            join_keep_alive(guest->link.fd);
    }
}

/* In a time that does not depend on where they differ. */
static bool token_equal(const char *token, const uint8_t *shown) {
    uint8_t different = 0;
    for (size_t i = 0; i < FRAME_JOIN_BYTES; i++)
        different |= (uint8_t)((uint8_t)token[i] ^ shown[i]);
    return different == 0;
}

static pid_t process_of(const struct meeting *meeting, int fd) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    bool known = meeting->dir[0] && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0;
    return known ? peer.pid : 0;
}

bool meeting_next(struct meeting *meeting, int64_t now, int *fd, pid_t *pid) {
    accept_guests(meeting, now);
    for (size_t i = 0; i < MEETING_GUESTS; i++) {
        struct guest *guest = &meeting->guests[i];
        if (guest->link.fd < 0)
            continue;
        enum link_event event = link_receive(&guest->link, FRAME_JOIN, FRAME_JOIN_BYTES, NULL);
        if (event == LINK_WAITS && now < guest->until)
            continue;
        if (event == LINK_DONE && guest->link.frame.length == FRAME_JOIN_BYTES &&
            token_equal(meeting->token, guest->link.payload)) {
            *fd = guest->link.fd;
            *pid = process_of(meeting, *fd);
            guest->link.fd = -1;
            dismiss(guest);
            return true;
        }
        meeting->refused++;
        dismiss(guest);
    }
    return false;
}
