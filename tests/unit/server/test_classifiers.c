/* test_classifiers.c - protects what a PUT has answered: it is there after kill -9, whole, for every server
 * that shares the file; and an answer never comes from an old matrix. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/classifiers.h"
#include "store/nearest.h"

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

static enum limoe_status try_put(struct classifiers *into, const char *name, unsigned number,
                                 struct classifier_draft *draft) {
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
    *draft = (struct classifier_draft){
        .name = text_of(name),
        .labels = labels,
        .n_labels = n,
        .templates = templates,
        .n_templates = 1 + number % 2,
        .matrix = matrix,
        .prompt_tokens = number,
    };
    return classifiers_put(into, &model, draft, &err);
}

static struct classifier_draft put(struct classifiers *into, const char *name, unsigned number) {
    struct classifier_draft draft;
    if (try_put(into, name, number, &draft) != LIMOE_OK)
        fail_msg("%s: %s", name, err.message);
    return draft;
}

static const struct classifier *get_for(struct classifiers *from, const char *name,
                                        const struct classifier_model *whose) {
    const struct classifier *found = NULL;
    if (classifiers_get(from, text_of(name), whose, &found, &err) != LIMOE_OK)
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
    const struct classifier_draft draft = put(store, "a", 41);
    assert_true(draft.created > 1700000000 && draft.updated == draft.created);
    assert_stored(store, "a", 41);
    assert_stored(store, "a", 41); /* from memory */
    put(store, "a", 42);
    assert_stored(store, "a", 42);
    assert_absent(store, "A");

    classifiers_close(store);
    store = open_with(0, 0);
    assert_stored(store, "a", 42);
    const struct classifier *found = get_for(store, "a", &model);
    assert_int_equal(found->created, draft.created);
    classifier_release(found);

    bool deleted;
    assert_int_equal(classifiers_delete(store, text_of("a"), &deleted, &err), LIMOE_OK);
    assert_true(deleted);
    assert_absent(store, "a");
    assert_int_equal(classifiers_delete(store, text_of("a"), &deleted, &err), LIMOE_OK);
    assert_false(deleted);
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
    bool deleted;
    assert_int_equal(classifiers_delete(store, text_of("a"), &deleted, &err), LIMOE_OK);
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

    assert_int_equal(classifiers_put_matrix(store, bare, &other, matrix, 77, &err), LIMOE_OK);
    const struct classifier *found = get_for(store, "a", &other);
    assert_non_null(found->matrix);
    assert_memory_equal(found->matrix, matrix, labels_of(6) * EMBED * sizeof(float));
    assert_int_equal(found->prompt_tokens, 77);
    classifier_release(found);
    assert_stored(store, "a", 6); /* the first model's is still there */

    /* A third model's pushes out the oldest. */
    const struct classifier_model third = {.fingerprint = "model-3", .embed = EMBED};
    assert_int_equal(classifiers_put_matrix(store, bare, &third, matrix, 1, &err), LIMOE_OK);
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
    assert_int_equal(classifiers_put_matrix(store, old, &other, matrix, 1, &err), LIMOE_OK);
    const struct classifier *found = get_for(store, "a", &other);
    assert_null(found->matrix);
    classifier_release(found);

    bool deleted;
    assert_int_equal(classifiers_delete(store, text_of("a"), &deleted, &err), LIMOE_OK);
    assert_int_equal(classifiers_put_matrix(store, old, &other, matrix, 1, &err), LIMOE_OK);
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
    assert_int_equal(classifiers_put_matrix(store, b, &other, matrix, 1, &err), LIMOE_OK);
    classifier_release(b);
    for (unsigned i = 0; i < 3; i += 2) {
        assert_int_equal(classifiers_next_without(store, text_of(after), &other, &next, &err), LIMOE_OK);
        assert_non_null(next);
        assert_true(text_is(next->name, names[i]));
        strcpy(after, names[i]);
        classifier_release(next);
    }
    assert_int_equal(classifiers_next_without(store, text_of(after), &other, &next, &err), LIMOE_OK);
    assert_null(next);
    assert_int_equal(classifiers_next_without(store, text_of(""), &model, &next, &err), LIMOE_OK);
    assert_null(next);
}

