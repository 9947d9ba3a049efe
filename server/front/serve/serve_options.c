/* serve_options.c - the table of `limoe serve`, its defaults, and what must hold between options. */
#include "server/front/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/device_name.h"
#include "server/api/dialects/dialect.h"
#include "server/api/model_names.h"
#include "server/api/request_loadtest.h"
#include "server/front/serve/serve.h"
#include "server/front/store/adapters.h"
#include "server/front/store/classifiers.h"
#include "server/front/training/training.h"
#include "server/front/vocabularies/vocabularies.h"
#include "server/options/command.h"
#include "server/options/model_list.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define DAY 86400

#define AT(field) .offset = offsetof(struct serve_options, field)

static const struct option_choice log_formats[] = {{"text", LOG_TEXT}, {"json", LOG_JSON}, {NULL, 0}};
static const struct option_choice log_levels[] = {
    {"error", LOG_ERROR}, {"warning", LOG_WARNING}, {"info", LOG_INFO}, {"debug", LOG_DEBUG}, {NULL, 0}};

static const struct option_choice memory_checks[] = {
    {"on", MEMORY_CHECK_ON}, {"off", MEMORY_CHECK_OFF}, {NULL, 0}};

static const struct option_choice llm_endpoints[] = {
    {"chat", RELAY_CHAT}, {"completions", RELAY_COMPLETIONS}, {NULL, 0}};
static const struct option_choice llm_holds[] = {{"none", ASK_HOLD_NONE},
                                                 {"grammar", ASK_HOLD_GRAMMAR},
                                                 {"guided", ASK_HOLD_GUIDED},
                                                 {"structured", ASK_HOLD_STRUCTURED},
                                                 {NULL, 0}};

#define STRING(flag, field, value, ...)                                                                      \
    { .name = (flag), .kind = OPTION_STRING, AT(field), .metavar = (value), __VA_ARGS__ }
#define NUMBER(flag, type, field, from, to, ...)                                                             \
    { .name = (flag), .kind = (type), AT(field), .least = (from), .most = (to), .metavar = "N", __VA_ARGS__ }
#define SECONDS(flag, field, ...)                                                                            \
    {                                                                                                        \
        .name = (flag), .kind = OPTION_SECONDS, AT(field), .least = 1, .most = DAY, .metavar = "S",          \
        __VA_ARGS__                                                                                          \
    }
#define CHOICE(flag, field, names, value, ...)                                                               \
    { .name = (flag), .kind = OPTION_CHOICE, AT(field), .choices = (names), .metavar = (value), __VA_ARGS__ }

/* To add one: a field (server/front/options.h), a row here, its default and what must go with it below,
 * docs/configuration.md, a test of what it does (docs/development.md#an-option-of-limoe-serve). */
