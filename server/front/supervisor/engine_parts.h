/* engine_parts.h - struct engine, for the files that implement engine.h. */
#ifndef LIMOE_SERVER_FRONT_SUPERVISOR_ENGINE_PARTS_H
#define LIMOE_SERVER_FRONT_SUPERVISOR_ENGINE_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/process.h"
#include "server/front/supervisor/engine.h"
#include "server/front/supervisor/launcher.h"
#include "server/front/supervisor/membership.h"
#include "server/front/supervisor/replay.h"
#include "server/front/supervisor/transfer.h"

/* What the process, or the job, is doing. ENGINE_DOWN: there is none, and the next is waited for. */
enum engine_phase { ENGINE_DOWN, ENGINE_OPENING, ENGINE_UP };

struct engine {
    struct engine_options options;
    char label[160]; /* "engine", "engine NAME": how lines of the log begin */
    pthread_t thread;

    /* Written once by the thread, before the atomic that says that they may be read. */
    struct engine_info info;  /* ready */
    struct frame_hello hello; /* ready: the first of rank 0, whose strings info has */
    enum limoe_status opened; /* settled */
    struct limoe_error error;
    atomic_bool ready, settled, superseded;

    pthread_mutex_t lock;
    char fault[PROCESS_WHY_SIZE + sizeof(struct limoe_error)]; /* guarded by lock; "": it is running */
    struct engine_rank *ranks;                                 /* [membership.n]; guarded by lock */
    atomic_int pid;
    _Atomic uint64_t tails, tail_bytes;  /* in the engine's memory, as it last said */
    _Atomic uint64_t known, known_bytes; /* likewise items whose rows of the trunk are kept */

    /* The thread's own. Times are clock_now(); 0: never. */
    enum engine_phase phase;
    struct launcher *launcher;
    char peers_lost[256]; /* what a rank says of the others, which are all there; "": nothing */
    struct membership membership;
    struct pollfd *polled; /* as many as there may be: supervisor.c */
    struct transfer transfer;
    struct replay replay;
    struct metrics_model *counters;
    unsigned failures; /* starts in a row that led to no answer */
    bool answered;     /* by this process */
    int64_t began;     /* the process was started */
    int64_t
        connected_after; /* its start, at the quickest, the ranks of a job had found each other; 0: not yet */
    int64_t start_at;    /* ENGINE_DOWN: when the next is */
    int64_t oldest_at;   /* when the oldest step became the engine's to compute */
    int64_t deadline;    /* when the process is lost, unless it has answered by then */
    int64_t measure_at;  /* when its memory is looked at */
    int64_t ask_at;      /* when the queue is to be asked again, whatever its event says */
};

/* ---- engine.c: what others may read */

void engine_settle(struct engine *engine, enum limoe_status opened, const struct limoe_error *err);
/* Says why the engine does not run; "": it runs. */
void engine_set_fault(struct engine *engine, const char *fault);

/* ---- lifecycle.c: the process, from its start to its loss */

void lifecycle_start(struct engine *engine);
/* Takes in the ranks that have come to the rendezvous, if any have. */
void lifecycle_rendezvous(struct engine *engine);
/* Their time to come to the rendezvous is over. Those that have not are lost; where ranks are not separable, all. */
void lifecycle_late(struct engine *engine);
/* The rank's link has received a CONNECTED. */
void lifecycle_connected(struct engine *engine, struct member *rank);
/* The rank's link has received a HELLO. */
void lifecycle_hello(struct engine *engine, struct member *rank);
/* The rank's link has received a UNIQUE_ID. */
void lifecycle_unique_id(struct engine *engine, struct member *rank);
/* The engine is lost: its process has ended by itself (`cause` is NULL), or is ended now because of
 * `cause`. */
void lifecycle_lost(struct engine *engine, const char *cause);
/* A rank is of no more use, because of `cause`; where ranks are not separable, none of them is. */
void lifecycle_rank_lost(struct engine *engine, struct member *rank, const char *cause);
/* A rank says that it has lost the others. Either one of them has ended, and its end is about to show, or
 * none has, and all are to be brought together anew. */
void lifecycle_peers_lost(struct engine *engine, const char *message);
/* Brings the ranks together anew: they have lost each other, and none has ended in the time given for
 * that. */
void lifecycle_rejoin(struct engine *engine);
/* Ends the process; the engine is not started again. */
void lifecycle_stop(struct engine *engine);
/* A rank's socket has ended or broken. The end of its process, if that comes too, says more. */
void lifecycle_disconnected(struct engine *engine, struct member *rank, const char *cause);
/* The engine has answered a step, which shows that it works. */
void lifecycle_answered(struct engine *engine);

/* ---- steps.c: steps out, results in */

/* Sends as much of the next steps as can be sent now. */
void steps_send(struct engine *engine);
/* Receives what has come from a rank. */
void steps_receive(struct engine *engine, struct member *rank);
/* Whether this rank may say anything now. */
bool steps_listening(const struct engine *engine, const struct member *rank);
/* Which frames it may send now, as FRAME_IN has them. */
unsigned steps_due(const struct engine *engine, const struct member *rank);
/* Whether there is room for another step on the way to the engine. */
bool steps_room(const struct engine *engine);
/* Fails the first step's jobs with the message, and gives it back. */
void steps_fail(struct engine *engine, enum limoe_status status, const char *message);
void steps_fail_all(struct engine *engine, enum limoe_status status, const char *message);

/* ---- supervisor.c: the thread */

enum { SUPERVISOR_EVENTS = LAUNCHER_EVENTS + 2 }; /* that it polls for, and two for each rank */

void *supervisor_main(void *engine);

#endif
