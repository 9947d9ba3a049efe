/* test_options.c - protects which source of an option wins, what each kind accepts, what messages say, and
 * configuration files from anyone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/options/config_file.h"
#include "server/options/options.h"
#include "server/options/suggest.h"

enum color { RED, GREEN = 7 };

struct target {
    const char *text, *numeral;
    unsigned count, wait;
    uint64_t big, bytes;
    double rate;
    enum color color;
    bool loud, quick;
    struct option_list list;
};

#define AT(field) offsetof(struct target, field)

static const struct option_choice colors[] = {{"red", RED}, {"green", GREEN}, {NULL, 0}};

static const struct option_row table[] = {
    {.name = "test-text", .kind = OPTION_STRING, .offset = AT(text), .metavar = "T", .help = "a text"},
    {.name = "test-port",
     .kind = OPTION_NUMERAL,
     .offset = AT(numeral),
     .most = 65535,
     .metavar = "P",
     .help = "a port"},
    {.name = "test-count",
     .letter = 'n',
     .kind = OPTION_UNSIGNED,
     .offset = AT(count),
     .least = 2,
     .most = 9,
     .metavar = "N",
     .help = "a count",
     .fallback = "as many as there are"},
    {.name = "test-wait",
     .kind = OPTION_SECONDS,
     .offset = AT(wait),
     .least = 1,
     .most = 60,
     .metavar = "S",
     .help = "a time",
     .group = "second group"},
    {.name = "test-big",
     .kind = OPTION_U64,
     .offset = AT(big),
     .most = UINT64_MAX,
     .metavar = "N",
     .help = "a number"},
    {.name = "test-bytes",
     .kind = OPTION_BYTES,
     .offset = AT(bytes),
     .least = 1,
     .most = UINT64_C(4) << 30,
     .metavar = "N",
     .help = "a size"},
    {.name = "test-rate",
     .kind = OPTION_DOUBLE,
     .offset = AT(rate),
     .most = 1000,
     .metavar = "R",
     .help = "a rate"},
    {.name = "test-color",
     .kind = OPTION_CHOICE,
     .offset = AT(color),
     .choices = colors,
     .metavar = "C",
     .help = "red or green"},
    {.name = "test-loud", .kind = OPTION_SWITCH, .offset = AT(loud), .help = "a switch"},
    {.name = "test-quick",
     .only_flag = true,
     .kind = OPTION_SWITCH,
     .offset = AT(quick),
     .help = "a switch of flags"},
    {.name = "test-list", .kind = OPTION_LIST, .offset = AT(list), .metavar = "T", .help = "texts"},
    {.name = "test-also", .kind = OPTION_LIST, .offset = AT(list), .metavar = "T", .help = "more texts"},
    {.name = "test-config",
     .kind = OPTION_CONFIG,
     .metavar = "FILE",
     .help = "a file",
     .group = "last group"},
    {.name = "test-print", .kind = OPTION_PRINT_CONFIG, .help = "print"},
    {.name = "help", .letter = 'h', .kind = OPTION_HELP, .help = "print this"},
};

static const struct option_command command = {.name = "try",
                                              .usage = "limoe try [options]",
                                              .about = "Tries.",
                                              .table = table,
                                              .n = sizeof table / sizeof *table};

/* One reading and what came of it. */
struct reading {
    struct arena *arena;
    struct target target;
    struct options options;
    struct limoe_error err;
    enum limoe_status status;
};

static const struct target defaults = {
    .text = "some \"text\" \\", .wait = 30, .bytes = 32 << 20, .color = GREEN};

static int begin(void **state) {
    struct reading *reading = calloc(1, sizeof *reading);
    *state = reading;
    if (reading)
        reading->arena = arena_new();
    return reading && reading->arena ? 0 : -1;
}

