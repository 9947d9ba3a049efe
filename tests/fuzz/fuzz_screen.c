/* fuzz_screen.c - any bytes, as what a client sends. The first two choose how they are divided among reads
 * and how much is asked for at a time.
 *
 * Every division must let the same bytes through and refuse the same thing for the same reason; and what is
 * let through is canonical: screened again, it passes as it is. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/front/http/screen.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool promise) {
    if (!promise)
        abort();
}

/* Divides its bytes by a little generator; division 0 is none. Ends behind the last. */
struct stream {
    const char *bytes;
    size_t size, at;
    uint32_t division;
    bool paused;
};

static size_t next_size(struct stream *stream) {
    stream->division = stream->division * 1664525u + 1013904223u;
    const uint32_t random = stream->division >> 8;
    return random % 4 == 0 ? 1 + random / 4 % 4096 : 1 + random / 4 % 7;
}

static ssize_t read_stream(void *arg, char *out, size_t size) {
    struct stream *stream = arg;
    size_t n = stream->size - stream->at;
    if (stream->division) {
        stream->paused = !stream->paused;
        if (stream->paused && n > 0)
            return SCREEN_AGAIN;
        const size_t piece = next_size(stream);
        n = n < piece ? n : piece;
    }
    n = n < size ? n : size;
    memcpy(out, stream->bytes + stream->at, n);
    stream->at += n;
    return (ssize_t)n;
}

struct outcome {
    char *released;
    size_t size;
    int status;
    char message[sizeof((struct api_error *)NULL)->message];
};

static void append(struct outcome *outcome, const char *bytes, size_t size) {
    outcome->released = realloc(outcome->released, outcome->size + size + 1);
    require(outcome->released);
    memcpy(outcome->released + outcome->size, bytes, size);
    outcome->size += size;
}

static bool is_over(const struct screen *screen, ssize_t n) {
    return n == 0 || n == SCREEN_LOST || (screen->shut && screen_refusal(screen));
}

static struct outcome run(const char *bytes, size_t size, uint32_t division) {
    static char out[65536];
    struct stream stream = {.bytes = bytes, .size = size, .division = division};
    const struct screen_source source = {.read = read_stream, .arg = &stream};
    struct screen screen = {0};
    struct outcome outcome = {0};
    append(&outcome, "", 0);
    for (;;) {
        const size_t ask = division ? next_size(&stream) : sizeof out;
        const ssize_t n = screen_read(&screen, &source, out, ask);
        require(n <= (ssize_t)ask);
        if (n > 0)
            append(&outcome, out, (size_t)n);
        if (is_over(&screen, n))
            break;
        if (screen.shut)
            screen_next(&screen);
    }
    if (screen_refusal(&screen)) {
        outcome.status = screen_refusal(&screen)->status;
        memcpy(outcome.message, screen_refusal(&screen)->message, sizeof outcome.message);
    }
    screen_free(&screen);
    return outcome;
}

/* Without the stand-in for a refused head, which is not to pass itself. */
static size_t without_stand_in(const struct outcome *outcome) {
    static const char stand_in[] = "- - HTTP/1.0\r\n\r\n";
    const size_t length = sizeof stand_in - 1;
    const bool there = outcome->status && outcome->size >= length &&
                       memcmp(outcome->released + outcome->size - length, stand_in, length) == 0;
    return outcome->size - (there ? length : 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2)
        return 0;
    const char *bytes = (const char *)data + 2;
    struct outcome whole = run(bytes, size - 2, 0);
    struct outcome divided = run(bytes, size - 2, 1u + data[0] + 256u * data[1]);
    require(whole.size == divided.size && memcmp(whole.released, divided.released, whole.size) == 0);
    require(whole.status == divided.status && strcmp(whole.message, divided.message) == 0);
    require((whole.status == 0) == (whole.message[0] == '\0'));

    const size_t sound = without_stand_in(&whole);
    struct outcome again = run(whole.released, sound, 0);
    require(again.status == 0 && again.size == sound && memcmp(again.released, whole.released, sound) == 0);
    free(whole.released);
    free(divided.released);
    free(again.released);
    return 0;
}
