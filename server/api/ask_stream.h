/* ask_stream.h - POST /v1/ask, streamed: events of the language model's server → events of ours, and a whole answer at their end.
 *
 * Ours are {"object":"answer.delta","text":…} for each that has a text, then what is answered without a stream, then "[DONE]".
 * It has copies of all that it needs, so it may outlive the request. One thread at a time.
 */
#ifndef LIMOE_SERVER_API_ASK_STREAM_H
#define LIMOE_SERVER_API_ASK_STREAM_H

#include "server/api/ask.h"

#define ASK_STREAM_MOST ((size_t)128 << 10) /* bytes of an answer's text */

struct ask_stream;

/* `answer`: what there is of it before the language model answers, all but reply and ns. NULL: no memory. */
struct ask_stream *ask_stream_new(const struct ask_answer *answer, bool chat);
/* About how many bytes it takes at most; before it has taken any. */
size_t ask_stream_size(const struct ask_stream *stream);
/* Takes whole events as event_stream.h writes them, and appends ours. False, with a 502 or 503: one is none of an answer. The stream is
 * not to be given more then. */
bool ask_stream_take(struct ask_stream *stream, struct text events, struct buffer *out,
                     struct api_error *error);
/* Appends the whole answer, which took so many nanoseconds, and the end. */
void ask_stream_end(struct ask_stream *stream, int64_t ns, struct buffer *out);
void ask_stream_free(struct ask_stream *stream); /* NULL is fine */

#endif
