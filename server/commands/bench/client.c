/* client.c - slots of easy handles, driven by epoll. One thread. */
#include "server/commands/bench/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/clock.h"

const char *const client_error_names[CLIENT_ERRORS] = {"answered", "connect",  "tls",        "closed",
                                                       "timeout",  "protocol", "interrupted"};

enum { EVENTS = 64 };

/* A connection idle for longer is not used again: servers close those, and a request must not cross that. */
#define IDLE_SECONDS 15L

struct slot {
    CURL *easy;
    struct slot *next; /* free slots */
    const char *url;   /* what the handle is set to, as `headers` */
    struct header *headers;
    struct flight flight;
    bool busy, tried;         /* tried: it was sent */
    struct buffer sent, body; /* a body of its own; the answer's */
    double server_ms[CLIENT_SERVER_TIMES], retry_after_s;
};

/* The request headers for one content type (NULL: no body). */
struct header {
    const char *content_type;
    struct curl_slist *list;
    struct header *next;
};

struct client {
    const struct plan *plan;
    client_answered *answered;
    void *context;
    struct arena *arena;
    CURLM *multi;
    int epoll;
    int64_t timer_ns; /* when curl wants to be called; 0: never */
    struct slot *slots, *free;
    size_t n_slots, in_flight;
    uint64_t connects;
    struct header *headers;
};

/* ---- what curl calls */

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *known) {
    struct client *client = context;
    struct epoll_event event = {.data.fd = fd};
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(client->epoll, EPOLL_CTL_DEL, fd, NULL);
        return 0;
    }
    event.events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
    if (known)
        return epoll_ctl(client->epoll, EPOLL_CTL_MOD, fd, &event);
    curl_multi_assign(client->multi, fd, client); /* any pointer says that epoll knows the socket */
    return epoll_ctl(client->epoll, EPOLL_CTL_ADD, fd, &event);
}

static int on_timer(CURLM *multi, long milliseconds, void *context) {
    struct client *client = context;
    (void)multi;
    client->timer_ns = milliseconds < 0 ? 0 : clock_now() + milliseconds * CLOCK_MILLISECOND;
    return 0;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *context) {
    struct slot *slot = context;
    buffer_bytes(&slot->body, bytes, size * n);
    return slot->body.failed ? 0 : size * n;
}

/* One line at a time, with its end. */
static size_t on_header(char *line, size_t size, size_t n, void *context) {
    static const struct {
        const char *name;
        size_t length;
    } times[CLIENT_SERVER_TIMES] = {{"X-Queue-Ms:", 11}, {"X-Inference-Ms:", 15}, {"X-Total-Ms:", 11}};
    struct slot *slot = context;
    char value[32];
    const size_t length = size * n;
    const char *colon = (line[0] | 0x20) == 'x' || (line[0] | 0x20) == 'r' ? memchr(line, ':', length) : NULL;
    if (!colon)
        return length;
    const size_t name = (size_t)(colon - line) + 1, room = length - name;
    const size_t kept = room < sizeof value - 1 ? room : sizeof value - 1;
    memcpy(value, colon + 1, kept);
    value[kept] = '\0';
    for (int i = 0; i < CLIENT_SERVER_TIMES; i++)
        if (name == times[i].length && strncasecmp(line, times[i].name, name) == 0)
            slot->server_ms[i] = strtod(value, NULL);
    if (name == 12 && strncasecmp(line, "Retry-After:", name) == 0) {
        char *end;
        const double seconds = strtod(value, &end);
        slot->retry_after_s = end != value && seconds >= 0 ? seconds : -1; /* a date is not read */
    }
    return length;
}

/* A connection is ready for the request. When one that was kept open closes before any byte of an answer,
 * curl would send the request again on another: that would hide what a measurement is to find. */
static int on_ready(void *context, char *their_ip, char *our_ip, int their_port, int our_port) {
    struct slot *slot = context;
    const bool again = slot->tried;
    (void)their_ip, (void)our_ip, (void)their_port, (void)our_port;
    slot->tried = true;
    return again ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

/* ---- slots */

static bool open_slot(struct client *client, struct slot *slot) {
    const struct plan *plan = client->plan;
    CURL *easy = slot->easy = curl_easy_init();
    if (!easy)
        return false;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, slot);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* the server is measured, not what stands before it */
    curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, slot);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, slot);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_ready);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, slot);
    curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, IDLE_SECONDS);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, plan->insecure ? 0L : 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, plan->insecure ? 0L : 2L);
    if (plan->ca_file)
        curl_easy_setopt(easy, CURLOPT_CAINFO, plan->ca_file);
    slot->next = client->free;
    client->free = slot;
    return true;
}

