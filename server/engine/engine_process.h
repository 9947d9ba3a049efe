/* engine_process.h - `limoe engine`: the process that holds the weights and computes steps. */
#ifndef LIMOE_SERVER_ENGINE_ENGINE_PROCESS_H
#define LIMOE_SERVER_ENGINE_ENGINE_PROCESS_H

/* Computes until the front lets go of it. Returns the exit status. */
int engine_main(int argc, char **argv);

#endif
