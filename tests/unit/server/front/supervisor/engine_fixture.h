/* engine_fixture.h - what the tests of an engine as the front sees it share: an engine of the made-up
 * model with a queue of its own, jobs for it, and ways to lose its processes. */
#ifndef LIMOE_TESTS_UNIT_SERVER_FRONT_SUPERVISOR_ENGINE_FIXTURE_H
#define LIMOE_TESTS_UNIT_SERVER_FRONT_SUPERVISOR_ENGINE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/front/supervisor/engine.h"
#include "tests/unit/server/front/supervisor/made_up.h"

/* Where a step's time is not the matter it is long: on a busy machine a sound one may take seconds. */
enum { IMPATIENT = 4 };

/* ---- jobs */

struct text_job {
    struct job job;
    int32_t token[200];
    struct limoe_item items[200];
    float embeddings[200 * EMBED];
    int32_t expert[LAYERS * 200 * 8 * TOP_K];
    float gate[LAYERS * 200 * 8 * TOP_K];
    int ended; /* event */
};

/* n texts of 1 + i % 8 tokens, their first tokens `token`, token + 1 … The caller frees it with
 * text_job_free. */
struct text_job *make(size_t n, int32_t token);
void text_job_free(struct text_job *text);

/* Until the job has ended, which must be once. */
void wait_for(struct text_job *text);

/* Fail the test unless the job has what the model makes of its items. */
void assert_embedded(const struct text_job *text);
void assert_routed(const struct text_job *text);

/* ---- an engine */

struct fixture {
    struct queue *queue;
    struct metrics *metrics;
    struct log *log;
    struct engine *engine;
    int opened;
};

/* Starts an engine and waits until it has opened the model, or has failed to. The caller calls stop(). */
struct fixture start_with(struct engine_options options);
struct fixture start(uint64_t step_tokens);

/* Stops the engine; nothing may be left in its queue. */
void stop(struct fixture *fixture);

void push(struct fixture *fixture, struct text_job *text);

/* Waits for the steps that the engine has begun since its start. */
void await_steps(unsigned steps);

/* A metric's value, by its name with its labels. */
double metric(struct fixture *fixture, const char *name);

/* Twelve jobs of five items, the last of the seventh job's bad, all in one step; and what becomes of them. */
void push12(struct fixture *fixture, int32_t bad);
void assert_only_the_seventh_failed(const char *message);

/* Sends a signal to the engine's process (of a job: to mpirun), or to a rank's. */
void lose(struct fixture *fixture, int signal_number);
void lose_rank(uint32_t rank, int signal_number);

/* ---- the program */

/* The program's main: an engine, `limoe launch`, mpirun or an agent where it was started as one, and else the tests. */
int fixture_main(int argc, char **argv, int (*run)(void));

#endif
