/* screen.h - what stands between a connection's bytes and libmicrohttpd: it lets through sound requests, in
 * canonical form, one at a time.
 *
 * The screen follows the stream by RFC 9112: heads, counted and chunked bodies, trailers. A head is let
 * through when it is complete and understood (head.h), a body as it comes. The next request is kept back
 * until the one before has been answered, so the library has at most one head in its memory and cannot lose
 * its place in the stream. For a request that is not sound the library gets a stand-in, which is answered
 * with what screen_refusal says, in its place among the answers; nothing behind it is read.
 *
 * A screen belongs to one connection and is used by that connection's HTTP thread alone. It knows neither
 * sockets nor the library.
 */
#ifndef LIMOE_SERVER_FRONT_HTTP_SCREEN_H
#define LIMOE_SERVER_FRONT_HTTP_SCREEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "server/api/api_error.h"

/* Results of reading other than a number of bytes; 0 is the end of the peer's stream. */
enum {
    SCREEN_AGAIN = -1, /* the source has nothing more for now */
    SCREEN_LATER =
        -2, /* there is something, which is kept back until screen_next: do not wait for the source */
    SCREEN_LOST = -3, /* the stream is broken */
};

/* Where bytes come from: gives up to `size` of them, or 0, SCREEN_AGAIN or SCREEN_LOST. */
struct screen_source {
    ssize_t (*read)(void *arg, char *out, size_t size);
    void *arg;
};

enum screen_state {
    SCREEN_HEAD, /* as is for a new screen, which is all zeros */
    SCREEN_COUNTED,
    SCREEN_CHUNK_LINE,
    SCREEN_CHUNK_DATA,
    SCREEN_CHUNK_END,
    SCREEN_TRAILER,
    SCREEN_COMPLETE, /* the request is through */
};

/* Defined here only so that a connection can contain one; the fields are screen.c's. All zeros is a new
 * one. */
struct screen {
    enum screen_state state;
    uint64_t left;    /* of a counted body, or of a chunk */
    size_t seen;      /* bytes of the incomplete head or line that have been looked at */
    size_t skipped;   /* empty lines before the head */
    size_t trailer;   /* bytes of the trailers so far */
    bool shut;        /* the library has the whole request, and has not answered it */
    bool fresh;       /* raw bytes are there that have not been looked at */
    bool drained;     /* after a refusal: what came behind it has been thrown away */
    bool ended;       /* nothing more comes; `end` says why */
    ssize_t end;      /* 0 or SCREEN_LOST */
    const char *owed; /* to be let through next: a stand-in, or the end of a body that is cut off */
    size_t owed_size;
    const struct api_error *refusal; /* allocated, but for `no_memory` */
    /* Bytes that could not be let through or understood yet; NULL most of the time.
     * bytes[staged_at..staged_end) is to be let through, bytes[raw_at..raw_end) is as it came. */
    char *bytes;
    size_t capacity, staged_at, staged_end, raw_at, raw_end;
};

/* Frees what the screen holds. */
void screen_free(struct screen *screen);

/* Fills out[0..size) with what may be let through: the number of bytes, or one of the results above. It
 * returns fewer bytes than asked only when the request is complete, or the source had nothing more: when a
 * request is not complete the source is read until it says so, and so an end is seen that came in with the
 * last bytes. */
ssize_t screen_read(struct screen *screen, const struct screen_source *source, char *out, size_t size);

/* Tells that the request has been answered, so that the next may be let through. */
void screen_next(struct screen *screen);

/* Whether anything of the next request is held. */
bool screen_holds(const struct screen *screen);
/* Whether the peer has ended the stream within the request that is being let through. */
bool screen_cut_off(const struct screen *screen);
/* Whether the head that is being waited for has begun, and may still be completed. */
bool screen_in_head(const struct screen *screen);
/* The answer to the request that is being let through, if that was refused; the connection is to be closed
 * behind it. NULL if it was not refused. */
const struct api_error *screen_refusal(const struct screen *screen);

#endif
