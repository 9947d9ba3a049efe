/* gpu_group.c - ranks on GPUs, of this host and of others, which the front brings together by a unique id (frame.h).
 *
 * A rank on this host is a child of the front's, with its socket from the start. One on another host is started
 * through a session (session.h) and comes to a rendezvous, which is open while such ranks are to come; its token is
 * new for each round of them, so that a rank of an earlier one, however late, is turned away.
 *
 * A rank that is lost ends a generation of the group: it alone is started again. Once all are there, they are given
 * the unique id of the next one, by which they join; until then those that are there are told that they are apart, so
 * that none goes on waiting for one that may not come for long. NCCL is the ranks' business: the front passes their
 * ids on and knows no more of them.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/front/supervisor/hosts.h"
#include "server/front/supervisor/launcher.h"
#include "server/front/supervisor/session.h"

enum { MOST_ARGUMENTS = 32 };

struct group {
    struct launcher base;
    uint32_t n;
    struct place *place;          /* [n]; placed */
    bool placed;                  /* the hosts have been read, which is done once */
    struct process *process;      /* [n]: the rank, or the session that it is started in; pid -1: none */
    struct rendezvous rendezvous; /* open while ranks of other hosts are to come */
    struct member *refused;       /* it has come, and cannot be used; NULL: none */
    char why_refused[256];
    bool asked, identified; /* rank 0 for the unique id; it has given it */
    bool *told;             /* [n]: the unique id */
    bool *apart;            /* [n]: told to wait for it */
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

static bool is_here(const struct group *group, uint32_t rank) {
    return !group->place[rank].host[0];
}

static enum limoe_status start_here(struct group *group, uint32_t rank, const char *const engine[],
                                    struct limoe_error *err) {
    const char *list[MOST_ARGUMENTS + 1] = {"engine"};
    char number[16], ranks[16];
    struct process *process = &group->process[rank];
    struct member *member = &group->base.membership->rank[rank];
    size_t n = 1;
    snprintf(number, sizeof number, "%u", rank);
    snprintf(ranks, sizeof ranks, "%u", group->n);
    const char *const own[] = {"--device", group->place[rank].device, "--rank", number, "--ranks", ranks};
    for (size_t i = 0; engine[i] && n < MOST_ARGUMENTS; i++)
        list[n++] = engine[i];
    for (size_t i = 0; i < sizeof own / sizeof *own && n < MOST_ARGUMENTS; i++)
        list[n++] = own[i];
    enum limoe_status status = process_spawn(list, process_engine_variables, process, err);
    if (status != LIMOE_OK)
        return status;
    fcntl(process->fd, F_SETFL, O_NONBLOCK); /* an engine that hangs must not make the front hang */
    link_reset(&member->link, process->fd);
    member->pid = process->pid;
    process->fd = -1;
    return LIMOE_OK;
}

/* Those that are there, of which each is connected as far as the front is concerned. */
static void count_members(struct membership *membership) {
    membership->joined = 0;
    for (uint32_t r = 0; r < membership->n; r++) {
        membership->rank[r].connected = membership->rank[r].link.fd >= 0;
        membership->joined += membership->rank[r].connected;
    }
    membership->connected = membership->joined;
}

static void begin_generation(struct group *group) {
    group->base.generation++;
    group->asked = group->identified = false;
    memset(group->told, 0, group->n * sizeof *group->told);
    memset(group->apart, 0, group->n * sizeof *group->apart);
}

static enum limoe_status place_ranks(struct group *group, struct limoe_error *err) {
    if (group->placed)
        return LIMOE_OK;
    enum limoe_status status = hosts_place(group->base.options->hostfile, group->n, group->place, err);
    for (uint32_t r = 0; status == LIMOE_OK && r < group->n; r++)
        group->base.membership->rank[r].place = is_here(group, r) ? NULL : group->place[r].name;
    group->placed = status == LIMOE_OK;
    return status;
}

/* A rendezvous for the ranks of other hosts that are not there; sessions that have not led to one are over, as their
 * token is. */
static enum limoe_status open_rendezvous(struct group *group, struct limoe_error *err) {
    const struct launch_options *options = group->base.options;
    bool away = false;
    rendezvous_close(&group->rendezvous);
    for (uint32_t r = 0; r < group->n; r++)
        if (group->base.membership->rank[r].link.fd < 0) {
            process_kill(&group->process[r], NULL);
            away = away || !is_here(group, r);
        }
    return away ? rendezvous_open(&group->rendezvous, options->address, options->silent, err) : LIMOE_OK;
}

