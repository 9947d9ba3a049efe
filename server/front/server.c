/* server.c - what other threads may ask of the thread that loads models: which is in force, and another. */
#include "server/front/server.h"

#include "base/event.h"

struct generation *server_generation(struct server *server) {
    pthread_mutex_lock(&server->lock);
    struct generation *generation = server->generation;
    if (generation)
        generation_retain(generation);
    pthread_mutex_unlock(&server->lock);
    return generation;
}

bool server_reload(struct server *server, struct reload_waiter *waiter) {
    pthread_mutex_lock(&server->lock);
    bool open = !server->closed;
    if (open && waiter) {
        waiter->next = server->reloads;
        server->reloads = waiter;
    }
    pthread_mutex_unlock(&server->lock);
    if (open)
        event_signal(server->reload_event);
    return open;
}
