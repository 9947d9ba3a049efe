/* options.c - the sources of a command's options, in the order of their strength. */
#include "server/options/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "server/options/config_file.h"
#include "server/options/suggest.h"
#include "server/options/value.h"

/* What the command line holds, before any of it is applied: a file, which is weaker, must come first. */
struct line {
    struct option_value *given; /* [n], in order */
    size_t n;
};

static enum limoe_status no_memory(struct limoe_error *err) {
    return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the options");
}

/* ---- the command line */

static const struct option_row *by_name(const struct option_command *command, const char *name, size_t size) {
    for (size_t i = 0; i < command->n; i++)
        if (text_is((struct text){.data = name, .size = size}, command->table[i].name))
            return &command->table[i];
    return NULL;
}

static const struct option_row *by_letter(const struct option_command *command, char letter) {
    for (size_t i = 0; i < command->n; i++)
        if (command->table[i].letter == letter)
            return &command->table[i];
    return NULL;
}

static enum limoe_status unknown(const struct option_command *command, const char *argument,
                                 struct limoe_error *err) {
    char found[96], name[64];
    snprintf(name, sizeof name, "%s", argument + strspn(argument, "-"));
    name[strcspn(name, "=")] = '\0';
    const char *meant = suggest(name, &command->table->name, command->n, sizeof *command->table);
    return limoe_fail(err, LIMOE_INVALID, "%s has no option \"%s\"%s%s%s", command->name,
                      text_quote(text_of(argument), found, sizeof found), meant ? "; did you mean --" : "",
                      meant ? meant : "", meant ? "?" : "");
}

/* One option, at argv[*i]; *i moves on over a value in an argument of its own. `value` is what is written in
 * the same argument, NULL: nothing. */
static enum limoe_status take(struct options *options, const struct option_row *option, const char *value,
                              int argc, char *const *argv, int *i, struct line *line,
                              struct limoe_error *err) {
    if (option_takes_value(option)) {
        if (!value && *i + 1 >= argc)
            return limoe_fail(err, LIMOE_INVALID, "%s: --%s needs a value", options->command->name,
                              option->name);
        if (!value)
            value = argv[++*i];
    } else if (value)
        return limoe_fail(err, LIMOE_INVALID, "%s: --%s takes no value", options->command->name,
                          option->name);
    if (option->kind == OPTION_HELP)
        options->asked = OPTIONS_SHOW_HELP;
    else if (option->kind == OPTION_PRINT_CONFIG)
        options->asked = OPTIONS_SHOW_CONFIG;
    else
        line->given[line->n++] = (struct option_value){.option = option, .value = value ? value : "true"};
    return LIMOE_OK;
}

static enum limoe_status take_long(struct options *options, int argc, char *const *argv, int *i,
                                   struct line *line, struct limoe_error *err) {
    const char *argument = argv[*i];
    const char *name = argument + 2;
    const size_t size = strcspn(name, "=");
    const struct option_row *option = by_name(options->command, name, size);
    if (!option)
        return unknown(options->command, argument, err);
    return take(options, option, name[size] ? name + size + 1 : NULL, argc, argv, i, line, err);
}

/* "-x", "-x VALUE", "-xVALUE". */
static enum limoe_status take_letter(struct options *options, int argc, char *const *argv, int *i,
                                     struct line *line, struct limoe_error *err) {
    const char letter = argv[*i][1], *rest = argv[*i] + 2;
    const struct option_row *option = by_letter(options->command, letter);
    if (!option)
        return limoe_fail(err, LIMOE_INVALID, "%s has no option \"-%c\"", options->command->name,
                          letter > ' ' && letter < 0x7f ? letter : '?');
    return take(options, option, *rest ? rest : NULL, argc, argv, i, line, err);
}

/* Arguments → options given and operands. Stops early at --help. */
static enum limoe_status read_line(struct options *options, int argc, char *const *argv, struct line *line,
                                   struct limoe_error *err) {
    bool operands = false; /* "--" was seen */
    for (int i = 1; i < argc && options->asked != OPTIONS_SHOW_HELP; i++) {
        enum limoe_status status = LIMOE_OK;
        if (operands || argv[i][0] != '-' || !argv[i][1])
            options->operands[options->n_operands++] = argv[i];
        else if (strcmp(argv[i], "--") == 0)
            operands = true;
        else if (argv[i][1] == '-')
            status = take_long(options, argc, argv, &i, line, err);
        else
            status = take_letter(options, argc, argv, &i, line, err);
        if (status != LIMOE_OK)
            return status;
    }
    return LIMOE_OK;
}

