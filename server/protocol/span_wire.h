/* span_wire.h - how finished requests travel from the front to the exporter, which makes OpenTelemetry spans of them.
 *
 *     front                                        exporter
 *     struct span_settings, a pipe's end ──socket──►
 *     struct span_record, its texts ───────pipe───►          … and so on, a record a request
 *                                        ◄─socket── struct span_report
 *
 * The pipe is the queue. A record is written by one write(2) of at most PIPE_BUF bytes to a pipe that does not block: the
 * system takes it whole or not at all, from any number of threads, without a lock of ours. A full pipe is a full queue.
 * Both ends are the same program on the same machine, so structs travel as they lie in memory.
 */
#ifndef LIMOE_SERVER_PROTOCOL_SPAN_WIRE_H
#define LIMOE_SERVER_PROTOCOL_SPAN_WIRE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe.h"

#define SPAN_ENDPOINT_SIZE 1024
#define SPAN_HEADERS_SIZE  4096
#define SPAN_TEXT_MOST     256 /* bytes of one text of a record; what is longer is cut */
#define SPAN_BATCH_BYTES   (512u << 10)

/* What the exporter is told before anything else. All are C strings; "": none. */
struct span_settings {
    char endpoint[SPAN_ENDPOINT_SIZE];  /* URL that traces are posted to */
    char headers[SPAN_HEADERS_SIZE];    /* "name=value,name=value", as header_list.h reads them */
    char attributes[SPAN_HEADERS_SIZE]; /* of the resource, in the same form */
    char certificate[PATH_MAX];         /* PEM file of authorities, in place of the system's */
    char service[256], version[64], instance[40];
    uint32_t delay_ms;   /* for which a batch waits for more */
    uint32_t timeout_ms; /* of one post of a batch */
};

/* The parts of a request that have spans of their own, below its own. */
enum span_part {
    SPAN_TOKENIZE,
    SPAN_DECODE,
    SPAN_QUEUE,
    SPAN_STEP,
    SPAN_STORE_BEFORE,
    SPAN_STORE_AFTER,
    SPAN_PARTS
};

struct span_times {
    int64_t began, ended; /* nanoseconds; began 0: there was no such part */
};

enum span_text {
    SPAN_METHOD,
    SPAN_ROUTE, /* "": no route has the path */
    SPAN_PATH,
    SPAN_SCHEME,
    SPAN_CLIENT,
    SPAN_AGENT,
    SPAN_REQUEST_ID,
    SPAN_MODEL,
    SPAN_KEY,
    SPAN_ERROR, /* why nobody got the answer; "": it was sent */
    SPAN_TEXTS,
};

struct span_record {
    uint32_t size;                                 /* of the record with its texts; a multiple of 8 */
    uint32_t flags;                                /* the trace's */
    char trace_id[33], span_id[17], parent_id[17]; /* hexadecimal; parent_id "": the trace begins here */
    struct span_times request, part[SPAN_PARTS];   /* of CLOCK_REALTIME */
    uint32_t status;                               /* HTTP's; 0: there was no answer */
    uint64_t items, pictures, tokens, received, sent;
    uint16_t length[SPAN_TEXTS]; /* of the texts, which follow the struct one after the other */
};
#define SPAN_RECORD_MOST (sizeof(struct span_record) + SPAN_TEXTS * SPAN_TEXT_MOST + 8)

/* What became of spans since the last report. */
struct span_report {
    uint64_t exported, failed;
    char fault[240]; /* why the last ones failed, or wait; "": nothing is wrong */
};

/* How many spans a record makes. */
size_t span_count(const struct span_record *record);
/* Puts the record and its texts (NULL: "") into `out`, and sets record->size and record->length. Returns the size. */
size_t span_pack(struct span_record *record, const char *const texts[SPAN_TEXTS], char out[SPAN_RECORD_MOST]);
/* The first record of bytes[size], its texts as pointers into them. Returns its size; 0: it is not complete; SIZE_MAX:
 * it is no record. */
size_t span_unpack(const char *bytes, size_t size, struct span_record *record, const char *texts[SPAN_TEXTS]);

/* Sends the settings and, with them, the descriptor `pipe`. */
bool span_send_settings(int fd, const struct span_settings *settings, int pipe);
/* *pipe is the caller's to close. False: the front is gone. */
bool span_receive_settings(int fd, struct span_settings *settings, int *pipe);

#endif
