/* adapters_list.c - limoe adapters list: the adapters in a folder, a line each, held against a model if one is named. One thread. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"
#include "limoe.h"
#include "server/api/adapter.h"
#include "server/commands/adapters.h"
#include "server/commands/table.h"
#include "server/options/command.h"

enum { COLUMNS = 6 };

static const char ending[] = ".safetensors";

/* What is listed, line by line. */
struct listing {
    const char *dir;
    struct limoe_model *model; /* NULL: none is named */
    struct arena *arena;
    struct buffer json;
    const char **cells; /* [1 + entries, COLUMNS], the first row heads */
    size_t rows;
    bool whole; /* all could be read */
};

/* Files that may be adapters, and folders of PEFT's. */
static int may_be_one(const struct dirent *entry) {
    const size_t size = strlen(entry->d_name), end = sizeof ending - 1;
    const bool file = size > end && strcmp(entry->d_name + size - end, ending) == 0;
    return entry->d_name[0] != '.' && (file || entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN);
}

/* Of a server's, NAME@DIGEST.safetensors, the name; else without its ending. In the arena, as it may be shown; NULL: no memory. */
static const char *name_of(struct arena *arena, const char *file) {
    struct text name = text_of(file);
    text_take_suffix(&name, ending);
    const char *at = memchr(name.data, '@', name.size);
    if (at && at > name.data)
        name.size = (size_t)(at - name.data);
    char *room = arena_alloc(arena, name.size + 4);
    return room ? text_quote(name, room, name.size + 4) : NULL;
}

/* A probe's weights are on embeddings, of which the model has so many numbers; others' tensors are looked for in it. */
static bool fits(const struct limoe_model *model, const struct limoe_adapter *adapter) {
    const struct limoe_adapter_info *info = limoe_adapter_about(adapter);
    uint64_t bytes;
    if (info->kind == LIMOE_ADAPTER_PROBE)
        return strcmp(info->base, limoe_model_base(model)) == 0 &&
               info->embed == limoe_model_info(model)->embed;
    return limoe_model_adapt_bytes(model, adapter, 1, &bytes, NULL) == LIMOE_OK;
}

/* False: no memory. */
static bool add_json(struct listing *l, const char *name, const struct limoe_adapter *adapter) {
    buffer_string(&l->json, l->rows > 1 ? "," : "");
    buffer_string(&l->json, "{\"object\":\"adapter\",\"name\":");
    buffer_json_string(&l->json, name);
    if (l->model)
        buffer_print(&l->json, ",\"fits\":%s", fits(l->model, adapter) ? "true" : "false");
    answer_adapter_info(&l->json, limoe_adapter_about(adapter));
    buffer_string(&l->json, "}");
    return !l->json.failed;
}

/* False: no memory. */
static bool add_row(struct listing *l, const char *name, const struct limoe_adapter *adapter) {
    const struct limoe_adapter_info *info = limoe_adapter_about(adapter);
    const char **row = l->cells + l->rows * COLUMNS;
    row[0] = name;
    row[1] = limoe_adapter_kind_name(info->kind);
    row[2] = arena_print(l->arena, "%zu", info->n_labels);
    row[3] = arena_print(l->arena, "%g", (double)info->strength);
    row[4] = arena_print(l->arena, "%.1f", (double)info->bytes / 1e6);
    if (l->model)
        row[5] = fits(l->model, adapter) ? "yes" : "no";
    else
        row[5] = *info->base ? arena_print(l->arena, "%s", info->base) : "any that fits";
    return row[2] && row[3] && row[4] && row[5];
}

static bool is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* False: no memory. What cannot be read is complained of; folders that are none of PEFT's are left out. */
static bool add(struct listing *l, const char *file, bool json) {
    const char *path = arena_print(l->arena, "%s/%s", l->dir, file);
    const char *config = arena_print(l->arena, "%s/%s/adapter_config.json", l->dir, file);
    const char *name = name_of(l->arena, file);
    struct limoe_adapter *adapter;
    struct limoe_error err;
    struct stat st;
    if (!path || !config || !name)
        return false;
    if (is_folder(path) && stat(config, &st) != 0)
        return true;
    if (limoe_adapter_open(path, &adapter, &err) != LIMOE_OK) {
        char shown[sizeof err.message];
        command_complain("in %s: %s", is_folder(path) ? path : l->dir,
                         text_quote(text_of(err.message), shown, sizeof shown));
        l->whole = false;
        return true;
    }
    const bool ok = json ? add_json(l, name, adapter) : add_row(l, name, adapter);
    limoe_adapter_close(adapter);
    l->rows++;
    return ok;
}

/* False: no memory. */
static bool add_all(struct listing *l, struct dirent **entry, int n, bool json) {
    static const char *const heads[] = {"name", "kind", "labels", "strength", "MB"};
    l->cells = arena_array(l->arena, (size_t)(n + 1) * COLUMNS, sizeof *l->cells);
    if (!l->cells)
        return false;
    memcpy(l->cells, heads, sizeof heads);
    l->cells[COLUMNS - 1] = l->model ? "fits" : "base";
    l->rows = 1;
    buffer_string(&l->json, "{\"object\":\"list\",\"data\":[");
    for (int i = 0; i < n; i++)
        if (!add(l, entry[i]->d_name, json))
            return false;
    buffer_string(&l->json, "]}");
    return !l->json.failed;
}

/* False: complained. */
static bool print(struct listing *l, bool json) {
    static const bool right[COLUMNS] = {false, false, true, true, true, false};
    struct buffer table = {0};
    if (!json)
        table_append(&table, 0, COLUMNS, right, l->cells, l->rows);
    const bool ok = command_print(json ? &l->json : &table, json);
    buffer_free(&table);
    return ok;
}

static bool list(struct listing *l, bool json) {
    struct dirent **entry;
    const int n = scandir(l->dir, &entry, may_be_one, alphasort);
    if (n < 0) {
        command_complain("cannot open %s: %s", l->dir, strerrordesc_np(errno));
        return false;
    }
    bool ok = add_all(l, entry, n, json);
    for (int i = 0; i < n; i++)
        free(entry[i]);
    free(entry);
    if (!ok)
        command_complain("no memory for the answer");
    ok = ok && print(l, json);
    buffer_free(&l->json);
    return ok && l->whole;
}

int adapters_show_all(const char *dir, const char *model, bool json, struct arena *arena) {
    const struct limoe_options options = {.device = "cpu"};
    struct listing l = {.dir = dir, .arena = arena, .whole = true};
    struct limoe_error err;
    if (model && limoe_model_open(model, &options, &l.model, &err) != LIMOE_OK) {
        command_complain("%s", err.message);
        return COMMAND_INPUT;
    }
    const bool ok = list(&l, json);
    limoe_model_close(l.model);
    return ok ? COMMAND_OK : COMMAND_INPUT;
}
