/* test_described.c - protects manual pages and completion scripts against texts that troff or a shell would take for its own:
 * what is in the table comes out as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/options/completion.h"
#include "server/options/manual.h"

struct target {
    unsigned count;
    const char *file;
    bool loud;
};

static const struct option_row table[] = {
    {.name = "count",
     .kind = OPTION_UNSIGNED,
     .offset = offsetof(struct target, count),
     .least = 1,
     .most = 9,
     .metavar = "N",
     .help = "it's [1: \\few], see --count-all",
     .group = "limits"},
    {.name = "file",
     .kind = OPTION_STRING,
     .offset = offsetof(struct target, file),
     .metavar = "FILE",
     .help = ".hidden `$(x)`"},
    {.name = "loud",
     .only_flag = true,
     .kind = OPTION_SWITCH,
     .offset = offsetof(struct target, loud),
     .help = "loudly"},
    {.name = "help", .letter = 'h', .kind = OPTION_HELP, .help = "this"},
};
static const struct target defaults = {.count = 3};
static const struct option_note exits[] = {{"0", "fine"}, {NULL, NULL}};
static const struct option_note uses[] = {{". 'x'", "'quoted' at the line's begin"}, {NULL, NULL}};
static const struct option_command run = {
    .name = "run",
    .summary = "do it",
    .usage = "tool run [--count N] [options] FILE...",
    .operand = "FILE",
    .about = "A sentence that is long enough to be broken, so that what follows would begin a line: .so "
             "/etc/passwd is text.",
    .table = table,
    .n = sizeof table / sizeof *table,
    .defaults = &defaults,
    .exits = exits,
    .uses = uses,
};
static const struct option_command self = {
    .name = "tool", .summary = "a tool", .usage = "tool COMMAND", .about = "It."};
static const struct option_command *const commands[] = {&run};
static const struct option_program program = {&self, commands, 1};

static void expect(const struct buffer *out, const char *part) {
    if (!memmem(out->data, out->size, part, strlen(part)))
        fail_msg("no %s in\n%.*s", part, (int)out->size, out->data);
}

static void a_page_holds_its_texts(void **state) {
    (void)state;
    struct buffer out = {0};
    manual_page(&program, &run, "tool 1.0", "2026-01-02", &out);
    assert_false(out.failed);
    expect(&out, ".TH TOOL\\-RUN 1 \"2026-01-02\" \"tool 1.0\" \"User Commands\"\n");
    expect(&out, "\ntool\\-run \\- do it\n");
    expect(&out, "\n\\fB\\%tool\\fR \\fB\\%run\\fR [\\fB\\%\\-\\-count\\fR \\fI\\%N\\fR] "
                 "[\\fI\\%options\\fR] \\fI\\%FILE\\fR...\n");
    expect(&out, ".SS \"Limits\"\n");
    expect(&out, "\nit\\(aqs [1: \\efew], see \\fB\\%\\-\\-count\\-all\\fR.\n.br\nDefault: 3.\n"
                 ".br\nAccepted: a whole number from 1 to 9.\n.br\nEnvironment: \\fB\\%LIMOE_COUNT\\fR.\n");
    expect(&out, "\n\\&.hidden \\(ga$(x)\\(ga.\n");
    expect(&out, "\n\\&. \\(aqx\\(aq\n");
    expect(&out, "\n\\(aqquoted\\(aq at the line\\(aqs begin:\n");
    expect(&out, "\n.BR \\%tool (1)\n");
    /* No line begins a request that man(7) does not have. */
    static const char *const requests[] = {".TH", ".SH", ".SS", ".TP", ".PP", ".RS",
                                           ".RE", ".EX", ".EE", ".BR", ".br", ".ad"};
    buffer_bytes(&out, "", 1);
    for (const char *line = out.data; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        assert_true(*line != '\'');
        bool known = *line != '.';
        for (size_t i = 0; i < sizeof requests / sizeof *requests; i++)
            known = known || (strncmp(line, requests[i], 3) == 0 && strchr(" \n", line[3]));
        if (!known)
            fail_msg("%.40s", line);
    }
    buffer_free(&out);
}

static void a_script_holds_its_texts(void **state) {
    (void)state;
    struct buffer out = {0};
    assert_true(completion_script(&program, "zsh", &out));
    expect(&out, "'--count=[it'\\''s \\[1\\: \\\\few\\], see --count-all]:N: '");
    expect(&out, "'--file=[.hidden `$(x)`]:FILE:_files'");
    expect(&out, "'(-h --help)'{-h,--help}'[this]'");
    buffer_free(&out);
    assert_true(completion_script(&program, "fish", &out));
    expect(&out, "-l count -x -d 'it\\'s [1: \\\\few], see --count-all'\n");
    expect(&out, "-l file -r -F -d '.hidden `$(x)`'\n");
    buffer_free(&out);
    assert_true(completion_script(&program, "bash", &out));
    expect(&out, "options='--count --file --loud -h --help' operand='@file'\n");
    expect(&out, "--count) value='@nothing' ;;\n");
    expect(&out, "--file) value='@file' ;;\n");
    buffer_free(&out);
    assert_false(completion_script(&program, "tcsh", &out));
    assert_int_equal(out.size, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_page_holds_its_texts),
                                       cmocka_unit_test(a_script_holds_its_texts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