static const struct option_row table[] = {
    {.name = "model",
     .kind = OPTION_NAMES,
     AT(models),
     .metavar = "DIR",
     .platform = "AIP_STORAGE_URI",
     .help = "model directory, or NAME=DIR; several are divided by commas, the first is the default",
     .fallback = MODEL_DIR_DEFAULT},
    {.name = "model-alias",
     .kind = OPTION_NAMES,
     AT(model_aliases),
     .metavar = "ALIAS,...",
     .help = "more names for models in requests: ALIAS (of the default) or ALIAS=NAME; * is any name",
     .fallback = "none"},
    {.name = "dialects",
     .kind = OPTION_NAMES,
     AT(dialects),
     .metavar = "LIST",
     .help = "other servers' APIs that are answered too: all, none, or names of dialects with commas"},
    STRING("vertex-predict-route", vertex_predict, "PATH", .platform = "AIP_PREDICT_ROUTE",
           .help = "path at which Vertex AI asks for predictions, beside /vertex/predict",
           .fallback = "none"),
    STRING("vertex-health-route", vertex_health, "PATH", .platform = "AIP_HEALTH_ROUTE",
           .help = "path at which Vertex AI asks for health, beside /vertex/health", .fallback = "none"),
    STRING("host", host, "HOST", .help = "address to listen on"),
    {.name = "port",
     .kind = OPTION_NUMERAL,
     AT(port),
     .most = 65535,
     .metavar = "PORT",
     .platform = "AIP_HTTP_PORT",
     .help = "port to listen on; 0 takes any that is free"},
    STRING("state-dir", state_dir, "DIR",
           .help = "where classifiers and adapters are kept, and answers to application/x-ndjson wait",
           .fallback = "$STATE_DIRECTORY, else $XDG_STATE_HOME/limoe, else ~/.local/state/limoe"),

    COMMAND_DEVICE_ROW(AT(compute.device)),
    COMMAND_DTYPE_ROW(AT(compute.dtype)),
    COMMAND_THREADS_ROW(AT(compute.threads)),
    NUMBER("workers", OPTION_UNSIGNED, workers, 1, 256,
           .help = "threads that decode pictures and write answers", .fallback = "as --threads, at most 16"),
    NUMBER("http-threads", OPTION_UNSIGNED, http_threads, 1, 64,
           .help = "threads that read and write sockets"),

    NUMBER("max-body-bytes", OPTION_BYTES, max_body_bytes, 1, 4 * GIB, .group = "limits",
           .help = "largest request body"),
    NUMBER("max-pixels", OPTION_U64, image.max_pixels, 1, UINT64_C(1) << 32,
           .help = "most pixels of one picture, from its header; of a JPEG 5 times as many"),
    NUMBER("max-request-pixels", OPTION_U64, max_request_pixels, 1, UINT64_C(1) << 40,
           .help = "most pixels of all pictures of one request"),
    NUMBER("queue-items", OPTION_U64, queue.items, 1, UINT64_C(1) << 40,
           .help = "items let in and not computed yet, past which requests get 429"),
    NUMBER("queue-tokens", OPTION_U64, queue.tokens, 1, UINT64_C(1) << 40, .help = "the same in tokens"),
    NUMBER("queue-bytes", OPTION_BYTES, queue.bytes, 1, 1024 * GIB,
           .help = "the same in bytes of memory that requests hold"),
    NUMBER("queue-pixels", OPTION_U64, queue.pixels, 1, UINT64_C(1) << 40,
           .help = "the same in pixels of pictures let in and not decoded yet"),
    NUMBER(
        "queue-caption-tokens", OPTION_U64, queue.captions, 1, UINT64_C(1) << 32,
        .help =
            "tokens that captions in the making may come to, past which requests for more get 429; and the "
            "most that one request may ask for"),
    NUMBER("step-tokens", OPTION_U64, step_tokens, 64, 1 << 20, .help = "most tokens computed in one step",
           .fallback = "2048 on a CPU, 32768 on a GPU"),
    NUMBER("max-batch-delay-ms", OPTION_UNSIGNED, batch_delay_ms, 0, 1000,
           .help = "milliseconds that a step which is not full waits for more; 0: not at all"),
    NUMBER("connections", OPTION_UNSIGNED, connections, 1, 1000000, .help = "open connections"),
    NUMBER("connections-per-address", OPTION_UNSIGNED, connections_per_address, 0, 1000000,
           .help = "the same for one client address; 0: no limit of its own",
           .fallback = "half of --connections, at least 64"),
    NUMBER("engine-memory", OPTION_BYTES, engine_bytes, 0, 1024 * GIB,
           .help = "resident memory past which an engine is replaced; 0: no limit"),
    CHOICE("memory-check", memory_check, memory_checks, "on|off",
           .help = "whether a model that needs more memory than there is, is refused before it is loaded"),
    NUMBER("decoder-pictures", OPTION_U64, decoder_pictures, 0, UINT64_C(1) << 40,
           .help = "pictures after which a decoder is replaced by a fresh one; 0: never"),
    NUMBER("cache-bytes", OPTION_BYTES, cache_bytes, 0, 1024 * GIB,
           .help = "memory for embeddings of texts seen before; 0: no cache"),
    NUMBER("bulk-bytes", OPTION_BYTES, bulk_bytes, MIB, 1024 * GIB,
           .help = "disk that the answers to application/x-ndjson may take until their requests end"),
    NUMBER("classifier-bytes", OPTION_BYTES, classifier_bytes, MIB, 1024 * GIB,
           .help = "disk that stored classifiers may take, past which a PUT gets 507"),
    NUMBER("vocabulary-bytes", OPTION_BYTES, vocabulary_bytes, MIB, 1024 * GIB,
           .help = "memory that stored vocabularies may take for each model, past which a PUT gets 507"),
    NUMBER("adapter-bytes", OPTION_BYTES, adapter_bytes, MIB, 1024 * GIB,
           .help = "disk that stored adapters may take, past which a PUT gets 507"),
    NUMBER("adapter-memory", OPTION_BYTES, adapter_memory, 0, 1024 * GIB,
           .help = "memory that adapters may take in the engine of each model"),
    NUMBER("trunk-cache", OPTION_BYTES, trunk_cache, 0, 1024 * GIB,
           .help =
               "memory there for what adapters leave as it is, of pictures and texts seen with one; 0: none"),
    NUMBER("adapter-jobs", OPTION_UNSIGNED, adapter_jobs, 0, TRAINING_MOST_JOBS,
           .help = "jobs that learn adapters, waiting and in training, past which a POST gets 429; 0: none"),
    NUMBER("adapter-job-bytes", OPTION_BYTES, adapter_job_bytes, MIB, 1024 * GIB,
           .help = "disk that the examples of these may take, past which a POST gets 507"),
    NUMBER("trainer-threads", OPTION_UNSIGNED, trainer_threads, 1, 1024,
           .help = "compute threads of the process that does these jobs",
           .fallback = "one fewer than --threads, at least 1"),

    SECONDS("idle-timeout", idle_seconds, .group = "time limits, in seconds",
            .help = "after which a connection that has sent no complete request head is closed"),
    SECONDS("receive-timeout", receive_seconds, .help = "for a request's body to come in"),
    SECONDS("stall-timeout", stall_seconds,
            .help = "for which a client may send its body or read its answer at less than 8 KiB/s"),
    SECONDS("step-timeout", step_seconds,
            .help = "after which an engine that has not answered a step is replaced"),
    SECONDS("decode-timeout", decode_seconds,
            .help = "of processor time for one picture; by the clock ten times as long"),
    SECONDS("drain-timeout", drain_seconds, .help = "that a stopping server gives requests to finish"),

    NUMBER(
        "ranks", OPTION_UNSIGNED, launch.ranks, 1, 1024, .group = "ranks: an engine of several processes",
        .help =
            "processes that the experts are spread over, started by mpirun; with --device cuda one to a GPU"),
    STRING("hostfile", launch.hostfile, "FILE",
           .help =
               "a line HOST slots=N for each host that ranks run on, as mpirun has it; with --rank-address",
           .fallback = "none: all on this host"),
    STRING("rank-address", launch.address, "HOST",
           .help = "this host's address for ranks to connect to, perhaps with a :PORT",
           .fallback = "none: a Unix socket"),
    STRING("rank-agent", launch.agent, "TEXT",
           .help = "with --device cuda: what runs a command on another host, divided at blanks"),
    STRING("mpirun", launch.mpirun, "PATH", .help = "what starts the ranks on CPUs"),
    STRING("mpi-arguments", launch.arguments, "TEXT", .help = "more arguments for mpirun, divided at blanks",
           .fallback = "none"),
    COMMAND_LOAD_ROW(AT(compute.load_file)),
    COMMAND_EXPERT_BYTES_ROW(AT(compute.expert_bytes)),

    STRING("api-keys-file", api_keys, "FILE", .group = "access",
           .help = "keys that clients must show, one a line; with names and quotas, perhaps",
           .fallback = "none: no key is asked for"),
    STRING("admin-keys-file", admin_keys, "FILE", .help = "keys for administration, likewise",
           .fallback = "none: no administration over HTTP"),
    STRING("loadtest-targets", loadtest_targets, "URL,...",
           .help = "servers that load tests asked for over HTTP may be of, beside this one",
           .fallback = "none: this server alone"),
    STRING("loadtest-key-file", loadtest_key, "FILE",
           .help = "holds the key that load tests show to these, in its first line",
           .fallback = "none: they show no key"),
    NUMBER("loadtest-max-rate", OPTION_U64, loadtest_rate, 1, 1000000,
           .help = "most arrivals a second of a load test"),
    NUMBER("loadtest-max-seconds", OPTION_U64, loadtest_seconds, 1, DAY,
           .help = "longest duration of a load test"),
    NUMBER("loadtest-max-requests", OPTION_U64, loadtest_requests, 1, UINT64_C(1) << 40,
           .help = "most requests of a load test: its rate times its duration"),
    STRING("tls-certificate", tls_certificate, "FILE", .help = "certificate chain (PEM); with --tls-key",
           .fallback = "none: plain HTTP"),
    STRING("tls-key", tls_key, "FILE", .help = "the certificate's private key (PEM)", .fallback = "none"),
    STRING("allowed-hosts", allowed_hosts, "LIST",
           .help = "names of this server, with commas; requests for others are refused; *: none is",
           .fallback = "without keys on a loopback address its own names, else *"),
    STRING("cors-origin", cors_origin, "ORIGIN", .help = "web origin whose pages may read answers",
           .fallback = "none"),

    {.name = "allow-unsandboxed-decoders",
     .kind = OPTION_SWITCH,
     AT(unconfined_decoders),
     .help = "decode pictures also where the system has no sandbox (seccomp) for it"},

    STRING("image-hosts", fetching.hosts, "HOST,...", .group = "pictures by their URLs",
           .help =
               "hosts that pictures may be fetched from: names, *.NAME, with http:// before or a port after",
           .fallback = "none: nothing is fetched"),
    STRING("image-networks", fetching.networks, "NET,...",
           .help = "networks that are not public in which these hosts may be; opens them to who sends URLs",
           .fallback = "none: public addresses alone"),
    NUMBER("image-bytes", OPTION_BYTES, fetching.bytes, 1, GIB, .help = "largest picture that is fetched"),
    SECONDS("image-timeout", fetching.seconds, .help = "seconds for a picture to be fetched"),
    NUMBER("image-fetches", OPTION_UNSIGNED, fetching.fetches, 1, 256,
           .help = "pictures fetched at a time; others wait"),

    STRING("llm-url", relaying.url, "URL", .group = "a language model, of an OpenAI-compatible server",
           .help = "base of that server's paths, as its clients have it: http://HOST:8000/v1",
           .fallback = "none: questions get 501"),
    STRING("llm-model", relaying.model, "NAME", .help = "what that server calls its model",
           .fallback = "none; --llm-url needs it"),
    STRING("llm-key-file", relaying.key_file, "FILE",
           .help = "holds the key that the server is shown, in its first line",
           .fallback = "none: it is shown no key"),
    STRING("llm-certificate", relaying.certificate, "FILE",
           .help = "authorities (PEM) that its certificate is checked by", .fallback = "the system's"),
    CHOICE("llm-endpoint", relaying.endpoint, llm_endpoints, "chat|completions",
           .help = "what questions are put to: its chat, or bare completions of the prompt"),
    CHOICE("llm-choices", llm_choices, llm_holds, "none|grammar|guided|structured",
           .help = "how the model is held to a question's choices: not at all, by llama.cpp's grammar, by "
                   "vLLM's guided_choice or its structured_outputs"),
    SECONDS("llm-timeout", relaying.seconds, .help = "seconds for an answer of the model"),
    NUMBER("llm-bytes", OPTION_BYTES, relaying.bytes, 1024, 64 * MIB,
           .help = "largest answer of that server"),
    NUMBER("llm-requests", OPTION_UNSIGNED, relaying.requests, 1, 256,
           .help = "requests to it at a time; four times as many wait, past which requests get 429"),

    STRING(
        "otlp-endpoint", tracing.endpoint, "URL", .group = "traces, to an OpenTelemetry collector",
        .help =
            "where spans of requests are posted (OTLP/HTTP, JSON), with its path: http://HOST:4318/v1/traces",
        .fallback = "$OTEL_EXPORTER_OTLP_ENDPOINT and /v1/traces, else none: no traces"),
    STRING("otlp-headers", tracing.headers, "LIST",
           .help =
               "headers of these posts: name=value,name=value; a variable or a file hides them from others",
           .fallback = "$OTEL_EXPORTER_OTLP_HEADERS, else none"),
    STRING("otlp-certificate", tracing.certificate, "FILE",
           .help = "authorities (PEM) that the collector's certificate is checked by",
           .fallback = "$OTEL_EXPORTER_OTLP_CERTIFICATE, else the system's"),
    STRING("otlp-service-name", tracing.service, "NAME",
           .help = "service.name of the spans; $OTEL_SERVICE_NAME changes the default"),
    {.name = "trace-sample",
     .kind = OPTION_SHARE,
     AT(tracing.sample),
     .metavar = "RATIO",
     .help = "share of traces that begin here which is recorded; of others their callers decide"},

    CHOICE("log-format", log_format, log_formats, "FORMAT", .group = "log, to standard error",
           .help = "text or json"),
    CHOICE("log-level", log_level, log_levels, "LEVEL",
           .help = "error, warning, info (one line a request) or debug"),

    {.name = "config",
     .kind = OPTION_CONFIG,
     .metavar = "FILE",
     .group = "configuration",
     .help = "file of \"name = value\" lines, weaker than the environment, which is weaker than flags",
     .fallback = "none"},
    {.name = "print-config",
     .kind = OPTION_PRINT_CONFIG,
     .help = "print what is in effect, and where it comes from, as such a file"},
    COMMAND_HELP_ROW,
};

