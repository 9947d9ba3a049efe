/* test_classifiers.c - protects what a PUT has answered: it is there after kill -9, whole, for every server
 * that shares the file; and an answer never comes from an old matrix. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "server/front/store/classifiers.h"
#include "server/front/store/nearest.h"

#define EMBED       8
#define MOST_LABELS 300

static const struct classifier_model model = {.fingerprint = "model-1", .embed = EMBED};
static const struct classifier_model other = {.fingerprint = "model-2", .embed = EMBED};

static char dir[64], file[96];
static struct classifiers *store;
static struct limoe_error err;

static struct classifiers *open_with(size_t most, size_t cache_bytes) {
    struct classifiers *opened = NULL;
    const struct classifiers_options options = {.dir = dir, .most = most, .cache_bytes = cache_bytes};
    if (classifiers_open(&options, &opened, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    return opened;
}

static int set_up(void **state) {
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/limoe-classifiers-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    strcat(dir, "/a/b"); /* neither is there yet */
    snprintf(file, sizeof file, "%s/classifiers.db", dir);
    store = open_with(0, 0);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    classifiers_close(store);
    store = NULL;
    dir[strlen(dir) - strlen("/a/b")] = '\0';
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", dir);
    return system(command);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* ---- classifiers whose every byte follows from one number */

static size_t labels_of(unsigned number) {
    return 1 + number % MOST_LABELS;
}

static float vector_at(unsigned number, size_t i) {
    return (float)number + (float)i / 4;
}

struct times {
    int64_t created, updated;
};

static enum store_outcome try_put(struct classifiers *into, const char *name, unsigned number,
                                  struct times *times) {
    static _Thread_local char texts[MOST_LABELS][64];
    static _Thread_local struct text labels[MOST_LABELS];
    static _Thread_local float matrix[MOST_LABELS * EMBED];
    const size_t n = labels_of(number);
    for (size_t i = 0; i < n; i++) {
        snprintf(texts[i], sizeof texts[i], "étiquette \"%u\" %zu", number, i);
        labels[i] = text_of(texts[i]);
    }
    for (size_t i = 0; i < n * EMBED; i++)
        matrix[i] = vector_at(number, i);
    const struct text templates[2] = {text_of("a {}"), text_of("{}\n")};
    const struct classifier_draft draft = {
        .name = text_of(name),
        .labels = labels,
        .n_labels = n,
        .templates = templates,
        .n_templates = 1 + number % 2,
        .matrix = matrix,
        .prompt_tokens = number,
    };
    struct store_job *job = store_job_put(&draft, &model);
    const enum store_outcome outcome = classifiers_wait(into, &job, &err);
    if (times && outcome == STORE_DONE)
        *times = (struct times){.created = job->created, .updated = job->updated};
    store_job_free(job);
    return outcome;
}

static struct times put(struct classifiers *into, const char *name, unsigned number) {
    struct times times;
    if (try_put(into, name, number, &times) != STORE_DONE)
        fail_msg("%s: %s", name, err.message);
    return times;
}

static enum store_outcome try_get(struct classifiers *from, const char *name,
                                  const struct classifier_model *whose, const struct classifier **found) {
    *found = classifiers_recall(from, text_of(name), whose, false);
    if (*found)
        return STORE_DONE;
    struct store_job *job = store_job_get(text_of(name), whose);
    const enum store_outcome outcome = classifiers_wait(from, &job, &err);
    if (outcome == STORE_DONE) {
        *found = job->classifier;
        job->classifier = NULL;
    }
    store_job_free(job);
    return outcome;
}

/* Whether it was there. */
static bool delete (struct classifiers *from, const char *name) {
    struct store_job *job = store_job_delete(text_of(name));
    if (classifiers_wait(from, &job, &err) != STORE_DONE)
        fail_msg("%s: %s", name, err.message);
    const bool found = job->found;
    store_job_free(job);
    return found;
}

