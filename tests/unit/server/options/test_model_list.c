/* test_model_list.c - protects how --model is read: names, directories, and what is refused of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/options/model_dir.h"
#include "server/options/model_list.h"

static void assert_text(struct text text, const char *expected) {
    if (!expected) {
        assert_null(text.data);
        return;
    }
    if (!text_is(text, expected))
        fail_msg("\"%.*s\" is not \"%s\"", (int)text.size, text.data, expected);
}

static void entries_are_read(void **state) {
    (void)state;
    static const struct {
        const char *name, *dir;
    } expected[] = {{NULL, "/srv/a"},   {"b", "/srv/b"},      {NULL, "./x=y"},
                    {NULL, "relative"}, {"c", "d=e"},         {"f", ""},
                    {"", "g"},          {NULL, "/with=both"}, {"CLIP-b.32_", ".."}};
    const char *list = "/srv/a,b=/srv/b,./x=y,relative,c=d=e,f=,=g,/with=both,CLIP-b.32_=..";
    struct model_entry entry;
    assert_int_equal(model_list_count(list), sizeof expected / sizeof *expected);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        assert_true(model_list_next(&list, &entry));
        assert_text(entry.name, expected[i].name);
        assert_text(entry.dir, expected[i].dir);
    }
    assert_false(model_list_next(&list, &entry));
    list = NULL;
    assert_false(model_list_next(&list, &entry));
    assert_int_equal(model_list_count(NULL), 0);
    assert_int_equal(model_list_count(""), 0);
}

static void assert_refused(const char *list, const char *message) {
    struct limoe_error err;
    if (model_list_check(list, &err) != LIMOE_INVALID || !strstr(err.message, message))
        fail_msg("\"%s\" is not refused with \"%s\"", list, message);
}

static void lists_are_checked(void **state) {
    (void)state;
    struct limoe_error err;
    char longest[MODEL_LIST_NAME_BYTES + 4], many[4 * (MODEL_LIST_MOST + 1)];
    assert_int_equal(model_list_check(NULL, &err), LIMOE_OK);
    assert_int_equal(model_list_check("/a,/a,b=/a,c=/a", &err), LIMOE_OK); /* a directory may serve twice */
    assert_refused("a=/x,b=/y,a=/z", "the name \"a\" twice");
    assert_refused("=/x", "the name \"\"");
    assert_refused(".a=/x", "the name \".a\"");
    assert_refused("-a=/x", "the name \"-a\"");
    assert_refused("a:b=/x", "the name \"a:b\"");
    assert_refused("caf\xc3\xa9=/x", "accepted: NAME=DIR");
    assert_refused("a=", "model \"a\" has no directory");
    memset(longest, 'n', MODEL_LIST_NAME_BYTES + 1);
    memcpy(longest + MODEL_LIST_NAME_BYTES + 1, "=/", 3);
    assert_refused(longest, "a name of 1 to 127");
    assert_int_equal(model_list_check(longest + 1, &err), LIMOE_OK);
    many[0] = '\0';
    for (unsigned i = 0; i < MODEL_LIST_MOST; i++)
        strcat(many, i ? ",/x" : "/x");
    assert_int_equal(model_list_check(many, &err), LIMOE_OK);
    assert_refused(strcat(many, ",/x"), "names 65 models; up to 64");
}

/* What the commands of one model make of a server's list. */
static void a_command_takes_the_first(void **state) {
    (void)state;
    char room[PATH_MAX];
    assert_string_equal(model_dir("/nowhere/one", room), "/nowhere/one");
    assert_string_equal(model_dir("/nowhere/one,/nowhere/two", room), "/nowhere/one");
    assert_string_equal(model_dir("a=/nowhere/one,b=/nowhere/two", room), "/nowhere/one");
    assert_string_equal(model_dir(ROOT, room), ROOT);
    char folder[] = "/tmp/limoe-a=b,c-XXXXXX"; /* one that is there is meant as it is written */
    assert_non_null(mkdtemp(folder));
    assert_string_equal(model_dir(folder, room), folder);
    assert_int_equal(remove(folder), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_are_read),
        cmocka_unit_test(lists_are_checked),
        cmocka_unit_test(a_command_takes_the_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
