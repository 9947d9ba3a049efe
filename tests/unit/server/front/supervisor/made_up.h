/* made_up.h - a model that the tests of the supervisor make up, and the processes that serve it.
 *
 * The test's program is also the engine that it starts, and the mpirun. The engine is the real `limoe engine`
 * with a model in which each item's embedding is a function of the item alone; some texts break it, and the
 * whole can be made to stand still, die or lie. Test and engines share what rules it in a file, whose path is
 * the "model directory".
 */
#ifndef LIMOE_TESTS_UNIT_SERVER_FRONT_SUPERVISOR_MADE_UP_H
#define LIMOE_TESTS_UNIT_SERVER_FRONT_SUPERVISOR_MADE_UP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe.h"

#define EMBED  4
#define RANKS  3 /* where there are several */
#define LAYERS 2
#define TOP_K  2

/* First tokens of texts. */
#define POISON 666 /* the step is refused */
#define DEADLY 777 /* the process ends */
#define FATAL  888 /* the process hangs */

enum lie { HONEST, NO_HELLO, BAD_MAGIC, HUGE_LENGTH, WRONG_ID, WRONG_ITEMS, HALF_A_RESULT, UNASKED, LIES };

/* What rank 1 says of itself that cannot be. */
enum pretence { NOTHING, ANOTHERS_RANK, NO_SUCH_RANK, ANOTHER_MODEL, NO_MODEL, PRETENCES, ANOTHER_CONFIG };

/* Where the next job stands still, whose first process to get there takes it back. */
enum hang { NOWHERE, BEFORE_RANKS_COME, BEFORE_THEY_MEET, HANGS };

struct fake {
    atomic_bool held;     /* a step that is being computed stands still */
    atomic_bool broken;   /* every answer is NaN */
    atomic_bool drifting; /* every answer differs */
    atomic_bool missing;  /* the model does not open */
    atomic_bool dying;    /* the process ends while it opens the model */
    atomic_bool other;    /* it is another model */
    atomic_uint steps, largest, processes;
    atomic_int ranks[RANKS]; /* their processes */
    atomic_int session;      /* the process of mpirun's with another host */
    atomic_uint opened;      /* models, by all processes */
    atomic_uint parted;      /* how often any rank of a group was told to stop waiting */
    atomic_bool away;        /* no agent reaches another host */
    atomic_bool lonely;      /* rank 1 loses the others, once, and nobody has ended */
    atomic_uint unique_ids;  /* made so far, and by which each rank of a group has joined; 0: by none */
    atomic_uint joined[RANKS], arrived[RANKS]; /* arrived: how often it has waited for the others since */
    _Atomic(enum pretence) pretence;
    _Atomic(enum hang) hang;
    _Atomic(enum lie) lie; /* of the next process, which takes it back when it has told it */
};

/* What this process shares with the others; NULL before made_up_share. */
extern struct fake *fake;

/* The model's shape: what an engine says of itself in its HELLO. */
extern const struct limoe_info shape;

/* Maps the file that a test has made; false if it is not there. */
bool made_up_share(const char *path);

/* A millisecond. */
void nap(void);

/* Stands still for ever if that is asked for at this point, and takes it back. */
void hang(enum hang where);

/* A unit vector at an angle that depends on the item's first token or pixel: EMBED numbers. */
void embed_item(const struct limoe_item *item, float *out);

/* The engine's process: an honest one is the real one. The command line is that of `limoe engine`. */
int honest_or_not(int argc, char **argv);

/* As much of mpirun as the front uses. */
int mpirun_main(int argc, char **argv);

/* Stands for ssh: argv[1] is the host, argv[2] the command. */
int agent_main(int argc, char **argv);

#endif