static void put_matrix(const struct classifier *of, const struct classifier_model *whose, const float *matrix,
                       uint64_t tokens) {
    struct store_job *job = store_job_put_matrix(of, whose, matrix, tokens);
    if (classifiers_wait(store, &job, &err) != STORE_DONE)
        fail_msg("%s", err.message);
    store_job_free(job);
}

static const struct classifier *next_without_like(const char *after, const struct classifier_model *whose,
                                                  const char *like) {
    struct store_job *job = store_job_next_without(text_of(after), whose, like);
    if (classifiers_wait(store, &job, &err) != STORE_DONE)
        fail_msg("%s", err.message);
    const struct classifier *found = job->classifier;
    job->classifier = NULL;
    store_job_free(job);
    return found;
}

static const struct classifier *next_without(const char *after, const struct classifier_model *whose) {
    return next_without_like(after, whose, NULL);
}

/* The caller frees the job with the page in it. */
static struct store_job *list(struct text after, size_t limit) {
    struct store_job *job = store_job_list(after, limit);
    if (classifiers_wait(store, &job, &err) != STORE_DONE)
        fail_msg("%s", err.message);
    return job;
}

static const struct classifier *get_for(struct classifiers *from, const char *name,
                                        const struct classifier_model *whose) {
    const struct classifier *found = NULL;
    if (try_get(from, name, whose, &found) != STORE_DONE)
        fail_msg("%s: %s", name, err.message);
    return found;
}

/* True when the classifier is the one of this number, to its last byte. */
static bool is_whole(const struct classifier *found, unsigned number) {
    char text[64];
    if (found->n_labels != labels_of(number) || found->n_templates != 1 + number % 2 ||
        !text_is(found->templates[0], "a {}") || !found->matrix || found->prompt_tokens != number)
        return false;
    for (size_t i = 0; i < found->n_labels; i++) {
        snprintf(text, sizeof text, "étiquette \"%u\" %zu", number, i);
        if (!text_is(found->labels[i], text))
            return false;
    }
    for (size_t i = 0; i < found->n_labels * EMBED; i++)
        if (found->matrix[i] != vector_at(number, i))
            return false;
    return true;
}

static void assert_stored(struct classifiers *from, const char *name, unsigned number) {
    const struct classifier *found = get_for(from, name, &model);
    assert_non_null(found);
    assert_true(text_is(found->name, name));
    assert_true(is_whole(found, number));
    classifier_release(found);
}

static void assert_absent(struct classifiers *from, const char *name) {
    assert_null(get_for(from, name, &model));
}

/* ---- what is put */

static void what_was_put_is_there_and_stays(void **state) {
    (void)state;
    assert_absent(store, "a");
    const struct times times = put(store, "a", 41);
    assert_true(times.created > 1700000000 && times.updated == times.created);
    assert_stored(store, "a", 41);
    assert_stored(store, "a", 41); /* from memory */
    put(store, "a", 42);
    assert_stored(store, "a", 42);
    assert_absent(store, "A");

    classifiers_close(store);
    store = open_with(0, 0);
    assert_stored(store, "a", 42);
    const struct classifier *found = get_for(store, "a", &model);
    assert_int_equal(found->created, times.created);
    classifier_release(found);

    assert_true(delete (store, "a"));
    assert_absent(store, "a");
    assert_false(delete (store, "a"));
}

static void the_directory_is_its_owners_alone(void **state) {
    (void)state;
    struct stat at;
    assert_int_equal(stat(dir, &at), 0);
    assert_int_equal(at.st_mode & 0777, 0700);
}

