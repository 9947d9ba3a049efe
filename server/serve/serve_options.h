/* serve_options.h - the flags of `limoe serve`. */
#ifndef LIMOE_SERVE_OPTIONS_H
#define LIMOE_SERVE_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

#include "limoe.h"
#include "observe/log.h"
#include "schedule/queue.h"

struct serve_options {
    const char *host, *port, *model;
    struct limoe_options compute;
    struct limoe_image_limits image;
    size_t max_body_bytes;
    struct queue_load queue; /* limits */
    uint64_t step_tokens;
    unsigned http_threads, workers, connections;
    unsigned idle_seconds;  /* after which a connection without traffic is closed */
    unsigned drain_seconds; /* after which a stopping server gives up what is in flight */
    enum log_format log_format;
    enum log_level log_level;
};

enum serve_parsed { SERVE_RUN, SERVE_EXIT_OK, SERVE_EXIT_USAGE };

/* Fills *options with the defaults and what argv says over them. Strings point into argv. Prints help (to
 * stdout) or what was wrong (to stderr) when the answer is not SERVE_RUN. */
enum serve_parsed serve_parse(int argc, char **argv, struct serve_options *options);

#endif
