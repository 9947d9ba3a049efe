/* loop.c - sleep until the daemon's epoll set or somebody else has something, run the daemon, again.
 *
 * The daemon is the thread's alone while it runs, but for MHD_resume_connection, which the library allows
 * from anywhere, and which does not wake a thread that runs the daemon from outside. So requests come by an
 * eventfd, which is written once for all of them until the thread has seen it; commands are acknowledged by a
 * semaphore.
 */
#include "server/front/http/loop.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/error.h"
#include "base/event.h"

#define LONGEST_SLEEP_MS 1000 /* should the library ever forget to wake: a second late is not stuck */
/* The library takes a connection whose client is slow to shake hands for one that has more to read, and would
 * be run without a pause for as long as that lasts. What comes in wakes the thread at once all the same. */
#define HANDSHAKE_SLEEP_MS 1

enum command { COMMAND_NONE, COMMAND_QUIESCE, COMMAND_STOP };

struct loop {
    struct MHD_Daemon *daemon;
    struct intakes *intakes;
    int epoll, event;
    atomic_bool woken; /* the event is written, or is about to be */
    _Atomic(enum command) command;
    sem_t done;
    pthread_t thread;
};

static int sleep_ms(const struct loop *loop) {
    MHD_UNSIGNED_LONG_LONG wanted;
    const bool handshook = intakes_handshook(loop->intakes);
    if (MHD_get_timeout(loop->daemon, &wanted) != MHD_YES || wanted > LONGEST_SLEEP_MS)
        return LONGEST_SLEEP_MS;
    return wanted == 0 && handshook ? HANDSHAKE_SLEEP_MS : (int)wanted;
}

static void *loop_main(void *argument) {
    struct loop *loop = argument;
    pthread_setname_np(pthread_self(), "limoe-http");
    intakes_enter(loop->intakes);
    for (enum command command = COMMAND_NONE; command != COMMAND_STOP;) {
        struct pollfd polled[] = {{.fd = loop->epoll, .events = POLLIN},
                                  {.fd = loop->event, .events = POLLIN}};
        poll(polled, 2, sleep_ms(loop)); /* whatever it says: running the daemon is never wrong */
        command = COMMAND_NONE;
        if (polled[1].revents && event_take(loop->event)) {
            atomic_store(&loop->woken, false); /* what is asked from here on needs another wake */
            command = atomic_exchange(&loop->command, COMMAND_NONE);
        }
        if (command == COMMAND_QUIESCE)
            MHD_quiesce_daemon(loop->daemon);
        if (command != COMMAND_STOP)
            MHD_run(loop->daemon);
        if (command != COMMAND_NONE)
            sem_post(&loop->done);
    }
    return NULL;
}

static void wake(struct loop *loop) {
    if (!atomic_exchange(&loop->woken, true))
        event_signal(loop->event);
}

void loop_resume(struct loop *loop, struct MHD_Connection *connection) {
    MHD_resume_connection(connection);
    wake(loop); /* the connection may be gone by now, the loop is not */
}

static void order(struct loop *loop, enum command command) {
    atomic_store(&loop->command, command);
    wake(loop);
    while (sem_wait(&loop->done) != 0)
        ; /* a signal */
}

enum limoe_status loop_start(struct MHD_Daemon *daemon, struct intakes *intakes, struct loop **out,
                             struct limoe_error *err) {
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD);
    struct loop *loop = info ? calloc(1, sizeof *loop) : NULL;
    if (!loop)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for an HTTP thread");
    loop->daemon = daemon;
    loop->intakes = intakes;
    loop->epoll = info->epoll_fd;
    sem_init(&loop->done, 0, 0);
    loop->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    *out = loop; /* before the thread, whose first request may want it */
    int code = loop->event < 0 ? errno : pthread_create(&loop->thread, NULL, loop_main, loop);
    if (code) {
        *out = NULL;
        if (loop->event >= 0)
            close(loop->event);
        sem_destroy(&loop->done);
        free(loop);
        return limoe_fail(err, LIMOE_INTERNAL, "cannot start an HTTP thread: %s", strerror(code));
    }
    return LIMOE_OK;
}

void loop_quiesce(struct loop *loop) {
    order(loop, COMMAND_QUIESCE);
}

void loop_stop(struct loop *loop) {
    if (!loop)
        return;
    order(loop, COMMAND_STOP);
    pthread_join(loop->thread, NULL);
    close(loop->event);
    sem_destroy(&loop->done);
    free(loop);
}
