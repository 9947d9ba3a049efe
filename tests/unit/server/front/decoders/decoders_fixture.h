/* decoders_fixture.h - what the tests of the picture decoders share: a pool of them, and decoders that
 * misbehave.
 *
 * The pool starts its own program, which here is the test: with TEST_DECODER in its environment it is a
 * decoder that misbehaves as that says, without it the real one; fixture_main sees to it. A decoder ends at
 * once if the file that TEST_STILLBORN names is there.
 */
#ifndef LIMOE_TESTS_UNIT_SERVER_FRONT_DECODERS_DECODERS_FIXTURE_H
#define LIMOE_TESTS_UNIT_SERVER_FRONT_DECODERS_DECODERS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/types.h>

#include "base/sanitized.h"
#include "server/front/decoders/decoders.h"

enum { WORKING = 2, PROCESSES = WORKING + DECODERS_SPARE, MOST_PIXELS = 256 * 256 * 3, MOST_BYTES = 1 << 20 };

/* Options that most tests leave as they are. */
extern uint64_t the_pictures; /* 0: a decoder may decode any number of them */
extern unsigned the_wall;     /* seconds; 0: as the processor time */
extern bool the_unconfined;   /* true: decoders that misbehave have no sandbox, and say so */

struct fixture {
    struct limoe_processor *processor;
    struct metrics *metrics;
    struct log *log;
    int log_fd;
    struct decoders *decoders;
};

/* Starts a pool, whose pictures may take `seconds` each. start_well() fails the test if that cannot be
 * done; start_fake() starts one of decoders that do this to each picture. The test calls stop(), also when
 * start() has failed. */
enum limoe_status start(struct fixture *f, const struct limoe_image_limits *limits, unsigned seconds,
                        struct limoe_error *err);
void start_well(struct fixture *f, const struct limoe_image_limits *limits, unsigned seconds);
void start_fake(struct fixture *f, const char *how, unsigned seconds);
void stop(struct fixture *f);

/* How often `what` stands in the log. */
int logged(const struct fixture *f, const char *what);

/* How many decoders were lost, by the metrics. */
uint64_t restarts(const struct fixture *f);

/* The bytes of a picture's pixels; no more than MOST_PIXELS. */
size_t pixels_size(const struct fixture *f);

/* As limoe_process_image. */
enum limoe_status decode(const struct fixture *f, const void *bytes, size_t size, uint8_t *pixels,
                         struct limoe_error *err);

/* Fails the test unless a decoder has the same answer for a picture as this process. */
void compare(const struct fixture *f, const char *name, const uint8_t *bytes, size_t size);

void sleep_ms(long ms);

/* Waits until all processes are there and none is the one given. */
void await_processes(const struct fixture *f, pid_t other_than, pid_t *pids);

/* Reads a file of at most MOST_BYTES; returns its size. */
size_t load(const char *path, uint8_t *bytes);

/* The program's main: a decoder where the pool has started it, and else the tests. */
int fixture_main(int argc, char **argv, int (*run)(void));

#endif
