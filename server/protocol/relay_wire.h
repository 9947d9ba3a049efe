/* relay_wire.h - how requests to the language model's server travel from the front to the relay, and its answers back.
 *
 *     front                                        relay
 *     struct relay_settings ───────────────socket──►
 *     struct relay_ask, its body ──────────socket──►         … and so on, each with an id of its own
 *                                        ◄──socket── struct relay_answer, its bytes, in any order
 *
 * An ask without a body takes back the one with its id, which may have been answered already: the front drops what it does
 * not wait for. Both ends are the same program on the same machine, so structs travel as they lie in memory.
 */
#ifndef LIMOE_SERVER_PROTOCOL_RELAY_WIRE_H
#define LIMOE_SERVER_PROTOCOL_RELAY_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RELAY_URL_SIZE     2048
#define RELAY_KEY_SIZE     4096
#define RELAY_PATH_SIZE    4096
#define RELAY_MESSAGE_SIZE 320
#define RELAY_BODY_MOST    (4u << 20) /* bytes of one request */

/* What the relay is told before anything else. All strings are C strings. */
struct relay_settings {
    char url[RELAY_URL_SIZE]; /* what the endpoints' paths are put behind; without a slash at its end */
    char key[RELAY_KEY_SIZE]; /* sent as a bearer's; "": none */
    char certificate
        [RELAY_PATH_SIZE]; /* of authorities, a PEM file, in place of the system's; "": the system's */
    uint64_t most_bytes;   /* of one answer */
};

enum relay_endpoint { RELAY_CHAT, RELAY_COMPLETIONS, RELAY_ENDPOINTS };

struct relay_ask {
    uint64_t id;
    uint32_t timeout_ms; /* from now to the last byte; at least 1 */
    uint32_t endpoint;   /* enum relay_endpoint */
    uint64_t size;       /* of the body, JSON, which follows; 0: the ask of this id is taken back */
};

enum relay_outcome {
    RELAY_DONE,        /* it answers 200, with bytes */
    RELAY_ERROR,       /* … another status */
    RELAY_INVALID,     /* … what is no answer: too large, compressed, with a head without an end, empty */
    RELAY_LATE,        /* not all of it came in time */
    RELAY_UNREACHABLE, /* it could not be reached, or let go in the middle */
    /* The front's own. */
    RELAY_LOST,     /* the relay was lost twice with it */
    RELAY_GIVEN_UP, /* nobody waits for it any more */
    RELAY_OUTCOMES,
};

struct relay_answer {
    uint64_t id;
    uint64_t size;                    /* of the answer, which follows; 0 unless RELAY_DONE */
    uint32_t outcome;                 /* up to RELAY_UNREACHABLE */
    uint32_t status;                  /* of HTTP, with RELAY_ERROR: 100 to 999 */
    char message[RELAY_MESSAGE_SIZE]; /* a C string: what was wrong; "" with RELAY_DONE */
};

/* Whether the ask is one that a front may send. */
bool relay_check_ask(const struct relay_ask *ask);
/* Whether the answer is one that a relay with these settings may send. */
bool relay_check_answer(const struct relay_answer *answer, uint64_t most_bytes);

/* Waits for the settings. False: the front is gone, or they are none. */
bool relay_receive_settings(int fd, struct relay_settings *settings);

#endif
