/* command.h - what all subcommands share: messages, options, the answer on standard output.
 *
 * Exit statuses: 0, all is answered; 1, an input or the model was at fault (what could be answered still is);
 * 2, the command line was. Answers go to standard output, messages to standard error, after "limoe: ".
 */
#ifndef LIMOE_SERVER_OPTIONS_COMMAND_H
#define LIMOE_SERVER_OPTIONS_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "server/options/model_dir.h"
#include "server/options/options.h"

enum { COMMAND_OK = 0, COMMAND_INPUT = 1, COMMAND_USAGE = 2 };

/* "limoe: …" on standard error. */
void command_complain(const char *format, ...) __attribute__((format(printf, 1, 2), cold));
/* The same, with a pointer to `limoe COMMAND --help` (COMMAND may be NULL). Returns COMMAND_USAGE. */
int command_usage(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3), cold));
/* The name (of n) that `wrong` was probably meant to be, or NULL. */
const char *command_suggest(const char *wrong, const char *const *names, size_t n);

/* ---- options */

extern const struct option_choice command_dtypes[];

/* Rows for any command with such fields; `at` is the field's offset. */
#define COMMAND_MODEL_ROW(at)                                                                                \
    {                                                                                                        \
        .name = "model", .kind = OPTION_STRING, .offset = (at), .metavar = "DIR", .help = "model directory", \
        .fallback = MODEL_DIR_DEFAULT                                                                        \
    }
#define COMMAND_DEVICE_ROW(at)                                                                               \
    {                                                                                                        \
        .name = "device", .kind = OPTION_DEVICE, .offset = (at), .metavar = "DEVICE",                        \
        .help = "auto, cpu, cuda or cuda:N, a GPU",                                                          \
        .fallback = "auto: the first GPU where there is one, else the CPU"                                   \
    }
#define COMMAND_DTYPE_ROW(at)                                                                                \
    {                                                                                                        \
        .name = "dtype", .kind = OPTION_CHOICE, .offset = (at), .choices = command_dtypes,                   \
        .metavar = "TYPE",                                                                                   \
        .help = "auto, float32 or bfloat16; auto is bfloat16 on GPUs, and where the processor has it"        \
    }
#define COMMAND_THREADS_ROW(at)                                                                              \
    {                                                                                                        \
        .name = "threads", .kind = OPTION_UNSIGNED, .offset = (at), .least = 1, .most = 1024,                \
        .metavar = "N", .help = "compute threads", .fallback = "one for each processor allowed"              \
    }
#define COMMAND_JSON_ROW(at, text)                                                                           \
    { .name = "json", .only_flag = true, .kind = OPTION_SWITCH, .offset = (at), .help = (text) }
#define COMMAND_HELP_ROW                                                                                     \
    { .name = "help", .letter = 'h', .kind = OPTION_HELP, .help = "print this" }
/* Reads a command's options over the defaults in *target and answers --help itself. False: exit with *status.
 * The arena holds what `out` and *target point to. */
bool command_options(const struct option_command *command, int argc, char *const *argv, void *target,
                     struct arena *arena, struct options *out, int *status);

/* Writes *out to standard output, with a newline behind a JSON object, and empties it. False: it could not;
 * main says why when the output was at fault. */
bool command_print(struct buffer *out, bool json);

#endif
