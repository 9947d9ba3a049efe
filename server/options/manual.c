/* manual.c - one page: what --help says, with ranges, variables, files and examples. */
#include "server/options/manual.h"

#include <string.h>

#include "server/options/value.h"

/* ---- text → man(7) source */

/* The characters that troff takes for something else. A dash stays a hyphen in prose, and is ASCII's where people copy it. */
static void put(char c, bool literal, struct buffer *out) {
    static const struct {
        char c;
        const char *escape;
    } escapes[] = {{'\\', "\\e"},  {'\'', "\\(aq"}, {'"', "\\(dq"},
                   {'`', "\\(ga"}, {'^', "\\(ha"},  {'~', "\\(ti"}};
    for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++)
        if (c == escapes[i].c) {
            buffer_string(out, escapes[i].escape);
            return;
        }
    if (c == '-' && literal)
        buffer_string(out, "\\");
    buffer_bytes(out, &c, 1);
}

static void put_literal(const char *text, size_t size, struct buffer *out) {
    for (size_t i = 0; i < size; i++)
        put(text[i], true, out);
}

static void put_in(const char *font, const char *text, size_t size, struct buffer *out) {
    buffer_print(out, "\\f%s\\%%", font); /* not to be hyphenated */
    put_literal(text, size, out);
    buffer_string(out, "\\fR");
}

static bool is_upper(char c) {
    return c >= 'A' && c <= 'Z';
}

