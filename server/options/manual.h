/* manual.h - manual pages from the table of options: man(7) source, as `man` and mandoc read it. */
#ifndef LIMOE_SERVER_OPTIONS_MANUAL_H
#define LIMOE_SERVER_OPTIONS_MANUAL_H

#include "server/options/options.h"

/* Appends the page of a command, PROGRAM-COMMAND(1), or with program->self that of the program. `version` ("limoe 1.2.3") and
 * `date` (any text without quotes) stand at its foot. */
void manual_page(const struct option_program *program, const struct option_command *command,
                 const char *version, const char *date, struct buffer *out);

#endif
