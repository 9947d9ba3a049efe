/* join.c - addresses of the front, and a rank's way to it. */
#include "server/protocol/join.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "server/protocol/frame.h"
#include "server/protocol/link.h"

/* A connection to another host may end without a word. It is asked after two fifths of the time, then each
 * fifth; what was sent and not acknowledged has as long. */
void join_keep_alive(int fd, unsigned silent) {
    const int on = 1, interval = silent < 5 ? 1 : (int)silent / 5, idle = silent < 5 ? 1 : 2 * interval;
    const int probes = silent > (unsigned)(idle + interval) ? ((int)silent - idle) / interval : 1;
    const unsigned limit = silent * 1000;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit, sizeof limit);
}

bool join_split_host(const char *text, char host[256], char port[8]) {
    const char *colon = strrchr(text, ':'), *end = text + strlen(text);
    snprintf(port, 8, "0");
    if (*text == '[') {
        const char *close = strchr(text, ']');
        if (!close || (close[1] && close[1] != ':'))
            return false;
        colon = close[1] ? close + 1 : NULL;
        text++;
        end = close;
    } else if (colon && memchr(text, ':', (size_t)(colon - text))) {
        colon = NULL; /* an IPv6 address, whose colons are its own */
    } else if (colon) {
        end = colon;
    }
    if (colon && (!colon[1] || strlen(colon + 1) >= 6))
        return false;
    if (colon)
        snprintf(port, 8, "%s", colon + 1);
    size_t size = (size_t)(end - text);
    if (size == 0 || size >= 256)
        return false;
    memcpy(host, text, size);
    host[size] = '\0';
    return true;
}

enum limoe_status join_resolve(const char *text, int flags, struct addrinfo **out, struct limoe_error *err) {
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
    char host[256], port[8];
    if (!join_split_host(text, host, port))
        return limoe_fail(err, LIMOE_INVALID, "\"%s\" is no address; accepted: HOST, HOST:PORT, [HOST]:PORT",
                          text);
    int code = getaddrinfo(host, port, &hints, out);
    if (code)
        return limoe_fail(err, LIMOE_INVALID, "\"%s\" is no address for ranks: %s", text, gai_strerror(code));
    return LIMOE_OK;
}

static int connect_unix(const char *path, struct limoe_error *err) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        limoe_fail(err, LIMOE_INVALID, "%s is too long for a socket", path);
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    limoe_fail(err, LIMOE_IO, "cannot connect to %s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

static int connect_tcp(const char *text, struct limoe_error *err) {
    struct addrinfo *found = NULL;
    int fd = -1;
    if (join_resolve(text, 0, &found, err) != LIMOE_OK)
        return -1;
    for (const struct addrinfo *at = found; at && fd < 0; at = at->ai_next) {
        fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0)
            join_keep_alive(fd, JOIN_SILENT);
        if (fd >= 0 && connect(fd, at->ai_addr, at->ai_addrlen) == 0)
            break;
        limoe_fail(err, LIMOE_IO, "cannot connect to %s: %s", text, strerror(errno));
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

/* A session hands its input on in pieces of any size. */
static bool read_token(char token[FRAME_TOKEN_BYTES + 1]) {
    size_t got = 0;
    while (got < FRAME_TOKEN_BYTES) {
        ssize_t n = read(STDIN_FILENO, token + got, FRAME_TOKEN_BYTES - got);
        if (n == 0 || (n < 0 && errno != EINTR))
            return false;
        got += n > 0 ? (size_t)n : 0;
    }
    token[got] = '\0';
    return true;
}

static bool find_token(char token[FRAME_TOKEN_BYTES + 1], struct limoe_error *err) {
    const char *told = getenv(JOIN_TOKEN);
    const bool found = told ? strlen(told) == FRAME_TOKEN_BYTES : read_token(token);
    if (found && told)
        memcpy(token, told, FRAME_TOKEN_BYTES + 1);
    unsetenv(JOIN_TOKEN);
    if (!found)
        limoe_fail(
            err, LIMOE_INVALID,
            "%s is not set, nor does standard input have a token: only limoe itself starts this command",
            JOIN_TOKEN);
    return found;
}

int join_front(const char *address, struct frame_join *join, struct limoe_error *err) {
    int fd = -1;
    if (!find_token(join->token, err))
        return -1;
    if (strncmp(address, "unix:", 5) == 0)
        fd = connect_unix(address + 5, err);
    else if (strncmp(address, "tcp:", 4) == 0)
        fd = connect_tcp(address + 4, err);
    else
        limoe_fail(err, LIMOE_INVALID, "\"%s\" is no address; accepted: unix:PATH, tcp:HOST:PORT", address);
    if (fd < 0)
        return -1;
    uint8_t payload[FRAME_JOIN_BYTES];
    frame_put_join(join, payload);
    const struct frame_header header = {.type = FRAME_JOIN, .length = FRAME_JOIN_BYTES};
    const struct iovec part = {payload, FRAME_JOIN_BYTES};
    struct link link;
    link_init(&link, fd);
    bool joined = link_stage(&link, &header, &part, 1) && link_send(&link, err) == LINK_DONE;
    link_free(&link);
    if (joined)
        return fd;
    close(fd);
    return -1;
}
