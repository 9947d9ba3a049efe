/* serve_options.c - defaults, flags, help. */
#include "serve/serve_options.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/model_dir.h"

#define MIB (UINT64_C(1) << 20)

enum flag {
    FLAG_HELP = 'h',
    FLAG_HOST = 256,
    FLAG_PORT,
    FLAG_MODEL,
    FLAG_DTYPE,
    FLAG_THREADS,
    FLAG_WORKERS,
    FLAG_HTTP_THREADS,
    FLAG_CONNECTIONS,
    FLAG_IDLE_TIMEOUT,
    FLAG_DRAIN_TIMEOUT,
    FLAG_MAX_BODY_BYTES,
    FLAG_MAX_PIXELS,
    FLAG_STEP_TOKENS,
    FLAG_QUEUE_ITEMS,
    FLAG_QUEUE_TOKENS,
    FLAG_QUEUE_BYTES,
    FLAG_LOG_FORMAT,
    FLAG_LOG_LEVEL,
};

static const struct option flags[] = {
    {"help", no_argument, NULL, FLAG_HELP},
    {"host", required_argument, NULL, FLAG_HOST},
    {"port", required_argument, NULL, FLAG_PORT},
    {"model", required_argument, NULL, FLAG_MODEL},
    {"dtype", required_argument, NULL, FLAG_DTYPE},
    {"threads", required_argument, NULL, FLAG_THREADS},
    {"workers", required_argument, NULL, FLAG_WORKERS},
    {"http-threads", required_argument, NULL, FLAG_HTTP_THREADS},
    {"connections", required_argument, NULL, FLAG_CONNECTIONS},
    {"idle-timeout", required_argument, NULL, FLAG_IDLE_TIMEOUT},
    {"drain-timeout", required_argument, NULL, FLAG_DRAIN_TIMEOUT},
    {"max-body-bytes", required_argument, NULL, FLAG_MAX_BODY_BYTES},
    {"max-pixels", required_argument, NULL, FLAG_MAX_PIXELS},
    {"step-tokens", required_argument, NULL, FLAG_STEP_TOKENS},
    {"queue-items", required_argument, NULL, FLAG_QUEUE_ITEMS},
    {"queue-tokens", required_argument, NULL, FLAG_QUEUE_TOKENS},
    {"queue-bytes", required_argument, NULL, FLAG_QUEUE_BYTES},
    {"log-format", required_argument, NULL, FLAG_LOG_FORMAT},
    {"log-level", required_argument, NULL, FLAG_LOG_LEVEL},
    {NULL, 0, NULL, 0},
};

static const char help[] =
    "usage: limoe serve [--model DIR] [options]\n"
    "\n"
    "Serves zero-shot classification and embeddings of pictures and texts over HTTP.\n"
    "\n"
    "  --model DIR           model directory (default: " MODEL_DIR_DEFAULT ")\n"
    "  --host HOST           address to listen on (default 127.0.0.1)\n"
    "  --port PORT           port to listen on; 0 takes any that is free (default 8080)\n"
    "  --dtype TYPE          auto, float32 or bfloat16 (default auto: bfloat16 where the processor has it)\n"
    "  --threads N           compute threads (default: one for each processor allowed)\n"
    "  --workers N           threads that decode pictures and write answers (default: as --threads, at most "
    "16)\n"
    "  --http-threads N      threads that read and write sockets (default 1)\n"
    "\n"
    "limits:\n"
    "  --max-body-bytes N    largest request body (default 33554432)\n"
    "  --max-pixels N        most pixels of one picture (default 67108864)\n"
    "  --queue-items N       items let in and not computed yet, past which requests get 429 (default 65536)\n"
    "  --queue-tokens N      the same in tokens (default 524288)\n"
    "  --queue-bytes N       the same in bytes of memory that requests hold (default 134217728)\n"
    "  --step-tokens N       most tokens computed in one step (default 2048)\n"
    "  --connections N       open connections (default 16384)\n"
    "  --idle-timeout S      seconds after which a silent connection is closed (default 60)\n"
    "  --drain-timeout S     seconds that a stopping server gives requests to finish (default 30)\n"
    "\n"
    "log (to standard error):\n"
    "  --log-format FORMAT   text or json (default text)\n"
    "  --log-level LEVEL     error, warning, info (one line a request) or debug (default info)\n"
    "\n"
    "SIGTERM and SIGINT finish what is in flight and exit with status 0; a second one exits at once.\n";

static bool complain(const char *name, const char *value, const char *accepted) {
    cli_usage("serve", "--%s is \"%s\"; accepted: %s", name, value, accepted);
    return false;
}

static bool parse_number(const char *name, const char *value, uint64_t least, uint64_t most, uint64_t *out) {
    char *end;
    unsigned long long number = strtoull(value, &end, 10);
    if (*value < '0' || *value > '9' || *end || number < least || number > most) {
        char accepted[96];
        snprintf(accepted, sizeof accepted, "a whole number from %llu to %llu", (unsigned long long)least,
                 (unsigned long long)most);
        return complain(name, value, accepted);
    }
    *out = number;
    return true;
}