static int end(void **state) {
    struct reading *reading = *state;
    char name[64];
    for (size_t i = 0; i < command.n; i++) {
        snprintf(name, sizeof name, "LIMOE_%s", command.table[i].name);
        for (char *c = name; *c; c++)
            *c = *c == '-' ? '_' : *c >= 'a' && *c <= 'z' ? (char)(*c - 32) : *c;
        unsetenv(name);
    }
    arena_free(reading->arena);
    free(reading);
    return 0;
}

/* argv after the command's name, up to NULL. */
static void read_arguments(struct reading *reading, const char *const *arguments) {
    char *argv[16] = {(char *)"try"};
    int argc = 1;
    while (arguments[argc - 1]) {
        argv[argc] = (char *)arguments[argc - 1];
        argc++;
    }
    char **copy = arena_array(reading->arena, (size_t)argc, sizeof *copy);
    memcpy(copy, argv, (size_t)argc * sizeof *copy);
    reading->target = defaults;
    reading->err = (struct limoe_error){0};
    reading->status = options_read(&command, argc, copy, &reading->target, reading->arena, &reading->options,
                                   &reading->err);
}

#define READ(reading, ...) read_arguments(reading, (const char *const[]){__VA_ARGS__, NULL})

static void assert_refused(const struct reading *reading, const char *message) {
    assert_int_not_equal(reading->status, LIMOE_OK);
    assert_string_equal(reading->err.message, message);
}

/* A file's text over the defaults. */
static void parse_file(struct reading *reading, const char *text, size_t size) {
    char *exact = malloc(size ? size : 1); /* so that a sanitizer sees a read past the end */
    assert_non_null(exact);
    memcpy(exact, text, size);
    READ(reading, "--");
    reading->options.file = "f.conf";
    reading->status = config_file_parse(&reading->options, exact, size, &reading->err);
    free(exact);
}

static void parse_text(struct reading *reading, const char *text) {
    parse_file(reading, text, strlen(text));
}

static void flags_go_before_environment_before_file_before_default(void **state) {
    struct reading *r = *state;
    char path[] = "/tmp/limoe-options-XXXXXX";
    const int fd = mkstemp(path);
    static const char text[] = "test-wait = 3\ntest-count = 3\ntest-big = 3";
    assert_true(fd >= 0 && write(fd, text, sizeof text - 1) == sizeof text - 1);
    close(fd);

    setenv("LIMOE_TEST_WAIT", "4", 1);
    setenv("LIMOE_TEST_COUNT", "4", 1);
    READ(r, "--test-wait", "5", "--test-config", path);
    assert_int_equal(r->status, LIMOE_OK);
    assert_int_equal(r->target.wait, 5);
    assert_int_equal(r->target.count, 4);
    assert_int_equal(r->target.big, 3);
    assert_int_equal(r->target.bytes, 32 << 20);
    assert_true(options_given(&r->options, "test-big"));
    assert_false(options_given(&r->options, "test-bytes"));

    /* The file may be named by the environment, where the flag goes before it. */
    setenv("LIMOE_TEST_CONFIG", path, 1);
    READ(r, "x");
    assert_int_equal(r->status, LIMOE_OK);
    assert_int_equal(r->target.wait, 4);
    assert_int_equal(r->target.big, 3);
    READ(r, "--test-config=/nowhere/to/be/found");
    assert_int_equal(r->status, LIMOE_NOT_FOUND);

    /* A value that another replaces is checked all the same; an empty variable is none. */
    setenv("LIMOE_TEST_WAIT", "61", 1);
    READ(r, "--test-wait", "5");
    assert_refused(r, "LIMOE_TEST_WAIT is \"61\"; accepted: a whole number of seconds from 1 to 60");
    setenv("LIMOE_TEST_WAIT", "", 1);
    READ(r, "--");
    assert_int_equal(r->target.wait, 3);
    unlink(path);
}