static void a_change_is_seen_by_all_servers_and_holders_keep_theirs(void **state) {
    (void)state;
    struct classifiers *second = open_with(0, 0);
    put(store, "a", 1);
    put(store, "b", 2);
    assert_stored(second, "a", 1);
    const struct classifier *held = get_for(second, "a", &model);
    put(store, "a", 3);
    assert_stored(second, "a", 3);
    assert_stored(second, "b", 2);
    assert_true(is_whole(held, 1));
    put(second, "b", 4);
    assert_stored(store, "b", 4);
    assert_true(delete (store, "a"));
    assert_absent(second, "a");
    put(store, "a", 1); /* the same again, but another one */
    assert_stored(second, "a", 1);
    classifiers_close(second);
    assert_true(is_whole(held, 1)); /* even past its store's end */
    classifier_release(held);
    classifier_release(NULL);
}

static void a_matrix_is_its_models_alone(void **state) {
    (void)state;
    const struct classifier_model wider = {.fingerprint = model.fingerprint, .embed = EMBED + 1};
    float matrix[MOST_LABELS * EMBED];
    for (size_t i = 0; i < MOST_LABELS * EMBED; i++)
        matrix[i] = -(float)i;
    put(store, "a", 6);
    const struct classifier *bare = get_for(store, "a", &other);
    assert_non_null(bare);
    assert_null(bare->matrix);
    assert_int_equal(bare->prompt_tokens, 0);
    assert_int_equal(bare->n_labels, labels_of(6));

    const struct classifier *wide = get_for(store, "a", &wider);
    assert_null(wide->matrix);
    classifier_release(wide);

    put_matrix(bare, &other, matrix, 77);
    const struct classifier *found = get_for(store, "a", &other);
    assert_non_null(found->matrix);
    assert_memory_equal(found->matrix, matrix, labels_of(6) * EMBED * sizeof(float));
    assert_int_equal(found->prompt_tokens, 77);
    classifier_release(found);
    assert_stored(store, "a", 6); /* the first model's is still there */

    /* A third model's pushes out the oldest. */
    const struct classifier_model third = {.fingerprint = "model-3", .embed = EMBED};
    put_matrix(bare, &third, matrix, 1);
    classifiers_close(store);
    store = open_with(0, 0);
    const struct classifier *first = get_for(store, "a", &model);
    assert_null(first->matrix);
    classifier_release(first);
    found = get_for(store, "a", &other);
    assert_non_null(found->matrix);
    classifier_release(found);
    classifier_release(bare);
}

static void a_matrix_of_old_labels_is_not_stored(void **state) {
    (void)state;
    float matrix[MOST_LABELS * EMBED] = {0};
    put(store, "a", 6);
    const struct classifier *old = get_for(store, "a", &other);
    put(store, "a", 6 + MOST_LABELS); /* as many labels, others */
    put_matrix(old, &other, matrix, 1);
    const struct classifier *found = get_for(store, "a", &other);
    assert_null(found->matrix);
    classifier_release(found);

    assert_true(delete (store, "a"));
    put_matrix(old, &other, matrix, 1);
    assert_absent(store, "a");
    classifier_release(old);
}

static void those_without_a_matrix_are_found_in_turn(void **state) {
    (void)state;
    const char *names[] = {"a", "b", "c"};
    float matrix[MOST_LABELS * EMBED] = {0};
    char after[8] = "";
    for (unsigned i = 0; i < 3; i++)
        put(store, names[i], i);
    const struct classifier *b = get_for(store, "b", &other), *next;
    put_matrix(b, &other, matrix, 1);
    classifier_release(b);
    for (unsigned i = 0; i < 3; i += 2) {
        next = next_without(after, &other);
        assert_non_null(next);
        assert_true(text_is(next->name, names[i]));
        strcpy(after, names[i]);
        classifier_release(next);
    }
    next = next_without(after, &other);
    assert_null(next);
    next = next_without("", &model);
    assert_null(next);
}

