/* bench.c - limoe bench: a load of requests, and what came of it. One thread. */
#include <curl/curl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/commands/bench/plan.h"
#include "server/commands/bench/pool.h"
#include "server/commands/bench/probe.h"
#include "server/commands/bench/report.h"
#include "server/commands/bench/run.h"
#include "server/commands/bench/tally.h"
#include "server/commands/commands.h"
#include "server/options/command.h"

/* What the command line says, before it is a plan. */
struct asked {
    double rate, duration_s, timeout_s;
    unsigned warmup_s;
    size_t connections, backlog, closed, items;
    uint64_t seed;
    enum arrivals_kind arrivals;
    const char *mix, *encoding, *labels, *classifier, *model, *texts, *key_file, *ca_file;
    struct option_list images;
    bool unique_texts, check, insecure, json, json_lines;
};

static const struct option_choice arrival_names[] = {
    {"constant", ARRIVALS_CONSTANT}, {"poisson", ARRIVALS_POISSON}, {NULL, 0}};

#define AT(field) .only_flag = true, .offset = offsetof(struct asked, field)

static const struct option_row table[] = {
    {.name = "rate",
     .kind = OPTION_DOUBLE,
     AT(rate),
     .most = 1000000,
     .metavar = "R",
     .help = "arrivals per second, whatever the server does (an open loop)",
     .group = "Load"},
    {.name = "duration",
     .kind = OPTION_DOUBLE,
     AT(duration_s),
     .most = 1000000,
     .metavar = "S",
     .help = "seconds that are measured"},
    {.name = "warmup",
     .kind = OPTION_SECONDS,
     AT(warmup_s),
     .most = 1000000,
     .metavar = "S",
     .help = "seconds of load before, that count for nothing"},
    {.name = "arrivals",
     .kind = OPTION_CHOICE,
     AT(arrivals),
     .choices = arrival_names,
     .metavar = "KIND",
     .help = "constant or poisson"},
    {.name = "closed",
     .kind = OPTION_U64,
     AT(closed),
     .least = 1,
     .most = 65536,
     .metavar = "N",
     .help = "instead of a rate: N clients that send their next request when they have an answer, to find "
             "capacity",
     .fallback = "an open loop"},
    {.name = "connections",
     .kind = OPTION_U64,
     AT(connections),
     .least = 1,
     .most = 65536,
     .metavar = "N",
     .help = "requests in flight at once"},
    {.name = "backlog",
     .kind = OPTION_U64,
     AT(backlog),
     .least = 1,
     .most = 10000000,
     .metavar = "N",
     .help = "arrivals that may wait for a connection; those beyond are dropped, and counted"},
    {.name = "timeout",
     .kind = OPTION_DOUBLE,
     AT(timeout_s),
     .most = 1000000,
     .metavar = "S",
     .help = "seconds from its arrival after which a request has failed"},
    {.name = "seed",
     .kind = OPTION_U64,
     AT(seed),
     .most = UINT64_MAX,
     .metavar = "N",
     .help = "of arrivals, mix, pictures and texts"},
    {.name = "mix",
     .kind = OPTION_STRING,
     AT(mix),
     .metavar = "KIND=N,...",
     .help = "how many of classify, image and text (embeddings)",
     .group = "Requests"},
    {.name = "encoding",
     .kind = OPTION_STRING,
     AT(encoding),
     .metavar = "E,...",
     .help = "how classify sends a picture: json, multipart, raw; several take turns"},
    {.name = "image",
     .kind = OPTION_LIST,
     AT(images),
     .metavar = "FILE",
     .help = "a picture; may be repeated; without one, sixteen are made up"},
    {.name = "labels", .kind = OPTION_STRING, AT(labels), .metavar = "A,B,...", .help = "of classify"},
    {.name = "classifier",
     .kind = OPTION_STRING,
     AT(classifier),
     .metavar = "NAME",
     .help = "of classify, in place of labels"},
    {.name = "model",
     .kind = OPTION_STRING,
     AT(model),
     .metavar = "NAME",
     .help = "of the server's models; without it, its default"},
    {.name = "texts",
     .kind = OPTION_STRING,
     AT(texts),
     .metavar = "FILE",
     .help = "a text a line; without it, a thousand are made up"},
    {.name = "unique-texts",
     .kind = OPTION_SWITCH,
     AT(unique_texts),
     .help = "make every text different, so that no cache helps (give another --seed to each run)"},
    {.name = "items",
     .kind = OPTION_U64,
     AT(items),
     .least = 1,
     .most = 2048,
     .metavar = "N",
     .help = "items of an embeddings request"},
    {.name = "check",
     .kind = OPTION_SWITCH,
     AT(check),
     .help = "ask every request once before the load; answers under load must equal those byte for byte"},
    {.name = "api-key-file",
     .kind = OPTION_STRING,
     AT(key_file),
     .metavar = "FILE",
     .help = "holds the key, in its first line",
     .fallback = "LIMOE_API_KEY in the environment",
     .group = "Server"},
    {.name = "cacert",
     .kind = OPTION_STRING,
     AT(ca_file),
     .metavar = "FILE",
     .help = "trust these certificates (PEM) instead of the system's"},
    {.name = "insecure", .kind = OPTION_SWITCH, AT(insecure), .help = "trust any certificate"},
    COMMAND_JSON_ROW(.offset = offsetof(struct asked, json), .help = "print one object"),
    {.name = "json-lines",
     .kind = OPTION_SWITCH,
     AT(json_lines),
     .help = "print an object a second while the load goes on, then that of --json; also what fails"},
    COMMAND_HELP_ROW,
};

