/* test_classifiers.c - protects what a PUT has answered: it is there, whole, for every server that shares
 * the file, also after kill -9; and an answer never comes from an old matrix. */
#include "tests/unit/server/front/store/classifiers_fixture.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

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

    assert_true(erase(store, "a"));
    assert_absent(store, "a");
    assert_false(erase(store, "a"));
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
    assert_true(erase(store, "a"));
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

    assert_true(erase(store, "a"));
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
    assert_true(erase(store, "a"));
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
    for (unsigned i = 0; i < TURNS; i++) {
        enum store_outcome outcome;
        while ((outcome = try_put(store, i % 2 ? "x" : "y", i, NULL)) == STORE_BUSY) /* by a loaded machine */
            continue;
        if (outcome != STORE_DONE)
            abort();
    }
    return NULL;
}

static void *read_often(void *argument) {
    unsigned *wrong = argument;
    for (unsigned i = 0; i < TURNS * 20; i++) {
        const struct classifier *found;
        enum store_outcome outcome;
        while ((outcome = try_get(store, i % 2 ? "x" : "y", &model, &found)) == STORE_BUSY)
            continue;
        if (outcome != STORE_DONE || !found)
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
        TEST(no_kill_loses_or_halves_what_was_acknowledged),
        TEST(threads_read_while_others_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
