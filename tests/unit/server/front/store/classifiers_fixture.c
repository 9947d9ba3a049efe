/* classifiers_fixture.c - see classifiers_fixture.h. */
#include "tests/unit/server/front/store/classifiers_fixture.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct classifier_model model = {.fingerprint = "model-1", .embed = EMBED};
const struct classifier_model other = {.fingerprint = "model-2", .embed = EMBED};

char dir[FOLDER_SIZE + 8], file[FOLDER_SIZE + 32];
static char folder[FOLDER_SIZE]; /* that dir is made in */
struct classifiers *store;
struct limoe_error err;

struct classifiers *open_with(size_t most, size_t cache_bytes) {
    struct classifiers *opened = NULL;
    const struct classifiers_options options = {.dir = dir, .most = most, .cache_bytes = cache_bytes};
    if (classifiers_open(&options, &opened, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    return opened;
}

int set_up(void **state) {
    (void)state;
    folder_make(folder);
    snprintf(dir, sizeof dir, "%s/a/b", folder); /* neither is there yet */
    snprintf(file, sizeof file, "%s/classifiers.db", dir);
    store = open_with(0, 0);
    return 0;
}

int tear_down(void **state) {
    (void)state;
    classifiers_close(store);
    store = NULL;
    return folder_remove(folder);
}

size_t labels_of(unsigned number) {
    return 1 + number % MOST_LABELS;
}

static float vector_at(unsigned number, size_t i) {
    return (float)number + (float)i / 4;
}

enum store_outcome try_put(struct classifiers *into, const char *name, unsigned number, struct times *times) {
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

struct times put(struct classifiers *into, const char *name, unsigned number) {
    struct times times;
    if (try_put(into, name, number, &times) != STORE_DONE)
        fail_msg("%s: %s", name, err.message);
    return times;
}

enum store_outcome try_get(struct classifiers *from, const char *name, const struct classifier_model *whose,
                           const struct classifier **found) {
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

bool erase(struct classifiers *from, const char *name) {
    struct store_job *job = store_job_delete(text_of(name));
    if (classifiers_wait(from, &job, &err) != STORE_DONE)
        fail_msg("%s: %s", name, err.message);
    const bool found = job->found;
    store_job_free(job);
    return found;
}

const struct classifier *get_for(struct classifiers *from, const char *name,
                                 const struct classifier_model *whose) {
    const struct classifier *found = NULL;
    if (try_get(from, name, whose, &found) != STORE_DONE)
        fail_msg("%s: %s", name, err.message);
    return found;
}

bool is_whole(const struct classifier *found, unsigned number) {
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

void assert_stored(struct classifiers *from, const char *name, unsigned number) {
    const struct classifier *found = get_for(from, name, &model);
    assert_non_null(found);
    assert_true(text_is(found->name, name));
    assert_true(is_whole(found, number));
    classifier_release(found);
}

void assert_absent(struct classifiers *from, const char *name) {
    assert_null(get_for(from, name, &model));
}

double seconds_since(const struct timespec *began) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - began->tv_sec) + (double)(now.tv_nsec - began->tv_nsec) / 1e9;
}

struct timespec now(void) {
    struct timespec began;
    clock_gettime(CLOCK_MONOTONIC, &began);
    return began;
}

void wait_until_good(void) {
    const struct timespec began = now();
    struct classifiers_state found;
    do {
        usleep(20000);
        classifiers_state(store, &found);
    } while (!(found.reading && found.writing) && seconds_since(&began) < 30);
    assert_true(found.reading && found.writing);
}

void sql(const char *statements) {
    sqlite3 *handle;
    assert_int_equal(sqlite3_open(file, &handle), SQLITE_OK);
    assert_int_equal(sqlite3_exec(handle, statements, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(handle), SQLITE_OK);
}
