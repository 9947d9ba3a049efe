/* screen.c - bytes are understood in place, in the buffer they were read into, whenever that is possible.
 *
 * Most requests come in one piece: read straight into the library's buffer, looked at, and left where they
 * are. Every step below turns bytes into no more bytes, so what is let through never overtakes what is still
 * to be looked at. Only what is incomplete (part of a head, of a chunk's line) or early (the next request)
 * is copied to memory of the screen's own, which is freed when it is empty. It is bounded: a head by
 * HEAD_MOST, lines by LINE_MOST, an early request by what the library asked for.
 */
#include "server/front/http/screen.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/front/http/head.h"

#define FIRST_CAPACITY 512u
#define LEAST_READ     256u
#define LINE_MOST      1024u /* of the size of a chunk and its extensions */
#define TRAILER_MOST   (8u * 1024)
#define SKIPPED_MOST   8u /* empty lines before a request; RFC 9112 asks for one to be taken */
/* After a refusal this much of what follows is thrown away, so that closing does not reset the connection
 * before its answer is read. */
#define DRAIN_MOST (256u * 1024)

/* A request that the library takes, and that no client's request can equal: "-" is no target. */
static const char stand_in[] = "- - HTTP/1.0\r\n\r\n";

static const struct api_error no_memory = {
    .status = 503, .code = "no_memory", .message = "the server is out of memory"};

/* Bytes that are being understood: bytes[0..written) is to be let through,
 * bytes[read..n) is to be looked at. */
struct span {
    char *bytes;
    size_t n, read, written;
};

/* ---- refusals */

/* `owed` ends, for the library, what has been let through of the request. */
static void refuse(struct screen *screen, const struct api_error *error, const char *owed) {
    struct api_error *kept = malloc(sizeof *kept);
    if (kept)
        *kept = *error;
    screen->refusal = kept ? kept : &no_memory;
    screen->owed = owed;
    screen->owed_size = strlen(owed);
    screen->state = SCREEN_COMPLETE;
}

/* ---- steps: each false when it needs more bytes than there are */

static void let_through(struct span *span, size_t size) {
    if (span->written != span->read)
        memmove(span->bytes + span->written, span->bytes + span->read, size);
    span->read += size;
    span->written += size;
}

static void put(struct span *span, const char *bytes, size_t consumed) {
    const size_t size = strlen(bytes);
    memcpy(span->bytes + span->written, bytes, size);
    span->read += consumed;
    span->written += size;
}

static bool skip_empty_lines(struct screen *screen, struct span *span) {
    while (span->n - span->read >= 2 && memcmp(span->bytes + span->read, "\r\n", 2) == 0) {
        struct api_error error;
        span->read += 2;
        if (++screen->skipped <= SKIPPED_MOST)
            continue;
        api_fail(&error, 400, "malformed_request", NULL, "more than %u empty lines stand before the request",
                 SKIPPED_MOST);
        refuse(screen, &error, stand_in);
        return false;
    }
    return span->read < span->n && !(span->n - span->read == 1 && span->bytes[span->read] == '\r');
}

static void begin_body(struct screen *screen, const struct head *head) {
    static const enum screen_state states[] = {[HEAD_NO_BODY] = SCREEN_COMPLETE,
                                               [HEAD_COUNTED] = SCREEN_COUNTED,
                                               [HEAD_CHUNKED] = SCREEN_CHUNK_LINE};
    screen->state = states[head->body];
    screen->left = head->size;
}

static bool step_head(struct screen *screen, struct span *span) {
    struct api_error error;
    struct head head;
    size_t length;
    if (screen->seen == 0 && !skip_empty_lines(screen, span))
        return false;
    char *bytes = span->bytes + span->read;
    const enum head_scan found = head_scan(bytes, span->n - span->read, &screen->seen, &length, &error);
    if (found == HEAD_PARTIAL)
        return false;
    screen->seen = 0;
    if (found == HEAD_BAD || !head_settle(bytes, length, &head, &error)) {
        refuse(screen, &error, stand_in);
        return true;
    }
    let_through(span, head.length);
    span->read += length - head.length;
    begin_body(screen, &head);
    return true;
}