static bool parse_unsigned(const char *name, const char *value, unsigned least, unsigned most,
                           unsigned *out) {
    uint64_t number = 0;
    if (!parse_number(name, value, least, most, &number))
        return false;
    *out = (unsigned)number;
    return true;
}

static bool parse_dtype(const char *value, enum limoe_dtype *out) {
    static const struct {
        const char *name;
        enum limoe_dtype dtype;
    } names[] = {{"auto", LIMOE_DTYPE_AUTO}, {"float32", LIMOE_FLOAT32}, {"bfloat16", LIMOE_BFLOAT16}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(value, names[i].name) == 0) {
            *out = names[i].dtype;
            return true;
        }
    }
    return complain("dtype", value, "auto, float32, bfloat16");
}

static bool apply(int flag, const char *name, const char *value, struct serve_options *options) {
    uint64_t number = 0;
    switch (flag) {
    case FLAG_HOST:
        options->host = value;
        return true;
    case FLAG_PORT:
        options->port = value;
        return parse_number(name, value, 0, 65535, &number);
    case FLAG_MODEL:
        options->model = value;
        return true;
    case FLAG_DTYPE:
        return parse_dtype(value, &options->compute.dtype);
    case FLAG_THREADS:
        return parse_unsigned(name, value, 1, 1024, &options->compute.threads);
    case FLAG_WORKERS:
        return parse_unsigned(name, value, 1, 256, &options->workers);
    case FLAG_HTTP_THREADS:
        return parse_unsigned(name, value, 1, 64, &options->http_threads);
    case FLAG_CONNECTIONS:
        return parse_unsigned(name, value, 1, 1000000, &options->connections);
    case FLAG_IDLE_TIMEOUT:
        return parse_unsigned(name, value, 1, 86400, &options->idle_seconds);
    case FLAG_DRAIN_TIMEOUT:
        return parse_unsigned(name, value, 1, 86400, &options->drain_seconds);
    case FLAG_MAX_BODY_BYTES:
        if (!parse_number(name, value, 1, 4096 * MIB, &number))
            return false;
        options->max_body_bytes = number;
        return true;
    case FLAG_MAX_PIXELS:
        return parse_number(name, value, 1, UINT64_C(1) << 32, &options->image.max_pixels);
    case FLAG_STEP_TOKENS:
        return parse_number(name, value, 64, 1 << 20, &options->step_tokens);
    case FLAG_QUEUE_ITEMS:
        return parse_number(name, value, 1, UINT64_C(1) << 40, &options->queue.items);
    case FLAG_QUEUE_TOKENS:
        return parse_number(name, value, 1, UINT64_C(1) << 40, &options->queue.tokens);
    case FLAG_QUEUE_BYTES:
        return parse_number(name, value, 1, UINT64_C(1) << 40, &options->queue.bytes);
    case FLAG_LOG_FORMAT:
        return log_parse_format(value, &options->log_format) || complain(name, value, "text, json");
    case FLAG_LOG_LEVEL:
        return log_parse_level(value, &options->log_level) ||
               complain(name, value, "error, warning, info, debug");
    default:
        return false;
    }
}

enum serve_parsed serve_parse(int argc, char **argv, struct serve_options *options) {
    *options = (struct serve_options){
        .host = "127.0.0.1",
        .port = "8080",
        .max_body_bytes = 32 * MIB,
        .queue = {.items = 65536, .tokens = 524288, .bytes = 128 * MIB},
        .step_tokens = 2048,
        .http_threads = 1,
        .connections = 16384,
        .idle_seconds = 60,
        .receive_seconds = 60,
        .drain_seconds = 30,
        .step_seconds = 30,
        .decode_seconds = 10,
        .cache_bytes = 64 * MIB,
        .log_format = LOG_TEXT,
        .log_level = LOG_INFO,
    };
    optind = 1;
    opterr = 0;
    for (int flag, index = 0; (flag = getopt_long(argc, argv, ":h", flags, &index)) != -1;) {
        if (flag == FLAG_HELP) {
            fputs(help, stdout);
            return SERVE_EXIT_OK;
        }
        if (flag == '?' || flag == ':') {
            cli_usage("serve", "%s %s", flag == ':' ? "a value is missing after" : "there is no option",
                      argv[optind - 1]);
            return SERVE_EXIT_USAGE;
        }
        if (!apply(flag, flags[index].name, optarg, options))
            return SERVE_EXIT_USAGE;
    }
    if (optind < argc) {
        cli_usage("serve", "unexpected argument \"%s\"", argv[optind]);
        return SERVE_EXIT_USAGE;
    }
    options->image.max_bytes = options->max_body_bytes;
    return SERVE_RUN;
}