static bool append(struct curl_slist **list, const char *line) {
    struct curl_slist *longer = line ? curl_slist_append(*list, line) : NULL;
    if (longer)
        *list = longer;
    return longer;
}

/* The headers for a content type, made at its first request. NULL: no memory. */
static struct header *headers_for(struct client *client, const char *content_type) {
    for (struct header *known = client->headers; known; known = known->next)
        if (known->content_type == content_type ||
            (known->content_type && content_type && strcmp(known->content_type, content_type) == 0))
            return known;
    struct header *made = arena_array(client->arena, 1, sizeof *made);
    if (!made)
        return NULL;
    made->content_type = content_type;
    const char *key = client->plan->key;
    if ((content_type &&
         (!append(&made->list, arena_print(client->arena, "Content-Type: %s", content_type)) ||
          !append(&made->list, "Expect:"))) || /* no 100-continue: one way, not two, for a large body */
        !append(&made->list, "User-Agent: limoe-bench/" LIMOE_VERSION) ||
        (key && !append(&made->list, arena_print(client->arena, "Authorization: Bearer %s", key)))) {
        curl_slist_free_all(made->list);
        return NULL;
    }
    made->next = client->headers;
    client->headers = made;
    return made;
}

static void answer(struct client *client, struct slot *slot, enum client_error error, const char *detail) {
    struct client_answer given = {.error = error,
                                  .detail = detail,
                                  .body = {.data = slot->body.data, .size = slot->body.size},
                                  .retry_after_s = slot->retry_after_s,
                                  .done_ns = clock_now()};
    long status = 0, connects = 0;
    curl_easy_getinfo(slot->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(slot->easy, CURLINFO_NUM_CONNECTS, &connects);
    given.status = (int)status;
    memcpy(given.server_ms, slot->server_ms, sizeof given.server_ms);
    client->connects += (uint64_t)connects;
    slot->busy = false;
    client->in_flight--;
    client->answered(client->context, &slot->flight, &given);
    slot->next = client->free;
    client->free = slot;
}

static enum client_error error_of(CURLcode code) {
    switch (code) {
    case CURLE_OK:
        return CLIENT_ANSWERED;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
        return CLIENT_CONNECT;
    case CURLE_OPERATION_TIMEDOUT:
        return CLIENT_TIMEOUT;
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE:
    case CURLE_ABORTED_BY_CALLBACK: /* on_ready's */
        return CLIENT_CLOSED;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_PEER_FAILED_VERIFICATION:
        return CLIENT_TLS;
    default:
        return CLIENT_PROTOCOL;
    }
}

static void take_answers(struct client *client) {
    CURLMsg *message;
    for (int left; (message = curl_multi_info_read(client->multi, &left));) {
        const CURLcode code = message->data.result; /* the message dies with the handle's removal */
        CURL *easy = message->easy_handle;
        struct slot *slot;
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, &slot);
        curl_multi_remove_handle(client->multi, easy);
        answer(client, slot, error_of(code),
               code == CURLE_ABORTED_BY_CALLBACK ? "Connection closed before any answer"
                                                 : curl_easy_strerror(code));
    }
}

/* ---- the client */

struct client *client_new(const struct plan *plan, size_t connections, client_answered *answered,
                          void *context) {
    struct arena *arena = arena_new();
    struct client *client = arena ? arena_array(arena, 1, sizeof *client) : NULL;
    if (!client) {
        arena_free(arena);
        return NULL;
    }
    client->plan = plan;
    client->answered = answered;
    client->context = context;
    client->arena = arena;
    client->slots = arena_array(arena, connections, sizeof *client->slots);
    client->n_slots = client->slots ? connections : 0;
    client->epoll = epoll_create1(EPOLL_CLOEXEC);
    client->multi = curl_multi_init();
    bool ok = client->slots && client->epoll >= 0 && client->multi;
    if (ok) {
        curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
        curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
        curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_timer);
        curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
        curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, (long)connections);
    }
    for (size_t i = connections; ok && i-- > 0;) /* so that the first slot is the first used */
        ok = open_slot(client, &client->slots[i]);
    if (!ok) {
        client_free(client);
        return NULL;
    }
    return client;
}