/* Lets through the data of a counted body or a chunk. */
static bool step_data(struct screen *screen, struct span *span, enum screen_state then) {
    const size_t there = span->n - span->read;
    const size_t size = screen->left < there ? (size_t)screen->left : there;
    let_through(span, size);
    screen->left -= size;
    if (screen->left == 0)
        screen->state = then;
    return screen->left == 0;
}

static bool read_chunk_size(const char *line, size_t length, uint64_t *size, struct api_error *error) {
    size_t i = 0;
    *size = 0;
    for (; i < length; i++) {
        static const char digits[] = "0123456789abcdefABCDEF";
        const char *digit = memchr(digits, line[i], sizeof digits - 1);
        if (!digit)
            break;
        const uint64_t value = (uint64_t)(digit - digits);
        if (*size > UINT64_MAX >> 4)
            return api_fail(error, 413, "body_too_large", NULL, "a chunk's size takes more than 64 bits");
        *size = *size << 4 | (value < 16 ? value : value - 6);
    }
    const bool named = i > 0;
    while (i < length && (line[i] == ' ' || line[i] == '\t'))
        i++;
    const bool extended = i < length && line[i] == ';';
    const bool blanks = i > 0 && (line[i - 1] == ' ' || line[i - 1] == '\t');
    if (named && (extended || (i == length && !blanks)))
        return true;
    return api_fail(
        error, 400, "malformed_request", NULL,
        "a chunk of the body does not begin with its size in hexadecimal digits, alone on a line or "
        "with extensions behind a semicolon");
}

/* Writes the size in lower case, without leading zeros, and the line's end. `out` is as long as what was
 * read. */
static size_t print_chunk_size(uint64_t size, char *out) {
    size_t digits = 1;
    while (digits < 16 && size >> 4 * digits)
        digits++;
    for (size_t i = 0; i < digits; i++)
        out[i] = "0123456789abcdef"[size >> 4 * (digits - 1 - i) & 15];
    out[digits] = '\r';
    out[digits + 1] = '\n';
    return digits + 2;
}

static bool step_chunk_line(struct screen *screen, struct span *span) {
    struct api_error error;
    size_t length;
    char *line = span->bytes + span->read;
    const enum head_scan found =
        head_scan_line(line, span->n - span->read, LINE_MOST, &screen->seen, &length, &error);
    if (found == HEAD_PARTIAL)
        return false;
    screen->seen = 0;
    if (found == HEAD_BAD || !read_chunk_size(line, length - 2, &screen->left, &error)) {
        refuse(screen, &error, "0\r\n\r\n");
        return true;
    }
    span->read += length;
    span->written += print_chunk_size(screen->left, span->bytes + span->written);
    screen->state = screen->left > 0 ? SCREEN_CHUNK_DATA : SCREEN_TRAILER;
    screen->trailer = 0;
    return true;
}

static bool step_chunk_end(struct screen *screen, struct span *span) {
    const size_t there = span->n - span->read < 2 ? span->n - span->read : 2;
    if (memcmp(span->bytes + span->read, "\r\n", there) != 0) {
        struct api_error error;
        api_fail(&error, 400, "malformed_request", NULL,
                 "a chunk of the body is not followed by CR LF after as many bytes as it said");
        refuse(screen, &error, "\r\n0\r\n\r\n");
        return true;
    }
    if (there < 2)
        return false;
    let_through(span, 2);
    screen->state = SCREEN_CHUNK_LINE;
    return true;
}

/* Checks a trailer, which is a field like others. It is not let through, since nothing here reads it. */
static bool step_trailer(struct screen *screen, struct span *span) {
    struct api_error error;
    size_t length;
    const char *line = span->bytes + span->read;
    const size_t most = TRAILER_MOST - screen->trailer;
    const enum head_scan found =
        head_scan_line(line, span->n - span->read, most, &screen->seen, &length, &error);
    if (found == HEAD_PARTIAL)
        return false;
    screen->seen = 0;
    screen->trailer += length;
    if (found == HEAD_WHOLE && length == 2) {
        put(span, "\r\n", length);
        screen->state = SCREEN_COMPLETE;
    } else if (found == HEAD_BAD || !head_check_field(line, length - 2, &error)) {
        refuse(screen, &error, "\r\n");
    } else {
        span->read += length;
    }
    return true;
}

