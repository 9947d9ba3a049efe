/* fetcher.c - asks in, downloads side by side, answers out. One thread, beside libcurl's for names.
 *
 * How many downloads there are at a time is for the front to say, which asks for no more than that. A picture stays where it
 * was downloaded until the front has read it.
 */
#include "server/fetcher/fetcher.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/process.h"
#include "server/confine/confine.h"
#include "server/fetcher/download.h"
#include "server/options/command.h"
#include "server/protocol/fetch_wire.h"

#define ASKS_ROOM (4 * FETCH_ASK_MOST)
#define SLEEP_MS  1000

struct fetcher {
    struct download_policy policy;
    CURLM *multi;
    struct download *running;       /* their handles are in `multi` */
    struct download *first, **last; /* answers on their way to the front, the oldest first */
    char asks[ASKS_ROOM];
    size_t size; /* of asks: those not complete */
};

static int complain(int status, const char *what) {
    fprintf(stderr, "limoe: fetcher: %s\n", what);
    return status;
}

/* ---- downloads */

static void queue_answer(struct fetcher *fetcher, struct download *download) {
    download->next = NULL;
    *fetcher->last = download;
    fetcher->last = &download->next;
}

/* Takes it out of those running. */
static void stop(struct fetcher *fetcher, struct download *download) {
    struct download **at = &fetcher->running;
    while (*at != download)
        at = &(*at)->next;
    *at = download->next;
    curl_multi_remove_handle(fetcher->multi, download->curl);
}

/* False: no memory. The front starts another fetcher then. */
static bool begin(struct fetcher *fetcher, const struct fetch_ask *ask, const char *url) {
    struct download *download =
        download_begin(&fetcher->policy, ask, (struct text){.data = url, .size = ask->url_size});
    if (!download)
        return false;
    if (!download->curl) {
        queue_answer(fetcher, download);
        return true;
    }
    if (curl_multi_add_handle(fetcher->multi, download->curl) != CURLM_OK) {
        download_free(download);
        return false;
    }
    download->next = fetcher->running;
    fetcher->running = download;
    return true;
}

static void take_back(struct fetcher *fetcher, uint64_t id) {
    for (struct download *download = fetcher->running; download; download = download->next)
        if (download->answer.id == id) {
            stop(fetcher, download);
            download_free(download);
            return;
        }
}

static void collect(struct fetcher *fetcher) {
    int left;
    for (const CURLMsg *message; (message = curl_multi_info_read(fetcher->multi, &left)) != NULL;) {
        struct download *download = NULL;
        const CURLcode code = message->data.result; /* the message ends with the handle's removal */
        if (message->msg != CURLMSG_DONE ||
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&download) != CURLE_OK)
            continue;
        stop(fetcher, download);
        download_end(download, code);
        queue_answer(fetcher, download);
    }
}

/* ---- the front */

