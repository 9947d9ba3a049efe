/* completion.h - what a shell completes of a program's command line, from the table of options. */
#ifndef LIMOE_SERVER_OPTIONS_COMPLETION_H
#define LIMOE_SERVER_OPTIONS_COMPLETION_H

#include "server/options/options.h"

/* The shells, by their names; value: no matter. */
extern const struct option_choice completion_shells[];

/* Appends the script that a shell reads. False, and nothing: there is no such shell. */
bool completion_script(const struct option_program *program, const char *shell, struct buffer *out);

#endif
