/* decoders.h - pictures to pixels, in processes that can do nothing else.
 *
 * A picture comes from anyone, and its readers are the largest code that touches it. So each picture is
 * decoded in one of a few `limoe decoder` processes without files and network (sandbox.h). One that is lost,
 * by a crash, a kill or the watchdog, is started again, and its picture is tried once more; a picture that
 * breaks its decoder twice fails alone. To the caller all of this is limoe_process_image: the same pixels,
 * the same messages.
 */
#ifndef LIMOE_DECODE_DECODERS_H
#define LIMOE_DECODE_DECODERS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "limoe.h"
#include "observe/log.h"
#include "observe/metrics.h"

struct decoders;

struct decoders_options {
    const struct limoe_processor
        *processor;          /* whose pictures, limits and all; read by decoders_start alone */
    unsigned processes;      /* at least 1: so many pictures at a time */
    unsigned seconds;        /* at least 1: the most that one picture may take */
    struct metrics *metrics; /* outlive the decoders, as does the log */
    struct log *log;
};

/* Starts the processes and waits for the first; why that one did not start is the error. A system without
 * seccomp gets a warning in the log: its decoders are limited, but not confined. */
enum limoe_status decoders_start(const struct decoders_options *options, struct decoders **out,
                                 struct limoe_error *err);
/* Once nobody decodes any more. NULL is fine. */
void decoders_stop(struct decoders *decoders);

/* As limoe_process_image, on any thread; waits for a process that is free. Besides the decoder's own answers,
 * LIMOE_INTERNAL: the picture broke its decoder twice, or for options.seconds (10 at least) there was no
 * decoder at all. */
enum limoe_status decoders_decode(struct decoders *decoders, const uint8_t *bytes, size_t size,
                                  uint8_t *pixels, struct limoe_error *err);

/* The processes: pids[options.processes], 0 where one is missing just now. Any thread. */
void decoders_processes(struct decoders *decoders, pid_t *pids);

#endif
