/* decoder.c - `limoe decoder`: pictures in, pixels out, one after the other. One thread.
 *
 * The front starts it and tells it over the socket what it must know, so it opens no file of its own. A
 * picture's bytes lie at the end of the room for them, before a page that cannot be read: a reader that runs
 * past the end of its picture ends the process, and shows nothing of earlier pictures.
 */
#include "server/decoder/decoder.h"

#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/process.h"
#include "server/decoder/sandbox.h"
#include "server/options/command.h"
#include "server/protocol/decoder_wire.h"
#ifdef LIMOE_TEST_HOOKS
#include "server/decoder/test_hooks.h"
#endif

#define MIB ((uint64_t)1 << 20)

/* Blocks above this go back to the system when they are freed, and so does what lies free on top of the heap:
 * a large picture leaves nothing behind, and small ones find their memory mapped. */
#define KEPT_MEMORY (4 * (int)MIB)

/* The most that a decoded pixel costs at any time: RGBA (4) and its turned copy (4), or a WebP's ARGB (4) and
 * RGBA (4) and its alpha (1); model/image/jpeg.c sees to it that a JPEG's coefficients and RGB are no more.
 */
#define BYTES_PER_PIXEL 9u
#define SUMS_PER_PIXEL  12u             /* bytes that resizing takes for a pixel of the model's square */
#define MOST_SIDE       UINT64_C(65535) /* no reader takes more, whatever max_pixels says */
#define SPARE_MEMORY    (32 * MIB)      /* tables, windows, rows */

struct decoder {
    struct limoe_image_settings settings;
    uint8_t *room;    /* [room_size], the guard page behind it */
    size_t room_size; /* max_bytes in whole pages */
    uint8_t *pixels;  /* [settings.preprocess.size, settings.preprocess.size, 3] */
    size_t pixels_size;
};

static int complain(int status, const char *what) {
    fprintf(stderr, "limoe: decoder: %s\n", what);
    return status;
}

/* Memory for one picture beyond its bytes; metadata may be copied out of those. */
static uint64_t working_memory(const struct limoe_image_settings *settings) {
    const struct limoe_image_limits *limits = &settings->limits;
    const uint64_t most = MOST_SIDE * MOST_SIDE;
    const uint64_t pixels = limits->max_pixels < most ? limits->max_pixels : most;
    const uint64_t square = (uint64_t)settings->preprocess.size * settings->preprocess.size;
    return pixels * BYTES_PER_PIXEL + square * SUMS_PER_PIXEL + limits->max_bytes + SPARE_MEMORY;
}

static bool allocate(struct decoder *decoder) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t most = decoder->settings.limits.max_bytes;
    if (most > SIZE_MAX / 2)
        return false;
    decoder->room_size = (most + page - 1) / page * page;
    void *room = mmap(NULL, decoder->room_size + page, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED)
        return false;
    decoder->room = room;
    if (mprotect(decoder->room + decoder->room_size, page, PROT_NONE) != 0)
        return false;
    decoder->pixels_size = (size_t)decoder->settings.preprocess.size * decoder->settings.preprocess.size * 3;
    decoder->pixels = malloc(decoder->pixels_size);
    return decoder->pixels != NULL;
}

static bool answer(const struct decoder *decoder, enum limoe_status status, const struct limoe_error *err) {
    const bool good = status == LIMOE_OK;
    struct wire_answer head = {
        .magic = WIRE_ANSWER,
        .status = status,
        .size = good ? decoder->pixels_size : strlen(err->message),
    };
    struct iovec parts[] = {
        {&head, sizeof head},
        {good ? (void *)decoder->pixels : (void *)err->message, head.size},
    };
    return wire_write(PROCESS_FD, parts, 2);
}

/* Decodes until the front hangs up. */
static void decode_all(const struct decoder *decoder) {
    struct wire_request request;
    while (wire_read(PROCESS_FD, &request, sizeof request)) {
        if (request.magic != WIRE_REQUEST || request.size == 0 || request.pixels == 0 ||
            request.size > decoder->settings.limits.max_bytes) {
            complain(COMMAND_INPUT, "the front sent a request that is malformed");
            return;
        }
        uint8_t *bytes = decoder->room + decoder->room_size - request.size;
        struct limoe_error err;
        if (!wire_read(PROCESS_FD, bytes, request.size))
            return;
#ifdef LIMOE_TEST_HOOKS
        decoder_test_hook(bytes, request.size);
#endif
        struct limoe_image_settings settings = decoder->settings;
        settings.limits.found_pixels = request.pixels;
        const enum limoe_status status =
            limoe_process_image_by(&settings, bytes, request.size, decoder->pixels, &err);
        if (request.size > KEPT_MEMORY)
            madvise(decoder->room, decoder->room_size, MADV_DONTNEED);
        if (!answer(decoder, status, &err))
            return;
    }
}

static ssize_t drop(void *cookie, const char *bytes, size_t size) {
    (void)cookie;
    (void)bytes;
    return (ssize_t)size;
}

/* Some libraries print what they find wrong with a picture, which is the answer's to say. What ends the
 * process still reaches the log: it is written without stdio. */
static void silence_libraries(void) {
    FILE *nowhere = fopencookie(NULL, "w", (cookie_io_functions_t){.write = drop});
    if (nowhere)
        stderr = nowhere;
}

int decoder_main(int argc, char **argv) {
    struct decoder decoder = {0};
    struct wire_hello hello = {.magic = WIRE_HELLO};
    struct iovec greeting = {&hello, sizeof hello};
    struct limoe_error err;
    (void)argv;
    if (argc > 1)
        return complain(COMMAND_USAGE, "takes no options; only limoe itself starts this command");
    if (!process_child_setup(&err)) /* a front that is gone wants no complaint */
        return err.status == LIMOE_IO ? COMMAND_OK : complain(COMMAND_INPUT, err.message);
    if (!wire_read(PROCESS_FD, &decoder.settings, sizeof decoder.settings))
        return COMMAND_OK; /* the front has thought better of it */
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_THRESHOLD, KEPT_MEMORY);
    mallopt(M_TRIM_THRESHOLD, KEPT_MEMORY);
    if (!allocate(&decoder))
        return complain(COMMAND_INPUT, strerror(errno));
    limoe_image_prepare(); /* libraries look for files now or never */
    silence_libraries();
    sandbox_enter(PROCESS_FD, working_memory(&decoder.settings), hello.unprotected, sizeof hello.unprotected);
    if (wire_write(PROCESS_FD, &greeting, 1))
        decode_all(&decoder);
    _exit(COMMAND_OK); /* what runs at exit asks for more than the sandbox has */
}
