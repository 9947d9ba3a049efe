/* plan.h - what a run of the load generator was asked to do. */
#ifndef LIMOE_SERVER_COMMANDS_BENCH_PLAN_H
#define LIMOE_SERVER_COMMANDS_BENCH_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "server/commands/bench/arrivals.h"

/* What a request asks for. */
enum load_kind { LOAD_CLASSIFY, LOAD_IMAGE, LOAD_TEXT, LOAD_KINDS };
extern const char *const load_kind_names[LOAD_KINDS]; /* "classify", "image", "text" */

/* How classify sends its picture. A plan may name several, as bits. */
enum { ENCODING_JSON = 1, ENCODING_MULTIPART = 2, ENCODING_RAW = 4 };

struct plan {
    const char *url; /* without a slash at its end */
    size_t closed;   /* this many clients, each with one request at a time; 0: an open loop at `rate` */
    double rate;     /* arrivals per second */
    enum arrivals_kind arrivals;
    double duration_s, warmup_s, timeout_s;
    size_t connections; /* requests in flight at once */
    size_t backlog;     /* arrivals that may wait for a connection */
    uint32_t mix[LOAD_KINDS];
    unsigned encodings;
    uint64_t seed;
    bool check;
    bool quiet; /* no word on standard error while the load goes on */

    const char *const *images; /* [n_images] paths; none: pictures of our own */
    size_t n_images;
    const char *texts; /* a file with a text a line; NULL: texts of our own */
    bool unique_texts;
    size_t items; /* of an embeddings request */
    const struct text *labels;
    size_t n_labels;
    const char *classifier; /* in place of labels, or NULL */
    const char *model;      /* that every request names; NULL: none does */

    const char *key; /* or NULL */
    const char *ca_file;
    bool insecure;
};

#endif
