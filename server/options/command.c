/* command.c - messages and options of every subcommand. One thread. */
#include "server/options/command.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/options/model_dir.h"
#include "server/options/suggest.h"

/* ---- messages */

void command_complain(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("limoe: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

int command_usage(const char *command, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("limoe: ", stderr);
    vfprintf(stderr, format, args);
    fprintf(stderr, " (see limoe %s%s--help)\n", command ? command : "", command ? " " : "");
    va_end(args);
    return COMMAND_USAGE;
}

const char *command_suggest(const char *wrong, const char *const *names, size_t n) {
    return suggest(wrong, names, n, sizeof *names);
}

/* ---- options */

const struct option_choice command_dtypes[] = {
    {"auto", LIMOE_DTYPE_AUTO},
    {"float32", LIMOE_FLOAT32},
    {"bfloat16", LIMOE_BFLOAT16},
    {"int8", LIMOE_INT8},
    {NULL, 0},
};

bool command_options(const struct option_command *command, int argc, char *const *argv, void *target,
                     struct arena *arena, struct options *out, int *status) {
    struct limoe_error err;
    if (options_read(command, argc, argv, target, arena, out, &err) != LIMOE_OK) {
        *status = command_usage(command->name, "%s", err.message);
        return false;
    }
    if (out->asked != OPTIONS_SHOW_HELP)
        return true;
    struct buffer help = {0};
    options_help(command, target, &help);
    *status = command_print(&help, false) ? COMMAND_OK : COMMAND_INPUT;
    buffer_free(&help);
    return false;
}

bool command_print(struct buffer *out, bool json) {
    size_t size;
    if (json)
        buffer_string(out, "\n");
    char *data = buffer_take(out, &size);
    if (!data) {
        command_complain("no memory for the answer");
        return false;
    }
    const bool written = fwrite(data, 1, size, stdout) == size;
    free(data);
    return written;
}
