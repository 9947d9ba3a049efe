/* launch_one.c - an engine of one rank: a child, with its socket from the start. */
#include <fcntl.h>
#include <stdlib.h>

#include "server/front/supervisor/launcher.h"

enum { MOST_ARGUMENTS = 32 };

struct one {
    struct launcher base;
    struct process process;
};

static struct one *one_of(struct launcher *launcher) {
    return (struct one *)launcher;
}

static const struct process *process_of(const struct launcher *launcher) {
    return &((const struct one *)launcher)->process;
}

static const char *device(const struct limoe_options *compute) {
    return compute->device;
}

static enum limoe_status start(struct launcher *launcher, const char *const engine[],
                               struct limoe_error *err) {
    struct process *process = &one_of(launcher)->process;
    const char *list[MOST_ARGUMENTS + 1] = {"engine"};
    for (size_t i = 0; engine[i] && i + 1 < MOST_ARGUMENTS; i++)
        list[i + 1] = engine[i];
    enum limoe_status status = process_spawn(list, process_engine_variables, process, err);
    if (status != LIMOE_OK)
        return status;
    int fd = process->fd;
    process->fd = -1;
    fcntl(fd, F_SETFL, O_NONBLOCK); /* an engine that hangs must not make the front hang */
    membership_join(launcher->membership, fd, process->pid);
    return LIMOE_OK;
}

static void end(struct launcher *launcher, const struct member *alone, char ended[PROCESS_WHY_SIZE]) {
    (void)alone;
    process_kill(&one_of(launcher)->process, ended);
    membership_close(launcher->membership);
}

static pid_t pid(const struct launcher *launcher) {
    return process_of(launcher)->pid;
}

static int pidfd(const struct launcher *launcher, const struct member *rank) {
    (void)rank;
    return process_of(launcher)->pidfd;
}

static void release(struct launcher *launcher) {
    free(launcher);
}

struct launcher *launch_one_new(void) {
    static const struct launcher_ops ops = {
        .opening = FRAME_IN(FRAME_HELLO),
        .device = device,
        .start = start,
        .end = end,
        .free = release,
        .pid = pid,
        .pidfd = pidfd,
    };
    struct one *one = malloc(sizeof *one);
    if (!one)
        return NULL;
    *one = (struct one){.base.ops = &ops, .process = {.pid = -1, .pidfd = -1, .fd = -1}};
    return &one->base;
}