void client_free(struct client *client) {
    if (!client)
        return;
    for (size_t i = 0; i < client->n_slots; i++) {
        struct slot *slot = &client->slots[i];
        if (slot->busy)
            curl_multi_remove_handle(client->multi, slot->easy);
        curl_easy_cleanup(slot->easy);
        buffer_free(&slot->sent);
        buffer_free(&slot->body);
    }
    for (struct header *header = client->headers; header; header = header->next)
        curl_slist_free_all(header->list);
    curl_multi_cleanup(client->multi);
    if (client->epoll >= 0)
        close(client->epoll);
    arena_free(client->arena);
}

size_t client_in_flight(const struct client *client) {
    return client->in_flight;
}

uint64_t client_connects(const struct client *client) {
    return client->connects;
}

void client_send(struct client *client, const struct flight *flight, struct text body, int64_t timeout_ns) {
    const struct load_request *request = flight->request;
    struct slot *slot = client->free;
    client->free = slot->next;
    slot->flight = *flight;
    slot->busy = true;
    slot->tried = false;
    slot->body.size = 0;
    slot->retry_after_s = -1;
    for (int i = 0; i < CLIENT_SERVER_TIMES; i++)
        slot->server_ms[i] = -1;
    client->in_flight++;

    struct header *headers = headers_for(client, request->content_type);
    if (!headers) {
        answer(client, slot, CLIENT_PROTOCOL, "no memory");
        return;
    }
    if (slot->url != request->url)
        curl_easy_setopt(slot->easy, CURLOPT_URL, slot->url = request->url);
    if (slot->headers != headers)
        curl_easy_setopt(slot->easy, CURLOPT_HTTPHEADER, (slot->headers = headers)->list);
    if (body.data) {
        slot->sent.size = 0;
        buffer_bytes(&slot->sent, body.data, body.size);
        body = (struct text){.data = slot->sent.data, .size = slot->sent.size};
    } else
        body = request->body;
    if (request->content_type) {
        curl_easy_setopt(slot->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.size);
        curl_easy_setopt(slot->easy, CURLOPT_POSTFIELDS, body.data);
    } else
        curl_easy_setopt(slot->easy, CURLOPT_HTTPGET, 1L);
    const int64_t milliseconds = (timeout_ns + CLOCK_MILLISECOND - 1) / CLOCK_MILLISECOND;
    curl_easy_setopt(slot->easy, CURLOPT_TIMEOUT_MS,
                     milliseconds > 0 ? (long)milliseconds : 1L); /* 0: none */
    if (curl_multi_add_handle(client->multi, slot->easy) != CURLM_OK)
        answer(client, slot, CLIENT_PROTOCOL, "curl did not take the request");
}

void client_wait(struct client *client, int64_t until_ns, int wake_fd) {
    struct epoll_event events[EVENTS];
    int running, n = epoll_wait(client->epoll, events, EVENTS, 0);
    if (n == 0) {
        /* epoll's own timeout is too coarse (milliseconds) for a schedule of thousands a second. */
        if (client->timer_ns && client->timer_ns < until_ns)
            until_ns = client->timer_ns;
        const int64_t left = until_ns - clock_now(), wait = left > 0 ? left : 0;
        const struct timespec time = {.tv_sec = wait / CLOCK_SECOND, .tv_nsec = wait % CLOCK_SECOND};
        struct pollfd fds[] = {{.fd = client->epoll, .events = POLLIN}, {.fd = wake_fd, .events = POLLIN}};
        if (ppoll(fds, 2, &time, NULL) > 0 && fds[0].revents)
            n = epoll_wait(client->epoll, events, EVENTS, 0);
    }
    for (int i = 0; i < n; i++) {
        const uint32_t seen = events[i].events;
        const int action = (seen & EPOLLIN ? CURL_CSELECT_IN : 0) | (seen & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                           (seen & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
        curl_multi_socket_action(client->multi, events[i].data.fd, action, &running);
    }
    if (client->timer_ns && client->timer_ns <= clock_now()) {
        client->timer_ns = 0;
        curl_multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
    take_answers(client);
}

void client_interrupt(struct client *client) {
    for (size_t i = 0; i < client->n_slots; i++)
        if (client->slots[i].busy) {
            curl_multi_remove_handle(client->multi, client->slots[i].easy);
            answer(client, &client->slots[i], CLIENT_INTERRUPTED, "the run was interrupted");
        }
}
