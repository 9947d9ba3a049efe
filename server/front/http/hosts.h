/* hosts.h - whether a request is meant for this server, by its Host and Origin.
 *
 * A web page may have its own name resolve to 127.0.0.1 (DNS rebinding): then a browser takes this server for
 * the page's, and lets the page read and change what it keeps. Only the Host betrays it. And a page of any
 * site may post a form here, which needs no permission to be sent: its Origin says so.
 *
 * Without keys, and listening on this machine alone, nothing else keeps pages out, so both are checked. With
 * keys, a page has none; on other addresses the names by which the server is reached are not known. There
 * both are checked where the names are given. Read-only, any thread.
 */
#ifndef LIMOE_SERVER_FRONT_HTTP_HOSTS_H
#define LIMOE_SERVER_FRONT_HTTP_HOSTS_H

#include <stdbool.h>

#include "limoe.h"
#include "server/api/api_error.h"

struct hosts;

struct hosts_options {
    const char *host; /* --host */
    /* --allowed-hosts: names, with commas; "*.name" is all below it, "*" any. NULL: not given. */
    const char *allowed;
    const char *cors; /* --cors-origin; NULL: none */
    bool keys;        /* clients must show one */
    int listening;    /* the socket */
};

/* Copies what it keeps. LIMOE_INVALID if `allowed` is no list of names. */
enum limoe_status hosts_new(const struct hosts_options *options, struct hosts **out, struct limoe_error *err);
void hosts_free(struct hosts *hosts); /* NULL is fine */

/* What a request says of itself; NULL where the header is missing. */
struct hosts_request {
    const char *method, *host, *origin;
    const char *fetch_site; /* Sec-Fetch-Site, which a browser sets and no page can */
};

/* False, with *error: a 421 for the Host, a 403 for the Origin. A request without these headers is no
 * browser's. */
bool hosts_allow(const struct hosts *hosts, const struct hosts_request *request, struct api_error *error);

#endif