static bool step(struct screen *screen, struct span *span) {
    if (span->read == span->n)
        return false;
    switch (screen->state) {
    case SCREEN_HEAD:
        return step_head(screen, span);
    case SCREEN_COUNTED:
        return step_data(screen, span, SCREEN_COMPLETE);
    case SCREEN_CHUNK_LINE:
        return step_chunk_line(screen, span);
    case SCREEN_CHUNK_DATA:
        return step_data(screen, span, SCREEN_CHUNK_END);
    case SCREEN_CHUNK_END:
        return step_chunk_end(screen, span);
    case SCREEN_TRAILER:
        return step_trailer(screen, span);
    case SCREEN_COMPLETE:
        break;
    }
    return false;
}

static void understand(struct screen *screen, struct span *span) {
    while (step(screen, span))
        ;
}

/* ---- what is held */

static void end(struct screen *screen, ssize_t why) {
    screen->ended = true;
    screen->end = why;
}

/* Makes room for `size` bytes behind the raw ones. False if there is no memory, when the stream is at its
 * end. */
static bool make_room(struct screen *screen, size_t size) {
    const size_t raw = screen->raw_end - screen->raw_at;
    if (raw > 0 && screen->raw_at > 0)
        memmove(screen->bytes, screen->bytes + screen->raw_at, raw);
    screen->staged_at = screen->staged_end = screen->raw_at = 0; /* nothing is staged when this is called */
    screen->raw_end = raw;
    size_t capacity = screen->capacity ? screen->capacity : FIRST_CAPACITY;
    while (capacity - raw < size)
        capacity *= 2;
    if (capacity == screen->capacity)
        return true;
    char *bytes = realloc(screen->bytes, capacity);
    if (!bytes) {
        end(screen, SCREEN_LOST);
        return false;
    }
    screen->bytes = bytes;
    screen->capacity = capacity;
    return true;
}

static void hold(struct screen *screen, const char *bytes, size_t size) {
    if (size == 0 || !make_room(screen, size))
        return;
    memcpy(screen->bytes + screen->raw_end, bytes, size);
    screen->raw_end += size;
}

static void forget(struct screen *screen) {
    free(screen->bytes);
    screen->bytes = NULL;
    screen->capacity = screen->staged_at = screen->staged_end = screen->raw_at = screen->raw_end = 0;
    screen->fresh = false;
}

static void understand_held(struct screen *screen) {
    assert(screen->bytes); /* whose raw bytes they are */
    struct span span = {.bytes = screen->bytes + screen->raw_at, .n = screen->raw_end - screen->raw_at};
    understand(screen, &span);
    screen->staged_at = screen->raw_at;
    screen->staged_end = screen->staged_at + span.written;
    screen->raw_at += span.read;
    screen->fresh = false;
}

/* ---- reading */

/* Where the library's buffer is filled. */
struct filling {
    char *out;
    size_t size, filled;
};

static bool give_from(struct filling *to, const char *bytes, size_t size, size_t *given) {
    const size_t room = to->size - to->filled;
    *given = size < room ? size : room;
    memcpy(to->out + to->filled, bytes, *given);
    to->filled += *given;
    return *given > 0;
}

/* Gives what is ready. False if nothing is. */
static bool give(struct screen *screen, struct filling *to) {
    size_t given;
    if (screen->staged_at < screen->staged_end) {
        give_from(to, screen->bytes + screen->staged_at, screen->staged_end - screen->staged_at, &given);
        screen->staged_at += given;
        return true;
    }
    if (screen->bytes && (screen->raw_at == screen->raw_end || screen->refusal))
        forget(screen);
    if (screen->owed_size == 0)
        return false;
    give_from(to, screen->owed, screen->owed_size, &given);
    screen->owed += given;
    screen->owed_size -= given;
    return true;
}

static bool note_end(struct screen *screen, ssize_t n) {
    if (n != SCREEN_AGAIN)
        end(screen, n);
    return false;
}