static const struct serve_options defaults = {
    .host = "127.0.0.1",
    .port = "8080",
    .dialects = "all",
    .image = {.max_pixels = LIMOE_MAX_PIXELS},
    .max_request_pixels = 512 * MIB,
    .max_body_bytes = 32 * MIB,
    .queue = {.items = 65536, .tokens = 524288, .bytes = 128 * MIB, .pixels = 1024 * MIB, .captions = 16384},
    .launch = {.ranks = 1, .mpirun = "mpirun", .agent = "ssh -oBatchMode=yes -oConnectTimeout=5"},
    .http_threads = 1,
    .connections = 16384,
    .connections_per_address = SERVE_HALF,
    .idle_seconds = 60,
    .receive_seconds = 60,
    .stall_seconds = 10,
    .drain_seconds = 30,
    .step_seconds = 30,
    .decode_seconds = 5,
    .decoder_pictures = 10000,
    .cache_bytes = 64 * MIB,
    .bulk_bytes = 4 * GIB,
    .classifier_bytes = CLASSIFIERS_DISK_BYTES,
    .vocabulary_bytes = VOCABULARIES_BYTES,
    .adapter_bytes = ADAPTERS_DISK_BYTES,
    .adapter_memory = 256 * MIB,
    .trunk_cache = 64 * MIB,
    .adapter_jobs = TRAINING_JOBS,
    .adapter_job_bytes = TRAINING_DISK_BYTES,
    .loadtest_rate = 1000,
    .loadtest_seconds = 600,
    .loadtest_requests = 100000,
    .fetching = {.bytes = 8 * MIB, .seconds = 10, .fetches = 32},
    .relaying = {.bytes = MIB, .seconds = 60, .requests = 16},
    .tracing = {.service = "limoe", .sample = 1},
    .log_format = LOG_TEXT,
    .log_level = LOG_INFO,
};
static const struct option_note exits[] = {
    {"0", "it was told to stop"},
    {"1", "it could not start: an address in use, a model that is not sound, a file that cannot be read"},
    {"2", "the command line, a variable or the configuration file is wrong"},
    {NULL, NULL},
};
static const struct option_note environment[] = {
    {"STATE_DIRECTORY", "systemd's: where classifiers and adapters are kept, when --state-dir is not said"},
    {"XDG_STATE_HOME", "the same, where systemd did not start the server"},
    {"AIP_HTTP_PORT", "Vertex AI's: the port, when nothing else says it"},
    {"AIP_STORAGE_URI", "the same for --model, where it is a directory"},
    {"AIP_PREDICT_ROUTE", "the same for --vertex-predict-route"},
    {"AIP_HEALTH_ROUTE", "the same for --vertex-health-route"},
    {"OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
     "OpenTelemetry's: what the first says with /v1/traces, or the second as it is, when --otlp-endpoint is "
     "not said"},
    {"OTEL_EXPORTER_OTLP_HEADERS, OTEL_EXPORTER_OTLP_CERTIFICATE, OTEL_SERVICE_NAME",
     "the same for --otlp-headers, --otlp-certificate, --otlp-service-name"},
    {"OTEL_BSP_SCHEDULE_DELAY, OTEL_EXPORTER_OTLP_TIMEOUT",
     "milliseconds for which spans wait for more of them, and that the collector may take: 1000 and 10000"},
    {"OTEL_RESOURCE_ATTRIBUTES", "more attributes of the spans' resource: name=value,name=value"},
    {"OTEL_SDK_DISABLED", "true: OTEL_EXPORTER_OTLP_ENDPOINT is as if it were not set"},
    {NULL, NULL},
};
static const struct option_note files[] = {
    {"/etc/limoe/limoe.conf", "the configuration that the service of the Debian package reads, by --config"},
    {"STATE-DIR/vocabularies/", "vocabularies, and what each model makes of their terms"},
    {"STATE-DIR/adapters/", "adapters, a file each, named by name and SHA-256"},
    {"STATE-DIR/classifiers.db", "named classifiers, an SQLite database"},
    {"STATE-DIR/training/",
     "jobs that learn adapters, a folder each, with their examples until they have ended"},
    {NULL, NULL},
};
static const struct option_note uses[] = {
    {"limoe serve --port 8080", "The bundled model on this host's loopback address"},
    {"limoe serve --config /etc/limoe/limoe.conf --print-config",
     "What a configuration amounts to, without serving"},
    {"limoe serve --host 0.0.0.0 --api-keys-file keys --tls-certificate chain.pem --tls-key key.pem",
     "For other hosts: encrypted, and only for those who have a key"},
    {"curl -s http://127.0.0.1:8080/v1/classify -F image=@cat.png -F labels=cat -F labels=dog",
     "A first question"},
    {NULL, NULL},
};