static const struct asked defaults = {
    .rate = 50,
    .duration_s = 10,
    .timeout_s = 30,
    .connections = 256,
    .backlog = 10000,
    .items = 1,
    .seed = 1,
    .mix = "classify=1,image=1,text=2",
    .encoding = "json",
    .labels = "cat,dog,house,tree",
};
static const struct option_note exits[] = {
    {"0", "it has measured, whatever it found"},
    {"1", "it could not"},
    {"2", "the command line is wrong"},
    {NULL, NULL},
};
static const struct option_note environment[] = {
    {"LIMOE_API_KEY", "the key to show, where --api-key-file names none"},
    {NULL, NULL},
};
static const struct option_note uses[] = {
    {"limoe bench http://127.0.0.1:8080 --rate 200 --duration 30 --arrivals poisson",
     "How a server answers 200 requests a second"},
    {"limoe bench http://127.0.0.1:8080 --closed 16 --mix classify=1",
     "How many classifications a second it can do"},
    {"limoe bench https://limoe.example --check --json >report.json",
     "Whether answers under load are those without, byte for byte"},
    {NULL, NULL},
};

const struct option_command bench_command = {
    .name = "bench",
    .summary = "load a server and measure how it answers",
    .usage = "limoe bench [options] URL",
    .operand = "URL",
    .about = "Sends requests to a server as they would arrive from many clients, and says how many were "
             "answered and how "
             "long that took, counted from the moment at which each was due.",
    .more = "Ctrl-C ends the load early and prints what was measured.",
    .table = table,
    .n = sizeof table / sizeof *table,
    .defaults = &defaults,
    .exits = exits,
    .environment = environment,
    .uses = uses,
};

/* ---- options → plan */

/* The next of a comma-separated list, cut off it. */
static struct text next_part(const char **list) {
    const size_t size = strcspn(*list, ",");
    struct text part = {.data = *list, .size = size};
    *list += size + ((*list)[size] == ',');
    return part;
}

