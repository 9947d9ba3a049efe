/* relaying.h - requests to a language model, taken to its server by a process (server/relay) that is started and replaced here.
 *
 * A thread of its own hands the requests over and takes the answers in, so that nobody else waits for them. A relay that is
 * lost, by a crash or a kill, takes no request with it: what it had is asked again, once.
 */
#ifndef LIMOE_SERVER_FRONT_RELAYING_RELAYING_H
#define LIMOE_SERVER_FRONT_RELAYING_RELAYING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/text.h"
#include "limoe.h"
#include "server/front/observe/log.h"
#include "server/front/observe/metrics.h"
#include "server/front/relaying/settings.h"
#include "server/protocol/relay_wire.h"

struct relaying;

/* One request. It belongs to the relaying from relaying_ask on, and to the asker again when `done` gives it back. */
struct inquiry {
    enum relay_endpoint endpoint;
    bool streamed;    /* the body asks for it */
    struct text body; /* JSON, 1 to RELAY_BODY_MOST bytes; lives until `done` */
    /* Asked every few milliseconds, on the relaying's thread: false gives the request up. */
    bool (*wanted)(void *arg);
    /* Called once, on the relaying's thread; must not block. */
    void (*done)(struct inquiry *inquiry);
    /* Of one that is streamed: a piece, bytes[size] of whole events, the asker's to free. Called before `done`, as often as there are
     * any, on the relaying's thread; must not block. */
    void (*more)(struct inquiry *inquiry, char *bytes, size_t size);
    void *arg;

    /* What is answered. */
    enum relay_outcome outcome;
    unsigned status; /* of HTTP, with RELAY_ERROR */
    uint8_t *bytes;  /* [size], the asker's to free; NULL unless RELAY_DONE, or where it was streamed */
    size_t size;
    int64_t ns;                       /* from its asking to its answer */
    char message[RELAY_MESSAGE_SIZE]; /* what was wrong; "": see the outcome */

    /* For the relaying alone. */
    struct inquiry *next;
    uint64_t id;
    int64_t asked_at;
    bool begun;          /* a piece has come */
    atomic_size_t taken; /* bytes of pieces that were passed on, and that the relay has not been told of */
    unsigned losses;     /* relays that were lost with it */
};

/* Starts the thread, which starts the relay. The options were checked, and outlive the relaying, as do log and metrics. */
enum limoe_status relaying_start(const struct relaying_options *options, struct log *log,
                                 struct metrics *metrics, struct relaying **out, struct limoe_error *err);
/* Asks. False: as many wait as may. Any thread. */
bool relaying_ask(struct relaying *relaying, struct inquiry *inquiry);
/* So many bytes of what `more` gave have been passed on: until they are, little more comes. Any thread; after
 * `done` it changes nothing. */
void relaying_taken(struct relaying *relaying, struct inquiry *inquiry, size_t bytes);
/* The relay's process; 0: there is none just now. Any thread. NULL is fine. */
pid_t relaying_pid(struct relaying *relaying);
/* Ends relay and thread, once nobody asks any more and all is given back. NULL is fine. */
void relaying_stop(struct relaying *relaying);

#endif
