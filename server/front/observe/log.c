/* log.c - each line is built in a buffer of its own and written at once. The struct is read-only after
 * log_new. */
#include "server/front/observe/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "server/front/observe/escape.h"

struct log {
    int fd;
    enum log_format format;
    enum log_level level;
};

static const char *level_name(enum log_level level) {
    static const char *const names[] = {"error", "warning", "info", "debug"};
    return names[level];
}

struct log *log_new(int fd, enum log_format format, enum log_level level) {
    struct log *log = malloc(sizeof *log);
    if (log)
        *log = (struct log){fd, format, level};
    return log;
}

void log_free(struct log *log) {
    free(log);
}

static void begin(const struct log *log, struct buffer *line, enum log_level level) {
    struct timespec now;
    struct tm utc;
    char stamp[32];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    const char *format =
        log->format == LOG_JSON ? "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\"" : "%s.%03ldZ %s";
    buffer_print(line, format, stamp, now.tv_nsec / 1000000, level_name(level));
}

static void put_string(const struct log *log, struct buffer *line, const char *key, const char *value) {
    if (log->format == LOG_JSON) {
        buffer_print(line, ",\"%s\":", key);
        escape_json(line, value);
    } else {
        buffer_print(line, " %s=", key);
        escape_value(line, value);
    }
}

static void put_id(const struct log *log, struct buffer *line, const char *key, const char *id) {
    if (id && *id)
        put_string(log, line, key, id);
}

static void put_number(const struct log *log, struct buffer *line, const char *key, uint64_t value) {
    buffer_print(line, log->format == LOG_JSON ? ",\"%s\":%llu" : " %s=%llu", key, (unsigned long long)value);
}

static void put_milliseconds(const struct log *log, struct buffer *line, const char *key, int64_t ns) {
    buffer_print(line, log->format == LOG_JSON ? ",\"%s\":%.3f" : " %s=%.3f", key, (double)ns / 1e6);
}

/* Writes the line. One that found no memory is dropped, for no request is to fail because of the log. */
static void end(const struct log *log, struct buffer *line) {
    buffer_string(line, log->format == LOG_JSON ? "}\n" : "\n");
    if (!line->failed) {
        ssize_t written = write(log->fd, line->data, line->size);
        (void)written; /* nowhere to complain to */
    }
    buffer_free(line);
}

void log_print(struct log *log, enum log_level level, const char *request_id, const char *format, ...) {
    if (level > log->level)
        return;
    char message[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);

    struct buffer line = {0};
    begin(log, &line, level);
    if (log->format == LOG_JSON) {
        put_string(log, &line, "message", message);
    } else {
        buffer_string(&line, " ");
        escape_message(&line, message);
    }
    if (request_id)
        put_string(log, &line, "request_id", request_id);
    end(log, &line);
}

void log_request(struct log *log, const struct log_request *request) {
    if (LOG_INFO > log->level)
        return;
    struct buffer line = {0};
    begin(log, &line, LOG_INFO);
    if (log->format == LOG_JSON) {
        put_string(log, &line, "message", "request");
        put_string(log, &line, "method", request->method);
        put_string(log, &line, "path", request->path);
        put_number(log, &line, "status", (uint64_t)request->status);
    } else {
        buffer_string(&line, " ");
        escape_value(&line, request->method);
        buffer_string(&line, " ");
        escape_value(&line, request->path);
        buffer_print(&line, " %d", request->status);
    }
    put_number(log, &line, "items", request->items);
    put_number(log, &line, "received", request->received);
    put_number(log, &line, "sent", request->sent);
    put_milliseconds(log, &line, "queue_ms", request->queue_ns);
    put_milliseconds(log, &line, "inference_ms", request->inference_ns);
    put_milliseconds(log, &line, "total_ms", request->total_ns);
    if (*request->client)
        put_string(log, &line, "client", request->client);
    put_string(log, &line, "request_id", request->request_id);
    put_id(log, &line, "trace_id", request->trace_id);
    put_id(log, &line, "span_id", request->span_id);
    put_id(log, &line, "parent_id", request->parent_id);
    end(log, &line);
}
