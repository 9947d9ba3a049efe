/* server.c - what other threads may ask of the thread that loads models: which are in force, and others. */
#include "server/front/server.h"

#include "base/event.h"
#include "server/front/loadtest/loadtests.h"

struct roster *server_roster(struct server *server) {
    pthread_mutex_lock(&server->lock);
    struct roster *roster = server->roster;
    if (roster)
        roster_retain(roster);
    pthread_mutex_unlock(&server->lock);
    return roster;
}

void server_put_roster(struct server *server, struct roster *roster) {
    pthread_mutex_lock(&server->lock);
    struct roster *old = server->roster;
    server->roster = roster;
    pthread_mutex_unlock(&server->lock);
    roster_release(old);
}

bool server_reload(struct server *server, size_t first, size_t n, struct reload_waiter *const *waiters) {
    /* What it measures would be of two models. */
    loadtests_stop_any(server->loadtests, true, "stopped by a reload of the models");
    pthread_mutex_lock(&server->lock);
    const bool open = !server->closed;
    for (size_t i = 0; open && waiters && i < n; i++) {
        struct served *served = &server->served[first + i];
        waiters[i]->next = served->reloads;
        served->reloads = waiters[i];
    }
    pthread_mutex_unlock(&server->lock);
    for (size_t i = 0; open && i < n; i++)
        event_signal(server->served[first + i].reload_event);
    return open;
}

bool server_pressed(struct server *server) {
    struct roster *roster = server_roster(server);
    bool pressed = server->intake && queue_pressed(server->intake);
    for (size_t i = 0; roster && i < roster->models.n && !pressed; i++)
        pressed = queue_pressed(roster->generation[i]->queue);
    roster_release(roster);
    return pressed;
}
