/* log.h - one line per event, as text for people or JSON for collectors.
 *
 * A line of text is time, level, a message, then fields " key=value"; a message has no = outside quotes, and
 * a value no blank outside quotes (escape.h), whatever they are made of: so every line parses.
 *
 * Each line is one write(2), so lines of several threads never mix. Any thread may call any function.
 */
#ifndef LIMOE_SERVER_FRONT_OBSERVE_LOG_H
#define LIMOE_SERVER_FRONT_OBSERVE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_TEXT, LOG_JSON };

struct log;

struct log *log_new(int fd, enum log_format format,
                    enum log_level level); /* NULL: no memory; fd stays the caller's */
void log_free(struct log *log);

/* `request_id` is NULL if the line is about no request. */
void log_print(struct log *log, enum log_level level, const char *request_id, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* A request answered, at LOG_INFO. */
struct log_request {
    const char *request_id, *method, *path;
    const char *client;                         /* numeric address; "": not known */
    const char *trace_id, *span_id, *parent_id; /* hexadecimal (W3C Trace Context); NULL or "": left out */
    int status;                                 /* HTTP; 0: the client went away before it was answered */
    uint64_t items, received, sent;             /* received, sent: body bytes */
    int64_t queue_ns, inference_ns, total_ns;
};
void log_request(struct log *log, const struct log_request *request);

#endif
