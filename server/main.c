/* main.c - the program: which subcommand, and whether its output arrived. */
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "server/commands/commands.h"
#include "server/decoder/decoder.h"
#include "server/engine/engine_process.h"
#include "server/exporter/exporter.h"
#include "server/fetcher/fetcher.h"
#include "server/front/serve/serve.h"
#include "server/front/supervisor/launch.h"
#include "server/options/command.h"
#include "server/relay/relay.h"
#include "server/trainer/trainer.h"

static const struct option_row table[] = {
    {.name = "help", .letter = 'h', .kind = OPTION_HELP, .help = "print the commands"},
    {.name = "version", .kind = OPTION_HELP, .help = "print the version"},
};
static const struct option_note exits[] = {
    {"0", "all is answered"},
    {"1", "an input or the model was at fault; what could be answered still is"},
    {"2", "the command line was"},
    {NULL, NULL},
};
static const struct option_note environment[] = {
    {"LIMOE_MODULES",
     "the directory of limoe-mpi.so, limoe-cuda.so and limoe-nccl.so, in place of where they are looked for"},
    {"LIMOE_ISA", "holds the kernels to an instruction set: generic, neon, avx2, avx512, avx512vnni, "
                  "avx512bf16 or amx"},
    {NULL, NULL},
};
static const struct option_note files[] = {
    {"PREFIX/share/limoe/models/pictograms",
     "the bundled model; PREFIX is where limoe is installed, most often /usr or /usr/local"},
    {"LIBDIR/limoe/limoe-KIND.so",
     "modules, of which a machine may have some: ranks on CPUs (mpi), GPUs (cuda), ranks on GPUs (nccl)"},
    {"PREFIX/share/doc/limoe", "the HTTP API (api.md), settings (configuration.md), operations.md, "
                               "metrics.md, the format of models (format.md)"},
    {NULL, NULL},
};
static const struct option_note uses[] = {
    {"limoe classify --labels cat,dog examples/cat.png", "A picture classified, without a server"},
    {"limoe serve", "The same over HTTP, on 127.0.0.1:8080"},
    {NULL, NULL},
};
static const struct option_command self = {
    .name = "limoe",
    .summary = "serve sparse mixture-of-experts image-text models",
    .usage = "limoe COMMAND [options]",
    .about = "Zero-shot classification of pictures, and embeddings of pictures and texts in one space, by "
             "LIMoE models: over "
             "HTTP, or on the command line. Answers depend on their input alone, to the bit. \"limoe COMMAND "
             "--help\" lists a "
             "command's options.",
    .table = table,
    .n = sizeof table / sizeof *table,
    .exits = exits,
    .environment = environment,
    .files = files,
    .uses = uses,
};

static const struct option_command *const described[] = {
    &serve_command,   &classify_command, &describe_command,   &embed_command,  &explain_command,
    &caption_command, &inspect_command,  &quantize_command,   &tune_command,   &adapters_command,
    &bench_command,   &openapi_command,  &completion_command, &manual_command,
};
static const struct option_program program = {&self, described, sizeof described / sizeof described[0]};

static int run_completion(int argc, char **argv) {
    return completion_main(&program, argc, argv);
}

static int run_manual(int argc, char **argv) {
    return manual_main(&program, argc, argv);
}

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"serve", serve_main},
    {"classify", classify_main},
    {"embed", embed_main},
    {"describe", describe_main},
    {"explain", explain_main},
    {"caption", caption_main},
    {"inspect", inspect_main},
    {"quantize", quantize_main},
    {"tune", tune_main},
    {"adapters", adapters_main},
    {"bench", bench_main},
    {"openapi", openapi_main},
    {"completion", run_completion},
    {"manual", run_manual},
    /* Not for people, and not in the help: serve starts them. */
    {"decoder", decoder_main},
    {"engine", engine_main},
    {"exporter", exporter_main},
    {"fetcher", fetcher_main},
    {"relay", relay_main},
    {"trainer", trainer_main},
    {"loadtest", loadtest_main}, /* limoe bench, as a server's child */
    {"launch", launch_main},     /* becomes mpirun */
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void print_help(FILE *to) {
    fprintf(to, "usage: %s\n\n", self.usage);
    for (size_t i = 0; i < program.n; i++)
        fprintf(to, "  %-11s %s\n", described[i]->name, described[i]->summary);
    fputs("\n  limoe COMMAND --help    the options of one command\n"
          "  limoe --version         the version\n",
          to);
}

static int run(int argc, char **argv) {
    if (argc < 2) {
        print_help(stderr);
        return COMMAND_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_help(stdout);
        return COMMAND_OK;
    }
    if (strcmp(name, "--version") == 0) {
        printf("%s\n", limoe_version());
        return COMMAND_OK;
    }
    const char *names[COMMANDS];
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(name, commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
        names[i] = commands[i].name;
    }
    const char *meant = command_suggest(name, names, COMMANDS);
    if (meant)
        return command_usage(NULL, "there is no command \"%s\"; did you mean \"%s\"?", name, meant);
    return command_usage(NULL, "there is no command \"%s\"", name);
}

int main(int argc, char **argv) {
    setlocale(LC_CTYPE, "C.UTF-8"); /* widths of characters; numbers stay in the C locale */
    int status = run(argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        command_complain("standard output: %s", strerror(errno));
        status = status ? status : COMMAND_INPUT;
    }
    return status;
}