static void the_command_line_is_read_in_each_form(void **state) {
    struct reading *r = *state;
    READ(r, "one", "--test-text=a=b", "-n", "3", "--test-loud", "-", "--test-quick", "--", "--test-loud");
    assert_int_equal(r->status, LIMOE_OK);
    assert_string_equal(r->target.text, "a=b");
    assert_int_equal(r->target.count, 3);
    assert_true(r->target.loud && r->target.quick);
    assert_int_equal(r->options.n_operands, 3);
    assert_string_equal(r->options.operands[0], "one");
    assert_string_equal(r->options.operands[1], "-");
    assert_string_equal(r->options.operands[2], "--test-loud");

    READ(r, "-n4", "-n5", "--test-text", "--help");
    assert_int_equal(r->target.count, 5);
    assert_string_equal(r->target.text, "--help");

    READ(r, "--test-list", "a", "--test-also", "", "--test-list=c");
    assert_int_equal(r->target.list.n, 3);
    assert_string_equal(r->target.list.values[0].value, "a");
    assert_string_equal(r->target.list.values[1].value, "");
    assert_string_equal(r->target.list.values[2].value, "c");
    assert_string_equal(r->target.list.values[1].option->name, "test-also");
}

static void help_ends_the_reading(void **state) {
    struct reading *r = *state;
    setenv("LIMOE_TEST_WAIT", "none", 1);
    READ(r, "--test-loud", "-h", "--nonsense");
    assert_int_equal(r->status, LIMOE_OK);
    assert_int_equal(r->options.asked, OPTIONS_SHOW_HELP);
    assert_memory_equal(&r->target, &defaults, sizeof defaults);
}

static void wrong_arguments_are_named(void **state) {
    struct reading *r = *state;
    READ(r, "--test-tetx", "x");
    assert_refused(r, "try has no option \"--test-tetx\"; did you mean --test-text?");
    READ(r, "--zebra=1");
    assert_refused(r, "try has no option \"--zebra=1\"");
    READ(r, "-z");
    assert_refused(r, "try has no option \"-z\"");
    READ(r, "--test-text");
    assert_refused(r, "try: --test-text needs a value");
    READ(r, "-n");
    assert_refused(r, "try: --test-count needs a value");
    READ(r, "--test-loud=yes");
    assert_refused(r, "try: --test-loud takes no value");
    READ(r, "-hx");
    assert_refused(r, "try: --help takes no value");
    READ(r, "--test-text", "");
    assert_refused(r,
                   "--test-text is \"\"; accepted: a text that is not empty and has no control characters");
    READ(r, "--test-text", "a\nb");
    assert_int_equal(r->status, LIMOE_INVALID);
}

