/* workers.c - two first-in first-out lists under one mutex, and the threads that empty them. */
#include "base/workers.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

struct tasks {
    struct task *head, **last;
};

struct workers {
    pthread_mutex_t lock;
    pthread_cond_t arrival;
    struct tasks early, ordinary;
    bool stopping;
    const char *name;
    unsigned n;
    pthread_t threads[]; /* [n] */
};

static void tasks_init(struct tasks *tasks) {
    tasks->head = NULL;
    tasks->last = &tasks->head;
}

static void tasks_append(struct tasks *tasks, struct task *task) {
    task->next = NULL;
    *tasks->last = task;
    tasks->last = &task->next;
}

static struct task *tasks_take(struct tasks *tasks) {
    struct task *task = tasks->head;
    if (task) {
        tasks->head = task->next;
        if (!tasks->head)
            tasks->last = &tasks->head;
    }
    return task;
}

static void *work(void *argument) {
    struct workers *workers = argument;
    pthread_setname_np(pthread_self(), workers->name);
    pthread_mutex_lock(&workers->lock);
    for (;;) {
        struct task *task = tasks_take(&workers->early);
        if (!task)
            task = tasks_take(&workers->ordinary);
        if (task) {
            pthread_mutex_unlock(&workers->lock);
            task->run(task);
            pthread_mutex_lock(&workers->lock);
        } else if (workers->stopping) {
            break;
        } else {
            pthread_cond_wait(&workers->arrival, &workers->lock);
        }
    }
    pthread_mutex_unlock(&workers->lock);
    return NULL;
}

enum limoe_status workers_start(unsigned threads, const char *name, struct workers **out,
                                struct limoe_error *err) {
    struct workers *workers = calloc(1, sizeof *workers + threads * sizeof *workers->threads);
    if (!workers)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for %u workers", threads);
    pthread_mutex_init(&workers->lock, NULL);
    pthread_cond_init(&workers->arrival, NULL);
    workers->name = name;
    tasks_init(&workers->early);
    tasks_init(&workers->ordinary);
    for (; workers->n < threads; workers->n++) {
        int code = pthread_create(&workers->threads[workers->n], NULL, work, workers);
        if (code) {
            workers_stop(workers);
            return limoe_fail(err, LIMOE_INTERNAL, "cannot start a worker thread: %s", strerror(code));
        }
    }
    *out = workers;
    return LIMOE_OK;
}

void workers_stop(struct workers *workers) {
    if (!workers)
        return;
    pthread_mutex_lock(&workers->lock);
    workers->stopping = true;
    pthread_cond_broadcast(&workers->arrival);
    pthread_mutex_unlock(&workers->lock);
    for (unsigned i = 0; i < workers->n; i++)
        pthread_join(workers->threads[i], NULL);
    pthread_cond_destroy(&workers->arrival);
    pthread_mutex_destroy(&workers->lock);
    free(workers);
}

static void push(struct workers *workers, struct tasks *tasks, struct task *task) {
    pthread_mutex_lock(&workers->lock);
    tasks_append(tasks, task);
    pthread_cond_signal(&workers->arrival);
    pthread_mutex_unlock(&workers->lock);
}

void workers_push(struct workers *workers, struct task *task) {
    push(workers, &workers->ordinary, task);
}

void workers_push_early(struct workers *workers, struct task *task) {
    push(workers, &workers->early, task);
}

struct task *workers_withdraw(struct workers *workers, bool (*unwanted)(struct task *task, void *arg),
                              void *arg) {
    struct tasks withdrawn;
    tasks_init(&withdrawn);
    pthread_mutex_lock(&workers->lock);
    struct task **at = &workers->ordinary.head;
    while (*at) {
        struct task *task = *at;
        if (unwanted(task, arg)) {
            *at = task->next;
            tasks_append(&withdrawn, task);
        } else {
            at = &task->next;
        }
    }
    workers->ordinary.last = at;
    pthread_mutex_unlock(&workers->lock);
    return withdrawn.head;
}

bool workers_wanted(struct workers *workers) {
    pthread_mutex_lock(&workers->lock);
    bool wanted = workers->early.head || workers->ordinary.head;
    pthread_mutex_unlock(&workers->lock);
    return wanted;
}
