/* completion.c - what a value is, for whichever shell. */
#include "server/options/completion.h"

#include <string.h>

#include "server/options/completion_parts.h"
#include "server/options/value.h"

const struct option_choice completion_shells[] = {{"bash", 0}, {"zsh", 0}, {"fish", 0}, {NULL, 0}};

/* The help's own words for a value say what it is. */
static enum completion by_metavar(const char *metavar) {
    if (!metavar)
        return COMPLETE_NOTHING;
    if (strcmp(metavar, "FILE") == 0 || strcmp(metavar, "PATH") == 0)
        return COMPLETE_FILE;
    return strcmp(metavar, "DIR") == 0 ? COMPLETE_DIRECTORY : COMPLETE_NOTHING;
}

enum completion completion_of(const struct option_row *option) {
    return option->kind == OPTION_CHOICE || option->kind == OPTION_DEVICE ? COMPLETE_WORDS
                                                                          : by_metavar(option->metavar);
}

enum completion completion_of_operand(const struct option_command *command) {
    const bool words = command->operand &&
                       (strcmp(command->operand, "COMMAND") == 0 || strcmp(command->operand, "SHELL") == 0);
    return words ? COMPLETE_WORDS : by_metavar(command->operand);
}

static void put_choices(const struct option_choice *choices, struct buffer *out) {
    for (const struct option_choice *choice = choices; choice->name; choice++)
        buffer_print(out, "%s%s", choice == choices ? "" : " ", choice->name);
}

void completion_words(const struct option_row *option, struct buffer *out) {
    if (option->kind == OPTION_DEVICE)
        buffer_string(out, "auto cpu cuda");
    else
        put_choices(option->choices, out);
}

void completion_operand_words(const struct option_program *program, const struct option_command *command,
                              struct buffer *out) {
    if (strcmp(command->operand, "SHELL") == 0) {
        put_choices(completion_shells, out);
        return;
    }
    for (size_t i = 0; i < program->n; i++)
        buffer_print(out, "%s%s", i ? " " : "", program->commands[i]->name);
}

void completion_escape(const char *text, const char *special, struct buffer *out) {
    for (; *text; text++) {
        if (*text == '\'') {
            buffer_string(out, "'\\''");
            continue;
        }
        if (strchr(special, *text))
            buffer_string(out, "\\");
        buffer_bytes(out, text, 1);
    }
}

bool completion_script(const struct option_program *program, const char *shell, struct buffer *out) {
    if (strcmp(shell, "bash") == 0)
        completion_bash(program, out);
    else if (strcmp(shell, "zsh") == 0)
        completion_zsh(program, out);
    else if (strcmp(shell, "fish") == 0)
        completion_fish(program, out);
    else
        return false;
    return true;
}