/* A reload of one model makes ready what was used with it, and nothing else. */
static void those_of_another_model_are_found_in_turn(void **state) {
    (void)state;
    const struct classifier_model next_model = {.fingerprint = "model-3", .embed = EMBED};
    float matrix[MOST_LABELS * EMBED] = {0};
    put(store, "a", 1);
    put(store, "b", 2);
    put(store, "c", 3);
    const struct classifier *b = get_for(store, "b", &other), *found;
    put_matrix(b, &other, matrix, 1);
    classifier_release(b);
    found = next_without_like("", &next_model, other.fingerprint);
    assert_non_null(found);
    assert_true(text_is(found->name, "b"));
    assert_null(found->matrix);
    put_matrix(found, &next_model, matrix, 1);
    classifier_release(found);
    assert_null(next_without_like("", &next_model, other.fingerprint));
    assert_null(next_without_like("", &next_model, "nobody's"));
    found = next_without_like("", &next_model, model.fingerprint);
    assert_true(text_is(found->name, "a"));
    classifier_release(found);
}

/* With several models each has its matrix beside the others', and the one before. */
static void as_many_matrices_are_kept_as_there_are_models(void **state) {
    (void)state;
    char fingerprints[5][8];
    float matrix[MOST_LABELS * EMBED] = {0};
    classifiers_close(store);
    const struct classifiers_options options = {.dir = dir, .models = 3};
    assert_int_equal(classifiers_open(&options, &store, &err), LIMOE_OK);
    put(store, "a", 6);
    for (int i = 0; i < 5; i++) {
        snprintf(fingerprints[i], sizeof fingerprints[i], "f%d", i);
        const struct classifier_model whose = {.fingerprint = fingerprints[i], .embed = EMBED};
        const struct classifier *of = get_for(store, "a", &whose);
        put_matrix(of, &whose, matrix, 1);
        classifier_release(of);
    }
    classifiers_close(store); /* what is in memory does not count */
    assert_int_equal(classifiers_open(&options, &store, &err), LIMOE_OK);
    for (int i = 0; i < 5; i++) {
        const struct classifier_model whose = {.fingerprint = fingerprints[i], .embed = EMBED};
        const struct classifier *found = get_for(store, "a", &whose);
        assert_int_equal(found->matrix != NULL, i > 0);
        classifier_release(found);
    }
}

static void their_number_is_bounded(void **state) {
    (void)state;
    classifiers_close(store);
    store = open_with(3, 0);
    put(store, "a", 1);
    put(store, "b", 2);
    put(store, "c", 3);
    assert_int_equal(try_put(store, "d", 4, NULL), STORE_TOO_MANY);
    assert_non_null(strstr(err.message, "3 classifiers are stored"));
    put(store, "c", 5); /* in place of another */
    assert_absent(store, "d");
    assert_true(delete (store, "a"));
    put(store, "d", 4);
    assert_stored(store, "d", 4);
}

/* What memory does not hold is read again; nothing is lost or mixed up by it. */
static void memory_is_bounded(void **state) {
    (void)state;
    char name[16];
    classifiers_close(store);
    store = open_with(0, 60000);
    for (unsigned i = 0; i < 60; i++) {
        snprintf(name, sizeof name, "c%u", i);
        put(store, name, i * 7);
    }
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < 60; i++) {
            snprintf(name, sizeof name, "c%u", i);
            assert_stored(store, name, i * 7);
        }
}

static void they_are_listed_in_pages(void **state) {
    (void)state;
    static const char *const names[] = {"A", "a", "a.b", "b", "c-1", "c_1"};
    struct store_job *job = list(text_of(""), 10);
    assert_int_equal(job->page.n, 0);
    assert_false(job->page.more);
    store_job_free(job);
    for (unsigned i = 6; i-- > 0;)
        put(store, names[i], i);

    char after[8] = "";
    for (unsigned at = 0; at < 6; at += 2) {
        job = list(text_of(after), 2);
        assert_int_equal(job->page.n, 2);
        assert_int_equal(job->page.more, at < 4);
        for (unsigned i = 0; i < 2; i++) {
            const struct classifier_summary *summary = &job->page.summaries[i];
            assert_true(text_is(summary->name, names[at + i]));
            assert_int_equal(summary->label_count, labels_of(at + i));
            assert_int_equal(summary->template_count, 1 + (at + i) % 2);
            assert_true(summary->created > 1700000000);
        }
        strcpy(after, names[at + 1]);
        store_job_free(job);
    }
    job = list(text_of(after), 2);
    assert_int_equal(job->page.n, 0);
    store_job_free(job);
}

