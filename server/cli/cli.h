/* cli.h - what the subcommands share: their options, messages, the model they open, the files they read.
 *
 * Exit statuses: 0, all is answered; 1, an input or the model was at fault (what could be answered still is);
 * 2, the command line was. Answers go to standard output, messages to standard error, after "limoe: ".
 */
#ifndef LIMOE_CLI_H
#define LIMOE_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/model_dir.h"
#include "codec/arena.h"
#include "codec/buffer.h"
#include "codec/prepare.h"
#include "codec/request.h"
#include "limoe.h"
#include "options/options.h"

enum { CLI_OK = 0, CLI_INPUT = 1, CLI_USAGE = 2 };

/* The subcommands. argv[0] is the subcommand's name. Each returns the exit status. */
int cli_serve(int argc, char **argv);
int cli_classify(int argc, char **argv);
int cli_embed(int argc, char **argv);
int cli_inspect(int argc, char **argv);
int cli_decoder(int argc, char **argv);
int cli_engine(int argc, char **argv);
int cli_launch(int argc, char **argv); /* engine/launch.c */
int cli_bench(int argc, char **argv);

/* "limoe: …" on standard error. */
void cli_complain(const char *format, ...) __attribute__((format(printf, 1, 2), cold));
/* The same, with a pointer to `limoe COMMAND --help` (COMMAND may be NULL). Returns CLI_USAGE. */
int cli_usage(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3), cold));
/* The name (of n) that `wrong` was probably meant to be, or NULL. */
const char *cli_suggest(const char *wrong, const char *const *names, size_t n);

/* ---- options ---- */

/* What classify and embed share. */
struct cli {
    const char *model; /* NULL: not named */
    struct limoe_options compute;
    bool json;
};

extern const struct option_choice cli_dtypes[];

/* Rows for any command with such fields; `at` is the field's offset. */
#define CLI_MODEL_ROW(at)                                                                                    \
    {                                                                                                        \
        .name = "model", .kind = OPTION_STRING, .offset = (at), .metavar = "DIR", .help = "model directory", \
        .fallback = MODEL_DIR_DEFAULT                                                                        \
    }
#define CLI_DEVICE_ROW(at)                                                                                   \
    {                                                                                                        \
        .name = "device", .kind = OPTION_DEVICE, .offset = (at), .metavar = "DEVICE",                        \
        .help = "auto, cpu, cuda or cuda:N, a GPU",                                                          \
        .fallback = "auto: the first GPU where there is one, else the CPU"                                   \
    }
#define CLI_DTYPE_ROW(at)                                                                                    \
    {                                                                                                        \
        .name = "dtype", .kind = OPTION_CHOICE, .offset = (at), .choices = cli_dtypes, .metavar = "TYPE",    \
        .help = "auto, float32 or bfloat16; auto is bfloat16 on GPUs, and where the processor has it"        \
    }
#define CLI_THREADS_ROW(at)                                                                                  \
    {                                                                                                        \
        .name = "threads", .kind = OPTION_UNSIGNED, .offset = (at), .least = 1, .most = 1024,                \
        .metavar = "N", .help = "compute threads", .fallback = "one for each processor allowed"              \
    }
#define CLI_JSON_ROW(at, text)                                                                               \
    { .name = "json", .only_flag = true, .kind = OPTION_SWITCH, .offset = (at), .help = (text) }
#define CLI_HELP_ROW                                                                                         \
    { .name = "help", .letter = 'h', .kind = OPTION_HELP, .help = "print this" }
/* All of them, for the struct cli at `at`. */
#define CLI_ROWS(at)                                                                                         \
    CLI_MODEL_ROW((at) + offsetof(struct cli, model)),                                                       \
        CLI_DEVICE_ROW((at) + offsetof(struct cli, compute.device)),                                         \
        CLI_DTYPE_ROW((at) + offsetof(struct cli, compute.dtype)),                                           \
        CLI_THREADS_ROW((at) + offsetof(struct cli, compute.threads)),                                       \
        CLI_JSON_ROW((at) + offsetof(struct cli, json),                                                      \
                     "print the object that the HTTP route answers with"),                                   \
        CLI_HELP_ROW

/* Reads a command's options over the defaults in *target and answers --help itself. False: exit with *status.
 * The arena holds what `out` and *target point to. */
bool cli_options(const struct option_command *command, int argc, char *const *argv, void *target,
                 struct arena *arena, struct options *out, int *status);

/* ---- work ---- */

/* An open model. Zero-initialise; close in any state. */
struct session {
    struct limoe_processor *processor;
    struct limoe_model *model;
};
bool session_open(struct session *session, const struct cli *cli); /* false: complained */
void session_close(struct session *session);

/* Embeds items[n] in steps of bounded size: embeddings [n, embed]. False: complained. */
bool session_embed(struct session *session, const struct limoe_item *items, size_t n, float *embeddings);

/* A picture's file ("-": standard input) → an item named after it, bytes in the arena. False: complained. */
bool cli_read_image(const char *path, struct arena *arena, struct request_item *out);

/* Writes *out to standard output, with a newline behind a JSON object, and empties it. False: it could not;
 * main says why when the output was at fault. */
bool cli_print(struct buffer *out, bool json);

#endif
