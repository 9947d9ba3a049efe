/* adapters.c - limoe adapters: what adapters' files hold, and models with one merged in. One thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "limoe.h"
#include "server/commands/adapters.h"
#include "server/commands/commands.h"
#include "server/commands/table.h"
#include "server/options/command.h"

struct adapters_options {
    bool json;
    const char *strength; /* NULL: the adapter's own */
};

static const struct option_row table[] = {
    COMMAND_JSON_ROW(.offset = offsetof(struct adapters_options, json),
                     .help = "show: print one JSON object"),
    {.name = "strength",
     .kind = OPTION_STRING,
     .only_flag = true,
     .offset = offsetof(struct adapters_options, strength),
     .metavar = "S",
     .help = "merge: 0, the model as it is, to 1, all that the adapter changes",
     .fallback = "the adapter's own"},
    COMMAND_HELP_ROW,
};
static const struct adapters_options defaults = {0};
static const struct option_note exits[] = {
    {"0", "it is shown; or OUT is there, whole"},
    {"1", "the adapter, the model or OUT is at fault; OUT is not there"},
    {"2", "the command line is wrong"},
    {NULL, NULL},
};
static const struct option_note uses[] = {
    {"limoe adapters show pets.safetensors", "What an adapter is, and what it was taught"},
    {"limoe adapters merge /srv/models/base pets.safetensors /srv/models/pets --strength 0.5",
     "A model of its own, halfway to the adapter's weights"},
    {NULL, NULL},
};

const struct option_command adapters_command = {
    .name = "adapters",
    .summary = "show an adapter's file, or merge it into its model",
    .usage = "limoe adapters show FILE [options]\n       limoe adapters merge DIR FILE OUT [options]",
    .operand = "VERB",
    .about =
        "show prints what an adapter's file says of itself. merge writes the model in DIR with the adapter "
        "in "
        "FILE, a tail or a LoRA, to the directory OUT, which must not be there: it answers as DIR with the "
        "adapter does, to the bit.",
    .table = table,
    .n = sizeof table / sizeof *table,
    .defaults = &defaults,
    .exits = exits,
    .uses = uses,
};

/* ---- show */

static void print_strings(struct buffer *out, const char *key, const char *const *strings, size_t n) {
    buffer_print(out, ",\"%s\":[", key);
    for (size_t i = 0; i < n; i++) {
        buffer_string(out, i ? "," : "");
        buffer_json_string(out, strings[i]);
    }
    buffer_string(out, "]");
}

static void print_json(struct buffer *out, const struct limoe_adapter_info *info) {
    buffer_print(out, "{\"object\":\"adapter\",\"kind\":\"%s\",\"base\":\"%s\"",
                 limoe_adapter_kind_name(info->kind), info->base);
    if (info->kind == LIMOE_ADAPTER_TAIL)
        buffer_print(out, ",\"start_block\":%u", info->start_block);
    if (info->kind == LIMOE_ADAPTER_LORA)
        buffer_print(out, ",\"alpha\":%.9g,\"rank\":%u", (double)info->alpha, info->rank);
    buffer_print(out, ",\"strength\":%.9g,\"parameters\":%llu,\"bytes\":%llu,\"tensors\":%zu",
                 (double)info->strength, (unsigned long long)info->parameters,
                 (unsigned long long)info->bytes, info->tensors);
    print_strings(out, "labels", info->labels, info->n_labels);
    print_strings(out, "templates", info->templates, info->n_templates);
    buffer_print(out, ",\"training\":%s}", info->training ? info->training : "null");
}

/* As it may go to a terminal, which obeys control characters; in the arena, NULL without memory. */
static const char *printable(struct arena *arena, const char *text) {
    const size_t size = strlen(text) + 4;
    char *room = arena_alloc(arena, size);
    return room ? text_quote(text_of(text), room, size) : NULL;
}

/* "cat, dog", cut at its end where it is long; in the arena, NULL without memory. */
static const char *listed(struct arena *arena, const char *const *strings, size_t n) {
    enum { SHOWN = 12 };
    struct buffer text = {0};
    for (size_t i = 0; i < n && i < SHOWN; i++) {
        const char *shown = printable(arena, strings[i]);
        buffer_string(&text, i ? ", " : "");
        buffer_string(&text, shown ? shown : "");
        text.failed = text.failed || !shown;
    }
    if (n > SHOWN)
        buffer_print(&text, ", … (%zu)", n);
    const char *copy =
        text.failed ? NULL : arena_copy(arena, text.size ? text.data : "none", text.size ? text.size : 4);
    buffer_free(&text);
    return copy;
}

