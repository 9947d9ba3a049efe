/* job.c - joining an MPI job, and leaving it in failure. */
#include "tests/ranks/job.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct job job_join(void) {
    struct job job = {0};
    struct limoe_error err;
    if (limoe_ranks_open("mpi", &job.ranks, &err) != LIMOE_OK) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    job.x = exchange_of(job.ranks);
    job.rank = limoe_ranks_rank(job.ranks);
    job.count = limoe_ranks_count(job.ranks);
    if (job.rank > 0)
        dup2(STDERR_FILENO, STDOUT_FILENO);
    return job;
}

void job_leave(struct job *job) {
    limoe_ranks_close(job->ranks);
}

void job_expect(const struct job *job, bool good, const char *format, ...) {
    char message[1024];
    va_list args;
    if (good)
        return;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    fflush(stdout);
    job->x->ops->end(job->x, message);
}

struct limoe_model *job_open(const struct job *job, const char *dir, const struct limoe_options *options) {
    struct limoe_model *m = NULL;
    struct limoe_error err;
    job_expect(job, limoe_model_open(dir, options, &m, &err) == LIMOE_OK, "%s", err.message);
    return m;
}
