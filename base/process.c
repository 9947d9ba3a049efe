/* process.c - posix_spawn, and a pidfd to watch. No state, any thread.
 *
 * The program started is /proc/self/exe, not a path: parent and child stay one version while the file on disk
 * is replaced. posix_spawn and not fork: a fork of a process with threads and gigabytes may do little and
 * costs much.
 */
#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"

enum { MOST_ARGUMENTS = 256 };

/* When memory runs out, a child goes before the front: it is started again, and its work is done again. */
#define OOM_SCORE "500"

static bool is_open(int fd) {
    return fcntl(fd, F_GETFD) >= 0;
}

/* The child's descriptors, in an order in which no step overwrites what a later one needs: `end` goes to
 * PROCESS_FD first. Standard error may be closed in a service; then all three go to /dev/null. */
static int set_descriptors(posix_spawn_file_actions_t *actions, int end) {
    int code = posix_spawn_file_actions_adddup2(actions, end, PROCESS_FD);
    if (!code)
        code = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDWR, 0);
    if (!code && !is_open(STDERR_FILENO))
        code = posix_spawn_file_actions_adddup2(actions, STDIN_FILENO, STDERR_FILENO);
    if (!code)
        code = posix_spawn_file_actions_adddup2(actions, STDERR_FILENO, STDOUT_FILENO);
    if (!code)
        code = posix_spawn_file_actions_addclosefrom_np(actions, PROCESS_FD + 1);
    return code;
}

/* Every disposition is the default (an ignored SIGPIPE would be inherited), and only what process.h names is
 * blocked. */
static int set_signals(posix_spawnattr_t *attributes) {
    sigset_t defaults, blocked;
    sigfillset(&defaults);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGINT);
    sigaddset(&blocked, SIGHUP);
    int code = posix_spawnattr_setsigdefault(attributes, &defaults);
    if (!code)
        code = posix_spawnattr_setsigmask(attributes, &blocked);
    if (!code)
        code = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    return code;
}

/* ---- the child's environment: a password or a token that the front was given is none of its business */

const char *const process_engine_variables[] = {
    "LIMOE_ISA", "LIMOE_MODULES", "LIMOE_TEST_*", "CUDA_*", "NVIDIA_*",        "NCCL_*",
    "PATH",      "HOME",          "TMPDIR",       "LANG",   "LD_LIBRARY_PATH", "MALLOC_*",
    "GLIBC_*",   "ASAN_*",        "UBSAN_*",      "LSAN_*", "TSAN_*",          NULL};

static bool is_named(const char *variable, const char *name) {
    const size_t length = strlen(name);
    if (length > 0 && name[length - 1] == '*')
        return strncmp(variable, name, length - 1) == 0;
    return strncmp(variable, name, length) == 0 && variable[length] == '=';
}

static bool is_kept(const char *variable, const char *const *keep) {
    for (size_t i = 0; keep[i]; i++)
        if (is_named(variable, keep[i]))
            return true;
    return false;
}

/* The variables that are kept, to be freed; the strings stay the front's. NULL: no memory. */
static char **keep_variables(const char *const *keep) {
    size_t n = 0, kept = 0;
    while (environ && environ[n])
        n++;
    char **variables = calloc(n + 1, sizeof *variables);
    for (size_t i = 0; variables && i < n; i++)
        if (is_kept(environ[i], keep))
            variables[kept++] = environ[i];
    return variables;
}

/* 0, or the errno of what failed. */
static int spawn(const char *const argv[], char **variables, int end, pid_t *pid) {
    char *arguments[MOST_ARGUMENTS + 2] = {(char *)"limoe"};
    for (size_t i = 0; argv[i]; i++) {
        if (i == MOST_ARGUMENTS)
            return E2BIG;
        arguments[i + 1] = (char *)argv[i]; /* posix_spawn does not write to it */
    }
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int code = posix_spawn_file_actions_init(&actions);
    if (code)
        return code;
    code = posix_spawnattr_init(&attributes);
    if (code)
        goto actions;
    code = set_descriptors(&actions, end);
    if (!code)
        code = set_signals(&attributes);
    if (!code)
        code = posix_spawn(pid, "/proc/self/exe", &actions, &attributes, arguments, variables);
    posix_spawnattr_destroy(&attributes);
actions:
    posix_spawn_file_actions_destroy(&actions);
    return code;
}

