/* completion_fish.c - for fish. */
#include "server/options/completion_parts.h"
#include "server/options/value.h"

/* In single quotes fish has two escapes of its own: \\ and \'. */
static void put_quoted(const char *text, struct buffer *out) {
    buffer_string(out, "'");
    for (; *text; text++) {
        if (*text == '\\' || *text == '\'')
            buffer_string(out, "\\");
        buffer_bytes(out, text, 1);
    }
    buffer_string(out, "'");
}

static void put_condition(const char *program, const char *command, struct buffer *out) {
    buffer_print(out, "complete -c %s -n '__%s_command %s'", program, program, command);
}

static void put_option(const struct option_row *option, struct buffer *out) {
    if (option->letter)
        buffer_print(out, " -s %c", option->letter);
    buffer_print(out, " -l %s", option->name);
    if (option_takes_value(option)) {
        switch (completion_of(option)) {
        case COMPLETE_NOTHING:
            buffer_string(out, " -x");
            break;
        case COMPLETE_FILE:
            buffer_string(out, " -r -F");
            break;
        case COMPLETE_DIRECTORY:
            buffer_string(out, " -x -a '(__fish_complete_directories)'");
            break;
        case COMPLETE_WORDS:
            buffer_string(out, " -x -a '");
            completion_words(option, out);
            buffer_string(out, "'");
            break;
        }
    }
    buffer_string(out, " -d ");
    put_quoted(option->help, out);
    buffer_string(out, "\n");
}

static void put_command(const struct option_program *program, const struct option_command *command,
                        struct buffer *out) {
    const char *name = program->self->name;
    buffer_print(out, "complete -c %s -n __%s_none -a %s -d ", name, name, command->name);
    put_quoted(command->summary, out);
    buffer_string(out, "\n");
    for (size_t i = 0; i < command->n; i++) {
        put_condition(name, command->name, out);
        put_option(&command->table[i], out);
    }
    const enum completion operand = completion_of_operand(command);
    if (operand == COMPLETE_NOTHING)
        return;
    put_condition(name, command->name, out);
    if (operand == COMPLETE_WORDS) {
        buffer_string(out, " -a '");
        completion_operand_words(program, command, out);
        buffer_string(out, "'\n");
    } else
        buffer_string(out, operand == COMPLETE_FILE ? " -F\n" : " -a '(__fish_complete_directories)'\n");
}

void completion_fish(const struct option_program *program, struct buffer *out) {
    const char *name = program->self->name;
    buffer_print(out,
                 "# Completion of %s for fish, made by `%s completion fish`.\n"
                 "function __%s_none\n"
                 "    test (count (commandline -opc)) -eq 1\n"
                 "end\n"
                 "function __%s_command\n"
                 "    set -l words (commandline -opc)\n"
                 "    test (count $words) -gt 1; and test $words[2] = $argv[1]\n"
                 "end\n"
                 "complete -c %s -f\n",
                 name, name, name, name, name);
    for (size_t i = 0; i < program->self->n; i++) {
        buffer_print(out, "complete -c %s -n __%s_none", name, name);
        put_option(&program->self->table[i], out);
    }
    for (size_t i = 0; i < program->n; i++)
        put_command(program, program->commands[i], out);
}
