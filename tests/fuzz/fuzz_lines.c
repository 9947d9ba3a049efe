/* fuzz_lines.c - any bytes, as a body of lines. The first is how long a line may be, the second how much there is
 * room for, the third how the rest is divided.
 *
 * Every division must find the same lines; none is blank or too long, or has a newline; and what was held is let
 * go. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/front/calls/lines.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool promise) {
    if (!promise)
        abort();
}

struct holder {
    size_t held, most;
};

static bool hold(void *arg, size_t bytes) {
    struct holder *holder = arg;
    if (bytes > holder->most - holder->held)
        return false;
    holder->held += bytes;
    return true;
}

static void let_go(void *arg, size_t bytes) {
    struct holder *holder = arg;
    require(bytes <= holder->held);
    holder->held -= bytes;
}

static void note(struct lines *lines, struct holder *holder, enum lines_found found, struct buffer *out) {
    /* Which of two faults is met first may depend on the division. */
    buffer_string(out, found == LINES_LINE ? "line\n" : "fault\n");
    if (found != LINES_LINE)
        return;
    struct buffer line = lines_take(lines);
    require(line.size > 0 && line.size <= lines->most && !memchr(line.data, '\n', line.size));
    buffer_bytes(out, line.data, line.size);
    let_go(holder, line.capacity);
    buffer_free(&line);
}

static struct buffer run(const uint8_t *data, size_t size, bool divided) {
    struct holder holder = {.most = (size_t)data[1] * 64};
    struct lines lines = {.most = 1u + data[0], .hold = hold, .let_go = let_go, .arg = &holder};
    struct buffer out = {0};
    const size_t piece = divided ? 1u + data[2] % 16 : size;
    const char *at = (const char *)data + 3, *end = (const char *)data + size;
    while (at < end) {
        const char *stop = (size_t)(end - at) < piece ? end : at + piece;
        while (at < stop) {
            const enum lines_found found = lines_read(&lines, &at, stop);
            require(found != LINES_NONE || at == stop);
            if (found != LINES_NONE)
                note(&lines, &holder, found, &out);
        }
    }
    const enum lines_found last = lines_end(&lines);
    if (last != LINES_NONE)
        note(&lines, &holder, last, &out);
    lines_free(&lines);
    require(holder.held == 0 && !out.failed);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 3)
        return 0;
    struct buffer whole = run(data, size, false), divided = run(data, size, true);
    require(whole.size == divided.size &&
            (whole.size == 0 || memcmp(whole.data, divided.data, whole.size) == 0));
    buffer_free(&whole);
    buffer_free(&divided);
    return 0;
}
