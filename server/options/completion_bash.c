/* completion_bash.c - for bash, with or without the package bash-completion. */
#include "server/options/completion_parts.h"
#include "server/options/value.h"

/* How the script's end knows a kind of value from words. */
static const char *const marks[] = {
    [COMPLETE_NOTHING] = "@nothing", [COMPLETE_FILE] = "@file", [COMPLETE_DIRECTORY] = "@directory"};

static void put_options(const struct option_command *command, struct buffer *out) {
    for (size_t i = 0; i < command->n; i++) {
        if (command->table[i].letter)
            buffer_print(out, "%s-%c", i ? " " : "", command->table[i].letter);
        buffer_print(out, "%s--%s", i || command->table[i].letter ? " " : "", command->table[i].name);
    }
}

static void put_command(const struct option_program *program, const struct option_command *command,
                        struct buffer *out) {
    buffer_print(out, "    %s)\n        options='", command->name);
    put_options(command, out);
    buffer_string(out, "' operand='");
    const enum completion operand = completion_of_operand(command);
    if (operand == COMPLETE_WORDS)
        completion_operand_words(program, command, out);
    else
        buffer_string(out, marks[operand]);
    buffer_string(out, "'\n        case $before in\n");
    for (size_t i = 0; i < command->n; i++) {
        const struct option_row *option = &command->table[i];
        if (!option_takes_value(option))
            continue;
        const enum completion value = completion_of(option);
        buffer_print(out, "        --%s) value='", option->name);
        if (value == COMPLETE_WORDS)
            completion_words(option, out);
        else
            buffer_string(out, marks[value]);
        buffer_string(out, "' ;;\n");
    }
    buffer_string(out, "        esac\n        ;;\n");
}

void completion_bash(const struct option_program *program, struct buffer *out) {
    const char *name = program->self->name;
    buffer_print(out, "# Completion of %s for bash, made by `%s completion bash`.\n", name, name);
    buffer_print(out,
                 "_%s() {\n"
                 "    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n"
                 "    local options='' operand='' value=''\n"
                 "    # bash takes --option=VALUE for three words.\n"
                 "    if [[ $current == = ]]; then\n"
                 "        current=\n"
                 "    elif [[ $before == = && $COMP_CWORD -gt 1 ]]; then\n"
                 "        before=${COMP_WORDS[COMP_CWORD - 2]}\n"
                 "    fi\n"
                 "    COMPREPLY=()\n"
                 "    if ((COMP_CWORD == 1)); then\n"
                 "        mapfile -t COMPREPLY < <(compgen -W '",
                 name);
    for (size_t i = 0; i < program->n; i++)
        buffer_print(out, "%s ", program->commands[i]->name);
    put_options(program->self, out);
    buffer_string(out, "' -- \"$current\")\n"
                       "        return\n"
                       "    fi\n"
                       "    case ${COMP_WORDS[1]} in\n");
    for (size_t i = 0; i < program->n; i++)
        put_command(program, program->commands[i], out);
    buffer_string(out, "    esac\n"
                       "    if [[ -z $value && $current == -* ]]; then\n"
                       "        value=$options\n"
                       "    fi\n"
                       "    case ${value:=$operand} in\n"
                       "    @nothing | '') ;;\n"
                       "    @file | @directory)\n"
                       "        compopt -o filenames 2>/dev/null\n"
                       "        [[ $value == @file ]] && value=-f || value=-d\n"
                       "        mapfile -t COMPREPLY < <(compgen \"$value\" -- \"$current\")\n"
                       "        ;;\n"
                       "    *) mapfile -t COMPREPLY < <(compgen -W \"$value\" -- \"$current\") ;;\n"
                       "    esac\n"
                       "}\n");
    buffer_print(out, "complete -F _%s %s\n", name, name);
}