const struct option_command serve_command = {
    .name = "serve",
    .summary = "answer over HTTP",
    .usage = "limoe serve [--model [NAME=]DIR]... [options]",
    .about = "Serves zero-shot classification and embeddings of pictures and texts over HTTP.",
    .more = "SIGTERM and SIGINT finish what is in flight and exit with status 0; a second one exits at once. "
            "SIGHUP reads "
            "keys, certificate and model again.",
    .table = table,
    .n = sizeof table / sizeof *table,
    .defaults = &defaults,
    .exits = exits,
    .environment = environment,
    .files = files,
    .uses = uses,
};

/* systemd's, which may be several; else the user's, as the XDG base directories have it. */
static const char *default_state_dir(struct arena *arena) {
    const char *dir = getenv("STATE_DIRECTORY");
    if (dir && *dir)
        return arena_copy(arena, dir, strcspn(dir, ":"));
    dir = getenv("XDG_STATE_HOME");
    if (dir && *dir == '/')
        return arena_print(arena, "%s/limoe", dir);
    dir = getenv("HOME");
    if (dir && *dir)
        return arena_print(arena, "%s/.local/state/limoe", dir);
    return "./limoe-state";
}

/* Ranks on GPUs are no business of MPI's. */
static bool is_group(const struct serve_options *options) {
    const struct launch_options *launch = &options->launch;
    if (strcmp(options->compute.device, "cuda") != 0) {
        command_usage("serve", "device is %s and ranks is %u; accepted: cuda, of which each rank gets a GPU",
                      options->compute.device, launch->ranks);
        return false;
    }
    if (launch->arguments)
        command_usage("serve",
                      "mpi-arguments is set and device is cuda; accepted: with device of cpu or auto, "
                      "whose ranks MPI starts");
    else if (launch->address && !launch->hostfile)
        command_usage("serve",
                      "rank-address is set, device is cuda, and hostfile is not; accepted: with the hosts "
                      "whose ranks connect to it");
    else if (!launch->agent[strspn(launch->agent, " \t")])
        command_usage("serve", "rank-agent is \"%s\"; accepted: a program, perhaps with arguments",
                      launch->agent);
    else
        return true;
    return false;
}

