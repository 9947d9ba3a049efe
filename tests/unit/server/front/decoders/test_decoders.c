/* test_decoders.c - protects the pool of picture decoders: the same pixels and messages as in this
 * process, whatever becomes of the decoders and whatever they answer. */
#include "tests/unit/server/front/decoders/decoders_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the same answers */

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
    expect("magic", LIMOE_INTERNAL, "twice: a malformed answer", 2);
    expect("status", LIMOE_INTERNAL, "twice: a malformed answer", 2);
    expect("more", LIMOE_INTERNAL, "twice: a malformed answer", 2);
    expect("huge", LIMOE_INTERNAL, "twice: a malformed answer", 2);
    expect("half", LIMOE_INTERNAL, "twice: no answer for 2 s", 2);
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

static int run(void) {
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
        cmocka_unit_test(test_messages_are_cleaned),
        cmocka_unit_test(test_a_picture_whose_decoder_breaks_once_is_answered),
        cmocka_unit_test(test_a_decoder_that_does_not_start),
        cmocka_unit_test(test_no_decoder_at_all),
        cmocka_unit_test(test_an_idle_decoder_is_replaced),
        cmocka_unit_test(test_no_picture_fails_while_decoders_are_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
    return fixture_main(argc, argv, run);
}