static struct store_job *missed(const char *name) {
    struct store_job *job = store_job_get(text_of(name), &model);
    assert_int_equal(classifiers_wait(store, &job, &err), STORE_DONE);
    assert_false(job->found);
    assert_null(job->classifier);
    return job;
}

static void names_alike_are_found(void **state) {
    (void)state;
    put(store, "animals", 1);
    put(store, "animal", 1);
    put(store, "anomalies", 1);
    put(store, "x", 1);
    put(store, "animalss", 1);
    put(store, "animalx", 1);
    struct store_job *job = missed("anmals");
    assert_int_equal(job->n_nearest, 3);
    assert_true(text_is(job->nearest[0], "animals"));
    assert_true(text_is(job->nearest[1], "animal"));
    assert_true(text_is(job->nearest[2], "animalss"));
    store_job_free(job);
    job = missed("vehicles");
    assert_int_equal(job->n_nearest, 0);
    store_job_free(job);
}

static void distance(const char *a, const char *b, unsigned expected) {
    assert_int_equal(nearest_distance(text_of(a), text_of(b)), expected);
    assert_int_equal(nearest_distance(text_of(b), text_of(a)), expected);
}

static void distances_are_right_up_to_their_limit(void **state) {
    (void)state;
    char a[140], b[140];
    distance("", "", 0);
    distance("abc", "abc", 0);
    distance("", "abc", 3);
    distance("", "abcd", NEAREST_FAR);
    distance("kitten", "sitting", 3);
    distance("abc", "xyz", 3);
    distance("abcd", "wxyz", NEAREST_FAR);
    distance("12345678", "2345678", 1);
    distance("123456789", "456789", 3);
    distance("0123456789", "3456789012", NEAREST_FAR);
    memset(a, 'a', sizeof a);
    memset(b, 'a', sizeof b);
    a[128] = b[128] = '\0';
    b[100] = 'b';
    distance(a, b, 1);
    b[125] = '\0';
    distance(a, b, NEAREST_FAR);
    b[125] = 'a';
    a[128] = b[128] = 'a';
    a[129] = b[129] = '\0'; /* longer than any name */
    distance(a, b, NEAREST_FAR);
}

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

static void sql(const char *statements) {
    sqlite3 *handle;
    assert_int_equal(sqlite3_open(file, &handle), SQLITE_OK);
    assert_int_equal(sqlite3_exec(handle, statements, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(handle), SQLITE_OK);
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

/* ---- a disk in trouble */

static double seconds_since(const struct timespec *began) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - began->tv_sec) + (double)(now.tv_nsec - began->tv_nsec) / 1e9;
}

static struct timespec now(void) {
    struct timespec began;
    clock_gettime(CLOCK_MONOTONIC, &began);
    return began;
}

static void wait_until_good(void) {
    const struct timespec began = now();
    struct classifiers_state found;
    do {
        usleep(20000);
        classifiers_state(store, &found);
    } while (!(found.reading && found.writing) && seconds_since(&began) < 30);
    assert_true(found.reading && found.writing);
}

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

