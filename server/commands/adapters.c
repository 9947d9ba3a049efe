/* adapters.c - limoe adapters: what adapters' files hold, and models with one merged in. One thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "limoe.h"
#include "server/api/adapter.h"
#include "server/commands/adapters.h"
#include "server/commands/commands.h"
#include "server/commands/table.h"
#include "server/options/command.h"

struct adapters_options {
    bool json;
    const char *strength; /* NULL: the adapter's own */
    const char *model;    /* NULL: none is named */
};

static const struct option_row table[] = {
    COMMAND_JSON_ROW(.offset = offsetof(struct adapters_options, json),
                     .help = "show, list: print one JSON object"),
    {.name = "model",
     .kind = OPTION_STRING,
     .only_flag = true,
     .offset = offsetof(struct adapters_options, model),
     .metavar = "DIR",
     .help = "list: the model that adapters are held against; export: that a folder of PEFT's is of"},
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
    {"1", "an adapter, the model or OUT is at fault; OUT is not there, and of a list the others are shown"},
    {"2", "the command line is wrong"},
    {NULL, NULL},
};
static const struct option_note uses[] = {
    {"limoe adapters show pets.safetensors", "What an adapter is, and what it was taught"},
    {"limoe adapters list /var/lib/limoe/adapters --model /srv/models/base",
     "What a server keeps, and whether it fits a model"},
    {"limoe adapters export pets-lora pets.safetensors --model /srv/models/base",
     "A LoRA that PEFT has saved, as a file that names its model"},
    {"limoe adapters merge /srv/models/base pets.safetensors /srv/models/pets --strength 0.5",
     "A model of its own, halfway to the adapter's weights"},
    {NULL, NULL},
};

const struct option_command adapters_command = {
    .name = "adapters",
    .summary = "show, list, convert adapters' files, or merge one into its model",
    .usage = "limoe adapters show FILE [options]\n       limoe adapters list DIR [options]\n"
             "       limoe adapters merge DIR FILE OUT [options]\n       limoe adapters export FILE OUT "
             "[options]",
    .operand = "FILE",
    .about =
        "show prints what an adapter's file says of itself; list does of each in the directory DIR, such as "
        "a server's. merge writes the model in DIR with the adapter in FILE, a tail or a LoRA, to the "
        "directory OUT, which must not be there: it answers as DIR with the adapter does, to the bit. export "
        "writes a LoRA to OUT in the other format: a file of limoe-adapter-1 as a folder that PEFT reads, at "
        "the adapter's strength, without labels, templates and base; such a folder as a file.",
    .table = table,
    .n = sizeof table / sizeof *table,
    .defaults = &defaults,
    .exits = exits,
    .uses = uses,
};

/* ---- show */

static void print_json(struct buffer *out, const struct limoe_adapter_info *info) {
    buffer_string(out, "{\"object\":\"adapter\"");
    answer_adapter_info(out, info);
    buffer_string(out, "}");
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

static int run_show(const struct options *given, const struct adapters_options *asked, struct arena *arena) {
    return adapters_show(given->operands[1], asked->json, arena);
}

static int run_list(const struct options *given, const struct adapters_options *asked, struct arena *arena) {
    return adapters_show_all(given->operands[1], asked->model, asked->json, arena);
}

static int run_merge(const struct options *given, const struct adapters_options *asked, struct arena *arena) {
    (void)arena;
    return merge(given->operands[1], given->operands[2], given->operands[3], asked->strength);
}

static int run_export(const struct options *given, const struct adapters_options *asked,
                      struct arena *arena) {
    (void)arena;
    return adapters_export(given->operands[1], given->operands[2], asked->model);
}

static const struct verb {
    const char *name;
    size_t operands;
    const char *takes;
    int (*run)(const struct options *given, const struct adapters_options *asked, struct arena *arena);
} verbs[] = {
    {"show", 1, "one file", run_show},
    {"list", 1, "one directory", run_list},
    {"merge", 3, "a model's directory, an adapter's file and a directory to write", run_merge},
    {"export", 2, "an adapter's file or folder and a path to write", run_export},
};

static int run(const struct options *given, const struct adapters_options *asked, struct arena *arena) {
    const char *name = given->n_operands ? given->operands[0] : "";
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        const struct verb *verb = &verbs[i];
        if (strcmp(name, verb->name) != 0)
            continue;
        return given->n_operands == 1 + verb->operands
                   ? verb->run(given, asked, arena)
                   : command_usage("adapters", "%s takes %s; found %zu", name, verb->takes,
                                   given->n_operands - 1);
    }
    return command_usage("adapters", "\"%s\" is not known; show, list, merge and export are", name);
}

int adapters_main(int argc, char **argv) {
    struct adapters_options asked = {0};
    struct options options;
    struct arena *arena = arena_new();
    int status = COMMAND_INPUT;
    if (!arena) {
        command_complain("no memory");
        return status;
    }
    if (command_options(&adapters_command, argc, argv, &asked, arena, &options, &status))
        status = run(&options, &asked, arena);
    arena_free(arena);
    return status;
}
