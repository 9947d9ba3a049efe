/* relay_wire.h - how requests to the language model's server travel from the front to the relay, and its answers back.
 *
 *     front                                        relay
 *     struct relay_settings ───────────────socket──►
 *     struct relay_ask, its body ──────────socket──►         … and so on, each with an id of its own
 *                                        ◄──socket── struct relay_answer, its bytes, in any order
 *
 * An ask that was made may be taken back; it may have been answered already: the front drops what it does not wait for. The answer
 * to a streamed one comes in pieces, of whole events, each a struct relay_answer of RELAY_MORE, and ends with another outcome and
 * without bytes. Of pieces that the front has not told to be taken, there are no more than RELAY_WINDOW bytes and a piece: so a client
 * that reads slowly slows the language model's server down. Both ends are the same program on the same machine, so structs travel as they lie in memory.
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
#define RELAY_WINDOW       (64u << 10)
#define RELAY_PIECE_MOST   (512u << 10)
/* So many times the bytes of an answer in one piece may one that is streamed have: it is not kept. */
#define RELAY_STREAM_FACTOR 16u
#define RELAY_BODY_MOST     (4u << 20) /* bytes of one request */

/* What the relay is told before anything else. All strings are C strings. */
struct relay_settings {
    char url[RELAY_URL_SIZE]; /* what the endpoints' paths are put behind; without a slash at its end */
    char key[RELAY_KEY_SIZE]; /* sent as a bearer's; "": none */
    char certificate
        [RELAY_PATH_SIZE]; /* of authorities, a PEM file, in place of the system's; "": the system's */
    uint64_t most_bytes;   /* of one answer */
};

enum relay_endpoint { RELAY_CHAT, RELAY_COMPLETIONS, RELAY_ENDPOINTS };

enum relay_kind {
    RELAY_ASK,       /* its body, JSON, follows */
    RELAY_TAKE_BACK, /* the ask of this id is */
    RELAY_TAKEN,     /* so many bytes of its pieces have been passed on */
    RELAY_KINDS,
};

struct relay_ask {
    uint64_t id;
    uint64_t size; /* of the body; or the bytes that were taken */
    uint32_t kind; /* enum relay_kind */
    /* Of RELAY_ASK. */
    uint32_t timeout_ms; /* from now to the last byte; at least 1 */
    uint32_t endpoint;   /* enum relay_endpoint */
    uint32_t streamed;   /* 1: the body asks for a stream */
};

enum relay_outcome {
    RELAY_DONE,        /* it answers 200, with bytes */
    RELAY_ERROR,       /* … another status */
    RELAY_INVALID,     /* … what is no answer: too large, compressed, with a head without an end, empty */
    RELAY_LATE,        /* not all of it came in time */
    RELAY_UNREACHABLE, /* it could not be reached, or let go in the middle */
    RELAY_MORE,        /* a piece of what was streamed */
    /* The front's own. */
    RELAY_LOST,     /* the relay was lost twice with it */
    RELAY_GIVEN_UP, /* nobody waits for it any more */
    RELAY_OUTCOMES,
};

struct relay_answer {
    uint64_t id;
    uint64_t size;                    /* of the answer, or piece, which follows; else 0 */
    uint32_t outcome;                 /* up to RELAY_MORE */
    uint32_t status;                  /* of HTTP, with RELAY_ERROR: 100 to 999 */
    char message[RELAY_MESSAGE_SIZE]; /* a C string: what was wrong; "" with RELAY_DONE */
};

/* Whether the ask is one that a front may send. */
bool relay_check_ask(const struct relay_ask *ask);
/* Whether the answer is one that a relay with these settings may send, to an ask that was streamed or not. */
bool relay_check_answer(const struct relay_answer *answer, uint64_t most_bytes);
bool relay_is_of(const struct relay_answer *answer, bool streamed);

/* Waits for the settings. False: the front is gone, or they are none. */
bool relay_receive_settings(int fd, struct relay_settings *settings);

#endif
