/* Protects: examples that are no files are listed as a folder's are; too few or too many classes, and one that is not there, are
 * named. Folders themselves are test_tune.c's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "model/tuning/folder.h"

static const char *const classes[] = {"cat", "dog", "hog"};
static const char *const names[] = {"one", "two", "three"};

static void they_are_listed_in_their_order(void **state) {
    (void)state;
    static const uint32_t of[] = {0, 0, 2};
    const struct limoe_tune_examples examples = {
        .classes = classes, .names = names, .of = of, .n_classes = 3, .n = 3};
    struct folder f;
    struct limoe_error err;
    assert_int_equal(folder_list(&examples, &f, &err), LIMOE_OK);
    assert_int_equal(f.classes, 3);
    assert_int_equal(f.files, 3);
    assert_string_equal(f.class[1], "dog"); /* of which there are none */
    assert_string_equal(f.file[2].path, "three");
    assert_int_equal(f.file[2].class, 2);
    folder_free(&f);
}

static void expect_refusal(const struct limoe_tune_examples *examples, const char *message) {
    struct folder f;
    struct limoe_error err;
    assert_int_equal(folder_list(examples, &f, &err), LIMOE_INVALID);
    assert_string_equal(err.message, message);
    assert_int_equal(f.classes, 0);
    assert_null(f.class);
}

static void what_cannot_be_is_named(void **state) {
    (void)state;
    static const uint32_t same[] = {1, 1, 1}, beyond[] = {0, 3, 1};
    struct limoe_tune_examples examples = {
        .classes = classes, .names = names, .of = same, .n_classes = 3, .n = 3};
    expect_refusal(&examples, "1 class has examples; 2 to 1000 are accepted");
    examples.n = 0;
    expect_refusal(&examples, "0 classes have examples; 2 to 1000 are accepted");
    examples.n = 3;
    examples.of = beyond;
    expect_refusal(&examples, "two is of class 3; there are 3");
    examples.n_classes = LIMOE_TUNE_MAX_CLASSES + 1;
    expect_refusal(&examples, "1001 classes; 2 to 1000 are accepted");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_are_listed_in_their_order),
        cmocka_unit_test(what_cannot_be_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
