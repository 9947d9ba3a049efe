/* event_stream.h - server-sent events (WHATWG HTML, 9.2.6) as a chat is streamed: bytes as they come → whole events, written anew.
 *
 * Of an event its data alone is kept, which is a JSON object, or "[DONE]" as the last. The owner calls event_stream_free.
 * All zeros is a stream that has not begun. One thread.
 */
#ifndef LIMOE_SERVER_FORMATS_EVENT_STREAM_H
#define LIMOE_SERVER_FORMATS_EVENT_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/text.h"

#define EVENT_STREAM_MOST ((size_t)256 << 10) /* bytes of one line, and of one event's data */
#define EVENT_STREAM_DONE "[DONE]"
/* An event as it is written: these around its data. */
#define EVENT_STREAM_DATA "data: "
#define EVENT_STREAM_END  "\n\n"

struct event_stream {
    struct buffer line; /* that has not ended */
    struct buffer data; /* of the event that has not ended */
    bool begun;         /* a byte order mark may stand before the first line alone */
    bool after_return;  /* a line ended with CR, which an LF may follow */
    bool done;          /* "[DONE]" came: what follows is not looked at */
    uint64_t events;    /* so far, without that */
};

/* Takes bytes[size], and appends each event that they end, "data: …" and an empty line. False: they are none, or there is no
 * memory; *what, which is set then alone, says which. The stream is not to be fed again then. */
bool event_stream_feed(struct event_stream *stream, const char *bytes, size_t size, struct buffer *out,
                       const char **what);
/* Whether the stream may end here: it has had an event, and has said that it ends, or stands between two. */
bool event_stream_may_end(const struct event_stream *stream);
/* The data of the next of the events that were written, which it takes off them. False: there is none, whole. */
bool event_stream_next(struct text *events, struct text *data);
void event_stream_free(struct event_stream *stream);

#endif