static enum limoe_status start(const char *const argv[], char **variables, struct process *out,
                               struct limoe_error *err) {
    int ends[2];
    *out = (struct process){.pid = -1, .pidfd = -1, .fd = -1};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return limoe_fail(err, LIMOE_INTERNAL, "cannot make a socket for a child process: %s",
                          strerror(errno));
    out->fd = ends[0];
    int code = spawn(argv, variables, ends[1], &out->pid);
    close(ends[1]);
    if (code) {
        close(out->fd);
        *out = (struct process){.pid = -1, .pidfd = -1, .fd = -1};
        return limoe_fail(err, LIMOE_INTERNAL, "cannot start \"limoe %s\": %s", argv[0], strerror(code));
    }
    out->pidfd = pidfd_open(out->pid, 0); /* the child is ours to reap: the number cannot be another's */
    if (out->pidfd < 0) {
        code = errno;
        process_kill(out, NULL);
        return limoe_fail(err, LIMOE_INTERNAL, "cannot watch \"limoe %s\": %s", argv[0], strerror(code));
    }
    return LIMOE_OK;
}

enum limoe_status process_spawn(const char *const argv[], const char *const *keep, struct process *out,
                                struct limoe_error *err) {
    *out = (struct process){.pid = -1, .pidfd = -1, .fd = -1};
    if (!keep)
        return start(argv, environ, out, err);
    char **variables = keep_variables(keep);
    if (!variables)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory to start \"limoe %s\"", argv[0]);
    const enum limoe_status status = start(argv, variables, out, err);
    free(variables);
    return status;
}

static void describe(const siginfo_t *info, char why[PROCESS_WHY_SIZE]) {
    const char *name = info->si_code == CLD_EXITED ? NULL : sigabbrev_np(info->si_status);
    const char *dumped = info->si_code == CLD_DUMPED ? " (core dumped)" : "";
    if (info->si_code == CLD_EXITED)
        snprintf(why, PROCESS_WHY_SIZE, "exited with status %d", info->si_status);
    else if (name)
        snprintf(why, PROCESS_WHY_SIZE, "killed by SIG%s%s", name, dumped);
    else
        snprintf(why, PROCESS_WHY_SIZE, "killed by signal %d%s", info->si_status, dumped);
}

int process_kill(struct process *process, char why[PROCESS_WHY_SIZE]) {
    siginfo_t info = {0};
    int reaped;
    if (process->pid <= 0) { /* kill(2) takes these for groups */
        if (why)
            snprintf(why, PROCESS_WHY_SIZE, "not started");
        return 0;
    }
    kill(process->pid, SIGKILL); /* nothing happens to one that has ended: it keeps its own cause */
    do
        reaped = waitid(P_PID, (id_t)process->pid, &info, WEXITED);
    while (reaped != 0 && errno == EINTR);
    if (why && reaped == 0)
        describe(&info, why);
    else if (why)
        snprintf(why, PROCESS_WHY_SIZE, "lost: %s", strerror(errno));
    if (process->pidfd >= 0)
        close(process->pidfd);
    if (process->fd >= 0)
        close(process->fd);
    *process = (struct process){.pid = -1, .pidfd = -1, .fd = -1};
    return reaped == 0 && info.si_code != CLD_EXITED ? info.si_status : 0;
}

void process_pause(const struct process *process, bool stop) {
    if (process->pid > 0) /* kill(2) takes others for groups */
        kill(process->pid, stop ? SIGSTOP : SIGCONT);
}

bool process_ended(const struct process *process) {
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)process->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid != 0;
}

/* ---- the child's side */

static void raise_oom_score(void) {
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return; /* a system without: its order stays as it is */
    ssize_t written = write(fd, OOM_SCORE, sizeof OOM_SCORE - 1);
    (void)written; /* likewise */
    close(fd);
}

bool process_child_setup(struct limoe_error *err) {
    int type;
    socklen_t size = sizeof type;
    if (getsockopt(PROCESS_FD, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM) {
        limoe_fail(err, LIMOE_INVALID, "descriptor %d is no socket: only limoe itself starts this command",
                   PROCESS_FD);
        return false;
    }
    fcntl(PROCESS_FD, F_SETFD, FD_CLOEXEC);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* A parent that died before that line sent no signal, but its end of the socket went before it did. Its
     * number would prove nothing: as the first process of a container the parent is 1, as is who takes over.
     */
    struct pollfd end = {.fd = PROCESS_FD, .events = POLLRDHUP};
    if (poll(&end, 1, 0) > 0 && (end.revents & (POLLRDHUP | POLLHUP | POLLERR))) {
        limoe_fail(err, LIMOE_IO, "the process that started this one is gone");
        return false;
    }
    raise_oom_score();
    return true;
}