static void each_kind_has_its_range(void **state) {
    struct reading *r = *state;
    static const struct {
        const char *argument;
        bool good;
    } cases[] = {
        {"--test-count=1", false},
        {"--test-count=2", true},
        {"--test-count=9", true},
        {"--test-count=10", false},
        {"--test-count=+3", false},
        {"--test-count= 3", false},
        {"--test-count=3 ", false},
        {"--test-count=0x3", false},
        {"--test-count=", false},
        {"--test-count=3KiB", false},
        {"--test-count=4294967299", false},
        {"--test-port=0", true},
        {"--test-port=65536", false},
        {"--test-wait=0", false},
        {"--test-wait=60", true},
        {"--test-bytes=0", false},
        {"--test-bytes=4GiB", true},
        {"--test-bytes=4097MiB", false},
        {"--test-bytes=5GiB", false},
        {"--test-bytes=1kib", false},
        {"--test-bytes=1KB", false},
        {"--test-bytes=1 KiB", false},
        {"--test-bytes=KiB", false},
        {"--test-bytes=17179869184GiB", false},
        {"--test-rate=0", false},
        {"--test-rate=0.5", true},
        {"--test-rate=1000", true},
        {"--test-rate=1001", false},
        {"--test-rate=-1", false},
        {"--test-rate=nan", false},
        {"--test-rate=1x", false},
        {"--test-color=red", true},
        {"--test-color=Red", false},
        {"--test-color=", false},
        {"--test-big=9999999999999999999", true},
        {"--test-big=99999999999999999999", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        READ(r, cases[i].argument);
        if ((r->status == LIMOE_OK) != cases[i].good)
            fail_msg("%s: %s", cases[i].argument, cases[i].good ? r->err.message : "was accepted");
    }
    READ(r, "--test-bytes=3KiB", "--test-color=red", "--test-rate=2.5");
    assert_int_equal(r->target.bytes, 3072);
    assert_int_equal(r->target.color, RED);
    assert_true(r->target.rate == 2.5);
    READ(r, "--test-bytes=2MiB");
    assert_int_equal(r->target.bytes, 2 << 20);
    READ(r, "--test-color=blue");
    assert_refused(r, "--test-color is \"blue\"; accepted: red, green");
    READ(r, "--test-bytes=5GiB");
    assert_refused(
        r, "--test-bytes is \"5GiB\"; accepted: a whole number of bytes, perhaps with KiB, MiB or GiB, "
           "from 1 to 4GiB");
}

static void a_file_is_read(void **state) {
    struct reading *r = *state;
    parse_text(r, "# comment\n\n  test-count=3#not a comment would be\n");
    assert_refused(
        r, "f.conf:3: test-count is \"3#not a comment would be\"; accepted: a whole number from 2 to 9");
    parse_text(r, " \t# comment\r\n test-count =\t3 # c\r\ntest-text = a b#c   # d\ntest-loud = true\n"
                  "test-port=80");
    assert_int_equal(r->status, LIMOE_OK);
    assert_int_equal(r->target.count, 3);
    assert_string_equal(r->target.text, "a b#c");
    assert_string_equal(r->target.numeral, "80");
    assert_true(r->target.loud);
    parse_text(r, "test-text = \"# \\\"quoted\\\" \\\\ \" # comment\n");
    assert_int_equal(r->status, LIMOE_OK);
    assert_string_equal(r->target.text, "# \"quoted\" \\ ");
    parse_text(r, "");
    assert_int_equal(r->status, LIMOE_OK);
}

static void wrong_lines_are_named(void **state) {
    struct reading *r = *state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"\ntest-cuont = 3", "f.conf:2: try has no option \"test-cuont\"; did you mean test-count?"},
        {"zebra = 3", "f.conf:1: try has no option \"zebra\""},
        {"= 3", "f.conf:1: try has no option \"\""},
        {"test-count 3", "f.conf:1: \"test-count\" is not followed by \"=\"; a line is name = value"},
        {"test-count", "f.conf:1: \"test-count\" is not followed by \"=\"; a line is name = value"},
        {"test-count =", "f.conf:1: test-count has no value"},
        {"test-count = # 3", "f.conf:1: test-count has no value"},
        {"test-count = 3\n\ntest-count = 3", "f.conf:3: test-count was set in line 1 already"},
        {"test-text = \"a", "f.conf:1: the value of test-text has no closing quote"},
        {"test-text = \"a\\\"", "f.conf:1: the value of test-text has no closing quote"},
        {"test-text = \"a\\", "f.conf:1: test-text has a \"\\\" before what is neither \" nor \\"},
        {"test-text = \"a\\n\"", "f.conf:1: test-text has a \"\\\" before what is neither \" nor \\"},
        {"test-text = \"a\" b", "f.conf:1: something follows the value of test-text"},
        {"test-quick = true", "f.conf:1: test-quick is accepted on the command line alone"},
        {"test-list = a", "f.conf:1: test-list is accepted on the command line alone"},
        {"test-config = a", "f.conf:1: test-config is accepted on the command line alone"},
        {"test-loud = yes", "f.conf:1: test-loud is \"yes\"; accepted: true, false"},
        {"a\x01", "f.conf:1: byte 2 of the line is the control character 0x01"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        parse_text(r, cases[i].text);
        assert_refused(r, cases[i].message);
    }
    parse_file(r, "test-text = a\0b", 15);
    assert_refused(r, "f.conf:1: byte 14 of the line is the control character 0x00");
}

