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
#include "server/formats/event_stream.h"
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
    CURL *curl;          /* NULL: it is over */
    char *body;          /* what is sent; the errand's to free */
    struct buffer bytes; /* of the answer; of one that is streamed, events that are to be sent */
    /* Of one that is streamed. */
    bool streamed, paused;
    struct event_stream events;
    uint64_t received;    /* bytes of a stream */
    uint64_t unread;      /* bytes of pieces that the front has, and has not told to be taken */
    const char *odd;      /* what was wrong with the stream; NULL: nothing */
    size_t head_bytes;    /* of status lines and headers, so far */
    bool too_large;       /* the answer */
    bool too_long_a_head; /* … its head */
    struct relay_answer answer;
    struct errand *next;
};

/* Begins the errand: its handle is to be added to a multi handle. Takes over body[ask->size], malloc'ed, also where it fails.
 * NULL: no memory. */
struct errand *errand_begin(const struct errand_policy *policy, const struct relay_ask *ask, char *body);
/* Fills the answer, once libcurl is done with it by this code. The handle has been removed from its multi handle, and is let go
 * of. */
void errand_end(struct errand *errand, CURLcode code);
/* Of one that is streamed, and running: whether there is a piece to send, which is then in errand->bytes, whole events, and counts as
 * unread once it is taken from there. */
bool errand_has_piece(const struct errand *errand);
/* Goes on receiving, where that was stopped and there is room again. Another code than CURLE_OK: the errand is over, and libcurl does
 * not say so again. */
CURLcode errand_resume(struct errand *errand);
void errand_free(struct errand *errand); /* NULL is fine; its handle is in no multi handle */

#endif