static void w14_their_bytes_are_bounded(void **state) {
    (void)state;
    char name[16];
    unsigned n = 0;
    const uint64_t limit = UINT64_C(1) << 20;
    const struct classifiers_options options = {.dir = dir, .disk_bytes = limit};
    struct classifiers_state found;
    struct stat size;
    classifiers_close(store);
    assert_int_equal(classifiers_open(&options, &store, &err), LIMOE_OK);
    for (; n < 1000; n++) {
        snprintf(name, sizeof name, "c%u", n);
        const enum store_outcome outcome = try_put(store, name, MOST_LABELS - 1, NULL);
        if (outcome == STORE_FULL)
            break;
        assert_int_equal(outcome, STORE_DONE);
    }
    assert_in_range(n, 10, 999);
    assert_int_equal(err.status, LIMOE_TOO_LARGE);
    assert_non_null(strstr(err.message, "--classifier-bytes"));
    assert_int_equal(stat(file, &size), 0);
    assert_true((uint64_t)size.st_size <= limit);
    classifiers_state(store, &found);
    assert_int_equal(found.limit_bytes, limit);
    assert_in_range(found.bytes, limit / 2, limit);

    put(store, "c0", 0); /* a smaller one in place of another has room, and so has one after a DELETE */
    assert_true(delete (store, "c1"));
    put(store, "again", MOST_LABELS - 1);
    assert_stored(store, "again", MOST_LABELS - 1);
    assert_stored(store, "c2", MOST_LABELS - 1);
}

/* ---- a full disk, and one that hangs: SQLite's default VFS, with files that cannot grow while `full` is
 * set, and whose locks are not even answered while `hangs` is */

static atomic_bool full, hangs;

struct tight_file {
    sqlite3_file base;
    sqlite3_file *real;
};

static sqlite3_io_methods tight_methods;
static sqlite3_vfs tight_vfs;

static sqlite3_file *real_of(sqlite3_file *of) {
    return ((struct tight_file *)of)->real;
}

static int tight_close(sqlite3_file *of) {
    return real_of(of)->pMethods->xClose(real_of(of));
}
static int tight_read(sqlite3_file *of, void *out, int n, sqlite3_int64 at) {
    return real_of(of)->pMethods->xRead(real_of(of), out, n, at);
}
static int tight_write(sqlite3_file *of, const void *bytes, int n, sqlite3_int64 at) {
    sqlite3_int64 size = 0;
    real_of(of)->pMethods->xFileSize(real_of(of), &size);
    if (full && at + n > size)
        return SQLITE_FULL;
    return real_of(of)->pMethods->xWrite(real_of(of), bytes, n, at);
}
static int tight_truncate(sqlite3_file *of, sqlite3_int64 size) {
    return real_of(of)->pMethods->xTruncate(real_of(of), size);
}
static int tight_sync(sqlite3_file *of, int flags) {
    return real_of(of)->pMethods->xSync(real_of(of), flags);
}
static int tight_size(sqlite3_file *of, sqlite3_int64 *size) {
    return real_of(of)->pMethods->xFileSize(real_of(of), size);
}
static int tight_lock(sqlite3_file *of, int level) {
    while (atomic_load(&hangs))
        usleep(10000);
    return real_of(of)->pMethods->xLock(real_of(of), level);
}
static int tight_unlock(sqlite3_file *of, int level) {
    return real_of(of)->pMethods->xUnlock(real_of(of), level);
}
static int tight_reserved(sqlite3_file *of, int *out) {
    return real_of(of)->pMethods->xCheckReservedLock(real_of(of), out);
}
static int tight_control(sqlite3_file *of, int operation, void *argument) {
    return real_of(of)->pMethods->xFileControl(real_of(of), operation, argument);
}
static int tight_sector(sqlite3_file *of) {
    return real_of(of)->pMethods->xSectorSize(real_of(of));
}
static int tight_traits(sqlite3_file *of) {
    return real_of(of)->pMethods->xDeviceCharacteristics(real_of(of));
}

static int tight_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *of, int flags, int *out) {
    struct tight_file *opened = (struct tight_file *)of;
    sqlite3_vfs *real = vfs->pAppData;
    opened->real = (sqlite3_file *)(opened + 1);
    const int code = real->xOpen(real, name, opened->real, flags, out);
    opened->base.pMethods = opened->real->pMethods ? &tight_methods : NULL;
    return code;
}