static bool print_facts(struct buffer *out, const struct limoe_adapter_info *info, struct arena *arena) {
    static const bool right[] = {false, false};
    const char *from = info->kind == LIMOE_ADAPTER_TAIL
                           ? arena_print(arena, "from block %u on", info->start_block)
                       : info->kind == LIMOE_ADAPTER_LORA
                           ? arena_print(arena, "of rank %u, alpha %g", info->rank, (double)info->alpha)
                           : arena_print(arena, "on embeddings of %u numbers", info->embed);
    const char *const cells[] = {
        "kind",
        arena_print(arena, "%s %s", limoe_adapter_kind_name(info->kind), from ? from : ""),
        "base",
        info->base,
        "strength",
        arena_print(arena, "%g", (double)info->strength),
        "parameters",
        arena_print(arena, "%llu in %zu tensors, %.1f MB", (unsigned long long)info->parameters,
                    info->tensors, (double)info->bytes / 1e6),
        "labels",
        listed(arena, info->labels, info->n_labels),
        "templates",
        listed(arena, info->templates, info->n_templates),
        "training",
        info->training ? printable(arena, info->training) : "not recorded",
    };
    const size_t n = sizeof cells / sizeof *cells;
    for (size_t i = 0; i < n; i++)
        if (!cells[i])
            return false;
    table_append(out, 0, 2, right, cells, n / 2);
    return true;
}

int adapters_show(const char *path, bool json, struct arena *arena) {
    struct limoe_adapter *adapter;
    struct limoe_error err;
    struct buffer out = {0};
    if (limoe_adapter_open(path, &adapter, &err) != LIMOE_OK) {
        command_complain("%s", err.message);
        return COMMAND_INPUT;
    }
    bool ok = true;
    if (json)
        print_json(&out, limoe_adapter_about(adapter));
    else
        ok = print_facts(&out, limoe_adapter_about(adapter), arena);
    if (!ok)
        command_complain("no memory for the answer");
    ok = ok && command_print(&out, json);
    buffer_free(&out);
    limoe_adapter_close(adapter);
    return ok ? COMMAND_OK : COMMAND_INPUT;
}

/* ---- merge */

/* False: complained. */
static bool read_strength(const char *text, const struct limoe_adapter_info *info, float *strength) {
    char *end;
    *strength = info->strength;
    if (!text)
        return true;
    *strength = strtof(text, &end);
    if (end != text && !*end && *strength >= 0 && *strength <= 1)
        return true;
    command_usage("adapters", "--strength is \"%s\"; a number from 0 to 1 is accepted", text);
    return false;
}

static int merge(const char *dir, const char *path, const char *to, const char *strength_text) {
    struct limoe_adapter *adapter;
    struct limoe_error err;
    struct buffer out = {0};
    float strength;
    int status = COMMAND_INPUT;
    if (limoe_adapter_open(path, &adapter, &err) != LIMOE_OK) {
        command_complain("%s", err.message);
        return status;
    }
    if (!read_strength(strength_text, limoe_adapter_about(adapter), &strength)) {
        status = COMMAND_USAGE;
    } else if (limoe_merge(dir, adapter, strength, to, NULL, NULL, &err) != LIMOE_OK) {
        command_complain("%s", err.message);
    } else {
        buffer_print(&out, "%s: %s with %s at strength %g\n", to, dir, path, (double)strength);
        status = command_print(&out, false) ? COMMAND_OK : COMMAND_INPUT;
    }
    buffer_free(&out);
    limoe_adapter_close(adapter);
    return status;
}

/* ---- the command */

int adapters_main(int argc, char **argv) {
    struct adapters_options asked = {0};
    struct options options;
    struct arena *arena = arena_new();
    int status = COMMAND_INPUT;
    if (!arena) {
        command_complain("no memory");
        return status;
    }
    if (!command_options(&adapters_command, argc, argv, &asked, arena, &options, &status))
        goto out;
    const char *verb = options.n_operands ? options.operands[0] : "";
    if (strcmp(verb, "show") == 0 && options.n_operands == 2)
        status = adapters_show(options.operands[1], asked.json, arena);
    else if (strcmp(verb, "show") == 0)
        status = command_usage("adapters", "show takes one file; found %zu", options.n_operands - 1);
    else if (strcmp(verb, "merge") == 0 && options.n_operands == 4)
        status = merge(options.operands[1], options.operands[2], options.operands[3], asked.strength);
    else if (strcmp(verb, "merge") == 0)
        status = command_usage("adapters",
                               "merge takes a model's directory, an adapter's file and a directory to write; "
                               "found %zu",
                               options.n_operands - 1);
    else
        status = command_usage("adapters", "\"%s\" is not known; show and merge are", verb);
out:
    arena_free(arena);
    return status;
}
