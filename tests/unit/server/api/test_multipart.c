/* test_multipart.c - protects the reading of multipart bodies: parts byte for byte, and a clear error
 * otherwise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "server/api/multipart.h"

struct parsed {
    struct arena *arena;
    struct request_field *parts;
    size_t n;
    struct api_error error;
    bool good;
};

static struct parsed parse_bytes(const char *type, const char *body, size_t size) {
    struct parsed parsed = {.arena = arena_new()};
    assert_non_null(parsed.arena);
    parsed.good = multipart_parse(type, body, size, parsed.arena, &parsed.parts, &parsed.n, &parsed.error);
    return parsed;
}

static struct parsed parse(const char *type, const char *body) {
    return parse_bytes(type, body, strlen(body));
}

static void assert_part(const struct request_field *part, const char *name, const void *bytes, size_t size) {
    assert_string_equal(part->name, name);
    assert_int_equal(part->size, size);
    assert_memory_equal(part->bytes, bytes, size);
}

static void assert_fails(const char *type, const char *body, const char *part_of_message) {
    struct parsed parsed = parse(type, body);
    assert_false(parsed.good);
    assert_int_equal(parsed.error.status, 400);
    assert_non_null(strstr(parsed.error.message, part_of_message));
    arena_free(parsed.arena);
}

#define TYPE "multipart/form-data; boundary=xyz"
#define HEAD "Content-Disposition: form-data; name="

static void test_fields_and_files(void **state) {
    (void)state;
    static const char body[] = "--xyz\r\n" HEAD "\"labels\"\r\n\r\ncat\r\n--xyz\r\n" HEAD
                               "\"image\"; filename=\"a \\\"b\\\".png\"\r\nContent-Type: image/png\r\n\r\n"
                               "\x89PNG\0\r\n--xy\r\nz\r\n--xyz--\r\n";
    struct parsed parsed = parse_bytes(TYPE, body, sizeof body - 1);
    assert_true(parsed.good);
    assert_int_equal(parsed.n, 2);
    assert_part(&parsed.parts[0], "labels", "cat", 3);
    assert_null(parsed.parts[0].filename);
    assert_part(&parsed.parts[1], "image", "\x89PNG\0\r\n--xy\r\nz", 14);
    assert_string_equal(parsed.parts[1].filename, "a \"b\".png");
    assert_string_equal(parsed.parts[1].content_type, "image/png");
    arena_free(parsed.arena);
}

static void test_repeated_and_empty_parts(void **state) {
    (void)state;
    struct parsed parsed = parse(TYPE, "--xyz\r\n" HEAD "labels\r\n\r\n\r\n--xyz\r\n" HEAD
                                       "labels\r\n\r\n\r\n--xyz\r\n" HEAD "\"labels\"\r\n\r\ndog\r\n--xyz--");
    assert_true(parsed.good);
    assert_int_equal(parsed.n, 3);
    assert_part(&parsed.parts[0], "labels", "", 0);
    assert_part(&parsed.parts[1], "labels", "", 0);
    assert_part(&parsed.parts[2], "labels", "dog", 3);
    arena_free(parsed.arena);
}

static void test_preamble_epilogue_and_parameters(void **state) {
    (void)state;
    struct parsed parsed =
        parse("Multipart/Form-Data; charset=utf-8; Boundary=\"a b\" ; x=y",
              "hello\r\n--a b  \r\nCONTENT-DISPOSITION: form-data; name=\"n\"\r\n\r\nv\r\n--a b--\r\nbye");
    assert_true(parsed.good);
    assert_int_equal(parsed.n, 1);
    assert_part(&parsed.parts[0], "n", "v", 1);
    arena_free(parsed.arena);
}

static void test_no_parts(void **state) {
    (void)state;
    struct parsed parsed = parse(TYPE, "--xyz--\r\n");
    assert_true(parsed.good);
    assert_int_equal(parsed.n, 0);
    arena_free(parsed.arena);
}

static void test_malformed(void **state) {
    (void)state;
    assert_fails("multipart/form-data", "", "boundary");
    assert_fails("multipart/form-data; boundary=", "", "boundary");
    assert_fails("multipart/form-data; boundary=\"abc", "", "boundary");
    assert_fails(TYPE, "", "does not hold its boundary");
    assert_fails(TYPE, "just text", "does not hold its boundary");
    assert_fails(TYPE, "--xyz", "followed neither");
    assert_fails(TYPE, "--xyzzy\r\n" HEAD "a\r\n\r\nb\r\n--xyz--", "followed neither");
    assert_fails(TYPE, "--xyz\r\n" HEAD "a\r\n", "no empty line");
    assert_fails(TYPE, "--xyz\r\n" HEAD "a\r\n\r\nb", "ends within part 0");
    assert_fails(TYPE, "--xyz\r\n" HEAD "a\r\n\r\nb\r\n--xyz", "followed neither");
    assert_fails(TYPE, "--xyz\r\n\r\nb\r\n--xyz--", "part 0 of the multipart body has no name");
    assert_fails(TYPE, "--xyz\r\nContent-Disposition: form-data\r\n\r\nb\r\n--xyz--", "no name");
    assert_fails(TYPE, "--xyz\r\n" HEAD "\"a\r\n\r\nb\r\n--xyz--", "no name");
    assert_fails(TYPE, "--xyz\r\n" HEAD "a; filename=\"b\r\n\r\nb\r\n--xyz--", "never closed");
    assert_fails(TYPE, "--xyz\r\n" HEAD "a\r\nContent-Transfer-Encoding: base64\r\n\r\nYQ==\r\n--xyz--",
                 "base64");
}

/* Whatever a body is cut to, it is read within its bounds (AddressSanitizer) and refused. */
static void test_every_truncation_is_refused(void **state) {
    (void)state;
    static const char body[] =
        "--xyz\r\n" HEAD "\"labels\"\r\n\r\ncat\r\n--xyz\r\n" HEAD "\"b\"\r\n\r\n\r\n--xyz--";
    for (size_t size = 0; size < sizeof body - 1; size++) {
        char *cut = test_malloc(size + 1);
        memcpy(cut, body, size);
        struct parsed parsed = parse_bytes(TYPE, cut, size);
        assert_false(parsed.good);
        arena_free(parsed.arena);
        test_free(cut);
    }
}

