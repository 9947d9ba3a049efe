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

/* Rows that several commands have. The arguments are the rest of the row: `.offset` of the command's
 * field, and what holds for that command alone, such as `.only_flag = true`. */
#define COMMAND_MODEL_ROW(...)                                                                               \
    { .name = "model", .kind = OPTION_STRING, .metavar = "DIR", .help = "model directory", __VA_ARGS__ }
#define COMMAND_DEVICE_ROW(...)                                                                              \
    {                                                                                                        \
        .name = "device", .kind = OPTION_DEVICE, .metavar = "DEVICE",                                        \
        .help = "auto, cpu, cuda or cuda:N, a GPU",                                                          \
        .fallback = "auto: the first GPU where there is one, else the CPU", __VA_ARGS__                      \
    }
#define COMMAND_DTYPE_ROW(...)                                                                               \
    {                                                                                                        \
        .name = "dtype", .kind = OPTION_CHOICE, .choices = command_dtypes, .metavar = "TYPE",                \
        .help =                                                                                              \
            "auto, float32, bfloat16 or, on CPUs, int8; auto is int8 for a model that limoe quantize made, " \
            "else bfloat16 on GPUs and where the processor has it",                                          \
        __VA_ARGS__                                                                                          \
    }
#define COMMAND_THREADS_ROW(...)                                                                             \
    {                                                                                                        \
        .name = "threads", .kind = OPTION_UNSIGNED, .least = 1, .most = 1024, .metavar = "N",                \
        .help = "compute threads", .fallback = "one for each processor allowed", __VA_ARGS__                 \
    }
#define COMMAND_LOAD_ROW(...)                                                                                \
    {                                                                                                        \
        .name = "load", .kind = OPTION_STRING, .metavar = "FILE",                                            \
        .help = "measured load to place experts by: /v1/models/{id}/load",                                   \
        .fallback = "none: placed in order, without copies", __VA_ARGS__                                     \
    }
#define COMMAND_EXPERT_BYTES_ROW(...)                                                                        \
    {                                                                                                        \
        .name = "expert-bytes", .kind = OPTION_BYTES, .most = UINT64_C(1) << 40, .metavar = "N",             \
        .help = "with --load: memory of a rank for experts and copies of the busiest; 0: no copies",         \
        __VA_ARGS__                                                                                          \
    }
#define COMMAND_JSON_ROW(...)                                                                                \
    { .name = "json", .only_flag = true, .kind = OPTION_SWITCH, __VA_ARGS__ }
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
