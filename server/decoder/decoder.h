/* decoder.h - `limoe decoder`: a process that decodes pictures and can do nothing else. */
#ifndef LIMOE_SERVER_DECODER_DECODER_H
#define LIMOE_SERVER_DECODER_DECODER_H

/* Decodes until the front lets go of it. Returns the exit status. */
int decoder_main(int argc, char **argv);

#endif
