/* parts.h - what the files of this folder share. Internal to it. All of struct loadtests is guarded by its
 * lock, but for the child, which is the main thread's. */
#ifndef LIMOE_SERVER_FRONT_LOADTEST_PARTS_H
#define LIMOE_SERVER_FRONT_LOADTEST_PARTS_H

#include <pthread.h>

#include "base/process.h"
#include "server/front/loadtest/loadtests.h"
#include "server/front/observe/metrics_loadtest.h"

#define LOADTEST_ID_SIZE   24
#define LOADTEST_WHY_SIZE  400
#define LOADTEST_URL_SIZE  320
#define LOADTEST_KEY_SIZE  1024
#define LOADTEST_LINE_SIZE 65536u /* of the child's lines, which have some 1 to 4 KiB */

enum loadtest_state {
    LOADTEST_QUEUED,
    LOADTEST_RUNNING,
    LOADTEST_STOPPING,
    LOADTEST_DONE,
    LOADTEST_STOPPED,
    LOADTEST_FAILED,
};

/* One test, from its POST until newer ones push it out. */
struct loadtest {
    char id[LOADTEST_ID_SIZE];
    enum loadtest_state state;
    struct loadtest_request request; /* target and model point into the two below */
    char target[LOADTEST_URL_SIZE], model[LOADTEST_MOST_NAME_BYTES + 1];
    char key[LOADTEST_KEY_SIZE]; /* to be shown; wiped once the child has it */
    int64_t created, ended;      /* Unix seconds; ended 0: not yet */
    char why[LOADTEST_WHY_SIZE]; /* "": no reason */
    struct buffer progress;      /* the last line; size 0: none yet */
    struct buffer result;        /* likewise */
    struct metrics_loadtest_counts counted;
};

struct loadtests {
    struct loadtests_options options;
    char own[LOADTEST_URL_SIZE]; /* this server's URL */
    pthread_mutex_t lock;
    int wake; /* eventfd: one is to be started or stopped */
    uint64_t count;
    struct loadtest *kept[LOADTESTS_KEPT + 1]; /* [n], the newest last */
    size_t n;

    /* The child of the newest; pid -1: none. */
    struct process child;
    struct buffer line; /* what has come of the next line */
    bool closed;        /* it will say no more */
    unsigned signals;   /* how often it was told to end */
    int64_t next_signal, deadline;
};

bool loadtest_ended(const struct loadtest *test);
/* The one that has not ended; NULL: none. */
struct loadtest *loadtests_current(struct loadtests *loadtests);

/* A line of the child's. False: it is none of those that are expected. */
bool loadtest_take_line(struct loadtests *loadtests, struct loadtest *test, struct text line);
void loadtest_write(const struct loadtest *test, struct buffer *out);

/* The first line of the key file into key; "" without a file. */
enum limoe_status loadtest_read_key(const char *path, char key[LOADTEST_KEY_SIZE], struct limoe_error *err);

#endif
