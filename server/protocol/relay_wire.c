/* relay_wire.c - asks, answers and settings checked. No state, any thread. */
#include "server/protocol/relay_wire.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

bool relay_check_ask(const struct relay_ask *ask) {
    switch (ask->kind) {
    case RELAY_ASK:
        return ask->size > 0 && ask->size <= RELAY_BODY_MOST && ask->timeout_ms > 0 &&
               ask->endpoint < RELAY_ENDPOINTS && ask->streamed <= 1;
    case RELAY_TAKE_BACK:
        return ask->size == 0;
    default:
        return ask->kind == RELAY_TAKEN;
    }
}

bool relay_check_answer(const struct relay_answer *answer, uint64_t most_bytes) {
    const uint64_t most = answer->outcome == RELAY_DONE   ? most_bytes
                          : answer->outcome == RELAY_MORE ? RELAY_PIECE_MOST
                                                          : 0;
    return answer->outcome <= RELAY_MORE && memchr(answer->message, '\0', sizeof answer->message) &&
           answer->size <= most && (answer->outcome != RELAY_MORE || answer->size > 0);
}

bool relay_is_of(const struct relay_answer *answer, bool streamed) {
    if (answer->outcome == RELAY_DONE)
        return streamed == (answer->size == 0);
    return answer->outcome != RELAY_MORE || streamed;
}

bool relay_receive_settings(int fd, struct relay_settings *settings) {
    return recv(fd, settings, sizeof *settings, MSG_WAITALL) == (ssize_t)sizeof *settings &&
           memchr(settings->url, '\0', sizeof settings->url) &&
           memchr(settings->key, '\0', sizeof settings->key) &&
           memchr(settings->certificate, '\0', sizeof settings->certificate) && settings->most_bytes > 0;
}
