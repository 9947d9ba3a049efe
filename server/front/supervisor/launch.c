/* launch.c - mpirun's command line, and the process that becomes it. */
#include "server/front/supervisor/launch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "server/front/supervisor/hush.h"
#include "server/front/supervisor/session.h"
#include "server/options/command.h"
#include "server/protocol/join.h"

#define HWLOC     "HWLOC_COMPONENTS" /* how the machine's shape is found out */
#define TEMPORARY "TMPDIR"

enum { MOST_ARGUMENTS = 250 };

/* ---- mpirun's files, in a directory of its own */

static void files_path(pid_t mpirun, char path[PATH_MAX]) {
    const char *base = getenv(TEMPORARY);
    snprintf(path, PATH_MAX, "%s/limoe-job-%ld", base && *base == '/' ? base : "/tmp", (long)mpirun);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where) {
    (void)status;
    (void)kind;
    (void)where;
    remove(path);
    return 0;
}

/* Removes only what nobody else could have made, or could put anything into meanwhile. */
void launch_clean(pid_t mpirun) {
    char path[PATH_MAX];
    struct stat status;
    files_path(mpirun, path);
    if (lstat(path, &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == geteuid() &&
        (status.st_mode & 077) == 0)
        nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- mpirun's children */

/* Each thread has its own. */
static void kill_children_of(pid_t process, const char *thread) {
    char path[64];
    long pid;
    snprintf(path, sizeof path, "/proc/%ld/task/%.20s/children", (long)process, thread);
    FILE *file = fopen(path, "re");
    if (!file)
        return;
    while (fscanf(file, "%ld", &pid) == 1)
        kill((pid_t)pid, SIGKILL); /* mpirun could reap it in between; its number is not another's so soon */
    fclose(file);
}

void launch_kill_children(pid_t mpirun) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/task", (long)mpirun);
    DIR *threads = opendir(path);
    for (struct dirent *at; threads && (at = readdir(threads));)
        if (at->d_name[0] != '.')
            kill_children_of(mpirun, at->d_name);
    if (threads)
        closedir(threads);
}

/* ---- the front's side */

struct arguments {
    const char *list[MOST_ARGUMENTS + 1];
    size_t n;
    bool full;
};

static void add(struct arguments *arguments, const char *argument) {
    arguments->full = arguments->full || arguments->n == MOST_ARGUMENTS;
    if (!arguments->full)
        arguments->list[arguments->n++] = argument;
}

/* This program, as ranks find it. On this host it is the front's own, whatever becomes of its file; on others
 * it is the file of the same path. */
enum limoe_status launch_program(bool one_host, char path[PATH_MAX], struct limoe_error *err) {
    if (one_host) {
        snprintf(path, PATH_MAX, "/proc/%ld/exe", (long)getpid());
        return LIMOE_OK;
    }
    ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);
    if (n < 0)
        return limoe_fail(err, LIMOE_IO, "cannot find this program's own path: %s", strerror(errno));
    path[n] = '\0';
    return LIMOE_OK;
}

enum limoe_status launch_start(const struct launch_options *options, const struct rendezvous *rendezvous,
                               const char *const engine[], struct process *out, struct limoe_error *err) {
    struct arguments arguments = {.n = 0};
    char ranks[16], path[PATH_MAX], *rest = NULL;
    enum limoe_status status = launch_program(!options->hostfile, path, err);
    if (status != LIMOE_OK)
        return status;
    char *more = options->arguments ? strdup(options->arguments) : NULL;
    if (options->arguments && !more)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory to start ranks");
    snprintf(ranks, sizeof ranks, "%u", options->ranks);
    add(&arguments, "launch");
    add(&arguments, options->mpirun);
    add(&arguments, "-n");
    add(&arguments, ranks);
    if (options->hostfile) {
        add(&arguments, "--hostfile");
        add(&arguments, options->hostfile);
    } else {
        add(&arguments, "--oversubscribe"); /* how many ranks this host takes is the operator's to know */
    }
    add(&arguments, "--bind-to"); /* a rank has threads */
    add(&arguments, "none");
    add(&arguments, "-x");
    add(&arguments, JOIN_TOKEN);
    add(&arguments, "-x");
    add(&arguments, HWLOC);
    for (char *word = more ? strtok_r(more, " \t", &rest) : NULL; word; word = strtok_r(NULL, " \t", &rest))
        add(&arguments, word);
    add(&arguments, path);
    add(&arguments, "engine");
    for (size_t i = 0; engine[i]; i++)
        add(&arguments, engine[i]);
    add(&arguments, "--connect");
    add(&arguments, rendezvous->address);
    if (arguments.full)
        status = limoe_fail(err, LIMOE_INVALID, "more than %d arguments for mpirun", MOST_ARGUMENTS);
    else
        status = process_spawn(arguments.list, NULL, out, err); /* all: mpirun and ssh need much */
    free(more);
    if (status == LIMOE_OK &&
        send(out->fd, rendezvous->token, FRAME_TOKEN_BYTES, MSG_NOSIGNAL) != FRAME_TOKEN_BYTES) {
        process_kill(out, NULL);
        status = limoe_fail(err, LIMOE_INTERNAL, "cannot start ranks: %s", strerror(errno));
    }
    return status;
}

