/* client.h - many HTTP requests in flight from one thread: libcurl's multi interface over epoll.
 *
 * A slot is one request in flight; slots and connections are reused, so a request costs no allocation of
 * ours. Nothing is sent twice, no redirect is followed, no proxy is used: what the server does shows.
 */
#ifndef LIMOE_SERVER_COMMANDS_BENCH_CLIENT_H
#define LIMOE_SERVER_COMMANDS_BENCH_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "server/commands/bench/plan.h"
#include "server/commands/bench/pool.h"

enum client_error {
    CLIENT_ANSWERED, /* `status` says how */
    CLIENT_CONNECT,  /* no connection: refused, no such host */
    CLIENT_TLS,
    CLIENT_CLOSED, /* the connection broke before the answer was complete */
    CLIENT_TIMEOUT,
    CLIENT_PROTOCOL, /* what came was not HTTP, or something else of curl's */
    CLIENT_INTERRUPTED,
    CLIENT_ERRORS,
};
extern const char *const client_error_names[CLIENT_ERRORS];

enum { CLIENT_QUEUE_MS, CLIENT_INFERENCE_MS, CLIENT_TOTAL_MS, CLIENT_SERVER_TIMES };

/* Valid during the call it is given to. */
struct client_answer {
    enum client_error error;
    const char *detail; /* of an error: curl's words */
    int status;
    struct text body;
    double server_ms[CLIENT_SERVER_TIMES]; /* X-Queue-Ms, X-Inference-Ms, X-Total-Ms; below 0: absent */
    double retry_after_s;                  /* below 0: absent */
    int64_t done_ns;                       /* clock_now */
};

/* What the caller knows of a request in flight; the client only carries it. */
struct flight {
    struct load_request *request;
    int64_t due_ns; /* when it was to be sent: latency counts from here */
    bool counted;   /* not a warm-up's */
};

typedef void client_answered(void *context, const struct flight *flight, const struct client_answer *answer);

struct client;

/* At most `connections` in flight. NULL: no memory, or no epoll. */
struct client *client_new(const struct plan *plan, size_t connections, client_answered *answered,
                          void *context);
void client_free(struct client *client); /* NULL is fine; what is in flight is forgotten */

size_t client_in_flight(const struct client *client);
uint64_t client_connects(const struct client *client); /* connections opened so far */

/* Sends the flight's request with `body` in place of its own (data NULL: its own; copied, else it must stay).
 * `answered` is called from client_wait, once, within timeout_ns. There must be a free slot. */
void client_send(struct client *client, const struct flight *flight, struct text body, int64_t timeout_ns);

/* Lets requests go on until `until_ns` (clock_now), something has happened,
 * or wake_fd (or -1) can be read. */
void client_wait(struct client *client, int64_t until_ns, int wake_fd);

/* Answers CLIENT_INTERRUPTED for everything in flight. */
void client_interrupt(struct client *client);

#endif
