/* mpi_job.c - ranks on CPUs: mpirun starts them, and they come to the front.
 *
 * With a rank the whole job is lost. Hosts may be out of reach then, and a job that is started meanwhile may
 * hang for ever: in mpirun, which does not hear of a host, or in MPI, which does not try twice to connect two
 * ranks. So lifecycle.c gives ranks little time to come and to find each other.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/front/supervisor/launcher.h"
#include "server/protocol/join.h"

#define END_TIMEOUT 2000 /* ms from the end of the ranks' sockets to the job's */

struct job {
    struct launcher base;
    struct process process;       /* mpirun */
    struct rendezvous rendezvous; /* open while ranks are to come */
};

static struct job *job_of(struct launcher *launcher) {
    return (struct job *)launcher;
}

static const struct job *job_in(const struct launcher *launcher) {
    return (const struct job *)launcher;
}

/* Several ranks compute on the CPU unless GPUs are asked for. */
static const char *device(const struct limoe_options *compute) {
    (void)compute;
    return "cpu";
}

static enum limoe_status start(struct launcher *launcher, const char *const engine[],
                               struct limoe_error *err) {
    struct job *job = job_of(launcher);
    enum limoe_status status =
        rendezvous_open(&job->rendezvous, launcher->options->address, JOIN_SILENT, err);
    if (status == LIMOE_OK)
        status = launch_start(launcher->options, &job->rendezvous, engine, &job->process, err);
    if (status != LIMOE_OK)
        rendezvous_close(&job->rendezvous);
    return status;
}

/* Ranks that have lost the front end by themselves. mpirun then ends too, and cleans up, as it does not
 * when it is killed. What does not end is killed. */
static void end(struct launcher *launcher, const struct member *alone, char ended[PROCESS_WHY_SIZE]) {
    (void)alone;
    struct job *job = job_of(launcher);
    struct process *process = &job->process;
    struct pollfd over = {.fd = process->pidfd, .events = POLLIN};
    char fault[PROCESS_WHY_SIZE], why[PROCESS_WHY_SIZE - 16];
    rendezvous_close(&job->rendezvous);
    membership_close(launcher->membership);
    if (process->pid > 0)
        poll(&over, 1, END_TIMEOUT);
    membership_kill(launcher->membership);
    launch_fault(process, fault, sizeof fault);
    const pid_t mpirun = process->pid;
    if (mpirun > 0)
        launch_kill_children(mpirun);
    process_kill(process, ended);
    if (mpirun > 0)
        launch_clean(mpirun);
    if (!ended)
        return;
    snprintf(why, sizeof why, "%s", ended);
    snprintf(ended, PROCESS_WHY_SIZE, fault[0] ? "%s" : "mpirun %s", fault[0] ? fault : why);
}

static void let_go(struct launcher *launcher) {
    launch_let_go(&job_of(launcher)->process);
}

static pid_t pid(const struct launcher *launcher) {
    return job_in(launcher)->process.pid;
}

static int pidfd(const struct launcher *launcher, const struct member *rank) {
    return rank ? -1 : job_in(launcher)->process.pidfd;
}

static size_t events(const struct launcher *launcher, struct pollfd *polled) {
    return rendezvous_events(&job_in(launcher)->rendezvous, polled);
}

static bool accept_ranks(struct launcher *launcher, int64_t now) {
    struct rendezvous *rendezvous = &job_of(launcher)->rendezvous;
    struct membership *membership = launcher->membership;
    struct frame_join join;
    pid_t process;
    int fd;
    if (rendezvous->listening < 0)
        return false;
    while (membership->joined < membership->n && rendezvous_next(rendezvous, now, &fd, &process, &join))
        membership_join(membership, fd, process);
    launcher_log_refused(launcher, rendezvous);
    if (membership->joined < membership->n)
        return false;
    rendezvous_close(rendezvous);
    return true;
}

static void release(struct launcher *launcher) {
    rendezvous_close(&job_of(launcher)->rendezvous);
    free(launcher);
}

struct launcher *mpi_job_new(void) {
    static const struct launcher_ops ops = {
        .remote = true,
        .opening = FRAME_IN(FRAME_HELLO),
        .device = device,
        .start = start,
        .end = end,
        .free = release,
        .pid = pid,
        .pidfd = pidfd,
        .let_go = let_go,
        .events = events,
        .accept = accept_ranks,
    };
    struct job *job = malloc(sizeof *job);
    if (!job)
        return NULL;
    *job = (struct job){.base.ops = &ops, .process = {.pid = -1, .pidfd = -1, .fd = -1}};
    rendezvous_init(&job->rendezvous);
    return &job->base;
}
