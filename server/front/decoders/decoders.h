/* decoders.h - pictures to pixels, in processes that can do nothing else.
 *
 * A picture comes from anyone, and its readers are the largest code that touches it. So each picture is
 * decoded in one of a few `limoe decoder` processes without files and network (sandbox.h). One that is lost,
 * by a crash, a kill or the watchdog, is started again, and its picture is tried once more; a picture that
 * breaks its decoder twice fails alone. To the caller all of this is limoe_process_image: the same pixels,
 * the same messages.
 *
 * What a picture takes is measured in processor time, so that a busy machine is not held against it. A
 * picture that nobody waits for any more is given up at once, with its decoder. One process more than work at
 * a time stands by, to follow such a decoder, or one that has had its share of pictures.
 */
#ifndef LIMOE_SERVER_FRONT_DECODERS_DECODERS_H
#define LIMOE_SERVER_FRONT_DECODERS_DECODERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "limoe.h"
#include "server/front/observe/log.h"
#include "server/front/observe/metrics.h"

struct decoders;

struct decoders_options {
    const struct limoe_processor
        *processor;          /* whose pictures, limits and all; read by decoders_start alone */
    unsigned processes;      /* at least 1: so many pictures at a time */
    int nice;                /* 0 to 19: how far they stand back where others want the processor */
    unsigned seconds;        /* at least 1: the most processor time that one picture may take */
    unsigned wall_seconds;   /* the most by the clock, for one that hangs; 0: ten times as long */
    uint64_t pictures;       /* after so many a decoder is replaced, or after 4 GiB; 0: never */
    bool unconfined;         /* decoders for which the system has no sandbox are used all the same */
    const char *const *keep; /* variables that decoders get besides the loader's and sanitizers', up to NULL;
                                a name that ends with "*" stands for all that begin so. NULL: none */
    struct metrics *metrics; /* outlive the decoders, as does the log */
    struct log *log;
};

enum { DECODERS_SPARE = 1 };

/* Starts the processes and waits for the first, whose failure is the error. A system without seccomp is an
 * error, too, unless `unconfined`: then its decoders are limited, but not confined, and the log says so. */
enum limoe_status decoders_start(const struct decoders_options *options, struct decoders **out,
                                 struct limoe_error *err);
/* Ends the processes, once nobody decodes any more. NULL is fine. */
void decoders_stop(struct decoders *decoders);

/* One picture to decode. */
struct decoders_picture {
    const uint8_t *bytes;
    size_t size;
    uint64_t most_pixels; /* one with more is refused, from its header; 0: as the processor's limits say */
    /* Asked every few milliseconds, on the same thread: false gives the picture up. NULL: never. */
    bool (*wanted)(void *arg);
    void *arg;
};

/* As limoe_process_image, on any thread; waits for a process that is free. Besides the decoder's own answers,
 * LIMOE_LOST: it was given up. LIMOE_TOO_LARGE: it takes more than options.seconds of processor time.
 * LIMOE_INTERNAL: it broke its decoder twice, or for options.seconds (10 at least) there was no decoder at
 * all. */
enum limoe_status decoders_decode(struct decoders *decoders, const struct decoders_picture *picture,
                                  uint8_t *pixels, struct limoe_error *err);

/* The processes: pids[options.processes + DECODERS_SPARE], 0 where one is missing just now. Any thread. */
void decoders_processes(struct decoders *decoders, pid_t *pids);

#endif