void launch_let_go(const struct process *process) {
    if (process->fd >= 0)
        shutdown(process->fd, SHUT_WR);
}

void launch_fault(const struct process *process, char *why, size_t size) {
    ssize_t n = process->fd >= 0 ? recv(process->fd, why, size - 1, MSG_DONTWAIT) : 0;
    why[n > 0 ? n : 0] = '\0';
}

/* ---- the process that becomes mpirun */

static const struct {
    const char *name, *value;
} quiet[] = {
    {"OMPI_MCA_btl_base_warn_component_unused", "0"}, /* a transport without its network */
    {"OMPI_MCA_btl_openib_warn_no_device_params_found", "0"},
    {"OMPI_MCA_mca_base_component_show_load_errors", "0"}, /* a component whose library is not installed */
    {"PMIX_MCA_mca_base_component_show_load_errors", "0"},
    {"OMPI_MCA_opal_warn_on_missing_libcuda", "0"},
    {"OMPI_MCA_shmem_mmap_enable_nfs_warning", "0"},
    {"UCX_LOG_LEVEL", "error"},
    {"HWLOC_HIDE_ERRORS", "1"}, /* of what firmware says of the machine's shape */
};

/* What the operator has set stays. Root: who runs limoe as root has answered mpirun's question. Yielding:
 * ranks wait for each other on the cores that the front and its decoders need. Single copy: containers forbid
 * it, and Open MPI then fails. The second before SIGKILL: ranks end when the front lets go of them, and have
 * nothing to do for SIGTERM. hwloc: it would go and ask each processor in turn, and wait for its turn on
 * those that are busy; the system tells as much. Sessions: mpirun sees the end of a daemon that it could not
 * hear of otherwise, one on another host that could not connect back, and ends too; a session for each host
 * there may be. Keepalive: daemons on a host that was cut off, and their ranks, end in half a minute. Quiet:
 * what Open MPI and its libraries say of networks, graphics and libraries that this host does not have and
 * nobody has asked for stays out of the log; errors are said as ever. */
static void set_environment(const char *token) {
    setenv(JOIN_TOKEN, token, 1);
    if (geteuid() == 0) {
        setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 0);
        setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 0);
    }
    setenv("OMPI_MCA_mpi_yield_when_idle", "1", 0);
    setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 0);
    setenv("OMPI_MCA_odls_base_sigkill_timeout", "0", 0);
    char files[PATH_MAX];
    files_path(getpid(), files);
    if (mkdir(files, 0700) == 0)
        setenv(TEMPORARY, files, 1);
    setenv("OMPI_MCA_orte_leave_session_attached", "1", 0);
    setenv("OMPI_MCA_plm_rsh_num_concurrent", "1024", 0);
    setenv("OMPI_MCA_oob_tcp_keepalive_time", "10", 0);
    setenv("OMPI_MCA_oob_tcp_keepalive_intvl", "5", 0);
    setenv("OMPI_MCA_oob_tcp_keepalive_probes", "3", 0);
    setenv(HWLOC, "-x86,-gl,-opencl,-cuda,-nvml", 0);
    for (size_t i = 0; i < sizeof quiet / sizeof *quiet; i++)
        setenv(quiet[i].name, quiet[i].value, 0);
}

/* From here on standard error goes through a process that keeps mpirun's announcements back. It is nobody's
 * child, since mpirun waits for its own, and ends when all who write to it have. Without it, everything is
 * let through. */
static void hush(void) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return;
    const pid_t child = fork();
    if (child == 0) {
        if (fork() != 0)
            _exit(0);
        close(ends[1]);
        close(STDIN_FILENO);
        close(STDOUT_FILENO);
        hush_copy(ends[0], STDERR_FILENO, PROCESS_FD);
        _exit(0);
    }
    if (child > 0) {
        waitpid(child, NULL, 0);
        dup2(ends[1], STDERR_FILENO);
    }
    close(ends[0]);
    close(ends[1]);
}

int launch_main(int argc, char **argv) {
    struct limoe_error err;
    char token[FRAME_TOKEN_BYTES + 1] = "", fault[PROCESS_WHY_SIZE];
    if (argc < 2 || !process_child_setup(&err)) {
        command_complain("launch: %s", argc < 2 ? "only limoe itself starts this command" : err.message);
        return COMMAND_USAGE;
    }
    if (strcmp(argv[1], SESSION_FLAG) == 0)
        return session_become(argv + 2);
    if (recv(PROCESS_FD, token, FRAME_TOKEN_BYTES, MSG_WAITALL) != FRAME_TOKEN_BYTES)
        return COMMAND_INPUT; /* the front is gone */
    set_environment(token);
    hush();
    execvp(argv[1], argv + 1);
    int n = snprintf(fault, sizeof fault, "cannot start \"%.60s\": %s", argv[1], strerror(errno));
    ssize_t sent = send(PROCESS_FD, fault, (size_t)n, MSG_NOSIGNAL);
    (void)sent; /* the front is gone, and nobody asks any more */
    return COMMAND_INPUT;
}
