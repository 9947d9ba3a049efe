/* test_roster.c - protects who holds which generation: the roster in force, requests that took an older one, and
 * that a generation is told to be unused once, when the last of them lets go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/event.h"
#include "server/front/server.h"

enum { MODELS = 2, TAKERS = 3, TAKES = 20000, SWAPS = 2000 };

/* A generation with nothing in it: one reference, as when it has just been opened. */
static void make(struct generation *generation, const char *name, int unused_event) {
    *generation = (struct generation){.info = {.name = name}, .unused_event = unused_event, .references = 1};
    generation->model = &generation->info;
}

static struct server set_up_server(struct served *served) {
    for (int i = 0; i < MODELS; i++)
        served[i] = (struct served){.reload_event = eventfd(0, EFD_NONBLOCK), .unused_event = -1};
    return (struct server){.served = served, .n_served = MODELS, .lock = PTHREAD_MUTEX_INITIALIZER};
}

static void close_events(struct served *served) {
    for (int i = 0; i < MODELS; i++)
        close(served[i].reload_event);
}

static void a_request_keeps_what_it_took(void **state) {
    (void)state;
    struct served served[MODELS];
    struct server server = set_up_server(served);
    const int unused[] = {eventfd(0, EFD_NONBLOCK), eventfd(0, EFD_NONBLOCK), eventfd(0, EFD_NONBLOCK)};
    struct generation a, b, new_a;
    make(&a, "a", unused[0]);
    make(&b, "b", unused[1]);
    make(&new_a, "a", unused[2]);
    assert_null(server_roster(&server));

    server_put_roster(&server, roster_new((struct generation *const[]){&a, &b}, MODELS, "x=b"));
    struct roster *taken = server_roster(&server);
    assert_int_equal(taken->models.n, MODELS);
    assert_int_equal(model_names_find(&taken->models, text_of("x")), 1);
    assert_ptr_equal(taken->generation[1], &b);

    server_put_roster(&server, roster_new((struct generation *const[]){&new_a, &b}, MODELS, NULL));
    generation_release(&a); /* as its loading does at the swap */
    assert_false(event_take(unused[0]));
    struct roster *later = server_roster(&server);
    assert_ptr_equal(later->generation[0], &new_a);
    roster_release(later);

    /* The request has found its model: the other is nothing to it from here on. */
    generation_retain(taken->generation[1]);
    roster_release(taken);
    assert_true(event_take(unused[0]));
    assert_int_equal(a.references, 0);

    server_put_roster(&server, NULL);
    generation_release(&new_a);
    generation_release(&b);
    assert_true(event_take(unused[2]));
    assert_false(event_take(unused[1]));
    generation_release(&b); /* the request's end */
    assert_true(event_take(unused[1]));
    roster_release(NULL);
    for (int i = 0; i < 3; i++)
        close(unused[i]);
    close_events(served);
}

static void reloads_are_asked_of_each_model_or_of_none(void **state) {
    (void)state;
    struct served served[MODELS];
    struct server server = set_up_server(served);
    struct reload_waiter one, two, three;
    assert_true(server_reload(&server, 1, 1, (struct reload_waiter *const[]){&one}));
    assert_false(event_take(served[0].reload_event));
    assert_true(event_take(served[1].reload_event));
    assert_null(served[0].reloads);
    assert_ptr_equal(served[1].reloads, &one);
    assert_true(server_reload(&server, 0, 2, (struct reload_waiter *const[]){&two, &three}));
    assert_ptr_equal(served[0].reloads, &two);
    assert_ptr_equal(served[1].reloads, &three);
    assert_ptr_equal(three.next, &one);
    assert_true(server_reload(&server, 0, 2, NULL));
    assert_true(event_take(served[0].reload_event) && event_take(served[1].reload_event));
    server.closed = true;
    assert_false(server_reload(&server, 0, 1, (struct reload_waiter *const[]){&one}));
    assert_ptr_equal(served[0].reloads, &two);
    assert_false(event_take(served[0].reload_event));
    close_events(served);
}

static void *take_many(void *argument) {
    struct server *server = argument;
    for (int i = 0; i < TAKES; i++) {
        struct roster *roster = server_roster(server);
        struct generation *generation = roster->generation[i % MODELS];
        generation_retain(generation);
        roster_release(roster);
        generation_release(generation);
    }
    return NULL;
}

/* What a sanitizer would find; and that nobody's reference is lost or counted twice. */
static void taken_while_it_is_swapped(void **state) {
    (void)state;
    struct served served[MODELS];
    struct server server = set_up_server(served);
    const int unused = eventfd(0, EFD_NONBLOCK);
    struct generation a, b;
    pthread_t threads[TAKERS];
    make(&a, "a", unused);
    make(&b, "b", unused);
    struct generation *const both[] = {&a, &b};
    server_put_roster(&server, roster_new(both, MODELS, NULL));
    for (int i = 0; i < TAKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_many, &server), 0);
    for (int i = 0; i < SWAPS; i++)
        server_put_roster(&server, roster_new(both, MODELS, NULL));
    for (int i = 0; i < TAKERS; i++)
        pthread_join(threads[i], NULL);
    server_put_roster(&server, NULL);
    assert_int_equal(a.references, 1);
    assert_int_equal(b.references, 1);
    assert_false(event_take(unused));
    close(unused);
    close_events(served);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_keeps_what_it_took),
        cmocka_unit_test(reloads_are_asked_of_each_model_or_of_none),
        cmocka_unit_test(taken_while_it_is_swapped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