/* Starts the ranks that are not there, each a member at its own rank; all of them begin a generation. */
static enum limoe_status start(struct launcher *launcher, const char *const engine[],
                               struct limoe_error *err) {
    struct group *group = group_of(launcher);
    enum limoe_status status = place_ranks(group, err);
    if (status == LIMOE_OK)
        status = open_rendezvous(group, err);
    for (uint32_t r = 0; status == LIMOE_OK && r < group->n; r++)
        if (launcher->membership->rank[r].link.fd < 0)
            status = is_here(group, r) ? start_here(group, r, engine, err)
                                       : session_start(launcher->options, &group->rendezvous,
                                                       &group->place[r], r, engine, &group->process[r], err);
    count_members(launcher->membership);
    if (status == LIMOE_OK)
        begin_generation(group);
    return status;
}

static void end_rank(struct group *group, uint32_t r, char ended[PROCESS_WHY_SIZE]) {
    struct member *lost = &group->base.membership->rank[r];
    char how[PROCESS_WHY_SIZE];
    process_kill(&group->process[r], how);
    if (ended)
        snprintf(ended, PROCESS_WHY_SIZE, "%s%.90s", lost->place ? "the session that starts it " : "", how);
    if (lost->link.fd >= 0)
        close(lost->link.fd);
    link_reset(&lost->link, -1);
    lost->pid = 0;
    lost->proven = false;
    if (group->refused == lost)
        group->refused = NULL;
}

/* What is half sent to a rank will be sent to its end, whatever becomes of the step that it belongs to. Where
 * there is no memory for that, the rank is ended. */
static void detach(struct launcher *launcher) {
    struct group *group = group_of(launcher);
    membership_forget(launcher->membership);
    for (uint32_t r = 0; r < group->n; r++)
        if (!link_detach(&launcher->membership->rank[r].link))
            end_rank(group, r, NULL);
    count_members(launcher->membership);
}

static void end(struct launcher *launcher, const struct member *alone, char ended[PROCESS_WHY_SIZE]) {
    struct group *group = group_of(launcher);
    if (!alone)
        rendezvous_close(&group->rendezvous);
    for (uint32_t r = 0; r < group->n; r++)
        if (!alone || alone == &launcher->membership->rank[r])
            end_rank(group, r, ended);
    detach(launcher);
}

static bool is_whole(const struct launcher *launcher) {
    for (uint32_t r = 0; r < launcher->membership->n; r++)
        if (launcher->membership->rank[r].link.fd < 0)
            return false;
    return true;
}

static pid_t pid(const struct launcher *launcher) {
    return group_in(launcher)->process[0].pid;
}

static int pidfd(const struct launcher *launcher, const struct member *rank) {
    return rank && !rank->place ? group_in(launcher)->process[rank - launcher->membership->rank].pidfd : -1;
}

/* ---- ranks that come from other hosts */

static bool is_awaited(const struct launcher *launcher, uint32_t rank) {
    const struct group *group = group_in(launcher);
    return launcher->membership->rank[rank].link.fd < 0 && !is_here(group, rank) &&
           group->process[rank].pid > 0;
}

/* Whether those that are there know that they are apart. Until then no start is given up, however soon a session
 * ends: they would go on waiting for the rank that it was for. */
static bool all_told_apart(const struct group *group) {
    for (uint32_t r = 0; r < group->n; r++) {
        const struct link *link = &group->base.membership->rank[r].link;
        if (link->fd >= 0 && (!group->apart[r] || link_sending(link)))
            return false;
    }
    return true;
}

static size_t events(const struct launcher *launcher, struct pollfd *polled) {
    const struct group *group = group_in(launcher);
    const bool told = all_told_apart(group);
    size_t n = rendezvous_events(&group->rendezvous, polled);
    for (uint32_t r = 0; told && group->placed && r < group->n; r++)
        if (is_awaited(launcher, r))
            polled[n++] = (struct pollfd){.fd = group->process[r].pidfd, .events = POLLIN};
    return n;
}