static void long_lines_and_files_are_bounded(void **state) {
    struct reading *r = *state;
    char *line = malloc(CONFIG_FILE_MOST + 1);
    assert_non_null(line);
    memset(line, 'x', CONFIG_FILE_MOST + 1);
    parse_file(r, line, CONFIG_FILE_MOST);
    assert_int_equal(r->status, LIMOE_INVALID);
    assert_true(strlen(r->err.message) < 200);

    char path[] = "/tmp/limoe-options-XXXXXX";
    const int fd = mkstemp(path);
    memset(line, '\n', CONFIG_FILE_MOST + 1);
    assert_true(fd >= 0 && write(fd, line, CONFIG_FILE_MOST) == (ssize_t)CONFIG_FILE_MOST);
    READ(r, "--test-config", path);
    assert_int_equal(r->status, LIMOE_OK);
    assert_int_equal(write(fd, "\n", 1), 1);
    READ(r, "--test-config", path);
    assert_int_equal(r->status, LIMOE_TOO_LARGE);
    READ(r, "--test-config", "/dev/zero");
    assert_int_equal(r->status, LIMOE_TOO_LARGE);
    READ(r, "--test-config", "/");
    assert_int_equal(r->status, LIMOE_IO);
    close(fd);
    unlink(path);
    free(line);
}

static char *printed(const struct reading *r) {
    struct buffer out = {0};
    options_print(&r->options, &out);
    assert_false(out.failed);
    char *text = arena_copy(r->arena, out.data, out.size);
    buffer_free(&out);
    return text;
}

static void what_is_printed_reads_back(void **state) {
    struct reading *r = *state;
    setenv("LIMOE_TEST_BYTES", "65536", 1);
    READ(r, "--test-rate=0.1", "--test-text", "a \"b\" \\ # \xC3\xA9", "--test-print", "--test-color=red");
    assert_int_equal(r->options.asked, OPTIONS_SHOW_CONFIG);
    const struct target before = r->target;
    const char *text = printed(r);
    assert_non_null(strstr(text, "test-bytes = 64KiB "));
    assert_non_null(strstr(text, "# environment: LIMOE_TEST_BYTES\n"));
    assert_non_null(strstr(text, "# flag: --test-rate\n"));
    assert_non_null(strstr(text, "#test-count = "));
    assert_non_null(strstr(text, "# default: as many as there are\n"));
    assert_null(strstr(text, "last group"));

    unsetenv("LIMOE_TEST_BYTES");
    parse_text(r, text);
    assert_int_equal(r->status, LIMOE_OK);
    assert_string_equal(r->target.text, before.text);
    assert_int_equal(r->target.bytes, before.bytes);
    assert_int_equal(r->target.wait, before.wait);
    assert_int_equal(r->target.color, before.color);
    assert_int_equal(r->target.count, 0);
    assert_true(r->target.rate == before.rate);
    assert_non_null(strstr(printed(r), "# f.conf:"));
}

static void help_fits_its_columns(void **state) {
    (void)state;
    struct buffer out = {0};
    options_help(&command, &defaults, &out);
    buffer_bytes(&out, "", 1);
    assert_false(out.failed);
    for (const char *line = out.data; *line; line += strcspn(line, "\n") + 1)
        assert_true(strcspn(line, "\n") <= 100);
    for (size_t i = 0; i < command.n; i++) {
        char flag[40];
        snprintf(flag, sizeof flag, "--%s ", command.table[i].name);
        assert_non_null(strstr(out.data, flag));
    }
    assert_non_null(strstr(out.data, "a size (default: 32MiB)\n"));
    assert_non_null(strstr(out.data, "\nsecond group:\n"));
    buffer_free(&out);
}

/* ---- lists of names */

