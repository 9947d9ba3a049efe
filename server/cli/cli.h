/* cli.h - what the subcommands share: their options, messages, the model they open, the files they read.
 *
 * Exit statuses: 0, all is answered; 1, an input or the model was at fault (what could be answered still is);
 * 2, the command line was. Answers go to standard output, messages to standard error, after "limoe: ".
 */
#ifndef LIMOE_CLI_H
#define LIMOE_CLI_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>

#include "codec/arena.h"
#include "codec/buffer.h"
#include "codec/prepare.h"
#include "codec/request.h"
#include "limoe.h"

enum { CLI_OK = 0, CLI_INPUT = 1, CLI_USAGE = 2 };

/* The subcommands. argv[0] is the subcommand's name. Each returns the exit status. */
int cli_serve(int argc, char **argv);
int cli_classify(int argc, char **argv);
int cli_embed(int argc, char **argv);
int cli_inspect(int argc, char **argv);

/* "limoe: …" on standard error. */
void cli_complain(const char *format, ...) __attribute__((format(printf, 1, 2), cold));
/* The same, with a pointer to `limoe COMMAND --help` (COMMAND may be NULL). Returns CLI_USAGE. */
int cli_usage(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3), cold));
/* The name (of n) that `wrong` was probably meant to be, or NULL. */
const char *cli_suggest(const char *wrong, const char *const *names, size_t n);

/* ---- options ---- */

struct cli {
    const char *command;
    const char *help;
    const struct option *flags; /* CLI_FLAGS and the subcommand's own, whose values are CLI_OWN and up */
    int argc;
    char **argv;

    /* What the shared options said. */
    const char *model; /* NULL: not given */
    struct limoe_options compute;
    bool json;
};

enum { CLI_END = -1, CLI_STOP = -2, CLI_OWN = 1000 };

/* For classify and embed. */
#define CLI_FLAGS                                                                                            \
    {"model", required_argument, NULL, 1}, {"dtype", required_argument, NULL, 2},                            \
        {"threads", required_argument, NULL, 3}, {"json", no_argument, NULL, 4}, {                           \
        "help", no_argument, NULL, 'h'                                                                       \
    }

#define CLI_FLAGS_HELP                                                                                       \
    "  --model DIR       model directory (default: " MODEL_DIR_DEFAULT ")\n"                                 \
    "  --dtype TYPE      auto, float32 or bfloat16 (default auto: bfloat16 where the processor has it)\n"    \
    "  --threads N       compute threads (default: one for each processor allowed)\n"                        \
    "  --json            print the object that the HTTP route answers with\n"                                \
    "  -h, --help        print this\n"

/* The subcommand's next option (its value in optarg); shared ones are taken care of. CLI_END: only operands
 * are left, from argv[optind]. CLI_STOP: exit with *status. */
int cli_next(struct cli *cli, int *status);

/* A whole number from `least` to `most` in an option's value. False: complained. */
bool cli_number(const struct cli *cli, const char *option, const char *value, size_t least, size_t most,
                size_t *out);

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