static bool read_mix(const char *list, struct plan *plan) {
    const char *whole = list;
    uint64_t sum = 0;
    while (*list) {
        const struct text part = next_part(&list);
        const char *equals = memchr(part.data, '=', part.size);
        const struct text name = {.data = part.data, .size = equals ? (size_t)(equals - part.data) : 0};
        char *end = NULL;
        const unsigned long n =
            equals && equals[1] >= '0' && equals[1] <= '9' ? strtoul(equals + 1, &end, 10) : 0;
        int kind = 0;
        while (kind < LOAD_KINDS && !text_is(name, load_kind_names[kind]))
            kind++;
        if (kind == LOAD_KINDS || end != part.data + part.size || n > 1000000) {
            command_usage("bench",
                          "--mix is \"%s\"; accepted: classify=N, image=N, text=N with N up to 1000000, "
                          "separated by commas",
                          whole);
            return false;
        }
        plan->mix[kind] = (uint32_t)n;
        sum += n;
    }
    if (!sum)
        command_usage("bench", "--mix is \"%s\": nothing to send", whole);
    return sum;
}

static bool read_encodings(const char *list, struct plan *plan) {
    static const struct {
        const char *name;
        unsigned bit;
    } encodings[] = {{"json", ENCODING_JSON}, {"multipart", ENCODING_MULTIPART}, {"raw", ENCODING_RAW}};
    const char *whole = list;
    while (*list) {
        const struct text part = next_part(&list);
        unsigned bit = 0;
        for (size_t i = 0; i < sizeof encodings / sizeof *encodings; i++)
            if (text_is(part, encodings[i].name))
                bit = encodings[i].bit;
        if (!bit) {
            command_usage("bench",
                          "--encoding is \"%s\"; accepted: json, multipart, raw, separated by commas", whole);
            return false;
        }
        plan->encodings |= bit;
    }
    return true;
}

static bool read_labels(const char *list, struct arena *arena, struct plan *plan) {
    size_t n = 1;
    for (const char *c = list; *c; c++)
        n += *c == ',';
    struct text *labels = arena_array(arena, n, sizeof *labels);
    if (!labels) {
        command_complain("no memory");
        return false;
    }
    for (size_t i = 0; i < n; i++)
        labels[i] = next_part(&list);
    plan->labels = labels;
    plan->n_labels = n;
    return true;
}

/* Reads the key of a file's first line, which may be one of a server's key file: what is said of the key stands behind a blank. */
static bool read_key(const char *path, struct arena *arena, const char **out) {
    char line[4096];
    FILE *file = fopen(path, "r");
    const bool read =
        file && fgets(line, sizeof line, file) && line[strcspn(line, "\r\n")] && strcspn(line, " \r\n") > 0;
    if (file)
        fclose(file);
    line[read ? strcspn(line, " \r\n") : 0] = '\0';
    *out = read ? arena_copy(arena, line, strlen(line)) : NULL;
    explicit_bzero(line, sizeof line);
    if (!*out)
        command_complain("%s: no line with a key", path);
    return *out;
}

/* False: exit with *status. */
static bool read_plan(const struct asked *asked, const struct options *options, struct arena *arena,
                      struct plan *plan, int *status) {
    *status = COMMAND_USAGE;
    *plan = (struct plan){.closed = asked->closed,
                          .rate = asked->rate,
                          .arrivals = asked->arrivals,
                          .duration_s = asked->duration_s,
                          .warmup_s = asked->warmup_s,
                          .timeout_s = asked->timeout_s,
                          .connections = asked->connections,
                          .backlog = asked->backlog,
                          .seed = asked->seed,
                          .check = asked->check,
                          .quiet = asked->json_lines,
                          .texts = asked->texts,
                          .unique_texts = asked->unique_texts,
                          .items = asked->items,
                          .classifier = asked->classifier,
                          .model = asked->model,
                          .ca_file = asked->ca_file,
                          .insecure = asked->insecure};
    if (options->n_operands != 1) {
        command_usage("bench",
                      options->n_operands ? "more than one URL" : "no URL; say http://127.0.0.1:8000");
        return false;
    }
    const char *url = options->operands[0];
    size_t size = strlen(url);
    if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0) {
        command_usage("bench", "the URL is \"%s\"; accepted: http://… or https://…", url);
        return false;
    }
    while (size && url[size - 1] == '/')
        size--;
    plan->url = arena_copy(arena, url, size);
    if (asked->closed && (options_given(options, "rate") || options_given(options, "arrivals"))) {
        command_usage("bench", "--closed makes no arrivals; leave --rate and --arrivals away");
        return false;
    }
    if (asked->check && asked->unique_texts) {
        command_usage("bench", "--check needs requests that come again; leave --unique-texts away");
        return false;
    }
    if (asked->texts && asked->unique_texts) {
        command_usage("bench", "--unique-texts makes the texts up; leave --texts away");
        return false;
    }
    if (!read_mix(asked->mix, plan) || !read_encodings(asked->encoding, plan) ||
        !read_labels(asked->labels, arena, plan))
        return false;

    *status = COMMAND_INPUT;
    const char **images = arena_array(arena, asked->images.n, sizeof *images);
    if (!images || !plan->url) {
        command_complain("no memory");
        return false;
    }
    for (size_t i = 0; i < asked->images.n; i++)
        images[i] = asked->images.values[i].value;
    plan->images = images;
    plan->n_images = asked->images.n;
    const char *key = getenv("LIMOE_API_KEY");
    plan->key = key && *key ? key : NULL;
    return !asked->key_file || read_key(asked->key_file, arena, &plan->key);
}

