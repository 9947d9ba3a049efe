/* classifiers_fixture.h - what the tests of the classifiers' store share: a store in a folder of its own, and
 * classifiers whose every byte follows from one number. */
#ifndef LIMOE_TESTS_UNIT_SERVER_FRONT_STORE_CLASSIFIERS_FIXTURE_H
#define LIMOE_TESTS_UNIT_SERVER_FRONT_STORE_CLASSIFIERS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <time.h>

#include "server/front/store/classifiers.h"
#include "tests/unit/files.h"

#define EMBED       8
#define MOST_LABELS 300

/* Two models; the first one's fingerprint is what put() stores under. */
extern const struct classifier_model model, other;

/* Of the test that runs: its folder, the database in it, the store over it (a test may close it and open
 * it again) and the error of the last call that failed. */
extern char dir[FOLDER_SIZE + 8], file[FOLDER_SIZE + 32];
extern struct classifiers *store;
extern struct limoe_error err;

int set_up(void **state);
int tear_down(void **state);

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* Another store over the same file; the caller closes it. 0: the default. */
struct classifiers *open_with(size_t most, size_t cache_bytes);

/* How many labels the classifier of this number has. */
size_t labels_of(unsigned number);

/* Unix seconds. */
struct times {
    int64_t created, updated;
};

/* Stores the classifier of this number under the name. put() fails the test if that cannot be done. */
enum store_outcome try_put(struct classifiers *into, const char *name, unsigned number, struct times *times);
struct times put(struct classifiers *into, const char *name, unsigned number);

/* From memory or the disk; *found is NULL where there is none, and the caller releases it. get_for() fails
 * the test if the store cannot say. */
enum store_outcome try_get(struct classifiers *from, const char *name, const struct classifier_model *whose,
                           const struct classifier **found);
const struct classifier *get_for(struct classifiers *from, const char *name,
                                 const struct classifier_model *whose);

/* True if it was there. */
bool erase(struct classifiers *from, const char *name);

/* True when the classifier is the one of this number, to its last byte. */
bool is_whole(const struct classifier *found, unsigned number);

void assert_stored(struct classifiers *from, const char *name, unsigned number);
void assert_absent(struct classifiers *from, const char *name);

/* Runs SQL on the file, beside the store. */
void sql(const char *statements);

struct timespec now(void);
double seconds_since(const struct timespec *began);

/* Until the store reads and writes again; fails the test after 30 s. */
void wait_until_good(void);

#endif
