/* relay_wire.c - asks, answers and settings checked. No state, any thread. */
#include "server/protocol/relay_wire.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

bool relay_check_ask(const struct relay_ask *ask) {
    return ask->size <= RELAY_BODY_MOST && ask->timeout_ms > 0 && ask->endpoint < RELAY_ENDPOINTS;
}

bool relay_check_answer(const struct relay_answer *answer, uint64_t most_bytes) {
    const bool done = answer->outcome == RELAY_DONE;
    return answer->outcome <= RELAY_UNREACHABLE && memchr(answer->message, '\0', sizeof answer->message) &&
           (done ? answer->size > 0 && answer->size <= most_bytes : answer->size == 0);
}

bool relay_receive_settings(int fd, struct relay_settings *settings) {
    return recv(fd, settings, sizeof *settings, MSG_WAITALL) == (ssize_t)sizeof *settings &&
           memchr(settings->url, '\0', sizeof settings->url) &&
           memchr(settings->key, '\0', sizeof settings->key) &&
           memchr(settings->certificate, '\0', sizeof settings->certificate) && settings->most_bytes > 0;
}