/* ---- measuring */

static bool print(const struct report *report, bool json) {
    struct buffer out = {0};
    if (json)
        report_json(report, &out);
    else
        report_table(report, &out);
    const bool ok = command_print(&out, json);
    buffer_free(&out);
    return ok;
}

static void say_line(void *context, const struct progress *progress, const struct tally *tally) {
    const bool lines = *(const bool *)context;
    struct buffer out = {0};
    if (!lines && progress->span_s < 1)
        return; /* the last one, for the rest of a second: the report says it all */
    if (lines)
        progress_json(progress, tally, &out);
    else
        progress_text(progress, tally, &out);
    if (!out.failed)
        fwrite(out.data, 1, out.size, lines ? stdout : stderr);
    fflush(stdout);
    buffer_free(&out);
}

/* Why there is nothing to report: to those who read lines as one of them. */
static void complain(const char *message, bool lines) {
    struct buffer out = {0};
    if (!lines) {
        command_complain("%s", message);
        return;
    }
    buffer_string(&out, "{\"object\":\"bench.error\",\"message\":");
    buffer_json_string(&out, message);
    buffer_string(&out, "}");
    command_print(&out, true);
    buffer_free(&out);
}

static void announce(const struct report *report) {
    struct buffer out = {0};
    report_intent(report, &out);
    if (!out.failed)
        fwrite(out.data, 1, out.size, stderr);
    buffer_free(&out);
}

static int measure(const struct plan *plan, struct arena *arena, bool json, bool lines) {
    struct pool pool = {0};
    struct probe probe = {0};
    struct run_result result = {0};
    struct tally *tally = tally_new();
    const struct report report = {plan, &pool, &probe, tally, &result};
    const char *message = "no memory";
    bool ok = tally && pool_open(&pool, plan, &message) && probe_server(plan, arena, &probe, &message);
    if (ok && !lines)
        announce(&report);
    if (ok && plan->check)
        ok = probe_answers(plan, &pool, &message);
    if (ok && !run_load(plan, &pool, tally, say_line, &lines, &result)) {
        message = "no memory or no descriptors for the connections";
        ok = false;
    }
    if (!ok)
        complain(message ? message : "no memory", lines);
    ok = ok && print(&report, json || lines);
    pool_close(&pool);
    free(tally);
    return ok ? COMMAND_OK : COMMAND_INPUT;
}

int bench_main(int argc, char **argv) {
    struct asked asked = defaults;
    struct options options = {0};
    struct plan plan;
    int status = COMMAND_INPUT;
    struct arena *arena = arena_new();
    if (!arena || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        command_complain("no memory");
        arena_free(arena);
        return status;
    }
    signal(SIGPIPE, SIG_IGN); /* TLS libraries write to sockets without MSG_NOSIGNAL */
    if (command_options(&bench_command, argc, argv, &asked, arena, &options, &status) &&
        read_plan(&asked, &options, arena, &plan, &status))
        status = measure(&plan, arena, asked.json, asked.json_lines);
    curl_global_cleanup();
    arena_free(arena);
    return status;
}