/* W5: what stands behind the closing delimiter is no part of the form, and costs nothing. */
static void test_w5_a_form_ends_at_its_closing_delimiter(void **state) {
    (void)state;
    enum { REPEATED = 1000000 };
    static const char form[] = "--xyz\r\n" HEAD "\"labels\"\r\n\r\ncat\r\n--xyz--\r\n", again[] = "--xyz\r\n";
    const size_t size = sizeof form - 1 + REPEATED * (sizeof again - 1);
    char *body = test_malloc(size);
    memcpy(body, form, sizeof form - 1);
    for (size_t i = 0; i < REPEATED; i++)
        memcpy(body + sizeof form - 1 + i * (sizeof again - 1), again, sizeof again - 1);
    struct parsed parsed = parse_bytes(TYPE, body, size);
    assert_true(parsed.good);
    assert_int_equal(parsed.n, 1);
    assert_true(arena_size(parsed.arena) < 16 * 1024);
    arena_free(parsed.arena);
    test_free(body);
}

/* Parts cost memory as they come, no more than a few times their bytes, and their number has a bound. */
static void test_w5_parts_are_bounded(void **state) {
    (void)state;
    static const char part[] = "--xyz\r\n" HEAD "a\r\n\r\n\r\n", end[] = "--xyz--";
    const size_t most = MULTIPART_MOST_PARTS;
    char *body = test_malloc((most + 1) * (sizeof part - 1) + sizeof end);
    for (size_t n = most; n <= most + 1; n++) {
        for (size_t i = 0; i < n; i++)
            memcpy(body + i * (sizeof part - 1), part, sizeof part - 1);
        memcpy(body + n * (sizeof part - 1), end, sizeof end);
        const size_t size = n * (sizeof part - 1) + sizeof end - 1;
        struct parsed parsed = parse_bytes(TYPE, body, size);
        assert_int_equal(parsed.good, n == most);
        if (n == most)
            assert_int_equal(parsed.n, n);
        else
            assert_string_equal(parsed.error.code, "too_many_parts");
        assert_true(arena_size(parsed.arena) < 4 * size);
        arena_free(parsed.arena);
    }
    test_free(body);
}

/* A name that a NUL cuts would pass for another. */
static void w15_a_nul_in_a_header_is_refused_with_the_header(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t size;
        const char *shown;
    } cases[] = {
#define HEADER(text, shown) {text, sizeof text - 1, shown}
        HEADER(HEAD "\"labels\0evil\"", "name=\"labels?evil\""),
        HEADER(HEAD "labels\0", "name=labels?"),
        HEADER(HEAD "\"image\"; filename=\"a.png\0.exe\"", "filename=\"a.png?.exe\""),
        HEADER(HEAD "\"image\"\r\nContent-Type: image/\0png", "\"Content-Type: image/?png\""),
        HEADER("\0" HEAD "\"image\"", "?Content-Disposition"),
#undef HEADER
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char body[256];
        size_t n = 0;
        memcpy(body, "--xyz\r\n", 7), n = 7;
        memcpy(body + n, cases[i].header, cases[i].size), n += cases[i].size;
        static const char rest[] = "\r\n\r\ncat\0\r\n--xyz--";
        memcpy(body + n, rest, sizeof rest - 1), n += sizeof rest - 1;
        struct parsed parsed = parse_bytes(TYPE, body, n);
        assert_false(parsed.good);
        assert_int_equal(parsed.error.status, 400);
        if (!strstr(parsed.error.message, "part 0") || !strstr(parsed.error.message, cases[i].shown))
            fail_msg("\"%s\" lacks %s", parsed.error.message, cases[i].shown);
        arena_free(parsed.arena);
    }
    /* A content may hold what it likes. */
    static const char good[] = "--xyz\r\n" HEAD "\"image\"\r\n\r\na\0b\r\n--xyz--";
    struct parsed parsed = parse_bytes(TYPE, good, sizeof good - 1);
    assert_true(parsed.good);
    assert_part(&parsed.parts[0], "image", "a\0b", 3);
    arena_free(parsed.arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields_and_files),
        cmocka_unit_test(test_repeated_and_empty_parts),
        cmocka_unit_test(test_preamble_epilogue_and_parameters),
        cmocka_unit_test(test_no_parts),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(w15_a_nul_in_a_header_is_refused_with_the_header),
        cmocka_unit_test(test_every_truncation_is_refused),
        cmocka_unit_test(test_w5_a_form_ends_at_its_closing_delimiter),
        cmocka_unit_test(test_w5_parts_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