/* "HOST:PORT", "[IPv6]:PORT": an IPv6 address without brackets has more colons, and no port. */
static bool has_port(const char *address) {
    const char *colon = strrchr(address, ':');
    return colon && (strchr(address, ':') == colon || (colon > address && colon[-1] == ']'));
}

/* What can be of one model alone. */
static bool is_of_several(const struct serve_options *options) {
    const size_t n = model_list_count(options->models);
    const struct launch_options *launch = &options->launch;
    if (n > 1 && options->compute.load_file) {
        command_usage("serve", "load is set and model names %zu models; accepted: with one, whose load it is",
                      n);
        return false;
    }
    if (n > 1 && launch->address && has_port(launch->address)) {
        command_usage("serve",
                      "rank-address is \"%s\" and model names %zu models; accepted: without a port, as each "
                      "model's ranks connect to one of their own",
                      launch->address, n);
        return false;
    }
    return true;
}

/* What Vertex AI may say that is no path of this server, nor a directory. */
static bool is_of_platform(const struct serve_options *options) {
    const char *const paths[] = {options->vertex_predict, options->vertex_health};
    for (size_t i = 0; i < 2; i++)
        if (paths[i] && paths[i][0] != '/') {
            command_usage("serve", "vertex-%s-route is \"%s\"; accepted: a path, which begins with /",
                          i ? "health" : "predict", paths[i]);
            return false;
        }
    if (options->models && strncmp(options->models, "gs://", 5) == 0) {
        command_usage("serve",
                      "model is \"%s\", by --model or AIP_STORAGE_URI; accepted: a directory: put the model "
                      "into the image or copy it there first, and name it with --model",
                      options->models);
        return false;
    }
    return true;
}

