/* fetch_wire.c - asks unpacked, answers checked. No state, any thread. */
#include "server/protocol/fetch_wire.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

size_t fetch_unpack_ask(const char *bytes, size_t size, struct fetch_ask *ask, const char **url) {
    if (size < sizeof *ask)
        return 0;
    memcpy(ask, bytes, sizeof *ask);
    if (ask->url_size > FETCH_URL_MOST || ask->timeout_ms == 0)
        return SIZE_MAX;
    *url = bytes + sizeof *ask;
    return size >= sizeof *ask + ask->url_size ? sizeof *ask + ask->url_size : 0;
}

bool fetch_check_answer(const struct fetch_answer *answer, uint64_t most_bytes) {
    const bool done = answer->outcome == FETCH_DONE;
    return answer->outcome <= FETCH_FAILED && memchr(answer->message, '\0', sizeof answer->message) &&
           (done ? answer->size > 0 && answer->size <= most_bytes : answer->size == 0);
}

bool fetch_receive_settings(int fd, struct fetch_settings *settings) {
    return recv(fd, settings, sizeof *settings, MSG_WAITALL) == (ssize_t)sizeof *settings &&
           memchr(settings->hosts, '\0', sizeof settings->hosts) &&
           memchr(settings->networks, '\0', sizeof settings->networks) && settings->most_bytes > 0;
}