/* Sends what it takes now. */
static void send_answers(struct fetcher *fetcher) {
    while (fetcher->first) {
        struct download *download = fetcher->first;
        const size_t head = sizeof download->answer;
        const bool in_head = download->sent < head;
        const char *from = in_head ? (const char *)&download->answer + download->sent
                                   : download->body.data + (download->sent - head);
        const size_t left = in_head ? head - download->sent : head + download->body.size - download->sent;
        const ssize_t sent = left ? send(PROCESS_FD, from, left, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
        if (sent < 0)
            return; /* not now; or the front is gone, as reading from it tells */
        download->sent += (size_t)sent;
        if (download->sent < head + download->body.size)
            continue;
        fetcher->first = download->next;
        if (!fetcher->first)
            fetcher->last = &fetcher->first;
        download_free(download);
    }
}

/* False: what came is no ask, or there is no memory for it. */
static bool take_asks(struct fetcher *fetcher) {
    size_t at = 0;
    for (;;) {
        struct fetch_ask ask;
        const char *url;
        const size_t size = fetch_unpack_ask(fetcher->asks + at, fetcher->size - at, &ask, &url);
        if (size == SIZE_MAX)
            return false;
        if (size == 0)
            break;
        if (!ask.url_size)
            take_back(fetcher, ask.id);
        else if (!begin(fetcher, &ask, url))
            return false;
        at += size;
    }
    fetcher->size -= at;
    memmove(fetcher->asks, fetcher->asks + at, fetcher->size);
    return true;
}

enum read { READ_ALL, READ_END, READ_WRONG };

/* Reads all that has come. */
static enum read read_asks(struct fetcher *fetcher) {
    for (;;) {
        const ssize_t size = recv(PROCESS_FD, fetcher->asks + fetcher->size,
                                  sizeof fetcher->asks - fetcher->size, MSG_DONTWAIT);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return READ_ALL;
        if (size <= 0)
            return READ_END;
        fetcher->size += (size_t)size;
        if (!take_asks(fetcher))
            return READ_WRONG;
    }
}

static int fetch_all(struct fetcher *fetcher) {
    for (;;) {
        int running;
        const enum read came = read_asks(fetcher);
        if (came != READ_ALL)
            return came == READ_END ? COMMAND_OK
                                    : complain(COMMAND_INPUT, "an ask is malformed, or there is no memory");
        if (curl_multi_perform(fetcher->multi, &running) != CURLM_OK)
            return complain(COMMAND_INPUT, "libcurl cannot go on");
        collect(fetcher);
        send_answers(fetcher);
        struct curl_waitfd front = {.fd = PROCESS_FD, .events = CURL_WAIT_POLLIN};
        if (fetcher->first)
            front.events |= CURL_WAIT_POLLOUT;
        curl_multi_poll(fetcher->multi, &front, 1, SLEEP_MS, NULL);
    }
}

/* ---- life */

static bool read_policy(const struct fetch_settings *settings, struct download_policy *policy,
                        struct limoe_error *err) {
    policy->most_bytes = settings->most_bytes;
    return target_read_rules(settings->hosts, "image-hosts", &policy->rules, err) == LIMOE_OK &&
           (!*settings->networks ||
            address_read_networks(settings->networks, "image-networks", &policy->networks, err) == LIMOE_OK);
}

static void close_all(struct fetcher *fetcher) {
    while (fetcher->running) {
        struct download *download = fetcher->running;
        stop(fetcher, download);
        download_free(download);
    }
    while (fetcher->first) {
        struct download *download = fetcher->first;
        fetcher->first = download->next;
        download_free(download);
    }
    curl_multi_cleanup(fetcher->multi);
}

static int run(struct fetcher *fetcher) {
    char why[128];
    fetcher->last = &fetcher->first;
    fetcher->multi = curl_multi_init();
    if (!fetcher->multi)
        return complain(COMMAND_INPUT, "no memory");
    int status = COMMAND_INPUT;
    if (confine(CONFINE_NETWORK, why, sizeof why))
        status = fetch_all(fetcher);
    else
        complain(COMMAND_INPUT, why);
    close_all(fetcher);
    return status;
}

int fetcher_main(int argc, char **argv) {
    struct limoe_error err;
    struct fetch_settings settings;
    (void)argv;
    if (argc > 1)
        return complain(COMMAND_USAGE, "takes no options; only limoe itself starts this command");
    if (!process_child_setup(&err)) /* a front that is gone wants no complaint */
        return err.status == LIMOE_IO ? COMMAND_OK : complain(COMMAND_INPUT, err.message);
    if (!fetch_receive_settings(PROCESS_FD, &settings))
        return COMMAND_OK;
    struct fetcher *fetcher = calloc(1, sizeof *fetcher);
    if (!fetcher || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(fetcher);
        return complain(COMMAND_INPUT, "no memory");
    }
    const int status =
        read_policy(&settings, &fetcher->policy, &err) ? run(fetcher) : complain(COMMAND_INPUT, err.message);
    free(fetcher);
    curl_global_cleanup();
    return status;
}
