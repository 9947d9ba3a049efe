/* trainer.h - `limoe trainer`, the process in which a server's adapters are learnt. */
#ifndef LIMOE_SERVER_TRAINER_TRAINER_H
#define LIMOE_SERVER_TRAINER_TRAINER_H

int trainer_main(int argc, char **argv);

#endif
