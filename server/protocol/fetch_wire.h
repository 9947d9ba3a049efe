/* fetch_wire.h - how pictures' URLs travel from the front to the fetcher, and the pictures back.
 *
 *     front                                        fetcher
 *     struct fetch_settings ───────────────socket──►
 *     struct fetch_ask, its URL ───────────socket──►         … and so on, each with an id of its own
 *                                        ◄──socket── struct fetch_answer, its bytes, in any order
 *
 * An ask without a URL takes back the one with its id, which may have been answered already: the front drops what it does
 * not wait for. Both ends are the same program on the same machine, so structs travel as they lie in memory.
 */
#ifndef LIMOE_SERVER_PROTOCOL_FETCH_WIRE_H
#define LIMOE_SERVER_PROTOCOL_FETCH_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FETCH_LIST_SIZE    4096
#define FETCH_MESSAGE_SIZE 240
#define FETCH_URL_MOST     2048 /* bytes */

/* What the fetcher is told before anything else. */
struct fetch_settings {
    char hosts[FETCH_LIST_SIZE];    /* as target_read_rules reads them */
    char networks[FETCH_LIST_SIZE]; /* as address_read_networks does; "": none */
    uint64_t most_bytes;            /* of one picture */
};

struct fetch_ask {
    uint64_t id;
    uint32_t timeout_ms; /* from now to the last byte; at least 1 */
    uint32_t url_size;   /* of the URL, which follows; 0: the ask of this id is taken back */
};
#define FETCH_ASK_MOST (sizeof(struct fetch_ask) + FETCH_URL_MOST)

enum fetch_outcome {
    FETCH_DONE,
    FETCH_REFUSED,   /* the URL, its host or the host's address is none to be fetched from */
    FETCH_TOO_LARGE, /* more than most_bytes */
    FETCH_LATE,      /* not all of it came in time */
    FETCH_FAILED,    /* the host could not be reached, or has not answered with a picture */
    /* The front's own. */
    FETCH_LOST,     /* the fetcher was lost twice with it */
    FETCH_GIVEN_UP, /* nobody waits for it any more */
    FETCH_OUTCOMES,
};

struct fetch_answer {
    uint64_t id;
    uint64_t size;                    /* of the picture, which follows; 0 unless FETCH_DONE */
    uint32_t outcome;                 /* up to FETCH_FAILED */
    uint32_t opened;                  /* sockets, for this one */
    char message[FETCH_MESSAGE_SIZE]; /* a C string: what was wrong; "" with FETCH_DONE */
};

/* The first ask of bytes[size], its URL as a pointer into them. Returns its size; 0: it is not complete; SIZE_MAX: it is
 * no ask. */
size_t fetch_unpack_ask(const char *bytes, size_t size, struct fetch_ask *ask, const char **url);

/* Whether the answer is one that a fetcher with these settings may send. */
bool fetch_check_answer(const struct fetch_answer *answer, uint64_t most_bytes);

/* Waits for the settings. False: the front is gone, or they are none. */
bool fetch_receive_settings(int fd, struct fetch_settings *settings);

#endif
