/* test_text.c - protects the judgement of UTF-8, of blank texts, and quotes cut between characters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"

/* The definition, written another way: decode, then judge the code point. */
static size_t sequence_by_code_point(const unsigned char *s, size_t size) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = s[0] < 0x80           ? 1
                    : (s[0] >> 5) == 0x6  ? 2
                    : (s[0] >> 4) == 0xE  ? 3
                    : (s[0] >> 3) == 0x1E ? 4
                                          : 0;
    if (length < 2)
        return length;
    uint32_t code = s[0] & (0x7Fu >> length);
    for (size_t i = 1; i < length; i++) {
        if (i >= size || (s[i] & 0xC0) != 0x80)
            return 0;
        code = code << 6 | (s[i] & 0x3F);
    }
    return code < least[length] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF) ? 0 : length;
}

static void every_lead_and_second_byte_is_judged_right(void **state) {
    (void)state;
    static const unsigned char tails[] = {0x00, 0x41, 0x7F, 0x80, 0x9F, 0xBF, 0xC0, 0xFF};
    for (unsigned a = 0; a < 256; a++)
        for (unsigned b = 0; b < 256; b++)
            for (size_t t = 0; t < sizeof tails; t++)
                for (size_t size = 1; size <= 4; size++) {
                    const unsigned char s[4] = {(unsigned char)a, (unsigned char)b, tails[t], 0x80};
                    const size_t expected = sequence_by_code_point(s, size);
                    if (text_sequence((const char *)s, size) != expected)
                        fail_msg("%02x %02x %02x of %zu bytes", a, b, tails[t], size);
                }
}

static void check_finds_the_first_bad_byte(void **state) {
    (void)state;
    assert_int_equal(text_check("", 0), 0);
    assert_int_equal(text_check("caf\xC3\xA9", 5), 5);
    assert_int_equal(text_check("caf\xC3", 4), 3);
    assert_int_equal(text_check("a\0b", 3), 1);
    assert_int_equal(text_check("ab\xED\xA0\x80", 5), 2);
}

static void blank_means_white_space_only(void **state) {
    (void)state;
    assert_true(text_blank(text_of("")));
    assert_true(text_blank(text_of(" \t\r\n\v\f")));
    assert_true(text_blank(text_of("\xE3\x80\x80 \xC2\xA0")));
    assert_false(text_blank(text_of(" a")));
    assert_false(text_blank(text_of("\xE3\x80\x81")));
    assert_false(text_blank((struct text){.data = "\xC2\xA0", .size = 1})); /* cut in half: not a space */
}

static void quotes_are_cut_between_characters(void **state) {
    (void)state;
    char out[12];
    assert_string_equal(text_quote(text_of("short"), out, sizeof out), "short");
    assert_string_equal(text_quote(text_of("11 letters."), out, sizeof out), "11 letters.");
    assert_string_equal(text_quote(text_of("twelve chars"), out, sizeof out), "twelve c…");
    assert_string_equal(text_quote(text_of("日本語ネコ"), out, sizeof out), "日本…");
    assert_string_equal(text_quote(text_of("a\nb\x7F\xFF"), out, sizeof out), "a?b??");
    assert_string_equal(text_quote(text_of("\xC2\x80\xC2\x9B\xC2\x9F \xC2\xA0"), out, sizeof out),
                        "??? \xC2\xA0");
    for (size_t limit = 4; limit <= 12; limit++) {
        char *exact = text_quote(text_of("aé日😀aé日😀"), out, limit);
        assert_true(strlen(exact) < limit);
        assert_int_equal(text_check(exact, strlen(exact)), strlen(exact));
    }
}

static void an_end_is_taken_off_what_has_something_before_it(void **state) {
    (void)state;
    struct text text = text_of("model:latest");
    assert_true(text_take_suffix(&text, ":latest"));
    assert_true(text_is(text, "model"));
    assert_false(text_take_suffix(&text, ":latest"));
    assert_true(text_is(text, "model"));
    text = text_of(":latest");
    assert_false(text_take_suffix(&text, ":latest"));
    assert_true(text_is(text, ":latest"));
}

static struct text name_at(const void *list, size_t i) {
    return text_of(((const char *const *)list)[i]);
}

static void names_are_found_or_where_they_would_be(void **state) {
    (void)state;
    static const char *const names[] = {"a", "ab", "b", "\xc3\xa9"};
    static const struct {
        const char *name;
        size_t at;
        bool found;
    } cases[] = {{"", 0, false}, {"a", 0, true},  {"aa", 1, false},      {"ab", 1, true},
                 {"b", 2, true}, {"c", 3, false}, {"\xc3\xa9", 3, true}, {"\xff", 4, false}};
    bool found;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(text_place(text_of(cases[i].name), names, 4, name_at, &found), cases[i].at);
        assert_int_equal(found, cases[i].found);
    }
    assert_int_equal(text_place(text_of("a"), NULL, 0, name_at, &found), 0);
    assert_false(found);
    assert_true(text_compare(text_of("a"), text_of("ab")) < 0);
    assert_true(text_compare(text_of("b"), text_of("ab")) > 0);
    assert_int_equal(text_compare(text_of("ab"), text_of("ab")), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_lead_and_second_byte_is_judged_right),
        cmocka_unit_test(check_finds_the_first_bad_byte),
        cmocka_unit_test(blank_means_white_space_only),
        cmocka_unit_test(quotes_are_cut_between_characters),
        cmocka_unit_test(an_end_is_taken_off_what_has_something_before_it),
        cmocka_unit_test(names_are_found_or_where_they_would_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
