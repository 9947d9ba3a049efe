/* test_classifiers_file.c - protects the file of the classifiers: what is none of ours is refused and left
 * alone, damage is an error and never an answer, and a lock that another process holds stops nobody for
 * long. */
#include "tests/unit/server/front/store/classifiers_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- files that are not what they should be */

static void overwrite(long at, const void *bytes, size_t size) {
    FILE *out = fopen(file, "r+b");
    assert_non_null(out);
    assert_int_equal(fseek(out, at, SEEK_SET), 0);
    assert_int_equal(fwrite(bytes, 1, size, out), size);
    assert_int_equal(fclose(out), 0);
}

static void refused_at_start(enum limoe_status status, const char *message) {
    struct classifiers *opened = NULL;
    const struct classifiers_options options = {.dir = dir};
    assert_int_equal(classifiers_open(&options, &opened, &err), status);
    if (!strstr(err.message, message) || !strstr(err.message, file))
        fail_msg("\"%s\" says neither \"%s\" nor \"%s\"", err.message, message, file);
}

static void a_file_that_is_none_is_refused(void **state) {
    (void)state;
    char junk[8192];
    classifiers_close(store);
    store = NULL;
    memset(junk, '#', sizeof junk);
    overwrite(0, junk, sizeof junk);
    refused_at_start(LIMOE_CORRUPT, "not a database");
}

static void a_damaged_file_is_refused(void **state) {
    (void)state;
    char junk[4096];
    char name[16];
    for (unsigned i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "c%u", i);
        put(store, name, i);
    }
    classifiers_close(store); /* the log is gone into the file */
    store = NULL;
    memset(junk, '#', sizeof junk);
    overwrite(4096, junk, sizeof junk); /* the second page */
    refused_at_start(LIMOE_CORRUPT, "");
}

static void another_programs_database_is_refused_and_left_alone(void **state) {
    (void)state;
    classifiers_close(store);
    store = NULL;
    assert_int_equal(unlink(file), 0);
    sql("CREATE TABLE recipes(name TEXT)");
    refused_at_start(LIMOE_CORRUPT, "another program");
    sql("INSERT INTO recipes VALUES('cake')");
}

static void a_later_version_is_refused(void **state) {
    (void)state;
    classifiers_close(store);
    store = NULL;
    sql("PRAGMA user_version = 2");
    refused_at_start(LIMOE_UNSUPPORTED, "schema version 2");
}

static void a_damaged_row_is_an_error_not_an_answer(void **state) {
    (void)state;
    const struct classifier *found = NULL;
    put(store, "b", 5);
    put(store, "c", 5);
    sql("UPDATE classifier SET labels = '[1]' WHERE name = 'b'");
    sql("UPDATE matrix SET vectors = x'00000000'");
    classifiers_close(store); /* and what was put is not in memory any more */
    store = open_with(0, 0);
    assert_int_equal(try_get(store, "b", &model, &found), STORE_FAILED);
    assert_int_equal(err.status, LIMOE_CORRUPT);
    assert_null(found);
    assert_int_equal(try_get(store, "c", &model, &found), STORE_FAILED);
    assert_int_equal(err.status, LIMOE_CORRUPT);
    assert_non_null(strstr(err.message, "\"c\""));
    assert_null(found);
    put(store, "c", 5);
    assert_stored(store, "c", 5);
}

static void a_directory_that_cannot_be_made_is_named(void **state) {
    (void)state;
    struct classifiers *opened = NULL;
    char below[128];
    snprintf(below, sizeof below, "%s/x", file);
    const struct classifiers_options options = {.dir = below};
    assert_int_equal(classifiers_open(&options, &opened, &err), LIMOE_IO);
    assert_non_null(strstr(err.message, below));
}

/* ---- a file that others use, or have used */

/* Another process that has the file for itself until release_file. The child of a program with threads, it
 * keeps to system calls: these are the bytes that SQLite locks. */
struct holder {
    pid_t pid;
    int let_go;
};

static struct holder hold_file(void) {
    const struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0x40000000, .l_len = 512};
    int ready[2], let_go[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(let_go), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(let_go[1]);
        const int fd = open(file, O_RDWR);
        if (fd >= 0 && fcntl(fd, F_SETLKW, &lock) == 0 && write(ready[1], "!", 1) == 1)
            _exit(read(let_go[0], &byte, 1) != 0);
        _exit(1);
    }
    close(ready[1]);
    close(let_go[0]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return (struct holder){.pid = child, .let_go = let_go[1]};
}

