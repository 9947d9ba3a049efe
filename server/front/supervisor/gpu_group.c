/* gpu_group.c - ranks on GPUs: a child for each, which the front brings together by a unique id (frame.h).
 *
 * A rank that is lost ends a generation of the group: it alone is started again, and all are given the unique
 * id of the next one, by which they join. NCCL is the ranks' business: the front passes their ids on and
 * knows no more of them.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/front/supervisor/launcher.h"

enum { MOST_ARGUMENTS = 32 };

struct group {
    struct launcher base;
    uint32_t n;
    struct process *process; /* [n]; pid -1: lost, or not started yet */
    bool asked, identified;  /* rank 0 for the unique id; it has given it */
    bool *told;              /* [n]: the unique id */
    uint8_t unique_id[FRAME_UNIQUE_ID_BYTES];
};

static struct group *group_of(struct launcher *launcher) {
    return (struct group *)launcher;
}

static const struct group *group_in(const struct launcher *launcher) {
    return (const struct group *)launcher;
}

/* ---- processes */

/* Each rank is told its own. */
static const char *device(const struct limoe_options *compute) {
    (void)compute;
    return NULL;
}

static enum limoe_status start_one(struct group *group, uint32_t rank, const char *const engine[],
                                   struct limoe_error *err) {
    const char *list[MOST_ARGUMENTS + 1] = {"engine"};
    char name[16], number[16], ranks[16];
    size_t n = 1;
    snprintf(name, sizeof name, "cuda:%u", rank);
    snprintf(number, sizeof number, "%u", rank);
    snprintf(ranks, sizeof ranks, "%u", group->n);
    const char *const own[] = {"--device", name, "--rank", number, "--ranks", ranks};
    for (size_t i = 0; engine[i] && n < MOST_ARGUMENTS; i++)
        list[n++] = engine[i];
    for (size_t i = 0; i < sizeof own / sizeof *own && n < MOST_ARGUMENTS; i++)
        list[n++] = own[i];
    return process_spawn(list, process_engine_variables, &group->process[rank], err);
}

static void begin_generation(struct group *group) {
    group->base.generation++;
    group->asked = group->identified = false;
    memset(group->told, 0, group->n * sizeof *group->told);
}

/* Starts the ranks that are not there, each a member at its own rank; all of them begin a generation. */
static enum limoe_status start(struct launcher *launcher, const char *const engine[],
                               struct limoe_error *err) {
    struct group *group = group_of(launcher);
    struct membership *membership = launcher->membership;
    for (uint32_t r = 0; r < group->n; r++) {
        struct process *process = &group->process[r];
        struct member *rank = &membership->rank[r];
        if (process->pid > 0)
            continue;
        enum limoe_status status = start_one(group, r, engine, err);
        if (status != LIMOE_OK)
            return status;
        fcntl(process->fd, F_SETFL, O_NONBLOCK); /* an engine that hangs must not make the front hang */
        link_reset(&rank->link, process->fd);
        rank->pid = process->pid;
        rank->connected = true;
        process->fd = -1;
    }
    membership->joined = membership->connected = membership->n;
    begin_generation(group);
    return LIMOE_OK;
}

static void end_rank(struct group *group, uint32_t r, char ended[PROCESS_WHY_SIZE]) {
    struct member *lost = &group->base.membership->rank[r];
    process_kill(&group->process[r], ended);
    if (lost->link.fd >= 0)
        close(lost->link.fd);
    link_reset(&lost->link, -1);
    lost->pid = 0;
}

/* What is half sent to a rank will be sent to its end, whatever becomes of the step that it belongs to. Where
 * there is no memory for that, the rank is ended. */
static void detach(struct launcher *launcher) {
    struct group *group = group_of(launcher);
    membership_forget(launcher->membership);
    for (uint32_t r = 0; r < group->n; r++)
        if (!link_detach(&launcher->membership->rank[r].link))
            end_rank(group, r, NULL);
}

static void end(struct launcher *launcher, const struct member *alone, char ended[PROCESS_WHY_SIZE]) {
    struct group *group = group_of(launcher);
    for (uint32_t r = 0; r < group->n; r++)
        if (!alone || alone == &launcher->membership->rank[r])
            end_rank(group, r, ended);
    detach(launcher);
}

static bool is_whole(const struct launcher *launcher) {
    const struct group *group = group_in(launcher);
    for (uint32_t r = 0; r < group->n; r++)
        if (group->process[r].pid <= 0)
            return false;
    return true;
}

static pid_t pid(const struct launcher *launcher) {
    return group_in(launcher)->process[0].pid;
}

static int pidfd(const struct launcher *launcher, const struct member *rank) {
    return rank ? group_in(launcher)->process[rank - launcher->membership->rank].pidfd : -1;
}

/* ---- the unique id */

static bool stage_frame(struct link *link, enum frame_type type, const struct group *group) {
    const struct iovec part = {(void *)group->unique_id, type == FRAME_GROUP ? FRAME_UNIQUE_ID_BYTES : 0};
    const struct frame_header header = {.type = type, .length = part.iov_len, .id = group->base.generation};
    return link_stage(link, &header, &part, 1);
}

static void stage(struct launcher *launcher) {
    struct group *group = group_of(launcher);
    for (uint32_t r = 0; r < group->n; r++) {
        struct link *link = &launcher->membership->rank[r].link;
        if (link->fd < 0 || link_sending(link))
            continue;
        if (r == 0 && !group->asked)
            group->asked = stage_frame(link, FRAME_ASK, group);
        else if (group->identified && !group->told[r])
            group->told[r] = stage_frame(link, FRAME_GROUP, group);
    }
}

/* A unique id of a generation that is over changes nothing. */
static enum limoe_status take_unique_id(struct launcher *launcher, struct limoe_error *err) {
    struct group *group = group_of(launcher);
    const struct link *link = &launcher->membership->rank[0].link;
    uint8_t unique_id[FRAME_UNIQUE_ID_BYTES];
    enum limoe_status status = frame_get_unique_id(&link->frame, link->payload, unique_id, err);
    if (status != LIMOE_OK || link->frame.id != launcher->generation || group->identified)
        return status;
    memcpy(group->unique_id, unique_id, sizeof unique_id);
    group->identified = true;
    return LIMOE_OK;
}

/* ---- life */

static void release(struct launcher *launcher) {
    struct group *group = group_of(launcher);
    free(group->told);
    free(group->process);
    free(group);
}

struct launcher *gpu_group_new(uint32_t ranks) {
    static const struct launcher_ops ops = {
        .separable = true,
        .opening = FRAME_IN(FRAME_HELLO) | FRAME_IN(FRAME_UNIQUE_ID) | FRAME_IN(FRAME_RESULT),
        .device = device,
        .start = start,
        .end = end,
        .free = release,
        .pid = pid,
        .pidfd = pidfd,
        .whole = is_whole,
        .detach = detach,
        .stage = stage,
        .unique_id = take_unique_id,
    };
    struct group *group = calloc(1, sizeof *group);
    if (!group)
        return NULL;
    group->base.ops = &ops;
    group->n = ranks;
    group->process = calloc(ranks, sizeof *group->process);
    group->told = calloc(ranks, sizeof *group->told);
    if (!group->process || !group->told) {
        release(&group->base);
        return NULL;
    }
    for (uint32_t r = 0; r < ranks; r++)
        group->process[r] = (struct process){.pid = -1, .pidfd = -1, .fd = -1};
    return &group->base;
}
