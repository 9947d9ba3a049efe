/* main.c - the program: which subcommand, and whether its output arrived. */
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "server/commands/commands.h"
#include "server/decoder/decoder.h"
#include "server/engine/engine_process.h"
#include "server/front/serve/serve.h"
#include "server/front/supervisor/launch.h"
#include "server/options/command.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary; /* NULL: not for people, and not in the help */
} commands[] = {
    {"serve", serve_main, "answer over HTTP"},
    {"classify", classify_main, "say which label fits a picture"},
    {"embed", embed_main, "map texts and pictures to vectors"},
    {"inspect", inspect_main, "show what a model directory holds"},
    {"bench", bench_main, "load a server and measure how it answers"},
    {"decoder", decoder_main, NULL}, /* started by serve */
    {"engine", engine_main, NULL},   /* likewise */
    {"launch", launch_main, NULL},   /* likewise: it becomes mpirun */
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void print_help(FILE *to) {
    fputs("usage: limoe COMMAND [options]\n\n", to);
    for (size_t i = 0; i < COMMANDS; i++)
        if (commands[i].summary)
            fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fputs("\n  limoe COMMAND --help   the options of one command\n"
          "  limoe --version        the version\n",
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
