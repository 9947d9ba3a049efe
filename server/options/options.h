/* options.h - a command's options from one table: flags, environment, configuration file, --help,
 * --print-config.
 *
 * A command writes a static table with a row for each option and a struct with a field for each row. It fills
 * the struct with the defaults and calls options_read. An option is, from the strongest to the weakest:
 *
 *   --name VALUE, --name=VALUE   on the command line (-x VALUE where it has a letter)
 *   LIMOE_NAME                   in the environment: upper case, "_" for "-"; empty is as if it were not set
 *   name = VALUE                 in the file that --config or LIMOE_CONFIG names (config_file.h)
 *   ITS_VARIABLE                 of the few rows that have one, which the platform sets that the program is run on
 *   the default                  what the struct held
 *
 * Every value is checked, also one that a stronger source replaces. Strings point into argv, the environment
 * or the arena, and live as long as the shortest-lived of them. One thread.
 */
#ifndef LIMOE_SERVER_OPTIONS_OPTIONS_H
#define LIMOE_SERVER_OPTIONS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "limoe.h"

enum option_kind {
    OPTION_STRING,  /* const char *: not empty, no control characters */
    OPTION_NAMES,   /* const char *: names divided by commas; given again on the command line, it adds to them
                     */
    OPTION_NUMERAL, /* const char *: a whole number from least to most, kept as it was written */
    OPTION_DEVICE,  /* const char *: as limoe_options.device */
    OPTION_UNSIGNED, /* unsigned, from least to most */
    OPTION_SECONDS,  /* the same, of seconds */
    OPTION_U64,      /* uint64_t (or a size_t), from least to most */
    OPTION_BYTES,    /* the same, of bytes: 1024, 64KiB, 32MiB, 2GiB */
    OPTION_DOUBLE,   /* double, more than 0 and up to most */
    OPTION_SHARE,    /* double, from 0 to 1 */
    OPTION_CHOICE,   /* an enum: one of the names in choices */
    OPTION_SWITCH,   /* bool: takes no value on the command line; true or false elsewhere */
    OPTION_LIST,     /* struct option_list: any text, any number of times, on the command line alone */
    /* Without a field: */
    OPTION_HELP,         /* --help: the rest of the command line does not matter */
    OPTION_CONFIG,       /* names the configuration file; a table without it reads none */
    OPTION_PRINT_CONFIG, /* asks for options_print */
};

struct option_choice {
    const char *name;
    int value;
};

struct option_row {
    const char *name; /* "queue-items" */
    char letter;      /* 0: none */
    bool only_flag;   /* not from the environment or a file (so are a list and what has no field) */
    enum option_kind kind;
    size_t offset;                       /* of the field in the command's struct */
    uint64_t least, most;                /* of a number */
    const struct option_choice *choices; /* ends with a NULL name */
    const char *metavar;                 /* "DIR"; NULL where there is no value */
    const char *platform;                /* a variable of the platform's, weaker than a file; NULL: none */
    const char *help;                    /* one sentence's worth; lines are broken for it */
    /* What the default amounts to where the field says too little (NULL, a number out of bounds). Once the
     * field holds something else, that is what --print-config shows. */
    const char *fallback;
    const char *group; /* heading over this row and those below it; NULL: as above */
};

/* What was given for OPTION_LIST rows, in the order of the command line. Rows may share one field. */
struct option_value {
    const struct option_row *option;
    const char *value;
};
struct option_list {
    const struct option_value *values; /* [n] */
    size_t n;
};

/* What a term stands for: an exit status, a variable, a file, a command line. Lists end with a NULL term. */
struct option_note {
    const char *term, *text;
};

struct option_command {
    const char *name;         /* "serve" */
    const char *summary;      /* "answer over HTTP": a line in the list of commands */
    const char *usage;        /* "limoe serve [--model DIR] [options]" */
    const char *operand;      /* the metavar of arguments that are no options; NULL: there are none */
    const char *about, *more; /* paragraphs before and after the options; more may be NULL */
    const struct option_row *table;
    size_t n;
    const void *defaults; /* the command's struct with what holds when nothing is said; NULL: all zero */
    const struct option_note *exits; /* its exit statuses; NULL: not told */
    const struct option_note *environment, *files,
        *uses; /* for the manual alone; uses: examples. NULL: none */
};

/* A program of several commands. What holds for all of them, and its own options, are `self`. */
struct option_program {
    const struct option_command *self;
    const struct option_command *const *commands; /* [n] */
    size_t n;
};

enum options_asked { OPTIONS_RUN, OPTIONS_SHOW_HELP, OPTIONS_SHOW_CONFIG };

/* Where a value came from. */
struct option_origin {
    enum { ORIGIN_DEFAULT, ORIGIN_PLATFORM, ORIGIN_FILE, ORIGIN_ENVIRONMENT, ORIGIN_FLAG } from;
    unsigned line; /* of the file */
};

struct options {
    const struct option_command *command;
    void *target; /* the command's struct */
    struct arena *arena;
    enum options_asked asked;
    const char *file;              /* NULL: no configuration file */
    struct option_origin *origins; /* [command->n] */
    const char **operands;         /* [n_operands]: arguments that are no options */
    size_t n_operands;
};

/* Reads argv[1..argc), the environment and the file over the defaults in *target. Fails with LIMOE_INVALID
 * and a message that names the option where it was written, what was found and what is accepted; or with
 * LIMOE_NOT_FOUND, LIMOE_IO, LIMOE_TOO_LARGE or LIMOE_NO_MEMORY. When --help is asked for, *target is as it
 * was. */
enum limoe_status options_read(const struct option_command *command, int argc, char *const *argv,
                               void *target, struct arena *arena, struct options *out,
                               struct limoe_error *err);

/* True when the option came from a file, the environment or a flag. */
bool options_given(const struct options *options, const char *name);

/* --help: the table with the defaults in *target, in at most 100 columns. */
void options_help(const struct option_command *command, const void *target, struct buffer *out);

/* --print-config: what is in effect as a configuration file, each with a comment that says where it came
 * from. */
void options_print(const struct options *options, struct buffer *out);

#endif
