/* test_json_reader.c - protects what the reader takes for JSON, what it refuses, and the place it names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/formats/json_reader.h"

static struct arena *arena;

static int set_up(void **state) {
    (void)state;
    arena = arena_new();
    return arena ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    arena_free(arena);
    return 0;
}

static const struct json_value *parse(const char *json) {
    struct json_value *value;
    struct json_error error;
    if (!json_read(json, strlen(json), arena, &value, &error))
        fail_msg("%s: %s at %zu:%zu", json, error.message, error.line, error.column);
    return value;
}

/* Reads from an allocation of exactly this size, so that a read past the end is seen; gives the length read
 * as a string. */
static size_t length_of_string(const char *json, size_t size) {
    struct json_value *value;
    struct json_error error;
    char *copy = malloc(size);
    memcpy(copy, json, size);
    if (!json_read(copy, size, arena, &value, &error))
        fail_msg("%.*s: %s", (int)size, json, error.message);
    free(copy);
    return value->string.size;
}

static void refused_size(const char *json, size_t size, size_t column, const char *message) {
    struct json_value *value;
    struct json_error error;
    char *copy = malloc(size ? size : 1);
    memcpy(copy, json, size);
    if (json_read(copy, size, arena, &value, &error))
        fail_msg("accepted: %s", json);
    free(copy);
    assert_false(error.no_memory);
    if (!strstr(error.message, message) || error.column != column)
        fail_msg("%s: \"%s\" at column %zu; expected \"%s\" at %zu", json, error.message, error.column,
                 message, column);
}

static void refused(const char *json, size_t column, const char *message) {
    refused_size(json, strlen(json), column, message);
}

static void assert_text(struct text text, const char *expected) {
    if (!text_is(text, expected))
        fail_msg("\"%.*s\" is not \"%s\"", (int)text.size, text.data, expected);
}

static void values_are_read(void **state) {
    (void)state;
    const struct json_value *object =
        parse(" {\"a\" : [1, -2.5e1 ,\"x\",true,false,null,{}], \"b\":{\"c\":[]}}\r\n\t ");
    assert_int_equal(object->type, JSON_OBJECT);
    assert_int_equal(object->count, 2);
    const struct json_value *a = object->child, *b = a->next;
    assert_text(a->name, "a");
    assert_int_equal(a->count, 7);
    const struct json_value *item = a->child;
    assert_true(item->number == 1.0);
    item = item->next;
    assert_true(item->number == -25.0);
    item = item->next;
    assert_text(item->string, "x");
    static const enum json_type rest[] = {JSON_TRUE, JSON_FALSE, JSON_NULL, JSON_OBJECT};
    for (size_t i = 0; i < 4; i++) {
        item = item->next;
        assert_int_equal(item->type, rest[i]);
    }
    assert_null(item->next);
    assert_text(b->name, "b");
    assert_int_equal(b->child->type, JSON_ARRAY);
    assert_int_equal(b->child->count, 0);
    assert_null(b->next);
}

static void plain_strings_stay_in_the_body(void **state) {
    (void)state;
    const char *json = "\"no escapes, but 日本\"";
    const struct json_value *value = parse(json);
    assert_ptr_equal(value->string.data, json + 1);
    assert_int_equal(value->string.size, strlen(json) - 2);
}

