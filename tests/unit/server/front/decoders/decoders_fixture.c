/* decoders_fixture.c - see decoders_fixture.h. */
#include "tests/unit/server/front/decoders/decoders_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/process.h"
#include "server/decoder/decoder.h"
#include "server/options/command.h"
#include "server/protocol/decoder_wire.h"

/* ---- a decoder that misbehaves */

static void say(uint32_t magic, uint32_t status, uint64_t size, const void *body, size_t body_size) {
    struct wire_answer answer = {.magic = magic, .status = status, .size = size};
    struct iovec parts[] = {{&answer, sizeof answer}, {(void *)body, body_size}};
    wire_write(PROCESS_FD, parts, 2);
}

/* Aborts the first time that any decoder of this test gets here. */
static void abort_once(void) {
    const int fd = open(getenv("TEST_ONCE"), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    if (fd >= 0)
        abort();
}

static void misbehave(const char *how, const struct limoe_image_settings *settings, const uint8_t *bytes,
                      size_t size) {
    static const char ugly[] = "bad\n\x1b[31m \xc2\x85\xff\xe3\x81 caf\xc3\xa9";
    static const uint8_t nothing[4096];
    const size_t whole = (size_t)settings->preprocess.size * settings->preprocess.size * 3;
    uint8_t *pixels = calloc(1, whole);
    if (strcmp(how, "magic") == 0)
        say(WIRE_HELLO, LIMOE_OK, whole, pixels, whole);
    else if (strcmp(how, "status") == 0)
        say(WIRE_ANSWER, LIMOE_INTERNAL + 1, 4, "what", 4);
    else if (strcmp(how, "more") == 0)
        say(WIRE_ANSWER, LIMOE_OK, whole + 1, pixels, whole);
    else if (strcmp(how, "huge") == 0)
        say(WIRE_ANSWER, LIMOE_BAD_IMAGE, UINT64_MAX, nothing, sizeof nothing);
    else if (strcmp(how, "half") == 0)
        say(WIRE_ANSWER, LIMOE_OK, whole, pixels, whole / 2);
    else if (strcmp(how, "ugly") == 0)
        say(WIRE_ANSWER, LIMOE_BAD_IMAGE, sizeof ugly - 1, ugly, sizeof ugly - 1);
    else if (strcmp(how, "exit") == 0)
        exit(3);
    else if (strcmp(how, "once") == 0) {
        abort_once();
        limoe_process_image_by(settings, bytes, size, pixels, NULL);
        say(WIRE_ANSWER, LIMOE_OK, whole, pixels, whole);
    } else if (strcmp(how, "burn") == 0)
        for (volatile unsigned turns = 0;; turns++)
            ;
    free(pixels); /* "silent": no answer at all */
}

static int fake_decoder(const char *how) {
    struct limoe_image_settings settings;
    struct wire_hello hello = {.magic = WIRE_HELLO, .unprotected = "it is a fake"};
    struct wire_request request;
    struct iovec greeting = {&hello, sizeof hello};
    struct limoe_error err;
    if (strcmp(how, "stillborn") == 0)
        return 7;
    if (!process_child_setup(&err) || !wire_read(PROCESS_FD, &settings, sizeof settings) ||
        !wire_write(PROCESS_FD, &greeting, 1))
        return 1;
    while (wire_read(PROCESS_FD, &request, sizeof request)) {
        uint8_t *bytes = malloc(request.size);
        if (wire_read(PROCESS_FD, bytes, request.size))
            misbehave(how, &settings, bytes, request.size);
        free(bytes);
    }
    return 0;
}

/* ---- the pool under test */

uint64_t the_pictures;
unsigned the_wall;
bool the_unconfined = true;

enum limoe_status start(struct fixture *f, const struct limoe_image_limits *limits, unsigned seconds,
                        struct limoe_error *err) {
    static const char *const routes[] = {"/"};
    *f = (struct fixture){.log_fd = memfd_create("log", MFD_CLOEXEC)};
    assert_true(f->log_fd >= 0);
    assert_int_equal(limoe_processor_open(MODEL, limits, &f->processor, err), LIMOE_OK);
    f->metrics = metrics_new(routes, 1);
    f->log = log_new(f->log_fd, LOG_TEXT, LOG_DEBUG);
    static const char *const keep[] = {"TEST_*", NULL};
    const struct decoders_options options = {
        .processor = f->processor,
        .processes = WORKING,
        .seconds = seconds,
        .wall_seconds = the_wall ? the_wall : seconds,
        .pictures = the_pictures,
        .unconfined = the_unconfined,
        .keep = keep,
        .metrics = f->metrics,
        .log = f->log,
    };
    return decoders_start(&options, &f->decoders, err);
}

void start_well(struct fixture *f, const struct limoe_image_limits *limits, unsigned seconds) {
    struct limoe_error err;
    if (start(f, limits, seconds, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
}

void stop(struct fixture *f) {
    decoders_stop(f->decoders);
    log_free(f->log);
    metrics_free(f->metrics);
    limoe_processor_close(f->processor);
    close(f->log_fd);
}

int logged(const struct fixture *f, const char *what) {
    static char text[1 << 16];
    const ssize_t size = pread(f->log_fd, text, sizeof text - 1, 0);
    int count = 0;
    text[size > 0 ? size : 0] = '\0';
    for (const char *at = text; (at = strstr(at, what)); at++)
        count++;
    return count;
}

uint64_t restarts(const struct fixture *f) {
    struct buffer page = {0};
    const struct metrics_gauges gauges = {0};
    metrics_write(f->metrics, &gauges, &page);
    buffer_bytes(&page, "", 1);
    const char *at = strstr(page.data, "\nlimoe_decoder_restarts_total ");
    assert_non_null(at);
    const uint64_t count = strtoull(strchr(at, ' '), NULL, 10);
    buffer_free(&page);
    return count;
}

size_t pixels_size(const struct fixture *f) {
    const size_t side = limoe_processor_info(f->processor)->image_size;
    assert_true(side * side * 3 <= MOST_PIXELS);
    return side * side * 3;
}

enum limoe_status decode(const struct fixture *f, const void *bytes, size_t size, uint8_t *pixels,
                         struct limoe_error *err) {
    const struct decoders_picture picture = {.bytes = bytes, .size = size};
    return decoders_decode(f->decoders, &picture, pixels, err);
}

void sleep_ms(long ms) {
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

void await_processes(const struct fixture *f, pid_t other_than, pid_t *pids) {
    for (int tries = 0; tries < 6000; tries++) {
        decoders_processes(f->decoders, pids);
        bool good = true;
        for (int i = 0; i < PROCESSES; i++)
            good = good && pids[i] > 0 && pids[i] != other_than;
        if (good)
            return;
        sleep_ms(10);
    }
    fail_msg("the decoders did not start again");
}

size_t load(const char *path, uint8_t *bytes) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    const size_t size = fread(bytes, 1, MOST_BYTES, file);
    fclose(file);
    return size;
}

void compare(const struct fixture *f, const char *name, const uint8_t *bytes, size_t size) {
    static uint8_t wanted[MOST_PIXELS], found[MOST_PIXELS];
    struct limoe_error expected = {0}, err = {0};
    const enum limoe_status status = limoe_process_image(f->processor, bytes, size, wanted, &expected);
    assert_int_equal(decode(f, bytes, size, found, &err), status);
    if (status != LIMOE_OK && strcmp(err.message, expected.message) != 0)
        fail_msg("%s: \"%s\" in the decoder, \"%s\" here", name, err.message, expected.message);
    if (status == LIMOE_OK && memcmp(wanted, found, pixels_size(f)) != 0)
        fail_msg("%s: other pixels", name);
}

void start_fake(struct fixture *f, const char *how, unsigned seconds) {
    setenv("TEST_DECODER", how, 1);
    start_well(f, NULL, seconds);
}

int fixture_main(int argc, char **argv, int (*run)(void)) {
    const char *how = getenv("TEST_DECODER");
    const char *stillborn = getenv("TEST_STILLBORN");
    if (argc > 1 && strcmp(argv[1], "decoder") == 0 && stillborn && access(stillborn, F_OK) == 0)
        return 7;
    if (argc > 1 && strcmp(argv[1], "decoder") == 0)
        return how ? fake_decoder(how) : decoder_main(argc - 1, argv + 1);
    return run();
}
