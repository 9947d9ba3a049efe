/* hosts.c - names are compared without their port, in lower case, without a dot at the end. */
#include "server/front/http/hosts.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/text.h"

#define NAME_SIZE  256 /* of a name with its NUL: 253 bytes are the most that DNS has */
#define MOST_NAMES 256

struct hosts {
    bool check;
    bool listed; /* --allowed-hosts is given */
    char own[NAME_SIZE];
    char *cors; /* NULL: none */
    size_t n;
    char names[][NAME_SIZE]; /* [n]; "*.name" for all below it */
};

/* ---- names */

/* "LocalHost.:8080" → "localhost"; "[::1]:8080" → "::1". False: none. */
static bool read_name(const char *host, char name[NAME_SIZE]) {
    const bool bracket = *host == '[';
    const char *start = host + bracket;
    size_t length = strcspn(start, bracket ? "]" : ":");
    const char *rest = start + length;
    if (bracket && *rest++ != ']')
        return false;
    if (*rest && (*rest != ':' || strspn(rest + 1, "0123456789") != strlen(rest + 1)))
        return false;
    if (!bracket && length > 1 && start[length - 1] == '.')
        length--;
    if (length == 0 || length >= NAME_SIZE)
        return false;
    for (size_t i = 0; i < length; i++)
        name[i] = (char)tolower((unsigned char)start[i]);
    name[length] = '\0';
    return true;
}

static bool ends_with(const char *name, const char *end) {
    const size_t length = strlen(name), tail = strlen(end);
    return length > tail && strcmp(name + length - tail, end) == 0;
}

static bool is_address(const char *name) {
    struct in6_addr room;
    return inet_pton(AF_INET, name, &room) == 1 || inet_pton(AF_INET6, name, &room) == 1;
}

