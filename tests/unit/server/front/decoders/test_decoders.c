/* test_decoders.c - protects the pool of picture decoders: the same pixels and messages as in this process,
 * whatever becomes of the decoders and whatever they answer; and the walls around each of them.
 *
 * The pool starts its own program, which here is this test: with TEST_DECODER in its environment it is a
 * decoder that misbehaves, without it the real one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/process.h"
#include "server/decoder/decoder.h"
#include "server/decoder/sandbox.h"
#include "server/front/decoders/decoders.h"
#include "server/front/observe/usage.h"
#include "server/options/command.h"
#include "server/protocol/decoder_wire.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

enum { WORKING = 2, PROCESSES = WORKING + DECODERS_SPARE, MOST_PIXELS = 256 * 256 * 3, MOST_BYTES = 1 << 20 };

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

/* Options that most tests leave as they are. */
static uint64_t the_pictures = 0;
static unsigned the_wall = 0;      /* 0: as the processor time */
static bool the_unconfined = true; /* fakes have no sandbox, and say so */

struct fixture {
    struct limoe_processor *processor;
    struct metrics *metrics;
    struct log *log;
    int log_fd;
    struct decoders *decoders;
};

static enum limoe_status start(struct fixture *f, const struct limoe_image_limits *limits, unsigned seconds,
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

static void start_well(struct fixture *f, const struct limoe_image_limits *limits, unsigned seconds) {
    struct limoe_error err;
    if (start(f, limits, seconds, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
}

static void stop(struct fixture *f) {
    decoders_stop(f->decoders);
    log_free(f->log);
    metrics_free(f->metrics);
    limoe_processor_close(f->processor);
    close(f->log_fd);
}

/* How often `what` stands in the log. */
static int logged(const struct fixture *f, const char *what) {
    static char text[1 << 16];
    const ssize_t size = pread(f->log_fd, text, sizeof text - 1, 0);
    int count = 0;
    text[size > 0 ? size : 0] = '\0';
    for (const char *at = text; (at = strstr(at, what)); at++)
        count++;
    return count;
}

static uint64_t restarts(const struct fixture *f) {
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

static size_t pixels_size(const struct fixture *f) {
    const size_t side = limoe_processor_info(f->processor)->image_size;
    assert_true(side * side * 3 <= MOST_PIXELS);
    return side * side * 3;
}

/* As limoe_process_image. */
static enum limoe_status decode(const struct fixture *f, const void *bytes, size_t size, uint8_t *pixels,
                                struct limoe_error *err) {
    const struct decoders_picture picture = {.bytes = bytes, .size = size};
    return decoders_decode(f->decoders, &picture, pixels, err);
}

static void sleep_ms(long ms) {
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* Waits until all processes are there and none is the one given. */
static void await_processes(const struct fixture *f, pid_t other_than, pid_t *pids) {
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

static size_t load(const char *path, uint8_t *bytes) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    const size_t size = fread(bytes, 1, MOST_BYTES, file);
    fclose(file);
    return size;
}

/* ---- the same answers */

static void compare(const struct fixture *f, const char *name, const uint8_t *bytes, size_t size) {
    static uint8_t wanted[MOST_PIXELS], found[MOST_PIXELS];
    struct limoe_error expected = {0}, err = {0};
    const enum limoe_status status = limoe_process_image(f->processor, bytes, size, wanted, &expected);
    assert_int_equal(decode(f, bytes, size, found, &err), status);
    if (status != LIMOE_OK && strcmp(err.message, expected.message) != 0)
        fail_msg("%s: \"%s\" in the decoder, \"%s\" here", name, err.message, expected.message);
    if (status == LIMOE_OK && memcmp(wanted, found, pixels_size(f)) != 0)
        fail_msg("%s: other pixels", name);
}

static int compare_directory(const struct fixture *f, const char *path) {
    uint8_t *bytes = malloc(MOST_BYTES);
    DIR *directory = opendir(path);
    int count = 0;
    assert_non_null(directory);
    for (struct dirent *entry; (entry = readdir(directory));) {
        char name[1024];
        if (entry->d_type != DT_REG)
            continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        compare(f, name, bytes, load(name, bytes));
        count++;
    }
    closedir(directory);
    free(bytes);
    return count;
}

static void test_the_same_bits_and_messages(void **state) {
    (void)state;
    struct fixture f;
    start_well(&f, NULL, 60);
    assert_true(compare_directory(&f, ROOT "/examples") > 10);
    assert_true(compare_directory(&f, ROOT "/tests/unit/model/image/data") > 20);
    assert_true(compare_directory(&f, ROOT "/tests/fuzz/corpus/image") > 10);
    compare(&f, "nothing", (const uint8_t *)"", 0);
    assert_int_equal(restarts(&f), 0);
    assert_int_equal(logged(&f, "\n"), 0); /* not a line */
    stop(&f);
}

static void test_limits_are_the_processors(void **state) {
    (void)state;
    struct fixture f;
    uint8_t *bytes = malloc(MOST_BYTES);
    const size_t size = load(ROOT "/examples/cat.png", bytes);
    const struct limoe_image_limits few_pixels = {.max_pixels = 100}, few_bytes = {.max_bytes = size - 1};
    start_well(&f, &few_pixels, 60);
    compare(&f, "too many pixels", bytes, size);
    stop(&f);
    start_well(&f, &few_bytes, 60);
    compare(&f, "too many bytes", bytes, size);
    stop(&f);
    free(bytes);
}

/* ---- decoders that are lost or lie */

static void expect(const char *how, enum limoe_status status, const char *message, uint64_t lost) {
    struct fixture f;
    struct limoe_error err = {0};
    uint8_t pixels[MOST_PIXELS];
    setenv("TEST_DECODER", how, 1);
    start_well(&f, NULL, 2);
    const enum limoe_status found = decode(&f, "P6", 2, pixels, &err);
    if (found != status || !strstr(err.message, message))
        fail_msg("%s: status %d, \"%s\"", how, (int)found, err.message);
    assert_int_equal(restarts(&f), lost);
    assert_int_equal(logged(&f, "lost, over a picture of 2 bytes"), lost);
    assert_int_equal(logged(&f, "without a sandbox (it is a fake)"), 1);
    stop(&f);
    unsetenv("TEST_DECODER");
}

static void test_a_picture_that_breaks_its_decoder_twice_fails(void **state) {
    (void)state;
    expect("exit", LIMOE_INTERNAL, "twice: exited with status 3", 2);
    expect("silent", LIMOE_INTERNAL, "twice: no answer for 2 s", 2);
}

static void test_answers_that_are_none(void **state) {
    (void)state;
    expect("magic", LIMOE_INTERNAL, "twice: an answer that is none", 2);
    expect("status", LIMOE_INTERNAL, "twice: an answer that is none", 2);
    expect("more", LIMOE_INTERNAL, "twice: an answer that is none", 2);
    expect("huge", LIMOE_INTERNAL, "twice: an answer that is none", 2);
    expect("half", LIMOE_INTERNAL, "twice: no answer for 2 s", 2);
}

/* A fake that does this to each picture. */
static void start_fake(struct fixture *f, const char *how, unsigned seconds) {
    setenv("TEST_DECODER", how, 1);
    start_well(f, NULL, seconds);
}

/* One that computes for ever is told by its processor time, tried once, and no fault of the server's. */
static void test_w11_too_much_processor_time_is_the_pictures_fault(void **state) {
    (void)state;
    struct fixture f;
    struct limoe_error err = {0};
    uint8_t pixels[MOST_PIXELS];
    the_wall = 600;
    start_fake(&f, "burn", 1);
    assert_int_equal(decode(&f, "P6", 2, pixels, &err), LIMOE_TOO_LARGE);
    assert_non_null(strstr(err.message, "more than the 1 s of processor time"));
    assert_int_equal(restarts(&f), 1);
    stop(&f);
    the_wall = 0;
    unsetenv("TEST_DECODER");
}

/* One that waits for longer than a picture may compute has not used its time up: as on a machine without any
 * to give. Here it is stopped and started again by signals. */
static void test_w11_a_decoder_without_a_processor_is_waited_for(void **state) {
    (void)state;
    struct fixture f;
    pid_t pids[PROCESSES];
    uint8_t *bytes = malloc(MOST_BYTES);
    const size_t size = load(ROOT "/examples/cat.png", bytes);
    the_wall = 600;
    start_well(&f, NULL, 1);
    await_processes(&f, 0, pids);
    for (int i = 0; i < PROCESSES; i++)
        kill(pids[i], SIGSTOP);
    const pid_t helper = fork();
    if (helper == 0) {
        sleep_ms(2500);
        for (int i = 0; i < PROCESSES; i++)
            kill(pids[i], SIGCONT);
        _exit(0);
    }
    compare(&f, "cat.png", bytes, size);
    assert_int_equal(restarts(&f), 0);
    waitpid(helper, NULL, 0);
    stop(&f);
    the_wall = 0;
    free(bytes);
}

static bool wanted_for_a_while(void *arg) {
    return --*(int *)arg > 0;
}

/* The decoder goes with its picture; the next one finds another, and nothing counts as lost. */
static void test_w1_a_picture_that_nobody_wants_is_given_up(void **state) {
    (void)state;
    struct fixture f;
    struct limoe_error err = {0};
    uint8_t pixels[MOST_PIXELS];
    the_wall = 600;
    start_fake(&f, "burn", 600);
    for (int i = 0; i < 4; i++) {
        int asked = 5;
        const struct decoders_picture picture = {
            .bytes = (const uint8_t *)"P6", .size = 2, .wanted = wanted_for_a_while, .arg = &asked};
        assert_int_equal(decoders_decode(f.decoders, &picture, pixels, &err), LIMOE_LOST);
    }
    int never = 0;
    const struct decoders_picture unwanted = {
        .bytes = (const uint8_t *)"P6", .size = 2, .wanted = wanted_for_a_while, .arg = &never};
    assert_int_equal(decoders_decode(f.decoders, &unwanted, pixels, &err), LIMOE_LOST);
    assert_int_equal(restarts(&f), 0);
    assert_int_equal(logged(&f, "lost"), 0);
    stop(&f);
    the_wall = 0;
    unsetenv("TEST_DECODER");
}

/* A header that says little does not get much decoded. */
static void test_w2_a_picture_is_no_larger_than_it_was_taken_for(void **state) {
    (void)state;
    struct fixture f;
    struct limoe_error err = {0};
    uint8_t pixels[MOST_PIXELS], *bytes = malloc(MOST_BYTES);
    const size_t size = load(ROOT "/examples/cat.png", bytes);
    uint32_t width, height;
    assert_true(limoe_image_measure(bytes, size, &width, &height));
    struct decoders_picture picture = {.bytes = bytes, .size = size, .most_pixels = (uint64_t)width * height};
    start_well(&f, NULL, 60);
    assert_int_equal(decoders_decode(f.decoders, &picture, pixels, &err), LIMOE_OK);
    picture.most_pixels--;
    assert_int_equal(decoders_decode(f.decoders, &picture, pixels, &err), LIMOE_BAD_IMAGE);
    assert_non_null(strstr(err.message, "where its first header says"));
    stop(&f);
    free(bytes);
}

/* Each ends after its share, without a loss, and none is waited for. */
static void test_w13_decoders_are_replaced_after_their_share(void **state) {
    (void)state;
    struct fixture f;
    pid_t before[PROCESSES], after[PROCESSES];
    uint8_t *bytes = malloc(MOST_BYTES);
    const size_t size = load(ROOT "/examples/cat.png", bytes);
    the_pictures = 3;
    start_well(&f, NULL, 60);
    await_processes(&f, 0, before);
    int kept = PROCESSES;
    for (int tries = 0; tries < 200 && kept == PROCESSES; tries++) {
        compare(&f, "cat.png", bytes, size);
        decoders_processes(f.decoders, after);
        kept = 0;
        for (int i = 0; i < PROCESSES; i++)
            kept += after[i] == before[i];
    }
    assert_in_range(kept, PROCESSES - 1, PROCESSES - 1); /* one at a time */
    for (int i = 0; i < 50; i++)
        compare(&f, "cat.png", bytes, size);
    await_processes(&f, 0, after);
    assert_int_equal(restarts(&f), 0);
    assert_int_equal(logged(&f, "lost"), 0);
    stop(&f);
    the_pictures = 0;
    free(bytes);
}

static void test_w13_decoders_know_nothing_of_the_environment(void **state) {
    (void)state;
    struct fixture f;
    pid_t pids[PROCESSES];
    setenv("SECRET_OF_THE_FRONT", "swordfish", 1);
    start_well(&f, NULL, 60);
    await_processes(&f, 0, pids);
    for (int i = 0; i < PROCESSES; i++) {
        char path[64], text[1 << 16];
        snprintf(path, sizeof path, "/proc/%ld/environ", (long)pids[i]);
        FILE *stream = fopen(path, "r"); /* none of the same user may look in, unless it is the superuser */
        const size_t size = stream ? fread(text, 1, sizeof text, stream) : 0;
        assert_null(memmem(text, size, "swordfish", 9));
        assert_null(memmem(text, size, "PATH=/", 6));
        if (stream)
            fclose(stream);
    }
    unsetenv("SECRET_OF_THE_FRONT");
    stop(&f);
}

static void test_w13_a_decoder_without_a_sandbox_is_refused(void **state) {
    (void)state;
    struct fixture f;
    struct limoe_error err = {0};
    the_unconfined = false;
    setenv("TEST_DECODER", "silent", 1); /* whose hello says that it has none */
    assert_int_equal(start(&f, NULL, 2, &err), LIMOE_UNSUPPORTED);
    assert_non_null(
        strstr(err.message, "cannot be confined here (it is a fake); --allow-unsandboxed-decoders"));
    stop(&f);
    the_unconfined = true;
    unsetenv("TEST_DECODER");
}

static void test_messages_are_cleaned(void **state) {
    (void)state;
    expect("ugly", LIMOE_BAD_IMAGE, "bad??[31m ???? caf\xc3\xa9", 0);
}

/* A name that is free, for the pattern of mkstemp. */
static void take_name(char *pattern) {
    const int fd = mkstemp(pattern);
    assert_true(fd >= 0);
    close(fd);
    unlink(pattern);
}

static void test_a_picture_whose_decoder_breaks_once_is_answered(void **state) {
    (void)state;
    char once[] = "/tmp/limoe-decoders-XXXXXX";
    struct fixture f;
    uint8_t *bytes = malloc(MOST_BYTES);
    const size_t size = load(ROOT "/examples/cat.png", bytes);
    take_name(once);
    setenv("TEST_ONCE", once, 1);
    setenv("TEST_DECODER", "once", 1);
    start_well(&f, NULL, 60);
    compare(&f, "cat.png", bytes, size);
    assert_int_equal(restarts(&f), 1);
    assert_int_equal(logged(&f, "killed by SIGABRT"), 1);
    stop(&f);
    unsetenv("TEST_DECODER");
    unlink(once);
    free(bytes);
}

static void test_a_decoder_that_does_not_start(void **state) {
    (void)state;
    struct fixture f;
    struct limoe_error err = {0};
    setenv("TEST_DECODER", "stillborn", 1);
    assert_int_equal(start(&f, NULL, 2, &err), LIMOE_INTERNAL);
    assert_non_null(strstr(err.message, "exited with status 7"));
    stop(&f);
    unsetenv("TEST_DECODER");
}

/* After a good start none starts any more: an error in the end, not a wait for ever. A file says so, since
 * the environment is the supervisor's to read while it runs. */
static void test_no_decoder_at_all(void **state) {
    (void)state;
    char stillborn[] = "/tmp/limoe-decoders-XXXXXX";
    struct fixture f;
    struct limoe_error err = {0};
    uint8_t pixels[MOST_PIXELS];
    pid_t pids[PROCESSES];
    take_name(stillborn);
    setenv("TEST_STILLBORN", stillborn, 1);
    start_well(&f, NULL, 1);
    await_processes(&f, 0, pids);
    close(open(stillborn, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    for (int i = 0; i < PROCESSES; i++)
        kill(pids[i], SIGKILL);
    assert_int_equal(decode(&f, "P6", 2, pixels, &err), LIMOE_INTERNAL);
    if (!strstr(err.message, "no picture decoder") || !strstr(err.message, "status 7"))
        fail_msg("%s", err.message);
    unlink(stillborn);
    assert_int_not_equal(decode(&f, "P6", 2, pixels, &err), LIMOE_OK);
    stop(&f);
    unsetenv("TEST_STILLBORN");
}

static void test_an_idle_decoder_is_replaced(void **state) {
    (void)state;
    struct fixture f;
    pid_t pids[PROCESSES];
    start_well(&f, NULL, 60);
    await_processes(&f, 0, pids);
    const pid_t victim = pids[0];
    kill(victim, SIGKILL);
    await_processes(&f, victim, pids);
    assert_int_equal(logged(&f, "lost, idle: killed by SIGKILL"), 1);
    assert_int_equal(restarts(&f), 1);
    stop(&f);
}

struct load {
    const struct fixture *f;
    const uint8_t *bytes, *wanted;
    size_t size, pixels_size;
    atomic_int *done;
};

static void *decode_many(void *argument) {
    const struct load *load = argument;
    uint8_t *pixels = malloc(load->pixels_size);
    struct limoe_error err = {0};
    const char *failure = NULL;
    for (int i = 0; i < 200 && !failure; i++) {
        memset(pixels, 0xAA, load->pixels_size);
        if (decode(load->f, load->bytes, load->size, pixels, &err) != LIMOE_OK)
            failure = strdup(err.message);
        else if (memcmp(pixels, load->wanted, load->pixels_size) != 0)
            failure = strdup("other pixels");
    }
    free(pixels);
    atomic_fetch_add(load->done, 1);
    return (void *)failure;
}

static void test_no_picture_fails_while_decoders_are_killed(void **state) {
    (void)state;
    enum { THREADS = 3 };
    struct fixture f;
    atomic_int done = 0;
    uint8_t *bytes = malloc(MOST_BYTES), wanted[MOST_PIXELS];
    pid_t pids[PROCESSES];
    pthread_t threads[THREADS];
    start_well(&f, NULL, 60);
    const size_t size = load(ROOT "/examples/cat.png", bytes);
    assert_int_equal(limoe_process_image(f.processor, bytes, size, wanted, NULL), LIMOE_OK);
    struct load load = {&f, bytes, wanted, size, pixels_size(&f), &done};
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, decode_many, &load), 0);
    unsigned kills = 0;
    do { /* at least once, however fast they are; each only when all are there again */
        await_processes(&f, 0, pids);
        kill(pids[kills++ % PROCESSES], SIGKILL);
        await_processes(&f, pids[(kills - 1) % PROCESSES], pids);
        sleep_ms(20);
    } while (atomic_load(&done) < THREADS);
    for (int i = 0; i < THREADS; i++) {
        void *failure;
        pthread_join(threads[i], &failure);
        if (failure)
            fail_msg("%s", (const char *)failure);
    }
    assert_int_equal(restarts(&f), kills);
    stop(&f);
    free(bytes);
}

/* ---- the walls */

static void expect_in(pid_t pid, const char *file, const char *line) {
    char path[64], text[8192];
    snprintf(path, sizeof path, "/proc/%ld/%s", (long)pid, file);
    FILE *stream = fopen(path, "r");
    assert_non_null(stream);
    text[fread(text, 1, sizeof text - 1, stream)] = '\0';
    fclose(stream);
    if (!strstr(text, line))
        fail_msg("%s has no line \"%s\":\n%s", path, line, text);
}

static void test_the_sandbox_is_up(void **state) {
    (void)state;
    struct fixture f;
    pid_t pids[PROCESSES];
    start_well(&f, NULL, 60);
    await_processes(&f, 0, pids);
    for (int i = 0; i < PROCESSES; i++) {
        expect_in(pids[i], "status", "\nSeccomp:\t2\n");
        expect_in(pids[i], "status", "\nNoNewPrivs:\t1\n");
        expect_in(pids[i], "oom_score_adj", "500");
        expect_in(pids[i], "limits", "Max core file size        0                    0 ");
        if (!SANITIZED)
            expect_in(pids[i], "limits", "Max open files            0                    0 ");
    }
    assert_int_equal(logged(&f, "sandbox"), 0);
    stop(&f);
}

static void test_memory_of_a_large_picture_goes_back(void **state) {
    (void)state;
    struct fixture f;
    pid_t pids[PROCESSES];
    uint8_t pixels[MOST_PIXELS];
    const char head[] = "P6 3000 3000 255\n";
    const size_t size = sizeof head - 1 + (size_t)3000 * 3000 * 3;
    uint8_t *bytes = calloc(1, size);
    memcpy(bytes, head, sizeof head - 1);
    start_well(&f, NULL, 60);
    await_processes(&f, 0, pids);
    assert_int_equal(decode(&f, bytes, size, pixels, NULL), LIMOE_OK);
    for (int i = 0; i < PROCESSES; i++) {
        struct process_usage usage;
        assert_true(usage_read(pids[i], &usage));
        assert_in_range(usage.resident_bytes, 1, SANITIZED ? UINT64_MAX : (uint64_t)24 << 20); /* a sanitizer
                                                                            keeps freed memory to itself */
    }
    stop(&f);
    free(bytes);
}

static void try_open(void) {
    open("/dev/null", O_RDONLY | O_CLOEXEC);
}
static void try_socket(void) {
    socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}
static void try_exec(void) {
    execl("/bin/true", "true", (char *)NULL);
}
static void try_fork(void) {
    fork();
}
static void try_kill(void) {
    kill(getppid(), 0);
}
static void try_code(void) {
    mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}
static void try_other_descriptor(void) {
    char byte;
    (void)!read(STDIN_FILENO, &byte, 1);
}

/* What decoding needs stays: memory up to the limit, and no end when it is reached. */
static void try_decoding(void) {
    struct limoe_error err;
    void *small = malloc(1 << 16), *large = malloc(8 << 20);
    void *larger = realloc(large, 12 << 20);
    if (!small || !larger)
        _exit(1);
    free(larger);
    free(small);
    void *too_much = SANITIZED ? NULL : malloc((size_t)256 << 20);
    if (too_much || wire_message(&err, LIMOE_INVALID, "x", 1) != LIMOE_INVALID)
        _exit(2);
}

/* How a process ends that goes into the sandbox, does this, and exits with status 0. */
static int end_of(void (*attempt)(void)) {
    const pid_t child = fork();
    if (child == 0) {
        char why[128];
        if (!sandbox_enter(STDERR_FILENO, 64 << 20, why, sizeof why))
            _exit(3);
        attempt();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void test_what_the_sandbox_stops(void **state) {
    (void)state;
    static const struct {
        void (*attempt)(void);
        bool sanitizers_need_it;
    } attempts[] = {{try_open, true},  {try_socket, false}, {try_exec, false},           {try_fork, false},
                    {try_kill, false}, {try_code, true},    {try_other_descriptor, true}};
    assert_int_equal(end_of(try_decoding), 0);
    for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
        if (SANITIZED && attempts[i].sanitizers_need_it)
            continue;
        const int status = end_of(attempts[i].attempt);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
            fail_msg("attempt %zu ended with status 0x%x, not SIGSYS", i, (unsigned)status);
    }
}

int main(int argc, char **argv) {
    const char *how = getenv("TEST_DECODER");
    const char *stillborn = getenv("TEST_STILLBORN");
    if (argc > 1 && strcmp(argv[1], "decoder") == 0 && stillborn && access(stillborn, F_OK) == 0)
        return 7;
    if (argc > 1 && strcmp(argv[1], "decoder") == 0)
        return how ? fake_decoder(how) : decoder_main(argc - 1, argv + 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_same_bits_and_messages),
        cmocka_unit_test(test_limits_are_the_processors),
        cmocka_unit_test(test_a_picture_that_breaks_its_decoder_twice_fails),
        cmocka_unit_test(test_answers_that_are_none),
        cmocka_unit_test(test_w11_too_much_processor_time_is_the_pictures_fault),
        cmocka_unit_test(test_w11_a_decoder_without_a_processor_is_waited_for),
        cmocka_unit_test(test_w1_a_picture_that_nobody_wants_is_given_up),
        cmocka_unit_test(test_w2_a_picture_is_no_larger_than_it_was_taken_for),
        cmocka_unit_test(test_w13_decoders_are_replaced_after_their_share),
        cmocka_unit_test(test_w13_decoders_know_nothing_of_the_environment),
        cmocka_unit_test(test_w13_a_decoder_without_a_sandbox_is_refused),
        cmocka_unit_test(test_messages_are_cleaned),
        cmocka_unit_test(test_a_picture_whose_decoder_breaks_once_is_answered),
        cmocka_unit_test(test_a_decoder_that_does_not_start),
        cmocka_unit_test(test_no_decoder_at_all),
        cmocka_unit_test(test_an_idle_decoder_is_replaced),
        cmocka_unit_test(test_no_picture_fails_while_decoders_are_killed),
        cmocka_unit_test(test_the_sandbox_is_up),
        cmocka_unit_test(test_memory_of_a_large_picture_goes_back),
        cmocka_unit_test(test_what_the_sandbox_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
