/* about.c - limoe completion and limoe manual: the table of options for shells and for man. One thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "limoe.h"
#include "server/commands/commands.h"
#include "server/options/command.h"
#include "server/options/completion.h"
#include "server/options/manual.h"

static const struct option_row table[] = {COMMAND_HELP_ROW};
static const struct option_note exits[] = {{"0", "it is printed"},
                                           {"1", "standard output takes no more"},
                                           {"2", "the command line is wrong"},
                                           {NULL, NULL}};

static const struct option_note completion_uses[] = {
    {". <(limoe completion bash)", "In this shell"},
    {"limoe completion bash >~/.local/share/bash-completion/completions/limoe", "In every bash of this user"},
    {"limoe completion zsh >~/.zsh/completions/_limoe",
     "In every zsh, with that folder in fpath before compinit"},
    {"limoe completion fish >~/.config/fish/completions/limoe.fish", "In every fish"},
    {NULL, NULL},
};

const struct option_command completion_command = {
    .name = "completion",
    .summary = "print a script that completes command lines",
    .usage = "limoe completion SHELL",
    .operand = "SHELL",
    .about = "Prints what a shell (bash, zsh or fish) reads to complete commands, options and their values. "
             "An installation "
             "has it in place already.",
    .table = table,
    .n = sizeof table / sizeof *table,
    .exits = exits,
    .uses = completion_uses,
};

static const struct option_note manual_environment[] = {
    {"SOURCE_DATE_EPOCH", "seconds since 1970: the date at the foot of the page, in place of today"},
    {NULL, NULL}};
static const struct option_note manual_uses[] = {
    {"limoe manual serve | man -l -", "To read one that is not installed"}, {NULL, NULL}};

const struct option_command manual_command = {
    .name = "manual",
    .summary = "print a manual page",
    .usage = "limoe manual [COMMAND]",
    .operand = "COMMAND",
    .about = "Prints the manual page of a command, or without one of the program, as man reads it. An "
             "installation has "
             "them in place already.",
    .table = table,
    .n = sizeof table / sizeof *table,
    .exits = exits,
    .environment = manual_environment,
    .uses = manual_uses,
};

/* One operand, or none where there may be none. False: exit with *status. */
static bool parse(const struct option_command *command, int argc, char **argv, struct arena *arena,
                  const char **operand, int *status) {
    struct options options;
    *operand = NULL;
    if (!arena) {
        command_complain("no memory");
        *status = COMMAND_INPUT;
        return false;
    }
    if (!command_options(command, argc, argv, NULL, arena, &options, status))
        return false;
    if (options.n_operands > 1) {
        *status = command_usage(command->name, "one %s at a time; found \"%s\" after \"%s\"",
                                command->operand, options.operands[1], options.operands[0]);
        return false;
    }
    *operand = options.n_operands ? options.operands[0] : NULL;
    return true;
}

int completion_main(const struct option_program *program, int argc, char **argv) {
    struct arena *arena = arena_new();
    struct buffer out = {0};
    const char *shell;
    int status;
    if (!parse(&completion_command, argc, argv, arena, &shell, &status))
        goto out;
    status = COMMAND_OK;
    if (!shell)
        status = command_usage("completion", "no shell; accepted: bash, zsh, fish");
    else if (!completion_script(program, shell, &out))
        status = command_usage("completion", "the shell is \"%s\"; accepted: bash, zsh, fish", shell);
    else if (!command_print(&out, false))
        status = COMMAND_INPUT;
out:
    buffer_free(&out);
    arena_free(arena);
    return status;
}

/* "2026-11-27": of SOURCE_DATE_EPOCH, so that a build can be repeated to the byte, or today. */
static const char *page_date(char room[16]) {
    const char *epoch = getenv("SOURCE_DATE_EPOCH");
    char *end = NULL;
    struct tm utc;
    errno = 0;
    const long long given = epoch ? strtoll(epoch, &end, 10) : 0;
    const time_t when = epoch && *epoch && !*end && !errno ? (time_t)given : time(NULL);
    return gmtime_r(&when, &utc) && strftime(room, 16, "%Y-%m-%d", &utc) ? room : "";
}

/* NULL: there is none of that name, and *meant is what it may have been, or NULL. */
static const struct option_command *find(const struct option_program *program, const char *name,
                                         struct arena *arena, const char **meant) {
    const char **names = arena_array(arena, program->n, sizeof *names);
    for (size_t i = 0; i < program->n; i++) {
        if (strcmp(name, program->commands[i]->name) == 0)
            return program->commands[i];
        if (names)
            names[i] = program->commands[i]->name;
    }
    *meant = names ? command_suggest(name, names, program->n) : NULL;
    return NULL;
}

int manual_main(const struct option_program *program, int argc, char **argv) {
    struct arena *arena = arena_new();
    struct buffer out = {0};
    const char *name, *meant = NULL;
    char date[16];
    int status;
    if (!parse(&manual_command, argc, argv, arena, &name, &status))
        goto out;
    const struct option_command *command = name ? find(program, name, arena, &meant) : program->self;
    if (!command) {
        status = command_usage("manual",
                               meant ? "there is no command \"%s\"; did you mean \"%s\"?"
                                     : "there is no command \"%s\"",
                               name, meant);
        goto out;
    }
    manual_page(program, command, limoe_version(), page_date(date), &out);
    status = command_print(&out, false) ? COMMAND_OK : COMMAND_INPUT;
out:
    buffer_free(&out);
    arena_free(arena);
    return status;
}
