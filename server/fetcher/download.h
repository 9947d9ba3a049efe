/* download.h - one picture from one URL: one libcurl handle, used once.
 *
 * Nothing is shared with other downloads: no connection, no resolved name, no cookie, no TLS session. One thread.
 */
#ifndef LIMOE_SERVER_FETCHER_DOWNLOAD_H
#define LIMOE_SERVER_FETCHER_DOWNLOAD_H

#include <curl/curl.h>

#include "base/buffer.h"
#include "base/text.h"
#include "server/fetcher/address.h"
#include "server/fetcher/target.h"
#include "server/protocol/fetch_wire.h"

/* What may be fetched; outlives the downloads. */
struct download_policy {
    struct target_rules rules;
    struct address_networks networks;
    uint64_t most_bytes;
};

struct download {
    const struct download_policy *policy;
    CURL *curl; /* NULL: it is over, and never began if the URL was refused */
    struct curl_slist *headers;
    struct buffer body;
    size_t head_bytes;    /* of status lines and headers, so far */
    const char *refusal;  /* what the last address was that no socket was opened to; NULL: all were good */
    bool too_large;       /* the body */
    bool too_long_a_head; /* … the head */
    struct fetch_answer answer;
    size_t sent; /* bytes of answer and body that the front has */
    struct download *next;
};

/* Begins the download: its handle is to be added to a multi handle. Where the URL is refused, curl is NULL and the answer
 * says why. NULL: no memory. */
struct download *download_begin(const struct download_policy *policy, const struct fetch_ask *ask,
                                struct text url);
/* Fills the answer, once libcurl is done with it by this code. The handle has been removed from its multi handle, and is
 * let go of. */
void download_end(struct download *download, CURLcode code);
void download_free(struct download *download); /* NULL is fine; its handle is in no multi handle */

#endif
