/* commands.h - the subcommands that people call besides serve. argv[0] is the subcommand's name; each
 * returns the exit status (options/command.h). */
#ifndef LIMOE_SERVER_COMMANDS_COMMANDS_H
#define LIMOE_SERVER_COMMANDS_COMMANDS_H

int classify_main(int argc, char **argv);
int embed_main(int argc, char **argv);
int inspect_main(int argc, char **argv);
int bench_main(int argc, char **argv);

#endif
