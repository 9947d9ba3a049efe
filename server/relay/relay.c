/* relay.c - asks in, requests to the language model's server side by side, answers out. One thread, beside libcurl's for names.
 *
 * How many requests there are at a time is for the front to say, which asks for no more than that. An answer stays here until
 * the front has read it; of one that is streamed no more is received than the front passes on.
 */
#include "server/relay/relay.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/process.h"
#include "server/confine/confine.h"
#include "server/options/command.h"
#include "server/protocol/relay_wire.h"
#include "server/relay/errand.h"

#define SLEEP_MS 1000

/* On its way to the front: an answer, or a part of one. */
struct piece {
    struct relay_answer head;
    char *bytes; /* [head.size] */
    size_t sent; /* of head and bytes */
    struct piece *next;
};

struct relay {
    struct errand_policy policy;
    CURLM *multi;
    struct errand *running;      /* their handles are in `multi` */
    struct piece *first, **last; /* the oldest first */
    struct relay_ask ask;        /* being received, */
    char *body;                  /* with its body */
    size_t received;
};

static int complain(int status, const char *what) {
    fprintf(stderr, "limoe: relay: %s\n", what);
    return status;
}

/* ---- errands */

/* Takes over the bytes. False: no memory. */
static bool queue_piece(struct relay *relay, const struct relay_answer *head, struct buffer *bytes) {
    struct piece *piece = calloc(1, sizeof *piece);
    if (!piece)
        return false;
    piece->head = *head;
    piece->bytes = buffer_take(bytes, &(size_t){0});
    *relay->last = piece;
    relay->last = &piece->next;
    return piece->bytes != NULL;
}

/* Queues what there is of a stream. False: no memory. */
static bool queue_events(struct relay *relay, struct errand *errand) {
    const struct relay_answer head = {
        .id = errand->answer.id, .size = errand->bytes.size, .outcome = RELAY_MORE};
    errand->unread += errand->bytes.size;
    return !errand->bytes.size || queue_piece(relay, &head, &errand->bytes);
}

static bool queue_answer(struct relay *relay, struct errand *errand) {
    if (errand->streamed && !queue_events(relay, errand))
        return false;
    errand->answer.size = errand->bytes.size;
    return queue_piece(relay, &errand->answer, &errand->bytes);
}

static struct errand *find(struct relay *relay, uint64_t id) {
    struct errand *errand = relay->running;
    while (errand && errand->answer.id != id)
        errand = errand->next;
    return errand; /* NULL: it was answered */
}

/* Takes it out of those running. */
static void stop(struct relay *relay, struct errand *errand) {
    struct errand **at = &relay->running;
    while (*at && *at != errand)
        at = &(*at)->next;
    if (*at)
        *at = errand->next;
    curl_multi_remove_handle(relay->multi, errand->curl);
}

/* False: no memory. The front starts another relay then. */
static bool begin(struct relay *relay) {
    struct errand *errand = errand_begin(&relay->policy, &relay->ask, relay->body);
    relay->body = NULL;
    if (!errand)
        return false;
    if (curl_multi_add_handle(relay->multi, errand->curl) != CURLM_OK) {
        errand_free(errand);
        return false;
    }
    errand->next = relay->running;
    relay->running = errand;
    return true;
}

static void take_back(struct relay *relay, uint64_t id) {
    struct errand *errand = find(relay, id);
    if (!errand)
        return;
    stop(relay, errand);
    errand_free(errand);
}

static void note_taken(struct relay *relay, uint64_t id, uint64_t size) {
    struct errand *errand = find(relay, id);
    if (errand)
        errand->unread -= size < errand->unread ? size : errand->unread;
}

/* libcurl is done with it. False: no memory. */
static bool end(struct relay *relay, struct errand *errand, CURLcode code) {
    stop(relay, errand);
    errand_end(errand, code);
    const bool good = queue_answer(relay, errand);
    errand_free(errand);
    return good;
}

/* Queues pieces of streams, and has those go on that wait for room. False: no memory. */
static bool pump(struct relay *relay) {
    struct errand *next;
    for (struct errand *errand = relay->running; errand; errand = next) {
        next = errand->next;
        if (errand_has_piece(errand) && !queue_events(relay, errand))
            return false;
        const CURLcode code = errand_resume(errand);
        if (code != CURLE_OK && !end(relay, errand, code))
            return false;
    }
    return true;
}

/* False: no memory. */
static bool collect(struct relay *relay) {
    int left;
    bool good = true;
    for (const CURLMsg *message; (message = curl_multi_info_read(relay->multi, &left)) != NULL;) {
        struct errand *errand = NULL;
        const CURLcode code = message->data.result; /* the message ends with the handle's removal */
        if (message->msg != CURLMSG_DONE ||
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&errand) != CURLE_OK ||
            !errand)
            continue;
        good = end(relay, errand, code) && good;
    }
    return good;
}

/* ---- the front */

