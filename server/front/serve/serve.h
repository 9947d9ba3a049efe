/* serve.h - `limoe serve`: the server, from its options to its end; `limoe openapi`: what it speaks. */
#ifndef LIMOE_SERVER_FRONT_SERVE_SERVE_H
#define LIMOE_SERVER_FRONT_SERVE_SERVE_H

#include "server/options/options.h"

extern const struct option_command serve_command, openapi_command;

/* Serves until it is told to stop. Returns the exit status. */
int serve_main(int argc, char **argv);
/* `limoe openapi` prints what it speaks. */
int openapi_main(int argc, char **argv);

#endif