static void release_file(const struct holder *holder) {
    close(holder->let_go);
    assert_int_equal(waitpid(holder->pid, NULL, 0), holder->pid);
}

static void w6_a_locked_file_is_waited_for_a_second_and_memory_serves(void **state) {
    (void)state;
    const struct classifier *found;
    struct classifiers_state health;
    put(store, "kept", 7);
    const struct holder holder = hold_file();

    struct timespec began = now();
    for (unsigned i = 0; i < 1000; i++)
        assert_stored(store, "kept", 7);
    assert_true(seconds_since(&began) < 0.9);

    began = now();
    assert_int_equal(try_get(store, "other", &model, &found), STORE_BUSY);
    assert_true(seconds_since(&began) < 10);
    assert_int_equal(try_put(store, "kept", 8, NULL), STORE_BUSY);
    classifiers_state(store, &health);
    assert_false(health.reading);
    assert_false(health.writing);
    assert_non_null(strstr(health.why, "locked by another process"));
    assert_stored(store, "kept", 7);

    release_file(&holder);
    wait_until_good();
    assert_absent(store, "other");
    assert_stored(store, "kept", 7);
    put(store, "kept", 8);
    assert_stored(store, "kept", 8);
}

static void w6_a_file_locked_at_the_start_is_opened_later(void **state) {
    (void)state;
    struct classifiers_state health;
    const struct classifier *found;
    put(store, "a", 3);
    classifiers_close(store);
    const struct holder holder = hold_file();
    store = open_with(0, 0);
    classifiers_state(store, &health);
    assert_int_equal(try_get(store, "a", &model, &found), STORE_BUSY);
    release_file(&holder);
    wait_until_good();
    assert_stored(store, "a", 3);
}

static bool is_there(const char *suffix) {
    char path[128];
    snprintf(path, sizeof path, "%s%s", file, suffix);
    return access(path, F_OK) == 0;
}

static void w12_nothing_of_the_file_is_shared_in_memory(void **state) {
    (void)state;
    put(store, "a", 1);
    assert_stored(store, "a", 1);
    assert_false(is_there("-shm"));
    assert_false(is_there("-wal"));
    assert_true(is_there("-journal"));
}

static void w12_a_file_with_a_write_ahead_log_is_taken_over(void **state) {
    (void)state;
    put(store, "a", 1);
    classifiers_close(store);
    sql("PRAGMA journal_mode = WAL; UPDATE classifier SET created = 12345");
    store = open_with(0, 0);
    const struct classifier *found = get_for(store, "a", &model);
    assert_non_null(found);
    assert_int_equal(found->created, 12345);
    classifier_release(found);
    assert_false(is_there("-shm"));
    assert_false(is_there("-wal"));
    put(store, "b", 2);
    assert_stored(store, "b", 2);
}

/* Somebody cuts the file short: an error, and what memory has is served on. */
static void w12_a_file_cut_short_is_an_error(void **state) {
    (void)state;
    const struct classifier *found;
    put(store, "a", 1);
    assert_int_equal(truncate(file, 0), 0);
    assert_int_equal(try_get(store, "a", &model, &found), STORE_FAILED);
    found = classifiers_recall(store, text_of("a"), &model, true);
    assert_non_null(found);
    classifier_release(found);
    assert_int_equal(try_put(store, "b", 2, NULL), STORE_FAILED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_file_that_is_none_is_refused),
        TEST(a_damaged_file_is_refused),
        TEST(another_programs_database_is_refused_and_left_alone),
        TEST(a_later_version_is_refused),
        TEST(a_damaged_row_is_an_error_not_an_answer),
        TEST(a_directory_that_cannot_be_made_is_named),
        TEST(w6_a_locked_file_is_waited_for_a_second_and_memory_serves),
        TEST(w6_a_file_locked_at_the_start_is_opened_later),
        TEST(w12_nothing_of_the_file_is_shared_in_memory),
        TEST(w12_a_file_with_a_write_ahead_log_is_taken_over),
        TEST(w12_a_file_cut_short_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