static void use_tight_vfs(bool use) {
    sqlite3_vfs *real = sqlite3_vfs_find("unix");
    if (!use) {
        sqlite3_vfs_unregister(&tight_vfs);
        sqlite3_vfs_register(real, 1);
        return;
    }
    tight_vfs = *real;
    tight_vfs.pNext = NULL;
    tight_vfs.zName = "tight";
    tight_vfs.szOsFile = (int)sizeof(struct tight_file) + real->szOsFile;
    tight_vfs.pAppData = real;
    tight_vfs.xOpen = tight_open;
    tight_methods = (sqlite3_io_methods){
        .iVersion = 1,
        .xClose = tight_close,
        .xRead = tight_read,
        .xWrite = tight_write,
        .xTruncate = tight_truncate,
        .xSync = tight_sync,
        .xFileSize = tight_size,
        .xLock = tight_lock,
        .xUnlock = tight_unlock,
        .xCheckReservedLock = tight_reserved,
        .xFileControl = tight_control,
        .xSectorSize = tight_sector,
        .xDeviceCharacteristics = tight_traits,
    };
    sqlite3_vfs_register(&tight_vfs, 1);
}

static void w6_a_disk_that_hangs_holds_up_nobody(void **state) {
    (void)state;
    const struct classifier *found;
    struct classifiers_state health;
    classifiers_close(store);
    use_tight_vfs(true);
    store = open_with(0, 0);
    put(store, "a", 1);
    atomic_store(&hangs, true);
    const struct timespec began = now();
    assert_int_equal(try_put(store, "b", 2, NULL), STORE_BUSY);
    assert_int_equal(try_get(store, "c", &model, &found), STORE_BUSY);
    assert_true(seconds_since(&began) < 10);
    classifiers_state(store, &health);
    assert_false(health.writing);
    assert_stored(store, "a", 1);
    atomic_store(&hangs, false);
    wait_until_good();
    assert_absent(store, "c");
    put(store, "b", 3);
    assert_stored(store, "b", 3);
    classifiers_close(store);
    use_tight_vfs(false);
    store = open_with(0, 0);
    assert_stored(store, "b", 3);
}

static void w14_a_full_disk_takes_a_delete(void **state) {
    (void)state;
    char name[16];
    classifiers_close(store);
    use_tight_vfs(true);
    store = open_with(0, 0);
    for (unsigned i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "c%u", i);
        put(store, name, MOST_LABELS - 1 - i);
    }
    full = true;
    assert_int_equal(try_put(store, "more", MOST_LABELS - 1, NULL), STORE_FULL);
    assert_stored(store, "c7", MOST_LABELS - 1 - 7); /* nothing is lost by it */
    for (unsigned i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "c%u", i);
        assert_true(delete (store, name));
        assert_absent(store, name);
    }
    put(store, "more", 3); /* what was deleted has made room */
    assert_stored(store, "more", 3);
    full = false;
    classifiers_close(store);
    use_tight_vfs(false);
    store = open_with(0, 0);
    assert_absent(store, "c7");
    assert_stored(store, "c20", MOST_LABELS - 1 - 20);
    assert_stored(store, "more", 3);
}

/* ---- kill -9 */

#define WRITES 200
#define NAMES  7

