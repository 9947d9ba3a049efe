/* errand.h - one request to the language model's server: one libcurl handle, used once. One thread.
 *
 * Where it goes is the operator's word alone; nothing of a request but its body travels.
 */
#ifndef LIMOE_SERVER_RELAY_ERRAND_H
#define LIMOE_SERVER_RELAY_ERRAND_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "server/protocol/relay_wire.h"

/* What all errands have; outlives them. */
struct errand_policy {
    struct relay_settings settings;
    struct curl_slist *headers;
};
/* False: no memory. */
bool errand_policy_open(struct errand_policy *policy);
void errand_policy_close(struct errand_policy *policy);

struct errand {
    const struct errand_policy *policy;
    CURL *curl;           /* NULL: it is over */
    char *body;           /* what is sent; the errand's to free */
    struct buffer bytes;  /* of the answer */
    size_t head_bytes;    /* of status lines and headers, so far */
    bool too_large;       /* the answer */
    bool too_long_a_head; /* … its head */
    struct relay_answer answer;
    size_t sent; /* bytes of answer and bytes that the front has */
    struct errand *next;
};

/* Begins the errand: its handle is to be added to a multi handle. Takes over body[ask->size], malloc'ed, also where it fails.
 * NULL: no memory. */
struct errand *errand_begin(const struct errand_policy *policy, const struct relay_ask *ask, char *body);
/* Fills the answer, once libcurl is done with it by this code. The handle has been removed from its multi handle, and is let go
 * of. */
void errand_end(struct errand *errand, CURLcode code);
void errand_free(struct errand *errand); /* NULL is fine; its handle is in no multi handle */

#endif
