/* commands.h - the subcommands that people call besides serve. argv[0] is the subcommand's name; each
 * returns the exit status (options/command.h). */
#ifndef LIMOE_SERVER_COMMANDS_COMMANDS_H
#define LIMOE_SERVER_COMMANDS_COMMANDS_H

#include "server/options/options.h"

extern const struct option_command adapters_command, caption_command, classify_command, describe_command,
    embed_command, explain_command, inspect_command, quantize_command, tune_command, bench_command,
    completion_command, manual_command;

int adapters_main(int argc, char **argv);
int caption_main(int argc, char **argv);
int classify_main(int argc, char **argv);
int describe_main(int argc, char **argv);
int embed_main(int argc, char **argv);
int explain_main(int argc, char **argv);
int inspect_main(int argc, char **argv);
int quantize_main(int argc, char **argv);
int tune_main(int argc, char **argv);
int bench_main(int argc, char **argv);
/* bench/child.c: limoe bench as a server's child. */
int loadtest_main(int argc, char **argv);

/* What describes the commands themselves: all of them are in *program. */
int completion_main(const struct option_program *program, int argc, char **argv);
int manual_main(const struct option_program *program, int argc, char **argv);

#endif