static bool is_loopback(const char *name) {
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, name, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET;
    if (inet_pton(AF_INET6, name, &v6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&v6);
    return strcmp(name, "localhost") == 0 || ends_with(name, ".localhost");
}

/* Whether the name is this server's. If a list is given any numeric address is taken, too: probes use
 * them, and a page that was loaded from a name cannot be reached under a number. */
static bool known(const struct hosts *hosts, const char *name) {
    if (is_loopback(name) || strcmp(name, hosts->own) == 0 || (hosts->listed && is_address(name)))
        return true;
    for (size_t i = 0; i < hosts->n; i++)
        if (hosts->names[i][0] == '*' ? ends_with(name, hosts->names[i] + 1)
                                      : strcmp(name, hosts->names[i]) == 0)
            return true;
    return false;
}

/* ---- a request */

/* "https://example.com:8443" → "example.com:8443"; NULL: it has no host ("null"). */
static const char *authority_of(const char *origin) {
    const char *at = strstr(origin, "://");
    return at ? at + 3 : NULL;
}

static bool allow_host(const struct hosts *hosts, const char *host, struct api_error *error) {
    char name[NAME_SIZE], quoted[128];
    if (!host || (read_name(host, name) && known(hosts, name)))
        return true;
    return api_fail(error, 421, "host_not_allowed", "Host",
                    "Host is \"%s\", which this server does not answer to: accepted are localhost, loopback "
                    "addresses, its --host and the names in --allowed-hosts",
                    text_quote(text_of(host), quoted, sizeof quoted));
}

static bool allow_origin(const struct hosts *hosts, const struct hosts_request *request,
                         struct api_error *error) {
    const char *origin = request->origin;
    char name[NAME_SIZE], quoted[128];
    if (!origin || strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0)
        return true;
    if (request->fetch_site && strcasecmp(request->fetch_site, "same-origin") == 0)
        return true; /* also behind a proxy that changes the Host */
    if (hosts->cors && (strcmp(hosts->cors, "*") == 0 || strcmp(hosts->cors, origin) == 0))
        return true;
    const char *authority = authority_of(origin);
    if (authority && request->host && strcasecmp(authority, request->host) == 0)
        return true;
    if (authority && hosts->listed && read_name(authority, name) && !is_loopback(name) && known(hosts, name))
        return true;
    return api_fail(
        error, 403, "origin_not_allowed", "Origin",
        "Origin is \"%s\": pages of other sites may not use this server; accepted are its own and "
        "those that --cors-origin or --allowed-hosts name",
        text_quote(text_of(origin), quoted, sizeof quoted));
}

bool hosts_allow(const struct hosts *hosts, const struct hosts_request *request, struct api_error *error) {
    return !hosts->check || (allow_host(hosts, request->host, error) && allow_origin(hosts, request, error));
}

/* ---- life */

static bool listens_on_loopback(int fd) {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } bound = {.v6 = {.sin6_family = AF_UNSPEC}};
    socklen_t size = sizeof bound;
    if (getsockname(fd, &bound.any, &size) != 0)
        return false;
    if (bound.any.sa_family == AF_INET)
        return ntohl(bound.v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    if (IN6_IS_ADDR_V4MAPPED(&bound.v6.sin6_addr))
        return bound.v6.sin6_addr.s6_addr[12] == IN_LOOPBACKNET;
    return IN6_IS_ADDR_LOOPBACK(&bound.v6.sin6_addr);
}

/* Reads a name, a "*.name", or an address, with brackets or without; no port and nothing of a URL. */
static bool read_entry(const char *entry, size_t length, char name[NAME_SIZE]) {
    char copy[NAME_SIZE + 2];
    if (length == 0 || length >= NAME_SIZE)
        return false;
    memcpy(copy, entry, length);
    copy[length] = '\0';
    if (is_address(copy)) {
        memcpy(name, copy, length + 1);
        return true;
    }
    static const char accepted[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    const char *label = strncmp(copy, "*.", 2) == 0 ? copy + 2 : copy;
    const bool plain = *label && *label != '.' && strspn(label, accepted) == strlen(label);
    return (plain || (*copy == '[' && copy[length - 1] == ']')) && read_name(copy, name);
}

static enum limoe_status read_list(struct hosts *hosts, const char *allowed, struct limoe_error *err) {
    for (const char *entry = allowed; *entry;) {
        entry += strspn(entry, ", ");
        const size_t length = strcspn(entry, ", ");
        char quoted[NAME_SIZE];
        if (length == 0)
            break;
        if (hosts->n == MOST_NAMES)
            return limoe_fail(err, LIMOE_INVALID,
                              "allowed-hosts has more than the %d names that are accepted", MOST_NAMES);
        if (!read_entry(entry, length, hosts->names[hosts->n++]))
            return limoe_fail(
                err, LIMOE_INVALID,
                "allowed-hosts has \"%s\"; accepted: names, \"*.name\" and addresses, without port, "
                "divided by commas, or \"*\" alone",
                text_quote((struct text){.data = entry, .size = length}, quoted, sizeof quoted));
        entry += length;
    }
    if (hosts->n == 0)
        return limoe_fail(err, LIMOE_INVALID,
                          "allowed-hosts is empty; accepted: names divided by commas, or "
                          "\"*\" for any");
    return LIMOE_OK;
}

enum limoe_status hosts_new(const struct hosts_options *options, struct hosts **out,
                            struct limoe_error *err) {
    struct hosts *hosts = calloc(1, sizeof *hosts + MOST_NAMES * sizeof *hosts->names);
    enum limoe_status status = LIMOE_OK;
    if (hosts && options->cors)
        hosts->cors = strdup(options->cors);
    if (!hosts || (options->cors && !hosts->cors)) {
        hosts_free(hosts);
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the names of hosts");
    }
    char bracketed[NAME_SIZE + 2];
    snprintf(bracketed, sizeof bracketed, strchr(options->host, ':') ? "[%s]" : "%s", options->host);
    if (!read_name(bracketed, hosts->own))
        hosts->own[0] = '\0';
    const bool any = options->allowed && strcmp(options->allowed, "*") == 0;
    hosts->listed = options->allowed && !any;
    hosts->check = hosts->listed || (!any && !options->keys && listens_on_loopback(options->listening));
    if (hosts->listed)
        status = read_list(hosts, options->allowed, err);
    if (status == LIMOE_OK)
        *out = hosts;
    else
        hosts_free(hosts);
    return status;
}

void hosts_free(struct hosts *hosts) {
    if (!hosts)
        return;
    free(hosts->cors);
    free(hosts);
}
