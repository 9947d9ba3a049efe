/* launch.h - starting the job of an engine of several ranks on CPUs, and what is said of ranks by options.
 *
 * The front starts `limoe launch mpirun …` as its child. That child asks to die with the front, takes the
 * token from its socket, so that no command line shows it, and becomes mpirun, which starts the ranks on this
 * host or on others. The ranks come to the front by themselves (rendezvous.h).
 */
#ifndef LIMOE_SERVER_FRONT_SUPERVISOR_LAUNCH_H
#define LIMOE_SERVER_FRONT_SUPERVISOR_LAUNCH_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/process.h"
#include "limoe.h"
#include "server/front/supervisor/rendezvous.h"

/* The strings outlive whoever is given the options. */
struct launch_options {
    uint32_t ranks;        /* 0 and 1: one process, started without mpirun */
    const char *mpirun;    /* a path, or a name to be looked for in PATH */
    const char *arguments; /* more for mpirun, divided at blanks; NULL: none */
    const char *hostfile;  /* as mpirun's (hosts.h); NULL: all on this host */
    const char *address;   /* where the front listens for ranks; NULL: on a Unix socket */
    const char *agent;     /* of ranks on GPUs: what runs a command on another host, divided at blanks */
    const char *digest;    /* of the config and tokenizer that ranks must read as well; NULL: any */
    unsigned
        silent; /* s after which a rank on another host that gives no sign is lost; the engine's to set */
};

/* Starts a job whose ranks run `limoe engine engine[0] engine[1] … NULL`, and come to the rendezvous,
 * which is open. */
enum limoe_status launch_start(const struct launch_options *options, const struct rendezvous *rendezvous,
                               const char *const engine[], struct process *out, struct limoe_error *err);
/* Tells a job that nobody wants it any more: from here on nothing that it says goes to the log. */
void launch_let_go(const struct process *process);
/* Kills what mpirun has started on this host: sessions with other hosts, which may outlive it for hours when
 * a host is away. Called before mpirun itself is killed. */
void launch_kill_children(pid_t mpirun);
/* Removes the files that mpirun kept on this host, which it leaves behind when it is killed. Called once
 * it has ended. */
void launch_clean(pid_t mpirun);
/* Why the job could not begin, "" if it could. Called once the process has ended, before it is reaped. */
void launch_fault(const struct process *process, char *why, size_t size);

/* The path of this program, as it is started on this host alone, or on others as well, where it lies at the
 * same. */
enum limoe_status launch_program(bool one_host, char path[PATH_MAX], struct limoe_error *err);

/* `limoe launch`: becomes mpirun, or a session (session.h). It returns, with the exit status, only if it
 * cannot. */
int launch_main(int argc, char **argv);

#endif