static bool is_consistent(const struct serve_options *options, const struct options *read) {
    if (read->n_operands) {
        command_usage("serve", "unexpected argument \"%s\"", read->operands[0]);
        return false;
    }
    struct limoe_error err;
    uint32_t dialects;
    if (model_list_check(options->models, &err) != LIMOE_OK ||
        model_names_check_list(options->model_aliases, &err) != LIMOE_OK ||
        loadtest_check_targets(options->loadtest_targets, &err) != LIMOE_OK ||
        dialects_parse(options->dialects, &dialects, &err) != LIMOE_OK) {
        command_usage("serve", "%s", err.message);
        return false;
    }
    if (options->loadtest_key && !options->loadtest_targets) {
        command_usage("serve", "loadtest-key-file is set and loadtest-targets is not; accepted: with servers "
                               "that the key is for");
        return false;
    }
    const struct launch_options *launch = &options->launch;
    enum device_kind device;
    uint32_t index;
    const char *many = launch->hostfile             ? "hostfile"
                       : launch->address            ? "rank-address"
                       : options->compute.load_file ? "load"
                                                    : NULL;
    if (many && launch->ranks < 2) {
        command_usage("serve", "%s is set and ranks is 1; accepted: with ranks of 2 or more", many);
        return false;
    }
    if (launch->ranks > 1 && device_name_parse(options->compute.device, &device, &index) &&
        device == DEVICE_CUDA && !is_group(options))
        return false;
    if (launch->hostfile && !launch->address) {
        command_usage("serve",
                      "hostfile is set and rank-address is not; accepted: with this host's address, which "
                      "ranks on others connect to");
        return false;
    }
    if (!is_of_several(options) || !is_of_platform(options))
        return false;
    if (tracing_check(&options->tracing, &err) != LIMOE_OK ||
        fetching_check(&options->fetching, &err) != LIMOE_OK ||
        relaying_check(&options->relaying, &err) != LIMOE_OK) {
        command_usage("serve", "%s", err.message);
        return false;
    }
    if (options->compute.expert_bytes && !options->compute.load_file) {
        command_usage("serve", "expert-bytes is set and load is not; accepted: with a measured load");
        return false;
    }
    const bool certificate = options->tls_certificate != NULL, key = options->tls_key != NULL;
    if (certificate == key)
        return true;
    command_usage("serve", "tls-%s is set and tls-%s is not; accepted: both or neither",
                  certificate ? "certificate" : "key", certificate ? "key" : "certificate");
    return false;
}

