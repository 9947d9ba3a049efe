/* help.c - the table for people: --help and --print-config. */
#include <stdio.h>
#include <string.h>

#include "server/options/options.h"
#include "server/options/value.h"

#define COLUMNS 100
#define INDENT  2

/* "-h, --help", "--model DIR". */
static int left_column(const struct option_row *option, char *room, size_t size) {
    const char letter[] = {'-', option->letter, ',', ' ', '\0'};
    return snprintf(room, size, "%s--%s%s%s", option->letter ? letter : "", option->name,
                    option->metavar ? " " : "", option->metavar ? option->metavar : "");
}

static size_t widest(const struct option_command *command) {
    size_t most = 0;
    for (size_t i = 0; i < command->n; i++) {
        const int width = left_column(&command->table[i], NULL, 0);
        if ((size_t)width > most)
            most = (size_t)width;
    }
    return most;
}

static void pad(struct buffer *out, size_t from, size_t to) {
    for (; from < to; from++)
        buffer_string(out, " ");
}

/* Words of text[size) in lines that begin in column `from`, the first of which is there already. */
static void wrap(const char *text, size_t size, size_t from, struct buffer *out) {
    size_t column = from;
    for (size_t i = 0; i < size;) {
        size_t end = i;
        while (end < size && text[end] != ' ')
            end++;
        if (column > from && column + 1 + (end - i) > COLUMNS) {
            buffer_string(out, "\n");
            pad(out, 0, from);
            column = from;
        } else if (column > from) {
            buffer_string(out, " ");
            column++;
        }
        buffer_bytes(out, text + i, end - i);
        column += end - i;
        i = end + 1;
    }
    buffer_string(out, "\n");
}

/* The default, in words or as it is. False, and nothing: there is none. */
static bool show_default(const struct option_row *option, const void *target, struct buffer *out) {
    if (option->fallback)
        buffer_string(out, option->fallback);
    return option->fallback || (option->kind != OPTION_SWITCH && option_show(option, target, false, out));
}

/* One line, with the first option as the example. */
static void show_variables(const struct option_command *command, struct buffer *out) {
    char name[OPTION_LABEL_SIZE];
    for (size_t i = 0; i < command->n; i++) {
        const struct option_row *option = &command->table[i];
        if (!option_configurable(option))
            continue;
        buffer_print(out, "\nThe environment may set what no flag does: %s for --%s.\n",
                     option_variable(option, name), option->name);
        return;
    }
}

static void show_exits(const struct option_note *exits, struct buffer *out) {
    struct buffer line = {0};
    buffer_string(&line, "Exit status: ");
    for (const struct option_note *exit = exits; exit->term; exit++)
        buffer_print(&line, "%s%s, %s", exit == exits ? "" : "; ", exit->term, exit->text);
    buffer_string(&line, ".");
    buffer_string(out, "\n");
    wrap(line.data, line.size, 0, out);
    out->failed = out->failed || line.failed;
    buffer_free(&line);
}

void options_help(const struct option_command *command, const void *target, struct buffer *out) {
    const size_t text = INDENT + widest(command) + 2;
    buffer_print(out, "usage: %s\n\n", command->usage);
    wrap(command->about, strlen(command->about), 0, out);
    buffer_string(out, "\n");
    for (size_t i = 0; i < command->n; i++) {
        const struct option_row *option = &command->table[i];
        char left[96];
        struct buffer right = {0}, value = {0};
        if (option->group)
            buffer_print(out, "%s%s:\n", i ? "\n" : "", option->group);
        const size_t width = (size_t)left_column(option, left, sizeof left);
        buffer_print(out, "%*s%s", INDENT, "", left);
        pad(out, INDENT + width, text);
        buffer_string(&right, option->help);
        if (show_default(option, target, &value))
            buffer_print(&right, " (default: %.*s)", (int)value.size, value.data);
        wrap(right.data, right.size, text, out);
        out->failed = out->failed || right.failed || value.failed;
        buffer_free(&right);
        buffer_free(&value);
    }
    show_variables(command, out);
    if (command->more) {
        buffer_string(out, "\n");
        wrap(command->more, strlen(command->more), 0, out);
    }
    if (command->exits)
        show_exits(command->exits, out);
}

static void show_origin(const struct options *options, const struct option_row *option, struct buffer *out) {
    const struct option_origin origin = options->origins[option - options->command->table];
    char name[OPTION_LABEL_SIZE];
    switch (origin.from) {
    case ORIGIN_DEFAULT:
        buffer_string(out, "default");
        break;
    case ORIGIN_PLATFORM:
        buffer_print(out, "environment: %s", option->platform);
        break;
    case ORIGIN_FILE:
        buffer_print(out, "%s:%u", options->file, origin.line);
        break;
    case ORIGIN_ENVIRONMENT:
        buffer_print(out, "environment: %s", option_variable(option, name));
        break;
    case ORIGIN_FLAG:
        buffer_print(out, "flag: --%s", option->name);
        break;
    }
}

void options_print(const struct options *options, struct buffer *out) {
    enum { COMMENT = 40 };
    const char *heading = NULL; /* owed to the next line */
    for (size_t i = 0; i < options->command->n; i++) {
        const struct option_row *option = &options->command->table[i];
        if (option->group)
            heading = option->group;
        if (!option_configurable(option))
            continue;
        if (heading)
            buffer_print(out, "%s# %s\n", out->size ? "\n" : "", heading);
        heading = NULL;
        const size_t begin = out->size;
        struct buffer value = {0};
        const bool is_set = option_show(option, options->target, true, &value);
        buffer_print(out, "%s%s = ", is_set ? "" : "#", option->name);
        buffer_bytes(out, value.data, value.size);
        pad(out, out->size - begin, COMMENT - 1);
        buffer_string(out, " # ");
        show_origin(options, option, out);
        if (!is_set)
            buffer_print(out, ": %s", option->fallback ? option->fallback : "none");
        buffer_string(out, "\n");
        out->failed = out->failed || value.failed;
        buffer_free(&value);
    }
}
