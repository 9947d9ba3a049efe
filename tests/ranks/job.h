/* job.h - a test that runs as the ranks of one MPI job: mpirun -n N test …
 *
 * A rank that finds something wrong ends the job: the others would wait for it for ever. Rank 0 writes the
 * report, the others write to standard error.
 */
#ifndef LIMOE_TESTS_RANKS_JOB_H
#define LIMOE_TESTS_RANKS_JOB_H

#include <stddef.h>
#include <stdint.h>

#include "experts/exchange.h"
#include "limoe.h"

struct job {
    struct limoe_ranks *ranks;
    const struct exchange *x; /* the same, for what tests tell each other */
    uint32_t rank, count;
};

/* Joins the job, or ends this process. */
struct job job_join(void);
void job_leave(struct job *job);

/* Ends the job unless `good`; the message is a printf's. */
void job_expect(const struct job *job, bool good, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Opens the model over the job's ranks, or ends the job. */
struct limoe_model *job_open(const struct job *job, const char *dir, const struct limoe_options *options);

#endif
