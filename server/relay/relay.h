/* relay.h - `limoe relay`: a process that asks the language model's server, for the front. */
#ifndef LIMOE_SERVER_RELAY_RELAY_H
#define LIMOE_SERVER_RELAY_RELAY_H

/* Asks until the front lets go of the socket. Returns the exit status. */
int relay_main(int argc, char **argv);

#endif