static bool is_of_word(char c) {
    return is_upper(c) || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* How many letters of an option ("--model") or a variable ("LIMOE_MODEL") stand at text[0]; 0: neither does. */
static size_t literal_size(const char *text) {
    if (strncmp(text, "--", 2) != 0 && strncmp(text, "LIMOE_", 6) != 0)
        return 0;
    size_t n = 0;
    while (is_of_word(text[n]))
        n++;
    return n > 2 ? n : 0;
}

/* Prose, options and variables in bold, in lines of a length that diff and mandoc like. No line begins with a dot, which
 * would make it a request. */
static void put_prose(const char *text, struct buffer *out) {
    enum { COLUMNS = 58 };
    size_t begin = out->size; /* of the line */
    for (size_t i = 0; text[i];) {
        if (text[i] == ' ' && out->size - begin >= COLUMNS) {
            buffer_string(out, "\n");
            begin = out->size;
            i++;
        }
        if (text[i] == '.' && begin == out->size)
            buffer_string(out, "\\&");
        const size_t n = i && is_of_word(text[i - 1]) ? 0 : literal_size(text + i);
        if (n)
            put_in("B", text + i, n, out);
        else
            put(text[i], false, out);
        i += n ? n : 1;
    }
}

/* A usage line: what is typed as it is in bold, what it stands for in italics, brackets and dots plain. */
static void put_usage(const char *usage, struct buffer *out) {
    for (size_t i = 0; usage[i];) {
        size_t n = 0;
        while (is_of_word(usage[i + n]))
            n++;
        const bool stands = n && (is_upper(usage[i]) || strncmp(usage + i, "options", n) == 0);
        if (n)
            put_in(stands ? "I" : "B", usage + i, n, out);
        else
            put(usage[i], false, out);
        i += n ? n : 1;
    }
    buffer_string(out, "\n");
}

/* ---- sections */

/* A section's is in capitals, a subsection's begins with one. */
static void put_heading(const char *macro, const char *text, struct buffer *out) {
    const bool section = strcmp(macro, "SH") == 0;
    buffer_print(out, ".%s \"", macro);
    for (size_t i = 0; text[i]; i++)
        put((section || !i) && text[i] >= 'a' && text[i] <= 'z' ? (char)(text[i] - 'a' + 'A') : text[i],
            false, out);
    buffer_string(out, "\"\n");
}

static void put_paragraph(const char *text, struct buffer *out) {
    put_prose(text, out);
    buffer_string(out, "\n");
}

/* "Default: 8080.", a line of its own. */
static void put_line(const char *what, struct buffer *value, struct buffer *out) {
    buffer_bytes(value, "", 1);
    if (value->size > 1 && !value->failed) {
        buffer_print(out, ".br\n%s: ", what);
        put_prose(value->data, out);
        buffer_string(out, ".\n");
    }
    out->failed = out->failed || value->failed;
    buffer_free(value);
}

static void put_value(const struct option_row *option, const void *defaults, struct buffer *out) {
    struct buffer value = {0}, accepted = {0}, variable = {0};
    char name[OPTION_LABEL_SIZE];
    if (option->fallback)
        buffer_string(&value, option->fallback);
    else if (defaults && option->kind < OPTION_LIST && option->kind != OPTION_SWITCH)
        option_show(option, defaults, false, &value);
    if (option->kind >= OPTION_NUMERAL && option->kind <= OPTION_CHOICE)
        option_accepted(option, &accepted);
    if (option_configurable(option))
        buffer_string(&variable, option_variable(option, name));
    put_line("Default", &value, out);
    put_line("Accepted", &accepted, out);
    put_line("Environment", &variable, out);
}

static void put_options(const struct option_command *command, struct buffer *out) {
    put_heading("SH", "options", out);
    for (size_t i = 0; i < command->n; i++) {
        const struct option_row *option = &command->table[i];
        if (option->group)
            put_heading("SS", option->group, out);
        buffer_string(out, ".TP\n");
        if (option->letter) {
            const char letter[] = {'-', option->letter};
            put_in("B", letter, sizeof letter, out);
            buffer_string(out, ", ");
        }
        buffer_string(out, "\\fB\\-\\-");
        put_literal(option->name, strlen(option->name), out);
        buffer_string(out, "\\fR");
        if (option->metavar) {
            buffer_string(out, " ");
            put_in("I", option->metavar, strlen(option->metavar), out);
        }
        buffer_string(out, "\n");
        put_prose(option->help, out);
        buffer_string(out, ".\n");
        put_value(option, command->defaults, out);
    }
}

static void put_notes(const char *heading, const struct option_note *notes, const struct option_note *more,
                      struct buffer *out) {
    if (!notes && !more)
        return;
    put_heading("SH", heading, out);
    const struct option_note *const lists[] = {notes, more};
    for (size_t i = 0; i < 2; i++)
        for (const struct option_note *note = lists[i]; note && note->term; note++) {
            buffer_string(out, ".TP\n");
            put_in("B", note->term, strlen(note->term), out);
            buffer_string(out, "\n");
            put_prose(note->text, out);
            buffer_string(out, ".\n");
        }
}

/* Each line of a command line stands alone, as in a terminal. */
static void put_examples(const struct option_note *uses, struct buffer *out) {
    if (!uses)
        return;
    put_heading("SH", "examples", out);
    for (const struct option_note *use = uses; use->term; use++) {
        if (use != uses)
            buffer_string(out, ".PP\n");
        put_prose(use->text, out);
        buffer_string(out, ":\n.PP\n.RS 4\n.EX\n");
        buffer_string(out, "\\&"); /* the line may begin with a dot */
        put_literal(use->term, strlen(use->term), out);
        buffer_string(out, "\n.EE\n.RE\n");
    }
}

static void put_commands(const struct option_program *program, struct buffer *out) {
    put_heading("SH", "commands", out);
    for (size_t i = 0; i < program->n; i++) {
        const struct option_command *command = program->commands[i];
        buffer_string(out, ".TP\n");
        put_in("B", command->name, strlen(command->name), out);
        buffer_string(out, "\n");
        put_prose(command->summary, out);
        buffer_print(out, ": \\fB%s\\-%s\\fR(1).\n", program->self->name, command->name);
    }
}

static void put_others(const struct option_program *program, const struct option_command *command,
                       struct buffer *out) {
    put_heading("SH", "see also", out);
    const char *separator = "";
    if (command != program->self) {
        buffer_print(out, ".BR \\%%%s (1)", program->self->name);
        separator = ",\n";
    }
    for (size_t i = 0; i < program->n; i++) {
        if (program->commands[i] == command)
            continue;
        buffer_print(out, "%s.BR \\%%%s\\-%s (1)", separator, program->self->name,
                     program->commands[i]->name);
        separator = ",\n";
    }
    buffer_string(out, "\n");
}

/* ---- the page */

static void put_title(const struct option_program *program, const struct option_command *command,
                      const char *version, const char *date, struct buffer *out) {
    const bool whole = command == program->self;
    const char *names[] = {program->self->name, whole ? "" : command->name};
    buffer_string(out, ".TH ");
    for (size_t i = 0; i < 2; i++) {
        if (i && !whole)
            buffer_string(out, "\\-");
        for (const char *c = names[i]; *c; c++)
            buffer_print(out, "%c", *c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
    }
    buffer_print(out, " 1 \"%s\" \"%s\" \"User Commands\"\n", date, version);
    buffer_string(out, ".ad l\n"); /* no holes between words */
    put_heading("SH", "name", out);
    buffer_print(out, "%s%s%s \\- ", names[0], whole ? "" : "\\-", names[1]);
    put_paragraph(command->summary, out);
}

/* Modules, the bundled model and the like matter to what computes. */
static bool computes(const struct option_command *command) {
    for (size_t i = 0; i < command->n; i++)
        if (command->table[i].kind == OPTION_DEVICE)
            return true;
    return false;
}

void manual_page(const struct option_program *program, const struct option_command *command,
                 const char *version, const char *date, struct buffer *out) {
    const bool whole = command == program->self;
    const struct option_command *common = computes(command) ? program->self : NULL;
    put_title(program, command, version, date, out);
    put_heading("SH", "synopsis", out);
    put_usage(command->usage, out);
    put_heading("SH", "description", out);
    put_paragraph(command->about, out);
    if (command->more) {
        buffer_string(out, ".PP\n");
        put_paragraph(command->more, out);
    }
    if (whole)
        put_commands(program, out);
    put_options(command, out);
    put_notes("environment", command->environment, common ? common->environment : NULL, out);
    put_notes("files", command->files, common ? common->files : NULL, out);
    put_notes("exit status", command->exits, NULL, out);
    put_examples(command->uses, out);
    put_others(program, command, out);
}
