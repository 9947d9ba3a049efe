/* completion_zsh.c - for zsh: a function to autoload, or to be sourced once compinit has run. */
#include "server/options/completion_parts.h"
#include "server/options/value.h"

static const char *const actions[] = {
    [COMPLETE_NOTHING] = " ", [COMPLETE_FILE] = "_files", [COMPLETE_DIRECTORY] = "_files -/"};

/* '*--image=[a picture]:FILE:_files' */
static void put_option(const struct option_row *option, struct buffer *out) {
    const bool takes = option_takes_value(option),
               again = option->kind == OPTION_LIST || option->kind == OPTION_NAMES;
    buffer_string(out, " \\\n            ");
    if (option->letter)
        buffer_print(out, "'(-%c --%s)'{-%c,--%s}'[", option->letter, option->name, option->letter,
                     option->name);
    else
        buffer_print(out, "'%s--%s%s[", again ? "*" : "", option->name, takes ? "=" : "");
    completion_escape(option->help, "[]:\\", out);
    buffer_string(out, "]");
    if (takes) {
        const enum completion value = completion_of(option);
        buffer_string(out, ":");
        completion_escape(option->metavar, ":\\", out);
        buffer_string(out, ":");
        if (value == COMPLETE_WORDS) {
            struct buffer words = {0};
            completion_words(option, &words);
            buffer_bytes(&words, "", 1);
            buffer_string(out, "(");
            if (!words.failed)
                completion_escape(words.data, ":\\", out);
            buffer_string(out, ")");
            out->failed = out->failed || words.failed;
            buffer_free(&words);
        } else
            buffer_string(out, actions[value]);
    }
    buffer_string(out, "'");
}

static void put_command(const struct option_program *program, const struct option_command *command,
                        struct buffer *out) {
    buffer_print(out, "    %s)\n        _arguments -s -S", command->name);
    for (size_t i = 0; i < command->n; i++)
        put_option(&command->table[i], out);
    if (command->operand) {
        const enum completion operand = completion_of_operand(command);
        buffer_print(out, " \\\n            '*:%s:", command->operand);
        if (operand == COMPLETE_WORDS) {
            buffer_string(out, "(");
            completion_operand_words(program, command, out);
            buffer_string(out, ")");
        } else
            buffer_string(out, actions[operand]);
        buffer_string(out, "'");
    }
    buffer_string(out, "\n        ;;\n");
}

void completion_zsh(const struct option_program *program, struct buffer *out) {
    const char *name = program->self->name;
    buffer_print(out, "#compdef %s\n# Completion of %s for zsh, made by `%s completion zsh`.\n_%s() {\n",
                 name, name, name, name);
    buffer_string(out, "    local curcontext=$curcontext\n"
                       "    if ((CURRENT == 2)); then\n"
                       "        local -a commands=(");
    for (size_t i = 0; i < program->n; i++) {
        buffer_print(out, "\n            '%s:", program->commands[i]->name);
        completion_escape(program->commands[i]->summary, ":\\", out);
        buffer_string(out, "'");
    }
    buffer_string(out, ")\n        _describe -t commands command commands\n        _arguments -s");
    for (size_t i = 0; i < program->self->n; i++)
        put_option(&program->self->table[i], out);
    buffer_print(out,
                 "\n        return\n"
                 "    fi\n"
                 "    local command=$words[2]\n"
                 "    curcontext=${curcontext%%:*:*}:%s-$command:\n"
                 "    shift words\n"
                 "    ((CURRENT--))\n"
                 "    case $command in\n",
                 name);
    for (size_t i = 0; i < program->n; i++)
        put_command(program, program->commands[i], out);
    buffer_print(out,
                 "    esac\n"
                 "}\n"
                 "if [[ $funcstack[1] == _%s ]]; then\n"
                 "    _%s \"$@\"\n"
                 "else\n"
                 "    compdef _%s %s\n"
                 "fi\n",
                 name, name, name, name);
}