static void drop_piece(struct relay *relay) {
    struct piece *piece = relay->first;
    relay->first = piece->next;
    if (!relay->first)
        relay->last = &relay->first;
    free(piece->bytes);
    free(piece);
}

/* Sends what it takes now. */
static void send_pieces(struct relay *relay) {
    while (relay->first) {
        struct piece *piece = relay->first;
        const size_t head = sizeof piece->head;
        const bool in_head = piece->sent < head;
        const char *from =
            in_head ? (const char *)&piece->head + piece->sent : piece->bytes + (piece->sent - head);
        const size_t left = in_head ? head - piece->sent : head + piece->head.size - piece->sent;
        const ssize_t sent = left ? send(PROCESS_FD, from, left, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
        if (sent < 0)
            return; /* not now; or the front is gone, as reading from it tells */
        piece->sent += (size_t)sent;
        if (piece->sent < head + piece->head.size)
            continue;
        drop_piece(relay);
    }
}

/* Of what follows the ask's head. */
static size_t body_size(const struct relay *relay) {
    return relay->ask.kind == RELAY_ASK ? relay->ask.size : 0;
}

/* An ask's head is there. False: it is no ask, or there is no memory for its body. */
static bool open_ask(struct relay *relay) {
    if (!relay_check_ask(&relay->ask))
        return false;
    relay->body = body_size(relay) ? malloc(body_size(relay)) : NULL;
    return relay->body || !body_size(relay);
}

static bool close_ask(struct relay *relay) {
    relay->received = 0;
    if (relay->ask.kind == RELAY_ASK)
        return begin(relay);
    if (relay->ask.kind == RELAY_TAKE_BACK)
        take_back(relay, relay->ask.id);
    else
        note_taken(relay, relay->ask.id, relay->ask.size);
    return true;
}

enum read { READ_ALL, READ_END, READ_WRONG };

/* Reads all that has come. */
static enum read read_asks(struct relay *relay) {
    const size_t head = sizeof relay->ask;
    for (;;) {
        const bool in_head = relay->received < head;
        char *to = in_head ? (char *)&relay->ask + relay->received : relay->body + (relay->received - head);
        const size_t left = in_head ? head - relay->received : head + body_size(relay) - relay->received;
        const ssize_t size = recv(PROCESS_FD, to, left, MSG_DONTWAIT);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return READ_ALL;
        if (size <= 0)
            return READ_END;
        relay->received += (size_t)size;
        if (relay->received < head)
            continue;
        if (in_head && !open_ask(relay))
            return READ_WRONG;
        if (relay->received == head + body_size(relay) && !close_ask(relay))
            return READ_WRONG;
    }
}

static int relay_all(struct relay *relay) {
    for (;;) {
        int running;
        const enum read came = read_asks(relay);
        if (came != READ_ALL)
            return came == READ_END ? COMMAND_OK
                                    : complain(COMMAND_INPUT, "an ask is malformed, or there is no memory");
        if (curl_multi_perform(relay->multi, &running) != CURLM_OK)
            return complain(COMMAND_INPUT, "libcurl cannot go on");
        if (!collect(relay) || !pump(relay))
            return complain(COMMAND_INPUT, "no memory");
        send_pieces(relay);
        struct curl_waitfd front = {.fd = PROCESS_FD, .events = CURL_WAIT_POLLIN};
        if (relay->first)
            front.events |= CURL_WAIT_POLLOUT;
        curl_multi_poll(relay->multi, &front, 1, SLEEP_MS, NULL);
    }
}

/* ---- life */

static void close_all(struct relay *relay) {
    while (relay->running) {
        struct errand *errand = relay->running;
        stop(relay, errand);
        errand_free(errand);
    }
    while (relay->first)
        drop_piece(relay);
    free(relay->body);
    errand_policy_close(&relay->policy);
    if (relay->multi)
        curl_multi_cleanup(relay->multi);
}

static int run(struct relay *relay) {
    char why[128];
    relay->last = &relay->first;
    relay->multi = curl_multi_init();
    if (!relay->multi || !errand_policy_open(&relay->policy))
        return complain(COMMAND_INPUT, "no memory");
    if (!confine(CONFINE_NETWORK, why, sizeof why))
        return complain(COMMAND_INPUT, why);
    return relay_all(relay);
}

int relay_main(int argc, char **argv) {
    struct limoe_error err;
    (void)argv;
    if (argc > 1)
        return complain(COMMAND_USAGE, "takes no options; only limoe itself starts this command");
    if (!process_child_setup(&err)) /* a front that is gone wants no complaint */
        return err.status == LIMOE_IO ? COMMAND_OK : complain(COMMAND_INPUT, err.message);
    struct relay *relay = calloc(1, sizeof *relay);
    if (!relay || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(relay);
        return complain(COMMAND_INPUT, "no memory");
    }
    int status = COMMAND_OK;
    if (relay_receive_settings(PROCESS_FD, &relay->policy.settings)) {
        status = run(relay);
        close_all(relay);
    }
    free(relay);
    curl_global_cleanup();
    return status;
}