struct named {
    const char *names;
};
static const struct option_row named_table[] = {
    {.name = "test-names", .kind = OPTION_NAMES, .metavar = "A,...", .help = "names"},
    {.name = "test-config", .kind = OPTION_CONFIG, .metavar = "FILE", .help = "a file"},
};
static const struct option_command named_command = {
    .name = "try", .usage = "", .about = "", .table = named_table, .n = 2};

/* What the names are after a file's text, the environment and these arguments; or NULL, and *err says why. */
static const char *read_names(struct arena *arena, const char *file, const char *environment, int argc,
                              const char *const *argv, struct limoe_error *err) {
    struct named target = {0};
    char path[] = "/tmp/limoe-names-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, file, strlen(file)), strlen(file));
    close(fd);
    setenv("LIMOE_TEST_NAMES", environment, 1);
    setenv("LIMOE_TEST_CONFIG", path, 1);
    struct options options;
    const enum limoe_status status =
        options_read(&named_command, argc, (char *const *)argv, &target, arena, &options, err);
    unsetenv("LIMOE_TEST_NAMES");
    unsetenv("LIMOE_TEST_CONFIG");
    unlink(path);
    return status == LIMOE_OK ? target.names : NULL;
}

static void names_are_a_list_that_flags_add_to(void **state) {
    (void)state;
    struct arena *arena = arena_new();
    struct limoe_error err;
    const char *const twice[] = {"try", "--test-names", "a", "--test-names=b,c=d"};
    const char *const bad[] = {"try", "--test-names", "a", "--test-names=b,,c"};
    assert_string_equal(
        read_names(arena, "test-names = \"f, x\" # no\n", "", 1, twice, &err) ? "?" : "refused", "refused");
    assert_non_null(strstr(err.message, "names divided by commas"));
    assert_string_equal(read_names(arena, "test-names = f,g\n", "", 1, twice, &err), "f,g");
    assert_string_equal(read_names(arena, "test-names = f,g\n", "e", 1, twice, &err), "e");
    /* Flags add to each other, and stand in place of what is weaker. */
    assert_string_equal(read_names(arena, "test-names = f,g\n", "e", 3, twice, &err), "a");
    assert_string_equal(read_names(arena, "test-names = f,g\n", "e", 4, twice, &err), "a,b,c=d");
    assert_null(read_names(arena, "", "", 4, bad, &err));
    assert_non_null(strstr(err.message, "--test-names is \"b,,c\"; accepted: names divided by commas"));
    static const char *const wrong[] = {",", "a,", ",a", " a", "a ", "a, b", "a\tb"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_null(read_names(arena, "", wrong[i], 1, twice, &err));
    assert_string_equal(read_names(arena, "", "a b", 1, twice, &err), "a b");
    arena_free(arena);
}

static void names_are_suggested_within_two_edits(void **state) {
    (void)state;
    static const char *const names[] = {"serve", "classify", "of"};
    assert_string_equal(suggest("sevre", names, 3, sizeof *names), "serve");
    assert_string_equal(suggest("clasify", names, 3, sizeof *names), "classify");
    assert_string_equal(suggest("sev", names, 3, sizeof *names), "serve");
    assert_null(suggest("se", names, 3, sizeof *names));
    assert_null(suggest("ab", names, 3, sizeof *names));
    assert_null(suggest("a-name-of-more-letters-than-any-option-has", names, 3, sizeof *names));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(flags_go_before_environment_before_file_before_default),
        CASE(the_command_line_is_read_in_each_form),
        CASE(help_ends_the_reading),
        CASE(wrong_arguments_are_named),
        CASE(each_kind_has_its_range),
        CASE(a_file_is_read),
        CASE(wrong_lines_are_named),
        CASE(long_lines_and_files_are_bounded),
        CASE(what_is_printed_reads_back),
        CASE(help_fits_its_columns),
        cmocka_unit_test(names_are_a_list_that_flags_add_to),
        CASE(names_are_suggested_within_two_edits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