static void their_number_is_bounded(void **state) {
    (void)state;
    struct classifier_draft draft;
    classifiers_close(store);
    store = open_with(3, 0);
    put(store, "a", 1);
    put(store, "b", 2);
    put(store, "c", 3);
    assert_int_equal(try_put(store, "d", 4, &draft), LIMOE_TOO_LARGE);
    assert_non_null(strstr(err.message, "3 classifiers are stored"));
    put(store, "c", 5); /* in place of another */
    assert_absent(store, "d");
    bool deleted;
    assert_int_equal(classifiers_delete(store, text_of("a"), &deleted, &err), LIMOE_OK);
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
    struct arena *arena = arena_new();
    struct classifier_page page;
    assert_int_equal(classifiers_list(store, text_of(""), 10, arena, &page, &err), LIMOE_OK);
    assert_int_equal(page.n, 0);
    assert_false(page.more);
    for (unsigned i = 6; i-- > 0;)
        put(store, names[i], i);

    struct text after = text_of("");
    for (unsigned at = 0; at < 6; at += 2) {
        assert_int_equal(classifiers_list(store, after, 2, arena, &page, &err), LIMOE_OK);
        assert_int_equal(page.n, 2);
        assert_int_equal(page.more, at < 4);
        for (unsigned i = 0; i < 2; i++) {
            assert_true(text_is(page.summaries[i].name, names[at + i]));
            assert_int_equal(page.summaries[i].label_count, labels_of(at + i));
            assert_int_equal(page.summaries[i].template_count, 1 + (at + i) % 2);
            assert_true(page.summaries[i].created > 1700000000);
        }
        after = page.summaries[1].name;
    }
    assert_int_equal(classifiers_list(store, after, 2, arena, &page, &err), LIMOE_OK);
    assert_int_equal(page.n, 0);
    arena_free(arena);
}

static void names_alike_are_found(void **state) {
    (void)state;
    struct arena *arena = arena_new();
    struct text found[2];
    size_t n;
    put(store, "animals", 1);
    put(store, "animal", 1);
    put(store, "anomalies", 1);
    put(store, "x", 1);
    assert_int_equal(classifiers_nearest(store, text_of("anmals"), 2, arena, found, &n, &err), LIMOE_OK);
    assert_int_equal(n, 2);
    assert_true(text_is(found[0], "animals"));
    assert_true(text_is(found[1], "animal"));
    assert_int_equal(classifiers_nearest(store, text_of("vehicles"), 2, arena, found, &n, &err), LIMOE_OK);
    assert_int_equal(n, 0);
    arena_free(arena);
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
    sql("UPDATE classifier SET labels = '[1]' WHERE name = 'b'");
    assert_int_equal(classifiers_get(store, text_of("b"), &model, &found, &err), LIMOE_CORRUPT);
    assert_null(found);
    put(store, "c", 5);
    sql("UPDATE matrix SET vectors = x'00000000'");
    assert_int_equal(classifiers_get(store, text_of("c"), &model, &found, &err), LIMOE_CORRUPT);
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
                struct classifier_draft draft;
                char name[16];
                snprintf(name, sizeof name, "c%u", i % NAMES);
                if (try_put(mine, name, i, &draft) != LIMOE_OK ||
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
    struct classifier_draft draft;
    for (unsigned i = 0; i < TURNS; i++)
        if (try_put(store, i % 2 ? "x" : "y", i, &draft) != LIMOE_OK)
            abort();
    return NULL;
}

static void *read_often(void *argument) {
    unsigned *wrong = argument;
    for (unsigned i = 0; i < TURNS * 20; i++) {
        const struct classifier *found;
        struct limoe_error mine;
        if (classifiers_get(store, text_of(i % 2 ? "x" : "y"), &model, &found, &mine) != LIMOE_OK || !found)
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
        TEST(no_kill_loses_or_halves_what_was_acknowledged),
        TEST(threads_read_while_others_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