/* Makes who has shown the token a member, if it is awaited and reads the model that the front does. */
static void take_in(struct group *group, int fd, const struct frame_join *join) {
    struct launcher *launcher = &group->base;
    const char *digest = launcher->options->digest;
    if (join->rank >= group->n || !is_awaited(launcher, join->rank) ||
        strcmp(join->device, group->place[join->rank].device) != 0) {
        log_print(launcher->log, LOG_WARNING, NULL,
                  "engine: turned away who came to the ranks' rendezvous from %s as rank %u on %s, which is "
                  "not awaited",
                  join->host, join->rank, join->device);
        close(fd);
        return;
    }
    struct member *member = &launcher->membership->rank[join->rank];
    if (digest && join->digest[0] && strcmp(digest, join->digest) != 0) {
        group->refused = member;
        snprintf(group->why_refused, sizeof group->why_refused,
                 "%s reads another model than the front: its config and tokenizer are %.40s, not %.40s; all "
                 "must read "
                 "the same",
                 join->host, join->digest, digest);
        close(fd);
        return;
    }
    link_reset(&member->link, fd);
    count_members(launcher->membership);
    log_print(launcher->log, LOG_INFO, NULL, "engine: rank %u has come from %s (%s), %s", join->rank,
              group->place[join->rank].host, join->host, join->device);
}

static bool accept_ranks(struct launcher *launcher, int64_t now) {
    struct group *group = group_of(launcher);
    struct rendezvous *rendezvous = &group->rendezvous;
    struct frame_join join;
    pid_t process;
    int fd;
    if (rendezvous->listening < 0)
        return false;
    while (!group->refused && rendezvous_next(rendezvous, now, &fd, &process, &join))
        take_in(group, fd, &join);
    launcher_log_refused(launcher, rendezvous);
    if (!is_whole(launcher))
        return false;
    rendezvous_close(rendezvous);
    return true;
}

/* A rank that was refused, or whose session has ended before it came. */
static struct member *failed_to_come(const struct launcher *launcher, const char **cause) {
    const struct group *group = group_in(launcher);
    *cause = group->refused ? group->why_refused : NULL;
    if (group->refused)
        return group->refused;
    const bool told = all_told_apart(group);
    for (uint32_t r = 0; told && group->placed && r < group->n; r++)
        if (is_awaited(launcher, r) && process_ended(&group->process[r]))
            return &launcher->membership->rank[r];
    return NULL;
}

/* ---- the unique id */

static bool stage_frame(struct link *link, enum frame_type type, const struct group *group) {
    const struct iovec part = {(void *)group->unique_id, type == FRAME_GROUP ? FRAME_UNIQUE_ID_BYTES : 0};
    const struct frame_header header = {.type = type, .length = part.iov_len, .id = group->base.generation};
    return link_stage(link, &header, &part, 1);
}

/* Rank 0 is asked when all are there: the unique id is of where it waits for them. */
static void stage(struct launcher *launcher) {
    struct group *group = group_of(launcher);
    const bool whole = is_whole(launcher);
    for (uint32_t r = 0; r < group->n; r++) {
        struct link *link = &launcher->membership->rank[r].link;
        if (link->fd < 0 || link_sending(link))
            continue;
        if (!whole && !group->apart[r])
            group->apart[r] = stage_frame(link, FRAME_APART, group);
        else if (whole && r == 0 && !group->asked)
            group->asked = stage_frame(link, FRAME_ASK, group);
        else if (whole && group->identified && !group->told[r])
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
    rendezvous_close(&group->rendezvous);
    free(group->told);
    free(group->apart);
    free(group->place);
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
        .events = events,
        .accept = accept_ranks,
        .absent = failed_to_come,
    };
    struct group *group = calloc(1, sizeof *group);
    if (!group)
        return NULL;
    group->base.ops = &ops;
    group->n = ranks;
    rendezvous_init(&group->rendezvous);
    group->process = calloc(ranks, sizeof *group->process);
    group->place = calloc(ranks, sizeof *group->place);
    group->told = calloc(ranks, sizeof *group->told);
    group->apart = calloc(ranks, sizeof *group->apart);
    if (!group->process || !group->place || !group->told || !group->apart) {
        release(&group->base);
        return NULL;
    }
    for (uint32_t r = 0; r < ranks; r++)
        group->process[r] = (struct process){.pid = -1, .pidfd = -1, .fd = -1};
    return &group->base;
}
