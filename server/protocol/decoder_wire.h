/* decoder_wire.h - what the front and a decoder say to each other, over a Unix stream socket.
 *
 *     front                                decoder
 *     struct limoe_image_limits ─────────►
 *                                 ◄─────── struct wire_hello
 *     struct wire_request, picture ──────►
 *                                 ◄─────── struct wire_answer, pixels or message      … and so on
 *
 * A decoder serves all models: the limits are its own, what becomes of a picture comes with each of them.
 *
 * Both ends are the same program on the same machine, so structs travel as they lie in memory. The front does
 * not trust what a decoder says, once it has seen a picture: what it reads has sizes that it knows
 * beforehand, and each wait ends at a deadline. A decoder trusts the front.
 */
#ifndef LIMOE_SERVER_PROTOCOL_DECODER_WIRE_H
#define LIMOE_SERVER_PROTOCOL_DECODER_WIRE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/clock.h"
#include "limoe.h"

#define WIRE_HELLO   UINT32_C(0x6c6d6431)
#define WIRE_REQUEST UINT32_C(0x6c6d6435)
#define WIRE_ANSWER  UINT32_C(0x6c6d6433)

/* The decoder is ready for pictures. */
struct wire_hello {
    uint32_t magic;
    char unprotected[124]; /* why there is no sandbox around it; "": there is one */
};

struct wire_request {
    uint32_t magic;
    uint32_t zero;
    uint64_t size; /* bytes of the picture, at least 1, at most the limits' max_bytes */
    /* Of the model that it is for. Of its limits found_pixels alone counts: what the picture was taken to
     * have, at least 1. One with more is refused. */
    struct limoe_image_settings settings;
};

struct wire_answer {
    uint32_t magic;
    uint32_t status; /* enum limoe_status */
    uint64_t size;   /* LIMOE_OK: of the pixels; else of a message of 1 byte to less than limoe_error holds */
};

/* How a transfer ended. */
enum wire_end {
    WIRE_DONE,
    WIRE_CLOSED,   /* the other end is gone, and had read all that was sent to it */
    WIRE_UNREAD,   /* the other end is gone, and had not */
    WIRE_LATE,     /* the deadline passed */
    WIRE_UNWANTED, /* who waited does so no longer */
    WIRE_SPENT,    /* the other end has used up its processor time */
    WIRE_BROKEN,   /* what came is no answer */
};

/* For how long the front waits. */
struct wire_deadline {
    int64_t until; /* on base/clock.h's clock */
    /* Asked each tick of waiting: WIRE_DONE, or how the transfer ends. NULL: nobody is asked. */
    enum wire_end (*ask)(void *arg);
    void *arg;
    int64_t tick; /* nanoseconds; 0: WIRE_TICK */
};
#define WIRE_TICK (10 * CLOCK_MILLISECOND)

/* The front's transfers. WIRE_DONE: all of the bytes were transferred; never WIRE_BROKEN. wire_send changes
 * parts[n]. */
enum wire_end wire_send(int fd, struct iovec *parts, int n, const struct wire_deadline *deadline);
enum wire_end wire_receive(int fd, void *bytes, size_t size, const struct wire_deadline *deadline);

/* Puts a decoder's message[size] in *err: one line of UTF-8, cut where it is too long, whatever it was. */
enum limoe_status wire_message(struct limoe_error *err, enum limoe_status status, const char *message,
                               size_t size);

/* The decoder's transfers, which wait for as long as it takes. False if the front is gone. */
bool wire_write(int fd, struct iovec *parts, int n);
bool wire_read(int fd, void *bytes, size_t size);

#endif
