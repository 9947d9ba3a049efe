/* waiting.c - when to look at the calls that wait, and the look.
 *
 * A call is pushed before its deadline is noted (server->look_at), and the time of the next look is set before the
 * look: so a deadline that the setting has overwritten is that of a call which the look finds.
 */
#include "server/front/calls/waiting.h"

#include "base/clock.h"
#include "server/front/calls/want.h"

/* A look takes as long as many calls wait: there are ten looks a second at most, however many deadlines
 * pass, and one if none does. */
#define LEAST_PAUSE   (CLOCK_SECOND / 10)
#define LONGEST_PAUSE CLOCK_SECOND

struct look {
    int64_t now;
    int64_t next; /* when to look again */
};

static void look_by(struct server *server, int64_t when) {
    int64_t at = atomic_load(&server->look_at);
    while (when < at && !atomic_compare_exchange_weak(&server->look_at, &at, when))
        continue;
}

void waiting_push(struct call *call, struct workers *workers) {
    struct server *server = call->server;
    const int64_t deadline = call->deadline;
    workers_push(workers, &call->task); /* it is theirs from here on */
    if (deadline)
        look_by(server, deadline);
}

static bool is_unwanted(struct task *task, void *argument) {
    struct look *look = argument;
    const struct call *call = call_of_task(task);
    if (want_of(call, look->now) != WANTED)
        return true;
    if (call->deadline && call->deadline < look->next)
        look->next = call->deadline;
    return false;
}

static void give_up(struct server *server, struct workers *workers, struct look *look) {
    for (struct task *task = workers_withdraw(workers, is_unwanted, look), *next; task; task = next) {
        next = task->next;
        workers_push_early(server->workers, task);
    }
}

void waiting_sweep(struct server *server, int64_t now) {
    if (now < atomic_load(&server->look_at) || now < server->looked + LEAST_PAUSE)
        return;
    struct look look = {.now = now, .next = now + LONGEST_PAUSE};
    server->looked = now;
    atomic_store(&server->look_at, look.next);
    for (int lane = 0; lane < LANES; lane++)
        give_up(server, server->decoding[lane], &look);
    give_up(server, server->bulk, &look);
    give_up(server, server->workers, &look);
    look_by(server, look.next);
}