/* Those of a file and some defaults live in the arena, which ends with the reading. */
static bool keep_strings(struct serve_options *options) {
    size_t used = 0;
    for (size_t i = 0; i < serve_command.n; i++) {
        if (table[i].kind != OPTION_STRING && table[i].kind != OPTION_NAMES &&
            table[i].kind != OPTION_NUMERAL && table[i].kind != OPTION_DEVICE)
            continue;
        const char **field = (const char **)((char *)options + table[i].offset);
        const size_t size = *field ? strlen(*field) + 1 : 0;
        if (size > sizeof options->strings - used) {
            command_usage("serve", "texts of more than %zu bytes in all", sizeof options->strings);
            return false;
        }
        if (size)
            *field = memcpy(options->strings + used, *field, size);
        used += size;
    }
    return true;
}

/* What is in effect, to standard output. */
static bool print_config(const struct options *read) {
    struct buffer out = {0};
    options_print(read, &out);
    const bool printed = command_print(&out, false);
    buffer_free(&out);
    return printed;
}

enum serve_parsed serve_parse(int argc, char **argv, struct serve_options *options) {
    enum serve_parsed parsed = SERVE_EXIT_USAGE;
    struct options read;
    int status;
    *options = defaults;
    struct arena *arena = arena_new();
    options->state_dir = arena ? default_state_dir(arena) : NULL;
    if (!options->state_dir || !tracing_defaults(&options->tracing, arena))
        command_complain("no memory");
    else if (!command_options(&serve_command, argc, argv, options, arena, &read, &status))
        parsed = status == COMMAND_OK ? SERVE_EXIT_OK : SERVE_EXIT_USAGE;
    else if (is_consistent(options, &read) && keep_strings(options)) {
        if (read.asked == OPTIONS_RUN)
            parsed = SERVE_RUN;
        else
            parsed = print_config(&read) ? SERVE_EXIT_OK : SERVE_EXIT_USAGE;
    }
    options->image.max_bytes = options->max_body_bytes;
    arena_free(arena);
    return parsed;
}