static enum limoe_status apply_line(struct options *options, const struct line *line,
                                    struct limoe_error *err) {
    for (size_t i = 0; i < line->n; i++) {
        const struct option_value *given = &line->given[i];
        if (given->option->kind == OPTION_LIST) {
            struct option_list *list =
                (struct option_list *)((char *)options->target + given->option->offset);
            if (!list->values && !(list->values = arena_array(options->arena, line->n, sizeof *list->values)))
                return no_memory(err);
            ((struct option_value *)list->values)[list->n++] = *given;
            options->origins[given->option - options->command->table].from = ORIGIN_FLAG;
            continue;
        }
        const struct option_origin origin = {.from = ORIGIN_FLAG};
        const enum limoe_status status = option_set(options, given->option, origin, given->value, err);
        if (status != LIMOE_OK)
            return status;
    }
    return LIMOE_OK;
}

/* ---- the environment and the file */

/* An empty variable is as if it were not set. */
static const char *look_up(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static const char *variable(const struct option_row *option) {
    char name[OPTION_LABEL_SIZE];
    return look_up(option_variable(option, name));
}

static const char *own_variable(const struct option_row *option) {
    return option_configurable(option) ? variable(option) : NULL;
}

static const char *platform_variable(const struct option_row *option) {
    return option->platform ? look_up(option->platform) : NULL;
}

/* Sets every option for which there is such a variable. */
static enum limoe_status apply_variables(struct options *options, struct option_origin origin,
                                         const char *value_of(const struct option_row *option),
                                         struct limoe_error *err) {
    for (size_t i = 0; i < options->command->n; i++) {
        const struct option_row *option = &options->command->table[i];
        const char *value = value_of(option);
        const enum limoe_status status = value ? option_set(options, option, origin, value, err) : LIMOE_OK;
        if (status != LIMOE_OK)
            return status;
    }
    return LIMOE_OK;
}

static const char *find_file(const struct options *options, const struct line *line) {
    const char *file = NULL;
    for (size_t i = 0; !file && i < options->command->n; i++)
        if (options->command->table[i].kind == OPTION_CONFIG)
            file = variable(&options->command->table[i]);
    for (size_t i = 0; i < line->n; i++)
        if (line->given[i].option->kind == OPTION_CONFIG)
            file = line->given[i].value;
    return file;
}

enum limoe_status options_read(const struct option_command *command, int argc, char *const *argv,
                               void *target, struct arena *arena, struct options *out,
                               struct limoe_error *err) {
    struct line line = {.given = arena_array(arena, (size_t)argc, sizeof *line.given)};
    *out = (struct options){
        .command = command,
        .target = target,
        .arena = arena,
        .origins = arena_array(arena, command->n, sizeof *out->origins),
        .operands = arena_array(arena, (size_t)argc, sizeof *out->operands),
    };
    if (!line.given || !out->origins || !out->operands)
        return no_memory(err);
    enum limoe_status status = read_line(out, argc, argv, &line, err);
    if (status != LIMOE_OK || out->asked == OPTIONS_SHOW_HELP)
        return status;
    status = apply_variables(out, (struct option_origin){.from = ORIGIN_PLATFORM}, platform_variable, err);
    out->file = find_file(out, &line);
    if (status == LIMOE_OK && out->file)
        status = config_file_read(out, err);
    if (status == LIMOE_OK)
        status = apply_variables(out, (struct option_origin){.from = ORIGIN_ENVIRONMENT}, own_variable, err);
    if (status == LIMOE_OK)
        status = apply_line(out, &line, err);
    return status;
}

bool options_given(const struct options *options, const char *name) {
    const struct option_row *option = by_name(options->command, name, strlen(name));
    return option && options->origins[option - options->command->table].from != ORIGIN_DEFAULT;
}
