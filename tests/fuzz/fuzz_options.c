/* fuzz_options.c - a configuration file from anyone: refused with its name and line, or printed as a file
 * that reads back to the same. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "server/api/model_names.h"
#include "server/options/config_file.h"

struct target {
    const char *text, *port, *names;
    unsigned count;
    uint64_t bytes;
    int color;
    bool loud;
    double rate;
};

#define AT(field) offsetof(struct target, field)

static const struct option_choice colors[] = {{"red", 0}, {"green", 1}, {NULL, 0}};

static const struct option_row table[] = {
    {.name = "text", .kind = OPTION_STRING, .offset = AT(text), .metavar = "T", .help = "text"},
    {.name = "names", .kind = OPTION_NAMES, .offset = AT(names), .metavar = "A,...", .help = "names"},
    {.name = "port",
     .kind = OPTION_NUMERAL,
     .offset = AT(port),
     .most = 65535,
     .metavar = "P",
     .help = "port"},
    {.name = "count",
     .kind = OPTION_UNSIGNED,
     .offset = AT(count),
     .least = 1,
     .most = 99,
     .metavar = "N",
     .help = "count"},
    {.name = "bytes",
     .kind = OPTION_BYTES,
     .offset = AT(bytes),
     .most = UINT64_MAX,
     .metavar = "N",
     .help = "size"},
    {.name = "color",
     .kind = OPTION_CHOICE,
     .offset = AT(color),
     .choices = colors,
     .metavar = "C",
     .help = "color"},
    {.name = "loud", .kind = OPTION_SWITCH, .offset = AT(loud), .help = "switch"},
    {.name = "rate",
     .kind = OPTION_DOUBLE,
     .offset = AT(rate),
     .most = 1000000,
     .metavar = "R",
     .help = "rate"},
    {.name = "help", .kind = OPTION_HELP, .help = "help"},
};

static const struct option_command command = {
    .name = "fuzz", .usage = "fuzz", .about = "Fuzzes.", .table = table, .n = sizeof table / sizeof *table};

static bool same_text(const char *a, const char *b) {
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* A list that was accepted, as one of aliases: each name is there, and takes itself. */
static bool names_hold(const char *names) {
    static const struct limoe_info info = {.name = "m"};
    static const struct limoe_info *const infos[] = {&info};
    const struct request_models models = {.info = infos, .n = 1, .aliases = names};
    struct limoe_error err;
    struct model_alias entry;
    const bool aliases =
        model_names_check_list(names, &err) == LIMOE_OK && model_names_check(&models, &err) == LIMOE_OK;
    for (const char *list = names; model_names_next(&list, &entry);)
        if (aliases && (!entry.alias.size || model_names_find(&models, entry.alias) != 0))
            return false;
    return true;
}

static enum limoe_status parse(struct arena *arena, const char *text, size_t size, struct target *target,
                               struct options *options, struct limoe_error *err) {
    *target = (struct target){0};
    *options = (struct options){.command = &command,
                                .target = target,
                                .arena = arena,
                                .file = "file",
                                .origins = arena_array(arena, command.n, sizeof *options->origins)};
    if (!options->origins)
        return LIMOE_NO_MEMORY;
    return config_file_parse(options, text, size, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena *arena = arena_new();
    struct target read, again;
    struct options options, twice;
    struct limoe_error err = {0};
    if (!arena)
        return 0;
    const enum limoe_status status = parse(arena, (const char *)data, size, &read, &options, &err);
    if (status != LIMOE_OK) {
        if (err.status != status || strncmp(err.message, "file:", 5) != 0)
            __builtin_trap();
    } else {
        struct buffer out = {0};
        options_print(&options, &out);
        if (parse(arena, out.data, out.size, &again, &twice, &err) != LIMOE_OK ||
            !same_text(read.text, again.text) || !same_text(read.port, again.port) ||
            !same_text(read.names, again.names) || !names_hold(read.names) || read.count != again.count ||
            read.bytes != again.bytes || read.color != again.color || read.loud != again.loud ||
            memcmp(&read.rate, &again.rate, sizeof read.rate) != 0)
            __builtin_trap();
        buffer_free(&out);
    }
    arena_free(arena);
    return 0;
}