static void escapes_are_read(void **state) {
    (void)state;
    assert_text(parse("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"")->string, "\"\\/\b\f\n\r\t");
    assert_text(parse("\"a\\u00e9\\u65E5b\"")->string, "aé日b");
    assert_text(parse("\"\\ud83d\\ude00\"")->string, "😀");
    assert_text(parse("\"\\u007f\\u0080\\u07ff\\u0800\\uffff\"")->string,
                "\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBF");
    assert_text(parse("{\"\\u0061\":1}")->child->name, "a");
}

/* The string scan looks at eight bytes at a time: each special byte must be seen at each place in a word. */
static void specials_are_seen_at_every_alignment(void **state) {
    (void)state;
    for (size_t at = 0; at < 24; at++) {
        char json[64];
        memset(json, 'x', sizeof json);
        json[0] = '"';
        json[1 + at] = '"';
        assert_int_equal(length_of_string(json, at + 2), at);

        json[40] = '"';
        json[1 + at] = '\n';
        refused_size(json, 41, at + 2, "control character 0x0a");
        json[1 + at] = '\x1F';
        refused_size(json, 41, at + 2, "control character 0x1f");
        json[1 + at] = '\0';
        refused_size(json, 41, at + 2, "control character 0x00");
        json[1 + at] = '\x80';
        refused_size(json, 41, at + 2, "byte 0x80 is not UTF-8");
        json[1 + at] = '\\';
        refused_size(json, 41, at + 2, "an escape that is none of");
        json[1 + at] = ' '; /* the lowest byte that is not special */
        assert_int_equal(length_of_string(json, 41), 39);
        json[1 + at] = '\x7F'; /* the highest */
        assert_int_equal(length_of_string(json, 41), 39);
    }
}

static void strings_that_other_readers_take_are_refused(void **state) {
    (void)state;
    refused("\"a\\u0000b\"", 3, "\\u0000 is not accepted");
    refused("\"\\ud83d\"", 2, "half a surrogate pair");
    refused("\"\\ud83d\\u0041\"", 2, "half a surrogate pair");
    refused("\"\\ude00\\ud83d\"", 2, "half a surrogate pair");
    refused("\"\\u12g4\"", 2, "an escape that is none of");
    refused("\"\\u123", 2, "an escape that is none of");
    refused("\"\\", 2, "an escape that is none of");
    refused("\"\\x41\"", 2, "an escape that is none of");
    refused("\"caf\xE9\"", 5, "byte 0xe9 is not UTF-8");
    refused("\"\xC0\x80\"", 2, "byte 0xc0 is not UTF-8");
    refused("\"\xED\xA0\x80\"", 2, "byte 0xed is not UTF-8");
    refused("\"\xE6\x97", 2, "byte 0xe6 is not UTF-8");
    refused("\"open", 1, "a string that does not end");
}

static void numbers_follow_the_grammar(void **state) {
    (void)state;
    assert_true(parse("0")->number == 0);
    assert_true(parse("-0.0")->number == 0);
    assert_true(parse("1E+2")->number == 100);
    assert_true(parse("123456789012345678")->number == 123456789012345678.0);
    refused("01", 1, "begins with 0");
    refused("-", 1, "\"-\" without a number");
    refused("+1", 1, "expected a value");
    refused(".5", 1, "expected a value");
    refused("1.", 2, "ends with its decimal point");
    refused("1e", 1, "exponent");
    refused("1e+", 1, "exponent");
    refused("0x10", 2, "expected the end");
    refused("NaN", 1, "expected a value");
    refused("1000000000000000000000000000000000000000000000000000000000000000", 1, "64 characters");
}

static void structure_is_checked(void **state) {
    (void)state;
    refused("", 1, "found the end");
    refused("  ", 3, "found the end");
    refused("{\"a\":1} x", 9, "expected the end after the value, found \"x\"");
    refused("{\"a\":1}{}", 8, "expected the end");
    refused("[1,]", 4, "expected a value, found \"]\"");
    refused("[1 2]", 4, "expected \",\" or \"]\", found \"2\"");
    refused("[1", 3, "expected \",\" or \"]\", found the end");
    refused("{\"a\":1,}", 8, "expected a member's name in double quotes, found \"}\"");
    refused("{'a':1}", 2, "expected a member's name in double quotes, found \"'\"");
    refused("{\"a\" 1}", 6, "expected \":\"");
    refused("{\"a\":}", 6, "expected a value");
    refused("{\"a\":1,\"b\":2,\"\\u0061\":3}", 14, "\"a\" is given twice");
    refused("tru", 1, "neither a value nor true, false or null");
    refused("nulL", 1, "neither a value nor true, false or null");
    refused("\xEF\xBB{}", 1, "byte 0xef");
    refused("\xEF\xBB\xBF\xEF\xBB\xBF{}", 1, "byte 0xef"); /* one mark is enough */
    refused("{\"a\":\xEF\xBB\xBF"
            "1}",
            6, "byte 0xef");
    refused_size("{}\0", 3, 3, "found byte 0x00");
}

static void f17_a_byte_order_mark_is_skipped(void **state) {
    (void)state;
    const struct json_value *object = parse("\xEF\xBB\xBF \n{\"a\":\"\xEF\xBB\xBFx\"}");
    assert_int_equal(object->type, JSON_OBJECT);
    assert_text(object->child->string, "\xEF\xBB\xBFx"); /* within a string it is a letter */
    refused("\xEF\xBB\xBF{?}", 2, "found \"?\""); /* as an editor counts, which does not show the mark */
    refused("\xEF\xBB\xBF", 1, "found the end");
}

static void f17_other_encodings_are_named(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *name;
    } cases[] = {
        {"\xFF\xFE{\0}\0", 6, "this is UTF-16; UTF-8 is accepted"},
        {"\xFE\xFF\0{\0}", 6, "this is UTF-16; UTF-8 is accepted"},
        {"\xFF\xFE\0\0{\0\0\0", 8, "this is UTF-32; UTF-8 is accepted"},
        {"\0\0\xFE\xFF\0\0\0{", 8, "this is UTF-32; UTF-8 is accepted"},
        {"{\0}\0", 4, "this is UTF-16"},
        {"\0{\0}", 4, "this is UTF-16"},
        {"{\0\0\0}\0\0\0", 8, "this is UTF-32"},
        {"\0\0\0{\0\0\0}", 8, "this is UTF-32"},
        {"\xFF\xFE", 2, "this is UTF-16"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused_size(cases[i].bytes, cases[i].size, 1, cases[i].name);
    refused_size("\0\0\0\0", 4, 1, "found byte 0x00");
    refused_size("\xFF", 1, 1, "found byte 0xff");
}

static void w15_a_nul_is_refused_wherever_it_stands(void **state) {
    (void)state;
    refused_size("{\"a\0b\":1}", 9, 4, "control character 0x00");
    refused_size("{\"a\":\"b\0\"}", 11, 8, "control character 0x00");
    refused("{\"a\\u0000b\":1}", 4, "\\u0000 is not accepted");
    refused("{\"a\":\"\\u0000\"}", 7, "\\u0000 is not accepted");
}

static void lines_are_counted(void **state) {
    (void)state;
    struct json_value *value;
    struct json_error error;
    const char *json = "{\n  \"a\": 1,\n  \"b\": ?\n}";
    assert_false(json_read(json, strlen(json), arena, &value, &error));
    assert_int_equal(error.line, 3);
    assert_int_equal(error.column, 8);
    assert_int_equal(error.offset, strchr(json, '?') - json);
}

static void depth_and_numbers_are_bounded(void **state) {
    (void)state;
    char deep[2 * JSON_MAX_DEPTH + 8];
    memset(deep, '[', JSON_MAX_DEPTH);
    memset(deep + JSON_MAX_DEPTH, ']', JSON_MAX_DEPTH);
    deep[2 * JSON_MAX_DEPTH] = '\0';
    assert_int_equal(parse(deep)->count, 1);
    char deeper[100000];
    memset(deeper, '[', sizeof deeper);
    refused_size(deeper, sizeof deeper, JSON_MAX_DEPTH + 1, "nested more than 32 deep");

    /* Siblings after a nest do not count as depth. */
    assert_int_equal(parse("[[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],"
                           "[[]],[[]],[[]],[[]]]")
                         ->count,
                     20);

    const size_t n = JSON_MAX_VALUES; /* and the array itself makes one too many */
    char *many = malloc(2 * n + 1);
    for (size_t i = 0; i < n; i++)
        memcpy(many + 2 * i, ",0", 2);
    many[0] = '[';
    many[2 * n] = ']';
    refused_size(many, 2 * n + 1, 2 * n, "more than 65536 values");
    many[2 * n - 2] = ']';
    struct json_value *value;
    struct json_error error;
    assert_true(json_read(many, 2 * n - 1, arena, &value, &error));
    assert_int_equal(value->count, n - 1);
    free(many);

    char object[2000] = "{\"0\":0";
    for (int i = 1; i <= 64; i++) {
        if (i == 64) {
            strcat(object, "}");
            assert_int_equal(parse(object)->count, 64);
            object[strlen(object) - 1] = '\0';
        }
        char member[24];
        snprintf(member, sizeof member, ",\"%d\":0", i);
        strcat(object, member);
    }
    strcat(object, "}");
    refused(object, (size_t)(strstr(object, "\"64\"") - object) + 1, "an object of more than 64 members");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(values_are_read),
        TEST(plain_strings_stay_in_the_body),
        TEST(escapes_are_read),
        TEST(specials_are_seen_at_every_alignment),
        TEST(strings_that_other_readers_take_are_refused),
        TEST(numbers_follow_the_grammar),
        TEST(structure_is_checked),
        TEST(f17_a_byte_order_mark_is_skipped),
        TEST(f17_other_encodings_are_named),
        TEST(w15_a_nul_is_refused_wherever_it_stands),
        TEST(lines_are_counted),
        TEST(depth_and_numbers_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