/* Reads more from the source, behind what is held. */
static bool read_more(struct screen *screen, const struct screen_source *source) {
    if (!make_room(screen, LEAST_READ))
        return false;
    const ssize_t n =
        source->read(source->arg, screen->bytes + screen->raw_end, screen->capacity - screen->raw_end);
    if (n <= 0)
        return note_end(screen, n);
    screen->raw_end += (size_t)n;
    screen->fresh = true;
    return true;
}

/* Reads into the library's own buffer. What cannot be let through from there is held. */
static bool read_in_place(struct screen *screen, const struct screen_source *source, struct filling *to) {
    struct span span = {.bytes = to->out + to->filled};
    const ssize_t n = source->read(source->arg, span.bytes, to->size - to->filled);
    if (n <= 0)
        return note_end(screen, n);
    span.n = (size_t)n;
    understand(screen, &span);
    to->filled += span.written;
    if (!screen->refusal)
        hold(screen, span.bytes + span.read, span.n - span.read);
    return true;
}

/* Throws away what has come behind a request that was refused. */
static void drain(struct screen *screen, const struct screen_source *source) {
    char waste[4096];
    for (size_t sum = 0; !screen->drained && sum < DRAIN_MOST;) {
        const ssize_t n = source->read(source->arg, waste, sizeof waste);
        if (n <= 0)
            break;
        sum += (size_t)n;
    }
    screen->drained = true;
}

/* Gets one step further. False if it cannot before the source has more, or the request has been answered. */
static bool advance(struct screen *screen, const struct screen_source *source, struct filling *to) {
    if (give(screen, to))
        return true;
    if (screen->refusal)
        drain(screen, source);
    if (screen->state == SCREEN_COMPLETE || screen->ended)
        return false;
    if (screen->fresh) {
        understand_held(screen);
        return true;
    }
    return screen->raw_at < screen->raw_end ? read_more(screen, source) : read_in_place(screen, source, to);
}

/* Reads for a library that looks for more while it has a request to answer, as it does once when a
 * connection is resumed. What is there is kept for later, and an end is told. */
static ssize_t read_early(struct screen *screen, const struct screen_source *source, char *out, size_t size) {
    if (screen->refusal)
        return SCREEN_AGAIN;
    if (screen->raw_at < screen->raw_end)
        return SCREEN_LATER;
    if (!screen->ended) {
        const ssize_t n = source->read(source->arg, out, size);
        if (n == SCREEN_AGAIN)
            return SCREEN_AGAIN;
        if (n > 0) {
            hold(screen, out, (size_t)n);
            return screen->ended ? screen->end : SCREEN_LATER;
        }
        end(screen, n);
    }
    return screen->end;
}

ssize_t screen_read(struct screen *screen, const struct screen_source *source, char *out, size_t size) {
    if (screen->shut)
        return read_early(screen, source, out, size);
    struct filling to = {.out = out, .size = size};
    while (to.filled < size && advance(screen, source, &to))
        ;
    screen->shut =
        screen->state == SCREEN_COMPLETE && screen->staged_at == screen->staged_end && screen->owed_size == 0;
    if (to.filled > 0)
        return (ssize_t)to.filled;
    return screen->ended ? screen->end : SCREEN_AGAIN;
}

void screen_next(struct screen *screen) {
    if (screen->refusal)
        return;
    if (!screen->shut) /* answered before it was complete: there is no telling where the next begins */
        end(screen, SCREEN_LOST);
    screen->shut = false;
    screen->state = SCREEN_HEAD;
    screen->seen = screen->skipped = 0;
    screen->fresh = screen->raw_at < screen->raw_end;
}

/* ---- what is known */

bool screen_holds(const struct screen *screen) {
    return screen->raw_at < screen->raw_end;
}

bool screen_cut_off(const struct screen *screen) {
    return screen->ended && screen->state != SCREEN_COMPLETE;
}

bool screen_in_head(const struct screen *screen) {
    return screen->state == SCREEN_HEAD && screen->raw_at < screen->raw_end && !screen->fresh &&
           !screen->ended;
}

const struct api_error *screen_refusal(const struct screen *screen) {
    return screen->refusal;
}

void screen_free(struct screen *screen) {
    free(screen->bytes);
    if (screen->refusal && screen->refusal != &no_memory)
        free((struct api_error *)screen->refusal);
}
