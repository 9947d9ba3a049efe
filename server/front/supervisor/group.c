/* group.c - processes, and who has been told the unique id. One thread: the engine's. */
#include "server/front/supervisor/group.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

enum { MOST_ARGUMENTS = 32 };

bool group_init(struct group *group, uint32_t n) {
    *group = (struct group){
        .n = n, .process = calloc(n, sizeof *group->process), .told = calloc(n, sizeof *group->told)};
    if (!group->process || !group->told)
        return false;
    for (uint32_t r = 0; r < n; r++)
        group->process[r] = (struct process){.pid = -1, .pidfd = -1, .fd = -1};
    return true;
}

void group_free(struct group *group) {
    free(group->told);
    free(group->process);
    *group = (struct group){0};
}

/* ---- processes */

static enum limoe_status start(struct group *group, uint32_t rank, const char *const engine[],
                               struct limoe_error *err) {
    const char *list[MOST_ARGUMENTS + 1] = {"engine"};
    char device[16], place[16], ranks[16];
    size_t n = 1;
    snprintf(device, sizeof device, "cuda:%u", rank);
    snprintf(place, sizeof place, "%u", rank);
    snprintf(ranks, sizeof ranks, "%u", group->n);
    const char *const own[] = {"--device", device, "--rank", place, "--ranks", ranks};
    for (size_t i = 0; engine[i] && n < MOST_ARGUMENTS; i++)
        list[n++] = engine[i];
    for (size_t i = 0; i < sizeof own / sizeof *own && n < MOST_ARGUMENTS; i++)
        list[n++] = own[i];
    return process_spawn(list, process_engine_variables, &group->process[rank], err);
}

enum limoe_status group_start(struct group *group, struct membership *membership, const char *const engine[],
                              struct limoe_error *err) {
    for (uint32_t r = 0; r < group->n; r++) {
        struct process *process = &group->process[r];
        if (process->pid > 0)
            continue;
        enum limoe_status status = start(group, r, engine, err);
        if (status != LIMOE_OK)
            return status;
        fcntl(process->fd, F_SETFL, O_NONBLOCK); /* an engine that hangs must not make the front hang */
        link_reset(&membership->rank[r].link, process->fd);
        membership->rank[r].pid = process->pid;
        process->fd = -1;
    }
    membership->joined = membership->n;
    return LIMOE_OK;
}

void group_end(struct group *group, struct membership *membership, uint32_t rank,
               char why[PROCESS_WHY_SIZE]) {
    struct member *lost = &membership->rank[rank];
    process_kill(&group->process[rank], why);
    if (lost->link.fd >= 0)
        close(lost->link.fd);
    link_reset(&lost->link, -1);
    lost->pid = 0;
}

/* ---- generations */

void group_detach(struct group *group, struct membership *membership) {
    for (uint32_t r = 0; r < group->n; r++)
        if (!link_detach(&membership->rank[r].link))
            group_end(group, membership, r, NULL);
}

void group_begin(struct group *group) {
    group->generation++;
    group->asked = group->identified = false;
    memset(group->told, 0, group->n * sizeof *group->told);
}

static bool stage(struct link *link, enum frame_type type, const struct group *group) {
    const struct iovec part = {(void *)group->unique_id, type == FRAME_GROUP ? FRAME_UNIQUE_ID_BYTES : 0};
    const struct frame_header header = {.type = type, .length = part.iov_len, .id = group->generation};
    return link_stage(link, &header, &part, 1);
}

void group_stage(struct group *group, struct membership *membership) {
    for (uint32_t r = 0; r < group->n; r++) {
        struct link *link = &membership->rank[r].link;
        if (link->fd < 0 || link_sending(link))
            continue;
        if (r == 0 && !group->asked)
            group->asked = stage(link, FRAME_ASK, group);
        else if (group->identified && !group->told[r])
            group->told[r] = stage(link, FRAME_GROUP, group);
    }
}

enum limoe_status group_unique_id(struct group *group, const struct membership *membership,
                                  struct limoe_error *err) {
    const struct link *link = &membership->rank[0].link;
    uint8_t unique_id[FRAME_UNIQUE_ID_BYTES];
    enum limoe_status status = frame_get_unique_id(&link->frame, link->payload, unique_id, err);
    if (status != LIMOE_OK || link->frame.id != group->generation || group->identified)
        return status;
    memcpy(group->unique_id, unique_id, sizeof unique_id);
    group->identified = true;
    return LIMOE_OK;
}
