/* quantize.c - limoe quantize: a smaller checkpoint of 8-bit weights. One thread. */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "limoe.h"
#include "server/commands/commands.h"
#include "server/options/command.h"

struct quantize_options {
    bool quiet;
};

static const struct option_row table[] = {
    {.name = "quiet",
     .kind = OPTION_SWITCH,
     .offset = offsetof(struct quantize_options, quiet),
     .help = "show no progress, which goes to a terminal alone"},
    COMMAND_HELP_ROW,
};
static const struct quantize_options defaults = {0};
static const struct option_note exits[] = {
    {"0", "OUT is there, whole"},
    {"1", "the model or OUT is at fault; OUT is not there"},
    {"2", "the command line is wrong"},
    {NULL, NULL},
};
static const struct option_note uses[] = {
    {"limoe quantize /srv/models/large /srv/models/large-int8", "A quarter of a float32 model's size"},
    {"limoe serve --model /srv/models/large-int8", "To serve it; --dtype int8 is chosen by itself"},
    {NULL, NULL},
};

const struct option_command quantize_command = {
    .name = "quantize",
    .summary = "write a model as int8, in a directory of its own",
    .usage = "limoe quantize DIR OUT [options]",
    .operand = "DIR",
    .about = "Writes the model in the directory DIR to OUT, which must not be there, with its matrices as "
             "int8 and a scale for each output channel, and a table of tokens that is more than a sixth of "
             "it with one for each row. It answers as DIR does with --dtype int8, to the bit, and is loaded "
             "from fewer bytes. "
             "\"limoe inspect DIR --dtype int8 --compare float32\" measures what the rounding costs.",
    .table = table,
    .n = sizeof table / sizeof *table,
    .defaults = &defaults,
    .exits = exits,
    .uses = uses,
};

struct shown {
    int percent;
};

static void show(void *context, uint64_t done, uint64_t all) {
    struct shown *shown = context;
    const int percent = all ? (int)((double)done / (double)all * 100) : 100;
    if (percent == shown->percent)
        return;
    shown->percent = percent;
    fprintf(stderr, "\r%3d %%%s", percent, done == all ? "\r     \r" : "");
}

static double megabytes(const char *dir, uint64_t *bytes) {
    struct limoe_inspection *inspection = NULL;
    *bytes = limoe_inspect(dir, &inspection, NULL) == LIMOE_OK ? inspection->info.weight_bytes : 0;
    limoe_inspection_free(inspection);
    return (double)*bytes / 1e6;
}

static bool report(const char *dir, const char *to) {
    struct buffer out = {0};
    uint64_t before, after;
    const double was = megabytes(dir, &before), is = megabytes(to, &after);
    buffer_print(&out, "%s: %.1f MB of weights, %.0f %% of %.1f MB\n", to, is,
                 before ? 100 * (double)after / (double)before : 0, was);
    const bool ok = command_print(&out, false);
    buffer_free(&out);
    return ok;
}

static int quantize(const char *dir, const char *to, bool quiet) {
    struct shown shown = {-1};
    struct limoe_error err;
    limoe_progress *progress = !quiet && isatty(STDERR_FILENO) ? show : NULL;
    if (limoe_quantize(dir, to, progress, &shown, &err) != LIMOE_OK) {
        if (shown.percent >= 0)
            fputs("\r     \r", stderr);
        command_complain("%s", err.message);
        return COMMAND_INPUT;
    }
    return report(dir, to) ? COMMAND_OK : COMMAND_INPUT;
}

int quantize_main(int argc, char **argv) {
    struct quantize_options asked = {0};
    struct options options;
    struct arena *arena = arena_new();
    int status = COMMAND_INPUT;
    if (!arena)
        command_complain("no memory");
    else if (!command_options(&quantize_command, argc, argv, &asked, arena, &options, &status))
        ;
    else if (options.n_operands != 2)
        status = command_usage("quantize", "%zu director%s; a model's and one to write are needed",
                               options.n_operands, options.n_operands == 1 ? "y" : "ies");
    else
        status = quantize(options.operands[0], options.operands[1], asked.quiet);
    arena_free(arena);
    return status;
}