/* The child puts; each acknowledged number goes down the pipe. It is killed somewhere in the middle. */
static void no_kill_loses_or_halves_what_was_acknowledged(void **state) {
    (void)state;
    unsigned acknowledged = 0;
    for (unsigned round = 0; round < 5; round++) {
        int pipe_ends[2];
        classifiers_close(store);
        store = NULL;
        assert_int_equal(pipe(pipe_ends), 0);
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            const struct classifiers_options options = {.dir = dir};
            struct classifiers *mine;
            if (classifiers_open(&options, &mine, &err) != LIMOE_OK)
                _exit(1);
            for (unsigned i = acknowledged + 1; i <= WRITES; i++) {
                char name[16];
                snprintf(name, sizeof name, "c%u", i % NAMES);
                if (try_put(mine, name, i, NULL) != STORE_DONE ||
                    write(pipe_ends[1], &i, sizeof i) != sizeof i)
                    _exit(1);
            }
            pause();
        }
        close(pipe_ends[1]);
        const unsigned until = round < 4 ? (round + 1) * WRITES / 5 : WRITES;
        unsigned number;
        while (acknowledged < until) {
            assert_int_equal(read(pipe_ends[0], &number, sizeof number), sizeof number);
            acknowledged = number;
        }
        assert_int_equal(kill(child, SIGKILL), 0);
        while (read(pipe_ends[0], &number, sizeof number) == sizeof number)
            acknowledged = number; /* answered before it died */
        close(pipe_ends[0]);
        assert_int_equal(waitpid(child, NULL, 0), child);

        store = open_with(0, 0);
        for (unsigned i = 0; i < NAMES; i++) {
            char name[16];
            snprintf(name, sizeof name, "c%u", i);
            unsigned last = acknowledged - (acknowledged + NAMES - i) % NAMES; /* of this name */
            const struct classifier *found = get_for(store, name, &model);
            assert_non_null(found);
            /* One more may be on the disk than was answered: the one that the kill met. */
            assert_true(is_whole(found, last) ||
                        (last + NAMES == acknowledged + 1 && is_whole(found, last + NAMES)));
            classifier_release(found);
        }
    }
    assert_int_equal(acknowledged, WRITES);
}

/* ---- threads */

#define TURNS 60

static void *write_often(void *argument) {
    (void)argument;
    for (unsigned i = 0; i < TURNS; i++)
        if (try_put(store, i % 2 ? "x" : "y", i, NULL) != STORE_DONE)
            abort();
    return NULL;
}

static void *read_often(void *argument) {
    unsigned *wrong = argument;
    for (unsigned i = 0; i < TURNS * 20; i++) {
        const struct classifier *found;
        if (try_get(store, i % 2 ? "x" : "y", &model, &found) != STORE_DONE || !found)
            abort();
        *wrong += !is_whole(found, (unsigned)found->prompt_tokens);
        classifier_release(found);
    }
    return NULL;
}

static void threads_read_while_others_write(void **state) {
    (void)state;
    pthread_t writer, readers[3];
    unsigned wrong[3] = {0};
    put(store, "x", 1);
    put(store, "y", 2);
    assert_int_equal(pthread_create(&writer, NULL, write_often, NULL), 0);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, read_often, &wrong[i]), 0);
    for (unsigned i = 0; i < 3; i++) {
        pthread_join(readers[i], NULL);
        assert_int_equal(wrong[i], 0);
    }
    pthread_join(writer, NULL);
    assert_stored(store, "x", TURNS - 1);
    assert_stored(store, "y", TURNS - 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_was_put_is_there_and_stays),
        TEST(the_directory_is_its_owners_alone),
        TEST(a_change_is_seen_by_all_servers_and_holders_keep_theirs),
        TEST(a_matrix_is_its_models_alone),
        TEST(a_matrix_of_old_labels_is_not_stored),
        TEST(those_without_a_matrix_are_found_in_turn),
        TEST(those_of_another_model_are_found_in_turn),
        TEST(as_many_matrices_are_kept_as_there_are_models),
        TEST(their_number_is_bounded),
        TEST(memory_is_bounded),
        TEST(they_are_listed_in_pages),
        TEST(names_alike_are_found),
        cmocka_unit_test(distances_are_right_up_to_their_limit),
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
        TEST(w14_their_bytes_are_bounded),
        TEST(w6_a_disk_that_hangs_holds_up_nobody),
        TEST(w14_a_full_disk_takes_a_delete),
        TEST(no_kill_loses_or_halves_what_was_acknowledged),
        TEST(threads_read_while_others_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
